//! The first half of a journey: invitation → button → the provider's authorize page. [`super::callback`] has the rest.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;
use url::Url;

use super::budget::Patience;
use super::error::{Error, Kind, Result};
use super::guard::Verdict;
use super::newcomers::Named;
use super::{Call, Services};
use crate::domain::ambient::{Timestamp, random};
use crate::domain::budget::Lane;
use crate::domain::id::{CallId, FlowId, InvitationId, MerchantId};
use crate::domain::merchant::LinkState;
use crate::domain::name::{DisplayName, Email, ExternalId, Label, RequestId, URI_BYTES_MAX};
use crate::domain::token::{Leave, LeaveKind, Refusal, Wish};
use crate::domain::trail::{Act, EventKind};
use crate::policy::OnboardMerchant;
use crate::provider::AuthorizeRequest;
use crate::store::{AuthorizationOrder, Earlier, Flow, FlowState, Invitation, MerchantKey};
use crate::vault::{BlindIndex, Capability};

/// Bytes of a state, and of a browser binding.
const NONCE_BYTES: usize = 32;
/// Longest wait for leave to call the provider while a person looks at a page that loads.
const BROWSER_WAIT: Duration = Duration::from_secs(10);

/// What StartAuthorization is asked.
#[derive(Clone, Debug)]
pub struct AuthorizationRequest {
    /// The caller's id of the request.
    pub request_id: RequestId,
    /// The platform's id of the merchant.
    pub external_id: ExternalId,
    /// What the merchant is called on our page.
    pub display_name: Option<DisplayName>,
    /// Labels of a new merchant.
    pub labels: Vec<Label>,
    /// Where the browser goes in the end; empty: nowhere.
    pub return_url: String,
    /// The address the provider's user is expected to have.
    pub expected_email: Option<Email>,
    /// The person's name.
    pub user_name: Option<DisplayName>,
    /// Whether the merchant's own live temporary token may be revoked for a permanent one.
    pub upgrade_temporary: bool,
}

/// What StartAuthorization answers.
#[derive(Clone, Debug)]
pub struct Invited {
    /// The merchant.
    pub merchant: MerchantId,
    /// The invitation.
    pub invitation: InvitationId,
    /// The link to hand to the merchant.
    pub url: Url,
    /// Until when it works.
    pub expires_at: Timestamp,
}

/// What the page of an invitation shows.
#[derive(Clone, Debug)]
pub struct InvitationView {
    /// Who asks: what merchants know the platform by.
    pub platform_name: String,
    /// What the merchant is called.
    pub merchant_name: String,
    /// What they are asked to permit: the scopes.
    pub scopes: &'static [&'static str],
    /// Until when the invitation works.
    pub expires_at: Timestamp,
}

/// What pressing the button leads to.
#[derive(Debug)]
pub enum Pressed {
    /// To the provider, with this cookie set.
    ToProvider {
        /// The authorize URL.
        url: Url,
        /// The browser's binding, for the cookie.
        cookie: String,
    },
    /// Nowhere: the merchant is connected and its token works.
    AlreadyConnected,
    /// Nowhere: an earlier attempt is not settled.
    Busy,
}

impl Services {
    /// Issues an invitation. Refused while the merchant's token is live.
    ///
    /// # Errors
    /// [`Kind::TokenStillLive`], [`Kind::LivenessUnknown`], [`Kind::AttemptUnresolved`] by the guard.
    pub async fn start_authorization(&self, call: &Call, wanted: &AuthorizationRequest) -> Result<Invited> {
        const KIND: EventKind = EventKind::AuthorizationRequested;
        let named = self.permit_named::<OnboardMerchant>(call, KIND, &wanted.external_id, &wanted.labels).await?;
        let (act, known) = (named.act.clone(), named.known());
        match self.invite(call, wanted, named).await {
            Ok(invited) => Ok(invited),
            Err(refused) => Err(self.fail(&act, KIND, known, refused).await),
        }
    }

    async fn invite(&self, call: &Call, wanted: &AuthorizationRequest, named: Named) -> Result<Invited> {
        named.check_labels(&wanted.labels)?;
        let return_url = self.check_return_url(&wanted.return_url)?;
        let request = self.request(
            call,
            &wanted.request_id,
            "StartAuthorization",
            &content(wanted).each_ref().map(Vec::as_slice),
        );
        let earlier = self.parts.store.earlier(&request).await?;
        if matches!(earlier, Earlier::Same(_)) {
            self.expect_not_overtaken(&named).await?;
        }
        let Named { merchant, is_new: merchant_is_new, act } = named;
        match earlier {
            Earlier::Same(id) => {
                let mut event = act.event(EventKind::AuthorizationRequested, self.now()).reason("repeated");
                event.merchant = (!merchant_is_new).then_some(merchant.id);
                self.parts.auditor.record(event).await?;
                let invited = self.invited(InvitationId::from_bytes(id)).await?;
                // What the request made is noted in a row that nothing authenticates: it must not lead to another merchant.
                return if merchant.id == invited.merchant {
                    Ok(invited)
                } else {
                    Err(Error::new(Kind::DataCorrupt).because("a request leads to another merchant"))
                };
            }
            Earlier::Other => return Err(Error::new(Kind::RequestIdReused)),
            Earlier::None => {}
        }
        let leave = match merchant_is_new {
            true => None,
            false => {
                self.leave_to_authorize(merchant.id, wanted.upgrade_temporary, call.patience(Lane::Merchant), &act)
                    .await?
            }
        };
        let (clock, entropy, now) = (&*self.parts.clock, &*self.parts.entropy, self.now());
        let invitation = Invitation {
            id: InvitationId::generate(clock, entropy),
            app: self.parts.app.id,
            merchant: merchant.id,
            return_url,
            requested_by: call.caller.as_str().to_owned(),
            leave,
            created_at: now,
            expires_at: now.plus(self.parts.timing.invitation_life),
        };
        let private = self
            .personal_data(
                merchant.id,
                &[
                    ("display_name", wanted.display_name.as_ref().map(DisplayName::as_str)),
                    ("email", wanted.expected_email.as_ref().map(Email::as_str)),
                    ("user_name", wanted.user_name.as_ref().map(DisplayName::as_str)),
                ],
            )
            .await?;
        let order = AuthorizationOrder { merchant, merchant_is_new, private, invitation, request };
        self.parts.store.start_authorization(&order, &act).await?;
        self.invited(order.invitation.id).await
    }

    /// Asks the guard whether a known merchant may authorize, and what it may cost: nothing, or, where the caller wants that, its own
    /// temporary token.
    async fn leave_to_authorize(
        &self,
        merchant: MerchantId,
        upgrade: bool,
        patience: Patience,
        act: &Act,
    ) -> Result<Option<Leave>> {
        let leave = if upgrade { self.leave_to_upgrade(merchant, patience, act).await? } else { None };
        match self.guard(merchant, Wish::Authorize, leave, None, Some(patience), act).await? {
            Verdict::Go(_) => Ok(leave),
            Verdict::Refused(refusal, head) => Err(self.refusal(merchant, refusal, head.as_deref()).await?),
        }
    }

    /// Leave to revoke the merchant's own temporary token, if a probe shows that it is one still.
    async fn leave_to_upgrade(&self, merchant: MerchantId, patience: Patience, act: &Act) -> Result<Option<Leave>> {
        let links = self.parts.store.links(merchant).await?;
        let Some(active) = links.into_iter().find(|link| link.state == LinkState::Active) else { return Ok(None) };
        let probed = self.probe(active.connection, patience, act).await?;
        let head = &probed.version;
        Ok((!self.may_be_permanent(&probed).await?).then_some(Leave {
            kind: LeaveKind::UpgradeTemporary,
            connection: head.connection,
            version: head.number,
        }))
    }

    /// The leave of an invitation, if it is still good when the button is pressed: between that and the callback its person may sign up
    /// at the provider, and afterwards nobody can tell that from a confirmation. Only such an invitation makes us ask the provider.
    async fn leave_when_pressed(&self, leave: Option<Leave>, act: &Act) -> Result<Option<Leave>> {
        match leave {
            Some(Leave { kind: LeaveKind::UpgradeTemporary, connection, .. }) => {
                let patience = Patience::lasting(Lane::Merchant, BROWSER_WAIT);
                let probed = self.probe(connection, patience, act).await?;
                Ok(if self.may_be_permanent(&probed).await? { None } else { leave })
            }
            leave => Ok(leave),
        }
    }

    async fn invited(&self, id: InvitationId) -> Result<Invited> {
        let invitation = self.parts.store.invitation(id).await?;
        let invitation = invitation.ok_or_else(|| Error::internal("an invitation that was just written is gone"))?;
        let key = URL_SAFE_NO_PAD.encode(self.parts.vault.capability(Capability::Invitation, id.as_bytes()));
        let url = self.public_url(&["invitation", &format!("{id}.{key}")])?;
        Ok(Invited { merchant: invitation.merchant, invitation: id, url, expires_at: invitation.expires_at })
    }

    /// Exactly one of the allowed origins, and below its path.
    pub(super) fn check_return_url(&self, text: &str) -> Result<String> {
        if text.is_empty() {
            return Ok(String::new());
        }
        let refused = || Error::new(Kind::ReturnUrlNotAllowed);
        let url = Url::parse(text).ok().filter(|_| text.len() <= URI_BYTES_MAX).ok_or_else(refused)?;
        let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        let below = |allowed: &Url| {
            let path = allowed.path().trim_end_matches('/');
            let rest = url.path().strip_prefix(path);
            url.origin() == allowed.origin() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if !plain || !self.parts.settings.return_urls.iter().any(below) {
            return Err(refused());
        }
        Ok(url.into())
    }

    /// What the page of an invitation shows; `None` when there is no such invitation or it does not work any more.
    ///
    /// # Errors
    /// As every read of the database.
    pub async fn view_invitation(&self, token: &str) -> Result<Option<InvitationView>> {
        let Some(invitation) = self.find_invitation(token).await? else { return Ok(None) };
        Ok(Some(InvitationView {
            platform_name: self.parts.settings.platform_name.clone(),
            merchant_name: self.merchant_name(invitation.merchant).await?,
            scopes: self.parts.capabilities.mandatory_scopes,
            expires_at: invitation.expires_at,
        }))
    }

    async fn merchant_name(&self, merchant: MerchantId) -> Result<String> {
        let private = self.private(merchant).await?;
        if let Some(name) = private.as_ref().and_then(|private| private.expose("display_name")) {
            return Ok(name.to_owned());
        }
        let merchant = self.parts.store.merchant(&MerchantKey::Id(merchant)).await?;
        Ok(merchant.map(|merchant| merchant.external_id.to_string()).unwrap_or_default())
    }

    async fn find_invitation(&self, token: &str) -> Result<Option<Invitation>> {
        let Some((id, key)) = token.split_once('.') else { return Ok(None) };
        let (Ok(id), Ok(key)) = (id.parse::<InvitationId>(), URL_SAFE_NO_PAD.decode(key)) else { return Ok(None) };
        let expected = self.parts.vault.capability(Capability::Invitation, id.as_bytes());
        if !bool::from(expected[..].ct_eq(&key)) {
            return Ok(None);
        }
        let invitation = self.parts.store.invitation(id).await?;
        Ok(invitation.filter(|invitation| invitation.expires_at > self.now()))
    }

    /// The button was pressed: makes a fresh state, binds this browser, and names the provider's page. `None` when the invitation
    /// does not work (any more).
    ///
    /// # Errors
    /// As every use of the database.
    pub async fn press(&self, token: &str, cookie: Option<&str>, call: CallId) -> Result<Option<Pressed>> {
        let Some(invitation) = self.find_invitation(token).await? else { return Ok(None) };
        let act = Act::browser(call);
        // No probe by the guard: whoever holds the link could make us call the provider. The gate probes.
        let leave = self.leave_when_pressed(invitation.leave, &act).await?;
        match self.guard(invitation.merchant, Wish::Authorize, leave, None, None, &act).await? {
            Verdict::Go(_) => {}
            Verdict::Refused(Refusal::AttemptUnresolved, _) => return Ok(Some(Pressed::Busy)),
            Verdict::Refused(..) => return Ok(Some(Pressed::AlreadyConnected)),
        }
        let entropy = &*self.parts.entropy;
        let state = URL_SAFE_NO_PAD.encode(random::<NONCE_BYTES>(entropy));
        // A browser keeps its binding, so that a second tab does not cut off the first.
        let cookie = cookie
            .filter(|cookie| URL_SAFE_NO_PAD.decode(cookie).is_ok_and(|bytes| bytes.len() == NONCE_BYTES))
            .map_or_else(|| URL_SAFE_NO_PAD.encode(random::<NONCE_BYTES>(entropy)), str::to_owned);
        let now = self.now();
        let flow = Flow {
            id: FlowId::generate(&*self.parts.clock, entropy),
            app: self.parts.app.id,
            invitation: invitation.id,
            state_hash: self.parts.vault.blind_index(BlindIndex::State, state.as_bytes()),
            browser_hash: self.parts.vault.blind_index(BlindIndex::Browser, cookie.as_bytes()),
            state: FlowState::Pending,
            outcome: None,
            attempt: None,
            link: None,
            started_at: now,
            expires_at: now.plus(self.parts.timing.state_life),
        };
        self.parts.store.start_flow(&flow, invitation.merchant, &act).await?;
        let private = self.private(invitation.merchant).await?;
        let prefill = |name| private.as_ref().and_then(|private| private.expose(name));
        let url = self.parts.provider.authorize_url(&AuthorizeRequest {
            redirect_uri: &self.redirect_uri()?,
            state: &state,
            user_name: prefill("user_name"),
            user_email: prefill("email"),
        });
        Ok(Some(Pressed::ToProvider { url, cookie }))
    }

    /// A URL that the provider stores lives for ever: its form never changes.
    pub(super) fn redirect_uri(&self) -> Result<Url> {
        self.public_url(&["callback"])
    }

    fn public_url(&self, below: &[&str]) -> Result<Url> {
        let mut url = self.parts.settings.public_base.clone();
        url.path_segments_mut()
            .map_err(|()| Error::internal("the public base is not a base URL"))?
            .pop_if_empty()
            .push("connect")
            .push(&self.parts.app.id.to_string())
            .extend(below);
        Ok(url)
    }
}

/// What makes two requests the same one.
fn content(wanted: &AuthorizationRequest) -> [Vec<u8>; 7] {
    let labels: Vec<&str> = wanted.labels.iter().map(Label::as_str).collect();
    let text = |value: Option<&str>| value.unwrap_or_default().as_bytes().to_vec();
    [
        wanted.external_id.as_str().as_bytes().to_vec(),
        text(wanted.display_name.as_ref().map(DisplayName::as_str)),
        labels.join(" ").into_bytes(),
        wanted.return_url.as_bytes().to_vec(),
        text(wanted.expected_email.as_ref().map(Email::as_str)),
        text(wanted.user_name.as_ref().map(DisplayName::as_str)),
        vec![u8::from(wanted.upgrade_temporary)],
    ]
}
