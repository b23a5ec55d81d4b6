//! API tokens: a name, a role, and a hash of the token. The token itself is not stored.

use anyhow::{Context, Result, bail};
use hubvault_engine::state::StateDir;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Starts every token, so that scanners find one that was committed to a repository.
const PREFIX: &str = "hv_";
/// The name of the token of a new installation.
pub(crate) const FIRST: &str = "first";
/// 64 bits of a hash of 256 random ones.
const ID_DIGITS: usize = 16;

/// What a token allows; each role includes those before it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// See everything but secrets.
    Read,
    /// Start runs, create links to archives.
    Operate,
    /// Change the configuration.
    Admin,
}

impl Role {
    /// Its name on the command line and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

/// A token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Token {
    /// Its name, in the audit log.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// When it was created.
    pub created_at: Timestamp,
    /// The hash of its text, in hexadecimal digits.
    sha256: String,
    /// Whether it stands for a person whom an identity provider knows, as long as a session: nothing of it is stored.
    #[serde(skip)]
    is_person: bool,
}

impl Token {
    /// The rights of a person for a session; `id` is a hash.
    pub(crate) fn of_person(name: &str, role: Role, id: &str) -> Self {
        Self {
            name: name.to_owned(),
            role,
            created_at: Timestamp::now(),
            sha256: id.to_owned(),
            is_person: true,
        }
    }

    /// Whether it is a person of an identity provider.
    pub(crate) fn is_person(&self) -> bool {
        self.is_person
    }

    /// The id in links: a part of its hash, so that a new token of the same name has a new id.
    pub fn id(&self) -> String {
        self.sha256.chars().take(ID_DIGITS).collect()
    }
}

/// `tokens.json` of a state directory. It is read for every request, so that revoking a token takes effect at once.
#[derive(Clone, Debug)]
pub struct Tokens {
    path: PathBuf,
    /// The one token of a service that is not set up, which is stored nowhere.
    unstored: Option<Token>,
}

impl Tokens {
    /// The tokens of a state directory.
    pub fn of(state: &StateDir) -> Self {
        Self {
            path: state.file("tokens.json"),
            unstored: None,
        }
    }

    /// The administrator's token of a service that is not set up, and its text: the given one, or a random one.
    pub(crate) fn unstored(given: Option<SecretString>) -> Result<(Self, SecretString)> {
        let text = match given {
            Some(text) => text,
            None => new_text()?,
        };
        let tokens = Self {
            path: PathBuf::new(),
            unstored: Some(first(&text)),
        };
        Ok((tokens, text))
    }

    /// All tokens, oldest first.
    pub fn list(&self) -> Result<Vec<Token>> {
        if let Some(token) = &self.unstored {
            return Ok(vec![token.clone()]);
        }
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| self.doing("reading")),
        };
        serde_json::from_str(&text).with_context(|| {
            format!(
                "{}; move it away and create new tokens (hubvault token create)",
                self.doing("reading")
            )
        })
    }

    /// Creates a token and returns its text, which is not stored.
    pub fn create(&self, name: &str, role: Role) -> Result<String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            bail!("{name:?} is no name for a token: letters, digits and . _ - @, at most 64");
        }
        let _lock = self.lock()?;
        let mut tokens = self.list()?;
        if tokens.iter().any(|token| token.name == name) {
            bail!("there is a token {name} already; revoke it first, or take another name");
        }
        let text = format!("{PREFIX}{}", hex(&random()?));
        tokens.push(Token {
            name: name.to_owned(),
            role,
            created_at: Timestamp::now(),
            sha256: hash(&text),
            is_person: false,
        });
        self.write(&tokens)?;
        Ok(text)
    }

    /// Whether no token was ever made here.
    pub(crate) fn is_new(&self) -> Result<bool> {
        let exists = self.path.try_exists();
        Ok(!exists.with_context(|| self.doing("looking for"))?)
    }

    /// Creates the administrator's token of a new installation: none was ever made here, not even one that was revoked
    /// since. Of several services at once one does it. `given` is its text; without it, a random one is made and returned.
    pub(crate) fn create_first(
        &self,
        given: Option<&SecretString>,
    ) -> Result<Option<SecretString>> {
        let _lock = self.lock()?;
        if !self.is_new()? {
            return Ok(None);
        }
        let text = match given {
            Some(text) => text.clone(),
            None => new_text()?,
        };
        self.write(&[first(&text)])?;
        Ok(Some(text))
    }

    /// Revokes a token.
    pub fn revoke(&self, name: &str) -> Result<()> {
        let _lock = self.lock()?;
        let mut tokens = self.list()?;
        let before = tokens.len();
        tokens.retain(|token| token.name != name);
        if tokens.len() == before {
            bail!("there is no token {name}; `hubvault token list` names them");
        }
        self.write(&tokens)
    }

    /// The token with this text. All hashes are compared in full, so that the time it takes reveals nothing about a
    /// token.
    pub fn whose(&self, text: &str) -> Result<Option<Token>> {
        let asked = hash(text);
        let mut found = None;
        for token in self.list()? {
            if same(asked.as_bytes(), token.sha256.as_bytes()) {
                found = Some(token);
            }
        }
        Ok(found)
    }

    /// The token with this id; `None` if it was revoked.
    pub fn with_id(&self, id: &str) -> Result<Option<Token>> {
        Ok(self.list()?.into_iter().find(|token| token.id() == id))
    }

    fn doing(&self, what: &str) -> String {
        format!("{what} the tokens {}", self.path.display())
    }

    /// Without it, two commands at the same time would lose one token.
    fn lock(&self) -> Result<File> {
        let path = self.path.with_extension("lock");
        let lock = || -> std::io::Result<File> {
            let mut options = OpenOptions::new();
            options.create(true).truncate(false).write(true).mode(0o600);
            let file = options.open(&path)?;
            file.lock()?;
            Ok(file)
        };
        lock().with_context(|| self.doing("locking"))
    }

    fn write(&self, tokens: &[Token]) -> Result<()> {
        let json = serde_json::to_vec_pretty(tokens)?;
        write_private(&self.path, &json).with_context(|| self.doing("writing"))
    }
}

fn new_text() -> Result<SecretString> {
    Ok(format!("{PREFIX}{}", hex(&random()?)).into())
}

fn first(text: &SecretString) -> Token {
    Token {
        name: FIRST.to_owned(),
        role: Role::Admin,
        created_at: Timestamp::now(),
        sha256: hash(text.expose_secret()),
        is_person: false,
    }
}

/// Replaces a file atomically with one that only its owner may read.
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true).mode(0o600);
    let mut file = options.open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(fresh, path)
}

/// 256 random bits from the kernel.
pub(crate) fn random() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("reading random bits from /dev/urandom")?;
    Ok(bytes)
}

/// Lower hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |bits: u8| char::from_digit(u32::from(bits), 16).unwrap_or('0');
    let digits = bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    digits.collect()
}

/// Whether both are equal, in a time that depends only on their length.
pub(crate) fn same(one: &[u8], other: &[u8]) -> bool {
    let differ = one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
    one.len() == other.len() && std::hint::black_box(differ) == 0
}

pub(crate) fn hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_token_opens_until_it_is_revoked_and_its_text_is_nowhere() {
        let directory = tempfile::tempdir().unwrap();
        let tokens = Tokens::of(&StateDir::at(directory.path()));
        assert!(tokens.whose("hv_").unwrap().is_none());
        let text = tokens.create("ci", Role::Operate).unwrap();
        let other = tokens.create("board", Role::Read).unwrap();
        assert!(text.len() == 67 && text != other);
        let path = directory.path().join("tokens.json");
        assert!(!fs::read_to_string(&path).unwrap().contains(&text[3..]));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let whose = tokens.whose(&text).unwrap().unwrap();
        assert_eq!((whose.name.as_str(), whose.role), ("ci", Role::Operate));
        assert_eq!(tokens.with_id(&whose.id()).unwrap().unwrap().name, "ci");
        assert!(tokens.create("ci", Role::Read).is_err());
        assert!(tokens.create("../x", Role::Read).is_err());
        tokens.revoke("ci").unwrap();
        assert!(tokens.whose(&text).unwrap().is_none());
        assert!(tokens.whose(&other).unwrap().is_some());
        assert!(tokens.revoke("ci").is_err());
        // Another of the same name is another.
        tokens.create("ci", Role::Operate).unwrap();
        assert!(tokens.with_id(&whose.id()).unwrap().is_none());
    }

    #[test]
    fn roles_stand_in_their_order() {
        assert!(Role::Read < Role::Operate && Role::Operate < Role::Admin);
        assert!(same(b"ab", b"ab") && !same(b"ab", b"ac") && !same(b"ab", b"abc"));
    }
}
