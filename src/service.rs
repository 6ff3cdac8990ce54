//! What the service does: load, decide, act, record.
//!
//! A method takes the [`Call`], loads the resource, makes the grant and passes it to the private function that acts. It knows no
//! gRPC, no HTTP and no SQL. Every answer that a caller gets is recorded, durably, before it gets it.

mod access;
mod accounts;
mod attempts;
mod audit;
mod budget;
mod callback;
mod calls;
mod confirmation;
mod doorman;
mod error;
mod events;
mod export;
mod guard;
mod health;
mod links;
mod merchants;
mod mint;
mod newcomers;
mod notices;
mod onboarding;
mod owner;
mod presence;
mod probe;
mod recovery;
mod registration;
mod sharing;
mod tokens;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use url::Url;

use self::budget::{Budget, Patience};
use self::doorman::Doorman;
use crate::domain::ambient::{Clock, Entropy, Timestamp};
use crate::domain::app::App;
use crate::domain::budget::{Lane, Pace};
use crate::domain::id::{CallId, MerchantId};
use crate::domain::merchant::Merchant;
use crate::domain::name::{CallerId, RequestId};
use crate::domain::timing::Timing;
use crate::domain::token::Capabilities;
use crate::domain::trail::{Act, Event, EventKind, Outcome};
use crate::policy::{Action, Grant, Policy, ReadMerchant, Resource, SharedPolicy};
use crate::provider::Client;
use crate::store::{Request, Store};
use crate::vault::Vault;

// What the interface of the service speaks of, so that its users need not know the layers below.
pub use crate::domain::token::Finding;
pub use crate::policy::ActionName;
pub use crate::store::{
    CallPlace, FlowOutcome, ListedAttempt, LoggedCall, MerchantKey, RecordPlace, Resolution, TrailKind,
};
pub use access::{AccessQuestion, AccessReport, GrantView};
pub use accounts::{AccountKey, AccountOrder, AccountPage, AccountPatch};
pub use attempts::{AttemptFilter, AttemptPage};
pub use audit::Auditor;
pub use callback::{CallbackParams, CallbackRefusal, Landing, StatusView, Told};
pub use calls::{CALL_QUEUE_MAX, CallFilter, CallLog, CallPage, keep_pruning};
pub use confirmation::{Asked, MailTexts};
pub use error::{Error, Kind, Result};
pub use events::{EventFilter, EventPage, EventPlace, EventSource, PlacedEvent};
pub use export::Piece;
pub use health::{Health, Hindrance, Standing};
pub use merchants::{LinkView, MerchantFilter, MerchantPage, MerchantView, NextAction, TemporaryLife};
pub use notices::Noticed;
pub use onboarding::{AuthorizationRequest, InvitationView, Invited, Pressed};
pub use owner::AppOwner;
pub use presence::{Presence, while_leading};
pub use probe::Probes;
pub use registration::{Registrant, RegistrationRequest};
pub use sharing::LinkRequest;
pub use tokens::{Owner, ProviderReport, ReleasedToken, ReportResult, Reported};

/// One call of the API: who, from where, and the id that log, error and trail share.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its id.
    pub id: CallId,
    /// Who.
    pub caller: CallerId,
    /// From which address.
    pub origin: Option<String>,
    /// Until when the caller waits, by the runtime's clock: nobody waits for the provider longer than that. `None`: as long as we do.
    pub deadline: Option<Instant>,
}

/// When a held link may be activated without ConfirmConnection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Confirmation {
    /// Never.
    Always,
    /// When the provider's e-mail address is the expected one and the link is in nobody's way.
    EmailMatch,
}

/// What an operator decides about onboarding.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The origin that merchants and the provider see, without a path.
    pub public_base: Url,
    /// What merchants know the platform by.
    pub platform_name: String,
    /// What `return_url` may begin with: origins, or origins with a path.
    pub return_urls: Vec<Url>,
    /// When a held link may be activated without ConfirmConnection.
    pub confirmation: Confirmation,
    /// Whether the app owner's token is at hand: without it, what was once imported says nothing.
    pub has_app_owner: bool,
}

/// All that the service stands on.
pub struct Parts {
    /// The database.
    pub store: Arc<Store>,
    /// The keys.
    pub vault: Arc<Vault>,
    /// The provider.
    pub provider: Client,
    /// The grants.
    pub policy: Arc<SharedPolicy>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Durations of the mint protocol.
    pub timing: Timing,
    /// What the provider is like.
    pub capabilities: Capabilities,
    /// Our registration at it.
    pub app: App,
    /// What an operator decides.
    pub settings: Settings,
    /// The writer of this run's read trail.
    pub auditor: Auditor,
    /// How fast the provider may be called, by all processes together.
    pub pace: Pace,
}

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Services {
    parts: Arc<Parts>,
    probes: Arc<Probes>,
    doorman: Arc<Doorman>,
    accounts: Arc<accounts::Turns>,
    budget: Budget,
    tasks: TaskTracker,
}

/// A merchant that the caller may do `A` to, and the act in whose name it is done.
struct Permitted<A: Action> {
    merchant: Merchant,
    grant: Grant<A>,
    act: Act,
}

impl Services {
    /// The service on these parts.
    pub fn new(parts: Parts) -> Self {
        let tasks = TaskTracker::new();
        Self {
            budget: Budget::new(Arc::clone(&parts.store), parts.app.id, parts.pace, tasks.clone()),
            parts: Arc::new(parts),
            probes: Arc::default(),
            doorman: Arc::default(),
            accounts: Arc::default(),
            tasks,
        }
    }

    /// From here on no exchange is armed: what has not left yet is given up, unsent. Nor is anything swept.
    pub fn begin_to_drain(&self) {
        self.tasks.close();
        self.budget.begin_to_drain();
    }

    /// Another share of the provider's calls from now on: 1 to 30, the nearest otherwise.
    pub fn adjust_budget(&self, share: u32) {
        self.budget.adjust(share);
    }

    /// Waits until every task that may not be abandoned is over, then takes no more events.
    pub async fn drain(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.parts.auditor.close();
    }

    /// Records a connection attempt that did not become a connection.
    pub async fn record_rejection(&self, from: SocketAddr, reason: &'static str) {
        self.record_at_the_door(from.ip(), || Event {
            origin: Some(from.to_string()),
            ..rejected(Act::system(), self.now(), reason)
        })
        .await;
    }

    /// Records a call on a connection whose caller is no longer who the certificate says.
    pub async fn record_lapsed(&self, call: &Call, from: IpAddr, reason: &'static str) {
        self.record_at_the_door(from, || rejected(call.act(), self.now(), reason)).await;
    }

    async fn record_at_the_door(&self, from: IpAddr, event: impl FnOnce() -> Event) {
        let Some(counted) = self.doorman.admit(from, self.parts.clock.boot()) else { return };
        let mut event = event();
        if counted > 0 {
            event = event.detail("unrecorded_before", counted);
        }
        if let Err(unrecorded) = self.parts.auditor.record(event).await {
            tracing::warn!("rejected caller not recorded: {unrecorded}");
        }
    }

    fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    fn policy(&self) -> Arc<Policy> {
        self.parts.policy.snapshot()
    }

    /// Records that a call was not permitted, and makes the error of it.
    async fn deny(&self, call: &Call, kind: EventKind, merchant: Option<MerchantId>, error: Kind) -> Error {
        let mut event = call.act().event(kind, self.now()).outcome(Outcome::Denied).reason(error.reason());
        event.merchant = merchant;
        event.policy = Some(self.policy().hash());
        match self.parts.auditor.record(event).await {
            Ok(()) => Error::new(error),
            Err(unrecorded) => unrecorded,
        }
    }

    /// Records that a permitted call did not come about, and hands its error on.
    async fn fail(&self, act: &Act, kind: EventKind, merchant: Option<MerchantId>, error: Error) -> Error {
        let mut event = act.event(kind, self.now()).outcome(Outcome::Failure).reason(error.kind().reason());
        event.merchant = merchant;
        match self.parts.auditor.record(event).await {
            Ok(()) => error,
            Err(unrecorded) => unrecorded,
        }
    }

    /// Refuses a caller that has no grant for this action on any merchant: before anything is looked up, so that the answer
    /// tells nothing about what exists.
    async fn expect_any_grant<A: Action>(&self, call: &Call, kind: EventKind) -> Result<()> {
        if self.policy().may_ever::<A>(&call.caller, self.now()) {
            return Ok(());
        }
        Err(self.deny(call, kind, None, Kind::PermissionDenied).await)
    }

    /// Makes the grant for a merchant that was loaded. Who may not even know it exists is told that it does not.
    async fn grant<A: Action>(&self, call: &Call, kind: EventKind, merchant: &Merchant) -> Result<(Grant<A>, Act)> {
        let policy = self.policy();
        let resource = Resource::Merchant { id: Some(merchant.id), labels: &merchant.labels };
        match policy.authorize::<A>(&call.caller, &resource, self.now()) {
            Ok(grant) => {
                let act = call.act_by(&grant);
                Ok((grant, act))
            }
            Err(_) => {
                let may_know = policy.authorize::<ReadMerchant>(&call.caller, &resource, self.now()).is_ok();
                let error = if may_know { Kind::PermissionDenied } else { Kind::NotFound };
                Err(self.deny(call, kind, Some(merchant.id), error).await)
            }
        }
    }

    /// Loads the merchant and makes the grant.
    async fn permit<A: Action>(&self, call: &Call, kind: EventKind, key: &MerchantKey) -> Result<Permitted<A>> {
        self.expect_any_grant::<A>(call, kind).await?;
        let Some(merchant) = self.parts.store.merchant(key).await? else {
            return Err(self.deny(call, kind, None, Kind::NotFound).await);
        };
        let (grant, act) = self.grant::<A>(call, kind, &merchant).await?;
        Ok(Permitted { merchant, grant, act })
    }

    /// A request with the keyed hash of its content.
    fn request(&self, call: &Call, id: &RequestId, method: &'static str, content: &[&[u8]]) -> Request {
        use crate::domain::mac::{RowKind, RowMac};
        let content_hash = self.parts.vault.tag(RowKind::Request, content).0;
        Request { caller: call.caller.clone(), id: id.clone(), method, content_hash }
    }
}

/// A caller was turned away at the door.
fn rejected(act: Act, at: Timestamp, reason: &'static str) -> Event {
    act.event(EventKind::CallerRejected, at).outcome(Outcome::Denied).reason(reason)
}

impl Call {
    /// How long this call waits for leave to call the provider.
    fn patience(&self, lane: Lane) -> Patience {
        Patience::until(lane, self.deadline)
    }

    /// What this call does before a grant is known.
    fn act(&self) -> Act {
        Act {
            actor: self.caller.as_str().to_owned(),
            origin: self.origin.clone(),
            call: Some(self.id),
            grant: None,
            policy: None,
        }
    }

    /// What this call does by a grant.
    fn act_by<A: Action>(&self, grant: &Grant<A>) -> Act {
        Act { grant: Some(grant.id().to_owned()), policy: Some(grant.policy()), ..self.act() }
    }
}
