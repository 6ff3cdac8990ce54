//! Looking at merchants: their links, their heads, and what to do next.

use std::collections::BTreeSet;

use super::error::{Error, Result};
use super::{Call, Permitted, Services};
use crate::domain::ambient::Timestamp;
use crate::domain::id::MerchantId;
use crate::domain::merchant::{Link, LinkState, Merchant};
use crate::domain::name::{Label, Subject};
use crate::domain::token::{Liveness, Version};
use crate::domain::trail::EventKind;
use crate::policy::{ReadMerchant, Resource};
use crate::store::{Attempt, MerchantKey};

/// Most merchants that one page of a list may look at.
const SCAN_MAX: u32 = 500;
/// Most grants that the record of a list names: with ids of 64 bytes half of what a text of an event may hold.
const GRANTS_NAMED_MAX: usize = 32;

/// A link with what it leads to.
#[derive(Clone, Debug)]
pub struct LinkView {
    /// The link.
    pub link: Link,
    /// The provider user behind its connection.
    pub subject: Subject,
    /// The head, liveness by the clock.
    pub head: Option<Version>,
    /// Whether the connection also serves, or waits to serve, another merchant.
    pub shared: bool,
    /// The limits of the head while it is temporary.
    pub temporary: Option<TemporaryLife>,
}

/// What the provider lets a token do until the person behind it confirms. The clocks for payments run from the first payment, which
/// we do not see: the times are the earliest possible ones, counted from the first account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TemporaryLife {
    /// When the token ends.
    pub ends_at: Option<Timestamp>,
    /// New payments may be blocked from then on.
    pub payments_blocked_from: Option<Timestamp>,
    /// User and accounts may be deleted from then on.
    pub deleted_from: Option<Timestamp>,
}

/// What somebody has to do next for a merchant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NextAction {
    /// Nothing.
    None,
    /// StartAuthorization.
    Connect,
    /// ConfirmConnection or ResolveHeldLink.
    Confirm,
    /// StartAuthorization again.
    Reconnect,
    /// Wait for an attempt.
    Wait,
    /// Have the token replaced: it works only in part.
    Replace,
    /// SendConfirmation, or StartAuthorization with leave to upgrade: the token is temporary.
    GetConfirmed,
}

impl NextAction {
    /// For people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::None => "nothing: the token can be read",
            Self::Connect => "call StartAuthorization and send the merchant the link, or RegisterMerchant",
            Self::Confirm => "call ConfirmConnection with the value return_url received, or ResolveHeldLink",
            Self::Reconnect => {
                "the token does not work any more: call StartAuthorization and send the merchant the link"
            }
            Self::Replace => "the token works only in part; replacing it needs two persons' approval",
            Self::GetConfirmed => {
                "the token works and is temporary: call SendConfirmation, or StartAuthorization with upgrade_temporary, and \
                 have the person confirm in time; VerifyToken sees that they have"
            }
            Self::Wait => "an attempt is under way or in doubt: wait until it is settled",
        }
    }
}

/// A merchant with all that hangs on it.
#[derive(Clone, Debug)]
pub struct MerchantView {
    /// The merchant.
    pub merchant: Merchant,
    /// Its links, newest first.
    pub links: Vec<LinkView>,
    /// The attempt that is not settled.
    pub open_attempt: Option<Attempt>,
    /// What to do next.
    pub next_action: NextAction,
}

/// Which merchants to list.
#[derive(Clone, Debug, Default)]
pub struct MerchantFilter {
    /// Only those with this label.
    pub label: Option<Label>,
    /// Only those with a held link.
    pub held: bool,
    /// Only those with this next action.
    pub next_action: Option<NextAction>,
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct MerchantPage {
    /// The merchants.
    pub merchants: Vec<MerchantView>,
    /// Where the next page begins; `None` when there is none.
    pub next: Option<MerchantId>,
}

impl Services {
    /// One merchant.
    ///
    /// # Errors
    /// [`super::Kind::NotFound`] when there is none that the caller may see.
    pub async fn merchant(&self, call: &Call, key: &MerchantKey) -> Result<MerchantView> {
        const KIND: EventKind = EventKind::MerchantRead;
        let Permitted { merchant, act, grant } = self.permit::<ReadMerchant>(call, KIND, key).await?;
        let event = act.event(KIND, self.now()).merchant(merchant.id).detail("purpose", grant.purpose());
        self.parts.auditor.record(event).await?;
        self.view_merchant(merchant).await
    }

    /// Merchants that the caller may see, by id.
    ///
    /// # Errors
    /// [`super::Kind::PermissionDenied`] for a caller that may see none at all.
    pub async fn merchants(
        &self,
        call: &Call,
        filter: &MerchantFilter,
        after: Option<MerchantId>,
        page_size: usize,
    ) -> Result<MerchantPage> {
        const KIND: EventKind = EventKind::MerchantRead;
        self.expect_any_grant::<ReadMerchant>(call, KIND).await?;
        let policy = self.policy();
        let scanned = self.parts.store.merchants_after(after, SCAN_MAX).await?;
        let scan_is_full = u32::try_from(scanned.len()).is_ok_and(|found| found == SCAN_MAX);
        let mut page = MerchantPage { merchants: Vec::new(), next: None };
        let mut last = None;
        let mut grants = BTreeSet::new();
        for merchant in scanned {
            if page.merchants.len() == page_size {
                page.next = last;
                break;
            }
            last = Some(merchant.id);
            let resource = Resource::Merchant { id: Some(merchant.id), labels: &merchant.labels };
            let Ok(grant) = policy.authorize::<ReadMerchant>(&call.caller, &resource, self.now()) else { continue };
            if filter.label.as_ref().is_some_and(|label| !merchant.labels.contains(label)) {
                continue;
            }
            grants.insert(grant.id().to_owned());
            let view = self.view_merchant(merchant).await?;
            let held = view.links.iter().any(|link| link.link.state == LinkState::Held);
            if (held || !filter.held) && filter.next_action.is_none_or(|wanted| wanted == view.next_action) {
                page.merchants.push(view);
            }
        }
        if page.next.is_none() && scan_is_full {
            page.next = last;
        }
        let mut event = call.act().event(KIND, self.now()).reason("list").detail("count", page.merchants.len());
        event.policy = Some(policy.hash());
        if grants.len() > 1 {
            event = event.detail("grants", named_grants(&grants));
        }
        event.grant = grants.pop_first();
        self.parts.auditor.record(event).await?;
        Ok(page)
    }

    pub(super) async fn view_merchant(&self, merchant: Merchant) -> Result<MerchantView> {
        let mut links = Vec::new();
        for link in self.parts.store.links(merchant.id).await? {
            links.push(self.view_link(&link).await?);
        }
        let open_attempt = self.parts.store.open_attempt_of(merchant.id).await?;
        let next_action = next_action(&links, open_attempt.is_some());
        Ok(MerchantView { merchant, links, open_attempt, next_action })
    }

    /// The version as it is shown: one whose life is over by the clock is expired.
    pub(super) fn by_the_clock(&self, version: Version) -> Version {
        Version { liveness: version.liveness.at(version.expires_at, self.now()), ..version }
    }

    pub(super) async fn view_link(&self, link: &Link) -> Result<LinkView> {
        let connection = self.parts.store.connection(link.connection).await?;
        let connection = connection.ok_or_else(|| Error::internal("a link without its connection"))?;
        let head = self.parts.store.head(connection.id).await?.map(|head| self.by_the_clock(head));
        let shared = self.is_shared(link).await?;
        let temporary = match &head {
            Some(head) if !head.permanent && head.liveness != Liveness::Dead => Some(self.temporary_life(head).await?),
            _ => None,
        };
        Ok(LinkView { link: link.clone(), subject: connection.subject, head, shared, temporary })
    }

    async fn temporary_life(&self, head: &Version) -> Result<TemporaryLife> {
        let first_account = self.parts.store.first_account_at(head.connection).await?;
        let can = &self.parts.capabilities;
        Ok(TemporaryLife {
            ends_at: head.expires_at,
            payments_blocked_from: first_account.map(|first| first.plus(can.unconfirmed_payments)),
            deleted_from: first_account.map(|first| first.plus(can.unconfirmed_life)),
        })
    }
}

/// Grants as the record of a list names them: not more than it has room for.
pub(super) fn named_grants(grants: &BTreeSet<String>) -> String {
    grants.iter().take(GRANTS_NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(",")
}

fn next_action(links: &[LinkView], attempt_is_open: bool) -> NextAction {
    let in_state = |state| links.iter().find(|view| view.link.state == state);
    let works = |view: &LinkView| {
        view.head.as_ref().is_some_and(|head| matches!(head.liveness, Liveness::Live | Liveness::Suspect))
    };
    let works_in_part =
        |view: &LinkView| view.head.as_ref().is_some_and(|head| head.liveness == Liveness::InsufficientScope);
    if attempt_is_open {
        NextAction::Wait
    } else if in_state(LinkState::Held).is_some() {
        NextAction::Confirm
    } else {
        match in_state(LinkState::Active) {
            Some(active) if works(active) && active.temporary.is_some() => NextAction::GetConfirmed,
            Some(active) if works(active) => NextAction::None,
            Some(active) if works_in_part(active) => NextAction::Replace,
            Some(_) => NextAction::Reconnect,
            None => NextAction::Connect,
        }
    }
}
