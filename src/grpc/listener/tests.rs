#![expect(clippy::unwrap_used, reason = "test support")]

use std::collections::VecDeque;
use std::path::Path;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose as Eku, IsCa,
    KeyPair, KeyUsagePurpose as Usage, SanType,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};

use super::*;
use crate::domain::ambient::{AdjustableClock, Timestamp};
use crate::grpc::auth::{Caller, CallerError, SpiffeCallers};

/// A test that hangs has failed.
const PATIENCE: Duration = Duration::from_secs(20);
const ID: &str = "spiffe://dev.strongroom/service/payments";

/// A certificate authority.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![Usage::KeyCertSign, Usage::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &*self.0).unwrap();
        Identity { certificate, key }
    }

    fn write(&self, path: &Path) {
        std::fs::write(path, self.0.pem()).unwrap();
    }
}

struct Identity {
    certificate: Certificate,
    key: KeyPair,
}

/// A caller's certificate as it should be.
fn svid(uri: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params.key_usages = vec![Usage::DigitalSignature];
    params.extended_key_usages = vec![Eku::ClientAuth];
    params
}

/// A listener on loopback and everything a client needs to reach it.
struct Site {
    dir: tempfile::TempDir,
    callers: Authority,
    servers: Authority,
    clock: Arc<AdjustableClock>,
    tls: Arc<Tls>,
    addr: SocketAddr,
    incoming: Incoming<Caller>,
    rejections: Rejections,
    rejected: mpsc::Receiver<Rejection>,
}

impl Site {
    async fn open(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (callers, servers) = (Authority::new("callers"), Authority::new("servers"));
        let files = server_files(dir.path(), &servers);
        callers.write(&dir.path().join("ca.pem"));
        let clock = Arc::new(AdjustableClock::default());
        let tls = Tls::load(files, clock.clone()).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = tcp.local_addr().unwrap();
        let (rejections, rejected) = Rejections::channel(8);
        let admission = SpiffeCallers::new(["dev.strongroom"]);
        let incoming = Incoming::start(tcp, Arc::clone(&tls), admission, limits, rejections.clone());
        Self { dir, callers, servers, clock, tls, addr, incoming, rejections, rejected }
    }

    fn client(&self, identity: Option<&Identity>, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.servers.0.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain: Vec<CertificateDer<'static>> = vec![identity.certificate.der().clone()];
                let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }

    /// Connects and tells what the listener made of it.
    async fn knock(&mut self, config: ClientConfig) -> Result<Connection<Caller>, RejectionReason> {
        let addr = self.addr;
        let peer = tokio::spawn(connect(addr, config));
        let verdict = tokio::time::timeout(PATIENCE, async {
            tokio::select! {
                connection = self.incoming.next() => Ok(connection.unwrap()),
                rejection = self.rejected.recv() => Err(rejection.unwrap().reason),
            }
        })
        .await
        .unwrap();
        peer.abort();
        verdict
    }

    async fn knock_as(&mut self, params: &CertificateParams) -> Result<Connection<Caller>, RejectionReason> {
        let identity = self.callers.issue(params);
        let config = self.client(Some(&identity), rustls::ALL_VERSIONS);
        self.knock(config).await
    }
}

fn server_files(dir: &Path, servers: &Authority) -> TlsFiles {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.extended_key_usages = vec![Eku::ServerAuth];
    let identity = servers.issue(&params);
    let files = TlsFiles { cert: dir.join("cert.pem"), key: dir.join("key.pem"), client_ca: Some(dir.join("ca.pem")) };
    std::fs::write(&files.cert, identity.certificate.pem()).unwrap();
    std::fs::write(&files.key, identity.key.serialize_pem()).unwrap();
    files
}

/// A client that connects, then keeps reading until it is closed or aborted.
async fn connect(addr: SocketAddr, config: ClientConfig) -> io::Result<Vec<u8>> {
    let tcp = TcpStream::connect(addr).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut io = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
    let mut all = Vec::new();
    io.read_to_end(&mut all).await?;
    Ok(all)
}

async fn site() -> Site {
    Site::open(Limits::default()).await
}

#[tokio::test]
async fn a_sound_certificate_names_the_caller_in_both_versions_of_tls() {
    let mut site = site().await;
    let identity = site.callers.issue(&svid(ID));
    for versions in [&[&version::TLS13], &[&version::TLS12]] {
        let config = site.client(Some(&identity), versions);
        let connection = site.knock(config).await.unwrap();
        let caller = connection.connect_info();
        assert_eq!(caller.id().as_str(), ID);
        assert_eq!(caller.addr().ip(), site.addr.ip());
        assert_eq!(caller.generation(), 1);
        assert_eq!(caller.still_valid(site.clock.now()), Ok(()));
    }
    // A second positive control: a path of several segments, another name beside it, no extended key usage.
    let mut params = svid("spiffe://dev.strongroom/ns/pay/sa/api");
    params.subject_alt_names.push(SanType::DnsName("pay.example".try_into().unwrap()));
    params.extended_key_usages.clear();
    assert_eq!(site.knock_as(&params).await.unwrap().info().id().as_str(), "spiffe://dev.strongroom/ns/pay/sa/api");
    assert_eq!(site.rejections.unreported(), 0);
}

#[tokio::test]
async fn every_unsound_certificate_is_refused_and_reported() {
    use IdentityFault as F;
    use RejectionReason as R;
    let mut site = site().await;
    let changed = |change: fn(&mut CertificateParams)| {
        let mut params = svid(ID);
        change(&mut params);
        params
    };
    let cases = [
        ("expired", changed(|p| p.not_after = rcgen::date_time_ymd(2001, 1, 1)), R::Expired),
        ("not yet valid", changed(|p| p.not_before = rcgen::date_time_ymd(4000, 1, 1)), R::NotYetValid),
        ("servers only", changed(|p| p.extended_key_usages = vec![Eku::ServerAuth]), R::Identity(F::NotForClients)),
        ("no uri", changed(|p| p.subject_alt_names.clear()), R::Identity(F::NoUri)),
        (
            "two uris",
            changed(|p| p.subject_alt_names.push(SanType::URI("spiffe://dev.strongroom/b".try_into().unwrap()))),
            R::Identity(F::SeveralUris),
        ),
        (
            "key usage to sign certificates",
            changed(|p| p.key_usages.push(Usage::KeyCertSign)),
            R::Identity(F::SigningKey),
        ),
        (
            "key usage without signing",
            changed(|p| p.key_usages = vec![Usage::KeyAgreement]),
            R::Identity(F::NoDigitalSignature),
        ),
        ("ca leaf", changed(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)), R::BadCertificate),
    ];
    for (what, params, reason) in cases {
        assert_eq!(site.knock_as(&params).await.map(drop).unwrap_err(), reason, "{what}");
    }
    let long = format!("spiffe://dev.strongroom/{}", "x".repeat(2048));
    for (uri, fault) in [
        ("spiffe://prod.strongroom/service/payments", F::ForeignTrustDomain),
        ("spiffe://dev.strongroom", F::NotSpiffe),
        ("spiffe://dev.strongroom/", F::NotSpiffe),
        ("spiffe://DEV.strongroom/a", F::NotSpiffe),
        ("spiffe://dev.strongroom/a%2fb", F::NotSpiffe),
        ("spiffe://dev.strongroom/a//b", F::NotSpiffe),
        ("spiffe://dev.strongroom/a/./b", F::NotSpiffe),
        ("spiffe://dev.strongroom/a/../b", F::NotSpiffe),
        ("spiffe://dev.strongroom/a/", F::NotSpiffe),
        ("https://dev.strongroom/a", F::NotSpiffe),
        (&long, F::NotSpiffe),
    ] {
        assert_eq!(site.knock_as(&svid(uri)).await.map(drop).unwrap_err(), R::Identity(fault), "{uri}");
    }
}

#[tokio::test]
async fn who_is_not_vouched_for_by_our_authority_is_refused() {
    use RejectionReason as R;
    let mut site = site().await;
    for versions in [&[&version::TLS13], &[&version::TLS12]] {
        // An authority with the name of ours is not ours.
        for (name, reason) in [("strangers", R::UnknownIssuer), ("callers", R::BadCertificate)] {
            let stranger = Authority::new(name).issue(&svid(ID));
            let config = site.client(Some(&stranger), versions);
            assert_eq!(site.knock(config).await.map(drop).unwrap_err(), reason);
        }

        let key = KeyPair::generate().unwrap();
        let own = Identity { certificate: svid(ID).self_signed(&key).unwrap(), key };
        let config = site.client(Some(&own), versions);
        assert_eq!(site.knock(config).await.map(drop).unwrap_err(), R::UnknownIssuer);

        let config = site.client(None, versions);
        let reason = site.knock(config).await.map(drop).unwrap_err();
        assert_eq!(reason, R::Identity(IdentityFault::NoCertificate));
    }
}

#[tokio::test]
async fn nothing_but_h2_over_tls_gets_in() {
    let mut site = site().await;
    let identity = site.callers.issue(&svid(ID));
    for protocols in [vec![], vec![b"http/1.1".to_vec()]] {
        let mut config = site.client(Some(&identity), rustls::ALL_VERSIONS);
        config.alpn_protocols = protocols;
        assert_eq!(site.knock(config).await.map(drop).unwrap_err(), RejectionReason::Protocol);
    }
    // h2c: the preface of HTTP/2 in clear.
    let mut tcp = TcpStream::connect(site.addr).await.unwrap();
    tcp.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let rejection = tokio::time::timeout(PATIENCE, site.rejected.recv()).await.unwrap().unwrap();
    assert_eq!((rejection.addr, rejection.reason), (tcp.local_addr().unwrap(), RejectionReason::Protocol));
}

#[tokio::test]
async fn no_session_is_ever_resumed() {
    let mut site = site().await;
    let identity = site.callers.issue(&svid(ID));
    for versions in [&[&version::TLS13], &[&version::TLS12]] {
        let connector = TlsConnector::from(Arc::new(site.client(Some(&identity), versions)));
        for _ in 0..2 {
            let tcp = TcpStream::connect(site.addr).await.unwrap();
            let mut io = connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap();
            let mut connection = tokio::time::timeout(PATIENCE, site.incoming.next()).await.unwrap().unwrap();
            // Tickets of TLS 1.3 would come before the first byte.
            connection.write_all(b"x").await.unwrap();
            io.read_exact(&mut [0; 1]).await.unwrap();
            assert_eq!(io.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
        }
    }
}

#[tokio::test]
async fn a_slow_handshake_is_cut_and_one_that_goes_away_is_noticed() {
    let mut site = Site::open(Limits { handshake_deadline: Duration::from_millis(50), ..Limits::default() }).await;
    let mut silent = TcpStream::connect(site.addr).await.unwrap();
    let rejection = tokio::time::timeout(PATIENCE, site.rejected.recv()).await.unwrap().unwrap();
    assert_eq!(rejection.reason, RejectionReason::Deadline);
    let read = tokio::time::timeout(PATIENCE, silent.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");

    let mut site = self::site().await;
    drop(TcpStream::connect(site.addr).await.unwrap());
    let rejection = tokio::time::timeout(PATIENCE, site.rejected.recv()).await.unwrap().unwrap();
    assert_eq!(rejection.reason, RejectionReason::ConnectionLost);
}

#[tokio::test]
async fn the_cap_on_connections_holds_until_one_ends() {
    let mut site = Site::open(Limits { connections_max: 2, ..Limits::default() }).await;
    let identity = site.callers.issue(&svid(ID));
    let config = site.client(Some(&identity), rustls::ALL_VERSIONS);
    let first = site.knock(config.clone()).await.unwrap();
    let _second = site.knock(config.clone()).await.unwrap();
    let third = tokio::spawn(connect(site.addr, config));
    // Nothing else to wait for: that a thing does not happen can only be watched for a while.
    assert!(tokio::time::timeout(Duration::from_millis(200), site.incoming.next()).await.is_err());
    drop(first);
    let connection = tokio::time::timeout(PATIENCE, site.incoming.next()).await.unwrap().unwrap();
    assert_eq!(connection.info().id().as_str(), ID);
    third.abort();
}

#[tokio::test]
async fn a_reload_changes_whom_new_and_old_connections_are_trusted_from() {
    let mut site = site().await;
    let old = site.callers.issue(&svid(ID));
    let config = site.client(Some(&old), rustls::ALL_VERSIONS);
    let before = site.knock(config.clone()).await.unwrap().info().clone();

    // A bundle that cannot be used changes nothing.
    let bundle = site.dir.path().join("ca.pem");
    for bad in ["", "no pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        std::fs::write(&bundle, bad).unwrap();
        assert!(site.tls.reload().unwrap_err().to_string().contains("ca.pem"), "{bad}");
    }
    assert_eq!(site.tls.generation(), 1);
    assert!(site.knock(config.clone()).await.is_ok());

    // Old and new authority together: both are trusted.
    let next = Authority::new("next");
    std::fs::write(&bundle, format!("{}{}", site.callers.0.pem(), next.0.pem())).unwrap();
    assert_eq!(site.tls.reload().unwrap(), 2);
    assert_eq!(before.still_valid(site.clock.now()), Ok(()));
    assert_eq!(site.knock(config.clone()).await.unwrap().info().generation(), 2);

    // The new one alone: the old certificate is refused, and the connection it has is worth nothing any more.
    next.write(&bundle);
    assert_eq!(site.tls.reload().unwrap(), 3);
    assert_eq!(site.knock(config).await.map(drop).unwrap_err(), RejectionReason::UnknownIssuer);
    assert_eq!(before.still_valid(site.clock.now()), Err(CallerError::Untrusted));
    let fresh = next.issue(&svid(ID));
    let config = site.client(Some(&fresh), rustls::ALL_VERSIONS);
    assert_eq!(site.knock(config).await.unwrap().info().generation(), 3);
}

#[tokio::test]
async fn a_certificate_ends_on_a_living_connection_and_on_an_adjusted_clock() {
    let mut site = site().await;
    let mut params = svid(ID);
    params.not_after = rcgen::date_time_ymd(3000, 1, 1);
    let caller = site.knock_as(&params).await.unwrap().info().clone();
    let end = Timestamp::parse_rfc3339("3000-01-01T00:00:00Z").unwrap();
    assert_eq!(caller.not_after(), end);
    assert_eq!(caller.still_valid(end.plus(Duration::from_micros(999_999))), Ok(()));
    assert_eq!(caller.still_valid(end.plus(Duration::from_secs(1))), Err(CallerError::Expired));
    let mut request = tonic::Request::new(());
    request.extensions_mut().insert(caller);
    assert_eq!(crate::grpc::auth::caller(&request, end).unwrap().id().as_str(), ID);
    assert_eq!(
        crate::grpc::auth::caller(&request, end.plus(Duration::from_secs(1))).unwrap_err(),
        CallerError::Expired
    );
    site.clock.advance(end.plus(Duration::from_secs(1)).since(site.clock.now()));
    assert_eq!(site.knock_as(&params).await.map(drop).unwrap_err(), RejectionReason::Expired);
}

#[tokio::test]
async fn a_call_over_grpc_carries_the_caller_of_its_connection() {
    use tonic::transport::{Certificate as Pem, Channel, ClientTlsConfig, Identity as ClientIdentity, Server};
    use tonic_health::pb::health_client::HealthClient;
    use tonic_health::pb::health_server::HealthServer;

    let site = site().await;
    let (seen, mut callers) = mpsc::unbounded_channel();
    let clock = Arc::clone(&site.clock);
    let check = move |request: tonic::Request<()>| {
        let caller = crate::grpc::auth::caller(&request, clock.now());
        let verdict = caller.as_ref().map(drop).map_err(|error| tonic::Status::unauthenticated(error.to_string()));
        seen.send(caller.map(|caller| caller.id().as_str().to_owned())).unwrap();
        verdict.map(|()| request)
    };
    let (_, health) = tonic_health::server::health_reporter();
    let _: &HealthServer<_> = &health;
    let service = tonic::service::interceptor::InterceptedService::new(health, check);
    let server = tokio::spawn(Server::builder().add_service(service).serve_with_incoming(site.incoming));

    let caller = site.callers.issue(&svid(ID));
    let tls = ClientTlsConfig::new()
        .ca_certificate(Pem::from_pem(site.servers.0.pem()))
        .identity(ClientIdentity::from_pem(caller.certificate.pem(), caller.key.serialize_pem()))
        .domain_name("localhost");
    let endpoint = Channel::from_shared(format!("https://{}", site.addr)).unwrap().tls_config(tls).unwrap();
    let mut client = HealthClient::new(endpoint.connect().await.unwrap());
    client.check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap();
    assert_eq!(callers.recv().await.unwrap(), Ok(ID.to_owned()));

    // The same connection, after the authority was replaced: no new handshake, and no caller any more.
    Authority::new("next").write(&site.dir.path().join("ca.pem"));
    site.tls.reload().unwrap();
    let status = client.check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
    assert_eq!(callers.recv().await.unwrap(), Err(CallerError::Untrusted));
    server.abort();
}

/// A source whose first attempts fail.
struct Failing {
    errors: VecDeque<io::Error>,
    then: TcpListener,
}

impl Source for Failing {
    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        match self.errors.pop_front() {
            Some(error) => Err(error),
            None => Source::accept(&mut self.then).await,
        }
    }
}

#[tokio::test]
async fn no_error_of_accept_ends_the_listener() {
    let mut site = site().await;
    let then = TcpListener::bind("127.0.0.1:0").await.unwrap();
    site.addr = then.local_addr().unwrap();
    let too_many_files = || io::Error::from_raw_os_error(24);
    let errors = [io::ErrorKind::ConnectionAborted.into(), too_many_files(), too_many_files()].into();
    let door = Door {
        tls: Arc::clone(&site.tls),
        admission: SpiffeCallers::new(["dev.strongroom"]),
        limits: Limits::default(),
        rejections: site.rejections.clone(),
    };
    site.incoming = Incoming::over(Failing { errors, then }, Arc::new(door));
    assert_eq!(site.knock_as(&svid(ID)).await.unwrap().info().id().as_str(), ID);
}

#[tokio::test]
async fn a_full_channel_of_rejections_only_counts() {
    let (rejections, mut rejected) = Rejections::channel(1);
    let addr: SocketAddr = "127.0.0.1:1".parse().unwrap();
    for _ in 0..3 {
        rejections.report(Rejection { addr, reason: RejectionReason::Protocol });
    }
    assert_eq!(rejections.unreported(), 2);
    assert_eq!(rejected.recv().await.unwrap().addr, addr);
}

#[tokio::test]
async fn the_public_listener_asks_for_no_certificate_and_speaks_http_1() {
    let site = site().await;
    let files = TlsFiles { client_ca: None, ..server_files(site.dir.path(), &site.servers) };
    let tls = Tls::load(files, Arc::new(SystemClock)).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = tcp.local_addr().unwrap();
    let mut incoming = Incoming::start(tcp, tls, Anyone, Limits::default(), site.rejections.clone());
    for protocols in [vec![], vec![b"h2".to_vec(), b"http/1.1".to_vec()]] {
        let mut config = site.client(None, rustls::ALL_VERSIONS);
        config.alpn_protocols = protocols;
        let peer = tokio::spawn(connect(addr, config));
        let mut connection = tokio::time::timeout(PATIENCE, incoming.next()).await.unwrap().unwrap();
        assert_eq!(connection.info().0.ip(), addr.ip());
        connection.write_all(b"hello").await.unwrap();
        connection.shutdown().await.unwrap();
        assert_eq!(tokio::time::timeout(PATIENCE, peer).await.unwrap().unwrap().unwrap(), b"hello");
    }
}

#[test]
fn certificates_that_do_not_fit_are_refused_by_file() {
    let dir = tempfile::tempdir().unwrap();
    let servers = Authority::new("servers");
    let files = server_files(dir.path(), &servers);
    let load = || Tls::load(files.clone(), Arc::new(SystemClock)).map(drop).unwrap_err().to_string();
    assert!(load().contains("ca.pem: cannot be read"));
    servers.write(&dir.path().join("ca.pem"));
    std::fs::write(&files.key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(load().contains("cert.pem: certificate, key or bundle cannot be used"));
    std::fs::write(&files.key, "secret").unwrap();
    let text = load();
    assert!(text.contains("key.pem: has no private key in PEM form") && !text.contains("secret"));
    std::fs::write(&files.cert, "").unwrap();
    assert!(load().contains("cert.pem: has no certificate in PEM form"));
}
