//! Names of tables, and how they are written in SQL and as file names.

use crate::display::is_unseen;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fmt::Write as _;

/// A table (or sequence, or view) by schema and name, exactly as in the system catalogs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableName {
    /// The schema.
    pub schema: String,
    /// The name inside the schema.
    pub name: String,
}

impl TableName {
    /// A table name from its two catalog values.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            schema: schema.into(),
            name: name.into(),
        }
    }

    /// `schema.table` for an SQL statement, quoted where `PostgreSQL` needs it.
    pub fn sql(&self) -> String {
        format!("{}.{}", quote_ident(&self.schema), quote_ident(&self.name))
    }

    /// The path inside an archive without `database/` and without an ending: `users`,
    /// `sales/orders`. Distinct tables give distinct paths, and none can leave its folder.
    ///
    /// Everything but ASCII letters, digits, `_`, `-` and non-ASCII letters and digits is written
    /// `%XX` per byte; the schema `public` is left out.
    pub fn path(&self) -> String {
        if self.schema == "public" {
            let name = escape(&self.name);
            // The names that the archive uses itself.
            if [
                "schema",
                "sequences",
                "schema-pre-data",
                "schema-post-data",
                "foreign-keys",
                "properties",
            ]
            .contains(&name.as_str())
            {
                return format!("%{:02X}{}", name.as_bytes()[0], &name[1..]);
            }
            name
        } else {
            format!("{}/{}", escape(&self.schema), escape(&self.name))
        }
    }
}

/// The name for display: without the schema `public`, quoted where SQL would need it.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.schema == "public" {
            f.write_str(&quote_ident(&self.name))
        } else {
            f.write_str(&self.sql())
        }
    }
}

fn escape(text: &str) -> String {
    percent(text, |c| !(c.is_alphanumeric() || c == '_' || c == '-'))
}

/// A name as an SQL identifier, quoted unless it is plain lower case and no common keyword.
///
/// Quoting too often is harmless, so the list of keywords holds the reserved ones only
/// (`PostgreSQL` manual, appendix C).
pub fn quote_ident(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && RESERVED.binary_search(&name).is_err();
    if plain {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// A text as an SQL string literal, for any `standard_conforming_strings`.
pub fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        format!(" E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

/// A text as a field of a list whose fields end with tabs and whose records end with newlines: characters that are not
/// seen and `%` are written `%XX`, byte by byte, so that the text can be had back.
pub fn list_field(text: &str) -> String {
    percent(text, |c| c == '%' || is_unseen(c))
}

fn percent(text: &str, escaped: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if escaped(c) {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                let _ = write!(out, "%{byte:02X}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// Sorted; reserved words, including those that only functions and types may have.
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "between",
    "bigint",
    "binary",
    "bit",
    "boolean",
    "both",
    "case",
    "cast",
    "char",
    "character",
    "check",
    "coalesce",
    "collate",
    "collation",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "dec",
    "decimal",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "exists",
    "extract",
    "false",
    "fetch",
    "float",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "greatest",
    "group",
    "grouping",
    "having",
    "ilike",
    "in",
    "initially",
    "inner",
    "inout",
    "int",
    "integer",
    "intersect",
    "interval",
    "into",
    "is",
    "isnull",
    "join",
    "json",
    "lateral",
    "leading",
    "least",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "merge_action",
    "national",
    "natural",
    "nchar",
    "none",
    "normalize",
    "not",
    "notnull",
    "null",
    "nullif",
    "numeric",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "out",
    "outer",
    "overlaps",
    "overlay",
    "placing",
    "position",
    "precision",
    "primary",
    "real",
    "references",
    "returning",
    "right",
    "row",
    "select",
    "session_user",
    "setof",
    "similar",
    "smallint",
    "some",
    "substring",
    "symmetric",
    "system_user",
    "table",
    "tablesample",
    "then",
    "time",
    "timestamp",
    "to",
    "trailing",
    "treat",
    "trim",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "values",
    "varchar",
    "variadic",
    "verbose",
    "when",
    "where",
    "window",
    "with",
    "xmlattributes",
    "xmlconcat",
    "xmlelement",
    "xmlexists",
    "xmlforest",
    "xmlnamespaces",
    "xmlparse",
    "xmlpi",
    "xmlroot",
    "xmlserialize",
    "xmltable",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_keyword_list_can_be_searched() {
        assert!(RESERVED.is_sorted());
    }

    #[test]
    fn only_plain_names_are_not_quoted() {
        for plain in ["a", "_", "_a", "a1", "a_b2"] {
            assert_eq!(quote_ident(plain), plain);
        }
        for odd in [
            "", "1a", "aB", "A", "a-b", "a b", "é", "all", "xmltable", "$a",
        ] {
            assert_eq!(quote_ident(odd), format!("\"{odd}\""));
        }
        let sql = |schema| TableName::new(schema, "Order").to_string();
        assert_eq!(
            (sql("public"), sql("a")),
            ("\"Order\"".into(), "a.\"Order\"".into())
        );
    }

    #[test]
    fn odd_names_are_quoted_and_stay_inside_their_folder() {
        let odd = TableName::new("public", "a \"b\".c/../d");
        assert_eq!(odd.sql(), "public.\"a \"\"b\"\".c/../d\"");
        assert_eq!(odd.path(), "a%20%22b%22%2Ec%2F%2E%2E%2Fd");
        assert_eq!(TableName::new("Ünï", "order").path(), "Ünï/order");
        assert_eq!(TableName::new("public", "order").to_string(), "\"order\"");
    }

    #[test]
    fn letters_digits_and_two_signs_stay_as_they_are_in_a_path() {
        let name = TableName::new("s-1", "t_2é.%");
        assert_eq!(name.path(), "s-1/t_2é%2E%25");
    }

    #[test]
    fn a_table_that_is_named_like_an_entry_of_ours_does_not_hide_it() {
        assert_eq!(TableName::new("public", "sequences").path(), "%73equences");
        assert_eq!(TableName::new("public", "schema").path(), "%73chema");
        assert_eq!(
            TableName::new("public", "properties").path(),
            "%70roperties"
        );
    }

    #[test]
    fn literals_survive_backslashes_and_quotes() {
        assert_eq!(quote_literal("it's"), "'it''s'");
        assert_eq!(quote_literal("a\\b"), " E'a\\\\b'");
    }

    #[test]
    fn a_field_of_a_list_has_no_character_that_ends_it_or_moves_the_cursor() {
        let odd = "a\n\u{1b}[2K\u{9b}\u{202e}%é";
        assert_eq!(list_field(odd), "a%0A%1B[2K%C2%9B%E2%80%AE%25é");
        assert_eq!(list_field("5 %\t"), "5 %25%09");
    }

    proptest! {
        #[test]
        fn distinct_tables_have_distinct_paths(
            a in ("[a-z./%\" é]{1,6}", "[a-z./%\" é]{1,6}"),
            b in ("[a-z./%\" é]{1,6}", "[a-z./%\" é]{1,6}"),
        ) {
            prop_assume!(a != b);
            prop_assert_ne!(TableName::new(a.0, a.1).path(), TableName::new(b.0, b.1).path());
        }
    }
}
