//! Where a store is, as people write it.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where a store is. Shown as a URL, in which no credentials can be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// `file:///srv/backups`, or an absolute path.
    Directory(PathBuf),
    /// `s3://bucket/prefix`; Amazon's or anybody's server that speaks S3.
    S3(Bucket),
    /// `gs://bucket/prefix`.
    Gcs(Bucket),
    /// `az://container/prefix`; the account is a setting.
    Azure(Bucket),
    /// `sftp://user@host:port/path`.
    Sftp(Server),
}

/// A bucket, or container, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// What every key in it begins with, without a `/` at either end; may be empty.
    pub prefix: String,
}

/// A directory of another machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    /// Who logs in; `None`: the user of this process.
    pub user: Option<String>,
    /// The machine.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The directory: absolute, or below the user's home with `/~/` before it.
    pub path: String,
}

/// A text that says of no store where it is.
#[derive(Debug, thiserror::Error)]
#[error("{shown:?} is no place for backups: {why}")]
pub struct InvalidLocation {
    shown: String,
    why: &'static str,
}

const FORMS: &str =
    "it must be file:///…, s3://bucket/…, gs://bucket/…, az://container/… or sftp://user@host/…";

impl Location {
    /// Makes one of a URL, or of an absolute path.
    pub fn parse(text: &str) -> Result<Self, InvalidLocation> {
        parse(text).map_err(|why| InvalidLocation {
            shown: shown(text),
            why,
        })
    }

    /// The place of this name below it.
    #[must_use]
    pub fn below(&self, name: &str) -> Self {
        let bucket = |bucket: &Bucket| {
            let before = match bucket.prefix.as_str() {
                "" => String::new(),
                prefix => format!("{prefix}/"),
            };
            Bucket {
                name: bucket.name.clone(),
                prefix: format!("{before}{name}"),
            }
        };
        match self {
            Self::Directory(path) => Self::Directory(path.join(name)),
            Self::S3(of) => Self::S3(bucket(of)),
            Self::Gcs(of) => Self::Gcs(bucket(of)),
            Self::Azure(of) => Self::Azure(bucket(of)),
            Self::Sftp(server) => Self::Sftp(Server {
                path: format!("{}/{name}", server.path),
                ..server.clone()
            }),
        }
    }

    /// Whether one of the two is the other or lies in it, as far as their names say.
    pub fn overlaps(&self, other: &Self) -> bool {
        let nested = |one: &str, other: &str| {
            Path::new(one).starts_with(other) || Path::new(other).starts_with(one)
        };
        match (self, other) {
            (Self::Directory(one), Self::Directory(other)) => {
                one.starts_with(other) || other.starts_with(one)
            }
            (Self::S3(one), Self::S3(other))
            | (Self::Gcs(one), Self::Gcs(other))
            | (Self::Azure(one), Self::Azure(other)) => {
                one.name == other.name && nested(&one.prefix, &other.prefix)
            }
            (Self::Sftp(one), Self::Sftp(other)) => {
                let host =
                    |server: &Server| (server.user.clone(), server.host.clone(), server.port);
                host(one) == host(other) && nested(&one.path, &other.path)
            }
            _ => false,
        }
    }

    /// The directory of this machine, where it is one.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(path) => Some(path),
            _ => None,
        }
    }
}

/// A text without what may be secret in it: a password before an @, a signature after a ? or #.
fn shown(text: &str) -> String {
    let end = text.find(['?', '#']).map_or(text.len(), |at| at + 1);
    let (place, cut) = text.split_at(end);
    // A password may have any of them.
    if cut.contains('@') {
        return "…".to_owned();
    }
    let rest = match place.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => place.to_owned(),
    };
    let more = if cut.is_empty() { "" } else { "…" };
    format!("{rest}{more}")
}

fn parse(text: &str) -> Result<Location, &'static str> {
    if text.chars().any(char::is_control) {
        return Err("it has control characters");
    }
    if text.starts_with('/') {
        return Ok(Location::Directory(plain(text)));
    }
    let (scheme, rest) = text.split_once("://").ok_or(FORMS)?;
    match scheme.to_ascii_lowercase().as_str() {
        "file" if rest.starts_with('/') => Ok(Location::Directory(plain(rest))),
        "file" => Err("a path must be absolute: file:///srv/backups"),
        "s3" => bucket(rest).map(Location::S3),
        "gs" => bucket(rest).map(Location::Gcs),
        "az" => bucket(rest).map(Location::Azure),
        "sftp" => server(rest).map(Location::Sftp),
        _ => Err(FORMS),
    }
}

/// A path without what changes nothing: `.` and a `/` too many.
fn plain(path: &str) -> PathBuf {
    Path::new(path).components().collect()
}

fn bucket(rest: &str) -> Result<Bucket, &'static str> {
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.trim_end_matches('/');
    if name.contains('@') {
        return Err("credentials are settings of their own and never part of the URL");
    }
    if rest.contains(['?', '#']) {
        return Err("settings like region or endpoint are settings of their own, without ? and #");
    }
    if name.is_empty() {
        return Err("it names no bucket");
    }
    if prefix.split('/').any(|part| part == "." || part == "..") || prefix.contains("//") {
        return Err("a part of its prefix is empty, . or ..");
    }
    Ok(Bucket {
        name: name.to_owned(),
        prefix: prefix.trim_start_matches('/').to_owned(),
    })
}

fn server(rest: &str) -> Result<Server, &'static str> {
    let (authority, path) = rest.split_once('/').ok_or("it names no directory")?;
    let (user, address) = match authority.rsplit_once('@') {
        Some((user, _)) if user.contains(':') => {
            return Err("a password is a setting of its own and never part of the URL");
        }
        Some(("", _)) => return Err("it names no user before the @"),
        Some((user, address)) => (Some(user.to_owned()), address),
        None => (None, authority),
    };
    let (host, port) = match address.strip_prefix('[') {
        Some(six) => {
            let (host, port) = six.split_once(']').ok_or("its address has no ]")?;
            (host, port.strip_prefix(':'))
        }
        None => address
            .split_once(':')
            .map_or((address, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err("it names no host");
    }
    let port = port.map_or(Ok(22), str::parse);
    let path = plain(&format!("/{path}")).display().to_string();
    if path == "/" {
        return Err("it names no directory");
    }
    Ok(Server {
        user,
        host: host.to_owned(),
        port: port.map_err(|_| "its port is no number up to 65535")?,
        path,
    })
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, bucket) = match self {
            Self::Directory(path) => return write!(f, "file://{}", path.display()),
            Self::Sftp(server) => return server.fmt(f),
            Self::S3(bucket) => ("s3", bucket),
            Self::Gcs(bucket) => ("gs", bucket),
            Self::Azure(bucket) => ("az", bucket),
        };
        write!(f, "{scheme}://{}", bucket.name)?;
        if bucket.prefix.is_empty() {
            return Ok(());
        }
        write!(f, "/{}", bucket.prefix)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sftp://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        if self.port != 22 {
            write!(f, ":{}", self.port)?;
        }
        f.write_str(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_shown_again() {
        for text in [
            "file:///srv/backups",
            "s3://acme-backups",
            "s3://acme-backups/hub/day",
            "gs://b/p",
            "az://container/p",
            "sftp://backup@vault.example/srv/hub",
            "sftp://vault:2222/srv/hub",
            "sftp://b@[::1]:2222/~/hub",
        ] {
            assert_eq!(Location::parse(text).unwrap().to_string(), text);
        }
        for (text, same) in [
            ("/srv/backups", "file:///srv/backups"),
            ("file:///srv/./backups//", "file:///srv/backups"),
            ("sftp://v/srv//./p/", "sftp://v/srv/p"),
            ("S3://b/p/", "s3://b/p"),
            ("sftp://v:22/p/", "sftp://v/p"),
        ] {
            assert_eq!(Location::parse(text).unwrap().to_string(), same);
        }
    }

    #[test]
    fn places_overlap_where_one_lies_in_the_other() {
        let place = |text: &str| Location::parse(text).unwrap();
        for (one, other, expected) in [
            ("s3://b", "s3://b/p", true),
            ("s3://b/p", "s3://b/p", true),
            ("s3://b/p", "s3://b/pq", false),
            ("s3://b/p", "s3://c/p", false),
            ("s3://b/p", "gs://b/p", false),
            ("/srv/a", "file:///srv/a/b", true),
            ("/srv/a", "/srv/ab", false),
            ("sftp://u@h/a", "sftp://u@h/a/b", true),
            ("sftp://u@h/a", "sftp://v@h/a", false),
        ] {
            let (one, other) = (place(one), place(other));
            assert_eq!(one.overlaps(&other), expected, "{one} {other}");
            assert_eq!(other.overlaps(&one), expected, "{one} {other}");
            assert!(one.overlaps(&one.below("job")));
        }
        assert_eq!(place("s3://b").below("hub").to_string(), "s3://b/hub");
        assert_eq!(place("s3://b/p").below("hub").to_string(), "s3://b/p/hub");
    }

    #[test]
    fn what_is_no_place_is_refused_without_its_password() {
        for text in [
            "",
            "backups",
            "ftp://host/path",
            "file://srv",
            "s3://",
            "s3:///prefix",
            "s3://key:hunter2@bucket/p",
            "s3://bucket/p?region=x",
            "s3://bucket/../p",
            "s3://bucket/a//b",
            "https://account.blob.core.windows.net/c?sv=1&sig=hunter2",
            "s3://bucket/p#hunter2",
            "sftp://u:hunter2@host/p?a@b",
            "sftp://u:a?hunter2@host/p",
            "sftp://u:hunter2#a@host/p",
            "sftp://u:hunter2@host/p",
            "sftp://host",
            "sftp://host/",
            "sftp://host/./",
            "sftp://@host/p",
            "sftp://host:99999/p",
            "sftp:///p",
        ] {
            let error = Location::parse(text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
