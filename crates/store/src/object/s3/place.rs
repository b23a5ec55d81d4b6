//! Where a bucket is asked.

use super::super::failure::Failure;
use crate::error::ErrorKind;
use crate::options::ObjectOptions;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::sync::{PoisonError, RwLock};

/// What is written as it is in queries.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// What is written as it is in paths.
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// The server, and how a bucket is named to it.
#[derive(Debug)]
pub(crate) struct Place {
    bucket: String,
    /// The server where it is not Amazon's, without `/` at its end.
    endpoint: Option<String>,
    path_style: bool,
    region: RwLock<String>,
    is_region_known: bool,
}

impl Place {
    /// The place of a bucket.
    pub(crate) fn new(bucket: &str, options: &ObjectOptions) -> Result<Self, Failure> {
        let endpoint = options
            .endpoint
            .as_deref()
            .map(|text| text.trim_end_matches('/'));
        if let Some(endpoint) = endpoint
            && !matches!(endpoint.split_once("://"), Some(("http" | "https", host)) if !host.is_empty())
        {
            let why = "the endpoint is no address such as https://s3.example.com";
            return Err(Failure::new(ErrorKind::Failed, why));
        }
        // Certificates are for one name before the domain's.
        let path_style =
            options.path_style || bucket.contains('.') || endpoint.is_some_and(is_address);
        Ok(Self {
            bucket: bucket.to_owned(),
            endpoint: endpoint.map(str::to_owned),
            path_style,
            region: RwLock::new(options.region.clone().unwrap_or_else(|| "us-east-1".into())),
            is_region_known: options.region.is_some(),
        })
    }

    /// The region.
    pub(crate) fn region(&self) -> String {
        let region = self.region.read().unwrap_or_else(PoisonError::into_inner);
        region.clone()
    }

    /// Learns the bucket's region from an answer; whether asking again there is worth it.
    pub(crate) fn learn(&self, region: &str) -> bool {
        let mut known = self.region.write().unwrap_or_else(PoisonError::into_inner);
        // It becomes a part of the address.
        let is_region = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let is_named = !region.is_empty() && region.chars().all(is_region);
        let is_new = !self.is_region_known && is_named && *known != region;
        if is_new {
            region.clone_into(&mut known);
        }
        is_new
    }

    /// The address of a request; of the bucket itself where the key is empty.
    pub(crate) fn uri(&self, key: &str, query: &[(&str, &str)]) -> String {
        let server = self.endpoint.clone().unwrap_or_else(|| {
            let region = self.region();
            let china = if region.starts_with("cn-") { ".cn" } else { "" };
            format!("https://s3.{region}.amazonaws.com{china}")
        });
        let key = utf8_percent_encode(key, PATH);
        let mut uri = if self.path_style {
            format!("{server}/{}/{key}", self.bucket)
        } else {
            let (scheme, host) = server.split_once("://").unwrap_or(("https", &server));
            format!("{scheme}://{}.{host}/{key}", self.bucket)
        };
        for (n, (name, value)) in query.iter().enumerate() {
            uri.push(if n == 0 { '?' } else { '&' });
            uri.push_str(name);
            uri.push('=');
            uri.extend(utf8_percent_encode(value, QUERY));
        }
        uri
    }
}

fn is_address(endpoint: &str) -> bool {
    let host = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, host)| host);
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.starts_with('[') || name == "localhost" || name.parse::<std::net::Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(bucket: &str, endpoint: Option<&str>, path_style: bool) -> String {
        let options = ObjectOptions {
            endpoint: endpoint.map(str::to_owned),
            region: Some("eu-central-1".into()),
            path_style,
            ..ObjectOptions::default()
        };
        let place = Place::new(bucket, &options).unwrap();
        place.uri("a b/ü", &[("list-type", "2"), ("prefix", "x/y")])
    }

    #[test]
    fn buckets_are_named_by_host_or_path() {
        let tail = "a%20b/%C3%BC?list-type=2&prefix=x%2Fy";
        for (bucket, endpoint, path_style, expected) in [
            ("b", None, false, "https://b.s3.eu-central-1.amazonaws.com/"),
            ("b", None, true, "https://s3.eu-central-1.amazonaws.com/b/"),
            (
                "b.c",
                None,
                false,
                "https://s3.eu-central-1.amazonaws.com/b.c/",
            ),
            (
                "b",
                Some("https://s3.example:9000/"),
                false,
                "https://b.s3.example:9000/",
            ),
            (
                "b",
                Some("https://s3.example:9000"),
                true,
                "https://s3.example:9000/b/",
            ),
            (
                "b",
                Some("http://127.0.0.1:80"),
                false,
                "http://127.0.0.1:80/b/",
            ),
            ("b", Some("http://[::1]:80"), false, "http://[::1]:80/b/"),
        ] {
            assert_eq!(
                uri(bucket, endpoint, path_style),
                format!("{expected}{tail}")
            );
        }
    }
}
