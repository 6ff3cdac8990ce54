//! A further merchant of an existing connection, without a mint: for a person who owns several shops.

use super::error::{Error, Kind, Result};
use super::newcomers::Named;
use super::{Call, LinkView, Services};
use crate::domain::id::{ConnectionId, LinkId};
use crate::domain::merchant::{Link, LinkState};
use crate::domain::name::{CallerId, DisplayName, ExternalId, Label, RequestId};
use crate::domain::token::Liveness;
use crate::domain::trail::EventKind;
use crate::policy::{LinkMerchant, Resource};
use crate::store::{Earlier, LinkOrder, MerchantKey};

/// What LinkMerchant is asked.
#[derive(Clone, Debug)]
pub struct LinkRequest {
    /// The caller's id of the request.
    pub request_id: RequestId,
    /// The platform's id of the further merchant.
    pub external_id: ExternalId,
    /// What it is called on our pages.
    pub display_name: Option<DisplayName>,
    /// Labels of a new merchant.
    pub labels: Vec<Label>,
    /// The connection that is to serve it too.
    pub connection: ConnectionId,
}

impl Services {
    /// Links a further merchant to a connection. The caller must be allowed to for it, and for every merchant that the connection
    /// serves or waits to serve.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for a connection that the caller may not link; [`Kind::AlreadyLinked`]; [`Kind::LinkHeld`] when such a
    /// link waits for a decision; [`Kind::TokenDead`] and its like when the connection has no token that works.
    pub async fn link_merchant(&self, call: &Call, wanted: &LinkRequest) -> Result<LinkView> {
        const KIND: EventKind = EventKind::LinkRequested;
        let named = self.permit_named::<LinkMerchant>(call, KIND, &wanted.external_id, &wanted.labels).await?;
        self.permit_every_merchant_of(call, KIND, wanted.connection).await?;
        let (act, known) = (named.act.clone(), named.known());
        match self.link_further(call, wanted, named).await {
            Ok(link) => self.view_link(&link).await,
            Err(refused) => Err(self.fail(&act, KIND, known, refused).await),
        }
    }

    async fn permit_every_merchant_of(&self, call: &Call, kind: EventKind, connection: ConnectionId) -> Result<()> {
        if self.may_link(&call.caller, connection).await? {
            return Ok(());
        }
        Err(self.deny(call, kind, None, Kind::NotFound).await)
    }

    /// Whether the caller may link every merchant that the connection serves or waits to serve; nobody may link one that serves none.
    pub(super) async fn may_link(&self, caller: &CallerId, connection: ConnectionId) -> Result<bool> {
        let policy = self.policy();
        let links = self.parts.store.open_links_of(connection).await?;
        let mut may = !links.is_empty();
        for link in links {
            let merchant = self.parts.store.merchant(&MerchantKey::Id(link.merchant)).await?;
            may &= merchant.is_some_and(|merchant| {
                let resource = Resource::Merchant { id: Some(merchant.id), labels: &merchant.labels };
                policy.authorize::<LinkMerchant>(caller, &resource, self.now()).is_ok()
            });
        }
        Ok(may)
    }

    async fn link_further(&self, call: &Call, wanted: &LinkRequest, named: Named) -> Result<Link> {
        named.check_labels(&wanted.labels)?;
        let labels = wanted.labels.iter().map(Label::as_str).collect::<Vec<_>>().join(" ");
        let content: [&[u8]; 4] = [
            wanted.external_id.as_str().as_bytes(),
            wanted.display_name.as_ref().map(DisplayName::as_str).unwrap_or_default().as_bytes(),
            labels.as_bytes(),
            wanted.connection.as_bytes(),
        ];
        let request = self.request(call, &wanted.request_id, "LinkMerchant", &content);
        match self.parts.store.earlier(&request).await? {
            Earlier::Same(id) => {
                self.expect_not_overtaken(&named).await?;
                return self.repeated(LinkId::from_bytes(id), named.merchant.id, &named.act).await;
            }
            Earlier::Other => return Err(Error::new(Kind::RequestIdReused)),
            Earlier::None => {}
        }
        let head = self.parts.store.head(wanted.connection).await?.map(|head| self.by_the_clock(head));
        let unusable = match head.map(|head| head.liveness) {
            Some(Liveness::Live | Liveness::Suspect) => None,
            Some(Liveness::Dead) => Some(Kind::TokenDead),
            Some(Liveness::Expired) => Some(Kind::TokenExpired),
            Some(Liveness::InsufficientScope) => Some(Kind::InsufficientScope),
            None => Some(Kind::NotConnected),
        };
        if let Some(kind) = unusable {
            return Err(Error::new(kind).with("connection_id", wanted.connection));
        }
        for link in self.parts.store.links(named.merchant.id).await? {
            match (link.state, link.connection == wanted.connection) {
                (LinkState::Active, _) => {
                    return Err(Error::new(Kind::AlreadyLinked).with("connection_id", link.connection));
                }
                (LinkState::Held, true) => return Err(Error::new(Kind::LinkHeld).with("link_id", link.id)),
                _ => {}
            }
        }
        let order = LinkOrder {
            link: LinkId::generate(&*self.parts.clock, &*self.parts.entropy),
            app: self.parts.app.id,
            private: self
                .personal_data(
                    named.merchant.id,
                    &[("display_name", wanted.display_name.as_ref().map(DisplayName::as_str))],
                )
                .await?,
            merchant: named.merchant,
            merchant_is_new: named.is_new,
            connection: wanted.connection,
            request,
        };
        Ok(self.parts.store.link_further(&order, &named.act).await?)
    }
}
