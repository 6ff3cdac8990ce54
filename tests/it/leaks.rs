//! Nothing secret lies about in clear: a whole journey with everything that can go wrong, then a search for the real values.
//!
//! Each kind of place has a positive control: something that must be found there by the same search.

mod registered;
mod server;
mod shell;

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;
use strongroom::demo::browser::Browser;
use strongroom::demo::search::{Needle, Search, files_below};
use strongroom::v1::{
    ConfirmConnectionRequest, CreateAccountRequest, GetAccessTokenRequest, GetAccessTokenResponse,
    ReportProviderErrorRequest, ResolveHeldLinkRequest, StartAuthorizationRequest, VerifyTokenRequest,
    create_account_request, get_access_token_request, verify_token_request,
};
use tonic::{Response, Status};
use url::Url;

use self::server::Since;
use crate::support::app::{RETURN_URL, Shop, TOKEN, TestApp, log, records_of};
use crate::support::database::Home;

/// Stands where texts of callers are meant to stand: trail, database, log.
const CANARY: &str = "canary_5d8e0b7a42c91f36";

/// How the sandbox's tokens begin, and how many digits after that are no accident.
const TOKEN_PREFIX: &str = "STAGE_";
const TOKEN_DIGITS_MIN: usize = 8;

/// A place that was searched.
struct Place {
    kind: &'static str,
    name: String,
    bytes: Vec<u8>,
}

/// Everything that was seen on the way and must not lie about.
#[derive(Default)]
struct Secrets {
    seen: BTreeSet<(String, String)>,
    errors: Vec<Vec<u8>>,
    /// What was answered and printed where no token was asked for: kind of place, name and bytes.
    said: Vec<(&'static str, String, Vec<u8>)>,
}

impl Secrets {
    fn add(&mut self, what: &str, secret: impl Into<String>) {
        self.seen.insert((what.to_owned(), secret.into()));
    }

    /// Keeps an answer that carries no token.
    fn answered<T: std::fmt::Debug>(&mut self, what: &str, answer: Result<Response<T>, Status>) -> T {
        let answer = answer.unwrap().into_inner();
        self.said.push(("answer", what.to_owned(), format!("{answer:?}").into_bytes()));
        answer
    }

    fn token(&mut self, read: &GetAccessTokenResponse) {
        self.seen.insert(("token".to_owned(), read.access_token.clone()));
    }

    /// Who they are, what they typed and what their browser carried.
    fn shop(&mut self, shop: &Shop) {
        let person = &shop.person;
        for (what, secret) in [
            ("first name", &person.first_name),
            ("last name", &person.last_name),
            ("e-mail", &person.email),
            ("password", &person.password),
            ("display name", &shop.display_name),
            ("confirmation", &shop.confirmation),
        ] {
            self.seen.insert((what.to_owned(), secret.clone()));
        }
        self.browser(&shop.browser);
        let key = shop.link.as_ref().and_then(|link| link.path().rsplit_once('.').map(|(_, key)| key.to_owned()));
        self.seen.extend(key.map(|key| ("key of a link".to_owned(), key)));
    }

    fn browser(&mut self, browser: &Browser) {
        for (name, value) in browser.hops().iter().flat_map(Url::query_pairs) {
            if matches!(name.as_ref(), "code" | "state" | "confirmation") {
                self.seen.insert((name.into_owned(), value.into_owned()));
            }
        }
        self.seen.extend(browser.cookie_values().map(|value| ("cookie".to_owned(), value.to_owned())));
    }

    /// Keeps everything that a refusal said.
    fn refused<T>(&mut self, result: Result<T, Status>, what: &str) {
        let Err(status) = result else { unreachable!("{what} was allowed") };
        self.errors.push(format!("{status:?} {status}").into_bytes());
        self.errors.push(status.message().as_bytes().to_vec());
        self.errors.push(status.details().to_vec());
        let metadata = status.metadata().clone().into_headers();
        self.errors.extend(metadata.values().map(|value| value.as_bytes().to_vec()));
    }

    fn search(&self, except: &[&str]) -> Search {
        let kept = self.seen.iter().filter(|(what, _)| !except.contains(&what.as_str()));
        let needles: Vec<Needle> = kept.filter_map(|(what, secret)| Needle::new(what, secret)).collect();
        assert!(!needles.is_empty());
        Search::new(&needles)
    }
}

/// Everything that can be refused is.
async fn refusals(app: &TestApp, shop: &Shop, held: &Shop, secrets: &mut Secrets) {
    for name in ["stranger", "onboarding", "auditor", "admin"] {
        secrets.refused(app.caller(name).read(&shop.external_id).await, name);
    }
    let onboarding = app.caller("onboarding");
    secrets.refused(app.caller("payments").read(&held.external_id).await, "a held link's token");
    secrets.refused(app.caller("payments").read("nobody-there").await, "nobody's token");
    secrets.refused(onboarding.onboarding().start_authorization(app.authorization(shop)).await, "a live one's link");
    let bad = StartAuthorizationRequest {
        expected_email: format!("{} {}", shop.person.email, "x".repeat(400)),
        display_name: "\u{202e}".to_owned(),
        return_url: format!("https://elsewhere.test/?code={}", shop.confirmation),
        ..app.authorization(held)
    };
    secrets.refused(onboarding.onboarding().start_authorization(bad).await, "a malformed order");
    let elsewhere = StartAuthorizationRequest {
        external_id: "another-shop".to_owned(),
        return_url: format!("https://elsewhere.test/?{}", shop.confirmation),
        ..app.authorization(held)
    };
    secrets.refused(onboarding.onboarding().start_authorization(elsewhere).await, "a foreign return_url");
    for confirmation in [shop.confirmation.clone(), format!("{}x", held.confirmation)] {
        let request_id = app.request_id();
        let request = ConfirmConnectionRequest { request_id, merchant_id: held.merchant_id.clone(), confirmation };
        secrets.refused(onboarding.onboarding().confirm_connection(request).await, "a wrong confirmation");
    }
    let version = app.token(shop).await;
    let report = ReportProviderErrorRequest {
        error_code: "not a code".to_owned(),
        error_description: format!("Bearer {}", version.access_token),
        ..app.report(version.version.as_ref().unwrap())
    };
    secrets.refused(app.caller("payments").tokens().report_provider_error(report).await, "a malformed report");
    let merchant = Some(verify_token_request::Merchant::ExternalId(held.external_id.clone()));
    let request = VerifyTokenRequest { request_id: app.request_id(), merchant };
    secrets.refused(app.caller("payments").tokens().verify_token(request).await, "a probe of a held link");
    // A description may carry the token, and is taken: classified, never kept.
    let report = ReportProviderErrorRequest {
        error_code: "1005".to_owned(),
        error_description: format!("bad parameter access_token={}", version.access_token),
        http_status: 400,
        ..app.report(version.version.as_ref().unwrap())
    };
    app.caller("payments").tokens().report_provider_error(report).await.unwrap();
}

/// Accounts, made and refused; the addresses that the provider keeps for notices belong to it alone.
async fn accounts(app: &TestApp, shop: &Shop, secrets: &mut Secrets) {
    let mut onboarding = app.caller("onboarding").accounts();
    let order = CreateAccountRequest {
        request_id: app.request_id(),
        merchant: Some(create_account_request::Merchant::ExternalId(shop.external_id.clone())),
        name: "Leaky Books".to_owned(),
        description: "books".to_owned(),
        ..CreateAccountRequest::default()
    };
    app.fault(json!({ "path": "/account/create", "kind": "lose_after" })).await;
    let made = onboarding.create_account(order.clone()).await.unwrap().into_inner().account.unwrap();
    let bad =
        CreateAccountRequest { request_id: app.request_id(), name: "ORD-2024-00012345".to_owned(), ..order.clone() };
    secrets.refused(onboarding.create_account(bad).await, "a name");
    app.fault(json!({ "path": "/account/create", "kind": "status", "status": 400, "error_code": 1003 })).await;
    let other = CreateAccountRequest { request_id: app.request_id(), ..order };
    secrets.refused(onboarding.create_account(other).await, "an account");
    let owner = Some(get_access_token_request::Owner::AccountId(made.account_id));
    let request = GetAccessTokenRequest { owner, min_version: None };
    secrets.token(app.caller("payments").tokens().get_access_token(request.clone()).await.unwrap().get_ref());
    secrets.refused(app.caller("stranger").tokens().get_access_token(request).await, "a token by account");
    let state = app.control(Method::GET, "/state", None).await;
    let addresses = state["accounts"].as_array().unwrap().iter().filter_map(|account| account["callback_uri"].as_str());
    let tags: Vec<_> =
        addresses.filter_map(|address| address.rsplit_once('/')).map(|(_, tag)| tag.to_owned()).collect();
    assert!(!tags.is_empty());
    secrets.seen.extend(tags.into_iter().map(|tag| ("tag of notices".to_owned(), tag)));
}

/// A journey whose exchange the provider answers by half a text: no token comes of it, and the attempt waits to be judged.
async fn malformed_exchange(app: &TestApp, secrets: &mut Secrets) {
    let mut shop = app.shop("garbled-shop");
    app.invite(&mut shop).await.unwrap();
    app.fault(json!({ "path": "/oauth2/token", "kind": "malformed" })).await;
    let minted = app.calls(TOKEN).await;
    shop.press().await;
    shop.grant().await;
    app.until("the exchange", async || app.calls(TOKEN).await == minted + 1).await;
    let is_in_doubt = async || {
        let rows: Vec<(i64,)> = app.rows("SELECT count(*) FROM attempts WHERE state = 'in_doubt'").await;
        rows[0].0 == 1
    };
    app.until("an attempt in doubt", is_in_doubt).await;
    secrets.refused(app.invite(&mut app.shop("garbled-shop")).await, "an unresolved one's link");
    secrets.shop(&shop);
    app.control(Method::DELETE, "/faults", None).await;
    app.expect_open_attempts(1);
}

/// Somebody finishes a merchant's journey as another merchant's user; a person closes the link, and says why.
async fn wrong_user(app: &TestApp, as_shop: &Shop, secrets: &mut Secrets) {
    let mut shop = app.shop("mixed-up-shop");
    secrets.shop(&shop);
    shop.person = as_shop.person.clone();
    app.invite(&mut shop).await.unwrap();
    assert_eq!(shop.travel().await, "held");
    secrets.shop(&shop);
    let confirmed = app.confirm(&shop).await;
    secrets.refused(confirmed, "a shared connection");
    let links: Vec<(Vec<u8>,)> =
        app.rows("SELECT id FROM links WHERE state = 'held' ORDER BY created_at_us DESC").await;
    let request = ResolveHeldLinkRequest {
        request_id: app.request_id(),
        link_id: strongroom::domain::id::LinkId::from_slice(&links[0].0).unwrap().to_string(),
        decision: strongroom::v1::LinkDecision::Close.into(),
        reason: CANARY.to_owned(),
    };
    app.caller("admin").onboarding().resolve_held_link(request).await.unwrap();
}

async fn places(app: &TestApp, secrets: &Secrets, since: Option<&Since>) -> Vec<Place> {
    let mut places = vec![Place { kind: "log", name: "the log".to_owned(), bytes: log().bytes() }];
    let error = |bytes: &Vec<u8>| Place { kind: "error", name: "a refusal".to_owned(), bytes: bytes.clone() };
    places.extend(secrets.errors.iter().map(error));
    let said = secrets.said.iter().cloned();
    places.extend(said.map(|(kind, name, bytes)| Place { kind, name, bytes }));
    let export = app.export().await;
    let record = |bytes: &[u8]| Place { kind: "record", name: "a trail record".to_owned(), bytes: bytes.to_vec() };
    places.extend(records_of(&export).into_iter().map(record));
    for path in files_below(app.files()).unwrap() {
        let name = path.strip_prefix(app.files()).unwrap().display().to_string();
        // Files of the operator's own; the product only reads them.
        if !matches!(name.as_str(), "client_secret" | "app_owner_token" | shell::CONFIG) {
            places.push(Place { kind: "file", name, bytes: std::fs::read(&path).unwrap_or_default() });
        }
    }
    if let Some(since) = since {
        places.extend(since.places(app.home().schema().unwrap()).await);
    }
    places
}

/// Our own pages' addresses and headers, as the browser saw them.
fn pages(app: &TestApp, browser: &Browser) -> Vec<Place> {
    let ours = |url: &&Url| url.as_str().starts_with(&app.dev().public_http) && !url.path().ends_with("/callback");
    let url = |url: &Url| Place { kind: "address", name: url.path().to_owned(), bytes: url.as_str().into() };
    let mut places: Vec<Place> = browser.hops().iter().filter(ours).map(url).collect();
    for (from, headers) in browser.answers().iter().filter(|(url, _)| url.as_str().starts_with(&app.dev().public_http))
    {
        for (name, value) in headers {
            let text = value.to_str().unwrap_or_default();
            // What must carry them: the way to the provider (state), the way home (confirmation), and the browser's own cookie.
            let leads_away = text.starts_with(&app.dev().sandbox.ui) || text.contains(RETURN_URL);
            if !(leads_away || name == "set-cookie") {
                let name = format!("{name} of {}", from.path());
                places.push(Place { kind: "header", name, bytes: value.as_bytes().to_vec() });
            }
        }
    }
    places
}

fn found(places: &[Place], search: &Search) -> BTreeSet<String> {
    let hits = |place: &Place| -> Vec<String> {
        let hits = search.find(&place.bytes);
        hits.into_iter().map(|hit| format!("{} ({}) in {} {}", hit.what, hit.form, place.kind, place.name)).collect()
    };
    places.iter().flat_map(hits).collect()
}

/// Whether there is something of the shape of a sandbox's token. By the text search of the standard library, which is fast also where
/// the tests are not: the log is long.
fn has_token_shaped(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.match_indices(TOKEN_PREFIX).any(|(at, _)| {
        let digits = text[at + TOKEN_PREFIX.len()..].bytes().take(TOKEN_DIGITS_MIN);
        digits.filter(u8::is_ascii_hexdigit).count() == TOKEN_DIGITS_MIN
    })
}

fn search_for(text: &str) -> Search {
    Search::new(&Needle::new("known", text).into_iter().collect::<Vec<_>>())
}

#[tokio::test]
async fn nothing_secret_lies_about_after_a_journey_with_everything_that_goes_wrong() {
    let home = Home::new().await;
    let since = match home.schema() {
        Some(schema) => Some(Since::now(schema).await),
        None => None,
    };
    let app = TestApp::start_on(home).await;
    let mut secrets = Secrets::default();
    secrets.add("client secret", &app.dev().sandbox.client_secret);
    let dashboard = app.control(Method::GET, "/app", None).await;
    secrets.add("the app owner's token", dashboard["owner_access_token"].as_str().unwrap());
    let held = app.held("waiting-shop").await;
    let mut shop = app.connected("leaky-shop").await;
    secrets.shop(&shop);
    secrets.shop(&held);
    secrets.token(&app.token(&shop).await);
    refusals(&app, &shop, &held, &mut secrets).await;
    accounts(&app, &shop, &mut secrets).await;
    let dead = app.kill(&shop).await;
    secrets.token(&dead);
    secrets.refused(app.caller("payments").read(&shop.external_id).await, "a dead token");
    secrets.token(&app.reconnect(&mut shop).await);
    secrets.shop(&shop);
    wrong_user(&app, &shop, &mut secrets).await;
    secrets.token(&app.token(&shop).await);
    malformed_exchange(&app, &mut secrets).await;
    for kind in ["malformed", "status_after"] {
        let status = (kind == "status_after").then_some(502);
        let plan = match status {
            Some(status) => json!({ "path": "/user", "kind": kind, "status": status }),
            None => json!({ "path": "/user", "kind": kind }),
        };
        app.fault(plan).await;
        let merchant = Some(verify_token_request::Merchant::ExternalId(shop.external_id.clone()));
        let request = VerifyTokenRequest { request_id: app.request_id(), merchant };
        app.caller("payments").tokens().verify_token(request).await.unwrap();
    }
    let stall = registered::furnish(&app, &mut secrets).await;
    shell::look_around(&app, &stall, &mut secrets).await;

    // Positive controls first, one for each kind of place.
    tracing::trace!("planted: {CANARY}");
    let connection = dead.version.as_ref().unwrap().connection_id.clone();
    let all = places(&app, &secrets, since.as_ref()).await;
    let of_server: &[&str] = if since.is_some() { &["row", "server log"] } else { &[] };
    for kind in [&["log", "record", "file"], of_server].concat() {
        let hits = found(&all, &search_for(CANARY));
        assert!(hits.iter().any(|hit| hit.contains(&format!("in {kind} "))), "the canary in a {kind}: {hits:?}");
    }
    // What the libraries say at their most talkative is searched too.
    for library in ["h2::", "hyper", "tonic", "tower"] {
        let said = all[0].bytes.windows(library.len()).any(|window| window == library.as_bytes());
        assert!(said, "nothing of {library} in the log");
    }
    let known = found(&all, &search_for(&connection));
    assert!(known.iter().any(|hit| hit.contains("in error ")), "the connection's id in a refusal: {known:?}");
    let known = search_for(registered::STALL);
    for kind in ["answer", "output"] {
        let mut those = all.iter().filter(|place| place.kind == kind);
        assert!(those.any(|place| !known.find(&place.bytes).is_empty()), "the merchant in an {kind}");
    }
    // A token that nobody has read does not lie about either: anything of the shape of one.
    let token = app.token(&shop).await.access_token;
    assert!(has_token_shaped(token.as_bytes()) && !has_token_shaped(TOKEN_PREFIX.as_bytes()));
    let shaped: Vec<&str> =
        all.iter().filter(|place| has_token_shaped(&place.bytes)).map(|place| place.name.as_str()).collect();
    assert!(shaped.is_empty(), "something like a token in {shaped:?}");
    let pages = pages(&app, &shop.browser);
    let id = shop.merchant_id.clone();
    let app_id: Vec<&str> = shop.link.as_ref().unwrap().path_segments().unwrap().collect();
    let known = found(&pages, &search_for(app_id[1]));
    assert!(
        !id.is_empty() && known.iter().any(|hit| hit.contains("in address ")),
        "the app's id in an address: {known:?}"
    );
    assert!(known.iter().any(|hit| hit.contains("in header ")), "the app's id in a header: {known:?}");

    let mut hits = found(&all, &secrets.search(&[]));
    // The key of a link is in its address by design.
    hits.extend(found(&pages, &secrets.search(&["key of a link"])));
    assert!(hits.is_empty(), "{hits:#?}");
    app.close().await;
}
