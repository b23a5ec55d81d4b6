//! Masks what looks like a secret in the text of a file, which hubvault does not know: by its name, and by its form. It
//! masks too much rather than too little.

const STARS: &str = "***";
/// A part of a name before a secret, or of the name of a file that is one.
const NAMES: [&str; 11] = [
    "pass", "pwd", "secret", "token", "key", "auth", "cred", "private", "salt", "dsn", "bearer",
];
/// The same of files alone.
const FILES: [&str; 6] = [
    "id_rsa",
    "id_ed25519",
    "id_ecdsa",
    "netrc",
    "shadow",
    "cookie",
];
/// Words of at least so many letters and digits are taken for random ones.
const RANDOM: usize = 24;

/// The text of a file with everything masked that looks like a secret.
pub(super) fn mask(file: &str, text: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file).to_ascii_lowercase();
    if NAMES.iter().chain(&FILES).any(|part| name.contains(part)) {
        return STARS.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    // What is indented below this column belongs to a masked name, and lines of a key to the line that begins it.
    let (mut below, mut in_key) = (None, false);
    for line in text.split_inclusive('\n') {
        let (line, end) = line
            .strip_suffix('\n')
            .map_or((line, ""), |line| (line, "\n"));
        let indent = line.len() - line.trim_start().len();
        let begins_key = line.contains("-----BEGIN");
        if in_key || below.is_some_and(|column| indent > column && !line.trim().is_empty()) {
            in_key &= !line.contains("-----END");
            out += STARS;
        } else if begins_key {
            in_key = !line.contains("-----END");
            out += STARS;
        } else {
            let (masked, has_value) = of_line(line);
            let is_name_alone = masked.is_some() && !has_value;
            below = is_name_alone.then_some(indent);
            out += &masked.unwrap_or_else(|| line.to_owned());
        }
        out += end;
    }
    out
}

/// A line with its secrets masked, if it has any; and whether a value follows the name in it.
fn of_line(line: &str) -> (Option<String>, bool) {
    let lower = line.to_ascii_lowercase();
    let found = NAMES.iter().filter_map(|name| lower.find(name)).min();
    if let Some(at) = found {
        let rest = &line[at..];
        let is_name = |c: char| c.is_alphanumeric() || "_-.".contains(c);
        let name = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let after = &rest[name..];
        let begin = after.find(|c: char| !" \t=:>\"'|[{(".contains(c));
        let Some(begin) = begin else {
            return (Some(line.to_owned()), false);
        };
        let end = at + name + begin;
        return (Some(format!("{}{STARS}", random(&line[..end]))), true);
    }
    let masked = random(&without_logins(line));
    ((masked != line).then_some(masked), true)
}

/// `scheme://user:secret@host` without what is before the host.
fn without_logins(line: &str) -> String {
    let (mut out, mut rest) = (String::new(), line);
    while let Some((before, after)) = rest.split_once("://") {
        let end = after.find(|c: char| c.is_whitespace() || "\"'".contains(c));
        let (place, more) = after.split_at(end.unwrap_or(after.len()));
        out += before;
        out += "://";
        match place.rsplit_once('@') {
            Some((_, host)) => out += &format!("{STARS}@{host}"),
            None => out += place,
        }
        rest = more;
    }
    out + rest
}

/// Without words that look random: long, of letters and digits.
fn random(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "+/=_-".contains(c);
    let is_random = |word: &str| {
        word.split('/').any(|part| {
            let has = |is: fn(&char) -> bool| part.chars().any(|c| is(&c));
            part.len() >= RANDOM && has(char::is_ascii_digit) && has(char::is_ascii_alphabetic)
        })
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        out += if is_random(&rest[..word]) {
            STARS
        } else {
            &rest[..word]
        };
        rest = &rest[word..];
        let between = rest.find(is_word).unwrap_or(rest.len());
        out += &rest[..between];
        rest = &rest[between..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_masked() {
        for (line, masked) in [
            ("port = 5432", "port = 5432"),
            ("DB_PASSWORD=hunter2", "DB_PASSWORD=***"),
            ("  password: 'a b'  # old", "  password: '***"),
            (
                "{\"user\": \"a\", \"apiKey\": \"x\", \"b\": 1}",
                "{\"user\": \"a\", \"apiKey\": \"***",
            ),
            ("<secret>x</secret>", "<secret>***"),
            ("requirepass x", "requirepass ***"),
            (
                "url = postgres://bob:p@ss@db/hub",
                "url = postgres://***@db/hub",
            ),
            ("see https://example.org/a", "see https://example.org/a"),
            ("id 0123456789abcdef0123456789abcdef", "id ***"),
            (
                "path /usr/share/postgresql/16/extension",
                "path /usr/share/postgresql/16/extension",
            ),
            ("Grüße ſecret", "Grüße ſecret"),
        ] {
            assert_eq!(mask("app.conf", line), masked);
        }
    }

    #[test]
    fn blocks_and_whole_files_are_masked() {
        let yaml = "a: 1\npasswords:\n  - x\n  - y\n\nb: 2\ntoken: |\n   long\n";
        assert_eq!(
            mask("app.yml", yaml),
            "a: 1\npasswords:\n***\n***\n\nb: 2\ntoken: |\n***\n"
        );
        let pem = "-----BEGIN X-----\nabc\n-----END X-----\nport 1";
        assert_eq!(mask("app.conf", pem), "***\n***\n***\nport 1");
        for file in ["etc/.pgpass", "server.key", "a/ID_RSA", "first-token"] {
            assert_eq!(mask(file, "x\ny"), "***");
        }
    }
}
