//! Steps 7 to 9: a token dies, is authorized anew, and somebody consents as the wrong user.

use std::pin::pin;
use std::time::Duration;

use tonic::Code;

use super::callers::{answered, refused};
use super::connect::{arrived, confirm, held_token, merchant, minted_once, read_issued, start};
use super::journey::{self, HeldToken, fresh_browser};
use super::provider::{Logged, USER, logged_form};
use super::{Callers, Checked, Provider, Shop, Story, Told, Unmet, ensure};
use crate::domain::ambient::{Clock as _, SystemClock};
use crate::v1::{
    Link, LinkDecision, LinkState, ListMerchantsRequest, Liveness, ReportProviderErrorRequest, ReportResult,
    ResolveHeldLinkRequest,
};

/// How far the shared clock is moved at once while the product waits for its second look; more than that wait (5 s).
const CLOCK_STEP: Duration = Duration::from_secs(6);
/// How long to let things happen between two steps of the clock.
const CLOCK_STEP_EVERY: Duration = Duration::from_millis(100);
/// Most steps of the clock before the work counts as hanging.
const CLOCK_STEPS_MAX: usize = 100;

impl Story<'_> {
    /// Step 7.
    pub(super) async fn revoked_is_dead(&mut self) -> Checked<Told> {
        let version = self.bakery.token()?.version.version;
        revoke_and_report(&mut self.callers, &self.provider, &self.bakery).await?;
        Ok(Told::new(
            "The merchant revokes the access in the provider's settings; payments reports the error it got (1011).",
            format!("The product probed, twice: version {version} is DEAD, and nobody gets it any more (TOKEN_DEAD)."),
        ))
    }

    /// Step 8.
    pub(super) async fn reauthorized(&mut self) -> Checked<Told> {
        let before = self.provider.newest().await?;
        let old = self.bakery.token()?.clone();
        start(&mut self.callers, &mut self.bakery).await?;
        let shop = &mut self.bakery;
        let link = shop.link()?;
        journey::press(&mut shop.browser, &link).await?;
        journey::log_in(&mut shop.browser, &shop.person).await?;
        let arrival = journey::grant(&mut shop.browser).await?;
        let returning = journey::return_home(&mut shop.browser, arrival);
        let returned = while_time_passes(&self.provider, returning).await?;
        arrived(shop, returned, "connected")?;
        let issued = minted_once(&self.provider, before).await?;
        self.was_probed_before(&old, before, &issued).await?;

        let new = read_issued(&self.callers, &self.bakery, &issued).await?;
        ensure(is_next(&old, &new), "version 2 of the same connection", || format!("{:?}", new.version))?;
        let links = merchant(&self.callers, self.bakery.external_id).await?.links;
        ensure(
            links.len() == 1 && links.iter().all(|link| link.state() == LinkState::Active),
            "one link, ACTIVE without a new confirmation",
            || states(&links),
        )?;
        self.provider.works(&new.token, &new.subject).await?;
        self.provider.is_revoked("version 1", &old.token).await?;
        self.late_report_does_nothing(&old).await?;
        self.evidence.remember("version 1", &old);
        self.bakery.token = Some(new);
        Ok(Told::new(
            "The merchant authorizes again, as the same user; a late report about version 1 arrives.",
            "Version 2 works, version 1 is dead at the provider, the link stayed ACTIVE; the report caused no call (NEWER_VERSION).",
        ))
    }

    /// However sure it was that the old token is dead, the product asked once more before it had a new one made.
    async fn was_probed_before(&self, old: &HeldToken, since: u64, issued: &Logged) -> Checked<()> {
        let asked = self.provider.calls(USER, since).await?;
        let of_old = logged_form(&old.token);
        let is_probed =
            asked.iter().any(|call| call.seq < issued.seq && call.token_sha256.as_deref() == Some(of_old.as_str()));
        ensure(is_probed, "the old token to be probed once more before the new one was made", || "no probe".to_owned())
    }

    async fn late_report_does_nothing(&mut self, old: &HeldToken) -> Checked<()> {
        let quiet_since = self.provider.newest().await?;
        let report = report(self.callers.next_request(), old);
        let answer = self.callers.payments.tokens().report_provider_error(report).await;
        let answer = answered("a late report to be taken", answer)?;
        ensure(answer.result() == ReportResult::NewerVersion, "NEWER_VERSION", || format!("{:?}", answer.result()))?;
        let expected = "no call at the provider for a report about an old version";
        self.provider.saw_nothing_since(quiet_since, expected).await
    }

    /// Step 9.
    pub(super) async fn wrong_user_consent(&mut self) -> Checked<Told> {
        revoke_and_report(&mut self.callers, &self.provider, &self.books).await?;
        let before = self.provider.newest().await?;
        start(&mut self.callers, &mut self.books).await?;
        self.consent_as_the_bakers_user().await?;
        let issued = minted_once(&self.provider, before).await?;

        let old = self.bakery.token()?.clone();
        let new = read_issued(&self.callers, &self.bakery, &issued).await?;
        ensure(is_next(&old, &new), "version 3 of blue-bakery's connection", || format!("{:?}", new.version))?;
        self.provider.works(&new.token, &new.subject).await?;
        self.provider.is_revoked("version 2 of blue-bakery", &old.token).await?;
        let held = self.foreign_link_is_held(&new).await?;
        self.held_link_is_closed(&held).await?;
        let after = self.callers.payments.read(self.bakery.external_id).await;
        let after = after.map_err(|status| Unmet::new("blue-bakery's token", super::callers::told(&status)))?;
        let after = held_token(after)?;
        ensure(after.token == new.token, "blue-bakery's token to stay", || format!("{:?}", after.version))?;
        self.evidence.remember("version 2", &old);
        self.bakery.token = Some(new);
        Ok(Told::new(
            "Somebody finishes corner-books' authorization logged in as blue-bakery's user.",
            "blue-bakery's readers have version 3 with the next read; corner-books' link is held, cannot be confirmed, and is closed by admin.",
        ))
    }

    async fn consent_as_the_bakers_user(&mut self) -> Checked<()> {
        let link = self.books.link()?;
        let mut browser = fresh_browser(self.site.dev())?;
        journey::press(&mut browser, &link).await?;
        journey::log_in(&mut browser, &self.bakery.person).await?;
        let arrival = journey::grant(&mut browser).await?;
        let returning = journey::return_home(&mut browser, arrival);
        let returned = while_time_passes(&self.provider, returning).await?;
        arrived(&mut self.books, returned, "held")?;
        self.evidence.carried_by(&browser);
        Ok(())
    }

    /// corner-books has a held link to blue-bakery's connection, which its own page cannot confirm.
    async fn foreign_link_is_held(&mut self, new: &HeldToken) -> Checked<Link> {
        let shop = &self.books;
        let links = merchant(&self.callers, shop.external_id).await?.links;
        let held = links
            .iter()
            .find(|link| link.state() == LinkState::Held && link.connection_id == new.version.connection_id);
        let held = held.ok_or_else(|| Unmet::new("a HELD link of corner-books", states(&links)))?.clone();
        ensure(held.shared, "the link to be marked as shared", || "not shared".to_owned())?;
        let foreign = self.callers.payments.read(shop.external_id).await;
        let nothing = [(Code::FailedPrecondition, "TOKEN_DEAD"), (Code::FailedPrecondition, "LINK_HELD")];
        refused("reading blue-bakery's token for corner-books", foreign, &nothing)?;
        let confirmed = confirm(&mut self.callers, &shop.merchant_id, &shop.confirmation).await;
        refused("confirming a shared connection", confirmed, &[(Code::FailedPrecondition, "LINK_HELD")])?;
        let request = ListMerchantsRequest { held: true, ..ListMerchantsRequest::default() };
        let listed = self.callers.onboarding.onboarding().list_merchants(request).await;
        let listed = answered("the list of merchants with a held link", listed)?.merchants;
        let names: Vec<&str> = listed.iter().map(|merchant| merchant.external_id.as_str()).collect();
        ensure(names == [shop.external_id], "corner-books alone in the list of held links", || names.join(", "))?;
        Ok(held)
    }

    async fn held_link_is_closed(&mut self, held: &Link) -> Checked<()> {
        let request = ResolveHeldLinkRequest {
            request_id: self.callers.next_request(),
            link_id: held.link_id.clone(),
            decision: LinkDecision::Close.into(),
            reason: "another merchant's user consented".to_owned(),
        };
        let closed = self.callers.admin.onboarding().resolve_held_link(request).await;
        let closed = answered("admin to close the held link", closed)?.link.unwrap_or_default();
        ensure(closed.state() == LinkState::Closed, "a CLOSED link", || format!("{:?}", closed.state()))
    }
}

/// The user revokes; the token is dead at the provider; the report has the product find that out.
async fn revoke_and_report(callers: &mut Callers, provider: &Provider, shop: &Shop) -> Checked<()> {
    let held = shop.token()?;
    let revoked = provider.revoke(&held.subject).await?;
    ensure(revoked == 1, "one live token to revoke at the provider", || revoked.to_string())?;
    provider.is_revoked("the token", &held.token).await?;
    let request = report(callers.next_request(), held);
    let mut tokens = callers.payments.tokens();
    let reported = async { answered("a report to be taken", tokens.report_provider_error(request).await) };
    let answer = while_time_passes(provider, reported).await?;
    let head = answer.head.clone().unwrap_or_default();
    ensure(
        answer.result() == ReportResult::Probed
            && head.liveness() == Liveness::Dead
            && head.r#ref.as_ref() == Some(&held.version),
        "PROBED, and the head DEAD",
        || format!("{:?}, head {:?}", answer.result(), head.liveness()),
    )?;
    let read = callers.payments.read(shop.external_id).await;
    refused("reading a dead token", read, &[(Code::FailedPrecondition, "TOKEN_DEAD")]).map(drop)
}

fn report(request_id: String, held: &HeldToken) -> ReportProviderErrorRequest {
    ReportProviderErrorRequest {
        request_id,
        version: Some(held.version.clone()),
        error_code: "1011".to_owned(),
        error_description: "the access token has been revoked".to_owned(),
        http_status: 401,
    }
}

/// Before it calls a token dead, the product looks twice, some seconds apart on the clock that it shares with the sandbox: that clock
/// is moved until the work is done.
async fn while_time_passes<T>(provider: &Provider, work: impl Future<Output = Checked<T>>) -> Checked<T> {
    let mut work = pin!(work);
    for _ in 0..CLOCK_STEPS_MAX {
        tokio::select! {
            done = &mut work => return done,
            () = SystemClock.sleep(CLOCK_STEP_EVERY) => provider.advance(CLOCK_STEP).await?,
        }
    }
    Err(Unmet::new("the product to get on while time passes", "nothing"))
}

fn is_next(old: &HeldToken, new: &HeldToken) -> bool {
    new.version.connection_id == old.version.connection_id
        && new.version.version == old.version.version + 1
        && new.subject == old.subject
}

fn states(links: &[Link]) -> String {
    let states: Vec<String> = links.iter().map(|link| format!("{:?}", link.state())).collect();
    format!("{} links: {}", links.len(), states.join(", "))
}
