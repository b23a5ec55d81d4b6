//! Causes of failed requests, in words.

use rustls::{CertificateError, Error as TlsError};
use std::error::Error;
use std::fmt::Write as _;
use std::io;

/// What the libraries put before a cause, and says nothing to whoever reads it.
const WRAPPERS: &[&str] = &[
    "HTTP error: ",
    "error sending request: ",
    "client error (Connect): ",
    "client error (SendRequest): ",
    "tcp connect error: ",
    "dns error: ",
];

/// Whether the system gave up waiting.
pub(crate) fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    let mut of_system = causes(error).filter_map(|error| error.downcast_ref::<io::Error>());
    of_system.any(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// An error and its causes, each said once, without what is secret in addresses.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let said = error.to_string();
        if !text.contains(&said) {
            let separator = if text.is_empty() { "" } else { ": " };
            let _ = write!(text, "{separator}{said}");
        }
        next = error.source();
    }
    without_queries(&text)
}

/// A text of which addresses end before their `?`, as signatures come after it.
pub(crate) fn without_queries(text: &str) -> String {
    let mut shown = String::new();
    for word in text.split_inclusive(char::is_whitespace) {
        match word.split_once('?') {
            Some((address, query)) if address.contains("://") => {
                let end = query.find([')', ',', '"', '\'', ' ', '\n']);
                shown.push_str(address);
                shown.push_str(end.map_or(" ", |end| &query[end..]));
            }
            _ => shown.push_str(word),
        }
    }
    shown
}

/// The cause alone.
pub(crate) fn plain(text: &str) -> String {
    let shorter = |text: String, wrapper: &&str| text.replace(wrapper, "");
    WRAPPERS.iter().fold(text.to_owned(), shorter)
}

/// Whether there was not even a connection.
pub(crate) fn is_unconnected(text: &str) -> bool {
    text.contains("client error (Connect)") || text.contains("tcp connect error")
}

/// What is wrong with TLS, and what to do about it; `None` where something else is.
pub(crate) fn tls(error: &(dyn Error + 'static)) -> Option<String> {
    causes(error)
        .find_map(|error| error.downcast_ref())
        .map(meaning)
}

/// An error, and all within it. Those of the system do not say themselves what they hold.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        inner.map_or_else(|| error.source(), |inner| Some(inner as _))
    })
}

fn meaning(error: &TlsError) -> String {
    let TlsError::InvalidCertificate(certificate) = error else {
        return format!("TLS: {error}; check that the endpoint speaks TLS (https), and its port");
    };
    let why = match certificate {
        CertificateError::UnknownIssuer => {
            "its issuer is not known on this machine; if the server is yours, name its authority's certificate in ca_file \
             (or AWS_CA_BUNDLE)"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name; set the name that it is for as the endpoint's, or have one made for this name"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired; renew it, or set the clock of this machine"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet; set the clock of this machine"
        }
        // webpki takes no authority's certificate for a server's, which `openssl req -x509` makes.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "it is that of an authority (CA:TRUE); give the server one of its own that this authority signed, and name the \
             authority's in ca_file (or AWS_CA_BUNDLE)"
        }
        other => return format!("the server's certificate is refused: {other}"),
    };
    format!("the server's certificate is refused: {why}")
}
