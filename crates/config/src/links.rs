//! How messages link to what the service hands out.

use super::address::host_and_port;
use super::setting::Values;
use hubvault_engine::job::Links;
use std::time::Duration;

/// How messages link to archives: not at all unless the service answers and people know where.
pub(crate) fn links(values: &Values) -> Option<Links> {
    let base = values.text("http.public_url").trim_end_matches('/');
    if base.is_empty() || values.text("http.address").is_empty() {
        return None;
    }
    let hours: u32 = values.parsed("http.link_hours");
    Some(Links {
        base: base.to_owned(),
        lasts: Duration::from_hours(hours.into()),
        sealed_only: values.text("email.attach") == "sealed",
    })
}

/// Settings of links that are probably mistakes.
pub(crate) fn notices(values: &Values) -> Vec<String> {
    let base = values.text("http.public_url");
    let rest = base.strip_prefix("http://").unwrap_or_default();
    let (host, _) = host_and_port(rest.split('/').next().unwrap_or_default());
    let host = host.trim_matches(['[', ']']);
    let mut notices = Vec::new();
    if !base.is_empty() && values.text("http.address").is_empty() {
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
