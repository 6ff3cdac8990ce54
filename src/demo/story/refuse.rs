//! Steps 4 to 6: who is refused, and what does nothing.

use tonic::Code;
use url::Url;

use super::callers::refused;
use super::connect::{arrived, confirm_rightly, minted_once, read_issued, start};
use super::journey::{self, RETURN_URL, fresh_browser};
use super::provider::{AUTHORIZE, TOKEN};
use super::{Checked, Story, Told, Unmet, ensure};
use crate::demo::browser::{Arrival, Browser};

impl Story<'_> {
    /// Step 4.
    pub(super) async fn others_are_refused(&mut self) -> Checked<Told> {
        let merchant = self.bakery.external_id;
        let denied = [(Code::PermissionDenied, "PERMISSION_DENIED"), (Code::NotFound, "NOT_FOUND")];
        let callers = &self.callers;
        for (name, caller) in
            [("stranger", &callers.stranger), ("onboarding", &callers.onboarding), ("auditor", &callers.auditor)]
        {
            refused(&format!("{name}, asking for the same token,"), caller.read(merchant).await, &denied)?;
        }
        callers.nobody_is_turned_away(merchant).await?;
        Ok(Told::new(
            "stranger, onboarding and auditor ask for the same token, and somebody without a certificate.",
            "All three are refused though their certificates are good; the fourth does not get past the handshake.",
        ))
    }

    /// Step 5.
    pub(super) async fn second_authorization_is_refused(&mut self) -> Checked<Told> {
        let before = self.provider.newest().await?;
        let order = self.bakery.authorization(self.callers.next_request());
        let again = self.callers.onboarding.onboarding().start_authorization(order).await;
        let evidence = refused("a second authorization", again, &[(Code::FailedPrecondition, "TOKEN_STILL_LIVE")])?;
        let said = |name: &str| evidence.get(name).cloned().unwrap_or_default();
        ensure(
            said("version") == "1" && !said("evidence_time").is_empty(),
            "the refusal to name the live version and when that was established",
            || format!("{evidence:?}"),
        )?;
        self.old_link_leads_nowhere(before).await?;
        self.second_tab_mints_nothing().await?;
        self.provider.issued_nothing_since(before).await?;
        let held = self.bakery.token()?;
        self.provider.works(&held.token, &held.subject).await?;
        Ok(Told::new(
            "A second authorization is asked for, the old link is pressed again, and a forgotten tab grants once more.",
            format!(
                "Refused with evidence (TOKEN_STILL_LIVE, version {} {} at {}); no further /oauth2/token; the token still works.",
                said("version"),
                said("liveness"),
                said("evidence_time")
            ),
        ))
    }

    /// The button of the old link, pressed once more, does not lead to the provider.
    async fn old_link_leads_nowhere(&mut self, before: u64) -> Checked<()> {
        let link = self.bakery.link()?;
        let arrival = journey::press(&mut self.bakery.browser, &link).await?;
        let sent = self.provider.calls(AUTHORIZE, before).await?;
        ensure(sent.is_empty(), "the old link not to lead to the provider again", || {
            format!("{} requests", sent.len())
        })?;
        // Nowhere else either but a page of ours, or home.
        match arrival {
            Arrival::Page => Ok(()),
            Arrival::Stopped(url) => {
                ensure(url.as_str().starts_with(RETURN_URL), "a page of ours", || url.path().to_owned())
            }
        }
    }

    /// The tab in which the button was pressed before: the person grants, and the code that comes of it is dropped.
    async fn second_tab_mints_nothing(&mut self) -> Checked<()> {
        let shop = &mut self.bakery;
        let tab = shop.second_tab.clone().ok_or_else(|| Unmet::new("a second tab", "none"))?;
        shop.browser.open(tab).await?;
        journey::log_in(&mut shop.browser, &shop.person).await?;
        let arrival = journey::grant(&mut shop.browser).await?;
        let returned = journey::return_home(&mut shop.browser, arrival).await?;
        ensure(returned.outcome == "already_connected", "outcome \"already_connected\" at return_url", || {
            returned.outcome.clone()
        })
    }

    /// Step 6.
    pub(super) async fn callback_is_bound_and_single_use(&mut self) -> Checked<Told> {
        let before = self.provider.newest().await?;
        start(&mut self.callers, &mut self.books).await?;
        let callback = self.consent_without_callback().await?;

        let mut other = fresh_browser(self.site.dev())?;
        self.is_refused_in(&mut other, &callback, before).await?;

        let shop = &mut self.books;
        let hops = shop.browser.hops().len();
        let arrival = shop.browser.open(callback.clone()).await?;
        // The hop behind the callback itself.
        let status_page = shop.browser.hops().get(hops + 1).cloned();
        let returned = journey::return_home(&mut shop.browser, arrival).await?;
        arrived(shop, returned, "held")?;
        let issued = minted_once(&self.provider, before).await?;

        self.is_replayed_in_vain(&callback, status_page, issued.seq).await?;
        self.is_refused_in(&mut other, &callback, issued.seq).await?;

        confirm_rightly(&mut self.callers, &self.books).await?;
        let held = read_issued(&self.callers, &self.books, &issued).await?;
        self.provider.works(&held.token, &held.subject).await?;
        self.books.token = Some(held);
        Ok(Told::new(
            "corner-books consents; its callback is opened in a foreign browser, then in its own, then again in both.",
            "Only the browser that pressed the button got on, and once: one /oauth2/token, none for the others.",
        ))
    }

    /// Everything up to the redirect back to us, which the browser does not follow yet.
    async fn consent_without_callback(&mut self) -> Checked<Url> {
        let shop = &mut self.books;
        let link = shop.link()?;
        journey::press(&mut shop.browser, &link).await?;
        let at_provider = shop.browser.page().url.clone();
        let redirect = at_provider.as_ref().and_then(|url| {
            url.query_pairs().find(|(name, _)| name == "redirect_uri").map(|(_, value)| value.into_owned())
        });
        let redirect = redirect.ok_or_else(|| Unmet::new("the provider's page", journey::shown(&shop.browser)))?;
        journey::register(&mut shop.browser, &shop.person).await?;
        shop.browser.stop_before(redirect);
        let arrival = journey::grant(&mut shop.browser).await?;
        shop.browser.stop_there_no_more();
        match arrival {
            Arrival::Stopped(url) => Ok(url),
            Arrival::Page => Err(Unmet::new("the provider to send the browser back", journey::shown(&shop.browser))),
        }
    }

    async fn is_refused_in(&self, other: &mut Browser, callback: &Url, before: u64) -> Checked<()> {
        let arrival = other.open(callback.clone()).await?;
        let is_refused = matches!(arrival, Arrival::Page) && (400..500).contains(&other.page().status);
        ensure(is_refused, "a callback in another browser to be refused", || journey::shown(other))?;
        self.provider.issued_nothing_since(before).await
    }

    /// Reload, back button, a copied address: the recorded outcome, and nothing else.
    async fn is_replayed_in_vain(&mut self, callback: &Url, status_page: Option<Url>, after: u64) -> Checked<()> {
        let hops = self.books.browser.hops().len();
        self.books.browser.open(callback.clone()).await?;
        let again = self.books.browser.hops().get(hops + 1).cloned();
        ensure(again.is_some() && again == status_page, "a replayed callback to lead to the same status page", || {
            journey::shown(&self.books.browser)
        })?;
        let calls = self.provider.calls(TOKEN, after).await?;
        ensure(calls.is_empty(), "no /oauth2/token for a replayed callback", || format!("{} of them", calls.len()))
    }
}
