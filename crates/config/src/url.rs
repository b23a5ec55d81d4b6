//! `DATABASE_URL`: a URI or a keyword/value string, as libpq reads them (`PostgreSQL` manual,
//! "Connection Strings").

use super::problem::nearest;
use secrecy::SecretString;

/// Which of our settings a connection string sets.
pub(crate) type Parts = Vec<(&'static str, SecretString)>;

/// libpq's parameters that hubvault knows, and the setting of each.
const PARAMETERS: &[(&str, &str)] = &[
    ("host", "database.host"),
    ("port", "database.port"),
    ("dbname", "database.name"),
    ("user", "database.user"),
    ("password", "database.password"),
    ("passfile", "database.passfile"),
    ("sslmode", "database.sslmode"),
    ("sslrootcert", "database.sslrootcert"),
    ("connect_timeout", "database.connect_timeout"),
];

/// Takes a connection string apart. Errors never repeat its text, which may hold a password.
pub(crate) fn parse(text: &str) -> Result<Parts, String> {
    let rest = text
        .strip_prefix("postgres://")
        .or_else(|| text.strip_prefix("postgresql://"));
    match rest {
        Some(rest) => parse_uri(rest),
        None if text.contains("://") => {
            Err("expected a URI that begins with postgres:// or postgresql://".to_owned())
        }
        None => parse_keywords(text),
    }
}

fn parse_uri(rest: &str) -> Result<Parts, String> {
    let mut parts = Parts::new();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, dbname) = rest.split_once('/').unwrap_or((rest, ""));
    let (user_info, address) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    if address.contains(',') {
        return Err("names several hosts; name one".to_owned());
    }
    let (host, port) = match address.strip_prefix('[') {
        Some(v6) => {
            let (host, after) = v6
                .split_once(']')
                .ok_or("the bracket of the host is not closed")?;
            (host, after.strip_prefix(':').unwrap_or(""))
        }
        None => address.rsplit_once(':').unwrap_or((address, "")),
    };
    for (name, value) in [
        ("user", user),
        ("password", password),
        ("host", host),
        ("port", port),
        ("dbname", dbname),
    ] {
        set(&mut parts, name, &decode(value)?)?;
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair
            .split_once('=')
            .ok_or("a parameter behind the ? has no value; expected name=value")?;
        set(&mut parts, &decode(name)?, &decode(value)?)?;
    }
    Ok(parts)
}

fn parse_keywords(text: &str) -> Result<Parts, String> {
    let mut parts = Parts::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, after) = rest
            .split_once('=')
            .ok_or("expected a URI or name=value pairs")?;
        let after = after.trim_start();
        let (value, left) = match after.strip_prefix('\'') {
            Some(quoted) => until(quoted, |c| c == '\'').ok_or("a quote is not closed")?,
            None => until(after, char::is_whitespace).unwrap_or_else(|| (after.to_owned(), "")),
        };
        set(&mut parts, name.trim(), &value)?;
        rest = left.trim_start();
    }
    Ok(parts)
}

/// The text before the first character that ends it, with backslashes taken off, and what
/// follows; `None` when nothing ends it.
fn until(text: &str, ends: impl Fn(char) -> bool) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.extend(chars.next().map(|(_, next)| next)),
            c if ends(c) => return Some((value, &text[at + c.len_utf8()..])),
            c => value.push(c),
        }
    }
    None
}

fn set(parts: &mut Parts, name: &str, value: &str) -> Result<(), String> {
    if name == "application_name" || name == "fallback_application_name" {
        // Ours carries the run's id.
        return Ok(());
    }
    let Some((_, key)) = PARAMETERS.iter().find(|(known, _)| *known == name) else {
        let hint = nearest(name, PARAMETERS.iter().map(|(known, _)| *known));
        // A password with an unescaped character may look like a parameter's name.
        let shown = if name.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            name
        } else {
            "…"
        };
        return Err(format!(
            "the parameter {shown} is not one that hubvault knows{hint}"
        ));
    };
    if !value.is_empty() {
        parts.retain(|(known, _)| known != key);
        parts.push((key, SecretString::from(value.to_owned())));
    }
    Ok(())
}

/// Percent-decoding (RFC 3986, 2.1).
fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let code = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
            let code = code.and_then(|hex| u8::from_str_radix(hex, 16).ok());
            bytes.push(code.ok_or("a % is not followed by two hexadecimal digits; write %25")?);
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).map_err(|_| "the percent-encoded text is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    fn parsed(text: &str) -> Vec<(&'static str, String)> {
        let parts = parse(text).unwrap();
        parts
            .iter()
            .map(|(key, value)| (*key, value.expose_secret().to_owned()))
            .collect()
    }

    #[test]
    fn a_uri_gives_every_part() {
        assert_eq!(
            parsed(
                "postgres://m%40x:p%3Aw@[::1]:5433/my%20db?sslmode=verify-full&connect_timeout=3"
            ),
            [
                ("database.user", "m@x".to_owned()),
                ("database.password", "p:w".to_owned()),
                ("database.host", "::1".to_owned()),
                ("database.port", "5433".to_owned()),
                ("database.name", "my db".to_owned()),
                ("database.sslmode", "verify-full".to_owned()),
                ("database.connect_timeout", "3".to_owned()),
            ]
        );
        assert_eq!(
            parsed("postgresql:///hub?host=/var/run/postgresql"),
            [
                ("database.name", "hub".to_owned()),
                ("database.host", "/var/run/postgresql".to_owned())
            ]
        );
    }

    #[test]
    fn keywords_may_be_quoted() {
        assert_eq!(
            parsed(r"password='it\'s' dbname=c"),
            [
                ("database.password", "it's".to_owned()),
                ("database.name", "c".to_owned())
            ]
        );
    }

    #[test]
    fn an_unknown_parameter_is_named_with_the_nearest_one() {
        let why = parse("postgres://u@h/d?ssl_mode=require").unwrap_err();
        assert!(why.contains("ssl_mode") && why.contains("sslmode"), "{why}");
    }

    proptest! {
        #[test]
        fn no_text_panics_and_no_error_repeats_it(text in "\\PC*") {
            if let Err(why) = parse(&format!("postgres://u:geheim{text}@h:5/d?{text}")) {
                prop_assert!(!why.contains("geheim"));
            }
            let _ = parse(&text);
        }
    }
}
