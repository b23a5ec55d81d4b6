//! The encoding of rows between server and archive.

use hubvault_model::quote_literal;

/// Encodings of which every character has one in UTF-8, and bytes that are no characters do not occur: the server
/// converts their rows (checked byte by byte with `convert`; "Available Character Set Conversions").
const CONVERTIBLE: [&str; 15] = [
    "UTF8",
    "LATIN1",
    "LATIN2",
    "LATIN4",
    "LATIN5",
    "LATIN6",
    "LATIN7",
    "LATIN8",
    "LATIN9",
    "LATIN10",
    "ISO_8859_5",
    "KOI8R",
    "KOI8U",
    "WIN866",
    "WIN1256",
];

/// In which encoding the rows of a database leave the server: `None` for UTF-8, and where a text need not have an
/// equivalent in UTF-8 the database's own, so that every byte is as it was. `SQL_ASCII` is no encoding, but any bytes.
pub fn encoding_of_rows(of_database: &str) -> Option<String> {
    (!CONVERTIBLE.contains(&of_database)).then(|| of_database.to_owned())
}

/// The option of COPY for rows in this encoding. The statement itself is in UTF-8.
pub fn copy_option(encoding: &str) -> String {
    format!("ENCODING {}", quote_literal(encoding).trim())
}

/// The options of COPY, as a text that follows the statement.
pub fn copy_options(options: &[Option<String>]) -> String {
    let options: Vec<&str> = options.iter().flatten().map(String::as_str).collect();
    match options.as_slice() {
        [] => String::new(),
        some => format!(" WITH ({})", some.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_an_equivalent_is_converted() {
        assert_eq!(encoding_of_rows("UTF8"), None);
        assert_eq!(encoding_of_rows("LATIN1"), None);
        for own in ["SQL_ASCII", "EUC_JP", "WIN1252"] {
            assert_eq!(encoding_of_rows(own).as_deref(), Some(own));
        }
        let options = [
            Some("FORMAT csv".to_owned()),
            None,
            Some(copy_option("EUC_JP")),
        ];
        assert_eq!(
            copy_options(&options),
            " WITH (FORMAT csv, ENCODING 'EUC_JP')"
        );
        assert_eq!(copy_options(&[None]), "");
    }
}
