//! The other way in: the platform registers a merchant at the provider itself. The token works at once and is temporary until the
//! person behind the e-mail address confirms.

use std::net::Ipv4Addr;

use url::Url;

use super::error::{Error, Kind, Result};
use super::guard::Verdict;
use super::mint::{DRAINING, Ending, Means, Mint, NO_BUDGET};
use super::newcomers::Named;
use super::{Call, MerchantView, Services};
use crate::domain::ambient::Timestamp;
use crate::domain::attempt::AttemptState;
use crate::domain::budget::Lane;
use crate::domain::id::{AttemptId, MerchantId};
use crate::domain::merchant::{Connection, LinkState, Merchant};
use crate::domain::name::{CallerId, DisplayName, Email, ExternalId, Label, RequestId};
use crate::domain::token::{Liveness, Refusal, Wish};
use crate::domain::trail::{Act, EventKind};
use crate::policy::OnboardMerchant;
use crate::provider::{self, Registration};
use crate::store::{Earlier, RegistrationClaim, RegistrationOrder, Request};

/// What RegisterMerchant is asked.
#[derive(Clone)]
pub struct RegistrationRequest {
    /// The caller's id of the request.
    pub request_id: RequestId,
    /// The platform's id of the merchant.
    pub external_id: ExternalId,
    /// What the merchant is called on our pages.
    pub display_name: Option<DisplayName>,
    /// Labels of a new merchant.
    pub labels: Vec<Label>,
    /// The person who is registered.
    pub registrant: Registrant,
    /// Where the person lands after confirming; empty: the provider's choice.
    pub return_url: String,
}

/// The person to be registered, all of it personal data: `Debug` shows nothing.
#[derive(Clone)]
pub struct Registrant {
    /// Identifies the user at the provider.
    pub email: Email,
    /// First name, at most 127 characters.
    pub first_name: String,
    /// Last name, at most 127 characters.
    pub last_name: String,
    /// From where the person accepted the provider's terms. IPv4, because the provider takes no other.
    pub ip: Ipv4Addr,
    /// With what: the browser's User-Agent, at most 255 characters.
    pub device: String,
    /// When; not in the future.
    pub terms_accepted_at: Timestamp,
    /// Where the person lands after confirming.
    pub redirect_uri: Option<Url>,
}

impl std::fmt::Debug for Registrant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Registrant(..)")
    }
}

impl std::fmt::Debug for RegistrationRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistrationRequest").field("external_id", &self.external_id).finish_non_exhaustive()
    }
}

impl Registrant {
    pub(super) const fn email(&self) -> &Email {
        &self.email
    }

    pub(super) fn registration<'a>(&'a self, notices: &'a Url) -> Registration<'a> {
        Registration {
            email: &self.email,
            first_name: &self.first_name,
            last_name: &self.last_name,
            original_ip: self.ip,
            original_device: &self.device,
            terms_accepted_at: self.terms_accepted_at,
            redirect_uri: self.redirect_uri.as_ref(),
            callback_uri: notices,
        }
    }
}

impl Services {
    /// Registers a merchant at the provider, and waits for the outcome as long as the caller does. The work itself goes on.
    ///
    /// # Errors
    /// [`Kind::ConnectionExists`] for an e-mail address that a connection has; [`Kind::TokenStillLive`],
    /// [`Kind::LivenessUnknown`], [`Kind::AttemptUnresolved`] by the guard, the last also when the outcome is not known yet;
    /// [`Kind::ProviderBusy`]: nothing was sent, and the same request may be tried again;
    /// [`Kind::ProviderRefused`], [`Kind::ProviderUnavailable`]; [`Kind::ProviderOutcomeUnknown`] for the repetition of a request
    /// whose outcome could not be found out.
    pub async fn register_merchant(&self, call: &Call, wanted: &RegistrationRequest) -> Result<MerchantView> {
        const KIND: EventKind = EventKind::RegistrationRequested;
        let named = self.permit_named::<OnboardMerchant>(call, KIND, &wanted.external_id, &wanted.labels).await?;
        let (act, known) = (named.act.clone(), named.known());
        match self.register(call, wanted, named).await {
            Ok(merchant) => self.view_merchant(merchant).await,
            Err(refused) => Err(self.fail(&act, KIND, known, refused).await),
        }
    }

    async fn register(&self, call: &Call, wanted: &RegistrationRequest, named: Named) -> Result<Merchant> {
        named.check_labels(&wanted.labels)?;
        let return_url = self.check_return_url(&wanted.return_url)?;
        let redirect_uri = Url::parse(&return_url).ok();
        let registrant = Registrant { redirect_uri, ..wanted.registrant.clone() };
        let request = self.registration_request(call, wanted);
        match self.parts.store.earlier(&request).await? {
            Earlier::Same(id) if self.may_try_again(AttemptId::from_bytes(id), &named).await? => {
                let event = named.act.event(EventKind::RegistrationRequested, self.now()).merchant(named.merchant.id);
                self.parts.store.forget_request(&request, &id, event.reason("tried_again")).await?;
            }
            Earlier::Same(id) => return self.registered_before(AttemptId::from_bytes(id), named).await,
            Earlier::Other => return Err(Error::new(Kind::RequestIdReused)),
            Earlier::None => {}
        }
        let patience = call.patience(Lane::Merchant);
        self.budget.expect_room(patience)?;
        let email_index = self.email_index(&registrant.email);
        if let Some(known) = self.parts.store.connection_by_email(self.parts.app.id, &email_index).await? {
            return Err(self.connection_exists(&known, named.merchant.id, &call.caller).await?);
        }
        if !named.is_new {
            match self.guard(named.merchant.id, Wish::Register, None, None, Some(patience), &named.act).await? {
                Verdict::Go(_) => {}
                Verdict::Refused(refusal, head) => {
                    return Err(self.refusal(named.merchant.id, refusal, head.as_deref()).await?);
                }
            }
        }
        let order = RegistrationOrder {
            private: self.registrant_data(named.merchant.id, wanted).await?,
            merchant: named.merchant.clone(),
            merchant_is_new: named.is_new,
            app: self.parts.app.id,
            attempt: AttemptId::generate(&*self.parts.clock, &*self.parts.entropy),
            email_index,
            request,
        };
        let (services, call, act) = (self.clone(), call.clone(), named.act.clone());
        let attempt = order.attempt;
        // In a task: a caller that hangs up between claim and mint would leave an attempt that nobody carries out (M7).
        let work = self.tasks.spawn(async move { services.claim_and_register(order, registrant, &call, act).await });
        let ended = work.await.map_err(|ended| Error::internal(format!("registering ended badly: {ended}")))??;
        match ended {
            Some(Ending::Stored) => Ok(named.merchant),
            Some(Ending::Refused(refusal)) => Err(self.refusal(named.merchant.id, refusal, None).await?),
            Some(Ending::Rejected(refusal)) => Err(refused_by_provider(&refusal)),
            Some(Ending::Busy(refused)) => Err(refused),
            Some(Ending::Overtaken | Ending::NotSent | Ending::InDoubt) | None => {
                self.registration_outcome(attempt, named.merchant.id).await.map(|()| named.merchant)
            }
        }
    }

    async fn claim_and_register(
        &self,
        order: RegistrationOrder,
        registrant: Registrant,
        call: &Call,
        act: Act,
    ) -> Result<Option<Ending>> {
        let merchant = order.merchant.id;
        let claimed = self.parts.store.claim_registration(&order, &act).await;
        match &claimed {
            Ok(RegistrationClaim::Known(known)) => {
                return Err(self.connection_exists(known, merchant, &call.caller).await?);
            }
            Ok(RegistrationClaim::Busy) => {
                return Err(self.refusal(merchant, Refusal::AttemptUnresolved, None).await?);
            }
            Ok(RegistrationClaim::Claimed) | Err(_) => {}
        }
        // After an error too: a claim whose commit went through and whose answer was lost is ours.
        match (self.attempt_of_claim(order.attempt).await, claimed) {
            (Some(attempt), _) => {
                let by = Means::Registrant(Box::new(registrant));
                let mint = Mint { attempt, merchant, leave: None, by, deadline: call.deadline, act };
                Ok(self.spawn_mint(mint).await.ok().flatten())
            }
            (None, Ok(_)) => Err(Error::internal("an attempt that was just claimed is gone")),
            (None, Err(failed)) => Err(failed.into()),
        }
    }

    /// Whether a request may be carried out though it was before: it came to nothing by our own doing, and nothing was sent.
    async fn may_try_again(&self, attempt: AttemptId, named: &Named) -> Result<bool> {
        let attempt = self.parts.store.attempt(attempt).await?;
        Ok(attempt.is_some_and(|attempt| {
            attempt.state == AttemptState::NotSent
                && attempt.merchant == Some(named.merchant.id)
                && matches!(attempt.reason.as_deref(), Some(NO_BUDGET | DRAINING))
        }))
    }

    /// What a request that was carried out before gets, on record like the first time.
    async fn registered_before(&self, attempt: AttemptId, named: Named) -> Result<Merchant> {
        self.expect_not_overtaken(&named).await?;
        self.registration_outcome(attempt, named.merchant.id).await?;
        let event = named.act.event(EventKind::RegistrationRequested, self.now()).merchant(named.merchant.id);
        self.parts.auditor.record(event.attempt(attempt).reason("repeated")).await?;
        Ok(named.merchant)
    }

    /// What became of a registration, by its attempt.
    async fn registration_outcome(&self, id: AttemptId, merchant: MerchantId) -> Result<()> {
        let attempt = self.parts.store.attempt(id).await?;
        // What the request made is noted in a row that nothing authenticates: it must not lead to another merchant.
        let attempt = attempt.filter(|attempt| attempt.merchant == Some(merchant));
        let attempt =
            attempt.ok_or_else(|| Error::new(Kind::DataCorrupt).because("a request leads to another merchant"))?;
        let kind = match attempt.state {
            AttemptState::Committed => return Ok(()),
            AttemptState::Received | AttemptState::Armed | AttemptState::InDoubt => {
                return Err(self.refusal(merchant, Refusal::AttemptUnresolved, None).await?);
            }
            AttemptState::Refused => match attempt.reason.as_deref() {
                Some("token_still_live") => Kind::TokenStillLive,
                Some("liveness_unknown") => Kind::LivenessUnknown,
                _ => Kind::Conflict,
            },
            AttemptState::NotSent => Kind::ProviderUnavailable,
            AttemptState::Rejected => Kind::ProviderRefused,
            AttemptState::Lost | AttemptState::NotApplied | AttemptState::Late => Kind::ProviderOutcomeUnknown,
        };
        Err(Error::new(kind).with("attempt_id", id).with("attempt_state", attempt.state.as_str()))
    }

    /// The refusal of an e-mail address that a connection has, with the way out. Which connection, and how it is, is told to who may
    /// link it: to anybody else it is another merchant's.
    async fn connection_exists(&self, known: &Connection, merchant: MerchantId, caller: &CallerId) -> Result<Error> {
        let refusal = Error::new(Kind::ConnectionExists);
        let links = self.parts.store.open_links_of(known.id).await?;
        let own = links.iter().find(|link| link.merchant == merchant);
        if own.is_none() && !self.may_link(caller, known.id).await? {
            return Ok(refusal.with("way_out", "none"));
        }
        let head = self.parts.store.head(known.id).await?.map(|head| self.by_the_clock(head));
        let works = head.is_some_and(|head| matches!(head.liveness, Liveness::Live | Liveness::Suspect));
        let way_out = match (works, own.map(|link| link.state)) {
            (true, Some(LinkState::Held)) => "resolve_held_link",
            (true, Some(_)) => "none",
            (true, None) => "link_merchant",
            (false, _) => "start_authorization",
        };
        Ok(refusal.with("connection_id", known.id).with("way_out", way_out))
    }

    async fn registrant_data(
        &self,
        merchant: MerchantId,
        wanted: &RegistrationRequest,
    ) -> Result<Option<crate::store::Private>> {
        let registrant = &wanted.registrant;
        let (ip, terms) = (registrant.ip.to_string(), registrant.terms_accepted_at.to_rfc3339());
        self.personal_data(
            merchant,
            &[
                ("display_name", wanted.display_name.as_ref().map(DisplayName::as_str)),
                ("email", Some(registrant.email.as_str())),
                ("first_name", Some(&registrant.first_name)),
                ("last_name", Some(&registrant.last_name)),
                ("ip", Some(&ip)),
                ("device", Some(&registrant.device)),
                ("terms_time", Some(&terms)),
            ],
        )
        .await
    }

    /// What makes two requests the same one.
    fn registration_request(&self, call: &Call, wanted: &RegistrationRequest) -> Request {
        let labels: Vec<&str> = wanted.labels.iter().map(Label::as_str).collect();
        let (labels, registrant) = (labels.join(" "), &wanted.registrant);
        let content: [&[u8]; 10] = [
            wanted.external_id.as_str().as_bytes(),
            wanted.display_name.as_ref().map(DisplayName::as_str).unwrap_or_default().as_bytes(),
            labels.as_bytes(),
            registrant.email.as_str().as_bytes(),
            registrant.first_name.as_bytes(),
            registrant.last_name.as_bytes(),
            &registrant.ip.octets(),
            registrant.device.as_bytes(),
            &registrant.terms_accepted_at.as_micros().to_be_bytes(),
            wanted.return_url.as_bytes(),
        ];
        self.request(call, &wanted.request_id, "RegisterMerchant", &content)
    }
}

/// The provider's no, for the caller who asked for it.
pub(super) fn refused_by_provider(refusal: &provider::Refusal) -> Error {
    let error = Error::new(Kind::ProviderRefused)
        .because(refusal.to_string())
        .with("provider_error", &refusal.error)
        .with("provider_description", &refusal.description);
    match &refusal.code {
        Some(code) => error.with("provider_code", code),
        None => error,
    }
}
