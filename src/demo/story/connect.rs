//! Steps 1 to 3: a merchant connects, the link is held until confirmed, the right service reads.

use std::collections::BTreeSet;

use tonic::Code;
use url::Url;

use super::callers::{answered, refused};
use super::journey::{self, HeldToken, Returned, Shop};
use super::provider::{AUTHORIZE, Logged, Provider, TOKEN, logged_form};
use super::{Callers, Checked, Story, Told, Unmet, ensure};
use crate::demo::browser::Arrival;
use crate::v1::get_merchant_request::Merchant as Key;
use crate::v1::{ConfirmConnectionRequest, GetAccessTokenResponse, GetMerchantRequest, LinkState, Merchant};

/// What the platform needs to work for its merchants; all five, or a later consent would be needed (WePay API docs, permissions page).
const SCOPES: [&str; 5] = ["manage_accounts", "collect_payments", "view_user", "preapprove_payments", "send_money"];

impl Story<'_> {
    /// Step 1.
    pub(super) async fn connect(&mut self) -> Checked<Told> {
        let before = self.provider.newest().await?;
        start(&mut self.callers, &mut self.bakery).await?;
        self.opening_has_no_effect(before).await?;
        self.press_in_a_second_tab().await?;

        let shop = &mut self.bakery;
        let link = shop.link()?;
        journey::press(&mut shop.browser, &link).await?;
        journey::register(&mut shop.browser, &shop.person).await?;
        let arrival = journey::grant(&mut shop.browser).await?;
        let returned = journey::return_home(&mut shop.browser, arrival).await?;
        arrived(shop, returned, "held")?;

        let asked = self.provider.calls(AUTHORIZE, before).await?;
        let all: BTreeSet<&str> = SCOPES.into();
        let has_all =
            |call: &Logged| call.scope.as_deref().is_some_and(|scope| scope.split(',').collect::<BTreeSet<_>>() == all);
        ensure(!asked.is_empty() && asked.iter().all(has_all), "all five scopes on the provider's page", || {
            format!("{:?}", asked.iter().map(|call| call.scope.clone()).collect::<Vec<_>>())
        })?;
        minted_once(&self.provider, before).await?;
        Ok(Told::new(
            format!(
                "{} opens its link, presses the button, registers at the provider and grants access.",
                shop.external_id
            ),
            "The provider saw nothing before the button, then all five scopes and exactly one /oauth2/token.",
        ))
    }

    /// A GET of the link: mail scanners and link previews do that.
    async fn opening_has_no_effect(&mut self, before: u64) -> Checked<()> {
        let link = self.bakery.link()?;
        self.bakery.browser.open(link).await?;
        ensure(self.bakery.browser.page().status == 200, "our page behind the link", || {
            journey::shown(&self.bakery.browser)
        })?;
        self.provider.saw_nothing_since(before, "the provider to see nothing when the link is opened").await?;
        let merchant = merchant(&self.callers, self.bakery.external_id).await?;
        ensure(merchant.open_attempt.is_none() && merchant.links.is_empty(), "no attempt and no link yet", || {
            format!("{} links, attempt open: {}", merchant.links.len(), merchant.open_attempt.is_some())
        })
    }

    /// Presses the button and leaves the tab before the provider's page: it comes back in step 5.
    async fn press_in_a_second_tab(&mut self) -> Checked<()> {
        let link = self.bakery.link()?;
        let browser = &mut self.bakery.browser;
        browser.stop_before(self.site.dev().sandbox.ui.clone());
        let arrival = journey::press(browser, &link).await?;
        browser.stop_there_no_more();
        let Arrival::Stopped(url) = arrival else {
            return Err(Unmet::new("the button to lead to the provider", journey::shown(browser)));
        };
        self.bakery.second_tab = Some(url);
        Ok(())
    }

    /// Step 2.
    pub(super) async fn held_until_confirmed(&mut self) -> Checked<Told> {
        let shop = &self.bakery;
        let early = self.callers.payments.read(shop.external_id).await;
        refused("reading before the connection is confirmed", early, &[(Code::FailedPrecondition, "LINK_HELD")])?;
        let wrong = confirm(&mut self.callers, &shop.merchant_id, &wrong_value(&shop.confirmation)).await;
        refused("a wrong confirmation value", wrong, &[(Code::FailedPrecondition, "CONFIRMATION_INVALID")])?;
        let still = self.callers.payments.read(shop.external_id).await;
        refused("reading after a wrong confirmation", still, &[(Code::FailedPrecondition, "LINK_HELD")])?;
        confirm_rightly(&mut self.callers, shop).await?;
        Ok(Told::new(
            "The platform's signed-in page confirms the connection with the value that return_url received.",
            "Before that, and after a wrong value, payments is refused (LINK_HELD); with the right value the link is ACTIVE.",
        ))
    }

    /// Step 3.
    pub(super) async fn payments_reads(&mut self) -> Checked<Told> {
        let issued = self.provider.calls(TOKEN, 0).await?;
        let issued = issued.last().and_then(|call| call.user_id).map(|user_id| user_id.to_string());
        let answer = self.callers.payments.read(self.bakery.external_id).await;
        let answer = answer.map_err(|status| Unmet::new("payments to get the token", super::callers::told(&status)))?;
        let subject = issued.ok_or_else(|| Unmet::new("a user in the provider's call log", "none"))?;
        let held = held_token(answer)?;
        ensure(held.subject == subject, "the token of the user who consented", || held.subject.clone())?;
        ensure(held.version.version == 1, "version 1", || held.version.version.to_string())?;
        self.provider.works(&held.token, &subject).await?;
        self.bakery.token = Some(held);
        Ok(Told::new(
            "payments asks for the token over gRPC with its certificate.",
            format!("It gets version 1, and the token works at the provider for user {subject}."),
        ))
    }
}

/// Has a link made for the shop.
pub(super) async fn start(callers: &mut Callers, shop: &mut Shop) -> Checked<()> {
    let order = shop.authorization(callers.next_request());
    let answer = callers.onboarding.onboarding().start_authorization(order).await;
    let answer = answered("onboarding to get a link for the merchant", answer)?;
    let link = Url::parse(&answer.url).map_err(|_| Unmet::new("a link that is a URL", "something else"))?;
    shop.merchant_id = answer.merchant_id;
    shop.link = Some(link);
    Ok(())
}

/// The journey ended like this, and brought what is needed to confirm it.
pub(super) fn arrived(shop: &mut Shop, returned: Returned, outcome: &str) -> Checked<()> {
    ensure(returned.outcome == outcome, &format!("outcome \"{outcome}\" at return_url"), || returned.outcome.clone())?;
    ensure(!returned.confirmation.is_empty(), "a confirmation value at return_url", || "none".to_owned())?;
    shop.confirmation = returned.confirmation;
    Ok(())
}

/// Exactly one token was issued since, and the product has checked whose it is. Answers the issuing call.
pub(super) async fn minted_once(provider: &Provider, before: u64) -> Checked<Logged> {
    let issued = provider.calls(TOKEN, before).await?;
    let seen = || format!("{} with {:?}", issued.len(), issued.iter().map(|call| call.status).collect::<Vec<_>>());
    let [call] = issued.as_slice() else {
        return Err(Unmet::new("exactly one /oauth2/token at the provider", seen()));
    };
    ensure(call.status == Some(200), "an /oauth2/token that was answered", seen)?;
    let token = call.token_sha256.clone().unwrap_or_default();
    provider.checked_since(&token, call.seq).await?;
    Ok(call.clone())
}

/// Brings a confirmation value to ConfirmConnection.
pub(super) async fn confirm(
    callers: &mut Callers,
    merchant_id: &str,
    confirmation: &str,
) -> Result<tonic::Response<crate::v1::ConfirmConnectionResponse>, tonic::Status> {
    let request = ConfirmConnectionRequest {
        request_id: callers.next_request(),
        merchant_id: merchant_id.to_owned(),
        confirmation: confirmation.to_owned(),
    };
    callers.onboarding.onboarding().confirm_connection(request).await
}

/// Confirms the shop's connection; its link is active then.
pub(super) async fn confirm_rightly(callers: &mut Callers, shop: &Shop) -> Checked<()> {
    let answer = confirm(callers, &shop.merchant_id, &shop.confirmation).await;
    let link = answered("the right confirmation value to be taken", answer)?.link.unwrap_or_default();
    ensure(link.state() == LinkState::Active, "an ACTIVE link", || format!("{:?}", link.state()))
}

/// The merchant as onboarding sees it.
pub(super) async fn merchant(callers: &Callers, external_id: &str) -> Checked<Merchant> {
    let request = GetMerchantRequest { merchant: Some(Key::ExternalId(external_id.to_owned())) };
    let answer = callers.onboarding.onboarding().get_merchant(request).await;
    Ok(answered("onboarding to see the merchant", answer)?.merchant.unwrap_or_default())
}

/// A read as it is kept for later steps.
pub(super) fn held_token(answer: GetAccessTokenResponse) -> Checked<HeldToken> {
    let version = answer.version.ok_or_else(|| Unmet::new("a version beside the token", "none"))?;
    Ok(HeldToken { token: answer.access_token, version, subject: answer.subject })
}

/// Reads the shop's token; it is the one that this call at the provider issued.
pub(super) async fn read_issued(callers: &Callers, shop: &Shop, issued: &Logged) -> Checked<HeldToken> {
    let answer = callers.payments.read(shop.external_id).await;
    let answer = answer.map_err(|status| Unmet::new("payments to get the token", super::callers::told(&status)))?;
    let held = held_token(answer)?;
    let is_issued = issued.token_sha256.as_deref() == Some(logged_form(&held.token).as_str());
    ensure(is_issued, "the token that the provider issued last", || format!("version {}", held.version.version))?;
    Ok(held)
}

/// A value of the same form that is not the right one.
fn wrong_value(right: &str) -> String {
    let first = if right.starts_with('A') { 'B' } else { 'A' };
    std::iter::once(first).chain(right.chars().skip(1)).collect()
}
