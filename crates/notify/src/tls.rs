//! Whom to trust, and what a refused certificate means.

use crate::error::Problem;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The one provider of this program.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The authorities that are trusted: the system's, and those of `ca_file`. Or why there are none.
pub(crate) fn authorities(ca_file: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut found = rustls_native_certs::load_native_certs().certs;
    if let Some(path) = ca_file {
        let unreadable =
            |error: &dyn std::fmt::Display| format!("ca_file {}: {error}", path.display());
        let before = found.len();
        for certificate in CertificateDer::pem_file_iter(path).map_err(|e| unreadable(&e))? {
            found.push(certificate.map_err(|e| unreadable(&e))?);
        }
        if found.len() == before {
            return Err(unreadable(&"holds no certificate"));
        }
    }
    if found.is_empty() {
        return Err("this system has no trusted certificates and ca_file is not set".to_owned());
    }
    Ok(found)
}

/// What rustls needs to know to connect; `insecure` takes any certificate.
pub(crate) fn client_config(
    ca_file: Option<&Path>,
    insecure: bool,
) -> Result<Arc<ClientConfig>, String> {
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let config = if insecure {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth()
    } else {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities(ca_file)?);
        builder.with_root_certificates(roots).with_no_client_auth()
    };
    Ok(Arc::new(config))
}

/// What a TLS error means and what to do about it.
pub(crate) fn meaning(error: &Error) -> (Problem, &'static str) {
    let Error::InvalidCertificate(certificate) = error else {
        return (
            Problem::Tls,
            "check that the port speaks TLS and how the server sets it up",
        );
    };
    match certificate {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            Problem::CertificateName,
            "use the host name that the certificate is for, or have one made for this name",
        ),
        CertificateError::UnknownIssuer => (
            Problem::CertificateUntrusted,
            "if the server is yours, name its authority's certificate in ca_file; a mail relay on this host needs no TLS: \
             security = \"none\" (SMTP_SECURITY=none)",
        ),
        // webpki takes no authority's certificate for a server's, which `openssl req -x509` makes.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => (
            Problem::Certificate,
            "the server shows an authority's certificate (CA:TRUE): give it one of its own, signed by that authority",
        ),
        _ => (
            Problem::Certificate,
            "renew the server's certificate, and check the clocks of both machines",
        ),
    }
}

/// The TLS error within an I/O error, which is where rustls' streams put theirs.
pub(crate) fn within(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// Takes any certificate: encrypted, and anyone may answer.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
