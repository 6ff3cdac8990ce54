//! Questions about a policy: would X be allowed, why not, who can, what can X.

use std::sync::Arc;

use super::{ActionName, GrantLine, Policy, Resource};
use crate::domain::ambient::Timestamp;
use crate::domain::name::CallerId;

/// Why a grant does not permit what was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Miss {
    /// It does not name the action.
    Action,
    /// It is not for that merchant, or not for the deployment as a whole.
    Merchant,
    /// It holds only from this time on.
    NotYet(Timestamp),
    /// It held until this time.
    Over(Timestamp),
}

/// A grant of the caller that does not permit what was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NearMiss {
    /// The grant.
    pub grant: Arc<GrantLine>,
    /// Every reason why not; never empty.
    pub misses: Vec<Miss>,
}

/// Whether a caller may do something, and why. Grants of other callers are not listed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Explanation {
    /// The grants that permit it, in file order; the first is the one an evaluation would name.
    pub allowed_by: Vec<Arc<GrantLine>>,
    /// The caller's other grants, in file order, each with what is missing.
    pub near_misses: Vec<NearMiss>,
}

impl Explanation {
    /// Whether it is permitted.
    pub fn is_allowed(&self) -> bool {
        !self.allowed_by.is_empty()
    }
}

impl Policy {
    /// Whether the caller may do the action to the resource now, and why.
    pub fn explain(
        &self,
        caller: &CallerId,
        action: ActionName,
        resource: &Resource<'_>,
        now: Timestamp,
    ) -> Explanation {
        let mut explanation = Explanation::default();
        for grant in self.lines.iter().filter(|line| line.caller().matches(caller)) {
            let misses = grant.misses(action, resource, now);
            if misses.is_empty() {
                explanation.allowed_by.push(Arc::clone(grant));
            } else {
                explanation.near_misses.push(NearMiss { grant: Arc::clone(grant), misses });
            }
        }
        explanation
    }

    /// The grants, in file order, that let somebody do the action to the resource now.
    pub fn who_can(&self, action: ActionName, resource: &Resource<'_>, now: Timestamp) -> Vec<Arc<GrantLine>> {
        self.lines.iter().filter(|line| line.permits(action, resource, now)).map(Arc::clone).collect()
    }

    /// The grants of the caller that are in force now, in file order.
    pub fn what_can(&self, caller: &CallerId, now: Timestamp) -> Vec<Arc<GrantLine>> {
        let of_caller = |line: &&Arc<GrantLine>| line.caller().matches(caller) && line.in_force(now);
        self.lines.iter().filter(of_caller).map(Arc::clone).collect()
    }
}
