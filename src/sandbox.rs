//! A local WePay v2: the outside world of every test of the product, and of `demo` and `dev`.
//!
//! It is exact in what it covers (`docs/sandbox.md`, whose tables a test holds against the code): the calls of users, accounts,
//! apps, batches and rbits in each API version, `/oauth2/token` with its revocation of every earlier token of the (user, app),
//! `/user/register` with its temporary tokens, the throttle, the pages for merchants, notices; and it can be told to fail in
//! scripted ways. No call about money is there.
//!
//! A request becomes a decision over an immutable `Context`, the decision a list of events, and `World::commit` writes them to the
//! journal, applies them, and only then lets the answer go:
//!
//! | modules | job |
//! |---|---|
//! | `server`, `tls` | the listener; from a request to its answer, whatever becomes of the client |
//! | `api`, `parameters`, `protocol`, `throttle` | WePay's calls: one table of them, their checks in one order, their errors |
//! | `pages`, `confirmation` | what people see and do in a browser |
//! | `notices` | what apps are told without asking, and when again |
//! | `lifecycle` | what becomes of accounts, by money, papers and time |
//! | `control`, `faults`, `settings` | what a test may see, change and break |
//! | `world`, `state`, `journal` | the one lock, what is known, what is on disk |
//! | `fuzzing` | entry points for the fuzzer, and what it holds of each answer |
//!
//! It names nothing of the product but the clock and randomness seam: its constants are its own, so that a mistake
//! cannot agree with itself on both sides. It serves invented people on a loopback address and nothing else.

mod api;
mod confirmation;
mod control;
mod environment;
mod faults;
#[doc(hidden)]
pub mod fuzzing;
mod hash;
mod journal;
mod lifecycle;
mod notices;
mod pages;
mod parameters;
mod protocol;
mod server;
mod settings;
mod state;
#[cfg(test)]
mod tests;
mod throttle;
mod tls;
mod world;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::net::TcpListener;

pub use self::environment::Environment;
use self::journal::{Journal, JournalError};
use self::notices::{Delivery, Desk, Poster};
use self::server::Server;
use self::settings::Settings;
pub use self::settings::Throttle;
use self::state::{
    Account, AccountState, App, AppState, Bank, Details, Event, Frequency, Settlement, Standing, State, Token,
    TokenKind, User, UserState,
};
use self::tls::TlsError;
use self::world::{Core, World};
use crate::domain::ambient::{AdjustableClock, Clock as _, Entropy, SystemEntropy, random};

/// How a sandbox is started.
pub struct Options {
    /// Where it listens; must be a loopback address. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where its journal stands (directory, made when missing); none keeps everything in memory.
    pub dir: Option<PathBuf>,
    /// Its time, shared with the product in `demo`, `dev` and tests; the control API moves it.
    pub clock: Arc<AdjustableClock>,
    /// Where codes, tokens, ids and salts come from.
    pub entropy: Arc<dyn Entropy>,
    /// Divides every documented duration (code life, session life); 0 counts as 1.
    pub time_scale: u32,
    /// Whether `/oauth2/token` revokes earlier tokens. True is the truth; false is for tests of the tests.
    pub token_revokes: bool,
    /// Whether `/user/register` revokes earlier tokens too. No source says; false is what the documentation suggests.
    pub register_revokes: bool,
    /// Which of the provider's two environments it plays; a directory keeps the one it was made with.
    pub environment: Environment,
    /// Whether and how calls are limited at the start: 30 in 10 seconds for each app.
    pub throttle: Throttle,
    /// Authorities that receivers of notices may have their certificates from, as PEM files; none beside them is known.
    pub notice_roots: Vec<Vec<u8>>,
    /// Settings of the control API that shall differ from those above, and from their defaults, from the start on.
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// Where certificate and key for TLS stand, or are made; none answers in clear.
    pub tls_dir: Option<PathBuf>,
}

impl Options {
    /// A faithful sandbox with a clock and randomness of its own.
    pub fn alone(listen: SocketAddr, dir: Option<PathBuf>, time_scale: u32) -> Self {
        Self {
            listen,
            dir,
            clock: Arc::new(AdjustableClock::default()),
            entropy: Arc::new(SystemEntropy),
            time_scale,
            token_revokes: true,
            register_revokes: false,
            environment: Environment::Stage,
            throttle: Throttle::Sliding,
            notice_roots: Vec::new(),
            settings: serde_json::Map::new(),
            tls_dir: None,
        }
    }
}

/// Where a sandbox answers, and the app that was made in it.
#[derive(Clone, Serialize)]
pub struct Endpoints {
    /// Base URL of the API, ends in `/v2`.
    pub api: String,
    /// Base URL of the browser pages, ends in `/v2`.
    pub ui: String,
    /// Base URL of the control API, ends in `/control`.
    pub control: String,
    /// The app's id: digits.
    pub client_id: String,
    /// The app's secret: ten lower-case hexadecimal digits.
    pub client_secret: String,
    /// With TLS: the certificate that a client must trust, as a file; none when it stands elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

impl std::fmt::Debug for Endpoints {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { api, ui, control, client_id, client_secret: _, ca } = self;
        let mut shown = formatter.debug_struct("Endpoints");
        shown.field("api", api).field("ui", ui).field("control", control).field("client_id", client_id).field("ca", ca);
        shown.finish_non_exhaustive()
    }
}

/// Why a sandbox does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The control API needs no password, so nobody else may reach it.
    #[error("the sandbox listens on loopback addresses only, not on {0}")]
    NotLoopback(SocketAddr),
    /// The address is taken or not there.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A setting that there is not, or a value that it cannot have.
    #[error("the sandbox cannot be set like that: {0}")]
    Setting(String),
    /// The journal cannot be read, written or locked, or is broken.
    #[error("the sandbox's journal cannot be used: {0}")]
    Journal(String),
    /// The directory's state is that of the other environment: none of its tokens would be right here.
    #[error("the sandbox in this directory plays {made}, not {asked}")]
    Environment {
        /// As what it was made.
        made: &'static str,
        /// As what it should be started.
        asked: &'static str,
    },
    /// The authorities for notices cannot be used.
    #[error("the authorities for notices cannot be used: {0}")]
    NoticeRoots(String),
    /// Certificate or key cannot be used.
    #[error("TLS: {0}")]
    Tls(String),
}

impl From<TlsError> for Error {
    fn from(error: TlsError) -> Self {
        Self::Tls(error.to_string())
    }
}

impl From<JournalError> for Error {
    fn from(error: JournalError) -> Self {
        Self::Journal(error.to_string())
    }
}

/// A running sandbox. Dropping it stops it without waiting.
pub struct Sandbox {
    endpoints: Endpoints,
    local_addr: SocketAddr,
    owner_token: String,
    owner_account_id: u64,
    core: Arc<Core>,
    server: Server,
    delivery: Delivery,
}

impl Sandbox {
    /// Replays the journal (or makes the app and its owner), moves the clock as far ahead as it stood, and answers.
    ///
    /// # Errors
    /// Not a loopback address, address taken, or a journal that cannot be used.
    pub async fn start(options: Options) -> Result<Self, Error> {
        if !options.listen.ip().is_loopback() {
            return Err(Error::NotLoopback(options.listen));
        }
        let poster = Poster::new(&options.notice_roots).map_err(Error::NoticeRoots)?;
        let listen = |source| Error::Listen { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).await.map_err(listen)?;
        let local_addr = listener.local_addr().map_err(listen)?;
        let tls = options.tls_dir.as_deref().map(tls::open).transpose()?;
        let world = open_world(&options)?;
        let app = world.state.first_app().cloned();
        let app = app.ok_or_else(|| Error::Journal("it names no app".to_owned()))?;
        let owner_account_id = owner_account(&world.state, &app);
        let owner_account_id = owner_account_id.ok_or_else(|| Error::Journal("its owner has no account".to_owned()))?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (acceptor, ca) = tls.map_or((None, None), |tls| (Some(tls.acceptor), tls.ca));
        let endpoints = Endpoints {
            api: format!("{scheme}://{local_addr}/v2"),
            ui: format!("{scheme}://{local_addr}/v2"),
            control: format!("{scheme}://{local_addr}/control"),
            client_id: app.client_id.to_string(),
            client_secret: app.client_secret.clone(),
            ca,
        };
        let core = {
            let Options { clock, entropy, time_scale, environment, .. } = options;
            Core::new(clock, entropy, time_scale, environment, endpoints.ui.clone(), world)
        };
        let server = Server::start(listener, core.clone(), acceptor);
        let delivery = Delivery::start(core.clone(), poster);
        Ok(Self {
            endpoints,
            local_addr,
            owner_token: app_owner_token(core.environment, &app),
            owner_account_id,
            core,
            server,
            delivery,
        })
    }

    /// Where it answers.
    pub const fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The address it listens on.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The access token of the app's owner, as the real dashboard shows it. Works at `/user` until the owner authorizes
    /// the app like any other user.
    pub fn app_owner_token(&self) -> &str {
        &self.owner_token
    }

    /// The payment account of the app's owner, made at the first start.
    pub const fn app_owner_account_id(&self) -> u64 {
        self.owner_account_id
    }

    /// Drops every connection, answered or not, and closes the journal; the directory and the port are free after it.
    pub async fn stop(self) {
        self.server.stop().await;
        self.delivery.stop().await;
        self.core.lock().journal.close();
    }
}

/// State and journal of a start: replayed, or made.
fn open_world(options: &Options) -> Result<World, Error> {
    let settings = Settings::new(options.token_revokes, options.register_revokes, options.throttle);
    let settings = settings.changed(&options.settings).map_err(Error::Setting)?;
    let (journal, events) = match &options.dir {
        Some(dir) => Journal::open(dir)?,
        None => (Journal::in_memory(), Vec::new()),
    };
    let desk = Desk::new(options.clock.clone());
    let mut world = World::new(State::default(), journal, settings, desk);
    for event in events {
        world.state.apply(event);
    }
    let cut_off = world.state.calls().next_back().and_then(api::batch::cut_off);
    if let Some(batch) = cut_off {
        world.commit(vec![Event::Called(batch)]).map_err(|error| Error::Journal(error.to_string()))?;
    }
    if world.state.first_app().is_none() {
        let events = first_events(options, &world.state);
        world.commit(events).map_err(|error| Error::Journal(error.to_string()))?;
    }
    if let Some(made) = world.state.environment().filter(|made| *made != options.environment) {
        return Err(Error::Environment { made: made.as_str(), asked: options.environment.as_str() });
    }
    let offset = Duration::from_micros(u64::try_from(world.state.clock_offset_us()).unwrap_or(0));
    // A clock that outlived the sandbox (both in one test) already stands there.
    let missing = offset.saturating_sub(options.clock.offset());
    if !missing.is_zero() {
        options.clock.advance(missing);
    }
    Ok(world)
}

/// The app, its owner and the owner's token and account, in one step.
fn first_events(options: &Options, state: &State) -> Vec<Event> {
    let entropy = options.entropy.as_ref();
    let owner = User {
        user_id: state.next_user_id(),
        email: "owner@platform.example".to_owned(),
        first_name: "Platform".to_owned(),
        last_name: "Owner".to_owned(),
        state: UserState::Registered,
        password: None,
    };
    let app = fresh_app(entropy, new_client(entropy, &|_| false), owner.user_id);
    let token = Token {
        sha256: hash::sha256(&app_owner_token(options.environment, &app)),
        user_id: owner.user_id,
        client_id: app.client_id,
        scope: protocol::SCOPES.iter().take(protocol::SCOPES_CURRENT).map(|scope| (*scope).to_owned()).collect(),
        kind: TokenKind::Permanent,
        issued_at_us: options.clock.now().as_micros(),
        expires_at_us: None,
        revoked_at_us: None,
    };
    let account = first_account(options, state, &app);
    vec![
        Event::Founded { environment: options.environment },
        Event::UserMade(owner),
        Event::AppMade(app),
        Event::TokenIssued(token),
        Event::AccountMade(Box::new(account)),
    ]
}

/// The owner's payment account: an active one, as an app that went through WePay's approval has it.
fn first_account(options: &Options, state: &State, app: &App) -> Account {
    let (name, description) = ("Platform", "The platform's own account");
    let bank = Bank::of(Settlement::Ach, "Sandbox Bank XXXXX0001", Frequency::Weekly, options.clock.now(), |day| {
        day / options.time_scale.max(1)
    });
    Account {
        account_id: state.next_account_id(),
        owner_user_id: app.owner_user_id,
        client_id: app.client_id,
        state: AccountState::Active,
        kind: "business".to_owned(),
        country: "US".to_owned(),
        currency: "USD".to_owned(),
        mcc: None,
        details: Details {
            name: Some(name.to_owned()),
            description: Some(description.to_owned()),
            ..Details::default()
        },
        created_at_us: options.clock.now().as_micros(),
        standing: Standing::complete(bank),
    }
}

/// The oldest account of the app's owner.
fn owner_account(state: &State, app: &App) -> Option<u64> {
    state.accounts_of(app.owner_user_id).next().map(|account| account.account_id)
}

/// An app as its owner registers it.
fn fresh_app(entropy: &dyn Entropy, client_id: u64, owner_user_id: u64) -> App {
    let client_secret = hash::random_hex::<5>(entropy);
    App {
        client_id,
        seed: client_secret.clone(),
        client_secret,
        owner_user_id,
        name: "Platform".to_owned(),
        state: AppState::Active,
        api_version: protocol::VERSION_DEFAULT.to_owned(),
        permissions: BTreeSet::new(),
        registered_domain: None,
        theme_object: None,
        gaq_domains: None,
    }
}

/// A client id of six digits, as samples show, that is not taken.
fn new_client(entropy: &dyn Entropy, is_taken: &dyn Fn(u64) -> bool) -> u64 {
    let mut client_id = 100_000 + u64::from(u32::from_be_bytes(random(entropy))) % 900_000;
    while is_taken(client_id) {
        client_id = client_id.saturating_add(1);
    }
    client_id
}

/// The owner's token is made from the app's first secret, so that it can be shown again after a restart though only its hash
/// is kept.
fn app_owner_token(environment: Environment, app: &App) -> String {
    let secret = hash::labelled("app owner token", &[&app.client_id.to_string(), &app.seed]);
    format!("{}{secret}", environment.token_prefix())
}
