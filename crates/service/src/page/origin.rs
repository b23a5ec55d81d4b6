//! Where a request comes from: by which scheme, and from which site's page.

use axum::http::header::{COOKIE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName};
use std::net::IpAddr;

/// The cookie. With TLS its name says that it is for this host alone, which browsers enforce.
const COOKIES: [&str; 2] = ["hubvault_session", "__Host-hubvault_session"];
/// That of a browser that began a login at the identity provider.
pub(super) const LOGIN: [&str; 2] = ["hubvault_login", "__Host-hubvault_login"];

/// One header's text.
fn text(headers: &HeaderMap, name: impl Into<HeaderName>) -> Option<&str> {
    headers.get(name.into())?.to_str().ok()
}

/// Whether the browser speaks TLS: a proxy on this host says so, or the address that people use.
pub(super) fn is_secure(headers: &HeaderMap, peer: IpAddr, public_url: Option<&str>) -> bool {
    let said = text(headers, HeaderName::from_static("x-forwarded-proto"));
    match said.filter(|_| peer.to_canonical().is_loopback()) {
        Some(scheme) => scheme.trim().eq_ignore_ascii_case("https"),
        None => public_url.is_some_and(|url| url.starts_with("https://")),
    }
}

/// Where programs reach the service: the address that people use, or the host that this browser asked.
pub(super) fn address(headers: &HeaderMap, secure: bool, public_url: Option<&str>) -> String {
    if let Some(url) = public_url {
        return url.trim_end_matches('/').to_owned();
    }
    let is_host = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    let host = text(headers, HOST).filter(|host| host.len() <= 260 && host.chars().all(is_host));
    let scheme = if secure { "https" } else { "http" };
    format!("{scheme}://{}", host.unwrap_or("HOST"))
}

/// Whether a form was sent by a page of ours. Old browsers without TLS may say nothing; the form's token is checked as well.
pub(super) fn is_same_origin(headers: &HeaderMap, public_url: Option<&str>) -> bool {
    if let Some(site) = text(headers, HeaderName::from_static("sec-fetch-site")) {
        return site == "same-origin";
    }
    let Some(origin) = text(headers, ORIGIN) else {
        return true;
    };
    let host = |url: &str| {
        let (_, rest) = url.split_once("://")?;
        Some(rest.split('/').next()?.to_ascii_lowercase())
    };
    let origin = host(origin);
    let own = text(headers, HOST).map(str::to_ascii_lowercase);
    origin.is_some() && (origin == own || origin == public_url.and_then(host))
}

/// Whether a link of another site, such as a web mail, led here: the browser then sends no strict cookie.
pub(super) fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let site = text(headers, HeaderName::from_static("sec-fetch-site"));
    site == Some("cross-site") || site == Some("same-site")
}

/// What a cookie of these names holds.
pub(super) fn cookie<'a>(
    headers: &'a HeaderMap,
    names: [&str; 2],
    secure: bool,
) -> Option<&'a str> {
    let all = headers.get_all(COOKIE).iter();
    let mut pairs = all
        .filter_map(|value| value.to_str().ok())
        .flat_map(|all| all.split(';'));
    pairs.find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == names[usize::from(secure)]).then_some(value)
    })
}

/// What the session's cookie holds.
pub(super) fn session(headers: &HeaderMap, secure: bool) -> Option<&str> {
    cookie(headers, COOKIES, secure)
}

/// The header that sets the cookie; without a session, one that removes it.
pub(super) fn set_cookie(session: Option<&str>, secure: bool) -> String {
    set(COOKIES, session, "Strict", secure)
}

/// The same for the cookie of a login at the identity provider, which is sent when that leads back here.
pub(super) fn set_login_cookie(browser: Option<&str>, secure: bool) -> String {
    set(LOGIN, browser, "Lax", secure)
}

fn set(names: [&str; 2], value: Option<&str>, site: &str, secure: bool) -> String {
    let name = names[usize::from(secure)];
    let secure = if secure { "; Secure" } else { "" };
    let ends = if value.is_none() { "; Max-Age=0" } else { "" };
    let value = value.unwrap_or_default();
    format!("{name}={value}; Path=/; HttpOnly; SameSite={site}{secure}{ends}")
}

/// A way back after the login: a path of this page, and nothing else.
pub(super) fn local_path(next: &str) -> Option<&str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-._~?=&%+".contains(c);
    let is_local = next.len() <= 500 && !next.starts_with("//") && next.chars().all(is_plain);
    next.strip_prefix('/').filter(|_| is_local)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_a_page_of_ours_sends_forms() {
        let is = |all: &[_]| is_same_origin(&headers(all), Some("https://vault.example/backups"));
        assert!(is(&[("sec-fetch-site", "same-origin"), ("origin", "null")]));
        assert!(is(&[
            ("host", "127.0.0.1:8080"),
            ("origin", "http://127.0.0.1:8080")
        ]));
        // A proxy that names another host to the service.
        assert!(is(&[
            ("host", "127.0.0.1:8080"),
            ("origin", "https://Vault.example")
        ]));
        assert!(is(&[("host", "127.0.0.1:8080")]));
        for foreign in ["cross-site", "same-site", "none", ""] {
            assert!(!is(&[("sec-fetch-site", foreign)]), "{foreign}");
        }
        for foreign in [
            "https://evil.example",
            "null",
            "",
            "https://vault.example.evil.example",
        ] {
            assert!(!is(&[("host", "h"), ("origin", foreign)]), "{foreign}");
        }
    }

    #[test]
    fn tls_is_what_the_proxy_or_the_public_address_says() {
        let (here, far): (IpAddr, IpAddr) =
            ("127.0.0.1".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let (https, http) = (
            headers(&[("x-forwarded-proto", "https")]),
            headers(&[("x-forwarded-proto", "http")]),
        );
        assert!(is_secure(&https, here, None) && !is_secure(&https, far, None));
        assert!(
            !is_secure(&http, here, Some("https://x")) && is_secure(&http, far, Some("https://x"))
        );
        assert!(!is_secure(&headers(&[]), here, Some("http://x")));
    }

    #[test]
    fn the_way_back_is_a_path_of_this_page() {
        for good in ["/", "/backups?state=failed&page=2", "/backups/3f2a91c0-1"] {
            assert_eq!(local_path(good), Some(&good[1..]));
        }
        for bad in [
            "",
            "//evil.example",
            "https://evil.example",
            "/\\evil",
            "/a\r\nb",
            "/<script>",
            "evil",
            "/a:b",
        ] {
            assert_eq!(local_path(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_cookie_of_tls_is_not_read_without_it() {
        let both = headers(&[
            ("cookie", "a=b; hubvault_session=1"),
            ("cookie", "__Host-hubvault_session=2"),
        ]);
        assert_eq!(
            (session(&both, false), session(&both, true)),
            (Some("1"), Some("2"))
        );
        assert!(set_cookie(Some("x"), true).ends_with("; Secure"));
        assert!(set_cookie(None, false).ends_with("; Max-Age=0"));
    }
}
