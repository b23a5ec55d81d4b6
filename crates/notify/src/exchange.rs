//! One request over HTTP, and its whole answer.

use crate::stream::is_loopback;
use crate::tls;
use std::path::Path;
use std::time::Duration;
use ureq::Agent;
use ureq::http::{Request, Response};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// The largest answer that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// Sends a request and reads the answer, whatever its status. Redirects are not followed.
pub fn exchange(
    request: Request<Vec<u8>>,
    ca_file: Option<&Path>,
    timeout: Duration,
) -> Result<Response<Vec<u8>>, String> {
    let uri = request.uri();
    let host = uri.host().unwrap_or_default().to_owned();
    let is_encrypted = match uri.scheme_str() {
        Some("https") => true,
        Some("http") if is_loopback(&host) => false,
        _ => return Err(format!("{host}: use https, or http only to this machine")),
    };
    let failed = |error: &ureq::Error| format!("{host}: {error}");
    let answer = agent(ca_file, is_encrypted, timeout)?.run(request);
    let (parts, mut body) = answer.map_err(|error| failed(&error))?.into_parts();
    let bytes = body.with_config().limit(LARGEST).read_to_vec();
    let bytes = bytes.map_err(|error| failed(&error))?;
    Ok(Response::from_parts(parts, bytes))
}

/// What sends requests over HTTP.
pub(crate) fn agent(
    ca_file: Option<&Path>,
    is_encrypted: bool,
    timeout: Duration,
) -> Result<Agent, String> {
    let mut tls = TlsConfig::builder().unversioned_rustls_crypto_provider(tls::provider());
    if is_encrypted {
        let roots = tls::authorities(ca_file)?;
        let roots = roots
            .iter()
            .map(|root| Certificate::from_der(root).to_owned());
        tls = tls.root_certs(RootCerts::from(roots));
    }
    Ok(Agent::config_builder()
        .tls_config(tls.build())
        // Only the configuration reads the environment.
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .user_agent(concat!("hubvault/", env!("CARGO_PKG_VERSION")))
        .timeout_global(Some(timeout))
        // Less than the whole, so that it is known when nothing was sent yet.
        .timeout_connect(Some(timeout * 3 / 4))
        .build()
        .new_agent())
}
