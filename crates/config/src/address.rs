//! Addresses that people write: where to listen, and what links begin with.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Where to listen, as a host and a port: a port alone means this host alone. Names are not looked up.
pub(crate) fn listen_address(address: &str) -> Result<String, String> {
    let expected = |why: &str| {
        format!(
            "expected a port (8080) or an address with one (127.0.0.1:8080, [::1]:8080), not \
             {address:?}: {why}"
        )
    };
    let (host, port) = match address.rsplit_once(':') {
        None | Some(("", _)) => ("127.0.0.1", address.trim_start_matches(':')),
        Some(parts) => parts,
    };
    if port.parse::<u16>().is_err() || !port.bytes().all(|c| c.is_ascii_digit()) {
        return Err(expected("the port is a number up to 65535"));
    }
    check_host(host).map_err(expected)?;
    Ok(format!("{host}:{port}"))
}

/// What is wrong with an address that links begin with; never an address with a name or a password in it.
pub(crate) fn check_public_url(url: &str) -> Result<(), String> {
    let expected = |why: &str| {
        Err(format!(
            "expected an address such as https://backups.example.com: {why}"
        ))
    };
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest else {
        return expected("it begins with https:// or http://");
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~%/:[]@+,;=!$&".contains(c);
    if let Some(odd) = rest.chars().find(|c| !is_plain(*c)) {
        return expected(&match odd {
            '?' | '#' => format!("it ends before a {odd}, as links have a query of their own"),
            odd => format!("{odd:?} is not allowed in it"),
        });
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.contains('@') {
        return expected("it names no user");
    }
    if path.split('/').any(|part| part == "download") {
        return expected("it ends before /download, which links add");
    }
    let (host, port) = host_and_port(authority);
    if port.is_some_and(|port| !matches!(port.parse::<u16>(), Ok(1..))) {
        return expected("the port is a number from 1 to 65535");
    }
    check_host(host).or_else(expected)
}

pub(crate) fn host_and_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// A name or an address, IPv6 in brackets.
fn check_host(host: &str) -> Result<(), &'static str> {
    if let Some(inside) = host.strip_prefix('[') {
        let address = inside.strip_suffix(']').map(str::parse::<Ipv6Addr>);
        return match address {
            Some(Ok(_)) => Ok(()),
            _ => Err("the text in the brackets is not an IPv6 address"),
        };
    }
    if host.contains(':') {
        return Err("an IPv6 address is written in brackets");
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if host.is_empty() || !host.chars().all(is_plain) {
        return Err("the host is a name or an address");
    }
    let is_number = host.chars().all(|c| c.is_ascii_digit() || c == '.');
    if is_number && host.parse::<Ipv4Addr>().is_err() {
        return Err("the host is not an IPv4 address");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_on_this_host_alone() {
        for (said, meant) in [
            ("8080", "127.0.0.1:8080"),
            (":0", "127.0.0.1:0"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:80", "[::1]:80"),
            ("hub_1.internal:80", "hub_1.internal:80"),
        ] {
            assert_eq!(listen_address(said).as_deref(), Ok(meant), "{said}");
        }
        for bad in [
            "nonsense",
            ":",
            "host:",
            "host:http",
            "host:+80",
            "host:65536",
            "10.0.0.256:80",
            "::1:80",
            "[::1:80",
            "http://host:80",
            "a b:80",
        ] {
            let said = listen_address(bad).unwrap_err();
            assert!(
                said.contains("127.0.0.1:8080") && said.contains(bad),
                "{said}"
            );
        }
    }

    #[test]
    fn a_link_begins_with_an_address_and_nothing_more() {
        for good in [
            "https://backups.example.com",
            "https://example.com/backups/",
            "http://127.0.0.1:8080",
            "https://[2001:db8::1]:8443",
            "https://[2001:db8::1]",
        ] {
            assert_eq!(check_public_url(good), Ok(()), "{good}");
        }
        for bad in [
            "backups.example.com",
            "ftp://example.com",
            "https://",
            "https:///path",
            "https://example.com?x=1",
            "https://example.com/#a",
            "https://example.com/a b",
            "https://ex\"ample.com",
            "https://a:hunter2@example.com",
            "https://example.com:0",
            "https://example.com:port",
            "https://example.com/download/",
            "https://exämple.com",
        ] {
            let said = check_public_url(bad).unwrap_err();
            assert!(
                said.contains("https://backups.example.com"),
                "{bad}: {said}"
            );
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}
