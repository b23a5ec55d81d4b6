//! Takes passwords out of definitions before they become part of an archive: `pg_dump` writes those of user mappings,
//! subscriptions, foreign servers and foreign tables in plain text.

use super::masked_connection::{connection, content};
use super::secret_values::{STARS, holds_secret, is_secret};

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
                let name = name.name();
                let hide = is_secret(&name) && !is_word.contains(&value.as_str())
                    || holds_secret(&name, &value);
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
    fn the_connection_of_a_subscription_has_no_password() {
        let sql = "CREATE SUBSCRIPTION s CONNECTION 'host=h password=geheim' PUBLICATION p WITH (slot_name = 'a');\n";
        let expected = sql.replace("geheim", STARS);
        assert_eq!(masked("SUBSCRIPTION", sql).unwrap(), expected);
    }

    #[test]
    fn values_that_hold_secrets_are_replaced_whatever_their_names() {
        for (option, is_replaced) in [
            ("pwd 'geheim'", true),
            ("authorization 'geheim'", true),
            ("auth_header 'geheim'", true),
            ("key 'geheim'", true),
            ("apikey 'geheim'", true),
            ("options 'user=u Password = geheim'", true),
            ("odbc_UID 'x;PWD=geheim'", true),
            ("headers '{\"X-Token\": \"geheim\"}'", true),
            ("config E'secret_id : geheim'", true),
            ("uri 'https://u:geheim@h/d'", true),
            ("program 'curl -u me:geheim example.com'", true),
            ("program 'curl -ume:geheim example.com'", true),
            ("program 'curl --user me:geheim example.com'", true),
            ("program 'curl -H \"Authorization: Bearer geheim\" h'", true),
            ("program 'cat /data/x.csv'", false),
            ("uri 'https://h:1/d'", false),
            ("uri 'https://u@h/d'", false),
            ("table_name 'password'", false),
            ("filename '/srv/passengers.csv'", false),
            ("author 'off', use_remote_estimate 'true'", false),
        ] {
            for kind in ["SERVER", "FOREIGN DATA WRAPPER", "FOREIGN TABLE"] {
                let sql = format!("CREATE {kind} s OPTIONS (\n    a '1',\n    {option}\n);\n");
                let found = masked(kind, &sql);
                assert_eq!(found.is_some(), is_replaced, "{sql}");
                let is_in = |found: String| found.contains("geheim");
                assert!(!found.is_some_and(is_in), "{sql}");
            }
        }
    }
}
