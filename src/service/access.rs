//! Would this caller be allowed this, and why; who can; what can this caller do.

use super::error::{Kind, Result};
use super::{Call, Services};
use crate::domain::ambient::Timestamp;
use crate::domain::merchant::Merchant;
use crate::domain::name::CallerId;
use crate::domain::trail::{EventKind, Hash};
use crate::policy::{ActionName, ExplainAccess, GrantLine, Miss, Resource};
use crate::store::MerchantKey;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct AccessQuestion {
    /// About whom; without: who can.
    pub caller: Option<CallerId>,
    /// About what; without: every action.
    pub action: Option<ActionName>,
    /// About which merchant; without: whatever the caller can do.
    pub merchant: Option<MerchantKey>,
}

/// A line of the policy, as far as it bears on the question.
#[derive(Clone, Debug)]
pub struct GrantView {
    /// Its id.
    pub id: String,
    /// Whom it names.
    pub caller: String,
    /// What it allows.
    pub actions: Vec<&'static str>,
    /// On which merchants, in words.
    pub merchants: String,
    /// What for.
    pub purpose: String,
    /// From when.
    pub not_before: Option<Timestamp>,
    /// Until when.
    pub not_after: Option<Timestamp>,
    /// What is in the way; `None`: nothing.
    pub obstacle: Option<&'static str>,
}

/// The answer.
#[derive(Clone, Debug)]
pub struct AccessReport {
    /// Whether it would be allowed, when caller, action and merchant were named.
    pub allowed: Option<bool>,
    /// The lines that bear on it, in the order of the file.
    pub grants: Vec<GrantView>,
    /// The policy file.
    pub policy: Hash,
}

impl Services {
    /// Explains.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for a merchant that is not there.
    pub async fn explain_access(&self, call: &Call, question: &AccessQuestion) -> Result<AccessReport> {
        const KIND: EventKind = EventKind::AccessExplained;
        let policy = self.policy();
        let now = self.now();
        let Ok(grant) = policy.authorize::<ExplainAccess>(&call.caller, &Resource::Deployment, now) else {
            return Err(self.deny(call, KIND, None, Kind::PermissionDenied).await);
        };
        let act = call.act_by(&grant);
        let merchant: Option<Merchant> = match &question.merchant {
            None => None,
            Some(key) => match self.parts.store.merchant(key).await? {
                Some(merchant) => Some(merchant),
                None => return Err(self.fail(&act, KIND, None, super::Error::new(Kind::NotFound)).await),
            },
        };
        let mut event = act.event(KIND, now);
        event.merchant = merchant.as_ref().map(|merchant| merchant.id);
        self.parts.auditor.record(event).await?;
        let resource = match &merchant {
            Some(merchant) => Resource::Merchant { id: Some(merchant.id), labels: &merchant.labels },
            None => Resource::Deployment,
        };
        let actions: Vec<ActionName> = question.action.map_or_else(|| ActionName::ALL.to_vec(), |action| vec![action]);
        let mut report = AccessReport { allowed: None, grants: Vec::new(), policy: policy.hash() };
        match (&question.caller, &merchant) {
            (Some(caller), None) if question.action.is_none_or(|action| !action.is_of_deployment()) => {
                let lines = policy.what_can(caller, now);
                let wanted = |line: &GrantLine| question.action.is_none_or(|action| line.actions().contains(&action));
                report.grants.extend(lines.iter().filter(|line| wanted(line)).map(|line| view(line, None)));
            }
            (Some(caller), _) => {
                for action in &actions {
                    let explanation = policy.explain(caller, *action, &resource, now);
                    if question.action.is_some() {
                        report.allowed = Some(explanation.is_allowed());
                    }
                    report.grants.extend(explanation.allowed_by.iter().map(|line| view(line, None)));
                    if question.action.is_some() {
                        let near = explanation.near_misses.iter();
                        report.grants.extend(near.map(|near| view(&near.grant, near.misses.first().copied())));
                    }
                }
            }
            (None, _) => {
                for action in &actions {
                    let lines = policy.who_can(*action, &resource, now);
                    report.grants.extend(lines.iter().map(|line| view(line, None)));
                }
            }
        }
        let mut seen = std::collections::HashSet::new();
        report.grants.retain(|grant| seen.insert(grant.id.clone()));
        Ok(report)
    }
}

fn view(line: &GrantLine, miss: Option<Miss>) -> GrantView {
    GrantView {
        id: line.id().to_owned(),
        caller: line.caller().to_string(),
        actions: line.actions().iter().map(|action| action.as_str()).collect(),
        merchants: line.merchants().to_string(),
        purpose: line.purpose().to_owned(),
        not_before: line.not_before(),
        not_after: line.not_after(),
        obstacle: miss.map(obstacle),
    }
}

const fn obstacle(miss: Miss) -> &'static str {
    match miss {
        Miss::Action => "action",
        Miss::Merchant => "merchant",
        Miss::NotYet(_) => "not_before",
        Miss::Over(_) => "not_after",
    }
}
