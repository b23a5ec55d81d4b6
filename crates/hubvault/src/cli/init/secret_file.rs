//! Files that hold one secret each, for their owner alone.

use anyhow::{Context, Result, bail};
use hubvault_engine::state::file::{Durability, replace};
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
        Ok(known) if known == *text => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        _ if force => {}
        _ => bail!(
            "{} exists and holds something else; remove it, or replace it with --force",
            path.display()
        ),
    }
    replace(path, text.as_bytes(), 0o600, Durability::Durable)
        .with_context(|| format!("writing {}", path.display()))
}

/// What an earlier call left there, such as one that was interrupted; else a new password, which nobody can guess. A file
/// that others could have written is refused: they would know the password.
pub(super) fn known_or_new(path: &Path) -> Result<SecretString> {
    match read_trusted(path, MOST_BYTES, ReadOnlyMount::Untrusted) {
        Ok(known) if !known.trim().is_empty() => return Ok(SecretString::from(known)),
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("reading {}", path.display()));
        }
        _ => {}
    }
    let mut bytes = [0; 24];
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
        let (first, other) = (known_or_new(&file).unwrap(), known_or_new(&file).unwrap());
        assert_ne!(first.expose_secret(), other.expose_secret());
        write(&file, &first, false).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        write(&file, &first, false).unwrap();
        assert_eq!(
            known_or_new(&file).unwrap().expose_secret(),
            first.expose_secret()
        );
        let refused = write(&file, &other, false).unwrap_err().to_string();
        assert!(
            refused.contains("--force") && !refused.contains(other.expose_secret()),
            "{refused}"
        );
        write(&file, &other, true).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(known_or_new(&file).is_err(), "others may have written it");
    }
}
