//! Which options of foreign servers and connections hold a secret.

/// In the place of a secret.
pub(super) const STARS: &str = "****";

const WORDS: [&str; 5] = ["pass", "pwd", "secret", "token", "credential"];

/// Whether an option of this name has a secret as its value.
pub(super) fn is_secret(name: &str) -> bool {
    WORDS.iter().any(|word| name.contains(word))
        || name.starts_with("auth")
        || name.ends_with("key")
}

/// Whether the value of an option holds a secret, whatever its name: `password=…`, `{"token": "…"}`,
/// `scheme://user:password@host`, and a program's `-u user:password`.
pub(super) fn holds_secret(name: &str, value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    let is_given = |word: &&str| {
        value.match_indices(*word).any(|(at, _)| {
            // The rest of the word, and what is around it.
            let rest = value[at..].trim_start_matches(|c: char| {
                c.is_alphanumeric() || c.is_whitespace() || "_-\"'\\".contains(c)
            });
            rest.starts_with(['=', ':'])
        })
    };
    let has_login = |(at, _): (usize, &str)| {
        let rest = &value[at + "://".len()..];
        rest.find(':')
            .is_some_and(|colon| rest[colon..].contains('@'))
    };
    let is_program = name == "program";
    is_program && (value.contains(" -u") || value.contains(" --user"))
        || WORDS
            .iter()
            .chain(&["authorization", "api_key", "apikey"])
            .any(is_given)
        || value.match_indices("://").any(has_login)
}
