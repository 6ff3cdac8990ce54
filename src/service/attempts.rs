//! Looking through attempts: what was about to bring or kill tokens, and how it ended.

use std::collections::HashMap;

use super::error::{Error, Result};
use super::{Call, Permitted, Services};
use crate::domain::attempt::{AttemptKind, AttemptState};
use crate::domain::id::{AttemptId, MerchantId};
use crate::domain::trail::EventKind;
use crate::policy::{Action as _, Policy, ReadHistory, Resource};
use crate::store::{AttemptsOf, ListedAttempt, MerchantKey};

/// Most attempts that one page of a list looks at.
const SCAN_MAX: u32 = 500;

/// Which attempts to list: those that fit everything that is given.
#[derive(Clone, Default, Debug)]
pub struct AttemptFilter {
    /// For this merchant.
    pub merchant: Option<MerchantKey>,
    /// In this state.
    pub state: Option<AttemptState>,
    /// Of this kind.
    pub kind: Option<AttemptKind>,
    /// Only those that are not settled.
    pub open: bool,
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct AttemptPage {
    /// The attempts, newest first.
    pub attempts: Vec<ListedAttempt>,
    /// The last one looked at; `None` when there is no next page.
    pub next: Option<AttemptId>,
}

impl Services {
    /// Attempts that the caller may see, newest first: those of merchants that a grant names, and those without a merchant for a
    /// caller with a grant for all.
    ///
    /// # Errors
    /// [`super::Kind::PermissionDenied`] for a caller that may see none at all; [`super::Kind::NotFound`] for a merchant that the
    /// caller may not see.
    pub async fn attempts(
        &self,
        call: &Call,
        filter: &AttemptFilter,
        below: Option<AttemptId>,
        page_size: usize,
    ) -> Result<AttemptPage> {
        const KIND: EventKind = EventKind::AttemptsListed;
        if let Some(key) = &filter.merchant {
            let Permitted { merchant, act, grant } = self.permit::<ReadHistory>(call, KIND, key).await?;
            let of = AttemptsOf::Merchant(merchant.id);
            let mut permitted = Permissions::only(merchant.id, grant.id());
            let page = self.scan_attempts(filter, of, &mut permitted, call, below, page_size).await?;
            let event = act.event(KIND, self.now()).merchant(merchant.id).detail("purpose", grant.purpose());
            self.parts.auditor.record(event.detail("count", page.attempts.len())).await?;
            return Ok(page);
        }
        self.expect_any_grant::<ReadHistory>(call, KIND).await?;
        let policy = self.policy();
        let of = if filter.open { AttemptsOf::Unsettled } else { AttemptsOf::All };
        let mut permitted = Permissions::default();
        let page = self.scan_attempts(filter, of, &mut permitted, call, below, page_size).await?;
        let mut event = call.act().event(KIND, self.now()).detail("count", page.attempts.len());
        event.policy = Some(policy.hash());
        let mut grants = permitted.grants();
        if grants.is_empty() {
            // Nothing was there to be seen: by what right it was looked for stands on record all the same.
            let lines = policy.what_can(&call.caller, self.now());
            let may = lines.iter().filter(|line| line.actions().contains(&ReadHistory::NAME));
            grants.extend(may.map(|line| line.id().to_owned()));
        }
        if grants.len() > 1 {
            event = event.detail("grants", super::merchants::named_grants(&grants));
        }
        event.grant = grants.into_iter().next();
        self.parts.auditor.record(event).await?;
        Ok(page)
    }

    async fn scan_attempts(
        &self,
        filter: &AttemptFilter,
        of: AttemptsOf,
        permitted: &mut Permissions,
        call: &Call,
        below: Option<AttemptId>,
        page_size: usize,
    ) -> Result<AttemptPage> {
        let policy = self.policy();
        let scanned = self.parts.store.attempts_before(of, below, SCAN_MAX).await?;
        let scan_is_full = u32::try_from(scanned.len()).is_ok_and(|found| found == SCAN_MAX);
        let mut page = AttemptPage { attempts: Vec::new(), next: None };
        let mut last = None;
        for listed in scanned {
            if page.attempts.len() == page_size {
                page.next = last;
                return Ok(page);
            }
            last = Some(listed.attempt.id);
            if filter.fits(&listed) && self.may_list(permitted, &policy, call, listed.attempt.merchant).await? {
                page.attempts.push(listed);
            }
        }
        if scan_is_full {
            page.next = last;
        }
        Ok(page)
    }

    /// Whether a grant reaches the merchant of an attempt, or, without one, all of them.
    async fn may_list(
        &self,
        permitted: &mut Permissions,
        policy: &Policy,
        call: &Call,
        merchant: Option<MerchantId>,
    ) -> Result<bool> {
        if let Some(known) = permitted.0.get(&merchant) {
            return Ok(known.is_some());
        }
        let grant = match merchant {
            None => policy.authorize::<ReadHistory>(&call.caller, &Resource::Deployment, self.now()),
            Some(id) => {
                let merchant = self.parts.store.merchant(&MerchantKey::Id(id)).await?;
                let merchant = merchant.ok_or_else(|| Error::internal("an attempt without its merchant"))?;
                let resource = Resource::Merchant { id: Some(id), labels: &merchant.labels };
                policy.authorize::<ReadHistory>(&call.caller, &resource, self.now())
            }
        };
        let grant = grant.ok().map(|grant| grant.id().to_owned());
        let may = grant.is_some();
        permitted.0.insert(merchant, grant);
        Ok(may)
    }
}

/// Which merchants of one page the caller may see, each with the grant that says so.
#[derive(Default)]
struct Permissions(HashMap<Option<MerchantId>, Option<String>>);

impl Permissions {
    fn only(merchant: MerchantId, grant: &str) -> Self {
        Self(HashMap::from([(Some(merchant), Some(grant.to_owned()))]))
    }

    fn grants(self) -> std::collections::BTreeSet<String> {
        self.0.into_values().flatten().collect()
    }
}

impl AttemptFilter {
    fn fits(&self, listed: &ListedAttempt) -> bool {
        let attempt = &listed.attempt;
        self.state.is_none_or(|state| state == attempt.state)
            && self.kind.is_none_or(|kind| kind == attempt.kind)
            && (!self.open || attempt.state.is_open())
    }
}
