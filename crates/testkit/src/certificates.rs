//! A certificate for a server of the tests, and the authority that signed it.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::path::{Path, PathBuf};

/// Files of PEM.
pub(crate) struct Certificates {
    /// The authority, for those who are to trust it.
    pub(crate) authority: PathBuf,
    /// The server's certificate.
    pub(crate) certificate: PathBuf,
    /// Its key.
    pub(crate) key: PathBuf,
}

impl Certificates {
    /// Makes them in `directory`, for a server called `name`.
    pub(crate) fn make(directory: &Path, name: &str) -> Self {
        let made = Self {
            authority: directory.join("ca.pem"),
            certificate: directory.join("server.pem"),
            key: directory.join("server.key"),
        };
        made.write(name)
            .unwrap_or_else(|e| panic!("making certificates: {e}"));
        made
    }

    fn write(&self, name: &str) -> Result<(), Box<dyn std::error::Error>> {
        let mut params = CertificateParams::new(Vec::new())?;
        // OpenSSL takes a certificate whose issuer has its own name for a self-signed one.
        params
            .distinguished_name
            .push(DnType::CommonName, "an authority for tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let leaf = CertificateParams::new(vec![name.to_owned()])?;
        let leaf = leaf.signed_by(&key, &authority)?;
        std::fs::write(&self.authority, authority.pem())?;
        std::fs::write(&self.certificate, leaf.pem())?;
        std::fs::write(&self.key, key.serialize_pem())?;
        Ok(())
    }
}
