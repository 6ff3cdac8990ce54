//! One budget of calls for all processes: four servers register merchants at a provider that counts, as fast as they may and never faster,
//! and who holds a code does not wait behind them.
//!
//! `scripts/budget` does it at full length, and measures.

#![expect(clippy::print_stderr, reason = "what was measured is told")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use strongroom::demo::browser::{Arrival, Browser, Form};
use strongroom::domain::ambient::{Clock as _, SystemClock, Timestamp};
use strongroom::v1::{RegisterMerchantRequest, StartAuthorizationRequest};
use tonic::{Code, Request};
use tonic_types::StatusExt as _;
use url::Url;

use crate::support::app::{Caller, TOKEN};
use crate::support::database::Engine;
use crate::support::installation::Setting;
use crate::support::replicas::Replicas;

/// Servers.
const REPLICAS: usize = 4;
/// How many merchants are registered; set by `scripts/budget`.
const MERCHANTS: &str = "STRONGROOM_BUDGET_MERCHANTS";
/// How many there are among all other tests: what the provider allows in one window and a half, so that a burst shows.
const MERCHANTS_MIN: usize = 45;
/// Callers at once, of all servers together: some wait at each of them, always.
const CALLERS: usize = 24;
/// Longest wait of a caller.
const DEADLINE: Duration = Duration::from_secs(60);
/// What the provider allows, and in which time.
const CALLS_MAX: usize = 30;
const WINDOW: Duration = Duration::from_secs(10);
/// The time in which rates are measured at full length, how many registrations must be completed in each such time, and how soon an
/// exchange must have left.
const MEASURED: Duration = Duration::from_secs(100);
const COMPLETED_MIN: usize = 285;
const LEAVES_WITHIN: Duration = Duration::from_secs(1);
/// The share of all four is the provider's whole limit.
const SHARE: &str = "[budget]\nshare = 30\n";
const REGISTER: &str = "/v2/user/register";
/// A page for browsers: no call of ours.
const AUTHORIZE: &str = "/v2/oauth2/authorize";
const RETURN_URL: &str = "https://platform.test/connected";
const PASSWORD: &str = "correct horse battery";

#[expect(clippy::disallowed_methods, reason = "set by scripts/budget")]
fn merchants() -> usize {
    std::env::var(MERCHANTS).map_or(MERCHANTS_MIN, |text| text.parse().unwrap())
}

fn registration(number: usize) -> Request<RegisterMerchantRequest> {
    let seconds = SystemClock.now().as_unix_seconds();
    let mut request = Request::new(RegisterMerchantRequest {
        request_id: format!("register-{number}"),
        external_id: format!("shop-{number}"),
        display_name: format!("Shop {number}"),
        email: format!("owner-{number}@shop.test"),
        first_name: "Ann".to_owned(),
        last_name: "Shop".to_owned(),
        client_ip: "203.0.113.77".to_owned(),
        client_device: "Browser".to_owned(),
        terms_time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
        ..Default::default()
    });
    request.set_timeout(DEADLINE);
    request
}

/// Registers this merchant, coming back when told to: when it was done.
async fn register(caller: &Caller, number: usize) -> Timestamp {
    loop {
        match caller.onboarding().register_merchant(registration(number)).await {
            Ok(_) => return SystemClock.now(),
            Err(status) if status.code() == Code::ResourceExhausted => {
                let after = status.get_details_retry_info().and_then(|info| info.retry_delay).unwrap();
                SystemClock.sleep(after).await;
            }
            Err(status) => unreachable!("shop-{number}: {status:?}"),
        }
    }
}

/// A person who has an account at the provider goes to the point where the code is about to come back to us: its address.
async fn consent(replicas: &Replicas, browser: &mut Browser) -> Url {
    let user = json!({ "email": "late@shop.test", "password": PASSWORD, "first_name": "Lou", "last_name": "Late" });
    replicas.installation().control(Method::POST, "/users", Some(user)).await;
    let order = StartAuthorizationRequest {
        request_id: "authorize-late".to_owned(),
        external_id: "shop-late".to_owned(),
        display_name: "Late Shop".to_owned(),
        return_url: RETURN_URL.to_owned(),
        expected_email: "late@shop.test".to_owned(),
        ..Default::default()
    };
    let replica = &replicas.all()[0];
    let invited = replica.caller("onboarding").onboarding().start_authorization(order).await.unwrap().into_inner();
    browser.open(Url::parse(&invited.url).unwrap()).await.unwrap();
    let button = form(browser, |form| form.is_post);
    browser.submit(&button, &[], "").await.unwrap();
    let login = form(browser, |form| form.field("form") == Some("login"));
    browser.submit(&login, &[("email", "late@shop.test"), ("password", PASSWORD)], "").await.unwrap();
    let page = browser.page().url.clone().unwrap();
    let back = page.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1.into_owned();
    browser.stop_before(back);
    let consent = form(browser, |form| form.field("form") == Some("consent"));
    match browser.submit(&consent, &[], "grant").await.unwrap() {
        Arrival::Stopped(callback) => callback,
        Arrival::Page => unreachable!("the provider shows {}", browser.page().title()),
    }
}

fn form(browser: &Browser, is_it: impl Fn(&Form) -> bool) -> Form {
    let page = browser.page();
    let found = page.forms().into_iter().find(is_it);
    assert!(found.is_some(), "no such form: HTTP {} {}", page.status, page.title());
    found.unwrap()
}

/// A call as the provider saw it.
struct Seen {
    path: String,
    at: Timestamp,
    error: Option<u64>,
}

async fn calls(replicas: &Replicas) -> Vec<Seen> {
    let log = replicas.installation().control(Method::GET, "/calls", None).await;
    let calls = log["calls"].as_array().unwrap().iter().map(|call| Seen {
        path: call["path"].as_str().unwrap().to_owned(),
        at: time(&call["at"]),
        error: call["error_code"].as_u64(),
    });
    calls.collect()
}

fn time(value: &serde_json::Value) -> Timestamp {
    let format = &time::format_description::well_known::Rfc3339;
    let at = time::OffsetDateTime::parse(value.as_str().unwrap(), format).unwrap();
    Timestamp::from_micros(i64::try_from(at.unix_timestamp_nanos() / 1_000).unwrap())
}

/// The smallest number of these in any such time between the first and the last; nothing where they do not last that long.
fn fewest_within(times: &[Timestamp], length: Duration) -> Option<usize> {
    let (first, last) = (*times.first()?, *times.last()?);
    // Right behind each of them such a time begins in which the fewest are.
    let fewest = |from: Timestamp| times.iter().filter(|at| **at > from && **at <= from.plus(length)).count();
    times.iter().filter(|from| from.plus(length) <= last).map(|from| fewest(*from)).min().filter(|_| first < last)
}

/// The largest number of calls in any such time.
fn most_within(times: &[Timestamp], length: Duration) -> usize {
    times
        .iter()
        .map(|from| times.iter().filter(|at| **at >= *from && **at < from.plus(length)).count())
        .max()
        .unwrap_or(0)
}

async fn fill(throttle: &'static str) {
    if !Engine::Postgres.is_for_this_run("its database belongs to one process") {
        return;
    }
    let setting = Setting { throttle, tables: SHARE.to_owned(), ..Setting::default() };
    let replicas = Arc::new(Replicas::start(REPLICAS, setting).await.unwrap());
    let mut browser = Browser::new(&replicas.installation().dev().public_ca).unwrap();
    let callback = consent(&replicas, &mut browser).await;

    let (wanted, next) = (merchants(), Arc::new(AtomicUsize::new(0)));
    let registering: Vec<_> = (0..CALLERS)
        .map(|number| {
            let caller = replicas.all()[number % REPLICAS].caller("onboarding");
            let next = Arc::clone(&next);
            tokio::spawn(async move {
                let mut done = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= wanted {
                        return done;
                    }
                    done.push(register(&caller, number).await);
                }
            })
        })
        .collect();
    while next.load(Ordering::Relaxed) < wanted / 2 {
        SystemClock.sleep(Duration::from_millis(20)).await;
    }
    // In the middle of it somebody comes back with a code.
    let arrived = SystemClock.now();
    browser.stop_there_no_more();
    browser.stop_before(RETURN_URL);
    browser.follow(callback).await.unwrap();
    let mut done = Vec::new();
    for task in registering {
        done.extend(task.await.unwrap());
    }
    done.sort();

    let calls = calls(&replicas).await;
    let throttled = calls.iter().filter(|call| call.error == Some(1007)).count();
    let exchange = calls.iter().find(|call| call.path == TOKEN).unwrap();
    let left_after = exchange.at.since(arrived);
    let before_it = |call: &&Seen| call.path == REGISTER && call.at > arrived && call.at < exchange.at;
    let overtaken = calls.iter().filter(before_it).count();
    let times: Vec<_> = calls.iter().filter(|call| call.path != AUTHORIZE).map(|call| call.at).collect();
    let (most, fewest) = (most_within(&times, WINDOW), fewest_within(&done, MEASURED));
    let registered = calls.iter().filter(|call| call.path == REGISTER).count();
    let lasted = done.last().unwrap().since(*done.first().unwrap());
    eprintln!(
        "{throttle}: {registered} registrations in {lasted:.1?}; 1007: {throttled}; most calls in any {WINDOW:?}: {most}; fewest \
         completed in any {MEASURED:?}: {fewest:?}; the exchange left after {left_after:?}, behind {overtaken} registrations"
    );
    assert_eq!((throttled, registered, done.len()), (0, wanted, wanted));
    assert!(most <= CALLS_MAX, "{most} calls in {WINDOW:?}");
    // One slot may have been taken when it came, and one be taken by who did not know of it yet.
    assert!(overtaken <= 2, "the exchange waited behind {overtaken} registrations");
    if let Some(fewest) = fewest {
        assert!(fewest >= COMPLETED_MIN, "{fewest} in {MEASURED:?}");
        assert!(left_after <= LEAVES_WITHIN, "{left_after:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_servers_use_what_a_sliding_window_allows_and_never_more() {
    fill("sliding").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_servers_use_what_a_fixed_window_allows_and_never_more() {
    fill("fixed").await;
}
