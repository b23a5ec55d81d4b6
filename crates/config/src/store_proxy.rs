//! The proxy for a store's server: `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`, as curl reads them.

use super::address::host_and_port;
use super::environment::Environment;
use secrecy::SecretString;

/// The proxy by which a server is reached, if by one.
pub(crate) fn proxy_for(environment: &Environment, server: &str) -> Option<SecretString> {
    let is_plain = server.starts_with("http://");
    let names: &[&str] = if is_plain {
        // In capitals a header of a CGI request could set it.
        &["http_proxy", "all_proxy", "ALL_PROXY"]
    } else {
        &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
    };
    let proxy = names.iter().find_map(|name| environment.text(name))?;
    let without = ["no_proxy", "NO_PROXY"];
    let without = without.iter().find_map(|name| environment.text(name));
    if is_excepted(host_of(server), without.unwrap_or_default()) {
        return None;
    }
    let scheme = if proxy.contains("://") { "" } else { "http://" };
    Some(format!("{scheme}{proxy}").into())
}

fn host_of(server: &str) -> &str {
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    host_and_port(authority).0.trim_matches(['[', ']'])
}

fn is_excepted(host: &str, list: &str) -> bool {
    let host = host.to_ascii_lowercase();
    list.split(',').map(str::trim).any(|entry| {
        let entry = entry.trim_start_matches("*.").trim_start_matches('.');
        let entry = entry.to_ascii_lowercase();
        let below = || {
            host.strip_suffix(&entry)
                .is_some_and(|rest| rest.ends_with('.'))
        };
        entry == "*" || (!entry.is_empty() && (host == entry || below()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn a_server_that_is_excepted_has_no_proxy() {
        let environment = Environment::of(&[
            ("HTTPS_PROXY", "proxy:3128"),
            ("http_proxy", "http://plain:3128"),
            ("NO_PROXY", "localhost, .corp.example,::1"),
        ]);
        let of = |server| {
            let proxy = proxy_for(&environment, server);
            proxy.map(|proxy| proxy.expose_secret().to_owned())
        };
        let by = Some("http://proxy:3128".to_owned());
        assert_eq!(of("https://b.s3.eu-west-1.amazonaws.com"), by);
        assert_eq!(of("https://othercorp.example:9000/x"), by);
        assert_eq!(of("http://s3:9000"), Some("http://plain:3128".to_owned()));
        for excepted in [
            "https://localhost:9000",
            "https://S3.corp.example",
            "https://corp.example/",
            "https://[::1]:9000",
        ] {
            assert_eq!(of(excepted), None, "{excepted}");
        }
        let all = environment.with("no_proxy", "*");
        assert!(proxy_for(&all, "https://anything").is_none());
    }
}
