//! Maps `sslmode` to rustls.

use crate::connect::settings::{ConnectSettings, SYSTEM_ROOTS, SslMode};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use tokio_postgres_rustls::MakeRustlsConnect;

/// A connector for these settings, or why there can be none.
pub(crate) fn connector(settings: &ConnectSettings) -> Result<MakeRustlsConnect, String> {
    Ok(MakeRustlsConnect::new(client_config(settings)?))
}

/// The rustls configuration for these settings.
pub(crate) fn client_config(settings: &ConnectSettings) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match settings.sslmode {
        // libpq: with a root file, `require` checks the chain as verify-ca does ("SSL Support").
        SslMode::Require if settings.sslrootcert.is_some() => chain(settings, &provider, false)?,
        SslMode::VerifyCa => chain(settings, &provider, false)?,
        SslMode::VerifyFull => chain(settings, &provider, true)?,
        _ => Arc::new(AnyServerName {
            provider: Arc::clone(&provider),
            chain: None,
        }),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match (&settings.sslcert, &settings.sslkey) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(certificate), Some(key)) => {
            let wrong = |why: String| {
                let (certificate, key) = (certificate.display(), key.display());
                format!("sslcert {certificate} and sslkey {key} cannot be used: {why}")
            };
            let chain: Result<Vec<_>, _> =
                CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
            let chain = chain.map_err(|error| wrong(error.to_string()))?;
            check_private(key).map_err(wrong)?;
            // A key that is encrypted with a passphrase is no item that this finds.
            let key =
                PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(error.to_string()))?;
            (builder.with_client_auth_cert(chain, key)).map_err(|error| wrong(error.to_string()))
        }
        _ => Err("of sslcert and sslkey only one is set; set both or none".to_owned()),
    }
}

/// As libpq has it: others may not read a key, but for the group of one that belongs to root.
fn check_private(key: &Path) -> Result<(), String> {
    let meta = std::fs::metadata(key).map_err(|error| error.to_string())?;
    let open = if meta.uid() == 0 { 0o037 } else { 0o077 };
    if meta.mode() & open != 0 {
        return Err("others may read the key; run chmod 600 on it".to_owned());
    }
    Ok(())
}

fn chain(
    settings: &ConnectSettings,
    provider: &Arc<CryptoProvider>,
    name: bool,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let roots = match &settings.sslrootcert {
        Some(path) if path.as_os_str() != SYSTEM_ROOTS => roots_of(path)?,
        _ => system_roots()?,
    };
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| error.to_string())?;
    Ok(if name {
        inner
    } else {
        Arc::new(AnyServerName {
            provider: Arc::clone(provider),
            chain: Some(inner),
        })
    })
}

fn roots_of(path: &Path) -> Result<RootCertStore, String> {
    let unreadable = |error: &dyn std::fmt::Display| {
        format!("sslrootcert {} cannot be read: {error}", path.display())
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| unreadable(&e))? {
        let certificate = certificate.map_err(|e| unreadable(&e))?;
        roots.add(certificate).map_err(|e| unreadable(&e))?;
    }
    if roots.is_empty() {
        return Err(format!(
            "sslrootcert {} holds no certificate",
            path.display()
        ));
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("this system has no trusted certificates; set sslrootcert".to_owned());
    }
    Ok(roots)
}

/// Weaker than `verify-full`: `verify-ca` checks the chain and not the name; without a chain,
/// `require` and weaker, it is encrypted and anyone may answer.
#[derive(Debug)]
struct AnyServerName {
    provider: Arc<CryptoProvider>,
    chain: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for AnyServerName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        let verified =
            chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
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
            &self.provider.signature_verification_algorithms,
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
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
