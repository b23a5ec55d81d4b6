//! Files that hold one secret each, for their owner alone.

use anyhow::{Context, Result, bail};
use hubvault_engine::state::file::{Durability, replace};
use secrecy::{ExposeSecret, SecretString};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The file for a secret beside the configuration: `hubvault.toml` has `hubvault.database_password`.
pub(super) fn path(configuration: &Path, what: &str) -> PathBuf {
    configuration.with_extension(what.replace('.', "_"))
}

/// Writes it. What is there and differs is replaced only with `force`.
pub(super) fn write(path: &Path, secret: &SecretString, force: bool) -> Result<()> {
    let text = secret.expose_secret();
    match std::fs::read_to_string(path) {
        Ok(known) if known == *text => return Ok(()),
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

/// What an earlier call left there, such as one that was interrupted; else a new password, which nobody can guess.
pub(super) fn known_or_new(path: &Path) -> Result<SecretString> {
    match std::fs::read_to_string(path) {
        Ok(known) if !known.trim().is_empty() => return Ok(SecretString::from(known)),
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("reading {}", path.display()));
        }
        _ => {}
    }
    let mut bytes = [0; 24];
    let random = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    random.context("reading random bytes from /dev/urandom")?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(SecretString::from(text))
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
    }
}
