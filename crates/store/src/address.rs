//! Where a store is, in one form: texts that name the same place give the same address.

use crate::location::{Location, Server};
use crate::options::Options;
use crate::sftp;
use reqwest::Url;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Where a store is, in one form: the server that is really asked, hosts in lower case, ports and users filled in, links
/// of this machine followed. Two that differ may be one place all the same: only a look at what is there tells.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// Of an object store: who is asked.
    server: String,
    location: Location,
}

/// What is asked of a bucket of Amazon's.
const AMAZON: &str = "https://s3.amazonaws.com";
/// What Google's clients ask where no endpoint is set.
const GOOGLE: &str = "https://storage.googleapis.com";

impl Address {
    /// The address of a location that is opened with these options.
    pub fn of(location: &Location, options: &Options) -> Self {
        let object = &options.object;
        let endpoint = object.endpoint.as_deref();
        let (server, location) = match location {
            Location::Directory(path) => (String::new(), Location::Directory(resolved(path))),
            Location::Sftp(server) => (String::new(), Location::Sftp(login(server))),
            // A bucket of Amazon's has its name alone, whichever region is asked.
            Location::S3(_) => {
                let server = endpoint.map(normal).filter(|server| !is_amazon(server));
                (server.unwrap_or_default(), location.clone())
            }
            Location::Gcs(_) => (normal(endpoint.unwrap_or(GOOGLE)), location.clone()),
            Location::Azure(_) => {
                let account = object.account.as_deref().unwrap_or_default();
                let usual = format!("https://{account}.blob.core.windows.net");
                let server = normal(endpoint.unwrap_or(&usual));
                (format!("{server} {account}"), location.clone())
            }
        };
        Self { server, location }
    }

    /// Who is asked for a bucket; `None` for a directory of any machine, which its URL says.
    pub fn server(&self) -> Option<&str> {
        match self.location {
            Location::Directory(_) | Location::Sftp(_) => None,
            _ if self.server.is_empty() => Some(AMAZON),
            _ => Some(&self.server),
        }
    }

    /// The machine that is asked, without its port; `None` for a directory of this one, and for Amazon's buckets.
    pub fn host(&self) -> Option<&str> {
        if let Location::Sftp(server) = &self.location {
            return Some(&server.host);
        }
        let (_, rest) = self.server.split_once("://")?;
        let authority = rest.split(['/', ' ']).next()?;
        let port = authority.rsplit_once(':');
        let port = port.filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
        Some(port.map_or(authority, |(host, _)| host))
    }

    /// Whether one of the two is the other or lies in it, as far as their names say.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.server == other.server && self.location.overlaps(&other.location)
    }
}

/// A server without what changes nothing: case, the usual port, a `/` at its end.
fn normal(endpoint: &str) -> String {
    let Ok(url) = Url::parse(endpoint) else {
        return endpoint.trim_end_matches('/').to_owned();
    };
    let host = host(url.host_str().unwrap_or_default());
    let port = url.port().map_or_else(String::new, |it| format!(":{it}"));
    let path = url.path().trim_end_matches('/');
    format!("{}://{host}{port}{path}", url.scheme())
}

/// A host in lower case. All names of this machine for itself are one.
fn host(text: &str) -> String {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let bare = bare.trim_end_matches('.').to_ascii_lowercase();
    let Ok(address) = bare.parse::<IpAddr>() else {
        return bare;
    };
    match address.to_canonical() {
        address if address.is_loopback() || address.is_unspecified() => "localhost".to_owned(),
        // What is after the last colon is a port.
        IpAddr::V6(address) => format!("[{address}]"),
        IpAddr::V4(address) => address.to_string(),
    }
}

fn is_amazon(server: &str) -> bool {
    let host = server.split_once("://").map_or(server, |(_, host)| host);
    host.ends_with(".amazonaws.com")
}

fn login(server: &Server) -> Server {
    Server {
        user: sftp::user(server),
        host: host(&server.host),
        ..server.clone()
    }
}

/// Links are followed as far as they lead somewhere: the last names may be of what is not there yet.
fn resolved(path: &Path) -> PathBuf {
    if let Ok(found) = path.canonicalize() {
        return found;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => resolved(parent).join(name),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn address(url: &str, endpoint: Option<&str>, account: Option<&str>) -> Address {
        let mut options = Options::default();
        options.object.endpoint = endpoint.map(str::to_owned);
        options.object.account = account.map(str::to_owned);
        Address::of(&Location::parse(url).unwrap(), &options)
    }

    #[test]
    fn one_server_has_one_address_however_it_is_written() {
        let of = |endpoint| address("s3://b/p", endpoint, None);
        for (one, other) in [
            ("http://s3.example:9000", "http://S3.Example:9000/"),
            ("https://s3.example", "https://s3.example.:443/"),
            ("http://localhost:9000", "http://127.0.0.1:9000"),
            ("http://127.0.0.1:9000", "http://[::1]:9000/"),
            ("http://127.1:9000", "http://LOCALHOST:9000"),
        ] {
            assert_eq!(of(Some(one)), of(Some(other)), "{one} {other}");
        }
        let amazon = Some("https://s3.eu-central-1.amazonaws.com");
        assert_eq!(of(None), of(amazon));
        assert_eq!(of(amazon).server(), Some("https://s3.amazonaws.com"));
        assert_eq!(of(Some("http://a:9000/")).server(), Some("http://a:9000"));
        for (one, other) in [
            (Some("http://a:9000"), Some("http://a:9001")),
            (Some("http://a"), Some("http://b")),
            (Some("https://a/one"), Some("https://a/two")),
            (Some("https://a"), None),
        ] {
            assert_ne!(of(one), of(other));
        }
        for (endpoint, host) in [
            ("http://S3.example:9000/x", Some("s3.example")),
            ("https://[2001:db8::1]", Some("[2001:db8::1]")),
            ("http://[2001:DB8::1]:9000", Some("[2001:db8::1]")),
            ("http://127.0.0.1:9000", Some("localhost")),
            ("https://s3.amazonaws.com", None),
        ] {
            assert_eq!(of(Some(endpoint)).host(), host);
        }
        let google = |endpoint| address("gs://b", endpoint, None);
        assert_eq!(
            google(None),
            google(Some("https://STORAGE.googleapis.com/"))
        );
        let azure = |endpoint, account| address("az://c", endpoint, Some(account));
        let usual = Some("https://acme.blob.core.windows.net:443/");
        assert_eq!(azure(None, "acme"), azure(usual, "acme"));
        assert_ne!(azure(None, "acme"), azure(None, "other"));
    }

    #[test]
    fn one_directory_has_one_address_however_it_is_written() {
        let of = |url: &str| address(url, None, None);
        let me = sftp::user(&match Location::parse("sftp://h/p").unwrap() {
            Location::Sftp(server) => server,
            other => panic!("{other}"),
        });
        let named = format!("sftp://{}@VAULT.example:22/srv/./hub//", me.unwrap());
        assert_eq!(of(&named), of("sftp://vault.example/srv/hub"));
        assert_eq!(of("sftp://u@localhost/p"), of("sftp://u@[::1]/p/"));
        assert_ne!(of("sftp://u@h/p"), of("sftp://u@h:2222/p"));
        assert_eq!(of("sftp://u@H:2222/p").host(), Some("h"));
        assert_eq!(of("/p").host(), None);
        assert!(of("sftp://u@H/p").overlaps(&of("sftp://u@h/p/deep")));
        let place = tempfile::tempdir().unwrap();
        let (real, linked) = (place.path().join("real"), place.path().join("linked"));
        std::fs::create_dir(&real).unwrap();
        symlink(&real, &linked).unwrap();
        for tail in ["", "/", "/new/deep", "/./new//"] {
            let [one, other] = [&real, &linked].map(|it| of(&format!("{}{tail}", it.display())));
            assert_eq!(one, other, "{tail}");
        }
    }
}
