//! Certificates made for one test.

use std::fs;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// An authority and a certificate for `localhost` and `127.0.0.1` that it signed, as PEM files.
#[derive(Debug)]
pub struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// # Panics
    /// When a key cannot be made or a file not written.
    #[must_use]
    pub fn new() -> Self {
        let folder = TempDir::with_prefix("sluice-tls-").expect("a temporary folder");
        let mut authority = CertificateParams::new(Vec::new()).expect("parameters without names");
        // Two certificates of one name would pass for a self-signed one.
        authority
            .distinguished_name
            .push(DnType::CommonName, "an authority of the tests");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().expect("a key");
        let authority_certificate = authority
            .self_signed(&authority_key)
            .expect("a certificate");
        let issuer = Issuer::new(authority, authority_key);

        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let server_key = KeyPair::generate().expect("a key");
        let server = CertificateParams::new(names)
            .and_then(|parameters| parameters.signed_by(&server_key, &issuer))
            .expect("a certificate");

        let certificates = Self { folder };
        for (path, text) in [
            (certificates.authority(), authority_certificate.pem()),
            (certificates.server(), server.pem()),
            (certificates.server_key(), server_key.serialize_pem()),
        ] {
            fs::write(path, text).expect("a file in a temporary folder");
        }
        certificates
    }

    /// The authority's certificate: what a client trusts.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    #[must_use]
    pub fn server(&self) -> PathBuf {
        self.folder.path().join("server.crt")
    }

    #[must_use]
    pub fn server_key(&self) -> PathBuf {
        self.folder.path().join("server.key")
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}
