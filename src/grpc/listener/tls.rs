//! The certificates of a listener: loaded from files, checked as a whole, replaced while the process runs.
//!
//! TLS 1.3 and 1.2 with ECDHE and AEAD suites only, by aws-lc. No session resumption: a resumed session would carry an
//! identity that nobody verified under the current bundle.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::time_provider::TimeProvider;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig, ServerConnection};
use zeroize::Zeroizing;

use crate::domain::ambient::Clock;

/// The only application protocol of the gRPC listener.
const ALPN_GRPC: &[u8] = b"h2";
/// The only application protocol of the public listener.
const ALPN_HTTP: &[u8] = b"http/1.1";

/// Where the certificates of a listener are, all PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFiles {
    /// The server's certificate, then the intermediate ones.
    pub cert: PathBuf,
    /// The private key of the first certificate.
    pub key: PathBuf,
    /// The authorities that client certificates must come from; `None`: clients have none.
    pub client_ca: Option<PathBuf>,
}

/// Why certificates cannot be used. Names files, never what is in them.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or is not the PEM it should be.
    #[error("{}: {rule}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        rule: String,
    },
    /// The files can be read and do not fit together.
    #[error("{}: certificate, key or bundle cannot be used: {source}", path.display())]
    Unusable {
        /// The certificate or bundle in question.
        path: PathBuf,
        /// What the TLS library says.
        source: rustls::Error,
    },
}

impl TlsError {
    /// The file it is about.
    pub fn path(&self) -> &Path {
        match self {
            Self::File { path, .. } | Self::Unusable { path, .. } => path,
        }
    }
}

/// The certificates of one listener. A reload is all or nothing; connections made before it stay.
pub struct Tls {
    files: TlsFiles,
    clock: Arc<dyn Clock>,
    current: ArcSwap<Loaded>,
    /// One reload at a time, so that an older reading never replaces a newer one.
    reloading: Mutex<()>,
}

struct Loaded {
    config: Arc<ServerConfig>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    generation: u64,
}

impl Tls {
    /// Loads the files. Reads the disk: call it at start or on a thread that may block. The clock decides which
    /// certificates are valid.
    ///
    /// # Errors
    /// The first file that cannot be used, and why.
    pub fn load(files: TlsFiles, clock: Arc<dyn Clock>) -> Result<Arc<Self>, TlsError> {
        let loaded = Loaded::read(&files, &clock, 1)?;
        Ok(Arc::new(Self { files, clock, current: ArcSwap::from_pointee(loaded), reloading: Mutex::new(()) }))
    }

    /// Loads the files again; later handshakes use them. Reads the disk. Returns the new generation.
    ///
    /// # Errors
    /// As [`load`](Self::load); then the certificates in use stay.
    pub fn reload(&self) -> Result<u64, TlsError> {
        // The guarded value is empty: a panic of another holder cannot have left it in a bad state.
        let _one_at_a_time = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = self.generation().saturating_add(1);
        self.current.store(Arc::new(Loaded::read(&self.files, &self.clock, generation)?));
        Ok(generation)
    }

    /// How often the files have been loaded.
    pub fn generation(&self) -> u64 {
        self.current.load().generation
    }

    pub(super) fn handshake(self: &Arc<Self>, addr: SocketAddr) -> Handshake {
        Handshake { addr, tls: Arc::clone(self), loaded: self.current.load_full() }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("files", &self.files)
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}

/// One handshake, under the certificates that were loaded when it began.
pub struct Handshake {
    addr: SocketAddr,
    tls: Arc<Tls>,
    loaded: Arc<Loaded>,
}

impl Handshake {
    /// Where the peer connects from.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Which loading of the certificates it is made under.
    pub fn generation(&self) -> u64 {
        self.loaded.generation
    }

    /// Keeps the peer's verified chain, so that it can be judged again after a reload.
    pub(in crate::grpc) fn chain(&self, certificates: &[CertificateDer<'static>]) -> ClientChain {
        ClientChain {
            certificates: certificates.to_vec(),
            tls: Arc::clone(&self.tls),
            trusted_at: AtomicU64::new(self.loaded.generation),
        }
    }

    pub(super) fn config(&self) -> &Arc<ServerConfig> {
        &self.loaded.config
    }

    /// A client that offers other protocols was refused by rustls; one that offers none may only come to the public
    /// listener.
    pub(super) fn speaks_our_protocol(&self, tls: &ServerConnection) -> bool {
        self.loaded.verifier.is_none() || tls.alpn_protocol() == Some(ALPN_GRPC)
    }
}

/// A client's certificate chain, verified at the handshake and again after every reload.
pub struct ClientChain {
    certificates: Vec<CertificateDer<'static>>,
    tls: Arc<Tls>,
    /// The newest generation that vouched for it.
    trusted_at: AtomicU64,
}

impl ClientChain {
    /// Whether the bundle loaded now vouches for it. Verifies at most once for each generation that does.
    pub(in crate::grpc) fn is_trusted(&self) -> bool {
        let loaded = self.tls.current.load();
        if self.trusted_at.load(Ordering::Relaxed) == loaded.generation {
            return true;
        }
        let (Some(verifier), Some((leaf, rest))) = (&loaded.verifier, self.certificates.split_first()) else {
            return false;
        };
        let trusted = verifier.verify_client_cert(leaf, rest, unix_time(&*self.tls.clock)).is_ok();
        if trusted {
            self.trusted_at.store(loaded.generation, Ordering::Relaxed);
        }
        trusted
    }
}

impl fmt::Debug for ClientChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientChain").field("certificates", &self.certificates.len()).finish_non_exhaustive()
    }
}

impl Loaded {
    fn read(files: &TlsFiles, clock: &Arc<dyn Clock>, generation: u64) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let unusable = |source| TlsError::Unusable { path: files.cert.clone(), source };
        let chain = certificates(&files.cert)?;
        let key = private_key(&files.key)?;
        let verifier = files.client_ca.as_deref().map(|bundle| client_verifier(bundle, &provider)).transpose()?;
        let builder = ServerConfig::builder_with_details(provider, Arc::new(TlsTime(Arc::clone(clock))))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(unusable)?;
        let builder = match &verifier {
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
        let alpn = if verifier.is_some() { ALPN_GRPC } else { ALPN_HTTP };
        config.alpn_protocols = vec![alpn.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { config: Arc::new(config), verifier, generation })
    }
}

fn client_verifier(
    bundle: &Path,
    provider: &Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(bundle)? {
        roots.add(certificate).map_err(|source| TlsError::Unusable { path: bundle.to_owned(), source })?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| TlsError::File { path: bundle.to_owned(), rule: error.to_string() })
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bad = |rule: String| TlsError::File { path: path.to_owned(), rule };
    let pem = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(bad("has no certificate in PEM form".to_owned())),
        Ok(certificates) => Ok(certificates),
        Err(_) => Err(bad("is not PEM".to_owned())),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|_| TlsError::File { path: path.to_owned(), rule: "has no private key in PEM form".to_owned() })
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let bad =
        |error: std::io::Error| TlsError::File { path: path.to_owned(), rule: format!("cannot be read: {error}") };
    std::fs::read(path).map(Zeroizing::new).map_err(bad)
}

/// rustls asks our clock, so that an adjusted clock judges certificates and callers alike.
struct TlsTime(Arc<dyn Clock>);

impl fmt::Debug for TlsTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsTime")
    }
}

impl TimeProvider for TlsTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(&*self.0))
    }
}

fn unix_time(clock: &dyn Clock) -> UnixTime {
    let seconds = u64::try_from(clock.now().as_unix_seconds()).unwrap_or(0);
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
}
