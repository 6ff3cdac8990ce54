//! A merchant of the platform: the person behind it, their browser, and their way through the pages.

use strongroom::demo::browser::{Arrival, Browser, Form};
use strongroom::domain::ambient::{Clock as _, SystemClock};
use strongroom::v1::{
    ConfirmConnectionRequest, GetAccessTokenResponse, Link, RegisterMerchantRequest, ReportProviderErrorRequest,
    StartAuthorizationRequest, TokenVersionRef,
};
use tonic::Status;
use url::Url;

use super::{LOOK_EVERY, LOOKS_MAX, TestApp};

/// Where merchants come home to. Nobody is there, so the browser stops.
pub(crate) const RETURN_URL: &str = "https://platform.test/connected";

/// Somebody with an account at the provider, or about to have one.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    pub(crate) email: String,
    pub(crate) password: String,
    pub(crate) is_registered: bool,
}

/// A merchant.
pub(crate) struct Shop {
    pub(crate) external_id: String,
    pub(crate) display_name: String,
    pub(crate) labels: Vec<String>,
    pub(crate) person: Person,
    pub(crate) browser: Browser,
    /// Our id, once known.
    pub(crate) merchant_id: String,
    /// The newest link, once there is one.
    pub(crate) link: Option<Url>,
    /// What the newest journey brought home.
    pub(crate) confirmation: String,
}

impl Shop {
    /// Opens the newest link and presses the button: now the provider's page is shown.
    pub(crate) async fn press(&mut self) {
        self.browser.open(self.link.clone().unwrap()).await.unwrap();
        assert_eq!(self.browser.page().status, 200, "our page behind the link");
        let form = self.browser.page().forms().into_iter().find(|form| form.is_post).unwrap();
        self.browser.submit(&form, &[], "").await.unwrap();
    }

    /// Opens the newest link and presses the button, which leads nowhere: the merchant is connected.
    pub(crate) async fn press_in_vain(&mut self) {
        self.browser.open(self.link.clone().unwrap()).await.unwrap();
        let form = self.browser.page().forms().into_iter().find(|form| form.is_post).unwrap();
        self.browser.submit(&form, &[], "").await.unwrap();
        let page = self.browser.page();
        assert!(page.title().contains("connected"), "{}", page.title());
        assert!(!page.forms().iter().any(|form| form.field("form").is_some()), "a form of the provider's");
    }

    /// Registers or logs in at the provider and presses "Grant".
    pub(crate) async fn grant(&mut self) -> Arrival {
        if !self.has_form("consent") {
            let person = self.person.clone();
            let mut typed = vec![("email", person.email.as_str()), ("password", person.password.as_str())];
            let kind = if person.is_registered { "login" } else { "register" };
            if !person.is_registered {
                typed.extend([("first_name", person.first_name.as_str()), ("last_name", person.last_name.as_str())]);
            }
            let form = self.form(kind);
            self.browser.submit(&form, &typed, "").await.unwrap();
            self.person.is_registered = true;
        }
        let form = self.form("consent");
        self.browser.submit(&form, &[], "grant").await.unwrap()
    }

    /// As [`Shop::grant`], but does not follow the redirect back to us: its address.
    pub(crate) async fn grant_and_stop(&mut self) -> Url {
        let page = self.browser.page().url.clone().unwrap();
        let back = page.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1.into_owned();
        self.browser.stop_before(back);
        let arrival = self.grant().await;
        self.browser.stop_there_no_more();
        match arrival {
            Arrival::Stopped(url) => url,
            Arrival::Page => unreachable!("the provider shows {}", self.browser.page().title()),
        }
    }

    /// Waits on the status page until it leads home: the outcome that it brought there.
    pub(crate) async fn home(&mut self, arrival: Arrival) -> String {
        let mut arrival = arrival;
        for _ in 0..LOOKS_MAX {
            if let Arrival::Stopped(url) = &arrival {
                let of =
                    |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
                self.confirmation = of("confirmation").unwrap_or_default();
                return of("outcome").unwrap();
            }
            let page = self.browser.page();
            assert_eq!(page.status, 200, "our status page: {}", page.title());
            let home = page.links().into_iter().find(|link| link.as_str().starts_with(RETURN_URL));
            arrival = match home {
                Some(home) => self.browser.follow(home).await.unwrap(),
                None => {
                    SystemClock.sleep(LOOK_EVERY).await;
                    self.browser.reload().await.unwrap()
                }
            };
        }
        unreachable!("the status page leads nowhere: {}", self.browser.page().title());
    }

    /// From the link to home: the outcome.
    pub(crate) async fn travel(&mut self) -> String {
        self.press().await;
        let arrival = self.grant().await;
        self.home(arrival).await
    }

    fn has_form(&self, kind: &str) -> bool {
        self.browser.page().forms().iter().any(|form| form.field("form") == Some(kind))
    }

    fn form(&self, kind: &str) -> Form {
        let form = self.browser.page().forms().into_iter().find(|form| form.field("form") == Some(kind));
        assert!(form.is_some(), "the provider's form {kind} on {}", self.browser.page().title());
        form.unwrap()
    }
}

impl TestApp {
    /// A browser that was nowhere yet.
    pub(crate) fn browser(&self) -> Browser {
        let mut browser = Browser::new(&self.dev().public_ca).unwrap();
        browser.stop_before(RETURN_URL);
        browser
    }

    /// A merchant that nobody has heard of yet.
    pub(crate) fn shop(&self, external_id: &str) -> Shop {
        Shop {
            external_id: external_id.to_owned(),
            display_name: format!("Trade name of {external_id}"),
            labels: Vec::new(),
            person: Person {
                first_name: format!("Given {external_id}"),
                last_name: format!("Family {external_id}"),
                email: format!("{external_id}@mail.example"),
                password: format!("pass \"phrase\" \u{e9}{external_id}"),
                is_registered: false,
            },
            browser: self.browser(),
            merchant_id: String::new(),
            link: None,
            confirmation: String::new(),
        }
    }

    /// The order for a link.
    pub(crate) fn authorization(&self, shop: &Shop) -> StartAuthorizationRequest {
        StartAuthorizationRequest {
            request_id: self.request_id(),
            external_id: shop.external_id.clone(),
            display_name: shop.display_name.clone(),
            labels: shop.labels.clone(),
            return_url: RETURN_URL.to_owned(),
            expected_email: shop.person.email.clone(),
            user_name: format!("{} {}", shop.person.first_name, shop.person.last_name),
            upgrade_temporary: false,
        }
    }

    /// The order to register a person as this merchant.
    pub(crate) fn registration(&self, external_id: &str, email: &str) -> RegisterMerchantRequest {
        let terms = self.site().clock().now().as_unix_seconds();
        RegisterMerchantRequest {
            request_id: self.request_id(),
            external_id: external_id.to_owned(),
            display_name: format!("Trade name of {external_id}"),
            email: email.to_owned(),
            first_name: format!("Given {external_id}"),
            last_name: format!("Family {external_id}"),
            client_ip: "203.0.113.77".to_owned(),
            client_device: format!("Browser of {external_id}"),
            terms_time: Some(prost_types::Timestamp { seconds: terms, nanos: 0 }),
            ..Default::default()
        }
    }

    /// Has a link made.
    pub(crate) async fn invite(&self, shop: &mut Shop) -> Result<(), Status> {
        let order = self.authorization(shop);
        let invited = self.caller("onboarding").onboarding().start_authorization(order).await?.into_inner();
        shop.merchant_id = invited.merchant_id;
        shop.link = Some(Url::parse(&invited.url).unwrap());
        Ok(())
    }

    /// A merchant whose link waits to be confirmed.
    pub(crate) async fn held(&self, external_id: &str) -> Shop {
        let mut shop = self.shop(external_id);
        self.invite(&mut shop).await.unwrap();
        assert_eq!(shop.travel().await, "held");
        shop
    }

    /// Confirms what the newest journey brought home.
    pub(crate) async fn confirm(&self, shop: &Shop) -> Result<Link, Status> {
        let request = ConfirmConnectionRequest {
            request_id: self.request_id(),
            merchant_id: shop.merchant_id.clone(),
            confirmation: shop.confirmation.clone(),
        };
        let answer = self.caller("onboarding").onboarding().confirm_connection(request).await?;
        Ok(answer.into_inner().link.unwrap())
    }

    /// A merchant whose token can be read.
    pub(crate) async fn connected(&self, external_id: &str) -> Shop {
        let shop = self.held(external_id).await;
        self.confirm(&shop).await.unwrap();
        shop
    }

    /// Connects a merchant anew whose token is dead: the token that comes of it.
    pub(crate) async fn reconnect(&self, shop: &mut Shop) -> GetAccessTokenResponse {
        self.invite(shop).await.unwrap();
        assert_eq!(shop.travel().await, "connected");
        self.token(shop).await
    }

    /// The token.
    pub(crate) async fn token(&self, shop: &Shop) -> GetAccessTokenResponse {
        self.caller("payments").read(&shop.external_id).await.unwrap()
    }

    /// A report that the provider called this version revoked.
    pub(crate) fn report(&self, version: &TokenVersionRef) -> ReportProviderErrorRequest {
        ReportProviderErrorRequest {
            request_id: self.request_id(),
            version: Some(version.clone()),
            error_code: "1011".to_owned(),
            error_description: "the access token has been revoked".to_owned(),
            http_status: 401,
        }
    }

    /// The user revokes, payments reports it, and the product finds it so.
    pub(crate) async fn kill(&self, shop: &Shop) -> GetAccessTokenResponse {
        let held = self.token(shop).await;
        self.revoke(&held.subject).await;
        let report = self.report(held.version.as_ref().unwrap());
        let mut payments = self.caller("payments").tokens();
        self.while_time_passes(payments.report_provider_error(report)).await.unwrap();
        held
    }
}
