//! Passwords that are written into a command. They are masked, as the command's output may repeat them.

use hubvault_engine::command::CommandLine;
use secrecy::SecretString;

/// Shorter words are not masked: too many other texts would go with them.
const SHORTEST: usize = 6;
/// What is written before a secret, as a part of a variable's or an option's name.
const NAMES: [&str; 6] = ["pass", "pwd", "secret", "token", "key", "auth"];
/// What is written before `user:secret`, besides [`NAMES`].
const LOGINS: [&str; 3] = ["user", "login", "cred"];
/// What is written in a header before a secret.
const SCHEMES: [&str; 3] = ["bearer", "basic", "token"];

/// What looks like a secret in a command's arguments.
pub(crate) fn secrets(command: &CommandLine) -> Vec<SecretString> {
    let words: Vec<&str> = command
        .argv
        .iter()
        .flat_map(|argument| argument.split(|c: char| c.is_whitespace() || "'\"`;|&()".contains(c)))
        .filter(|word| !word.is_empty())
        .collect();
    let mut found: Vec<&str> = words.iter().copied().filter_map(of_word).collect();
    found.extend(words.iter().copied().filter_map(of_login));
    found.extend(
        words
            .windows(2)
            .filter_map(|pair| after_option(pair[0], pair[1])),
    );
    found
        .into_iter()
        .filter(|secret| secret.len() >= SHORTEST && !secret.starts_with(['$', '/', '.']))
        .map(|secret| SecretString::from(secret.to_owned()))
        .collect()
}

/// `NAME=secret`, `--name=secret`, `-psecret`, `scheme://user:secret@host`.
fn of_word(word: &str) -> Option<&str> {
    if let Some((_, rest)) = word.split_once("://")
        && let Some((user, _)) = rest.rsplit_once('@')
    {
        return user.split_once(':').map(|(_, password)| password);
    }
    match word.split_once('=') {
        Some((name, value)) => is_secret(name).then_some(value),
        None => word.strip_prefix("-p").filter(|_| !word.starts_with("--")),
    }
}

/// `--user=user:secret`, `-uuser:secret`, `-fsSuuser:secret`, `X-Api-Key:secret`.
fn of_login(word: &str) -> Option<&str> {
    if word.contains("://") {
        return None;
    }
    let (before, secret) = word.split_once(':')?;
    let is_one = match before.split_once('=') {
        Some((name, _)) => is_login(name) || is_secret(name) || is_header(before),
        None => is_short_login(before) || is_header(before),
    };
    is_one.then_some(secret)
}

/// `--password secret`, `-p secret`, `-u user:secret`, `X-Api-Key: secret`, `Bearer secret`.
fn after_option<'a>(option: &str, value: &'a str) -> Option<&'a str> {
    match option {
        _ if is_login(option) || is_short_login(option) && option.ends_with(['u', 'U']) => {
            value.split_once(':').map(|(_, password)| password)
        }
        _ if SCHEMES.contains(&option.to_ascii_lowercase().as_str()) => Some(value),
        _ if option.strip_suffix(':').is_some_and(is_header) => {
            let is_scheme = SCHEMES.contains(&value.to_ascii_lowercase().as_str());
            (!is_scheme).then_some(value)
        }
        "-p" | "-a" | "-w" => Some(value),
        // A quoted value is a word of its own here.
        _ => {
            let is_before = option.starts_with("--") || option.ends_with('=');
            (is_before && is_secret(option)).then_some(value)
        }
    }
    .filter(|value| !value.starts_with('-'))
}

/// `--user`, `--proxy-user`, `--login`.
fn is_login(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    name.starts_with("--") && LOGINS.iter().any(|part| lower.contains(part))
}

/// `-u`, also behind other options of one letter.
fn is_short_login(option: &str) -> bool {
    let letters = option.strip_prefix('-');
    letters.is_some_and(|letters| !letters.starts_with('-') && letters.contains(['u', 'U']))
}

/// `Authorization`, `X-Auth-Token`, also as `-HX-Auth-Token` and `--header=X-Auth-Token`.
fn is_header(name: &str) -> bool {
    let name = name.rsplit('=').next().unwrap_or(name);
    let name = name.strip_prefix("-H").unwrap_or(name);
    let is_named = name.eq_ignore_ascii_case("authorization") || name.contains('-');
    is_named && !name.starts_with('-') && is_secret(name)
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    NAMES.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn passwords_in_commands_are_found() {
        let found = |text: &str| {
            let secrets = secrets(&CommandLine::shell(text));
            let plain = secrets
                .iter()
                .map(|secret| secret.expose_secret().to_owned());
            plain.collect::<Vec<_>>()
        };
        for text in [
            "PGPASSWORD=hunter22 pg_dump hub",
            "PGPASSWORD='hunter22' pg_dump hub",
            "mysqldump --password=hunter22 hub",
            "mysqldump -phunter22 hub",
            "curl -u backup:hunter22 https://example.org",
            "curl --user backup:hunter22 https://example.org",
            "curl --user=backup:hunter22 https://example.org",
            "curl --user='backup:hunter22' https://example.org",
            "curl --proxy-user=backup:hunter22 https://example.org",
            "curl --proxy-user backup:hunter22 https://example.org",
            "curl -ubackup:hunter22 https://example.org",
            "curl -Ubackup:hunter22 https://example.org",
            "curl -fsSu backup:hunter22 https://example.org",
            "curl -fsSubackup:hunter22 https://example.org",
            "tool --auth=backup:hunter22",
            "curl -H 'Authorization: Bearer hunter22' https://example.org",
            "curl -H 'X-Api-Key: hunter22' https://example.org",
            "curl -HX-Api-Key:hunter22 https://example.org",
            "curl --header=X-Api-Key:hunter22 https://example.org",
            "curl --header='X-Api-Key: hunter22' https://example.org",
            "curl --oauth-token hunter22 https://example.org",
            "redis-cli -a hunter22 --rdb -",
            "pg_dump postgres://backup:hunter22@db/hub",
        ] {
            assert!(
                found(text).contains(&"hunter22".to_owned()),
                "{text}: {:?}",
                found(text)
            );
        }
        assert!(found("PGPASSFILE=/run/secrets/db pg_dump -p 5432 --no-password").is_empty());
        assert!(found("echo $TOKEN; API_KEY=$KEY /opt/dump").is_empty());
        // Other texts would go with them.
        for text in [
            "docker run --image=postgres:latest -v /data:/backup --user=postgres:postgr",
            "echo 'the key: missing'; ffmpeg -filter:complex",
        ] {
            let found = found(text);
            let is_over = ["latest", "missing", "complex"];
            assert!(
                !is_over.iter().any(|word| found.iter().any(|it| it == word)),
                "{found:?}"
            );
        }
    }
}
