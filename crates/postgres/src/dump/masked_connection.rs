//! Takes passwords out of the connection strings of subscriptions.

use super::secret_values::{STARS, is_secret};

/// What is between the quotes.
pub(super) fn content(quoted: &[u8]) -> &[u8] {
    let from = quoted.iter().take_while(|byte| **byte == b'E').count() + 1;
    quoted.get(from..quoted.len() - 1).unwrap_or_default()
}

/// The literal of a connection string without its secrets.
///
/// Quotes are doubled in it and backslashes may be. A value is replaced up to its end; where the end cannot be told for
/// certain, more of it is replaced, never less.
pub(super) fn connection(literal: &[u8]) -> Option<Vec<u8>> {
    let text = content(literal);
    let scheme = [&b"postgresql://"[..], b"postgres://"];
    let masked = match scheme.iter().find_map(|scheme| text.strip_prefix(*scheme)) {
        Some(rest) => {
            let head = text.len() - rest.len();
            [&text[..head], &url(rest)].concat()
        }
        None => pairs(text),
    };
    (masked != text).then(|| {
        let head = literal.len() - text.len() - 1;
        [&literal[..head], &masked, b"'"].concat()
    })
}

/// `user:password@host/database?password=…`
///
/// libpq takes what is before the first `@` as the user and the password, if no `/` is before that, and looks for the
/// `?` after it. A password may hold what ends it elsewhere: up to the last `@` before the `?` it is one.
fn url(text: &[u8]) -> Vec<u8> {
    let find = |text: &[u8], wanted: &[u8]| text.iter().position(|byte| wanted.contains(byte));
    let last_at = |text: &[u8]| text.iter().rposition(|byte| *byte == b'@');
    let authority = &text[..find(text, b"/").unwrap_or(text.len())];
    let login = find(authority, b"@").unwrap_or(0);
    let query = find(&text[login..], b"?").map_or(text.len(), |at| login + at);
    let (place, query) = text.split_at(query);
    let colon = find(place, b":");
    let mut out = match (last_at(place), colon) {
        (Some(at), Some(colon)) if colon < at => {
            [&place[..=colon], STARS.as_bytes(), &place[at..]].concat()
        }
        // No login, or one whose password has both a slash and a question mark.
        (None, Some(colon)) if last_at(query).is_some() => {
            return [&place[..=colon], STARS.as_bytes()].concat();
        }
        _ => place.to_vec(),
    };
    for (n, part) in query.split(|byte| *byte == b'&').enumerate() {
        if n > 0 {
            out.push(b'&');
        }
        let end = find(part, b"=").unwrap_or(part.len());
        let name = String::from_utf8_lossy(&part[..end]).to_ascii_lowercase();
        // Letters of the name may be escaped.
        if end < part.len() && (is_secret(&name) || name.contains('%')) {
            out.extend_from_slice(&part[..=end]);
            out.extend_from_slice(STARS.as_bytes());
        } else {
            out.extend_from_slice(part);
        }
    }
    out
}

/// `host=h password='it''s' dbname=d`, as in a literal: a quote is two.
fn pairs(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    let word = |text: &[u8], of: fn(u8) -> bool| text.iter().take_while(|byte| of(**byte)).count();
    let is_space = |byte: u8| byte.is_ascii_whitespace();
    loop {
        let blank = word(rest, is_space);
        let name = blank
            + word(&rest[blank..], |byte| {
                !byte.is_ascii_whitespace() && byte != b'='
            });
        let equals = name + word(&rest[name..], is_space);
        if rest.get(equals) != Some(&b'=') {
            out.extend_from_slice(rest);
            return out;
        }
        let value = equals + 1 + word(&rest[equals + 1..], is_space);
        let end = value + value_length(&rest[value..]);
        let key = String::from_utf8_lossy(&rest[blank..name]).to_ascii_lowercase();
        let is_clear = !rest[value..end].contains(&b'\\');
        if is_secret(&key) && end > value {
            out.extend_from_slice(&rest[..value]);
            out.extend_from_slice(STARS.as_bytes());
        } else if is_clear || !is_secret(&String::from_utf8_lossy(rest).to_ascii_lowercase()) {
            out.extend_from_slice(&rest[..end]);
        } else {
            out.extend_from_slice(&rest[..value]);
            out.extend_from_slice(STARS.as_bytes());
            return out;
        }
        rest = &rest[end..];
    }
}

/// The length of a value of a connection string in a literal: up to a space, or in quotes, with what a backslash escapes.
fn value_length(text: &[u8]) -> usize {
    let is_quoted = text.starts_with(b"''");
    let mut at = if is_quoted { 2 } else { 0 };
    while at < text.len() {
        match text[at] {
            b'\\' => {
                let slashes = text[at..].iter().take_while(|byte| **byte == b'\\').count();
                at += slashes;
                // One of an odd number escapes what follows; they may be doubled, so that any number may.
                if text[at..].starts_with(b"''") {
                    at += 2;
                } else if at < text.len() {
                    at += 1;
                }
            }
            b'\'' if is_quoted => return (at + 2).min(text.len()),
            byte if byte.is_ascii_whitespace() && !is_quoted => return at,
            _ => at += 1,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_keeps_all_but_its_secrets() {
        for (from, to) in [
            (
                "host=h password=geheim dbname=d",
                "host=h password=**** dbname=d",
            ),
            (
                "host=h PASSWORD = ''ge h\\''eim'' dbname=d",
                "host=h PASSWORD = **** dbname=d",
            ),
            ("password=''ge\\\\\\\\'' user=u", "password=****"),
            ("host=h\\\\ password=geheim", "host=****"),
            ("host=h\\\\ user=u", "host=h\\\\ user=u"),
            ("password=ge\\ heim user=u", "password=**** user=u"),
            (
                "sslpassword=geheim passfile=/geheim",
                "sslpassword=**** passfile=****",
            ),
            (
                "user=''password=x'' host=''''",
                "user=''password=x'' host=''''",
            ),
            ("postgres://u:ge@he:im@h/d?a=b", "postgres://u:****@h/d?a=b"),
            (
                "postgresql://u@h:1/d?p%61ssword=geheim&x=%20",
                "postgresql://u@h:1/d?p%61ssword=****&x=%20",
            ),
            ("dbname=d host=h", "dbname=d host=h"),
            (
                "postgresql://u:a?SEKRET@h/d?x=y&password=geheim",
                "postgresql://u:****@h/d?x=y&password=****",
            ),
            ("postgres://u:a/b?SEKRET@h/d", "postgres://u:****"),
            ("postgres://u:a/SEKRET@h/d?a=b", "postgres://u:****@h/d?a=b"),
            ("postgres://u:a@b/SEKRET@h/d", "postgres://u:****@h/d"),
            (
                "postgres://u@h:1?password=ge@he/im",
                "postgres://u@h:1?password=****",
            ),
            (
                "postgres://u:a?b@h:1?password=ge@heim&x=y",
                "postgres://u:****@h:1?password=****&x=y",
            ),
            (
                "postgres://h/d?password=ge@he:im&a=b@c",
                "postgres://h/d?password=****&a=b@c",
            ),
            (
                "postgres://u@h:1,i:2/d?a=b@c",
                "postgres://u@h:1,i:2/d?a=b@c",
            ),
        ] {
            for quote in ["'", "E'"] {
                let literal = |text| format!("{quote}{text}'");
                let masked = connection(literal(from).as_bytes());
                let masked = masked.map(|masked| String::from_utf8(masked).unwrap());
                assert_eq!(masked, (from != to).then(|| literal(to)), "{from}");
            }
        }
    }
}
