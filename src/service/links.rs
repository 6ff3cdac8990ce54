//! Whose link is it? Confirmation by the platform's own page, or a decision by a person.

use subtle::ConstantTimeEq;

use super::error::{Error, Kind, Result};
use super::{Call, LinkView, Permitted, Services};
use crate::domain::id::{LinkId, MerchantId};
use crate::domain::merchant::{Link, LinkState, Role};
use crate::domain::name::{Reason, RequestId};
use crate::domain::trail::{Act, EventKind};
use crate::policy::{ConfirmMerchant, ResolveLink};
use crate::store::{Earlier, MerchantKey, Request, Resolution};

impl Services {
    /// Activates the merchant's held link that this one-time value belongs to. A connection that already serves another merchant
    /// stays held: whoever pressed the button logged in as another's user, and only a person may decide that.
    ///
    /// # Errors
    /// [`Kind::ConfirmationInvalid`], [`Kind::LinkHeld`] for a shared connection.
    pub async fn confirm_connection(
        &self,
        call: &Call,
        request_id: &RequestId,
        merchant: MerchantId,
        confirmation: &str,
    ) -> Result<LinkView> {
        const KIND: EventKind = EventKind::LinkRequested;
        let key = MerchantKey::Id(merchant);
        let Permitted { merchant, act, .. } = self.permit::<ConfirmMerchant>(call, KIND, &key).await?;
        let content = [merchant.id.as_bytes(), confirmation.as_bytes()];
        let request = self.request(call, request_id, "ConfirmConnection", &content);
        match self.confirm(merchant.id, confirmation, &request, &act).await {
            Ok(link) => self.view_link(&link).await,
            Err(refused) => Err(self.fail(&act, KIND, Some(merchant.id), refused).await),
        }
    }

    async fn confirm(&self, merchant: MerchantId, confirmation: &str, request: &Request, act: &Act) -> Result<Link> {
        match self.parts.store.earlier(request).await? {
            Earlier::Same(id) => return self.repeated(LinkId::from_bytes(id), merchant, act).await,
            Earlier::Other => return Err(Error::new(Kind::RequestIdReused)),
            Earlier::None => {}
        }
        let links = self.parts.store.links(merchant).await?;
        let confirmed = links.into_iter().find(|link| {
            let expected = link.flow.map(|flow| self.confirmation_of(flow)).unwrap_or_default();
            !expected.is_empty() && bool::from(expected.as_bytes().ct_eq(confirmation.as_bytes()))
        });
        let link = confirmed.ok_or_else(|| Error::new(Kind::ConfirmationInvalid))?;
        match link.state {
            LinkState::Held => {}
            // One-time: what it was good for has happened.
            LinkState::Active | LinkState::Closed => return Err(Error::new(Kind::ConfirmationInvalid)),
        }
        if self.is_shared(&link).await? || self.is_owners(&link).await? {
            return Err(Error::new(Kind::LinkHeld).with("link_id", link.id).with("shared", true));
        }
        self.parts.store.resolve_link(&link, Resolution::Activate, Some(request), act, "confirmed").await?;
        self.link(link.id).await
    }

    /// Decides about a held link, for reasons that the audit keeps.
    ///
    /// # Errors
    /// [`Kind::LinkNotHeld`] when there is nothing to decide.
    pub async fn resolve_held_link(
        &self,
        call: &Call,
        request_id: &RequestId,
        link: LinkId,
        resolution: Resolution,
        reason: &Reason,
    ) -> Result<LinkView> {
        const KIND: EventKind = EventKind::LinkRequested;
        self.expect_any_grant::<ResolveLink>(call, KIND).await?;
        let Some(link) = self.parts.store.link(link).await? else {
            return Err(self.deny(call, KIND, None, Kind::NotFound).await);
        };
        let Permitted { merchant, act, .. } =
            self.permit::<ResolveLink>(call, KIND, &MerchantKey::Id(link.merchant)).await?;
        let decision: &[u8] = match resolution {
            Resolution::Activate => b"activate",
            Resolution::Close => b"close",
        };
        let request = self.request(
            call,
            request_id,
            "ResolveHeldLink",
            &[link.id.as_bytes(), decision, reason.as_str().as_bytes()],
        );
        match self.resolve(link, resolution, reason, &request, &act).await {
            Ok(link) => self.view_link(&link).await,
            Err(refused) => Err(self.fail(&act, KIND, Some(merchant.id), refused).await),
        }
    }

    async fn resolve(
        &self,
        link: Link,
        resolution: Resolution,
        reason: &Reason,
        request: &Request,
        act: &Act,
    ) -> Result<Link> {
        match self.parts.store.earlier(request).await? {
            Earlier::Same(id) => return self.repeated(LinkId::from_bytes(id), link.merchant, act).await,
            Earlier::Other => return Err(Error::new(Kind::RequestIdReused)),
            Earlier::None => {}
        }
        if link.state != LinkState::Held {
            return Err(Error::new(Kind::LinkNotHeld).with("link_state", link.state.as_str()));
        }
        if resolution == Resolution::Activate && self.is_owners(&link).await? {
            return Err(Error::new(Kind::LinkHeld).with("link_id", link.id).with("app_owner", true));
        }
        self.parts.store.resolve_link(&link, resolution, Some(request), act, reason.as_str()).await?;
        self.link(link.id).await
    }

    /// What a request that was carried out before gets, on record like the first time.
    pub(super) async fn repeated(&self, id: LinkId, merchant: MerchantId, act: &Act) -> Result<Link> {
        let link = self.link(id).await?;
        if link.merchant != merchant {
            return Err(Error::new(Kind::DataCorrupt).because("a request leads to another merchant"));
        }
        let event = act.event(EventKind::LinkRequested, self.now()).merchant(link.merchant).link(id).reason("repeated");
        self.parts.auditor.record(event).await?;
        Ok(link)
    }

    async fn link(&self, id: LinkId) -> Result<Link> {
        self.parts.store.link(id).await?.ok_or_else(|| Error::internal("a link is gone"))
    }

    /// Whether the link leads to the app owner, whose token is nobody's to read.
    async fn is_owners(&self, link: &Link) -> Result<bool> {
        let connection = self.parts.store.connection(link.connection).await?;
        Ok(connection.is_some_and(|connection| connection.role == Role::AppOwner))
    }

    /// Whether the link's connection also serves, or waits to serve, another merchant.
    pub(super) async fn is_shared(&self, link: &Link) -> Result<bool> {
        let open = self.parts.store.open_links_of(link.connection).await?;
        Ok(open.iter().any(|other| other.merchant != link.merchant))
    }
}
