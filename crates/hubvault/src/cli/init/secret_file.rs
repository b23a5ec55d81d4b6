//! Files that hold one secret each, for their owner alone.

use anyhow::{Context, Result, bail};
use hubvault_engine::state::file::{Durability, create, replace};
use hubvault_engine::state::ownership::{ReadOnlyMount, read_trusted};
use secrecy::{ExposeSecret, SecretString};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The file for a secret beside the configuration: `hubvault.toml` has `hubvault.database_password`.
pub(super) fn path(configuration: &Path, what: &str) -> PathBuf {
    configuration.with_extension(what.replace('.', "_"))
}

/// More than any secret has.
const MOST_BYTES: u64 = 1 << 16;

/// Writes it, also over the same text: then its mode is right. What differs is replaced only with `force`.
pub(super) fn write(path: &Path, secret: &SecretString, force: bool) -> Result<()> {
    let text = secret.expose_secret();
    match read_trusted(path, MOST_BYTES, ReadOnlyMount::Untrusted) {
        Ok(known) if value(&known) == text => {}
        Err(error) if error.kind() == ErrorKind::NotFound && !force => {
            return match create(path, text.as_bytes(), 0o600) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    bail!(holds_something_else(path))
                }
                done => done.with_context(|| format!("writing {}", path.display())),
            };
        }
        _ if force => {}
        _ => bail!(holds_something_else(path)),
    }
    replace(path, text.as_bytes(), 0o600, Durability::Durable)
        .with_context(|| format!("writing {}", path.display()))
}

fn holds_something_else(path: &Path) -> String {
    format!(
        "{} exists and holds something else; remove it, or replace it with --force",
        path.display()
    )
}

/// A file's text without the line break at its end, as the configuration reads it.
fn value(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

/// The bytes of a password that is made here; it has two hexadecimal digits for each.
const RANDOM_BYTES: usize = 24;

/// The password that an earlier call made, such as one that was interrupted; `None` for any other text, such as the
/// password of another role. A file that others could have written is refused: they would know the password.
pub(super) fn made_before(path: &Path) -> Result<Option<SecretString>> {
    match read_trusted(path, MOST_BYTES, ReadOnlyMount::Untrusted) {
        Ok(known) => {
            let known = value(&known);
            let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            let is_made = known.len() == 2 * RANDOM_BYTES && known.bytes().all(is_digit);
            Ok(is_made.then(|| SecretString::from(known)))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// A new password, which nobody can guess. Refused before anything is done where the file holds something else that is
/// not to be replaced.
pub(super) fn new_password(path: &Path, force: bool) -> Result<SecretString> {
    if path.symlink_metadata().is_ok() && !force {
        bail!(holds_something_else(path));
    }
    let mut bytes = [0; RANDOM_BYTES];
    let random = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    random.context("reading random bytes from /dev/urandom")?;
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(SecretString::from(digits.concat()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_secret_is_its_owners_and_is_not_replaced_unasked() {
        let place = tempfile::tempdir().unwrap();
        let file = path(&place.path().join("hubvault.toml"), "database.password");
        assert!(file.ends_with("hubvault.database_password"));
        assert!(made_before(&file).unwrap().is_none());
        let new = || new_password(&file, false).unwrap();
        let (first, other) = (new(), new());
        assert_ne!(first.expose_secret(), other.expose_secret());
        write(&file, &first, false).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        write(&file, &first, false).unwrap();
        let known = || made_before(&file).unwrap();
        assert_eq!(known().unwrap().expose_secret(), first.expose_secret());
        assert!(new_password(&file, false).is_err());
        let refused = write(&file, &other, false).unwrap_err().to_string();
        assert!(
            refused.contains("--force") && !refused.contains(other.expose_secret()),
            "{refused}"
        );
        write(&file, &other, true).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(made_before(&file).is_err(), "others may have written it");
    }

    #[test]
    fn only_a_password_that_was_made_here_is_taken_again() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("password");
        let made = "0123456789abcdef".repeat(3);
        for (text, is_made) in [
            (made.clone(), true),
            (format!("{made}\n"), true),
            (format!("{made}\r\n"), true),
            (format!("{made}\n\n"), false),
            (format!(" {made}"), false),
            (format!("{made}0"), false),
            (made.to_uppercase(), false),
            ("SuperPw".to_owned(), false),
            (String::new(), false),
        ] {
            std::fs::write(&file, &text).unwrap();
            let known = made_before(&file).unwrap();
            let known = known.as_ref().map(ExposeSecret::expose_secret);
            assert_eq!(known, is_made.then_some(made.as_str()), "{text:?}");
        }
    }
}
