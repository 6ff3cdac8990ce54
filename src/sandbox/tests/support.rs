//! A sandbox under test, a client that follows no redirect, and a browser with one cookie.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use url::Url;

use crate::domain::ambient::{AdjustableClock, Clock as _, SystemClock, SystemEntropy};
use crate::sandbox::state::Event;
use crate::sandbox::{Environment, Options, Sandbox, Throttle};

/// Longest wait for an answer: far above what a loaded machine needs, so that a hang fails instead of blocking.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) const REDIRECT: &str = "http://127.0.0.1:9/connect/callback";
pub(super) const SCOPES: &str = "manage_accounts,collect_payments,view_user,preapprove_payments,send_money";
pub(super) const PASSWORD: &str = "correct horse";

pub(super) fn options(dir: Option<&Path>) -> Options {
    Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        dir: dir.map(Path::to_path_buf),
        clock: Arc::new(AdjustableClock::default()),
        entropy: Arc::new(SystemEntropy),
        time_scale: 1,
        token_revokes: true,
        register_revokes: false,
        environment: Environment::Stage,
        throttle: Throttle::Off,
        notice_roots: Vec::new(),
        settings: serde_json::Map::new(),
        tls_dir: None,
    }
}

/// An answer, read whole.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) media: String,
    pub(super) location: Option<String>,
    pub(super) cookie: Option<String>,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// `(status, error, error_code)` of a refusal.
    pub(super) fn refusal(&self) -> (u16, String, u64) {
        let body = self.json();
        (self.status, body["error"].as_str().unwrap().to_owned(), body["error_code"].as_u64().unwrap())
    }
}

pub(super) struct World {
    pub(super) sandbox: Sandbox,
    pub(super) client: Client,
}

impl World {
    pub(super) async fn start() -> Self {
        Self::with(options(None)).await
    }

    pub(super) async fn with(options: Options) -> Self {
        let sandbox = Sandbox::start(options).await.unwrap();
        // Without the machine's authorities: nothing here has its certificate from one, and reading them takes longer than most tests.
        let builder = Client::builder().no_proxy().tls_certs_only([]).redirect(reqwest::redirect::Policy::none());
        Self { sandbox, client: builder.timeout(PATIENCE).build().unwrap() }
    }

    pub(super) async fn send(&self, request: RequestBuilder) -> Answer {
        self.try_send(request).await.unwrap()
    }

    pub(super) async fn try_send(&self, request: RequestBuilder) -> Result<Answer, reqwest::Error> {
        let response = request.send().await?;
        let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (media, location, cookie) =
            (header(CONTENT_TYPE).unwrap_or_default(), header(LOCATION), header(SET_COOKIE));
        let status = response.status().as_u16();
        Ok(Answer { status, media, location, cookie, text: response.text().await? })
    }

    pub(super) fn url(&self, call: &str) -> String {
        format!("{}{call}", self.sandbox.endpoints().api)
    }

    pub(super) fn post(&self, call: &str, body: &Value) -> RequestBuilder {
        self.client.post(self.url(call)).header(CONTENT_TYPE, "application/json").body(body.to_string())
    }

    pub(super) async fn control(&self, method: &str, path: &str, body: Value) -> Value {
        let url = format!("{}{path}", self.sandbox.endpoints().control);
        let answer = self.send(self.client.request(method.parse().unwrap(), url).body(body.to_string())).await;
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text);
        answer.json()
    }

    pub(super) async fn fault(&self, plan: Value) {
        self.control("POST", "/faults", plan).await;
    }

    pub(super) async fn calls(&self, path: &str) -> Vec<Value> {
        let calls = self.control("GET", &format!("/calls?path={path}"), Value::Null).await;
        calls["calls"].as_array().unwrap().clone()
    }

    pub(super) async fn make_user(&self, email: &str) -> u64 {
        let body = json!({"email": email, "password": PASSWORD, "first_name": "Ada", "last_name": "Low"});
        self.control("POST", "/users", body).await["user_id"].as_u64().unwrap()
    }

    pub(super) fn authorize_url(&self, scope: &str) -> String {
        let endpoints = self.sandbox.endpoints();
        let base = format!("{}/oauth2/authorize", endpoints.ui);
        let query = [
            ("client_id", endpoints.client_id.as_str()),
            ("redirect_uri", REDIRECT),
            ("scope", scope),
            ("state", "s/1 +"),
            ("user_name", "Ada <b> Low"),
            ("user_email", "ada@shop.example"),
            ("response_type", "code"),
        ];
        Url::parse_with_params(&base, query).unwrap().into()
    }

    /// Logs in and grants; the code.
    pub(super) async fn code(&self, email: &str) -> String {
        self.code_with(email, SCOPES).await
    }

    pub(super) async fn code_with(&self, email: &str, scope: &str) -> String {
        let mut browser = Browser::new(self, self.authorize_url(scope));
        browser.log_in(email, PASSWORD).await;
        let back = browser.submit(&[("form", "consent"), ("decision", "grant")]).await;
        parameters(&back).into_iter().find(|(name, _)| name == "code").unwrap().1
    }

    pub(super) fn exchange_body(&self, code: &str) -> Value {
        let endpoints = self.sandbox.endpoints();
        json!({
            "client_id": endpoints.client_id,
            "client_secret": endpoints.client_secret,
            "code": code,
            "redirect_uri": REDIRECT,
        })
    }

    pub(super) async fn exchange(&self, code: &str) -> Answer {
        self.send(self.post("/oauth2/token", &self.exchange_body(code))).await
    }

    /// Code and exchange in one go; the token.
    pub(super) async fn token(&self, email: &str) -> String {
        let code = self.code(email).await;
        let answer = self.exchange(&code).await;
        answer.json()["access_token"].as_str().unwrap_or_else(|| panic!("{}", answer.text)).to_owned()
    }

    pub(super) async fn user(&self, token: &str) -> Answer {
        self.send(self.post("/user", &json!({})).header("authorization", format!("Bearer {token}"))).await
    }

    /// A call with a token.
    pub(super) async fn call(&self, token: &str, call: &str, body: Value) -> Answer {
        self.send(self.post(call, &body).header("authorization", format!("Bearer {token}"))).await
    }

    /// A call with a token in an API version.
    pub(super) async fn versioned(&self, token: &str, version: &str, call: &str, body: Value) -> Answer {
        let request = self.post(call, &body).header("authorization", format!("Bearer {token}"));
        self.send(request.header("api-version", version)).await
    }

    /// Sends something to an account by the control API; HTTP status and answer.
    pub(super) async fn to_account(&self, id: &Value, act: &str, body: Value) -> (u16, Value) {
        let url = format!("{}/accounts/{id}/{act}", self.sandbox.endpoints().control);
        let answer = self.send(self.client.post(url).body(body.to_string())).await;
        (answer.status, answer.json())
    }

    /// Enables the first app for these things alone.
    pub(super) fn permit(&self, permissions: &[&str]) {
        let mut world = self.sandbox.core.lock();
        let mut app = world.state.first_app().unwrap().clone();
        app.permissions = permissions.iter().map(|permission| (*permission).to_owned()).collect();
        world.commit(vec![Event::AppChanged(Box::new(app))]).unwrap();
    }

    /// A call with a token that must succeed; its answer.
    pub(super) async fn ok(&self, token: &str, call: &str, body: Value) -> Value {
        let answer = self.call(token, call, body).await;
        assert_eq!(answer.status, 200, "{call}: {}", answer.text);
        answer.json()
    }

    pub(super) fn register_body(&self, email: &str) -> Value {
        let endpoints = self.sandbox.endpoints();
        json!({
            "client_id": endpoints.client_id,
            "client_secret": endpoints.client_secret,
            "email": email,
            "scope": SCOPES,
            "first_name": "Ada",
            "last_name": "Low",
            "original_ip": "203.0.113.7",
            "original_device": "Mozilla/5.0",
            "tos_acceptance_time": 1_700_000_000,
        })
    }

    /// Registers; the user and the token.
    pub(super) async fn register(&self, email: &str) -> (u64, String) {
        let answer = self.send(self.post("/user/register", &self.register_body(email))).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let issued = answer.json();
        (issued["user_id"].as_u64().unwrap(), issued["access_token"].as_str().unwrap().to_owned())
    }

    /// The mails to a user, oldest first.
    pub(super) async fn mails(&self, user_id: u64) -> Vec<Value> {
        let mails = self.control("GET", &format!("/mails?user_id={user_id}"), Value::Null).await;
        mails["mails"].as_array().unwrap().clone()
    }

    /// The accounts, as the control API shows them, without that of the app's owner.
    pub(super) async fn accounts(&self) -> Vec<Value> {
        let state = self.control("GET", "/state", Value::Null).await;
        let owners = self.sandbox.app_owner_account_id();
        let accounts = state["accounts"].as_array().unwrap().iter();
        accounts.filter(|account| account["account_id"] != owners).cloned().collect()
    }

    /// The tokens of a user, as the control API shows them.
    pub(super) async fn tokens(&self, user_id: u64) -> Vec<Value> {
        let state = self.control("GET", "/state", Value::Null).await;
        let users = state["users"].as_array().unwrap();
        let user = users.iter().find(|user| user["user_id"] == user_id).unwrap();
        user["tokens"].as_array().unwrap().clone()
    }

    pub(super) async fn live(&self, user_id: u64) -> Vec<bool> {
        self.tokens(user_id).await.iter().map(|token| token["live"].as_bool().unwrap()).collect()
    }

    pub(super) async fn advance(&self, seconds: u64) {
        self.control("POST", "/clock", json!({ "advance_s": seconds })).await;
    }
}

/// A browser at one page, with one cookie.
pub(super) struct Browser<'a> {
    world: &'a World,
    pub(super) url: String,
    pub(super) cookie: String,
}

impl<'a> Browser<'a> {
    pub(super) fn new(world: &'a World, url: String) -> Self {
        Self { world, url, cookie: String::new() }
    }

    pub(super) async fn open(&mut self) -> Answer {
        let answer = self.world.send(self.world.client.get(&self.url).header(COOKIE, &self.cookie)).await;
        self.keep(&answer);
        answer
    }

    /// Opens the page, sends one of its forms, and returns the answer.
    pub(super) async fn send_form(&mut self, fields: &[(&str, &str)]) -> Answer {
        let page = self.open().await;
        assert_eq!(page.status, 200, "{}", page.text);
        let csrf = page.text.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap();
        self.send_raw(&[fields, &[("csrf", csrf)]].concat()).await
    }

    pub(super) async fn send_raw(&mut self, fields: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.world.client.post(&self.url).header(COOKIE, &self.cookie);
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        let answer = self.world.send(request).await;
        self.keep(&answer);
        answer
    }

    /// Sends a form that must redirect; where to.
    pub(super) async fn submit(&mut self, fields: &[(&str, &str)]) -> String {
        let answer = self.send_form(fields).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        answer.location.unwrap()
    }

    pub(super) async fn log_in(&mut self, email: &str, password: &str) {
        self.submit(&[("form", "login"), ("email", email), ("password", password)]).await;
    }

    fn keep(&mut self, answer: &Answer) {
        if let Some(cookie) = &answer.cookie {
            self.cookie = cookie.split(';').next().unwrap().to_owned();
        }
    }
}

/// The query parameters of a URL.
pub(super) fn parameters(url: &str) -> Vec<(String, String)> {
    Url::parse(url).unwrap().query_pairs().into_owned().collect()
}

/// Waits until it holds.
pub(super) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    const LOOK_EVERY: Duration = Duration::from_millis(5);
    for _ in 0..PATIENCE.as_millis() / LOOK_EVERY.as_millis() {
        if holds().await {
            return;
        }
        SystemClock.sleep(LOOK_EVERY).await;
    }
    panic!("{what}: it did not come about");
}
