//! A whole site with people at it: the service over gRPC, the pages through a browser, the provider through its control API.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use reqwest::{Certificate, Method, StatusCode, redirect};
use serde_json::{Value, json};
use strongroom::demo::{Site, SiteOptions};
use strongroom::domain::ambient::{Clock as _, SystemClock};
use strongroom::domain::id::{ConnectionId, LinkId, TokenVersion, TrailId};
use strongroom::domain::trail::verify::{TrailReport, TrailVerifier, completeness};
use strongroom::domain::trail::{Event, EventKind, PublicKey, Record, Signature};
use strongroom::v1::audit_service_client::AuditServiceClient;
use strongroom::v1::export_trail_response::Piece;
use strongroom::v1::get_access_token_request::Owner;
use strongroom::v1::get_merchant_request::Merchant as Which;
use strongroom::v1::onboarding_service_client::OnboardingServiceClient;
use strongroom::v1::token_service_client::TokenServiceClient;
use strongroom::v1::{
    AttemptState, ConfirmConnectionRequest, ExportTrailRequest, GetAccessTokenRequest, GetAccessTokenResponse,
    GetMerchantRequest, Link, LinkDecision, LinkState, ListTokenVersionsRequest, Liveness, Merchant,
    ReportProviderErrorRequest, ReportProviderErrorResponse, ResolveHeldLinkRequest, StartAuthorizationRequest,
    StartAuthorizationResponse, TokenVersion as VersionView, TokenVersionRef, TrailKind, VerifyTokenRequest,
    list_token_versions_request, verify_token_request,
};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;
use url::Url;

use crate::support::database::Home;

/// Where a platform wants its merchants back; nobody is there.
pub(super) const RETURN_URL: &str = "https://platform.test/connected";
const PASSWORD: &str = "correct horse";
/// Longest wait for one answer: so that a hang fails.
const ANSWER_MAX: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// How often something is looked at before it counts as not happening.
const LOOKS_MAX: u32 = 800;

/// Somebody with an account at the provider.
#[derive(Clone)]
pub(super) struct Person {
    pub(super) id: u64,
    pub(super) email: String,
}

pub(super) struct Stage {
    /// Absent only while it is being restarted.
    site: Option<Site>,
    plain: reqwest::Client,
    channels: BTreeMap<&'static str, Channel>,
    requests: AtomicU32,
    options: SiteOptions,
    home: Home,
}

impl Stage {
    pub(super) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut SiteOptions)) -> Self {
        let home = Home::new().await;
        let mut options = home.site();
        // What these flows are about is told best without a further user and its calls.
        options.has_app_owner = false;
        change(&mut options);
        let plain = reqwest::Client::builder().no_proxy().timeout(ANSWER_MAX).build().unwrap();
        let site = Site::open(options.clone(), None).await.unwrap();
        let channels = channels(&site);
        Self { site: Some(site), plain, channels, requests: AtomicU32::new(0), options, home }
    }

    pub(super) const fn home(&self) -> &Home {
        &self.home
    }

    pub(super) fn site(&self) -> &Site {
        self.site.as_ref().unwrap()
    }

    /// Ends everything and starts it again on the same directory.
    pub(super) async fn restart(&mut self) {
        self.channels.clear();
        self.site.take().unwrap().close().await;
        let site = Site::open(self.options.clone(), None).await.unwrap();
        self.channels = channels(&site);
        self.site = Some(site);
    }

    pub(super) fn next_request(&self) -> String {
        format!("flows-{}", self.requests.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn onboarding(&self) -> OnboardingServiceClient<Channel> {
        OnboardingServiceClient::new(self.channels["onboarding"].clone())
    }

    fn tokens(&self) -> TokenServiceClient<Channel> {
        TokenServiceClient::new(self.channels["payments"].clone())
    }

    // The provider.

    pub(super) async fn control(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let url = format!("{}{path}", self.site().dev().sandbox.control);
        let mut request = self.plain.request(method, url);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    pub(super) async fn fault(&self, fault: Value) {
        self.control(Method::POST, "/faults", Some(fault)).await;
    }

    pub(super) async fn no_faults(&self) {
        self.control(Method::DELETE, "/faults", None).await;
    }

    pub(super) async fn advance(&self, seconds: u64) {
        self.control(Method::POST, "/clock", Some(json!({ "advance_s": seconds }))).await;
    }

    pub(super) async fn person(&self, name: &str) -> Person {
        let email = format!("{name}@shop.example");
        let wanted = json!({ "email": email, "password": PASSWORD, "first_name": name, "last_name": "Shop" });
        let made = self.control(Method::POST, "/users", Some(wanted)).await;
        Person { id: made["user_id"].as_u64().unwrap(), email }
    }

    pub(super) async fn revoke(&self, person: &Person) {
        let done = self.control(Method::POST, &format!("/users/{}/revoke", person.id), None).await;
        assert_ne!(done["revoked"], 0, "there was nothing to revoke");
    }

    /// How often this call came.
    pub(super) async fn calls(&self, path: &str) -> usize {
        let calls = self.control(Method::GET, &format!("/calls?path={path}"), None).await;
        calls["calls"].as_array().unwrap().len()
    }

    /// How often a code was sent.
    pub(super) async fn mints(&self) -> usize {
        self.calls("/oauth2/token").await
    }

    /// For each token the provider ever gave this person, oldest first: whether it is live there.
    pub(super) async fn live_there(&self, person: &Person) -> Vec<bool> {
        let state = self.control(Method::GET, "/state", None).await;
        let users = state["users"].as_array().unwrap();
        let user = users.iter().find(|user| user["user_id"] == person.id).unwrap();
        let mut tokens: Vec<_> = user["tokens"].as_array().unwrap().iter().collect();
        tokens.sort_by_key(|token| token["issued_at"].as_str().unwrap().to_owned());
        tokens.iter().map(|token| token["live"].as_bool().unwrap()).collect()
    }

    /// Whether the provider takes this token.
    pub(super) async fn works_there(&self, token: &str) -> bool {
        let url = format!("{}/user", self.site().dev().sandbox.api);
        let request = self.plain.post(url).bearer_auth(token).header("content-type", "application/json").body("{}");
        request.send().await.unwrap().status() == StatusCode::OK
    }

    /// Does the work while the one clock moves on, so that nobody waits for real time.
    pub(super) async fn while_time_passes<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = SystemClock.sleep(Duration::from_millis(100)) => self.advance(3).await,
            }
        }
    }

    // The API.

    pub(super) async fn start(&self, wanted: StartAuthorizationRequest) -> Result<StartAuthorizationResponse, Status> {
        self.onboarding().start_authorization(wanted).await.map(Response::into_inner)
    }

    pub(super) fn order(&self, external_id: &str, return_url: &str) -> StartAuthorizationRequest {
        StartAuthorizationRequest {
            request_id: self.next_request(),
            external_id: external_id.to_owned(),
            return_url: return_url.to_owned(),
            ..StartAuthorizationRequest::default()
        }
    }

    /// A link for this merchant, without a return URL, so that the status page has the last word.
    pub(super) async fn invite(&self, external_id: &str) -> Url {
        let invited = self.start(self.order(external_id, "")).await.unwrap();
        Url::parse(&invited.url).unwrap()
    }

    pub(super) async fn merchant(&self, external_id: &str) -> Merchant {
        let request = GetMerchantRequest { merchant: Some(Which::ExternalId(external_id.to_owned())) };
        self.onboarding().get_merchant(request).await.unwrap().into_inner().merchant.unwrap()
    }

    pub(super) async fn confirm(&self, merchant_id: &str, confirmation: &str) -> Result<Link, Status> {
        self.confirm_as(&self.next_request(), merchant_id, confirmation).await
    }

    pub(super) async fn confirm_as(&self, request: &str, merchant: &str, confirmation: &str) -> Result<Link, Status> {
        let request = ConfirmConnectionRequest {
            request_id: request.to_owned(),
            merchant_id: merchant.to_owned(),
            confirmation: confirmation.to_owned(),
        };
        Ok(self.onboarding().confirm_connection(request).await?.into_inner().link.unwrap())
    }

    pub(super) async fn resolve(&self, request: &str, link: &Link, decision: LinkDecision) -> Result<Link, Status> {
        let request = ResolveHeldLinkRequest {
            request_id: request.to_owned(),
            link_id: link.link_id.clone(),
            decision: decision.into(),
            reason: "the merchant told us on the phone".to_owned(),
        };
        let mut admin = OnboardingServiceClient::new(self.channels["admin"].clone());
        Ok(admin.resolve_held_link(request).await?.into_inner().link.unwrap())
    }

    pub(super) async fn read(&self, external_id: &str) -> Result<GetAccessTokenResponse, Status> {
        let owner = Some(Owner::ExternalId(external_id.to_owned()));
        let request = GetAccessTokenRequest { owner, min_version: None };
        self.tokens().get_access_token(request).await.map(Response::into_inner)
    }

    /// Reads the token of the connection that owns this account at the provider.
    pub(super) async fn read_account(&self, account: &str) -> Result<GetAccessTokenResponse, Status> {
        let owner = Some(Owner::ProviderAccountId(account.to_owned()));
        let request = GetAccessTokenRequest { owner, min_version: None };
        self.tokens().get_access_token(request).await.map(Response::into_inner)
    }

    /// From the next start on the product has the app owner's token.
    pub(super) fn give_owner(&mut self) {
        self.options.has_app_owner = true;
    }

    pub(super) async fn report(&self, version: &TokenVersionRef, code: &str) -> ReportProviderErrorResponse {
        let request = ReportProviderErrorRequest {
            request_id: self.next_request(),
            version: Some(version.clone()),
            error_code: code.to_owned(),
            error_description: String::new(),
            http_status: 401,
        };
        let mut tokens = self.tokens();
        let asked = tokens.report_provider_error(request);
        self.while_time_passes(asked).await.unwrap().into_inner()
    }

    /// Has the head probed; what is known of it then.
    pub(super) async fn verify_token(&self, external_id: &str) -> Liveness {
        let merchant = Some(verify_token_request::Merchant::ExternalId(external_id.to_owned()));
        let request = VerifyTokenRequest { request_id: self.next_request(), merchant };
        let mut tokens = self.tokens();
        let asked = tokens.verify_token(request);
        self.while_time_passes(asked).await.unwrap().into_inner().head.unwrap().liveness()
    }

    /// Every version, newest first.
    pub(super) async fn versions(&self, external_id: &str) -> Vec<VersionView> {
        let merchant = Some(list_token_versions_request::Merchant::ExternalId(external_id.to_owned()));
        let request = ListTokenVersionsRequest { merchant, ..ListTokenVersionsRequest::default() };
        self.tokens().list_token_versions(request).await.unwrap().into_inner().versions
    }

    /// The first consent of a merchant, confirmed: its token is live and can be read.
    pub(super) async fn connect(&self, external_id: &str, person: &Person) -> GetAccessTokenResponse {
        let invited = self.start(self.order(external_id, RETURN_URL)).await.unwrap();
        let browser = self.browser();
        let ended = browser.go_through(&Url::parse(&invited.url).unwrap(), person).await;
        assert_eq!(ended.outcome, "held", "{}", ended.title);
        let link = self.confirm(&invited.merchant_id, &ended.confirmation).await.unwrap();
        assert_eq!(link.state(), LinkState::Active);
        self.wait_for_identity_check(external_id).await;
        self.read(external_id).await.unwrap()
    }

    /// A new token is probed once after it was stored: nothing that is scripted after this meets that probe.
    pub(super) async fn wait_for_identity_check(&self, external_id: &str) {
        for _ in 0..LOOKS_MAX {
            if self.versions(external_id).await.first().is_some_and(|head| head.evidence == "probe") {
                return;
            }
            SystemClock.sleep(LOOK_EVERY).await;
        }
        panic!("the new token was never probed");
    }

    /// Connected, then revoked by the person, and known to be dead.
    pub(super) async fn connect_and_die(&self, external_id: &str, person: &Person) -> GetAccessTokenResponse {
        let held = self.connect(external_id, person).await;
        self.revoke(person).await;
        let told = self.report(held.version.as_ref().unwrap(), "1011").await;
        assert_eq!(told.head.unwrap().liveness(), Liveness::Dead);
        held
    }

    /// Waits until the merchant's attempt is in this state; its judge time in seconds since 1970.
    pub(super) async fn wait_for_attempt(&self, external_id: &str, state: AttemptState) -> Option<i64> {
        for _ in 0..LOOKS_MAX {
            let open = self.merchant(external_id).await.open_attempt;
            if let Some(open) = open.filter(|open| open.state() == state) {
                return open.judge_time.map(|time| time.seconds);
            }
            SystemClock.sleep(LOOK_EVERY).await;
        }
        panic!("no attempt in {state:?}");
    }

    /// Lets time pass until nothing is open for the merchant any more.
    pub(super) async fn wait_until_settled(&self, external_id: &str) {
        let settled = async {
            for _ in 0..LOOKS_MAX {
                if self.merchant(external_id).await.open_attempt.is_none() {
                    return;
                }
                SystemClock.sleep(LOOK_EVERY).await;
            }
            panic!("still open");
        };
        self.while_time_passes(settled).await;
    }

    /// Waits until nothing is open for the merchant any more, while no more time passes than does.
    pub(super) async fn wait_until_settled_by_itself(&self, external_id: &str) {
        self.until("settled", async || self.merchant(external_id).await.open_attempt.is_none()).await;
    }

    /// Waits until it holds.
    pub(super) async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        for _ in 0..LOOKS_MAX {
            if holds().await {
                return;
            }
            SystemClock.sleep(LOOK_EVERY).await;
        }
        panic!("{what}: did not come about");
    }

    /// Waits until the merchant's token is handed out as live.
    pub(super) async fn wait_until_live(&self, external_id: &str) {
        for _ in 0..LOOKS_MAX {
            if self.read(external_id).await.unwrap().liveness() == Liveness::Live {
                return;
            }
            SystemClock.sleep(LOOK_EVERY).await;
        }
        panic!("never live");
    }

    // The trail.

    /// Every event of the change trail, after every trail was verified.
    pub(super) async fn verified(&self) -> Vec<Event> {
        let mut audit = AuditServiceClient::new(self.channels["auditor"].clone());
        let mut pieces = audit.export_trail(ExportTrailRequest {}).await.unwrap().into_inner();
        let (mut key, mut reports, mut records) = (None, Vec::<TrailReport>::new(), Vec::<Record>::new());
        let (mut change, mut versions, mut links) = (None, Vec::new(), Vec::new());
        let mut open: Option<TrailVerifier> = None;
        while let Some(piece) = pieces.message().await.unwrap() {
            match piece.piece.unwrap() {
                Piece::PublicKey(bytes) => key = Some(PublicKey(bytes.try_into().unwrap())),
                Piece::Header(header) => {
                    reports.extend(open.take().map(|open| open.finish().unwrap()));
                    let id: TrailId = header.trail_id.parse().unwrap();
                    if header.kind() == TrailKind::Change {
                        assert_eq!(change.replace(id), None, "one change trail");
                    }
                    open = Some(TrailVerifier::new(id, key.unwrap()).unwrap());
                }
                Piece::Record(record) => {
                    let signature = Signature(record.signature.try_into().unwrap());
                    records.push(open.as_mut().unwrap().push_bytes(&record.record, &signature).unwrap());
                }
                Piece::Inventory(inventory) => {
                    let version = |one: &TokenVersionRef| {
                        (one.connection_id.parse::<ConnectionId>().unwrap(), TokenVersion(one.version))
                    };
                    versions.extend(inventory.versions.iter().map(version));
                    links.extend(inventory.link_ids.iter().map(|id| id.parse::<LinkId>().unwrap()));
                }
            }
        }
        reports.extend(open.take().map(|open| open.finish().unwrap()));
        let (changes, _): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| Some(record.trail) == change);
        let reads: Vec<_> = reports.into_iter().filter(|report| Some(report.trail) != change).collect();
        let complete = completeness(&changes, &reads, &versions, &links);
        assert!(complete.is_complete(), "{complete:?}");
        changes.into_iter().flat_map(|record| record.events).collect()
    }

    /// The reasons of the events of this kind, after every trail was verified.
    pub(super) async fn reasons(&self, kind: EventKind) -> Vec<String> {
        let events = self.verified().await;
        let of_kind = events.into_iter().filter(|event| event.kind == kind);
        of_kind.map(|event| event.reason.unwrap_or_default()).collect()
    }

    /// How attempts ended or came to be in doubt, oldest first, after every trail was verified. A token that was stored is how
    /// the trail says "committed".
    pub(super) async fn settlements(&self) -> Vec<String> {
        let told = self.verified().await.into_iter().filter_map(|event| match event.kind {
            EventKind::TokenStored => Some("committed".to_owned()),
            EventKind::AttemptSettled => event.reason,
            _ => None,
        });
        told.collect()
    }

    /// A browser that was nowhere yet.
    pub(super) fn browser(&self) -> Browser {
        let authority = Certificate::from_pem(&std::fs::read(&self.site().dev().public_ca).unwrap()).unwrap();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .timeout(ANSWER_MAX)
            .tls_certs_only([authority])
            .build()
            .unwrap();
        Browser { http, cookies: Mutex::default() }
    }
}

fn channels(site: &Site) -> BTreeMap<&'static str, Channel> {
    let dev = site.dev();
    let pem = |path: &Path| std::fs::read(path).unwrap();
    let channel = |name: &'static str| {
        let caller = &dev.callers[name];
        let tls = ClientTlsConfig::new()
            .ca_certificate(tonic::transport::Certificate::from_pem(pem(&dev.grpc.ca)))
            .domain_name(dev.grpc.server_name.clone())
            .identity(Identity::from_pem(pem(&caller.cert), pem(&caller.key)));
        let endpoint = Endpoint::from_shared(format!("https://{}", dev.grpc.address)).unwrap();
        (name, endpoint.timeout(ANSWER_MAX).tls_config(tls).unwrap().connect_lazy())
    };
    ["onboarding", "payments", "auditor", "admin"].into_iter().map(channel).collect()
}

/// A refusal as a program sees it.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) code: Code,
    pub(super) reason: String,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) retry: Option<Duration>,
}

pub(super) fn refused<T>(result: Result<T, Status>) -> Refused {
    let status = result.err().unwrap();
    let info = status.get_details_error_info().unwrap();
    let retry = status.get_details_retry_info().and_then(|info| info.retry_delay);
    Refused { code: status.code(), reason: info.reason, metadata: info.metadata.into_iter().collect(), retry }
}

/// The code and the reason alone.
pub(super) fn reason<T>(result: Result<T, Status>) -> (Code, String) {
    let refused = refused(result);
    (refused.code, refused.reason)
}

/// A page that was loaded, or a redirect that was not followed.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) status: StatusCode,
    pub(super) to: Option<Url>,
    pub(super) html: String,
}

impl Page {
    pub(super) fn title(&self) -> &str {
        self.html.split_once("<h1>").and_then(|(_, rest)| rest.split_once("</h1>")).map_or("", |(title, _)| title)
    }

    fn csrf(&self) -> String {
        let (_, rest) = self.html.split_once("name=\"csrf\" value=\"").unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    }
}

/// How a journey ended: on our status page, or at `return_url`.
#[derive(Clone, Default, Debug)]
pub(super) struct Ended {
    pub(super) title: String,
    pub(super) outcome: String,
    pub(super) confirmation: String,
}

/// One person's browser: cookies of our site and of the provider's.
pub(super) struct Browser {
    http: reqwest::Client,
    cookies: Mutex<BTreeMap<(String, String), String>>,
}

impl Browser {
    pub(super) async fn get(&self, url: &Url) -> Page {
        self.send(Method::GET, url, None).await
    }

    async fn post(&self, url: &Url, fields: &[(&str, &str)]) -> Page {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.send(Method::POST, url, Some(body)).await
    }

    /// A request that can be sent from anywhere, or dropped.
    pub(super) fn request(&self, url: &Url) -> reqwest::RequestBuilder {
        let cookies = self.cookies.lock().unwrap();
        let of_site = cookies.iter().filter(|((scheme, _), _)| scheme == url.scheme());
        let line = of_site.map(|((_, name), value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        let request = self.http.get(url.clone());
        if line.is_empty() { request } else { request.header("cookie", line) }
    }

    async fn send(&self, method: Method, url: &Url, body: Option<String>) -> Page {
        let mut request = self.request(url).build().unwrap();
        *request.method_mut() = method;
        if let Some(body) = body {
            let kind = "application/x-www-form-urlencoded".parse().unwrap();
            request.headers_mut().insert("content-type", kind);
            *request.body_mut() = Some(body.into());
        }
        let answer = self.http.execute(request).await.unwrap();
        for cookie in answer.headers().get_all("set-cookie") {
            let (pair, _) = cookie.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            let key = (url.scheme().to_owned(), name.to_owned());
            self.cookies.lock().unwrap().insert(key, value.to_owned());
        }
        let status = answer.status();
        let to = answer.headers().get("location").map(|to| url.join(to.to_str().unwrap()).unwrap());
        Page { status, to, html: answer.text().await.unwrap() }
    }

    /// Presses the button of our link.
    pub(super) async fn press(&self, link: &Url) -> Page {
        self.post(link, &[]).await
    }

    /// Presses the button; the provider's page it leads to.
    pub(super) async fn pressed(&self, link: &Url) -> Url {
        let page = self.press(link).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.title());
        page.to.unwrap()
    }

    /// Signs in and decides at the provider's page; the callback it leads to.
    pub(super) async fn decide(&self, authorize: &Url, person: &Person, decision: &str) -> Url {
        let mut page = self.get(authorize).await;
        if page.html.contains("value=\"login\"") {
            let fields = [("form", "login"), ("csrf", &page.csrf()), ("email", &person.email), ("password", PASSWORD)];
            let signed_in = self.post(authorize, &fields).await;
            page = self.get(&signed_in.to.unwrap()).await;
        }
        assert!(page.html.contains(&person.email), "somebody else is signed in: {}", page.html);
        let fields = [("form", "consent"), ("csrf", &page.csrf()), ("decision", decision)];
        self.post(authorize, &fields).await.to.unwrap()
    }

    /// Presses and grants; the callback that was not loaded yet.
    pub(super) async fn granted(&self, link: &Url, person: &Person) -> Url {
        let authorize = self.pressed(link).await;
        self.decide(&authorize, person, "grant").await
    }

    /// Loads the callback; the status page it leads to.
    pub(super) async fn call_back(&self, callback: &Url) -> Url {
        let page = self.get(callback).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.title());
        let to = page.to.unwrap();
        assert!(to.path().contains("/status/") && to.query().is_none(), "{to}");
        to
    }

    /// Waits on the status page until it says more than that it works on it.
    pub(super) async fn wait(&self, status: &Url) -> Ended {
        for _ in 0..LOOKS_MAX {
            let page = self.get(status).await;
            if let Some(to) = page.to {
                assert!(to.as_str().starts_with(RETURN_URL), "{to}");
                let query: BTreeMap<_, _> = to.query_pairs().into_owned().collect();
                let of = |name| query.get(name).cloned().unwrap_or_default();
                return Ended { title: String::new(), outcome: of("outcome"), confirmation: of("confirmation") };
            }
            assert_eq!(page.status, StatusCode::OK, "{}", page.title());
            if page.title() != "One moment" {
                return Ended { title: page.title().to_owned(), ..Ended::default() };
            }
            SystemClock.sleep(LOOK_EVERY).await;
        }
        panic!("the status page never said how it ended");
    }

    /// The whole journey.
    pub(super) async fn go_through(&self, link: &Url, person: &Person) -> Ended {
        let callback = self.granted(link, person).await;
        let status = self.call_back(&callback).await;
        self.wait(&status).await
    }
}
