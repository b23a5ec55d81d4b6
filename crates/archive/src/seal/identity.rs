//! Private keys that open a sealed archive.

use super::Recipient;
use age::secrecy::{ExposeSecret, SecretString};
use age::ssh::UnsupportedKey;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest key file, in bytes.
const FILE_LIMIT: u64 = 1 << 20;

/// A key file could not be used. The message never quotes the file's content.
#[derive(Debug, thiserror::Error)]
pub enum BadIdentity {
    /// The file.
    #[error("reading the identity file {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Its content.
    #[error("the identity file {}: {what}", path.display())]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
}

/// Private keys that open sealed archives. They are never printed.
#[derive(Clone, Default)]
pub struct Identities {
    list: Vec<Arc<Identity>>,
}

/// A private key and the public key that belongs to it.
pub(super) struct Identity {
    key: Key,
    pub(super) public: Recipient,
}

enum Key {
    X25519(age::x25519::Identity),
    Ssh(Box<age::ssh::Identity>),
}

impl Identities {
    /// No key: for archives that are not sealed, and for what can be read without a key.
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads an age identity file (`AGE-SECRET-KEY-1...` and comments), or an SSH private key, both
    /// without a passphrase.
    pub fn read(path: &Path) -> Result<Self, BadIdentity> {
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(FILE_LIMIT).read_to_end(&mut bytes))
            .map_err(|source| BadIdentity::Read {
                path: path.to_owned(),
                source,
            })?;
        let unusable = |what: String| BadIdentity::Unusable {
            path: path.to_owned(),
            what,
        };
        if bytes.starts_with(b"age-encryption.org/") {
            return Err(unusable(LOCKED_AGE.to_owned()));
        }
        let text = String::from_utf8(bytes)
            .map(SecretString::from)
            .map_err(|_| unusable("it is no text; expected a private key".to_owned()))?;
        parse(text.expose_secret()).map_err(unusable)
    }

    /// Adds the keys of another file.
    pub fn add(&mut self, other: Self) {
        self.list.extend(other.list);
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// A new key for one run, and its public key.
    pub(super) fn of_run() -> (Self, Recipient) {
        let identity = Identity::of_x25519(age::x25519::Identity::generate());
        let public = identity.public.clone();
        let list = vec![Arc::new(identity)];
        (Self { list }, public)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Identity>> {
        self.list.iter()
    }
}

impl Identity {
    fn of_x25519(key: age::x25519::Identity) -> Self {
        Self {
            public: Recipient::of_x25519(key.to_public()),
            key: Key::X25519(key),
        }
    }

    pub(super) fn as_age(&self) -> &dyn age::Identity {
        match &self.key {
            Key::X25519(key) => key,
            Key::Ssh(key) => key.as_ref(),
        }
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let public = self.list.iter().map(|identity| &identity.public);
        f.debug_list().entries(public).finish()
    }
}

const LOCKED_AGE: &str = "it is locked with a passphrase, which hubvault does not ask for; unlock a \
    copy with `age -d FILE > COPY`, name that and remove it afterwards, or open the archive itself \
    with `age -d -i FILE ARCHIVE | tar -xz`";
const LOCKED_SSH: &str = "it is locked with a passphrase, which hubvault does not ask for; unlock a \
    copy with `ssh-keygen -p -N '' -f COPY`, name that and remove it afterwards, or open the archive \
    itself with `age -d -i FILE ARCHIVE | tar -xz`";

fn parse(text: &str) -> Result<Identities, String> {
    let text = text.trim_start();
    if text.starts_with("-----BEGIN AGE ENCRYPTED FILE-----") {
        return Err(LOCKED_AGE.to_owned());
    }
    let list = if text.starts_with("-----BEGIN ") {
        vec![ssh(text)?]
    } else {
        lines(text)?
    };
    Ok(Identities {
        list: list.into_iter().map(Arc::new).collect(),
    })
}

fn ssh(text: &str) -> Result<Identity, String> {
    let known = ["OPENSSH PRIVATE KEY", "RSA PRIVATE KEY"];
    if !known.iter().any(|kind| text[11..].starts_with(kind)) {
        return Err(
            "this kind of key file cannot be used; expected an age identity, or an SSH private key \
             as ssh-keygen writes it"
                .to_owned(),
        );
    }
    let key = age::ssh::Identity::from_buffer(text.as_bytes(), None)
        .map_err(|_| "the SSH private key in it is cut short or damaged".to_owned())?;
    match &key {
        age::ssh::Identity::Unencrypted(_) => {}
        age::ssh::Identity::Unsupported(
            UnsupportedKey::Type(kind) | UnsupportedKey::Hardware(kind),
        ) => {
            let plain: String = kind.chars().filter(char::is_ascii_graphic).collect();
            return Err(format!(
                "cannot seal to keys of type {plain}; expected ssh-ed25519 or ssh-rsa"
            ));
        }
        _ => return Err(LOCKED_SSH.to_owned()),
    }
    let public = age::ssh::Recipient::try_from(key.clone())
        .map_err(|_| "the SSH private key in it does not hold its public key".to_owned())?;
    Ok(Identity {
        key: Key::Ssh(Box::new(key)),
        public: Recipient::of_ssh(public),
    })
}

fn lines(text: &str) -> Result<Vec<Identity>, String> {
    let mut found = Vec::new();
    for (number, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what: &str| Err(format!("line {}: {what}", number + 1));
        if let Ok(key) = line.parse() {
            found.push(Identity::of_x25519(key));
        } else if line.starts_with("AGE-PLUGIN-") {
            return wrong(
                "keys of plugins cannot be used; open the archive with `age -d -i FILE ARCHIVE | \
                 tar -xz`",
            );
        } else if line.parse::<Recipient>().is_ok() {
            return wrong("this is a public key; an archive is opened by the private key");
        } else {
            return wrong("expected a private key (AGE-SECRET-KEY-1...) that is not damaged");
        }
    }
    if found.is_empty() {
        return Err("it holds no private key (AGE-SECRET-KEY-1..., or one of SSH)".to_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str =
        "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
    const PUBLIC: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
    const SSH: &str = "-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW
QyNTUxOQAAACASHiCe+PkCfZuK64ydVyLOWm+uzXzOWJ77nKHKTuwK1AAAAJDfw+9O38Pv
TgAAAAtzc2gtZWQyNTUxOQAAACASHiCe+PkCfZuK64ydVyLOWm+uzXzOWJ77nKHKTuwK1A
AAAEDwasUXNHStOknKmpgyYmEtO5kfAxsCNVecAX1OibME8xIeIJ74+QJ9m4rrjJ1XIs5a
b67NfM5YnvucocpO7ArUAAAACGJvYkB0ZXN0AQIDBAU=
-----END OPENSSH PRIVATE KEY-----
";
    const SSH_PUBLIC: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBIeIJ74+QJ9m4rrjJ1XIs5ab67NfM5YnvucocpO7ArU";
    const SSH_LOCKED: &str = "-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABACxiFWam
CMNJTSX47eEEEVAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIOp15zD417MU8n2f
eBPK0f/P7ebZZ/zhGVPJ6QVAdTMuAAAAkGcNNUMTOAG1etsl9bZLDicGfTo2HDQ6iFrzd7
wnB1GzfvEk5n9kVPQcPJPc+7efv2ZnbQm0L4W/dxpP5UOYdlsjfXNtmFe0q3nctTT5lnEN
Vesxz/iMiALHWnwoyZ924aKFuy1qIcUeqPCyt7ehKLNxCS8YYKSCWa92eLGtojUve32MUT
6LdtnXgJfTGVqtRg==
-----END OPENSSH PRIVATE KEY-----
";

    #[test]
    fn identities_of_age_and_ssh_are_read_with_their_public_keys() {
        for (text, public) in [
            (format!("# created\n\n{SECRET}\r\n"), PUBLIC),
            (SSH.to_owned(), SSH_PUBLIC),
            (SSH.replace('\n', "\r\n"), SSH_PUBLIC),
        ] {
            let identities = parse(&text).unwrap();
            assert_eq!(identities.list[0].public.to_string(), public);
        }
        assert_eq!(parse(&format!("{SECRET}\n{SECRET}")).unwrap().len(), 2);
    }

    #[test]
    fn no_secret_is_printed() {
        let mut identities = parse(SECRET).unwrap();
        identities.add(parse(SSH).unwrap());
        let shown = format!("{identities:?} {identities:#?}");
        assert!(shown.contains(PUBLIC) && !shown.contains("SECRET"));
        // The seed of the SSH key, in base64 as it stands in the file.
        assert!(!shown.contains("8GrFFzR0rTpJyp"));
    }

    #[test]
    fn a_file_that_cannot_be_used_says_why_and_what_to_do() {
        for (text, words) in [
            ("", "no private key"),
            (SSH_LOCKED, "ssh-keygen -p"),
            ("-----BEGIN AGE ENCRYPTED FILE-----\nxx", "age -d FILE"),
            ("-----BEGIN PRIVATE KEY-----\nxx", "cannot be used"),
            (&SSH[..200], "cut short or damaged"),
            (PUBLIC, "line 1: this is a public key"),
            ("# x\nAGE-PLUGIN-YUBIKEY-1XX", "line 2: keys of plugins"),
            (&SECRET[..60], "line 1: expected a private key"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
            assert!(!error.contains("GQ9778"), "{error}");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"age-encryption.org/v1\n\xff").unwrap();
        let error = Identities::read(file.path()).unwrap_err().to_string();
        assert!(error.contains("locked with a passphrase"), "{error}");
        let error = Identities::read(Path::new("/nowhere/key")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/key"), "{error}");
    }
}
