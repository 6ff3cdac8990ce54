//! Typed configuration of `serve`: a TOML file, overridden by environment variables, validated once, all faults at
//! once.
//!
//! Each variable is `STRONGROOM_`, then the key in upper case with dots as underscores; lists are comma separated
//! there. Secrets are file references only, and files that hold secrets must be closed to everybody but their owner. No
//! fault ever quotes a value. Layers do not see this type: the composition root hands them plain arguments.

mod check;
mod database;
mod read;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::domain::app::Environment;
use crate::domain::budget::{Pace, SHARE, WINDOW};
use crate::domain::timing::Timing;

pub use database::CONNECTIONS_MAX;
pub use read::{ConfigErrors, FILE_BYTES_MAX, Fault, ProcessEnvironment, Source};

use read::Reader;

/// Fastest test clock: a 70 s deadline becomes 70 ms, about what a loopback round trip still fits in.
pub const TIME_SCALE_MAX: u32 = 1000;
/// Most trust domains and most return URLs: lists a person reviews.
pub const LIST_MAX: usize = 64;
/// Longest lease: below the time after which what a dead process had sent is judged.
pub const LEASE_MAX: Duration = Duration::from_secs(60);
/// Longest duration that may be configured, those with a limit of their own apart.
pub const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest life of an invitation.
pub const INVITATION_LIFE_MAX: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Shortest retention that may be configured: what happened yesterday must be there to be asked for.
pub const RETENTION_MIN: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest retention that may be configured: ten years.
pub const RETENTION_MAX: Duration = Duration::from_secs(3_650 * 24 * 60 * 60);
/// Longest announcement of an end: whoever balances load looks every few seconds, and an orderly end must fit into the time that
/// Kubernetes gives (`terminationGracePeriodSeconds`) together with a mint, 70 s.
pub const ANNOUNCE_MAX: Duration = Duration::from_secs(60);
/// How long calls to the provider stay in the log unless configured: a quarter, the time in which disputes come up.
const RETENTION_OF_CALLS: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// How much longer than a code lives we wait before an attempt in doubt counts as over (design: 630 s over 600 s).
const QUIESCENCE_MARGIN: Duration = Duration::from_secs(30);

/// Every key there is.
const KEYS: &[&str] = &[
    "environment",
    "client_id",
    "client_secret_file",
    "keyring_file",
    "policy_file",
    "trust_domains",
    "app_owner.token_file",
    "app_owner.account_id",
    "time_scale",
    "provider.api",
    "provider.ui",
    "database.url",
    "database.password_file",
    "database.ca_file",
    "database.cert_file",
    "database.key_file",
    "database.schema",
    "database.connections",
    "grpc.listen",
    "grpc.cert_file",
    "grpc.key_file",
    "grpc.client_ca_file",
    "public.listen",
    "public.base_url",
    "public.cert_file",
    "public.key_file",
    "public.platform_name",
    "public.return_urls",
    "ops.listen",
    "drain.announce",
    "links.confirmation",
    "timing.code_life",
    "timing.mint_deadline",
    "timing.probe_deadline",
    "timing.quiescence",
    "timing.call_quiescence",
    "timing.death_confirmation",
    "timing.evidence_fresh",
    "timing.state_life",
    "timing.invitation_life",
    "timing.recovery_interval",
    "timing.lease",
    "budget.share",
    "retention.provider_calls",
    "log.format",
    "log.filter",
];

/// A whole, valid configuration. Holds no secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Stage or production.
    pub environment: Environment,
    /// The provider's id of our app.
    pub client_id: String,
    /// File with the app's secret.
    pub client_secret_file: PathBuf,
    /// File with our keys.
    pub keyring_file: PathBuf,
    /// File with the grants.
    pub policy_file: PathBuf,
    /// Trust domains whose workloads may call.
    pub trust_domains: Vec<String>,
    /// The provider user to whom our app belongs, if probes are to use its token.
    pub app_owner: Option<AppOwnerConfig>,
    /// A sandbox in the place of the provider. To be printed at start.
    pub provider: Option<ProviderOverride>,
    /// What every duration is divided by; 1 without a sandbox. To be printed at start when above 1.
    pub time_scale: u32,
    /// Where state is.
    pub database: Database,
    /// The internal API.
    pub grpc: GrpcConfig,
    /// What browsers and the provider reach.
    pub public: PublicConfig,
    /// Health probes.
    pub ops: OpsConfig,
    /// For how long an end is announced before it begins, already divided by `time_scale`.
    pub announce: Duration,
    /// When a new link needs a confirmation.
    pub confirmation: Confirmation,
    /// Durations of the mint protocol, already divided by `time_scale`.
    pub timing: Timing,
    /// How fast the provider may be called, by all processes together. The window is the provider's, divided by `time_scale`.
    pub budget: Pace,
    /// How long things are kept.
    pub retention: Retention,
    /// The log.
    pub log: LogConfig,
}

/// How long things are kept. Divided by `time_scale` as every duration is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Calls to the provider, in the call log.
    pub provider_calls: Duration,
}

impl Retention {
    /// Everything divided by this; zero counts as one.
    fn scaled(self, by: u32) -> Self {
        Self { provider_calls: self.provider_calls.checked_div(by).unwrap_or(self.provider_calls) }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self { provider_calls: RETENTION_OF_CALLS }
    }
}

/// The provider user to whom our app belongs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppOwnerConfig {
    /// File with its token, as the provider's dashboard shows it.
    pub token_file: PathBuf,
    /// The provider's id of its own payment account.
    pub account_id: Option<String>,
}

/// A sandbox in the place of the provider: loopback base URLs that end in `/v2`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProviderOverride {
    /// Where calls go.
    pub api: String,
    /// Where browsers go.
    pub ui: String,
}

/// Where state is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Database {
    /// A SQLite file, by absolute path.
    Sqlite(PathBuf),
    /// A PostgreSQL server.
    Postgres(Box<PostgresConfig>),
}

/// How to reach a PostgreSQL server. Holds no secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PostgresConfig {
    /// `postgres://USER@HOST:PORT/DATABASE`: no password, no options.
    pub url: String,
    /// File with the user's password; without it the server must know the user by its certificate, or by where it connects from.
    pub password_file: Option<PathBuf>,
    /// Authorities of the server's certificate, PEM; the driver trusts the public web's beside them. With it the connection is encrypted and the server's name checked; only on a
    /// loopback address may it be absent.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate chain, PEM, where the server wants one.
    pub cert_file: Option<PathBuf>,
    /// Its private key, PEM.
    pub key_file: Option<PathBuf>,
    /// The schema that holds the tables.
    pub schema: String,
    /// Most connections of this process.
    pub connections: u32,
}

/// The internal API.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GrpcConfig {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Server certificate chain, PEM.
    pub cert_file: PathBuf,
    /// Its private key, PEM.
    pub key_file: PathBuf,
    /// Authorities of client certificates, PEM.
    pub client_ca_file: PathBuf,
}

/// What browsers and the provider reach.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicConfig {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Origin under which it is reached, without a slash at the end.
    pub base_url: String,
    /// Server certificate chain, PEM.
    pub cert_file: PathBuf,
    /// Its private key, PEM.
    pub key_file: PathBuf,
    /// What the platform is called on the pages: it is the one who asks the merchant.
    pub platform_name: String,
    /// Where a merchant may be sent back to. Each ends in a slash, so that a parsed and serialised URL that begins with
    /// one of them is permitted, and no other host or half path segment slips through.
    pub return_urls: Vec<String>,
}

/// Health probes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpsConfig {
    /// Address to listen on.
    pub listen: SocketAddr,
}

/// When a new link needs a confirmation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Confirmation {
    /// Always.
    #[default]
    Always,
    /// Unless the provider's email of the user equals the expected one.
    EmailMatch,
}

/// Form of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    #[default]
    Json,
    /// Text, for people.
    Text,
}

/// The log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogConfig {
    /// Its form.
    pub format: LogFormat,
    /// A level, or filter directives.
    pub filter: String,
}

impl Config {
    /// Reads and validates everything: the text of the file, if there is one, overridden by the source. Looks at the
    /// files that are named, without reading them.
    ///
    /// # Errors
    /// Every fault there is. A file that is no TOML has only its syntax errors reported.
    pub fn load(source: &dyn Source, file_text: Option<&str>) -> Result<Self, ConfigErrors> {
        let mut reader = Reader::new(source, file_text.unwrap_or_default(), KEYS)?;
        let config = Self::read(&mut reader);
        reader.finish(config)
    }

    /// The keys that have other values in one text of the file than in another, in their order. None where the source has a value, which
    /// wins; none at all when a text is no configuration.
    pub fn changed_keys(source: &dyn Source, one: &str, other: &str) -> Vec<&'static str> {
        let read = |text| Reader::new(source, text, KEYS);
        let (Ok(one), Ok(other)) = (read(one), read(other)) else { return Vec::new() };
        KEYS.iter().copied().filter(|key| one.differs(&other, key)).collect()
    }

    /// An example with every key, explained; the text of a file to begin with.
    pub fn example() -> &'static str {
        include_str!("config/example.toml")
    }

    /// Reads every key whatever is wrong with the others; `None` when any required one is missing or wrong.
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let environment = reader.required("environment", check::environment);
        let client_id = reader.required("client_id", check::client_id);
        let client_secret_file = reader.required("client_secret_file", check::secret_file);
        let app_owner = app_owner(reader);
        let keyring_file = reader.required("keyring_file", check::secret_file);
        let policy_file = reader.required("policy_file", check::plain_file);
        let trust_domains = reader.list("trust_domains", LIST_MAX, check::trust_domain);
        if trust_domains.as_ref().is_some_and(Vec::is_empty) {
            reader.fault("trust_domains", "is missing or empty", "name the SPIFFE trust domains of the callers");
        }
        let provider = Self::provider(reader, environment);
        let database = database::read(reader);
        let grpc = Self::grpc(reader);
        let public = Self::public(reader);
        let ops = reader.required("ops.listen", check::address).map(|listen| OpsConfig { listen });
        let announce = reader.optional("drain.announce", |text| check::duration(text, Duration::ZERO, ANNOUNCE_MAX));
        let confirmation = reader.optional("links.confirmation", check::confirmation);
        let format = reader.optional("log.format", check::log_format);
        let filter = reader.optional("log.filter", check::log_filter);
        let time_scale = Self::time_scale(reader, matches!(provider, Some(Some(_))));
        let timing = timing(reader);
        let retention = retention(reader);
        let share = reader.optional("budget.share", check::share);
        Self::distinct_addresses(
            reader,
            [
                ("grpc.listen", grpc.as_ref().map(|grpc| grpc.listen)),
                ("public.listen", public.as_ref().map(|public| public.listen)),
                ("ops.listen", ops.map(|ops| ops.listen)),
            ],
        );
        Some(Self {
            environment: environment?,
            client_id: client_id?,
            client_secret_file: client_secret_file?,
            keyring_file: keyring_file?,
            app_owner: app_owner?,
            policy_file: policy_file?,
            trust_domains: trust_domains?,
            provider: provider?,
            time_scale: time_scale?,
            database: database?,
            grpc: grpc?,
            public: public?,
            ops: ops?,
            announce: announce?.unwrap_or_default().checked_div(time_scale?).unwrap_or_default(),
            confirmation: confirmation?.unwrap_or_default(),
            timing: timing?.scaled(time_scale?),
            budget: Pace::new(share?.unwrap_or(SHARE), WINDOW.checked_div(time_scale?).unwrap_or(WINDOW)),
            retention: retention?.scaled(time_scale?),
            log: LogConfig {
                format: format?.unwrap_or_default(),
                filter: filter?.unwrap_or_else(|| "info".to_owned()),
            },
        })
    }

    fn grpc(reader: &mut Reader<'_>) -> Option<GrpcConfig> {
        let listen = reader.required("grpc.listen", check::address);
        let cert_file = reader.required("grpc.cert_file", check::plain_file);
        let key_file = reader.required("grpc.key_file", check::secret_file);
        let client_ca_file = reader.required("grpc.client_ca_file", check::plain_file);
        Some(GrpcConfig {
            listen: listen?,
            cert_file: cert_file?,
            key_file: key_file?,
            client_ca_file: client_ca_file?,
        })
    }

    fn public(reader: &mut Reader<'_>) -> Option<PublicConfig> {
        let listen = reader.required("public.listen", check::address);
        let base_url = reader.required("public.base_url", check::origin);
        let cert_file = reader.required("public.cert_file", check::plain_file);
        let key_file = reader.required("public.key_file", check::secret_file);
        let platform_name = reader.required("public.platform_name", check::platform_name);
        let return_urls = reader.list("public.return_urls", LIST_MAX, check::return_url);
        Some(PublicConfig {
            listen: listen?,
            base_url: base_url?,
            cert_file: cert_file?,
            key_file: key_file?,
            platform_name: platform_name?,
            return_urls: return_urls?,
        })
    }

    /// `Some(None)` when there is no override. The URLs come with the environment rule: an override in production would
    /// send real credentials somewhere else.
    fn provider(reader: &mut Reader<'_>, environment: Option<Environment>) -> Option<Option<ProviderOverride>> {
        let api = reader.optional("provider.api", check::loopback_url)?;
        let ui = reader.optional("provider.ui", check::loopback_url)?;
        let (api, ui) = match (api, ui) {
            (None, None) => return Some(None),
            (Some(api), Some(ui)) => (api, ui),
            (api, _) => {
                let missing = if api.is_some() { "provider.ui" } else { "provider.api" };
                reader.fault(missing, "is missing", "set provider.api and provider.ui together, or neither");
                return None;
            }
        };
        if environment != Some(Environment::Stage) {
            let rule = "may be overridden only with environment \"stage\"";
            reader.fault("provider.api", rule, "remove [provider]");
            return None;
        }
        Some(Some(ProviderOverride { api, ui }))
    }

    fn time_scale(reader: &mut Reader<'_>, sandbox: bool) -> Option<u32> {
        let scale = reader.optional("time_scale", check::time_scale)?.unwrap_or(1);
        if scale > 1 && !sandbox {
            let rule = "may be above 1 only with environment \"stage\" and a [provider] on a loopback address";
            reader.fault("time_scale", rule, "remove it");
            return None;
        }
        Some(scale)
    }

    fn distinct_addresses(reader: &mut Reader<'_>, listeners: [(&str, Option<SocketAddr>); 3]) {
        let mut taken: Vec<SocketAddr> = Vec::new();
        for (key, address) in listeners {
            // Port 0 is a fresh port each time.
            let Some(address) = address.filter(|address| address.port() != 0) else { continue };
            if taken.contains(&address) {
                reader.fault(key, "is the address of another listener", "give each listener its own port");
            }
            taken.push(address);
        }
    }
}

/// `Some(None)` when there is none. An account without the token that owns it says nothing.
fn app_owner(reader: &mut Reader<'_>) -> Option<Option<AppOwnerConfig>> {
    let token_file = reader.optional("app_owner.token_file", check::secret_file)?;
    let account_id = reader.optional("app_owner.account_id", check::provider_id)?;
    match (token_file, account_id) {
        (None, Some(_)) => {
            reader.fault("app_owner.token_file", "is missing", "set it, or remove app_owner.account_id");
            None
        }
        (token_file, account_id) => Some(token_file.map(|token_file| AppOwnerConfig { token_file, account_id })),
    }
}

fn retention(reader: &mut Reader<'_>) -> Option<Retention> {
    let check = |text: &str| check::duration(text, RETENTION_MIN, RETENTION_MAX);
    let provider_calls = reader.optional("retention.provider_calls", check)?.unwrap_or(RETENTION_OF_CALLS);
    Some(Retention { provider_calls })
}

/// The durations, none of them below its default: smaller ones are unsafe against the real provider.
fn timing(reader: &mut Reader<'_>) -> Option<Timing> {
    let least = Timing::default();
    let mut duration = |key, least, most| {
        reader.optional(key, |text| check::duration(text, least, most)).map(|found| found.unwrap_or(least))
    };
    let code_life = duration("timing.code_life", least.code_life, DURATION_MAX);
    let mint_deadline = duration("timing.mint_deadline", least.mint_deadline, DURATION_MAX);
    let probe_deadline = duration("timing.probe_deadline", least.probe_deadline, DURATION_MAX);
    let quiescence = duration("timing.quiescence", least.quiescence, DURATION_MAX);
    let call_quiescence = duration("timing.call_quiescence", least.call_quiescence, DURATION_MAX);
    let death_confirmation = duration("timing.death_confirmation", least.death_confirmation, DURATION_MAX);
    let evidence_fresh = duration("timing.evidence_fresh", least.evidence_fresh, DURATION_MAX);
    let state_life = duration("timing.state_life", least.state_life, DURATION_MAX);
    let invitation_life = duration("timing.invitation_life", least.invitation_life, INVITATION_LIFE_MAX);
    let recovery_interval = duration("timing.recovery_interval", least.recovery_interval, DURATION_MAX);
    let lease = duration("timing.lease", least.lease, LEASE_MAX);
    if let (Some(code_life), Some(quiescence)) = (code_life, quiescence)
        && quiescence < code_life.saturating_add(QUIESCENCE_MARGIN)
    {
        let rule = "must be at least 30s longer than timing.code_life";
        reader.fault("timing.quiescence", rule, "a code may be used until it ends: raise it");
        return None;
    }
    Some(Timing {
        code_life: code_life?,
        mint_deadline: mint_deadline?,
        probe_deadline: probe_deadline?,
        quiescence: quiescence?,
        call_quiescence: call_quiescence?,
        death_confirmation: death_confirmation?,
        evidence_fresh: evidence_fresh?,
        state_life: state_life?,
        invitation_life: invitation_life?,
        recovery_interval: recovery_interval?,
        lease: lease?,
    })
}

#[cfg(test)]
mod tests;
