//! A merchant, the person behind it with their browser, and everything that was acknowledged about it.

use serde_json::json;
use strongroom::demo::browser::{Arrival, Browser, Form};
use strongroom::v1::get_access_token_request::Owner;
use strongroom::v1::get_merchant_request::Merchant as Key;
use strongroom::v1::{
    ConfirmConnectionRequest, GetAccessTokenRequest, GetAccessTokenResponse, GetMerchantRequest, Liveness, Merchant,
    ReportProviderErrorRequest, ReportResult, StartAuthorizationRequest, TokenVersionRef,
};
use tonic::Status;
use url::Url;

use crate::support::dev::{Dev, until};

/// Where the platform wants its merchants back; nobody is there, so the browser stops.
const RETURN_URL: &str = "https://platform.test/connected";
const PASSWORD: &str = "correct horse battery staple";

/// What is known for sure of a merchant's newest acknowledged token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// There is none.
    Unconnected,
    /// It works, and readers get it.
    Live,
    /// It was revoked at the provider, and the product was not told or did not say that it knows.
    Revoked,
    /// The product acknowledged that it is dead.
    Dead,
    /// The product acknowledged that it is dead because the provider said so, twice; it is not.
    Slandered,
}

/// A token as a reader got it. No `Debug`: it carries the token.
pub(super) struct Held {
    pub(super) version: TokenVersionRef,
    pub(super) token: String,
}

/// A merchant and the ledger of what was acknowledged about it. No `Debug`: it carries tokens.
pub(super) struct Shop {
    pub(super) external_id: String,
    pub(super) browser: Browser,
    email: String,
    requests: u32,
    /// Once StartAuthorization answered.
    pub(super) merchant_id: String,
    /// Once a link was confirmed.
    pub(super) link_id: String,
    /// The provider's id of the person.
    pub(super) subject: String,
    /// Every version that was read.
    pub(super) held: Vec<Held>,
    pub(super) standing: Standing,
    /// Whether something was begun whose end was not acknowledged.
    pub(super) unsettled: bool,
}

impl Shop {
    /// One that the product knows nothing of; the person has an account at the provider.
    pub(super) async fn new(dev: &Dev, number: usize) -> Self {
        let email = format!("owner-{number}@shop.test");
        let user = json!({ "email": email, "password": PASSWORD, "first_name": "Ann", "last_name": "Shop" });
        let subject = dev.tell("/users", user).await.get("user_id").unwrap().to_string();
        let mut browser = Browser::new(&dev.json.public_ca).unwrap();
        browser.stop_before(RETURN_URL);
        Self {
            external_id: format!("shop-{number}"),
            browser,
            email,
            requests: 0,
            merchant_id: String::new(),
            link_id: String::new(),
            subject,
            held: Vec::new(),
            standing: Standing::Unconnected,
            unsettled: false,
        }
    }

    fn next_request(&mut self) -> String {
        self.requests += 1;
        format!("{}-{}", self.external_id, self.requests)
    }

    /// Asks for a link.
    pub(super) async fn start(&mut self, dev: &Dev) -> Result<Url, Status> {
        let request = StartAuthorizationRequest {
            request_id: self.next_request(),
            external_id: self.external_id.clone(),
            display_name: self.external_id.clone(),
            labels: Vec::new(),
            return_url: RETURN_URL.to_owned(),
            expected_email: self.email.clone(),
            user_name: String::new(),
            upgrade_temporary: false,
        };
        let answer = dev.onboarding().start_authorization(request).await?.into_inner();
        assert!(self.merchant_id.is_empty() || self.merchant_id == answer.merchant_id, "another merchant");
        self.merchant_id = answer.merchant_id;
        Ok(Url::parse(&answer.url).unwrap())
    }

    /// Goes from a fresh link to the moment where the provider's code is with the product.
    pub(super) async fn consent(&mut self, dev: &Dev) -> Arrival {
        self.unsettled = true;
        let link = self.start(dev).await.unwrap();
        self.browser.open(link).await.unwrap();
        let button = self.form(|form| form.is_post);
        self.browser.submit(&button, &[], "").await.unwrap();
        if !self.has_form("consent") {
            let login = self.form(|form| form.field("form") == Some("login"));
            let typed = [("email", self.email.as_str()), ("password", PASSWORD)];
            self.browser.submit(&login, &typed, "").await.unwrap();
        }
        let consent = self.form(|form| form.field("form") == Some("consent"));
        self.browser.submit(&consent, &[], "grant").await.unwrap()
    }

    fn has_form(&self, kind: &str) -> bool {
        self.browser.page().forms().iter().any(|form| form.field("form") == Some(kind))
    }

    fn form(&self, is_it: impl Fn(&Form) -> bool) -> Form {
        let page = self.browser.page();
        let found = page.forms().into_iter().find(is_it);
        assert!(found.is_some(), "no such form: HTTP {} {}", page.status, page.title());
        found.unwrap()
    }

    /// Waits on the status page for the outcome; returns it and the confirmation.
    pub(super) async fn outcome(&mut self, arrival: Arrival) -> (String, String) {
        let browser = &mut self.browser;
        let mut arrival = Some(arrival);
        let home = until("an outcome on the status page", async || {
            if let Some(Arrival::Stopped(url)) = arrival.take() {
                return Some(url);
            }
            assert_eq!(browser.page().status, 200, "{}", browser.page().title());
            let home = browser.page().links().into_iter().find(|link| link.as_str().starts_with(RETURN_URL));
            if home.is_none() {
                arrival = Some(browser.reload().await.unwrap());
            }
            home
        })
        .await;
        let value = |wanted: &str| home.query_pairs().find(|(name, _)| name == wanted).map(|(_, value)| value.into());
        (value("outcome").unwrap_or_default(), value("confirmation").unwrap_or_default())
    }

    /// The status page as it is now, where an earlier journey ended.
    pub(super) async fn told_now(&mut self) -> (String, String) {
        let arrival = self.browser.reload().await.unwrap();
        self.outcome(arrival).await
    }

    /// A whole journey, to a token that was read.
    pub(super) async fn connect(&mut self, dev: &Dev) {
        let arrival = self.consent(dev).await;
        let (outcome, confirmation) = dev.while_time_passes(self.outcome(arrival)).await;
        let expected = if self.link_id.is_empty() { "held" } else { "connected" };
        assert_eq!(outcome, expected, "{}", self.external_id);
        if self.link_id.is_empty() {
            let request = ConfirmConnectionRequest {
                request_id: self.next_request(),
                merchant_id: self.merchant_id.clone(),
                confirmation,
            };
            let link = dev.onboarding().confirm_connection(request).await.unwrap().into_inner().link.unwrap();
            self.link_id = link.link_id;
        }
        let read = self.read(dev).await.unwrap();
        self.keep(read);
    }

    /// Notes a token that was read and is newer than what was.
    pub(super) fn keep(&mut self, read: GetAccessTokenResponse) {
        assert_eq!(read.liveness(), Liveness::Live, "{}", self.external_id);
        assert_eq!(read.subject, self.subject);
        self.held.push(Held { version: read.version.unwrap(), token: read.access_token });
        self.standing = Standing::Live;
        self.unsettled = false;
    }

    /// Reads the token as `payments`.
    pub(super) async fn read(&self, dev: &Dev) -> Result<GetAccessTokenResponse, Status> {
        dev.tokens().get_access_token(self.read_request()).await.map(tonic::Response::into_inner)
    }

    /// The request that reads the token.
    pub(super) fn read_request(&self) -> GetAccessTokenRequest {
        GetAccessTokenRequest { owner: Some(Owner::ExternalId(self.external_id.clone())), min_version: None }
    }

    /// The merchant as the product shows it.
    pub(super) async fn merchant(&self, dev: &Dev) -> Merchant {
        let request = GetMerchantRequest { merchant: Some(Key::MerchantId(self.merchant_id.clone())) };
        dev.onboarding().get_merchant(request).await.unwrap().into_inner().merchant.unwrap()
    }

    /// The newest version that was read.
    pub(super) fn newest(&self) -> &Held {
        self.held.last().unwrap()
    }

    /// The person revokes the access in the provider's settings.
    pub(super) async fn revoke(&mut self, dev: &Dev) {
        self.standing = Standing::Revoked;
        dev.tell(&format!("/users/{}/revoke", self.subject), json!({})).await;
    }

    /// `payments` reports that the newest token was refused, and the product finds it dead.
    pub(super) async fn report(&mut self, dev: &Dev, then: Standing) {
        let report = ReportProviderErrorRequest {
            request_id: self.next_request(),
            version: Some(self.newest().version.clone()),
            error_code: "1011".to_owned(),
            error_description: String::new(),
            http_status: 401,
        };
        let mut tokens = dev.tokens();
        let told = dev.while_time_passes(tokens.report_provider_error(report)).await.unwrap().into_inner();
        assert_eq!(told.result(), ReportResult::Probed);
        assert_eq!(told.head.unwrap().liveness(), Liveness::Dead);
        self.standing = then;
    }
}
