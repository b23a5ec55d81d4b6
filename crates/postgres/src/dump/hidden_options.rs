//! `pg_restore` repeats a statement that failed, and definitions of user mappings and subscriptions hold passwords.

const STARS: &str = "****";

/// A line without what follows the word `password` as its value. The rest of the line goes, too: where a value ends is for
/// SQL and for connection strings to say.
pub(crate) fn without_passwords(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    let is_value = |at: &usize| {
        let rest = lower[at + WORD.len()..].trim_start_matches(['"', ' ']);
        rest.starts_with(['=', '\''])
    };
    match lower.match_indices(WORD).map(|(at, _)| at).find(is_value) {
        Some(at) => format!("{} {STARS}", &line[..at + WORD.len()]),
        None => line.to_owned(),
    }
}

const WORD: &str = "password";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_cut_and_a_name_is_not() {
        for (line, rest) in [
            (
                "Command was: CREATE SUBSCRIPTION s CONNECTION 'host=h password=geheim' PUBLICATION p",
                "password ****",
            ),
            ("    password 'geheim',", "    password ****"),
            ("OPTIONS (\"SSLPassword\" 'geheim')", "(\"SSLPassword ****"),
            ("host=h passfile=x Password = geheim", "Password ****"),
        ] {
            let shown = without_passwords(line);
            assert!(
                shown.ends_with(rest) && !shown.contains("geheim"),
                "{shown}"
            );
        }
        let line = "pg_restore: from TOC entry 3; 1259 1 TABLE passwords app; permission denied for password";
        assert_eq!(without_passwords(line), line);
    }
}
