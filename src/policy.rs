//! Who may do what to which merchants: a file of grants, evaluated in memory, and the decision as a value.
//!
//! Whatever no grant permits is denied. A decision to permit is a [`Grant`], typed by its [`Action`]; only this layer
//! can make one, so that a function that takes a `Grant<ReadToken>` cannot be reached without the check. Of several
//! grants that permit the same, the first in the file decides, so that the same file always names the same grant in the
//! audit.
//!
//! An evaluation looks the caller up in two hash tables and never scans the file. Nothing is cached: a reload takes
//! effect with the next evaluation. This layer loads no merchant and writes no audit; its callers do.

mod action;
mod duration;
mod explain;
mod file;
mod line;
mod shared;

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::domain::ambient::Timestamp;
use crate::domain::id::MerchantId;
use crate::domain::name::{CallerId, Label};
use crate::domain::trail::Hash;

pub use action::{
    Action, ActionName, ConfirmMerchant, CreateAccount, ExplainAccess, LinkMerchant, OnboardMerchant, ReadAccount,
    ReadAudit, ReadHistory, ReadMerchant, ReadToken, ReportToken, ResolveLink, UpdateAccount, VerifyToken,
};
pub use explain::{Explanation, Miss, NearMiss};
pub use file::{
    CACHE_FOR_MAX, FAULTS_MAX, FILE_BYTES_MAX, Fault, GRANT_ID_BYTES_MAX, GRANTS_MAX, LABELS_PER_GRANT_MAX,
    MERCHANTS_PER_GRANT_MAX, PURPOSE_CHARS_MAX, PolicyErrors,
};
pub use line::{CallerPattern, GrantLine, MerchantScope};
pub use shared::SharedPolicy;

/// What a caller wants to act on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resource<'a> {
    /// One merchant.
    Merchant {
        /// Its id; `None` while it does not exist yet, which no grant by ids permits.
        id: Option<MerchantId>,
        /// Its labels; of a merchant that does not exist yet, the ones it is to get.
        labels: &'a [Label],
    },
    /// The deployment as a whole: the audit, an explanation, a list of all merchants. Only a grant for all merchants
    /// permits it.
    Deployment,
}

/// What a grant was made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// This merchant, or, when `None`, the one that is about to be made.
    Merchant(Option<MerchantId>),
    /// The deployment as a whole.
    Deployment,
}

/// The permission to do `A` once, now, to one resource. Only [`Policy::authorize`] makes one; it cannot be copied.
#[derive(Debug)]
#[must_use = "a grant permits an act: pass it to the function that acts"]
pub struct Grant<A: Action> {
    line: Arc<GrantLine>,
    scope: Scope,
    policy: Hash,
    action: PhantomData<fn() -> A>,
}

impl<A: Action> Grant<A> {
    /// The id of the line of the policy file that permits it.
    pub fn id(&self) -> &str {
        self.line.id()
    }

    /// What the permission is for, in the words of the policy file.
    pub fn purpose(&self) -> &str {
        self.line.purpose()
    }

    /// How long the caller may keep the answer; zero unless the line says otherwise.
    pub fn cache_for(&self) -> Duration {
        self.line.cache_for()
    }

    /// When the line that permits it ends, if it does.
    pub fn not_after(&self) -> Option<Timestamp> {
        self.line.not_after()
    }

    /// What it was made for. Whoever acts compares this with what is acted on.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// The merchant it was made for; `None` for the deployment or a merchant that does not exist yet.
    pub fn merchant(&self) -> Option<MerchantId> {
        match self.scope {
            Scope::Merchant(id) => id,
            Scope::Deployment => None,
        }
    }

    /// Hash of the policy file it was decided by.
    pub fn policy(&self) -> Hash {
        self.policy
    }
}

/// No grant in force permits it. Says nothing about the resource, not even whether it exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no grant in force permits {action}")]
pub struct Denied {
    /// What was not permitted.
    pub action: ActionName,
    /// Hash of the policy file it was decided by.
    pub policy: Hash,
}

/// A whole, valid policy file. Never changes; [`SharedPolicy`] replaces it.
#[derive(Debug)]
pub struct Policy {
    hash: Hash,
    lines: Vec<Arc<GrantLine>>,
    /// Places in `lines` by exact caller.
    exact: HashMap<String, Vec<usize>>,
    /// Places in `lines` by what stands before the `/*` of a prefix.
    below: HashMap<String, Vec<usize>>,
}

impl Policy {
    /// Parses the text of a policy file.
    ///
    /// # Errors
    /// All faults of the file at once; a file with any fault is refused as a whole.
    pub fn parse(text: &str) -> Result<Self, PolicyErrors> {
        let lines = file::parse(text)?;
        let (mut exact, mut below) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        for (place, line) in lines.iter().enumerate() {
            match line.caller() {
                CallerPattern::Exact(caller) => exact.entry(caller.as_str().to_owned()).or_default().push(place),
                CallerPattern::Below(prefix) => below.entry(prefix.clone()).or_default().push(place),
            }
        }
        Ok(Self {
            hash: Hash(Sha256::digest(text.as_bytes()).into()),
            lines: lines.into_iter().map(Arc::new).collect(),
            exact,
            below,
        })
    }

    /// SHA-256 of the bytes of the file.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// How many grants the file has.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether the file has no grant, and so denies everything.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Decides whether the caller may do `A` to the resource now.
    ///
    /// # Errors
    /// [`Denied`] when no grant in force permits it.
    pub fn authorize<A: Action>(
        &self,
        caller: &CallerId,
        resource: &Resource<'_>,
        now: Timestamp,
    ) -> Result<Grant<A>, Denied> {
        let line = self
            .about(caller)
            .filter(|(_, line)| line.permits(A::NAME, resource, now))
            .min_by_key(|(place, _)| *place)
            .map(|(_, line)| Arc::clone(line))
            .ok_or(Denied { action: A::NAME, policy: self.hash })?;
        let scope = match resource {
            Resource::Merchant { id, .. } => Scope::Merchant(*id),
            Resource::Deployment => Scope::Deployment,
        };
        Ok(Grant { line, scope, policy: self.hash, action: PhantomData })
    }

    /// Whether the caller has any grant in force with this action, for whatever merchant. Who has none may be told so
    /// before anything is looked up; who has one gets the same answer for "not yours" and "not there".
    pub fn may_ever<A: Action>(&self, caller: &CallerId, now: Timestamp) -> bool {
        self.about(caller).any(|(_, line)| line.names(A::NAME) && line.in_force(now))
    }

    /// The first grant in force with this action, for whatever merchant: what a call that is about no merchant is put on record with.
    pub fn any_grant<A: Action>(&self, caller: &CallerId, now: Timestamp) -> Option<&str> {
        let lines = self.about(caller).filter(|(_, line)| line.names(A::NAME) && line.in_force(now));
        lines.min_by_key(|(place, _)| *place).map(|(_, line)| line.id())
    }

    /// The grants whose caller matches, each with its place in the file; in no particular order.
    fn about<'p>(&'p self, caller: &CallerId) -> impl Iterator<Item = (usize, &'p Arc<GrantLine>)> {
        let text = caller.as_str();
        // The caller's own text and each of its prefixes that end before a slash: `spiffe://d`, `spiffe://d/a`, …. The
        // two slashes of the scheme give keys that no pattern has.
        let ends = text.match_indices('/').filter_map(|(end, _)| text.get(..end));
        let below: Vec<&Vec<usize>> = ends.filter_map(|prefix| self.below.get(prefix)).collect();
        let places = self.exact.get(text).into_iter().chain(below).flatten();
        places.filter_map(|place| self.lines.get(*place).map(|line| (*place, line)))
    }
}

#[cfg(test)]
mod tests;
