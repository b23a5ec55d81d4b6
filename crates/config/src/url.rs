//! `DATABASE_URL`: a URI or a keyword/value string, as libpq reads them (`PostgreSQL` manual,
//! "Connection Strings").

use super::problem::nearest;
use secrecy::SecretString;

/// Which of our settings a connection string sets.
pub(crate) type Parts = Vec<(&'static str, SecretString)>;

/// libpq's parameters that hubvault knows, and the setting of each.
const PARAMETERS: &[(&str, &str)] = &[
    ("host", "database.host"),
    ("hostaddr", "database.hostaddr"),
    ("port", "database.port"),
    ("dbname", "database.name"),
    ("user", "database.user"),
    ("password", "database.password"),
    ("passfile", "database.passfile"),
    ("sslmode", "database.sslmode"),
    ("sslrootcert", "database.sslrootcert"),
    ("sslcert", "database.sslcert"),
    ("sslkey", "database.sslkey"),
    ("connect_timeout", "database.connect_timeout"),
];

/// The others of libpq, which an error may name: whatever else stands in their place may be a part of a password.
const OTHERS: &[&str] = &[
    "service",
    "servicefile",
    "options",
    "target_session_attrs",
    "channel_binding",
    "require_auth",
    "requirepeer",
    "sslcrl",
    "sslcrldir",
    "sslpassword",
    "sslcertmode",
    "sslnegotiation",
    "sslsni",
    "sslcompression",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "requiressl",
    "gssencmode",
    "krbsrvname",
    "gsslib",
    "gssdelegation",
    "client_encoding",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "replication",
    "load_balance_hosts",
    "min_protocol_version",
    "max_protocol_version",
    "sslkeylogfile",
    "scram_client_key",
    "scram_server_key",
    "oauth_issuer",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_scope",
    "passwordcommand",
];

/// What a character that means something in a URI must be in a password.
const ENCODE: &str = "percent-encode what is special in a user, a password and a name: @ as %40, / as %2F, : as %3A, \
                      # as %23, ? as %3F, [ as %5B, % as %25";

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
    // A password that is not encoded makes its rest a host, a port, a database or a parameter.
    if dbname.contains(['@', '/', ':', '#']) {
        return Err(format!(
            "the name of the database has one of @ / : #; {ENCODE}"
        ));
    }
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
    if !port.bytes().all(|c| c.is_ascii_digit()) || host.contains('#') {
        return Err(format!(
            "the port is not a number, or the host has a #; {ENCODE}"
        ));
    }
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
            .ok_or_else(|| format!("a parameter behind the ? has no value; {ENCODE}"))?;
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

pub(crate) fn set(parts: &mut Parts, name: &str, value: &str) -> Result<(), String> {
    if name == "application_name" || name == "fallback_application_name" {
        // Ours carries the run's id.
        return Ok(());
    }
    let Some((_, key)) = PARAMETERS.iter().find(|(known, _)| *known == name) else {
        let hint = nearest(name, PARAMETERS.iter().map(|(known, _)| *known));
        let shown = OTHERS.iter().find(|known| **known == name);
        let shown = shown.map_or_else(
            || "a parameter".to_owned(),
            |name| format!("the parameter {name}"),
        );
        return Err(format!("{shown} is not one that hubvault knows{hint}"));
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
        assert!(why.contains("did you mean sslmode?"), "{why}");
        let why = parse("postgres://u@h/d?channel_binding=require").unwrap_err();
        assert!(why.contains("channel_binding"), "{why}");
    }

    #[test]
    fn a_password_that_is_not_encoded_is_refused_and_no_part_of_it_is_repeated() {
        for text in [
            "app:eins@127.0.0.1/zwei@db:5432/hub",
            "app:eins/zwei@db:5432/hub",
            "app:eins@zwei/drei@db/hub",
            "app:eins?zwei@db/hub",
            "app:eins?user=zwei@db/hub",
            "app:eins@zwei?drei@db/hub",
            "app:eins:zwei/drei@db",
            "app:eins/zwei",
            "app:eins#zwei/drei@db/hub",
            "app:pw@db:eins/hub",
            "app:pw@db#eins/hub",
            "app:pw@db/hub#eins",
            "app:pw@db/hub?eins=zwei",
            "app:eins%zwei@db/hub",
        ] {
            let why = parse(&format!("postgres://{text}")).unwrap_err();
            for part in ["app", "eins", "zwei", "drei"] {
                assert!(!why.contains(part), "{text}: {why}");
            }
        }
        // What can only be a password is one, as before.
        assert_eq!(parsed("postgres://u:a:b#c@d@h/n")[1].1, "a:b#c@d");
        assert_eq!(
            parsed("postgres://h:1/n?user=me@server&password=x")[3].1,
            "me@server"
        );
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
