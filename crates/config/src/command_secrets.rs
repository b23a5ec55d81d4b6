//! Passwords that are written into a command. They are masked, as the command's output may repeat them.

use hubvault_engine::command::CommandLine;
use secrecy::SecretString;

/// Shorter words are not masked: too many other texts would go with them.
const SHORTEST: usize = 6;
/// What is written before a secret, as a part of a variable's or an option's name.
const NAMES: [&str; 6] = ["pass", "pwd", "secret", "token", "key", "auth"];

/// What looks like a secret in a command's arguments.
pub(crate) fn secrets(command: &CommandLine) -> Vec<SecretString> {
    let words: Vec<&str> = command
        .argv
        .iter()
        .flat_map(|argument| argument.split(|c: char| c.is_whitespace() || "'\"`;|&()".contains(c)))
        .filter(|word| !word.is_empty())
        .collect();
    let mut found: Vec<&str> = words.iter().copied().filter_map(of_word).collect();
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

/// `--password secret`, `-p secret`, `-u user:secret`.
fn after_option<'a>(option: &str, value: &'a str) -> Option<&'a str> {
    match option {
        "-u" | "--user" => value.split_once(':').map(|(_, password)| password),
        "-p" | "-a" | "-w" => Some(value),
        // A quoted value is a word of its own here.
        _ => {
            let is_before = option.starts_with("--") || option.ends_with('=');
            (is_before && is_secret(option)).then_some(value)
        }
    }
    .filter(|value| !value.starts_with('-'))
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
    }
}
