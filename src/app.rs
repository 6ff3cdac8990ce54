//! The composition root: builds store, vault, provider, service and servers from a configuration, and takes them down in order.
//!
//! Values are built and handed out here; there are no globals. `serve`, `dev`, `demo` and the tests all come through
//! [`start`], so that what is tested is what runs.

pub mod doctor;
mod reload;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use url::Url;

use self::reload::{Before, Reload};
use crate::config::{Config, Confirmation, Database, Retention};
use crate::domain::ambient::{Clock, Entropy, SystemClock, SystemEntropy};
use crate::domain::name::ProviderAccountId;
use crate::domain::secret::{AccessToken, ClientSecret, Secret};
use crate::domain::token::Capabilities;
use crate::grpc::auth::SpiffeCallers;
use crate::grpc::listener::{Anyone, Incoming, Limits, Rejections, Tls, TlsFiles};
use crate::policy::SharedPolicy;
use crate::provider::{CAPABILITIES, Client, Credentials, Endpoints};
use crate::service::{
    AppOwner, Auditor, CALL_QUEUE_MAX, CallLog, Health, Parts, Presence, Services, Settings, Standing, keep_pruning,
    while_leading,
};
use crate::store::{Location, Migrations, PostgresTls, Store, StoreKeys};
use crate::vault::{Keyring, Vault};
use crate::{grpc, http, service};

pub use self::reload::ConfigFile;

/// The provider this build speaks to.
const PROVIDER: &str = "wepay";
/// Rejected connection attempts that wait to be recorded; beyond that they are only counted.
const REJECTIONS_MAX: usize = 256;
/// Longest wait for calls under way when the process is told to end. What is armed may take the mint deadline (70 s) and more:
/// it is waited for without a limit, because abandoning it may cost a token.
const DRAIN: Duration = Duration::from_secs(10);

/// Why the service did not start. Each says what to look at.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file that the configuration names cannot be used.
    #[error("{what} {}: {why}", path.display())]
    File {
        /// What it is.
        what: &'static str,
        /// Where it should be.
        path: std::path::PathBuf,
        /// What is the matter.
        why: String,
    },
    /// A listener cannot be opened.
    #[error("cannot listen on {address}: {why}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What is the matter.
        why: std::io::Error,
    },
    /// The database cannot be used.
    #[error("database: {0}")]
    Store(#[from] crate::store::Error),
    /// What was left open cannot be settled.
    #[error("recovery: {0}")]
    Recovery(service::Error),
    /// The provider client cannot be built.
    #[error("provider: {0}")]
    Provider(#[from] crate::provider::SetupError),
    /// A URL of the configuration cannot be used.
    #[error("{0}: not a URL")]
    Url(&'static str),
}

/// What a start takes beside the configuration.
#[derive(Clone)]
pub struct Surroundings {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// What the provider is taken to be like. Anything but [`Surroundings::new`]'s is for tests of the tests.
    pub capabilities: Capabilities,
}

impl Surroundings {
    /// This machine's own clock and randomness.
    pub fn of_this_machine() -> Self {
        Self::new(Arc::new(SystemClock), Arc::new(SystemEntropy))
    }

    /// The surroundings with the provider as it is.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy, capabilities: CAPABILITIES }
    }
}

/// The three listeners: separate, so that a network policy can tell them apart.
#[derive(Debug)]
pub struct Listeners {
    /// The internal API.
    pub grpc: TcpListener,
    /// What browsers and the provider reach.
    pub public: TcpListener,
    /// Health probes.
    pub ops: TcpListener,
}

impl Listeners {
    /// Opens the listeners of the configuration.
    ///
    /// # Errors
    /// [`StartError::Listen`].
    pub async fn bind(config: &Config) -> Result<Self, StartError> {
        let bind = async |address: SocketAddr| {
            TcpListener::bind(address).await.map_err(|why| StartError::Listen { address, why })
        };
        Ok(Self {
            grpc: bind(config.grpc.listen).await?,
            public: bind(config.public.listen).await?,
            ops: bind(config.ops.listen).await?,
        })
    }
}

/// A running service.
pub struct Running {
    services: Services,
    store: Arc<Store>,
    reload: Arc<Reload>,
    health: Health,
    clock: Arc<dyn Clock>,
    announce: Duration,
    stop: CancellationToken,
    servers: JoinSet<()>,
    writer: JoinHandle<()>,
    owner_adopted: watch::Receiver<bool>,
    presence: Arc<Presence>,
    shown: JoinHandle<()>,
    call_log: CallLog,
    call_writer: JoinHandle<()>,
}

/// Builds everything and starts to serve. When this returns, all listeners answer.
///
/// # Errors
/// [`StartError`]: nothing is left running.
pub async fn start(config: &Config, around: &Surroundings, listeners: Listeners) -> Result<Running, StartError> {
    let keyring =
        Keyring::load(&config.keyring_file).map_err(|fault| unusable("keyring", &config.keyring_file, fault))?;
    let vault = Arc::new(Vault::new(keyring));
    let before = Before::look(config);
    let policy =
        SharedPolicy::load(&config.policy_file).map_err(|faults| unusable("policy", &config.policy_file, faults))?;
    let policy = Arc::new(policy);
    let (logged, calls) = mpsc::channel(CALL_QUEUE_MAX);
    let app_owner = app_owner(config)?;
    let provider = provider(config)?.with_log(Arc::clone(&around.clock), logged);
    let tls = tls(config, &around.clock)?;
    let keys = StoreKeys {
        signer: Arc::<Vault>::clone(&vault),
        mac: Arc::<Vault>::clone(&vault),
        check_value: vault.check_value(),
    };
    let location = location(&config.database)?;
    let (clock, entropy) = (Arc::clone(&around.clock), Arc::clone(&around.entropy));
    let store = Store::open_with(&location, migrations(&config.database), keys, clock, entropy).await?;
    let store = Arc::new(store);
    let app = store.stamp(PROVIDER, config.environment, &config.client_id).await?;
    store.note_policy(policy.snapshot().hash()).await?;
    // Before anything is claimed: what a run has that nobody knows of would be settled as a dead one's.
    let presence = Presence::begin(Arc::clone(&store), Arc::clone(&around.clock), config.timing, run_name()).await;
    let presence = Arc::new(presence.map_err(StartError::Recovery)?);
    let (auditor, writer) = Auditor::start(Arc::clone(&store), store.open_read_trail("system").await?);
    let (clock, entropy) = (Arc::clone(&around.clock), Arc::clone(&around.entropy));
    let (call_log, call_writer) = CallLog::start(Arc::clone(&store), clock, entropy, calls);
    let settings = settings(config)?;
    let services = Services::new(Parts {
        store: Arc::clone(&store),
        vault,
        provider,
        policy: Arc::clone(&policy),
        clock: Arc::clone(&around.clock),
        entropy: Arc::clone(&around.entropy),
        timing: config.timing,
        capabilities: around.capabilities,
        app: app.clone(),
        settings: settings.clone(),
        auditor,
        pace: config.budget,
    });
    if store.is_exclusive() {
        services.adopt_open_attempts().await.map_err(StartError::Recovery)?;
    }
    let stop = CancellationToken::new();
    let health = Health::default();
    services.look_at_health(&health).await;
    let mut servers = JoinSet::new();
    let (rejections, rejected) = Rejections::channel(REJECTIONS_MAX);
    let [grpc_tls, public_tls] = tls.clone();
    let callers = SpiffeCallers::new(config.trust_domains.iter().cloned());
    let calls = Incoming::start(listeners.grpc, grpc_tls, callers, Limits::default(), rejections.clone());
    let browsers = Incoming::start(listeners.public, public_tls, Anyone, Limits::default(), Rejections::channel(1).0);
    servers.spawn(serve_grpc(services.clone(), around.clone(), calls, health.watch(), stop.clone()));
    let provider_ui_origin = ui_origin(config)?;
    let returns = settings.return_urls.iter().map(|url| url.origin().ascii_serialization());
    let site = http::PublicSite {
        app: app.id,
        form_targets: std::iter::once(provider_ui_origin.clone()).chain(returns).collect(),
        provider_ui_origin,
        clock: Arc::clone(&around.clock),
        entropy: Arc::clone(&around.entropy),
    };
    let browsers = browsers.filter_map(|browser| browser.ok().map(|browser| (browser.info().0, browser)));
    let browsers = browsers.map(|(address, browser)| (browser, address));
    servers.spawn(http::serve(browsers, http::public_router(services.clone(), site), stop.clone()));
    servers.spawn(serve_ops(listeners.ops, health.watch(), stop.clone()));
    servers.spawn(look(services.clone(), health.clone(), stop.clone()));
    let shown = tokio::spawn({
        let presence = Arc::clone(&presence);
        async move { presence.keep().await }
    });
    servers.spawn(judge(services.clone(), presence.leads(), stop.clone()));
    let adopted = watch::Sender::new(app_owner.is_none());
    let owner_adopted = adopted.subscribe();
    if let Some(owner) = app_owner {
        servers.spawn(adopt(services.clone(), owner, adopted, presence.leads(), stop.clone()));
    }
    let (clock, leads) = (Arc::clone(&around.clock), presence.leads());
    servers.spawn(prune(Arc::clone(&store), clock, config.retention, leads, stop.clone()));
    servers.spawn(record_rejections(services.clone(), rejected, stop.clone()));
    let reload = Arc::new(Reload::new(before, policy, tls, Arc::clone(&store), services.clone()));
    servers.spawn(watch_files(Arc::clone(&reload), Arc::clone(&around.clock), stop.clone()));
    health.begin();
    info!(app.id = %app.id, "serving");
    let (clock, announce) = (Arc::clone(&around.clock), config.announce);
    Ok(Running {
        services,
        store,
        reload,
        health,
        clock,
        announce,
        stop,
        servers,
        writer,
        owner_adopted,
        presence,
        shown,
        call_log,
        call_writer,
    })
}

impl Running {
    /// The service itself, for those who started it.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Reads policy and certificates again, each all or nothing, the last good ones stay; and the configuration, if it is followed. All of
    /// them are looked at by and by without it as well.
    pub async fn reload(&self) {
        self.reload.all().await;
    }

    /// Brings what may change in the configuration into force when its file changes, and says of the rest that it takes a start.
    pub async fn follow(&self, config: ConfigFile) {
        self.reload.follow(config).await;
    }

    /// Resolves when the app owner's token was imported, by this process or another, or is not going to be. The service does not wait
    /// for it.
    pub async fn owner_adopted(&self) {
        let mut adopted = self.owner_adopted.clone();
        // An error means that the task is gone: then it is over, too.
        let _over = adopted.wait_for(|adopted| *adopted).await;
    }

    /// Resolves when the service cannot go on: a server ended that nobody told to.
    pub async fn ended(&self) {
        self.stop.cancelled().await;
    }

    /// Tells of the end for as long as configured, while still serving; then stops accepting, lets calls under way finish, waits for every mint that is armed, closes the read trail and the database.
    pub async fn stop(mut self) {
        self.presence.retire();
        self.health.end();
        info!(announced_ms = self.announce.as_millis(), "ending");
        self.clock.sleep(self.announce).await;
        self.services.begin_to_drain();
        self.stop.cancel();
        let calls = async { while self.servers.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, calls).await.is_err() {
            warn!("calls still under way after the drain time are cut off");
            self.servers.shutdown().await;
        }
        self.services.drain().await;
        // Behind the last call to the provider.
        self.call_log.close();
        if self.call_writer.await.is_err() {
            error!("the writer of the call log ended badly; its last calls may be missing");
        }
        if self.writer.await.is_err() {
            error!("the audit writer ended badly; another process or the next start closes its trail");
        }
        // Shown until now: what was under way was this process's own.
        self.shown.abort();
        self.presence.end().await;
        self.store.close().await;
    }
}

async fn serve_grpc(
    services: Services,
    around: Surroundings,
    calls: Incoming<grpc::auth::Caller>,
    health: watch::Receiver<Standing>,
    stop: CancellationToken,
) {
    if let Err(ended) = grpc::serve(services, around.clock, around.entropy, calls, health, stop.clone()).await {
        error!("the gRPC server ended: {ended}");
    }
    stop.cancel();
}

async fn serve_ops(listener: TcpListener, health: watch::Receiver<Standing>, stop: CancellationToken) {
    let served = axum::serve(listener, http::ops_router(health)).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(ended) = served.await {
        error!("the ops server ended: {ended}");
    }
}

async fn look(services: Services, health: Health, stop: CancellationToken) {
    tokio::select! {
        () = services.keep_looking_at_health(&health) => {}
        () = stop.cancelled() => {}
    }
}

async fn watch_files(reload: Arc<Reload>, clock: Arc<dyn Clock>, stop: CancellationToken) {
    tokio::select! {
        () = reload.keep_looking(&*clock) => {}
        () = stop.cancelled() => {}
    }
}

async fn judge(services: Services, leads: watch::Receiver<bool>, stop: CancellationToken) {
    tokio::select! {
        () = while_leading(leads, || services.keep_judging()) => {}
        () = stop.cancelled() => {}
    }
}

async fn prune(
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    retention: Retention,
    leads: watch::Receiver<bool>,
    stop: CancellationToken,
) {
    let keep = || keep_pruning(Arc::clone(&store), Arc::clone(&clock), retention.provider_calls);
    tokio::select! {
        () = while_leading(leads, keep) => {}
        () = stop.cancelled() => {}
    }
}

async fn adopt(
    services: Services,
    owner: AppOwner,
    adopted: watch::Sender<bool>,
    leads: watch::Receiver<bool>,
    stop: CancellationToken,
) {
    let keep = async || {
        let connection = services.adopt_app_owner(&owner).await;
        adopted.send_replace(true);
        if let Some(connection) = connection {
            services.keep_looking_at_owner(connection).await;
        }
    };
    // Who does not lead waits for the one that does.
    let others = async {
        let mut follows = leads.clone();
        while follows.wait_for(|leads| !leads).await.is_ok() {
            tokio::select! {
                () = services.app_owner_known(&owner) => {
                    adopted.send_replace(true);
                    return;
                }
                _ = follows.wait_for(|leads| *leads) => {}
            }
        }
    };
    let work = async { tokio::join!(while_leading(leads.clone(), &keep), others) };
    tokio::select! {
        _ = work => {}
        () = stop.cancelled() => {}
    }
}

/// How people know this process among those that share its database.
fn run_name() -> String {
    let host = rustix::system::uname();
    format!("{} (pid {})", host.nodename().to_string_lossy(), std::process::id())
}

async fn record_rejections(
    services: Services,
    mut rejected: mpsc::Receiver<grpc::listener::Rejection>,
    stop: CancellationToken,
) {
    loop {
        let rejection = tokio::select! {
            rejection = rejected.recv() => rejection,
            () = stop.cancelled() => None,
        };
        let Some(rejection) = rejection else { return };
        services.record_rejection(rejection.addr, rejection.reason.code()).await;
    }
}

fn provider(config: &Config) -> Result<Client, StartError> {
    let endpoints = match &config.provider {
        None => Endpoints::of(config.environment)?,
        Some(sandbox) => {
            warn!(provider.api = %sandbox.api, time_scale = config.time_scale, "a sandbox stands in for the provider");
            let api = Url::parse(&sandbox.api).map_err(|_| StartError::Url("provider.api"))?;
            let ui = Url::parse(&sandbox.ui).map_err(|_| StartError::Url("provider.ui"))?;
            Endpoints::overridden(api, ui)?
        }
    };
    let path = &config.client_secret_file;
    let secret = std::fs::read_to_string(path).map_err(|fault| unusable("client secret", path, fault.kind()))?;
    let client_secret = ClientSecret::new(secret.trim_end().to_owned());
    let credentials = Credentials { client_id: config.client_id.clone(), client_secret };
    Ok(Client::new(endpoints, credentials, &config.timing)?)
}

fn app_owner(config: &Config) -> Result<Option<AppOwner>, StartError> {
    let Some(owner) = &config.app_owner else { return Ok(None) };
    let unreadable = |fault: String| unusable("app owner's token", &owner.token_file, fault);
    let text = std::fs::read_to_string(&owner.token_file).map_err(|fault| unreadable(fault.kind().to_string()))?;
    let account = owner.account_id.as_deref().map(ProviderAccountId::parse).transpose();
    Ok(Some(AppOwner {
        token: AccessToken::new(text.trim_end().to_owned()),
        account: account.map_err(|fault| unreadable(fault.to_string()))?,
    }))
}

fn ui_origin(config: &Config) -> Result<String, StartError> {
    let ui = match &config.provider {
        None => Endpoints::of(config.environment)?.ui,
        Some(sandbox) => Url::parse(&sandbox.ui).map_err(|_| StartError::Url("provider.ui"))?,
    };
    Ok(ui.origin().ascii_serialization())
}

fn tls(config: &Config, clock: &Arc<dyn Clock>) -> Result<[Arc<Tls>; 2], StartError> {
    let load = |cert: &Path, key: &Path, client_ca: Option<&Path>| {
        let files = TlsFiles { cert: cert.into(), key: key.into(), client_ca: client_ca.map(Into::into) };
        Tls::load(files, Arc::clone(clock)).map_err(|fault| unusable("certificate", cert, fault))
    };
    let (grpc, public) = (&config.grpc, &config.public);
    Ok([
        load(&grpc.cert_file, &grpc.key_file, Some(&grpc.client_ca_file))?,
        load(&public.cert_file, &public.key_file, None)?,
    ])
}

fn settings(config: &Config) -> Result<Settings, StartError> {
    let parse = |text: &String| Url::parse(text).map_err(|_| StartError::Url("public.return_urls"));
    Ok(Settings {
        public_base: Url::parse(&config.public.base_url).map_err(|_| StartError::Url("public.base_url"))?,
        platform_name: config.public.platform_name.clone(),
        return_urls: config.public.return_urls.iter().map(parse).collect::<Result<_, _>>()?,
        confirmation: match config.confirmation {
            Confirmation::Always => service::Confirmation::Always,
            Confirmation::EmailMatch => service::Confirmation::EmailMatch,
        },
        has_app_owner: config.app_owner.is_some(),
    })
}

/// Makes a keyring file with fresh keys.
///
/// # Errors
/// [`StartError::File`]: it is there already, or cannot be written.
pub fn create_keyring(path: &Path, around: &Surroundings) -> Result<(), StartError> {
    let keyring = Keyring::generate(&*around.entropy, around.clock.now());
    keyring.create_file(path).map_err(|fault| unusable("keyring", path, fault))
}

/// Brings the schema of the configured database up to date; says from which version to which.
///
/// # Errors
/// [`StartError::Store`]: another process has the database, or it is newer than this build.
pub async fn migrate(config: &Config) -> Result<(i64, i64), StartError> {
    let report = Store::migrate(&location(&config.database)?).await?;
    Ok((report.from, report.to))
}

/// Whether a start may bring the schema up to date: in a file that it owns. On a server other processes are at work, and the service's role
/// may not: there it is a step of its own, [`migrate`].
const fn migrations(database: &Database) -> Migrations {
    match database {
        Database::Sqlite(_) => Migrations::Apply,
        Database::Postgres(_) => Migrations::Refuse,
    }
}

/// The URL of the configured database.
pub fn database_url(database: &Database) -> String {
    match database {
        Database::Sqlite(path) => format!("sqlite://{}", path.display()),
        Database::Postgres(server) => server.url.clone(),
    }
}

/// Where the configured database is, with the password that its file holds.
///
/// # Errors
/// [`StartError`]: the URL or the password file cannot be used.
pub fn location(database: &Database) -> Result<Location, StartError> {
    let location = Location::parse(&database_url(database))?;
    let (Location::Postgres(mut server), Database::Postgres(wanted)) = (location.clone(), database) else {
        return Ok(location);
    };
    if let Some(path) = &wanted.password_file {
        let text = std::fs::read_to_string(path).map_err(|fault| unusable("password", path, fault.kind()))?;
        server.password = Some(Arc::new(Secret::new(text.trim_end().to_owned())));
    }
    server.schema.clone_from(&wanted.schema);
    server.connections = wanted.connections;
    server.tls = wanted
        .ca_file
        .clone()
        .map(|ca_file| PostgresTls { ca_file, client: wanted.cert_file.clone().zip(wanted.key_file.clone()) });
    Ok(Location::Postgres(server))
}

fn unusable(what: &'static str, path: &Path, why: impl std::fmt::Display) -> StartError {
    StartError::File { what, path: path.to_owned(), why: why.to_string() }
}
