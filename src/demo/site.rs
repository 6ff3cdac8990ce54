//! The parts of `dev` and `demo` in one process: sandbox, database, keyring, grants, certificates, server. The same
//! [`crate::app::start`] as `serve`; only the surroundings are made up here.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::authority::{TRUST_DOMAIN, establish};
use super::dev_json::{CallerJson, DevJson, GrpcJson, SandboxJson};
use super::files::{make_private_dir, write_private};
use crate::app::{self, Listeners, Running, StartError, Surroundings};
use crate::config::{
    AppOwnerConfig, Config, Confirmation, Database, GrpcConfig, LogConfig, LogFormat, OpsConfig, ProviderOverride,
    PublicConfig, Retention,
};
use crate::domain::ambient::{AdjustableClock, Entropy, SystemEntropy};
use crate::domain::app::Environment;
use crate::domain::budget::{CALLS_MAX, Pace};
use crate::domain::timing::Timing;
use crate::sandbox::{Environment as SandboxEnvironment, Options as SandboxOptions, Sandbox, Throttle};
use crate::telemetry::Captured;

/// The callers of a development site; see `grants.toml` for what each may do.
const CALLERS: [&str; 6] = ["payments", "onboarding", "auditor", "admin", "approver", "stranger"];
/// What they may do.
const GRANTS: &str = include_str!("grants.toml");
/// What the platform is called on the pages.
const PLATFORM: &str = "Example Shops";
/// A window so short that nobody here waits for the provider's pace. What that is like is shown where time runs as it does.
const FAST: Duration = Duration::from_millis(30);
/// Where a merchant may be sent back to: nothing is ever fetched from there.
const RETURN_URL: &str = "https://platform.test/";

/// How to set up a site. All but `dir` is for tests of the demo itself.
#[derive(Clone, Debug)]
pub struct SiteOptions {
    /// Where everything lies; made if it is not there.
    pub dir: PathBuf,
    /// Another database than a SQLite file in `dir`; its schema has to be there.
    pub database: Option<Database>,
    /// Other grants than the development ones.
    pub grants: Option<String>,
    /// Whether the sandbox revokes earlier tokens, as the provider does.
    pub token_revokes: bool,
    /// Whether the sandbox's `/user/register` revokes earlier tokens too, which nobody knows of the provider.
    pub register_revokes: bool,
    /// Whether the product knows that a mint revokes.
    pub mint_revokes: bool,
    /// Whether the product has the app owner's token.
    pub has_app_owner: bool,
    /// How fast the sandbox may be called. It does not count unless it is told to.
    pub pace: Pace,
    /// What goes wrong at the sandbox from the beginning of the story on, as its control API takes it.
    pub faults: Vec<serde_json::Value>,
}

impl SiteOptions {
    /// A site as it should be.
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            database: None,
            grants: None,
            token_revokes: true,
            register_revokes: false,
            mint_revokes: true,
            has_app_owner: true,
            pace: Pace::new(CALLS_MAX, FAST),
            faults: Vec::new(),
        }
    }
}

/// Why a site could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// A file or directory.
    #[error("{}: {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is the matter.
        why: String,
    },
    /// A certificate.
    #[error("development certificates: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The sandbox.
    #[error("sandbox: {0}")]
    Sandbox(#[from] crate::sandbox::Error),
    /// A listener.
    #[error("cannot listen on {address}: {why}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What is the matter.
        why: io::Error,
    },
    /// The service.
    #[error("{0}")]
    Start(#[from] StartError),
}

impl SiteError {
    pub(super) fn file(path: &Path, why: &dyn std::fmt::Display) -> Self {
        Self::File { path: path.to_owned(), why: why.to_string() }
    }
}

/// A running site.
pub struct Site {
    dev: DevJson,
    product: PathBuf,
    clock: Arc<AdjustableClock>,
    log: Option<Captured>,
    /// Absent once it was taken away.
    sandbox: Option<Sandbox>,
    faults: Vec<serde_json::Value>,
    running: Running,
}

impl Site {
    /// Sets up and starts everything. A site that was here before gets its ports, keys, certificates and state back.
    ///
    /// # Errors
    /// [`SiteError`]; nothing is left running.
    pub async fn open(options: SiteOptions, log: Option<Captured>) -> Result<Self, SiteError> {
        make_private_dir(&options.dir)?;
        let dir = options.dir.canonicalize().map_err(|why| SiteError::file(&options.dir, &why))?;
        let product = dir.join("product");
        let notice_roots = vec![certify(&product.join("tls"))?];
        let clock = Arc::new(AdjustableClock::default());
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let before = DevJson::read(&dir.join("dev.json")).ok();
        let ports = Ports::of(before.as_ref());
        // Before the sandbox: a notice that is due at its start waits in the queue of connections until the product answers.
        let listeners = Listeners {
            grpc: listen(ports.grpc).await?,
            public: listen(ports.public).await?,
            ops: listen(ports.ops).await?,
        };
        let sandbox = Sandbox::start(SandboxOptions {
            listen: loopback(ports.sandbox),
            dir: Some(dir.join("sandbox")),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            time_scale: 1,
            token_revokes: options.token_revokes,
            register_revokes: options.register_revokes,
            environment: SandboxEnvironment::Stage,
            throttle: Throttle::Off,
            notice_roots,
            settings: serde_json::Map::new(),
            tls_dir: None,
        })
        .await?;
        let mut around = Surroundings::new(Arc::<AdjustableClock>::clone(&clock), entropy);
        around.capabilities.mint_revokes = options.mint_revokes;
        furnish(&product, &options, &sandbox, &around)?;
        let mut config = config(&product, &sandbox, &listeners)?;
        config.database = options.database.unwrap_or(config.database);
        config.app_owner = config.app_owner.filter(|_| options.has_app_owner);
        config.budget = options.pace;
        let dev = dev_json(&dir, &config, &sandbox);
        let running = app::start(&config, &around, listeners).await?;
        // Whoever looks at the sandbox's call log from here on sees what was asked for, and not how the site was set up.
        running.owner_adopted().await;
        let path = dir.join("dev.json");
        dev.write(&path).map_err(|why| SiteError::file(&path, &why))?;
        let faults = options.faults;
        Ok(Self { dev, product, clock, log, sandbox: Some(sandbox), faults, running })
    }

    /// How to reach it.
    pub fn dev(&self) -> &DevJson {
        &self.dev
    }

    /// Where the product's own files lie. The sandbox is the outside world: its state lies apart.
    pub fn dir(&self) -> &Path {
        &self.product
    }

    /// The one clock of product and sandbox.
    pub fn clock(&self) -> &Arc<AdjustableClock> {
        &self.clock
    }

    /// What is to go wrong at the sandbox.
    pub(super) fn faults(&self) -> &[serde_json::Value] {
        &self.faults
    }

    /// Everything that was logged so far, where the log is captured.
    pub fn log(&self) -> Vec<u8> {
        self.log.as_ref().map(Captured::bytes).unwrap_or_default()
    }

    /// Reads grants and certificates again.
    pub async fn reload(&self) {
        self.running.reload().await;
    }

    /// Ends the sandbox alone: where the provider was, nobody answers any more. The next start brings it back.
    pub async fn lose_sandbox(&mut self) {
        if let Some(sandbox) = self.sandbox.take() {
            sandbox.stop().await;
        }
    }

    /// Stops everything, the product first.
    pub async fn close(self) {
        self.running.stop().await;
        if let Some(sandbox) = self.sandbox {
            sandbox.stop().await;
        }
    }
}

/// Ports of the run before; 0 lets the system choose.
#[derive(Default)]
struct Ports {
    grpc: u16,
    public: u16,
    ops: u16,
    sandbox: u16,
}

impl Ports {
    fn of(before: Option<&DevJson>) -> Self {
        let port = |text: &str| url::Url::parse(text).ok().and_then(|url| url.port()).unwrap_or(0);
        before.map_or_else(Self::default, |before| Self {
            grpc: port(&format!("tcp://{}", before.grpc.address)),
            public: port(&before.public_http),
            ops: port(&before.ops_http),
            sandbox: port(&before.sandbox.api),
        })
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

async fn listen(port: u16) -> Result<TcpListener, SiteError> {
    let address = loopback(port);
    TcpListener::bind(address).await.map_err(|why| SiteError::Listen { address, why })
}

/// Makes certificates for server and callers unless they are there; returns their authority.
fn certify(tls: &Path) -> Result<Vec<u8>, SiteError> {
    make_private_dir(tls)?;
    let authority = tls.join("ca.pem");
    if !authority.exists() {
        let callers: Vec<_> = CALLERS.iter().map(|name| (*name, caller_id(name))).collect();
        establish(tls, &callers)?;
    }
    std::fs::read(&authority).map_err(|why| SiteError::file(&authority, &why))
}

/// Writes what else an operator would bring: keys, grants, the app's secret. What is there stays.
fn furnish(product: &Path, options: &SiteOptions, sandbox: &Sandbox, around: &Surroundings) -> Result<(), SiteError> {
    let keyring = product.join("keyring.json");
    if !keyring.exists() {
        app::create_keyring(&keyring, around)?;
    }
    let grants = product.join("grants.toml");
    if options.grants.is_some() || !grants.exists() {
        write_private(&grants, options.grants.as_deref().unwrap_or(GRANTS).as_bytes())?;
    }
    if options.has_app_owner {
        write_private(&product.join("app_owner_token"), sandbox.app_owner_token().as_bytes())?;
    }
    write_private(&product.join("client_secret"), sandbox.endpoints().client_secret.as_bytes())
}

fn caller_id(name: &str) -> String {
    let kind = if matches!(name, "auditor" | "admin" | "approver") { "person" } else { "service" };
    format!("spiffe://{TRUST_DOMAIN}/{kind}/{name}")
}

fn config(product: &Path, sandbox: &Sandbox, listeners: &Listeners) -> Result<Config, SiteError> {
    let address =
        |listener: &TcpListener| listener.local_addr().map_err(|why| SiteError::Listen { address: loopback(0), why });
    let tls = product.join("tls");
    let (cert_file, key_file) = (tls.join("server.pem"), tls.join("server.key"));
    let endpoints = sandbox.endpoints();
    let public = address(&listeners.public)?;
    Ok(Config {
        environment: Environment::Stage,
        client_id: endpoints.client_id.clone(),
        client_secret_file: product.join("client_secret"),
        keyring_file: product.join("keyring.json"),
        policy_file: product.join("grants.toml"),
        trust_domains: vec![TRUST_DOMAIN.to_owned()],
        app_owner: Some(AppOwnerConfig {
            token_file: product.join("app_owner_token"),
            account_id: Some(sandbox.app_owner_account_id().to_string()),
        }),
        provider: Some(ProviderOverride { api: endpoints.api.clone(), ui: endpoints.ui.clone() }),
        time_scale: 1,
        database: Database::Sqlite(product.join("strongroom.db")),
        grpc: GrpcConfig {
            listen: address(&listeners.grpc)?,
            cert_file: cert_file.clone(),
            key_file: key_file.clone(),
            client_ca_file: tls.join("ca.pem"),
        },
        public: PublicConfig {
            listen: public,
            base_url: format!("https://localhost:{}", public.port()),
            cert_file,
            key_file,
            platform_name: PLATFORM.to_owned(),
            return_urls: vec![RETURN_URL.to_owned()],
        },
        ops: OpsConfig { listen: address(&listeners.ops)? },
        announce: Duration::ZERO,
        confirmation: Confirmation::Always,
        timing: Timing::default(),
        budget: Pace::new(CALLS_MAX, FAST),
        retention: Retention::default(),
        log: LogConfig { format: LogFormat::Text, filter: "info".to_owned() },
    })
}

fn dev_json(dir: &Path, config: &Config, sandbox: &Sandbox) -> DevJson {
    let tls = dir.join("product").join("tls");
    let ca = tls.join("ca.pem");
    let endpoints = sandbox.endpoints();
    let callers = CALLERS.iter().map(|name| {
        let files = CallerJson {
            cert: tls.join(format!("{name}.pem")),
            key: tls.join(format!("{name}.key")),
            id: caller_id(name),
        };
        ((*name).to_owned(), files)
    });
    DevJson {
        grpc: GrpcJson { address: config.grpc.listen.to_string(), ca: ca.clone(), server_name: "localhost".to_owned() },
        public_http: config.public.base_url.clone(),
        public_ca: ca,
        ops_http: format!("http://{}", config.ops.listen),
        sandbox: SandboxJson {
            api: endpoints.api.clone(),
            ui: endpoints.ui.clone(),
            control: endpoints.control.clone(),
            client_id: endpoints.client_id.clone(),
            client_secret: endpoints.client_secret.clone(),
        },
        database: app::database_url(&config.database),
        callers: callers.collect(),
    }
}
