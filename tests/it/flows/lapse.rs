//! A process that others took for dead while it lived: what it was about to send stays unsent, what it had sent is kept when the answer
//! comes, and it goes on as another run.

use serde_json::json;
use strongroom::v1::{AttemptState, GetAccessTokenResponse, Liveness};

use super::stage::{RETURN_URL, Stage};

/// Real milliseconds for which the provider keeps an answer back: longer than it takes to be declared dead and to come back.
const HELD_BACK_MS: u64 = 6_000;
/// Beyond two beats, and two looks at what dead processes left.
const SOON_S: u64 = 11;

/// Others had not seen the process for a lease.
async fn lapse(stage: &Stage) {
    let mut others = stage.home().intruder().await;
    for statement in ["DELETE FROM runs", "DELETE FROM duties"] {
        assert_eq!(others.execute(statement, &[]).await, 1, "{statement}");
    }
    others.close().await;
    stage.advance(SOON_S).await;
}

async fn read_trails(stage: &Stage) -> Vec<(i64,)> {
    let closed = "SELECT CASE WHEN closed_at_us IS NULL THEN CAST(0 AS BIGINT) ELSE CAST(1 AS BIGINT) END FROM trails \
                  WHERE kind = 'read' ORDER BY opened_at_us, id";
    stage.home().rows(closed).await
}

async fn works(stage: &Stage, token: &GetAccessTokenResponse) -> bool {
    stage.works_there(&token.access_token).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_after_its_process_was_taken_for_dead_is_kept_and_works() {
    let stage = Stage::new().await;
    let ann = stage.person("ann").await;
    stage.fault(json!({ "path": "/oauth2/token", "kind": "delay_after", "delay_ms": HELD_BACK_MS })).await;
    let browser = stage.browser();
    let callback = browser.granted(&stage.invite("shop-1").await, &ann).await;
    let status = browser.call_back(&callback).await;
    stage.wait_for_attempt("shop-1", AttemptState::Armed).await;
    lapse(&stage).await;
    stage.wait_for_attempt("shop-1", AttemptState::InDoubt).await;
    assert_eq!(browser.wait(&status).await.title, "We are waiting for certainty");

    stage.wait_until_settled_by_itself("shop-1").await;
    assert_eq!(browser.wait(&status).await.title, "Almost done");
    assert_eq!((stage.mints().await, stage.live_there(&ann).await), (1, vec![true]));
    assert_eq!(stage.settlements().await, ["in_doubt", "committed", "late"]);
    // The consent stands as any other does.
    let again = stage.start(stage.order("shop-1", RETURN_URL)).await;
    assert_eq!(super::stage::reason(again).1, "TOKEN_STILL_LIVE");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_late_for_a_merchant_with_a_dead_token_takes_its_place() {
    let stage = Stage::new().await;
    let ann = stage.person("ann").await;
    stage.connect_and_die("shop-1", &ann).await;
    let browser = stage.browser();
    let link = url::Url::parse(&stage.start(stage.order("shop-1", RETURN_URL)).await.unwrap().url).unwrap();
    let callback = browser.granted(&link, &ann).await;
    stage.fault(json!({ "path": "/oauth2/token", "kind": "delay_after", "delay_ms": HELD_BACK_MS })).await;
    let status = browser.call_back(&callback).await;
    stage.while_time_passes(stage.wait_for_attempt("shop-1", AttemptState::Armed)).await;
    lapse(&stage).await;
    stage.wait_for_attempt("shop-1", AttemptState::InDoubt).await;
    stage.wait_until_settled_by_itself("shop-1").await;
    assert_eq!(browser.wait(&status).await.outcome, "connected");
    stage.while_time_passes(stage.wait_until_live("shop-1")).await;
    let renewed = stage.read("shop-1").await.unwrap();
    assert_eq!((renewed.version.as_ref().unwrap().version, renewed.liveness()), (2, Liveness::Live));
    assert!(works(&stage, &renewed).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_process_had_only_received_is_never_sent_even_if_it_lives() {
    let stage = Stage::new().await;
    let ann = stage.person("ann").await;
    stage.connect_and_die("shop-1", &ann).await;
    let browser = stage.browser();
    let link = stage.invite("shop-1").await;
    let callback = browser.granted(&link, &ann).await;
    // The gate waits for its probe.
    stage.fault(json!({ "path": "/user", "kind": "delay_before", "delay_ms": HELD_BACK_MS })).await;
    let status = browser.call_back(&callback).await;
    stage.wait_for_attempt("shop-1", AttemptState::Received).await;
    lapse(&stage).await;
    stage.wait_until_settled_by_itself("shop-1").await;
    assert_eq!(browser.wait(&status).await.title, "You are not connected yet");
    stage.no_faults().await;
    // Its owner lives, finds that it is dead, and lets it be; the merchant goes on by another link.
    let link = url::Url::parse(&stage.start(stage.order("shop-1", RETURN_URL)).await.unwrap().url).unwrap();
    let ended = stage.while_time_passes(browser.go_through(&link, &ann)).await;
    assert_eq!(ended.outcome, "connected");
    assert_eq!((stage.mints().await, stage.live_there(&ann).await), (2, vec![false, true]));
    assert_eq!(stage.settlements().await, ["committed", "not_sent", "committed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_go_on_in_another_trail_when_theirs_was_closed() {
    let stage = Stage::new().await;
    let ann = stage.person("ann").await;
    let held = stage.connect("shop-1", &ann).await;
    assert_eq!(read_trails(&stage).await, [(0,)]);
    lapse(&stage).await;
    stage.until("the trail is closed", async || read_trails(&stage).await == [(1,)]).await;
    for _ in 0..3 {
        assert_eq!(stage.read("shop-1").await.unwrap().access_token, held.access_token);
    }
    assert_eq!(read_trails(&stage).await, [(1,), (0,)]);
    // Everything is there, and nothing is in doubt: a process that comes back leaves no gap.
    stage.verified().await;
}
