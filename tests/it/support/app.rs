//! Product and sandbox in this process, on a database of their own, and everybody who calls them.
//!
//! At the end of every scenario the exported trails must verify, and no attempt may be open that the scenario did not declare.

mod callers;
mod shop;
mod trails;

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use reqwest::{Client, Method, redirect};
use serde_json::{Value, json};
use strongroom::demo::{DevJson, Site, SiteOptions};
use strongroom::domain::ambient::{Clock as _, SystemClock};
use strongroom::domain::budget::Pace;
use strongroom::domain::trail::Event;
use strongroom::telemetry::{self, Captured};
use strongroom::v1::{ExportTrailRequest, ExportTrailResponse};

pub(crate) use self::callers::{Authority, Caller, outcome_of};
pub(crate) use self::shop::{RETURN_URL, Shop};
pub(crate) use self::trails::{events_of, records_of, verdict_of};
use super::database::{AnyRow, Home, Intruder, Statement};

/// The grants of a development site, and those of the callers that only tests have.
const GRANTS: &str = concat!(include_str!("../../../src/demo/grants.toml"), include_str!("app/grants.toml"));
/// Callers of `dev.json`.
const CALLERS: [&str; 6] = ["payments", "onboarding", "auditor", "admin", "approver", "stranger"];
/// Between two looks at something that is about to happen.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(25);
/// How often something is looked at before it counts as not happening: a minute.
pub(crate) const LOOKS_MAX: usize = 2_400;
/// Longest wait for an answer of the sandbox.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// What is kept of the log: everything, also of the libraries.
const FILTER: &str = "trace";

/// The log of this whole process. The panic hook stays what it was: tests tell why they fail.
pub(crate) fn log() -> Captured {
    static LOG: OnceLock<Captured> = OnceLock::new();
    LOG.get_or_init(|| {
        let hook = std::panic::take_hook();
        let captured = telemetry::capture(FILTER).unwrap();
        std::panic::set_hook(hook);
        captured
    })
    .clone()
}

/// The path of a call as the sandbox logs it.
pub(crate) const TOKEN: &str = "/v2/oauth2/token";
/// The path of the call that probes.
pub(crate) const USER: &str = "/v2/user";

/// One deployment.
pub(crate) struct TestApp {
    site: Option<Site>,
    home: Option<Home>,
    dev: DevJson,
    authority: Authority,
    callers: BTreeMap<&'static str, Caller>,
    http: Client,
    requests: AtomicU32,
    open_attempts: AtomicI64,
}

impl TestApp {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        Self::start_on(Home::new().await).await
    }

    /// Ends it and starts it again on the same state.
    pub(crate) async fn restart(self) -> Self {
        Self::start_on(self.stop().await).await
    }

    /// Starts one on what another left, or on an engine of the scenario's own choice.
    pub(crate) async fn start_on(home: Home) -> Self {
        let options = home.site();
        Self::start_as(home, options).await
    }

    /// Starts one that calls the provider at this pace.
    pub(crate) async fn start_paced(pace: Pace) -> Self {
        let home = Home::new().await;
        let options = SiteOptions { pace, ..home.site() };
        Self::start_as(home, options).await
    }

    async fn start_as(home: Home, options: SiteOptions) -> Self {
        let options = SiteOptions {
            grants: Some(GRANTS.to_owned()),
            // Tests count connections and calls: a further user's would blur them.
            has_app_owner: false,
            ..options
        };
        let site = Site::open(options, Some(log())).await.unwrap();
        let dev = site.dev().clone();
        let authority = Authority::trusted_beside(&dev.grpc.ca);
        site.reload().await;
        let callers = CALLERS.iter().map(|name| (*name, Caller::of_dev(&dev, name))).collect();
        let http = Client::builder().no_proxy().redirect(redirect::Policy::none()).timeout(ANSWER_MAX).build().unwrap();
        let (requests, open_attempts) = (AtomicU32::new(0), AtomicI64::new(0));
        Self { site: Some(site), home: Some(home), dev, authority, callers, http, requests, open_attempts }
    }

    /// How to reach it.
    pub(crate) const fn dev(&self) -> &DevJson {
        &self.dev
    }

    /// It, running.
    pub(crate) fn site(&self) -> &Site {
        self.site.as_ref().unwrap()
    }

    /// A client for the provider's side.
    pub(crate) const fn http(&self) -> &Client {
        &self.http
    }

    /// Nobody answers where the provider was; [`TestApp::restart`] brings it back.
    pub(crate) async fn lose_provider(&mut self) {
        self.site.as_mut().unwrap().lose_sandbox().await;
    }

    /// Where the product's own files lie.
    pub(crate) fn files(&self) -> &Path {
        self.site().dir()
    }

    /// A second authority that the product trusts: for callers that `dev.json` does not have.
    pub(crate) const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// A caller of `dev.json`.
    pub(crate) fn caller(&self, name: &str) -> &Caller {
        &self.callers[name]
    }

    /// A request id that was not used before.
    pub(crate) fn request_id(&self) -> String {
        format!("request-{}", self.requests.fetch_add(1, Ordering::Relaxed))
    }

    /// This scenario ends with so many attempts open.
    pub(crate) fn expect_open_attempts(&self, count: i64) {
        self.open_attempts.store(count, Ordering::Relaxed);
    }

    /// Moves the one clock of product and sandbox.
    pub(crate) async fn advance(&self, by: Duration) {
        self.control(Method::POST, "/clock", Some(json!({ "advance_s": by.as_secs() }))).await;
    }

    /// Waits for the work while time passes, a second at a time: between its two looks the product waits some.
    pub(crate) async fn while_time_passes<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        for _ in 0..LOOKS_MAX {
            tokio::select! {
                done = &mut work => return done,
                () = SystemClock.sleep(LOOK_EVERY) => self.advance(Duration::from_secs(1)).await,
            }
        }
        unreachable!("the call never came back");
    }

    /// Waits until it holds.
    pub(crate) async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        for _ in 0..LOOKS_MAX {
            if holds().await {
                return;
            }
            SystemClock.sleep(LOOK_EVERY).await;
        }
        unreachable!("{what} did not come about");
    }

    /// A call of the sandbox's control API.
    pub(crate) async fn control(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let mut request = self.http.request(method, format!("{}{path}", self.dev.sandbox.control));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let body = answer.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Scripts a fault of the sandbox.
    pub(crate) async fn fault(&self, plan: Value) {
        self.control(Method::POST, "/faults", Some(plan)).await;
    }

    /// How often the sandbox was called so far; of one path, or in all.
    pub(crate) async fn calls(&self, path: &str) -> usize {
        let filter = if path.is_empty() { String::new() } else { format!("?path={path}") };
        let answer = self.control(Method::GET, &format!("/calls{filter}"), None).await;
        answer["calls"].as_array().unwrap().len()
    }

    /// What the user does in the provider's settings: takes the access away.
    pub(crate) async fn revoke(&self, subject: &str) {
        let answer = self.control(Method::POST, &format!("/users/{subject}/revoke"), Some(json!({}))).await;
        assert_eq!(answer["revoked"], 1, "one live token was revoked");
    }

    /// Where its state is.
    pub(crate) fn home(&self) -> &Home {
        self.home.as_ref().unwrap()
    }

    /// Rows of the database, which it cannot change.
    pub(crate) async fn rows<T: AnyRow>(&self, query: impl Into<Statement>) -> Vec<T> {
        self.home().rows(query).await
    }

    /// Somebody who may write into the database.
    pub(crate) async fn intruder(&self) -> Intruder {
        self.home().intruder().await
    }

    /// Everything that AuditService hands out.
    pub(crate) async fn export(&self) -> Vec<ExportTrailResponse> {
        let stream = self.caller("auditor").audit().export_trail(ExportTrailRequest {}).await;
        let mut stream = stream.unwrap().into_inner();
        let mut pieces = Vec::new();
        while let Some(piece) = stream.message().await.unwrap() {
            pieces.push(piece);
        }
        pieces
    }

    /// Every event of every trail.
    pub(crate) async fn events(&self) -> Vec<Event> {
        events_of(&self.export().await)
    }

    /// Ends the scenario: everything must be in order.
    pub(crate) async fn close(self) {
        drop(self.stop().await);
    }

    /// As [`TestApp::close`], and leaves its state to look at.
    pub(crate) async fn stop(mut self) -> Home {
        let verdict = verdict_of(&self.export().await);
        assert!(verdict.holds(), "the trails verify: {:?} {:?}", verdict.integrity, verdict.completeness);
        let open: Vec<(i64,)> = self.rows("SELECT count(*) FROM attempts WHERE settled_at_us IS NULL").await;
        assert_eq!(open[0].0, self.open_attempts.load(Ordering::Relaxed), "attempts left open");
        self.callers.clear();
        self.site.take().unwrap().close().await;
        self.home.take().unwrap()
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        assert!(std::thread::panicking() || self.site.is_none(), "a scenario ends with TestApp::close");
    }
}
