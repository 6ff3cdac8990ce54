//! Accounts that a caller may see, page by page.

use std::collections::{BTreeSet, HashMap};

use crate::domain::account::Account;
use crate::domain::id::{AccountId, MerchantId};
use crate::domain::trail::{Event, EventKind};
use crate::policy::{Policy, ReadAccount, Resource};
use crate::service::error::{Error, Result};
use crate::service::{Call, Permitted, Services};
use crate::store::MerchantKey;

/// Most accounts that one page of a list may look at.
const SCAN_MAX: u32 = 500;
/// Most grants that the record of a list names: with ids of 64 bytes half of what a text of an event may hold.
const GRANTS_NAMED_MAX: usize = 32;

/// A page of a list.
#[derive(Clone, Debug)]
pub struct AccountPage {
    /// The accounts, by id.
    pub accounts: Vec<Account>,
    /// Where the next page begins; `None` when there is none.
    pub next: Option<AccountId>,
}

impl Services {
    /// The accounts of a merchant, or all that the caller may see.
    ///
    /// # Errors
    /// [`super::Kind::NotFound`] for a merchant, [`super::Kind::PermissionDenied`] without one, that the caller may not see.
    pub async fn accounts(
        &self,
        call: &Call,
        merchant: Option<&MerchantKey>,
        after: Option<AccountId>,
        page_size: usize,
    ) -> Result<AccountPage> {
        match merchant {
            Some(key) => self.accounts_of(call, key, after, page_size).await,
            None => self.visible_accounts(call, after, page_size).await,
        }
    }

    async fn accounts_of(
        &self,
        call: &Call,
        key: &MerchantKey,
        after: Option<AccountId>,
        page_size: usize,
    ) -> Result<AccountPage> {
        const KIND: EventKind = EventKind::AccountRead;
        let Permitted { merchant, act, .. } = self.permit::<ReadAccount>(call, KIND, key).await?;
        let limit = u32::try_from(page_size.saturating_add(1)).unwrap_or(u32::MAX);
        let mut accounts = match self.parts.store.accounts_of(merchant.id, after, limit).await {
            Ok(accounts) => accounts,
            Err(unreadable) => return Err(self.fail(&act, KIND, Some(merchant.id), unreadable.into()).await),
        };
        let is_last = accounts.len() <= page_size;
        accounts.truncate(page_size);
        let next = if is_last { None } else { accounts.last().map(|account| account.id) };
        let event = act.event(KIND, self.now()).merchant(merchant.id).reason("list").detail("count", accounts.len());
        self.parts.auditor.record(event).await?;
        Ok(AccountPage { accounts, next })
    }

    async fn visible_accounts(&self, call: &Call, after: Option<AccountId>, page_size: usize) -> Result<AccountPage> {
        const KIND: EventKind = EventKind::AccountRead;
        self.expect_any_grant::<ReadAccount>(call, KIND).await?;
        match self.scan_accounts(call, after, page_size).await {
            Ok((page, seen)) => {
                self.parts.auditor.record(seen).await?;
                Ok(page)
            }
            Err(unreadable) => Err(self.fail(&call.act(), KIND, None, unreadable).await),
        }
    }

    /// The page, and the event of its having been seen.
    async fn scan_accounts(
        &self,
        call: &Call,
        after: Option<AccountId>,
        page_size: usize,
    ) -> Result<(AccountPage, Event)> {
        let policy = self.policy();
        let scanned = self.parts.store.accounts_after(after, SCAN_MAX).await?;
        let scan_is_full = u32::try_from(scanned.len()).is_ok_and(|found| found == SCAN_MAX);
        let mut page = AccountPage { accounts: Vec::new(), next: None };
        let (mut last, mut grants, mut decided) = (None, BTreeSet::new(), HashMap::new());
        for account in scanned {
            if page.accounts.len() == page_size {
                page.next = last;
                break;
            }
            last = Some(account.id);
            let grant = match decided.get(&account.merchant) {
                Some(grant) => Option::<String>::clone(grant),
                None => {
                    let grant = self.grant_to_see(call, &policy, account.merchant).await?;
                    decided.insert(account.merchant, grant.clone());
                    grant
                }
            };
            let Some(grant) = grant else { continue };
            grants.insert(grant);
            page.accounts.push(account);
        }
        if page.next.is_none() && scan_is_full {
            page.next = last;
        }
        let mut event =
            call.act().event(EventKind::AccountRead, self.now()).reason("list").detail("count", page.accounts.len());
        event.policy = Some(policy.hash());
        if grants.len() > 1 {
            event = event.detail(
                "grants",
                grants.iter().take(GRANTS_NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(","),
            );
        }
        // Who saw none looked all the same, by the grant that let him.
        let looked_by = || policy.any_grant::<ReadAccount>(&call.caller, self.now()).map(str::to_owned);
        event.grant = grants.pop_first().or_else(looked_by);
        Ok((page, event))
    }

    /// The grant by which the caller may see accounts of this merchant; of nobody, those of the deployment.
    async fn grant_to_see(&self, call: &Call, policy: &Policy, merchant: Option<MerchantId>) -> Result<Option<String>> {
        let merchant = match merchant {
            Some(id) => {
                let merchant = self.parts.store.merchant(&MerchantKey::Id(id)).await?;
                Some(merchant.ok_or_else(|| Error::internal("an account without its merchant"))?)
            }
            None => None,
        };
        let resource = merchant.as_ref().map_or(Resource::Deployment, |merchant| Resource::Merchant {
            id: Some(merchant.id),
            labels: &merchant.labels,
        });
        let grant = policy.authorize::<ReadAccount>(&call.caller, &resource, self.now());
        Ok(grant.ok().map(|grant| grant.id().to_owned()))
    }
}
