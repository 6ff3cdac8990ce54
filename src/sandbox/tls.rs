//! TLS for the one listener: the certificate that stands in a directory, or one of an authority that is made there.
//!
//! TLS 1.2 is there beside 1.3, because the official PHP SDK asks for exactly that. The authority's key is never written: whoever
//! trusts this sandbox trusts this certificate and no other.

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// The server's certificate with its chain.
const CERT_FILE: &str = "cert.pem";
/// Its private key.
const KEY_FILE: &str = "key.pem";
/// The authority that a client must trust.
const CA_FILE: &str = "ca.pem";

/// Validity of what is made here: years, because a sandbox's clock may be moved far ahead and its clients share it.
const VALID_YEARS: (i32, i32) = (2020, 2099);

/// Protocols offered: the sandbox speaks HTTP/1.1 alone, as its recorded answers do.
const PROTOCOLS: [&[u8]; 1] = [b"http/1.1"];

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    /// The file system said no.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A file is not what its name says.
    #[error("{0} cannot be read as PEM")]
    Pem(PathBuf),
    /// One of the two is there without the other.
    #[error("there is no {0}, though its other half is there")]
    Half(PathBuf),
    /// Certificate and key do not fit, or cannot be used.
    #[error("certificate and key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// No certificate could be made.
    #[error("no certificate could be made: {0}")]
    Made(#[from] rcgen::Error),
}

/// What a directory holds.
pub(super) struct Tls {
    /// Takes connections.
    pub(super) acceptor: TlsAcceptor,
    /// The authority's certificate, if it stands there.
    pub(super) ca: Option<PathBuf>,
}

/// Opens the directory; makes it and a certificate for this machine when there is none.
pub(super) fn open(dir: &Path) -> Result<Tls, TlsError> {
    let (cert, key) = (dir.join(CERT_FILE), dir.join(KEY_FILE));
    match (cert.exists(), key.exists()) {
        (true, true) => {}
        (false, false) => make(dir)?,
        (true, false) => return Err(TlsError::Half(key)),
        (false, true) => return Err(TlsError::Half(cert)),
    }
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(&cert)?).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or(TlsError::Pem(cert))?;
    let private = PrivateKeyDer::from_pem_slice(&read(&key)?).map_err(|_| TlsError::Pem(key))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, private)?;
    config.alpn_protocols = PROTOCOLS.into_iter().map(<[u8]>::to_vec).collect();
    let ca = Some(dir.join(CA_FILE)).filter(|ca| ca.exists());
    Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), ca })
}

/// Makes an authority and a certificate for this machine.
fn make(dir: &Path) -> Result<(), TlsError> {
    let failed = |source| TlsError::Io { path: dir.to_owned(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "WePay sandbox CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid_for_long(&mut params);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    params.subject_alt_names.extend(loopback.map(SanType::IpAddress));
    params.distinguished_name.push(DnType::CommonName, "WePay sandbox");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    valid_for_long(&mut params);
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &*authority)?;
    // The certificate last: whoever finds it finds the rest as well.
    write(&dir.join(CA_FILE), &authority.pem())?;
    write(&dir.join(KEY_FILE), &key.serialize_pem())?;
    write(&dir.join(CERT_FILE), &certificate.pem())
}

fn valid_for_long(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(VALID_YEARS.0, 1, 1);
    params.not_after = rcgen::date_time_ymd(VALID_YEARS.1, 1, 1);
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Io { path: path.to_owned(), source })
}

/// Writes a file that nobody else may read; over none but a left-over authority.
fn write(path: &Path, text: &str) -> Result<(), TlsError> {
    let mut options = std::fs::OpenOptions::new();
    let written = options.write(true).create(true).truncate(true).mode(0o600).open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|source| TlsError::Io { path: path.to_owned(), source })
}
