//! How messages link to what the service hands out.

use super::address::host_and_port;
use super::resolve::Found;
use super::text;
use hubvault_engine::job::Links;
use std::collections::BTreeMap;
use std::time::Duration;

/// How messages link to archives: not at all unless the service answers and people know where.
pub(super) fn links(found: &BTreeMap<&'static str, Found>) -> Option<Links> {
    let base = text(found, "http.public_url").trim_end_matches('/');
    if base.is_empty() || text(found, "http.address").is_empty() {
        return None;
    }
    // A wrong number was reported when it was found.
    let hours = text(found, "http.link_hours").parse().unwrap_or(1);
    Some(Links {
        base: base.to_owned(),
        lasts: Duration::from_hours(hours),
        sealed_only: text(found, "email.attach") == "sealed",
    })
}

/// What is set about links and deserves a second look.
pub(super) fn notices(found: &BTreeMap<&'static str, Found>) -> Vec<String> {
    let base = text(found, "http.public_url");
    let rest = base.strip_prefix("http://").unwrap_or_default();
    let (host, _) = host_and_port(rest.split('/').next().unwrap_or_default());
    let host = host.trim_matches(['[', ']']);
    let mut notices = Vec::new();
    if !base.is_empty() && text(found, "http.address").is_empty() {
        notices.push(
            "http.public_url (HTTP_PUBLIC_URL) is set and http.address (HTTP_ADDR) is not, so messages \
             link to no archive"
                .to_owned(),
        );
    }
    if !host.is_empty() && !hubvault_notify::is_loopback(host) {
        notices.push(format!(
            "http.public_url begins with http://: archives travel to {host} and back in the clear; put \
             TLS before the service (docs/http.md) and write https://"
        ));
    }
    notices
}
