//! Links that open one archive for a while, without a token: signed with a key of the state directory, so
//! that whoever may write there makes them, and the service knows its own. A link names its maker, so that it ends
//! with the token that made it.

use super::StateDir;
use hmac::{Hmac, KeyInit, Mac};
use hubvault_archive::hex;
use hubvault_model::BackupId;
use jiff::Timestamp;
use sha2::Sha256;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// No link opens for longer.
pub const MOST_HOURS: i64 = 168;

const FILE: &str = "link.key";
const KEY_BYTES: usize = 32;
const MESSAGE: &str = "message";
const TOKEN: &str = "token-";

/// Who made a link; part of what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Maker {
    /// A message about a run. Such a link ends by its time alone.
    Message,
    /// The token with this id. Such a link ends with the token, too.
    Token(String),
}

impl Maker {
    /// As it is written in a link.
    fn word(&self) -> String {
        match self {
            Self::Message => MESSAGE.to_owned(),
            Self::Token(id) => format!("{TOKEN}{id}"),
        }
    }

    /// Reads what [`LinkKey::path`] wrote; `None` for anything else.
    pub fn parse(word: &str) -> Option<Self> {
        if word == MESSAGE {
            return Some(Self::Message);
        }
        let id = word.strip_prefix(TOKEN)?;
        let plain = |c: u8| c.is_ascii_digit() || c.is_ascii_lowercase();
        (!id.is_empty() && id.len() <= 64 && id.bytes().all(plain))
            .then(|| Self::Token(id.to_owned()))
    }
}

/// The key cannot be read or made.
#[derive(Debug, thiserror::Error)]
#[error("taking the key of links {}: {source}", path.display())]
pub struct LinkError {
    path: PathBuf,
    source: io::Error,
}

/// What links are signed with.
pub struct LinkKey([u8; KEY_BYTES]);

impl std::fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkKey(***)")
    }
}

impl LinkKey {
    /// `link.key` of a state directory, made when it is first needed; without it all links end.
    pub fn of(state: &StateDir) -> Result<Self, LinkError> {
        let path = state.file(FILE);
        take(&path).map_err(|source| LinkError { path, source })
    }

    /// The path and query of a link to a backup's archive, to be put after the address of the service.
    pub fn path(&self, id: BackupId, expires_at: Timestamp, maker: &Maker) -> String {
        let (id, expires, by) = (id.to_string(), expires_at.as_second(), maker.word());
        let signature = self.mac(&id, expires, Some(maker)).map(Mac::finalize);
        let signature = signature.map_or_else(String::new, |signed| hex(&signed.into_bytes()));
        format!("/download/{id}?expires={expires}&by={by}&signature={signature}")
    }

    /// Whether `signature` was made here for this id, expiry (seconds since 1970) and maker, in a time that says
    /// nothing about the right one. Earlier versions named no maker; their links are checked as they were signed.
    pub fn made(&self, id: &str, expires: i64, maker: Option<&Maker>, signature: &str) -> bool {
        let Some(mac) = self.mac(id, expires, maker) else {
            return false;
        };
        bytes(signature).is_some_and(|bytes| mac.verify_slice(&bytes).is_ok())
    }

    fn mac(&self, id: &str, expires: i64, maker: Option<&Maker>) -> Option<Hmac<Sha256>> {
        // HMAC takes keys of any length (RFC 2104, 2).
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(format!("download\n{id}\n{expires}").as_bytes());
        if let Some(maker) = maker {
            mac.update(format!("\n{}", maker.word()).as_bytes());
        }
        Some(mac)
    }
}

/// Locked while it is read and made: a run and a service may both be the first.
fn take(path: &Path) -> io::Result<LinkKey> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    file.lock()?;
    let mut known = Vec::new();
    Read::by_ref(&mut file)
        .take(KEY_BYTES as u64 + 1)
        .read_to_end(&mut known)?;
    if let Ok(key) = known.as_slice().try_into() {
        return Ok(LinkKey(key));
    }
    if !known.is_empty() {
        tracing::warn!(
            "link key {} is invalid; created a new one, existing links no longer work",
            path.display()
        );
    }
    let mut key = [0; KEY_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&key)?;
    file.sync_all()?;
    Ok(LinkKey(key))
}

fn bytes(hexadecimal: &str) -> Option<Vec<u8>> {
    let digits = hexadecimal.as_bytes();
    let pairs = digits.chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        let plain = pair.len() == 2 && pair.bytes().all(|c| c.is_ascii_hexdigit());
        plain.then(|| u8::from_str_radix(pair, 16).ok())?
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn parts(path: &str) -> (String, i64, Option<Maker>, String) {
        let (id, query) = path
            .strip_prefix("/download/")
            .unwrap()
            .split_once('?')
            .unwrap();
        let mut fields = query.split('&');
        let mut after = || fields.next().unwrap().split_once('=').unwrap().1.to_owned();
        (
            id.to_owned(),
            after().parse().unwrap(),
            Maker::parse(&after()),
            after(),
        )
    }

    #[test]
    fn only_what_was_signed_here_opens() {
        let state = tempfile::tempdir().unwrap();
        let key = LinkKey::of(&StateDir::at(state.path())).unwrap();
        let at = Timestamp::from_second(1_900_000_000).unwrap();
        let maker = Some(Maker::Token("00ff".to_owned()));
        let link = key.path(BackupId::random(), at, maker.as_ref().unwrap());
        let (id, expires, by, signature) = parts(&link);
        assert_eq!(by, maker);
        let by = by.as_ref();
        // Another process reads the same key.
        let again = LinkKey::of(&StateDir::at(state.path())).unwrap();
        assert!(again.made(&id, expires, by, &signature));
        assert!(!key.made(&id, expires + 1, by, &signature));
        assert!(!key.made(&BackupId::random().to_string(), expires, by, &signature));
        for bad in ["", "00", &signature[1..], &format!("{signature}00"), "+f"] {
            assert!(!key.made(&id, expires, by, bad), "{bad}");
        }
        let elsewhere = tempfile::tempdir().unwrap();
        let other = LinkKey::of(&StateDir::at(elsewhere.path())).unwrap();
        assert!(!other.made(&id, expires, by, &signature));
    }

    #[test]
    fn no_other_maker_and_no_missing_one_fits_a_signature() {
        let state = tempfile::tempdir().unwrap();
        let key = LinkKey::of(&StateDir::at(state.path())).unwrap();
        let (id, at) = (
            BackupId::random(),
            Timestamp::from_second(1_900_000_000).unwrap(),
        );
        let ours = Maker::Token("00ff".to_owned());
        let (id, expires, _, signature) = parts(&key.path(id, at, &ours));
        let others = [
            None,
            Some(Maker::Message),
            Some(Maker::Token("00fe".to_owned())),
        ];
        for other in others {
            assert!(
                !key.made(&id, expires, other.as_ref(), &signature),
                "{other:?}"
            );
        }
        // As an earlier version signed: without a maker.
        let old = key.mac(&id, expires, None).unwrap().finalize();
        let old = hex(&old.into_bytes());
        assert!(key.made(&id, expires, None, &old));
        assert!(!key.made(&id, expires, Some(&ours), &old));
    }

    #[test]
    fn a_maker_is_a_message_or_a_token_and_nothing_else() {
        assert_eq!(Maker::parse("message"), Some(Maker::Message));
        for bad in [
            "",
            "token-",
            "token-A",
            "token-a\nb",
            "Message",
            "messages",
            "token",
        ] {
            assert_eq!(Maker::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_key_is_its_owners_and_one_that_is_none_is_made_anew() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join("link.key");
        LinkKey::of(&StateDir::at(state.path())).unwrap();
        let meta = path.metadata().unwrap();
        assert_eq!((meta.len(), meta.permissions().mode() & 0o777), (32, 0o600));
        fs::write(&path, "half a key").unwrap();
        let key = LinkKey::of(&StateDir::at(state.path())).unwrap();
        assert_eq!(fs::read(&path).unwrap(), key.0);
    }

    #[test]
    fn many_who_come_first_have_one_key() {
        let state = tempfile::tempdir().unwrap();
        let keys: Vec<[u8; 32]> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| LinkKey::of(&StateDir::at(state.path())).unwrap().0))
                .collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| key == &keys[0]));
    }
}
