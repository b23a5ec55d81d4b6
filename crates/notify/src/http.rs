//! Webhooks, Slack, ntfy and pings: one POST, one answer.

use crate::error::{Problem, SendError};
use crate::exchange::agent;
use crate::kind::ChannelKind;
use crate::payload::{Event, EventKind, Payload};
use crate::stream::is_loopback;
use crate::tls;
use secrecy::{ExposeSecret, SecretString};
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use ureq::http::{HeaderValue, Uri};
use ureq::{Agent, Timeout};

/// A destination of events.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Its kind.
    pub kind: ChannelKind,
    /// Its URL; whoever knows the path may post, so it is a secret. Of a command its name.
    pub url: SecretString,
    /// Of a webhook the key of the signature, of ntfy an access token, of `PagerDuty` the routing key, of Telegram the chat;
    /// others have none.
    pub secret: Option<SecretString>,
    /// How long looking up, connecting, sending and the answer may take together.
    pub timeout: Duration,
    /// Authorities to trust besides the system's, as PEM.
    pub ca_file: Option<PathBuf>,
}

impl Channel {
    /// Whether this kind of event is sent to this kind of channel: only pings report that a backup began, and they have
    /// no request for a recovery.
    pub fn takes(&self, event: EventKind) -> bool {
        self.kind.definition().events.contains(&event)
    }

    /// Scheme, host and port, for messages; the rest of the URL may be a secret.
    pub fn host(&self) -> String {
        if self.kind == ChannelKind::Command {
            return self.url.expose_secret().to_owned();
        }
        let Some(uri) = self.uri() else {
            return "(an address that is no URL)".to_owned();
        };
        let scheme = uri.scheme_str().unwrap_or_default();
        let host = uri.host().unwrap_or_default();
        let port = uri.port().map(|port| format!(":{port}"));
        format!("{scheme}://{host}{}", port.unwrap_or_default())
    }

    /// Posts an event and waits for the answer; does nothing for an event that it does not take.
    ///
    /// Answers of 300 to 499 are permanent, except 408, 425 and 429, which ask for another try. Redirects are not
    /// followed, because the body and its signature are for this address. Of an answer only the status is read.
    pub fn post(&self, event: &Event) -> Result<(), SendError> {
        if !self.takes(event.kind) {
            return Ok(());
        }
        let uri = self.checked_uri()?;
        let secret = self.secret.as_ref().map(ExposeSecret::expose_secret);
        let payload = (self.kind.definition().payload)(event, secret);
        let url = match payload.suffix {
            Some(suffix) => with_suffix(&uri, suffix),
            None => uri.to_string(),
        };
        let status = self.send(&uri, &url, payload)?;
        self.judge(status)
    }

    fn send(&self, uri: &Uri, url: &str, payload: Payload) -> Result<u16, SendError> {
        let agent = self.agent(uri.scheme_str() == Some("https"))?;
        let mut request = agent.post(url);
        for (name, value) in payload.headers {
            let mut value = HeaderValue::try_from(value).map_err(|_| {
                let what = format!("the {name} header cannot hold its value");
                self.unusable(&what, "check the channel's secret for odd characters")
            })?;
            // Kept out of the library's own log lines.
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        let answer = request
            .send(&payload.body[..])
            .map_err(|error| self.failed(&error))?;
        Ok(answer.status().as_u16())
    }

    fn agent(&self, encrypted: bool) -> Result<Agent, SendError> {
        agent(self.ca_file.as_deref(), encrypted, self.timeout)
            .map_err(|why| self.unusable(&why, "see that the file is there and is PEM"))
    }

    fn uri(&self) -> Option<Uri> {
        let uri: Uri = self.url.expose_secret().trim().parse().ok()?;
        let known = matches!(uri.scheme_str(), Some("http" | "https"));
        (known && uri.host().is_some_and(|host| !host.is_empty())).then_some(uri)
    }

    fn checked_uri(&self) -> Result<Uri, SendError> {
        let uri = self.uri().ok_or_else(|| {
            self.unusable(
                "it is not a URL of http or https",
                "write it as https://host/path, with % for odd characters",
            )
        })?;
        if uri.scheme_str() == Some("http") && !uri.host().is_some_and(is_loopback) {
            return Err(self.unusable(
                "its address and the messages would cross the network unencrypted",
                "use https, or http only to this machine",
            ));
        }
        Ok(uri)
    }

    fn judge(&self, status: u16) -> Result<(), SendError> {
        let what = format!("it answers {status}");
        let (problem, permanent, next) = match status {
            200..300 => return Ok(()),
            300..400 => (
                Problem::Rejected,
                true,
                "redirects are not followed: set the address that it leads to",
            ),
            401 | 403 => (
                Problem::Authentication,
                true,
                "check the address and the secret of this channel",
            ),
            408 | 425 | 429 => (Problem::Busy, false, "try again later"),
            413 => (Problem::TooLarge, true, "it takes only smaller messages"),
            400..500 => (
                Problem::Rejected,
                true,
                "check the address, and that it is the right kind of channel",
            ),
            _ => (
                Problem::Busy,
                false,
                "try again later; see the other side's log",
            ),
        };
        Err(SendError::new(problem, self.doing(), what, next).lasting(permanent))
    }

    fn failed(&self, error: &ureq::Error) -> SendError {
        let fail =
            |problem, what: &str, next: &str| SendError::new(problem, self.doing(), what, next);
        let tls = |error: &rustls::Error| {
            let (problem, next) = tls::meaning(error);
            fail(problem, &error.to_string(), next)
        };
        match error {
            ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => fail(
                Problem::ConnectTimedOut,
                "nobody answers there",
                "check the host, and this machine's network and firewall",
            ),
            ureq::Error::Timeout(_) => fail(Problem::Silent, "no answer in time", "").in_doubt(),
            ureq::Error::HostNotFound => self.host_unknown("no address"),
            ureq::Error::Rustls(error) => tls(error),
            ureq::Error::Io(error) => match tls::within(error) {
                Some(error) => tls(error),
                None => self.io(error),
            },
            ureq::Error::Tls(_) | ureq::Error::Pem(_) | ureq::Error::TlsRequired => fail(
                Problem::Tls,
                "TLS failed",
                "check that the host is written as its certificate has it",
            ),
            ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) => {
                fail(Problem::Lost, "the answer is not one of HTTP", "").in_doubt()
            }
            // The others quote the URL, or cannot come about with these settings.
            _ => self.unusable("its address cannot be used", "check it for odd characters"),
        }
    }

    fn io(&self, error: &io::Error) -> SendError {
        let text = error.to_string();
        // The standard library has no kind for it.
        if text.contains("lookup address") {
            return self.host_unknown(&text);
        }
        let (problem, next) = match error.kind() {
            io::ErrorKind::ConnectionRefused => (
                Problem::ConnectionRefused,
                "check host and port, and that the other side runs",
            ),
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => (
                Problem::Unreachable,
                "check the host and this machine's network",
            ),
            _ => {
                let what = format!("the connection was lost ({text})");
                return SendError::new(Problem::Lost, self.doing(), what, "").in_doubt();
            }
        };
        SendError::new(problem, self.doing(), text, next)
    }

    fn host_unknown(&self, why: &str) -> SendError {
        SendError::new(
            Problem::HostUnknown,
            self.doing(),
            format!("the host name cannot be looked up ({why})"),
            "check the address and this machine's name servers",
        )
    }

    fn unusable(&self, what: &str, next: &str) -> SendError {
        SendError::new(Problem::Settings, self.doing(), what, next).lasting(true)
    }

    fn doing(&self) -> String {
        format!("posting to the {} {}", self.kind.as_str(), self.host())
    }
}

/// The URL with something appended to its path, before the query.
fn with_suffix(uri: &Uri, suffix: &str) -> String {
    let scheme = uri.scheme_str().unwrap_or_default();
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let path = uri.path().trim_end_matches('/');
    let query = uri.query().map(|query| format!("?{query}"));
    let query = query.unwrap_or_default();
    format!("{scheme}://{authority}{path}{suffix}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(kind: ChannelKind, url: &str) -> Channel {
        Channel {
            kind,
            url: SecretString::from(url),
            secret: Some(SecretString::from("signing-key")),
            timeout: Duration::from_secs(10),
            ca_file: None,
        }
    }

    #[test]
    fn only_pings_are_told_of_a_start_and_they_know_no_recovery() {
        let all = [
            EventKind::Start,
            EventKind::Success,
            EventKind::Failure,
            EventKind::Alert,
            EventKind::Recovered,
        ];
        for kind in [ChannelKind::Webhook, ChannelKind::Slack, ChannelKind::Ntfy] {
            let channel = channel(kind, "https://hub.example");
            let taken: Vec<_> = all.iter().filter(|kind| channel.takes(**kind)).collect();
            assert_eq!(taken.len(), 4);
            assert!(!channel.takes(EventKind::Start));
        }
        let ping = channel(ChannelKind::Ping, "https://hub.example");
        assert!(ping.takes(EventKind::Start));
        assert!(!ping.takes(EventKind::Recovered));
    }

    #[test]
    fn of_an_address_only_scheme_host_and_port_are_shown() {
        for (url, shown) in [
            ("https://hooks.example/T0/B0/xyzzy", "https://hooks.example"),
            (
                "https://user:xyzzy@hooks.example:8443/a?b=xyzzy",
                "https://hooks.example:8443",
            ),
            ("xyzzy", "(an address that is no URL)"),
            ("ftp://xyzzy/", "(an address that is no URL)"),
            ("https://", "(an address that is no URL)"),
        ] {
            let channel = channel(ChannelKind::Slack, url);
            assert_eq!(channel.host(), shown);
            let debug = format!("{channel:?}");
            assert!(
                !debug.contains("xyzzy") && !debug.contains("signing-key"),
                "{debug}"
            );
        }
    }

    #[test]
    fn a_query_stays_behind_the_path_of_a_ping() {
        for (url, suffix, whole) in [
            (
                "https://hc.example/abc",
                "/start",
                "https://hc.example/abc/start",
            ),
            (
                "https://hc.example/abc/",
                "/fail",
                "https://hc.example/abc/fail",
            ),
            (
                "https://u:p@hc.example:1/abc?create=1",
                "/fail",
                "https://u:p@hc.example:1/abc/fail?create=1",
            ),
            (
                "https://hc.example/abc?rid=2",
                "",
                "https://hc.example/abc?rid=2",
            ),
        ] {
            let uri: Uri = url.parse().unwrap();
            assert_eq!(with_suffix(&uri, suffix), whole);
        }
    }
}
