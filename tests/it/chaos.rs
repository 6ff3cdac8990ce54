//! What lies between the service and its database goes wrong: answers to commits are lost, connections are reset, swallow everything, or
//! are refused. Nothing is done twice, nothing is lost, nobody waits for ever, and afterwards it goes on by itself.

use std::time::Duration;

use crate::support::app::{TOKEN, TestApp, outcome_of};
use crate::support::database::{Engine, Home};
use crate::support::proxy::{End, Flow, Verdict, at_each_commit};

/// Why nothing here is for SQLite.
const ENGINE: &str = "there is nothing between the service and a file";
const UNAVAILABLE: &str = "UNAVAILABLE:STORE_UNAVAILABLE";
/// Longest wait of a caller for a read: a little over what the service gives itself.
const READ_MAX: Duration = Duration::from_secs(9);

async fn readiness(app: &TestApp) -> u16 {
    app.http().get(format!("{}/readyz", app.dev().ops_http)).send().await.unwrap().status().as_u16()
}

/// Merchants that connect while each so manieth commit goes wrong.
async fn connect_while(verdict: Verdict, nth: usize, merchants: usize) {
    let app = TestApp::start_on(Home::behind_proxy().await).await;
    app.home().proxy().watch(at_each_commit(nth, verdict));
    for number in 0..merchants {
        let shop = app.connected(&format!("shop-{number}")).await;
        assert_eq!(app.calls(TOKEN).await, number + 1, "{verdict:?}: one mint for each merchant");
        app.token(&shop).await;
    }
    let struck = app.home().proxy().struck();
    app.home().proxy().unwatch();
    assert!(struck >= merchants, "{verdict:?}: {struck}");
    let rows: Vec<(i64, i64)> =
        app.rows("SELECT (SELECT count(*) FROM merchants), (SELECT count(*) FROM token_versions)").await;
    let expected = i64::try_from(merchants).unwrap();
    assert_eq!(rows, [(expected, expected)], "{verdict:?}: nothing twice, nothing lost");
    // At its end the scenario verifies the trails: each change is on record once.
    app.close().await;
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_neither_repeated_nor_given_up() {
    if Engine::Postgres.is_for_this_run(ENGINE) {
        connect_while(Verdict::LoseAnswer, 3, 4).await;
    }
}

#[tokio::test]
async fn a_commit_that_was_sent_as_the_connection_broke_is_found_or_repeated() {
    if Engine::Postgres.is_for_this_run(ENGINE) {
        connect_while(Verdict::CutAfter, 3, 4).await;
    }
}

#[tokio::test]
async fn a_commit_that_never_arrived_is_repeated() {
    if Engine::Postgres.is_for_this_run(ENGINE) {
        connect_while(Verdict::CutBefore, 3, 4).await;
    }
}

#[tokio::test]
async fn connections_that_broke_while_idle_cost_no_call() {
    if !Engine::Postgres.is_for_this_run(ENGINE) {
        return;
    }
    let app = TestApp::start_on(Home::behind_proxy().await).await;
    let shop = app.connected("shop").await;
    for (number, how) in [End::Close, End::Reset, End::Close, End::Reset].into_iter().enumerate() {
        app.home().proxy().cut(how).await;
        app.token(&shop).await;
        app.home().proxy().cut(how).await;
        app.invite(&mut app.shop(&format!("shop-{number}"))).await.unwrap();
    }
    app.close().await;
}

#[tokio::test]
async fn without_a_database_every_call_ends_in_time_and_with_it_all_goes_on() {
    if !Engine::Postgres.is_for_this_run(ENGINE) {
        return;
    }
    let app = TestApp::start_on(Home::behind_proxy().await).await;
    let shop = app.connected("shop").await;
    assert_eq!(readiness(&app).await, 200);
    for how in ["refuses", "swallows", "is slow beyond measure"] {
        let proxy = app.home().proxy();
        match how {
            "refuses" => {
                proxy.refuse(true).await;
                proxy.cut(End::Reset).await;
            }
            "swallows" => proxy.flow(Flow::Swallow),
            _ => proxy.flow_to_client(Flow::Delay(Duration::from_secs(60 * 60))),
        }
        let read = tokio::time::timeout(READ_MAX, app.caller("payments").read("shop")).await;
        assert_eq!(outcome_of(&read.unwrap()), UNAVAILABLE, "a database that {how}");
        app.until("unreadiness", async || readiness(&app).await == 503).await;
        proxy.refuse(false).await;
        proxy.flow(Flow::Pass);
        proxy.cut(End::Close).await;
        app.until("readiness", async || readiness(&app).await == 200).await;
        app.token(&shop).await;
    }
    app.close().await;
}

#[tokio::test]
async fn a_slow_network_fails_nothing() {
    if !Engine::Postgres.is_for_this_run(ENGINE) {
        return;
    }
    let app = TestApp::start_on(Home::behind_proxy().await).await;
    app.home().proxy().flow(Flow::Delay(Duration::from_millis(10)));
    let shop = app.connected("shop").await;
    app.token(&shop).await;
    app.close().await;
}
