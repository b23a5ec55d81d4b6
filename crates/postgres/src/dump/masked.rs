//! Takes passwords out of definitions before they become part of an archive: `pg_dump` writes those of user mappings,
//! subscriptions, foreign servers and foreign tables in plain text.

/// In the place of a secret.
const STARS: &str = "****";

/// The statements of an object without secrets; `None` where they hold none.
///
/// They are bytes, as names and values may be in any encoding; all of these have ASCII as it is.
pub(crate) fn without_secrets(kind: &str, sql: &[u8]) -> Option<Vec<u8>> {
    let is_secret: fn(&str) -> bool = match kind {
        "USER MAPPING" => |name| !HARMLESS.contains(&name),
        "SERVER" | "FOREIGN TABLE" | "FOREIGN DATA WRAPPER" => is_secret,
        "SUBSCRIPTION" => |_| false,
        _ => return None,
    };
    let mut masked = Vec::with_capacity(sql.len());
    let mut tokens: Vec<Token<'_>> = Vec::new();
    let mut has_secret = false;
    for token in tokenize(sql) {
        let before = |back: usize| tokens.len().checked_sub(back).map(|at| &tokens[at]);
        let new = match (before(2), before(1), &token) {
            (Some(Token::Other(b"(" | b",")), Some(name), Token::Literal(text)) => {
                let value = String::from_utf8_lossy(content(text)).into_owned();
                let is_word = ["true", "false", "on", "off", "yes", "no", "0", "1"];
                let hide = is_secret(&name.name()) && !is_word.contains(&value.as_str());
                hide.then(|| format!("'{STARS}'").into_bytes())
            }
            (_, Some(Token::Other(b"CONNECTION")), Token::Literal(text))
                if kind == "SUBSCRIPTION" =>
            {
                connection(text)
            }
            _ => None,
        };
        has_secret |= new.is_some();
        masked.extend_from_slice(new.as_deref().unwrap_or(token.bytes()));
        if !token.is_space() {
            tokens.push(token);
        }
    }
    has_secret.then_some(masked)
}

/// Options of user mappings that are no secrets, as the common wrappers name them. All others may be.
const HARMLESS: [&str; 8] = [
    "user",
    "username",
    "user_name",
    "remote_user",
    "password_required",
    "use_scram_passthrough",
    "gssdelegation",
    "sslcert",
];

/// Whether an option of this name has a secret as its value.
fn is_secret(name: &str) -> bool {
    let words = ["pass", "secret", "token", "credential"];
    words.iter().any(|word| name.contains(word)) || name.len() > 3 && name.ends_with("key")
}

/// A part of a statement.
enum Token<'a> {
    /// In single quotes, with the `E` before them.
    Literal(&'a [u8]),
    /// In double quotes.
    Quoted(&'a [u8]),
    /// White space.
    Space(&'a [u8]),
    /// A word, or one other character.
    Other(&'a [u8]),
}

impl<'a> Token<'a> {
    fn bytes(&self) -> &'a [u8] {
        let (Self::Literal(bytes) | Self::Quoted(bytes) | Self::Space(bytes) | Self::Other(bytes)) =
            self;
        bytes
    }

    fn is_space(&self) -> bool {
        matches!(self, Self::Space(_))
    }

    /// The name of an option, in small letters: wrappers compare in either way.
    fn name(&self) -> String {
        let name = match self {
            Self::Quoted(bytes) => content(bytes),
            other => other.bytes(),
        };
        String::from_utf8_lossy(name).to_ascii_lowercase()
    }
}

/// What is between the quotes.
fn content(quoted: &[u8]) -> &[u8] {
    let from = quoted.iter().take_while(|byte| **byte == b'E').count() + 1;
    quoted.get(from..quoted.len() - 1).unwrap_or_default()
}

/// `pg_dump` doubles quotes within quotes, in every kind of literal, and never writes `\'`.
fn tokenize(sql: &[u8]) -> impl Iterator<Item = Token<'_>> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80;
    let mut rest = sql;
    std::iter::from_fn(move || {
        let first = *rest.first()?;
        let prefix = usize::from(rest.starts_with(b"E'"));
        let length = match rest[prefix] {
            quote @ (b'\'' | b'"') => prefix + quoted_length(&rest[prefix..], quote),
            _ if is_word(&first) => rest.iter().take_while(|byte| is_word(byte)).count(),
            _ if first.is_ascii_whitespace() => rest
                .iter()
                .take_while(|byte| byte.is_ascii_whitespace())
                .count(),
            _ => 1,
        };
        let token;
        (token, rest) = rest.split_at(length);
        Some(match token[prefix] {
            b'\'' => Token::Literal(token),
            b'"' => Token::Quoted(token),
            byte if byte.is_ascii_whitespace() => Token::Space(token),
            _ => Token::Other(token),
        })
    })
}

fn quoted_length(text: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < text.len() {
        match (text[at], text.get(at + 1)) {
            (byte, Some(next)) if byte == quote && *next == quote => at += 2,
            (byte, _) if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// The literal of a connection string without its secrets.
///
/// Quotes are doubled in it and backslashes may be. A value is replaced up to its end; where the end cannot be told for
/// certain, more of it is replaced, never less.
fn connection(literal: &[u8]) -> Option<Vec<u8>> {
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
fn url(text: &[u8]) -> Vec<u8> {
    let find = |text: &[u8], wanted: &[u8]| text.iter().position(|byte| wanted.contains(byte));
    let (place, query) = text.split_at(find(text, b"?").unwrap_or(text.len()));
    // A password may hold what ends it elsewhere: up to the last @ it is one.
    let at = place.iter().rposition(|byte| *byte == b'@');
    let mut out = match at.and_then(|at| Some((at, find(&place[..at], b":")?))) {
        Some((at, colon)) => [&place[..=colon], STARS.as_bytes(), &place[at..]].concat(),
        None => place.to_vec(),
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

    fn masked(kind: &str, sql: &str) -> Option<String> {
        without_secrets(kind, sql.as_bytes()).map(|sql| String::from_utf8(sql).unwrap())
    }

    #[test]
    fn secrets_of_options_are_replaced_and_nothing_else() {
        let sql = "CREATE USER MAPPING FOR \"password 'x'\" SERVER s OPTIONS (\n    password E'ge''hei\\\\m',\n    \
                   \"user\" 'me, password ''x''',\n    \"Api Id\" 'geheim', password_required 'false', sslkey '/k'\n);\n";
        assert_eq!(
            masked("USER MAPPING", sql).unwrap(),
            "CREATE USER MAPPING FOR \"password 'x'\" SERVER s OPTIONS (\n    password '****',\n    \
             \"user\" 'me, password ''x''',\n    \"Api Id\" '****', password_required 'false', sslkey '****'\n);\n"
        );
        let sql = "CREATE USER MAPPING FOR a SERVER s OPTIONS (\"user\" 'geheim');";
        assert_eq!(masked("USER MAPPING", sql), None);
        let sql = "CREATE FOREIGN TABLE t (password text DEFAULT 'x', a int OPTIONS (key 'true')) SERVER s OPTIONS (\n\
                   secret_token 'geheim', table_name 'password');";
        let expected = sql.replace("geheim", STARS);
        assert_eq!(masked("FOREIGN TABLE", sql).unwrap(), expected);
        assert_eq!(masked("FUNCTION", sql), None);
    }

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
        ] {
            let sql = |text| format!("CREATE SUBSCRIPTION s CONNECTION '{text}' PUBLICATION p;\n");
            let expected = (from != to).then(|| sql(to));
            assert_eq!(masked("SUBSCRIPTION", &sql(from)), expected, "{from}");
        }
    }
}
