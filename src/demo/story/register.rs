//! Steps 10 to 12: the other way in. The platform registers a person itself, a further shop of theirs needs no token, and with the
//! person's word the temporary token becomes permanent.

use std::time::Duration;

use prost_types::Timestamp as WireTime;
use tonic::Code;

use super::callers::{answered, refused};
use super::connect::{held_token, merchant, read_issued};
use super::journey::{self, RETURN_URL};
use super::provider::{Logged, Mail, REGISTER};
use super::{Checked, Provider, Story, Told, Unmet, ensure};
use crate::demo::browser::Arrival;
use crate::domain::ambient::{Clock as _, Timestamp};
use crate::v1::{
    ConfirmationResult, IssuedKind, Link, LinkMerchantRequest, LinkState, ListTokenVersionsRequest, Liveness,
    NextAction, RegisterMerchantRequest, SendConfirmationRequest, TokenVersion, VerifyTokenRequest,
    list_token_versions_request, send_confirmation_request, verify_token_request,
};

/// From where and with what the person accepted the terms: invented, the address kept free for examples (RFC 5737).
const CLIENT_IP: &str = "203.0.113.77";
const CLIENT_DEVICE: &str = "Marchbanks Pocket Browser 7.1";
/// When: a while before, so that the time is told from those at which something is logged.
const TERMS_BEFORE: Duration = Duration::from_secs(2 * 86_400 + 4_242);
/// A label of the stall: what a grant may name, so that a test of the demo can let somebody read this merchant alone.
const LABEL: &str = "seasonal";
/// Life of a temporary token (WePay API docs, custom account page), and how much less may be left right after.
const TEMPORARY_LIFE: Duration = Duration::from_secs(90 * 86_400);
const TEMPORARY_GONE_MAX: Duration = Duration::from_secs(3_600);
/// The person's second shop.
pub(super) const MARKET: &str = "flower-market";
/// What the mail says.
const MAIL: [&str; 3] = ["Your stall awaits one click", "Dear Philippa, please confirm for us.", "Confirm my stall"];

impl Story<'_> {
    /// Step 10.
    pub(super) async fn registered(&mut self) -> Checked<Told> {
        let before = self.provider.newest().await?;
        let now = self.site.clock().now();
        let order = self.registration(self.stall.external_id, now);
        let answer = self.callers.onboarding.onboarding().register_merchant(order).await;
        let known = answered("onboarding to register the merchant", answer)?.merchant.unwrap_or_default();
        self.stall.merchant_id = known.merchant_id;
        let issued = registered_once(&self.provider, before).await?;
        self.provider.issued_nothing_since(before).await?;

        let held = read_issued(&self.callers, &self.stall, &issued).await?;
        ensure(held.version.version == 1, "version 1", || held.version.version.to_string())?;
        self.provider.works(&held.token, &held.subject).await?;
        self.stall.token = Some(held);

        let seen = merchant(&self.callers, self.stall.external_id).await?;
        ensure(seen.next_action() == NextAction::GetConfirmed, "GET_CONFIRMED as what to do next", || {
            format!("{:?}", seen.next_action())
        })?;
        let until = temporary_until(only_link(&seen.links)?)?;
        let left = until.since(now);
        let expected = TEMPORARY_LIFE.saturating_sub(TEMPORARY_GONE_MAX)..=TEMPORARY_LIFE + TEMPORARY_GONE_MAX;
        ensure(expected.contains(&left), "a token that lives 90 days", || format!("{} s", left.as_secs()))?;
        self.remember_registration(now);
        Ok(Told::new(
            format!("The platform registers {} itself: no page, no consent yet.", self.stall.external_id),
            format!(
                "One /user/register, no /oauth2/token; the token works at once, and GetMerchant says: temporary until {}, GET_CONFIRMED.",
                until.to_rfc3339()
            ),
        ))
    }

    /// Step 11.
    pub(super) async fn known_email_is_linked(&mut self) -> Checked<Told> {
        let before = self.provider.newest().await?;
        let order = self.registration(MARKET, self.site.clock().now());
        let again = self.callers.onboarding.onboarding().register_merchant(order).await;
        let exists = [(Code::FailedPrecondition, "CONNECTION_EXISTS")];
        let evidence = refused("registering an e-mail address that a connection has", again, &exists)?;
        let held = self.stall.token()?.clone();
        let said = |name: &str| evidence.get(name).cloned().unwrap_or_default();
        ensure(
            said("connection_id") == held.version.connection_id && said("way_out") == "link_merchant",
            "the refusal to name the connection and the way out, link_merchant",
            || format!("{evidence:?}"),
        )?;
        let order = LinkMerchantRequest {
            request_id: self.callers.next_request(),
            external_id: MARKET.to_owned(),
            display_name: String::new(),
            labels: Vec::new(),
            connection_id: said("connection_id"),
        };
        let linked = self.callers.onboarding.onboarding().link_merchant(order).await;
        let link = answered("onboarding to link a further merchant", linked)?.link.unwrap_or_default();
        ensure(link.state() == LinkState::Active && link.shared, "an ACTIVE link of a shared connection", || {
            format!("{:?}, shared: {}", link.state(), link.shared)
        })?;
        self.both_read_the_same().await?;
        self.provider.minted_nothing_since(before).await?;
        Ok(Told::new(
            format!(
                "{MARKET} is registered with the same e-mail address; then it is linked to the connection that this has."
            ),
            "Refused with the way out (CONNECTION_EXISTS); LinkMerchant made no call that issues tokens, and both read the same version.",
        ))
    }

    async fn both_read_the_same(&self) -> Checked<()> {
        let held = self.stall.token()?;
        for external_id in [self.stall.external_id, MARKET] {
            let read = self.callers.payments.read(external_id).await;
            let read =
                read.map_err(|status| Unmet::new(format!("{external_id}'s token"), super::callers::told(&status)))?;
            let read = held_token(read)?;
            ensure(
                read.token == held.token && read.version == held.version,
                &format!("{external_id} to be served by version 1 of the stall's connection"),
                || format!("{:?}", read.version),
            )?;
        }
        Ok(())
    }

    /// Step 12.
    pub(super) async fn confirmed_without_loss(&mut self) -> Checked<Told> {
        let before = self.provider.newest().await?;
        let held = self.stall.token()?.clone();
        self.asked_to_confirm().await?;
        let mail = self.mail_to(&held.subject).await?;
        let shop = &mut self.stall;
        let arrival = journey::confirm_registration(&mut shop.browser, &mail.link, &shop.person).await?;
        let is_home = matches!(&arrival, Arrival::Stopped(url) if url.as_str().starts_with(RETURN_URL));
        ensure(is_home, "the provider to send the person to return_url", || journey::shown(&shop.browser))?;
        self.evidence.secret("the link of a mail", mail.link.query().unwrap_or_default());

        let head = self.verified().await?;
        ensure(
            head.permanent && head.liveness() == Liveness::Live && head.r#ref.as_ref() == Some(&held.version),
            "the same version, LIVE and permanent",
            || format!("{:?}, {:?}, permanent: {}", head.r#ref, head.liveness(), head.permanent),
        )?;
        self.both_read_the_same().await?;
        self.provider.works(&held.token, &held.subject).await?;
        self.only_version_is(&held.version).await?;
        let seen = merchant(&self.callers, self.stall.external_id).await?;
        ensure(
            seen.next_action() == NextAction::None && only_link(&seen.links)?.temporary.is_none(),
            "nothing left to do, and nothing temporary",
            || format!("{:?}", seen.next_action()),
        )?;
        self.provider.minted_nothing_since(before).await?;
        Ok(Told::new(
            "The provider mails the person, who follows the link, chooses a password, accepts the terms and grants access.",
            "VerifyToken: still version 1, the same token, now permanent. No version was lost and none was made.",
        ))
    }

    async fn asked_to_confirm(&mut self) -> Checked<()> {
        let [subject, message, button_text] = MAIL.map(str::to_owned);
        let request = SendConfirmationRequest {
            request_id: self.callers.next_request(),
            merchant: Some(send_confirmation_request::Merchant::ExternalId(self.stall.external_id.to_owned())),
            email_subject: subject,
            email_message: message,
            email_button_text: button_text,
        };
        let asked = self.callers.onboarding.onboarding().send_confirmation(request).await;
        let asked = answered("onboarding to have the person asked", asked)?;
        ensure(asked.result() == ConfirmationResult::Sent, "SENT", || format!("{:?}", asked.result()))
    }

    /// The one mail that went out, as it was ordered.
    async fn mail_to(&self, subject: &str) -> Checked<Mail> {
        let mut mails = self.provider.mails(subject).await?;
        let mail = match mails.len() {
            1 => mails.pop(),
            _ => None,
        };
        let mail = mail.ok_or_else(|| Unmet::new("exactly one mail to the person", mails.len().to_string()))?;
        let says = [mail.subject.as_str(), mail.message.as_str(), mail.button_text.as_str()];
        let is_as_ordered = says == MAIL && mail.to == self.stall.person.email;
        ensure(is_as_ordered, "the mail as it was ordered, to the person", || "another one".to_owned())?;
        Ok(mail)
    }

    async fn verified(&mut self) -> Checked<TokenVersion> {
        let request = VerifyTokenRequest {
            request_id: self.callers.next_request(),
            merchant: Some(verify_token_request::Merchant::ExternalId(self.stall.external_id.to_owned())),
        };
        let verified = self.callers.payments.tokens().verify_token(request).await;
        Ok(answered("payments to have the token verified", verified)?.head.unwrap_or_default())
    }

    async fn only_version_is(&self, wanted: &crate::v1::TokenVersionRef) -> Checked<()> {
        let merchant = list_token_versions_request::Merchant::ExternalId(self.stall.external_id.to_owned());
        let request = ListTokenVersionsRequest { merchant: Some(merchant), ..ListTokenVersionsRequest::default() };
        let listed = self.callers.auditor.tokens().list_token_versions(request).await;
        let listed = answered("auditor to list the versions", listed)?.versions;
        let is_alone = listed.len() == 1
            && listed.iter().all(|version| {
                version.r#ref.as_ref() == Some(wanted) && version.issued_kind() == IssuedKind::Temporary
            });
        ensure(is_alone, "one version, issued as a temporary one", || format!("{} versions", listed.len()))
    }

    /// The stall's person, as a merchant of the platform.
    fn registration(&mut self, external_id: &str, now: Timestamp) -> RegisterMerchantRequest {
        let person = self.stall.person;
        let is_stall = external_id == self.stall.external_id;
        RegisterMerchantRequest {
            request_id: self.callers.next_request(),
            external_id: external_id.to_owned(),
            display_name: self.stall.display_name.to_owned(),
            labels: if is_stall { vec![LABEL.to_owned()] } else { Vec::new() },
            email: person.email.to_owned(),
            first_name: person.first_name.to_owned(),
            last_name: person.last_name.to_owned(),
            client_ip: CLIENT_IP.to_owned(),
            client_device: CLIENT_DEVICE.to_owned(),
            terms_time: Some(WireTime { seconds: now.minus(TERMS_BEFORE).as_unix_seconds(), nanos: 0 }),
            return_url: RETURN_URL.to_owned(),
        }
    }

    /// What was told of the person must not lie about, and neither what the mail said.
    fn remember_registration(&mut self, now: Timestamp) {
        let terms = Timestamp::from_unix_seconds(now.minus(TERMS_BEFORE).as_unix_seconds());
        self.evidence.secret("the person's address in the network", CLIENT_IP);
        self.evidence.secret("the person's device", CLIENT_DEVICE);
        self.evidence.secret("when the terms were accepted", terms.to_rfc3339());
        self.evidence.secret("when the terms were accepted", terms.as_unix_seconds().to_string());
        for text in MAIL {
            self.evidence.secret("a text of the mail", text);
        }
    }
}

/// Exactly one `/user/register` since, and it was answered.
async fn registered_once(provider: &Provider, before: u64) -> Checked<Logged> {
    let registered = provider.calls(REGISTER, before).await?;
    let seen =
        || format!("{} with {:?}", registered.len(), registered.iter().map(|call| call.status).collect::<Vec<_>>());
    match registered.as_slice() {
        [call] if call.status == Some(200) => Ok(call.clone()),
        _ => Err(Unmet::new("exactly one /user/register at the provider, answered", seen())),
    }
}

fn only_link(links: &[Link]) -> Checked<&Link> {
    match links {
        [link] if link.state() == LinkState::Active => Ok(link),
        _ => Err(Unmet::new("one link, ACTIVE without a confirmation", format!("{} links", links.len()))),
    }
}

/// Until when the link's token works unless it is confirmed.
fn temporary_until(link: &Link) -> Checked<Timestamp> {
    let head = link.head.clone().unwrap_or_default();
    let until = link.temporary.as_ref().and_then(|temporary| temporary.expire_time);
    match until {
        Some(until) if head.issued_kind() == IssuedKind::Temporary && !head.permanent => {
            Ok(Timestamp::from_unix_seconds(until.seconds))
        }
        _ => Err(Unmet::new("a TEMPORARY token and until when it works", format!("{:?}", head.issued_kind()))),
    }
}
