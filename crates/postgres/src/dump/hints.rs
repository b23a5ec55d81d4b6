//! What to install where a server lacks something that a definition needs.

/// What the server says, and what to do. The messages are those of `PostgreSQL` with `LC_MESSAGES=C`.
const KNOWN: [(&[&str], &str); 9] = [
    (
        &["could not access file \""],
        "install the library's package on the server that restores",
    ),
    (
        &["could not open", "tsearch_data"],
        "copy the file of the text search configuration to the server that restores",
    ),
    (
        &["security label provider \"", "is not loaded"],
        "name its library in shared_preload_libraries at the source, let the backup's role see that (GRANT \
         pg_read_all_settings), and install it on the server that restores",
    ),
    (
        &["loaded via shared_preload_libraries"],
        "let the backup's role see the setting at the source (GRANT pg_read_all_settings), and install the library on \
         the server that restores",
    ),
    (
        &["could not create locale \""],
        "install it on the server that restores: apt install locales, then locale-gen",
    ),
    (
        &["language \"", "does not exist"],
        "install the language's package on the server that restores",
    ),
    (
        &["unrecognized configuration parameter \""],
        "let policies and functions read it with current_setting('...', true), which is NULL where it is not set",
    ),
    (&["must be member of role \"pg_"], IN_NO_PREDEFINED_ROLE),
    (&["must be able to SET ROLE \"pg_"], IN_NO_PREDEFINED_ROLE),
];

/// Why an object that belongs to such a role, and is no function, is not made in a drill.
const IN_NO_PREDEFINED_ROLE: &str = "a drill creates what may run code of owners over a login that is no member of this \
                                     role, as it may read files or run programs; give the object to another role";

/// What to do about a message; `None` where that is not known.
pub(crate) fn hint(message: &str) -> Option<&'static str> {
    let is_about = |(words, _): &&(&[&str], _)| words.iter().all(|word| message.contains(word));
    KNOWN.iter().find(is_about).map(|(_, what)| *what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_can_be_installed() {
        for (message, what) in [
            (
                "could not access file \"$libdir/gone\": No such file or directory",
                "library's package",
            ),
            (
                "could not open stop-word file \"/usr/share/postgresql/15/tsearch_data/x.stop\": No such file",
                "copy the file",
            ),
            (
                "security label provider \"dummy\" is not loaded",
                "shared_preload_libraries",
            ),
            (
                "pg_stat_statements must be loaded via shared_preload_libraries",
                "pg_read_all_settings",
            ),
            (
                "could not create locale \"de_DE.utf8\": No such file or directory",
                "locale-gen",
            ),
            ("language \"plgone\" does not exist", "language's package"),
            (
                "must be member of role \"pg_read_server_files\"",
                "another role",
            ),
        ] {
            assert!(hint(message).unwrap().contains(what), "{message}");
        }
        assert_eq!(hint("relation \"a\" does not exist"), None);
    }
}
