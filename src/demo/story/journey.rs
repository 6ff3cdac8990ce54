//! A merchant's way through the pages: link, button, the provider's page, callback, status page, `return_url`.

use url::Url;

use super::provider::{LOOK_EVERY, LOOKS_MAX};
use super::{Checked, Unmet, ensure};
use crate::demo::browser::{Arrival, Browser, BrowserError, Form, public_path};
use crate::demo::dev_json::DevJson;
use crate::demo::search::Needle;
use crate::domain::ambient::{Clock as _, SystemClock};
use crate::v1::{StartAuthorizationRequest, TokenVersionRef};

/// Where the platform wants its merchants back: on the allow-list that `demo` and `dev` make. Nobody is there, so the browser stops.
pub(super) const RETURN_URL: &str = "https://platform.test/connected";

/// Somebody with an account at the provider, invented.
#[derive(Clone, Copy)]
pub(super) struct Person {
    pub(super) first_name: &'static str,
    pub(super) last_name: &'static str,
    pub(super) email: &'static str,
    pub(super) password: &'static str,
}

/// A token as a reader got it. No `Debug`: it carries the token.
#[derive(Clone)]
pub(super) struct HeldToken {
    pub(super) token: String,
    pub(super) version: TokenVersionRef,
    pub(super) subject: String,
}

/// A merchant of the platform with the person behind it and their browser.
pub(super) struct Shop {
    pub(super) external_id: &'static str,
    pub(super) display_name: &'static str,
    pub(super) person: Person,
    pub(super) browser: Browser,
    /// Our id, once known.
    pub(super) merchant_id: String,
    /// The newest link, once there is one.
    pub(super) link: Option<Url>,
    /// A second tab in which the button was pressed and nothing else done.
    pub(super) second_tab: Option<Url>,
    /// What the newest journey brought to `return_url`.
    pub(super) confirmation: String,
    /// The newest token.
    pub(super) token: Option<HeldToken>,
}

/// What `return_url` received.
pub(super) struct Returned {
    pub(super) outcome: String,
    pub(super) confirmation: String,
}

impl Shop {
    /// The first merchant.
    pub(super) fn bakery(dev: &DevJson) -> Checked<Self> {
        let person = Person {
            first_name: "Wilhelmina",
            last_name: "Quackenbush",
            email: "wilhelmina@blue-bakery.example",
            password: "sourdough & rye 1887",
        };
        Self::new(dev, "blue-bakery", "Quackenbush Fine Breads", person)
    }

    /// The second merchant.
    pub(super) fn books(dev: &DevJson) -> Checked<Self> {
        let person = Person {
            first_name: "Bartholomew",
            last_name: "Featherstone",
            email: "bartholomew@corner-books.example",
            password: "first folio, foxed",
        };
        Self::new(dev, "corner-books", "Featherstone Rare Books", person)
    }

    /// The third merchant, whom the platform registers itself.
    pub(super) fn stall(dev: &DevJson) -> Checked<Self> {
        let person = Person {
            first_name: "Philippa",
            last_name: "Marchbanks",
            email: "philippa@flower-stall.example",
            password: "three red tulips, wilted",
        };
        Self::new(dev, "flower-stall", "Marchbanks Cut Flowers", person)
    }

    fn new(dev: &DevJson, external_id: &'static str, display_name: &'static str, person: Person) -> Checked<Self> {
        Ok(Self {
            external_id,
            display_name,
            person,
            browser: fresh_browser(dev)?,
            merchant_id: String::new(),
            link: None,
            second_tab: None,
            confirmation: String::new(),
            token: None,
        })
    }

    /// The order for a link.
    pub(super) fn authorization(&self, request_id: String) -> StartAuthorizationRequest {
        StartAuthorizationRequest {
            request_id,
            external_id: self.external_id.to_owned(),
            display_name: self.display_name.to_owned(),
            labels: Vec::new(),
            return_url: RETURN_URL.to_owned(),
            expected_email: self.person.email.to_owned(),
            user_name: format!("{} {}", self.person.first_name, self.person.last_name),
            upgrade_temporary: false,
        }
    }

    /// The newest link.
    pub(super) fn link(&self) -> Checked<Url> {
        self.link.clone().ok_or_else(|| Unmet::new("a link for the merchant", "none"))
    }

    /// The newest token.
    pub(super) fn token(&self) -> Checked<&HeldToken> {
        self.token.as_ref().ok_or_else(|| Unmet::new("a token for the merchant", "none"))
    }

    /// What must not lie about in clear: who they are, what they typed, and what their journeys carried.
    pub(super) fn secrets(&self) -> Vec<Needle> {
        let of = |what: &str| format!("{what} of {}", self.external_id);
        let person = &self.person;
        let mut needles = vec![
            Needle::new(of("first name"), person.first_name),
            Needle::new(of("last name"), person.last_name),
            Needle::new(of("e-mail address"), person.email),
            Needle::new(of("password"), person.password),
            Needle::new(of("display name"), self.display_name),
        ];
        needles.extend(self.browser.cookie_values().map(|value| Needle::new(of("a cookie"), value)));
        needles.extend(carried(&self.browser).map(|(name, value)| Needle::new(of(&name), value)));
        let key = self.link.as_ref().and_then(|link| link.path().rsplit_once('.').map(|(_, key)| key.to_owned()));
        needles.extend(key.map(|key| Needle::new(of("the link's key"), key)));
        needles.into_iter().flatten().collect()
    }
}

/// The parameters with which secrets travel, as the browser saw them.
pub(super) fn carried(browser: &Browser) -> impl Iterator<Item = (String, String)> {
    let pairs = browser.hops().iter().flat_map(Url::query_pairs);
    let secret = pairs.filter(|(name, _)| matches!(name.as_ref(), "code" | "state" | "confirmation"));
    secret.map(|(name, value)| (name.into_owned(), value.into_owned()))
}

/// A browser that was nowhere yet, and does not go to the platform's page, which is invented.
pub(super) fn fresh_browser(dev: &DevJson) -> Checked<Browser> {
    let mut browser = Browser::new(&dev.public_ca)?;
    browser.stop_before(RETURN_URL);
    Ok(browser)
}

impl From<BrowserError> for Unmet {
    fn from(error: BrowserError) -> Self {
        Self::new("the browser to get on", error.to_string())
    }
}

/// Opens the link and presses the button; stops before the provider's page if told to.
pub(super) async fn press(browser: &mut Browser, link: &Url) -> Checked<Arrival> {
    browser.open(link.clone()).await?;
    let page = browser.page();
    ensure(page.status == 200, "our page behind the link", || shown(browser))?;
    let form = page.forms().into_iter().find(|form| form.is_post);
    let form = form.ok_or_else(|| Unmet::new("a button on our page", shown(browser)))?;
    Ok(browser.submit(&form, &[], "").await?)
}

/// Registers at the provider's page, as somebody who has no account there.
pub(super) async fn register(browser: &mut Browser, person: &Person) -> Checked<()> {
    let form = provider_form(browser, "register")?;
    let typed = [
        ("first_name", person.first_name),
        ("last_name", person.last_name),
        ("email", person.email),
        ("password", person.password),
    ];
    browser.submit(&form, &typed, "").await?;
    Ok(())
}

/// Logs in at the provider's page, unless somebody is signed in there.
pub(super) async fn log_in(browser: &mut Browser, person: &Person) -> Checked<()> {
    if provider_form(browser, "consent").is_ok() {
        return Ok(());
    }
    let form = provider_form(browser, "login")?;
    browser.submit(&form, &[("email", person.email), ("password", person.password)], "").await?;
    Ok(())
}

/// Follows the link of a mail, chooses a password, accepts the terms and grants access: where that leads.
pub(super) async fn confirm_registration(browser: &mut Browser, link: &Url, person: &Person) -> Checked<Arrival> {
    browser.open(link.clone()).await?;
    let form = provider_form(browser, "confirm")?;
    Ok(browser.submit(&form, &[("password", person.password), ("accept", "yes")], "grant").await?)
}

/// Presses "Grant" on the provider's page.
pub(super) async fn grant(browser: &mut Browser) -> Checked<Arrival> {
    let form = provider_form(browser, "consent")?;
    Ok(browser.submit(&form, &[], "grant").await?)
}

fn provider_form(browser: &Browser, kind: &str) -> Checked<Form> {
    let form = browser.page().forms().into_iter().find(|form| form.field("form") == Some(kind));
    form.ok_or_else(|| Unmet::new(format!("the provider's page with its form {kind}"), shown(browser)))
}

/// Waits on the status page until it leads to `return_url`, as a person would: by its redirect, its refresh or its link.
pub(super) async fn return_home(browser: &mut Browser, arrival: Arrival) -> Checked<Returned> {
    let mut arrival = arrival;
    for _ in 0..LOOKS_MAX {
        if let Arrival::Stopped(url) = &arrival {
            return returned(url);
        }
        ensure(browser.page().status == 200, "our status page", || shown(browser))?;
        let home = browser.page().links().into_iter().find(|link| link.as_str().starts_with(RETURN_URL));
        arrival = match home {
            Some(home) => browser.follow(home).await?,
            None => {
                SystemClock.sleep(LOOK_EVERY).await;
                browser.reload().await?
            }
        };
    }
    Err(Unmet::new("the status page to lead to return_url", shown(browser)))
}

fn returned(url: &Url) -> Checked<Returned> {
    ensure(url.as_str().starts_with(RETURN_URL), "return_url", || url.path().to_owned())?;
    let parameter = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    let outcome = parameter("outcome").ok_or_else(|| Unmet::new("an outcome at return_url", "none"))?;
    Ok(Returned { outcome, confirmation: parameter("confirmation").unwrap_or_default() })
}

/// What the browser shows, without secrets.
pub(super) fn shown(browser: &Browser) -> String {
    let page = browser.page();
    let path = page.url.as_ref().map(public_path).unwrap_or_default();
    format!("HTTP {} \"{}\" at {path}", page.status, page.title())
}
