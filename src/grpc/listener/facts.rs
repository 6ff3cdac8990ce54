//! What an operator wants to know of a listener's certificates before it listens.

use std::path::Path;

use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::server::ParsedCertificate;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::tls::{TlsError, certificates};
use crate::domain::ambient::Timestamp;

/// A certificate of a PEM file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateFacts {
    /// It is valid from then on.
    pub not_before: Timestamp,
    /// It is valid until then.
    pub not_after: Timestamp,
    der: CertificateDer<'static>,
}

impl CertificateFacts {
    /// Every certificate of the file, in its order; never none. Reads the disk.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn read(path: &Path) -> Result<Vec<Self>, TlsError> {
        certificates(path)?
            .into_iter()
            .map(|der| {
                let bad = || TlsError::File { path: path.to_owned(), rule: "has a damaged certificate".to_owned() };
                let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| bad())?;
                let at = |time: x509_parser::time::ASN1Time| Timestamp::from_unix_seconds(time.timestamp());
                let validity = certificate.validity();
                let (not_before, not_after) = (at(validity.not_before), at(validity.not_after));
                Ok(Self { not_before, not_after, der })
            })
            .collect()
    }

    /// Whether clients that ask for this host accept it (RFC 9525: by its alternative names, the subject does not count).
    pub fn is_for(&self, host: &str) -> bool {
        let Ok(name) = ServerName::try_from(host) else { return false };
        ParsedCertificate::try_from(&self.der).is_ok_and(|parsed| verify_server_name(&parsed, &name).is_ok())
    }
}
