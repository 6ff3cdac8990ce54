//! One grant of the policy file and when it matches. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use super::{ActionName, Miss, Resource};
use crate::domain::ambient::Timestamp;
use crate::domain::id::MerchantId;
use crate::domain::name::{CallerId, Label};

/// Whom a grant is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CallerPattern {
    /// This caller.
    Exact(CallerId),
    /// Every caller whose id has this text, then a slash, then at least one more path segment.
    Below(String),
}

impl CallerPattern {
    /// Whether the caller is meant. Whole path segments only: `…/pay/*` means neither `…/payments/x` nor `…/pay`
    /// itself.
    pub fn matches(&self, caller: &CallerId) -> bool {
        match self {
            Self::Exact(exact) => exact == caller,
            Self::Below(prefix) => {
                caller.as_str().strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with('/'))
            }
        }
    }
}

impl fmt::Display for CallerPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(caller) => f.write_str(caller.as_str()),
            Self::Below(prefix) => write!(f, "{prefix}/*"),
        }
    }
}

/// Which merchants a grant is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MerchantScope {
    /// All of them, those to come too, and the deployment as a whole.
    All,
    /// These.
    Ids(BTreeSet<MerchantId>),
    /// Those that have any of these labels.
    Labels(BTreeSet<Label>),
}

impl MerchantScope {
    /// Whether the resource is among them.
    pub fn covers(&self, resource: &Resource<'_>) -> bool {
        match (self, resource) {
            (Self::All, _) => true,
            (_, Resource::Deployment) => false,
            (Self::Ids(ids), Resource::Merchant { id, .. }) => id.is_some_and(|id| ids.contains(&id)),
            (Self::Labels(wanted), Resource::Merchant { labels, .. }) => {
                labels.iter().any(|label| wanted.contains(label))
            }
        }
    }
}

impl fmt::Display for MerchantScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Ids(ids) => write!(f, "ids {}", joined(ids)),
            Self::Labels(labels) => write!(f, "labels {}", joined(labels)),
        }
    }
}

fn joined<T: fmt::Display>(items: &BTreeSet<T>) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// One `[[grant]]` of the policy file. Only a parsed file has any.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GrantLine {
    pub(super) id: String,
    pub(super) caller: CallerPattern,
    pub(super) actions: BTreeSet<ActionName>,
    pub(super) merchants: MerchantScope,
    pub(super) purpose: String,
    pub(super) not_before: Option<Timestamp>,
    pub(super) not_after: Option<Timestamp>,
    pub(super) cache_for: Duration,
}

impl GrantLine {
    /// Its id, unique in the file.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whom it is for.
    pub fn caller(&self) -> &CallerPattern {
        &self.caller
    }

    /// What it permits.
    pub fn actions(&self) -> &BTreeSet<ActionName> {
        &self.actions
    }

    /// Which merchants it is for.
    pub fn merchants(&self) -> &MerchantScope {
        &self.merchants
    }

    /// What the permission is for.
    pub fn purpose(&self) -> &str {
        &self.purpose
    }

    /// From when on it holds, this moment included; `None`: always.
    pub fn not_before(&self) -> Option<Timestamp> {
        self.not_before
    }

    /// Until when it holds, this moment excluded; `None`: for ever.
    pub fn not_after(&self) -> Option<Timestamp> {
        self.not_after
    }

    /// How long a token may be kept by the caller; zero when the file does not say.
    pub fn cache_for(&self) -> Duration {
        self.cache_for
    }

    /// Whether it names the action.
    pub(super) fn names(&self, action: ActionName) -> bool {
        self.actions.contains(&action)
    }

    /// Whether it holds at this time.
    pub(super) fn in_force(&self, now: Timestamp) -> bool {
        self.not_before.is_none_or(|from| from <= now) && self.not_after.is_none_or(|until| now < until)
    }

    /// Whether it permits the action, the caller aside.
    pub(super) fn permits(&self, action: ActionName, resource: &Resource<'_>, now: Timestamp) -> bool {
        self.names(action) && self.in_force(now) && self.reaches(action, resource)
    }

    /// Why it does not permit the action, the caller aside; empty when it does.
    pub(super) fn misses(&self, action: ActionName, resource: &Resource<'_>, now: Timestamp) -> Vec<Miss> {
        let too_early = self.not_before.filter(|from| now < *from).map(Miss::NotYet);
        let too_late = self.not_after.filter(|until| *until <= now).map(Miss::Over);
        let action_named = (!self.names(action)).then_some(Miss::Action);
        let reached = (!self.reaches(action, resource)).then_some(Miss::Merchant);
        [action_named, reached, too_early, too_late].into_iter().flatten().collect()
    }

    fn reaches(&self, action: ActionName, resource: &Resource<'_>) -> bool {
        // The parser refuses such a line already; the audit must not hang on the parser alone.
        if action.is_of_deployment() { self.merchants == MerchantScope::All } else { self.merchants.covers(resource) }
    }
}
