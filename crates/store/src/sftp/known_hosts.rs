//! Which host keys are known (`sshd(8)`, "`SSH_KNOWN_HOSTS` FILE FORMAT").
//!
//! Keys of authorities (`@cert-authority`) are not used: no certificate is asked for.

use super::failure::Failure;
use crate::location::Server;
use crate::options::SftpOptions;
use hmac::{Hmac, KeyInit, Mac};
use russh::keys::ssh_key::known_hosts::{Entry, HostPatterns, Marker};
use russh::keys::{Algorithm, HashAlg, PublicKey};
use sha1::Sha1;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A line about the host.
#[derive(Debug)]
struct Known {
    key: PublicKey,
    is_revoked: bool,
    file: PathBuf,
    line: usize,
}

/// What is known of a host.
#[derive(Debug)]
pub(super) struct KnownHost {
    /// The host as the files name it: `host`, or `[host]:port`.
    name: String,
    /// Where a new key belongs.
    home: PathBuf,
    known: Vec<Known>,
}

impl KnownHost {
    /// Reads what the files say of a server.
    pub(super) fn read(server: &Server, options: &SftpOptions) -> Result<Self, Failure> {
        let system = PathBuf::from("/etc/ssh/ssh_known_hosts");
        let files = match (&options.known_hosts, &options.home) {
            (Some(file), _) => vec![file.clone()],
            (None, Some(home)) => vec![home.join(".ssh/known_hosts"), system],
            (None, None) => vec![system],
        };
        let host = server.host.to_lowercase();
        let name = match server.port {
            22 => host,
            port => format!("[{host}]:{port}"),
        };
        let mut known = Vec::new();
        for file in &files {
            match fs::read(file) {
                Ok(text) => collect(&String::from_utf8_lossy(&text), &name, file, &mut known),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(Failure::denied(format!(
                        "reading the known host keys in {}: {error}",
                        file.display()
                    )));
                }
            }
        }
        Ok(Self {
            name,
            home: files[0].clone(),
            known,
        })
    }

    /// The algorithms in the order in which the server is to choose: those of known keys first, else it shows a key that
    /// nobody knows although it has one that is known.
    pub(super) fn prefer(&self, algorithms: &[Algorithm]) -> Vec<Algorithm> {
        let is_known = |algorithm: &Algorithm| {
            let name = without_hash(algorithm);
            let mut known = self.known.iter().filter(|known| !known.is_revoked);
            known.any(|known| without_hash(&known.key.algorithm()) == name)
        };
        let (mut first, then): (Vec<_>, Vec<_>) = algorithms.iter().cloned().partition(is_known);
        first.extend(then);
        first
    }

    /// Whether this is the host's key.
    pub(super) fn check(&self, key: &PublicKey) -> Result<(), Failure> {
        let name = &self.name;
        let shown = shown(key);
        let same = |known: &&Known| known.key.key_data() == key.key_data();
        if let Some(known) = self.known.iter().filter(same).find(|k| k.is_revoked) {
            return Err(Failure::denied(format!(
                "the host key of {name} ({shown}) is revoked by {} line {}; nothing was sent; ask the server's \
                 administrator",
                known.file.display(),
                known.line
            )));
        }
        if self.known.iter().any(|known| same(&known)) {
            return Ok(());
        }
        let bare = PublicKey::new(key.key_data().clone(), "");
        let line = format!("{name} {}", bare.to_openssh().unwrap_or_default());
        let others: Vec<_> = self.known.iter().filter(|k| !k.is_revoked).collect();
        let Some(other) = others
            .iter()
            .find(|known| known.key.algorithm() == key.algorithm())
            .or(others.first())
        else {
            return Err(Failure::denied(format!(
                "the host key of {name} is not known: it is {shown}; compare that with the key of the server itself \
                 (ssh-keygen -lf /etc/ssh/ssh_host_…_key.pub there), then add this line to {}: {line}",
                self.home.display()
            )));
        };
        Err(Failure::denied(format!(
            "THE HOST KEY OF {name} HAS CHANGED: it is {shown}, but {} line {} has {}; nothing was sent: somebody may be \
             intercepting the connection, or the server was installed again; ask its administrator, and only if the new \
             key is right replace that line with: {line}",
            other.file.display(),
            other.line,
            self::shown(&other.key)
        )))
    }
}

fn shown(key: &PublicKey) -> String {
    format!(
        "{} {}",
        key.algorithm().as_str(),
        key.fingerprint(HashAlg::Sha256)
    )
}

fn without_hash(algorithm: &Algorithm) -> Algorithm {
    match algorithm {
        Algorithm::Rsa { .. } => Algorithm::Rsa { hash: None },
        other => other.clone(),
    }
}

/// Adds what a file says of the host. Lines that are not understood are passed over, as OpenSSH does.
fn collect(text: &str, name: &str, file: &Path, known: &mut Vec<Known>) {
    for (number, line) in text.lines().enumerate() {
        let line = line.replace('\t', " ");
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Ok(entry) = line.parse::<Entry>() else {
            continue;
        };
        if entry.marker() == Some(&Marker::CertAuthority) || !names(entry.host_patterns(), name) {
            continue;
        }
        known.push(Known {
            is_revoked: entry.marker() == Some(&Marker::Revoked),
            key: entry.public_key().clone(),
            file: file.to_owned(),
            line: number + 1,
        });
    }
}

/// Whether a line is about this host.
fn names(patterns: &HostPatterns, name: &str) -> bool {
    match patterns {
        HostPatterns::HashedName { salt, hash } => Hmac::<Sha1>::new_from_slice(salt)
            .is_ok_and(|hmac| hmac.chain_update(name).verify_slice(hash).is_ok()),
        HostPatterns::Patterns(patterns) => {
            let lower = patterns.iter().map(|pattern| pattern.to_lowercase());
            let mut is_named = false;
            for pattern in lower {
                match pattern.strip_prefix('!') {
                    Some(not) if matches(not.as_bytes(), name.as_bytes()) => return false,
                    Some(_) => {}
                    None => is_named |= matches(pattern.as_bytes(), name.as_bytes()),
                }
            }
            is_named
        }
    }
}

/// Whether a pattern with `*` and `?` matches.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.first(), name.first()) {
        (None, None) => true,
        (Some(b'*'), _) => {
            matches(&pattern[1..], name) || (!name.is_empty() && matches(pattern, &name[1..]))
        }
        (Some(b'?'), Some(_)) => matches(&pattern[1..], &name[1..]),
        (Some(one), Some(other)) if one == other => matches(&pattern[1..], &name[1..]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_named_by_patterns() {
        for (patterns, name, is_named) in [
            ("vault", "vault", true),
            ("Vault.Example", "vault.example", true),
            ("vault", "[vault]:2222", false),
            ("[vault]:2222", "[vault]:2222", true),
            ("*.example,!bad.example", "good.example", true),
            ("*.example,!bad.example", "bad.example", false),
            ("v?ult", "vault", true),
            ("v?ult", "vult", false),
            ("*", "anything", true),
        ] {
            let patterns = patterns.parse().unwrap();
            assert_eq!(names(&patterns, name), is_named, "{patterns:?} {name}");
        }
    }
}
