//! Outcomes nobody knows: a state of their own, never retried, judged when nothing more can happen (M4).

use serde_json::{Value, json};
use strongroom::domain::ambient::Clock as _;
use strongroom::v1::{AttemptState, Liveness, NextAction};
use tonic::Code;

use super::stage::{RETURN_URL, Stage, reason, refused};
use crate::support::database::Statement;

/// After this long the code can do nothing more; a good way beyond the 630 s.
const AFTER_QUIESCENCE_S: u64 = 700;

fn on_token(kind: &str) -> Value {
    json!({ "path": "/oauth2/token", "kind": kind })
}

fn answered(kind: &str, status: u16, code: Option<u16>) -> Value {
    let mut fault = on_token(kind);
    fault["status"] = json!(status);
    if let Some(code) = code {
        fault["error_code"] = json!(code);
    }
    fault
}

/// A first connect whose exchange meets this fault and ends in doubt; `was_minted` says whether the provider acted.
async fn a_first_connect_in_doubt(fault: Value, was_minted: bool) {
    let stage = Stage::new().await;
    let (ann, bob) = (stage.person("ann").await, stage.person("bob").await);
    stage.fault(fault).await;
    let browser = stage.browser();
    let link = stage.invite("shop-1").await;
    let callback = browser.granted(&link, &ann).await;
    let status = browser.call_back(&callback).await;
    assert_eq!(browser.wait(&status).await.title, "We are waiting for certainty");
    assert_eq!(stage.live_there(&ann).await, if was_minted { vec![true] } else { vec![] });

    let judge_at = stage.wait_for_attempt("shop-1", AttemptState::InDoubt).await.unwrap();
    let left = judge_at - stage.site().clock().now().as_unix_seconds();
    assert!((600..=631).contains(&left), "judged in {left} s");
    assert_eq!(stage.merchant("shop-1").await.next_action(), NextAction::Wait);
    let told = refused(stage.start(stage.order("shop-1", "")).await);
    assert_eq!((told.code, told.reason.as_str()), (Code::FailedPrecondition, "ATTEMPT_UNRESOLVED"));
    assert_eq!(told.metadata["attempt_state"], "in_doubt");
    assert!(told.metadata["judge_time"].starts_with("20"), "{:?}", told.metadata);
    assert!((600..=631).contains(&told.retry.unwrap().as_secs()), "{:?}", told.retry);
    assert_eq!(browser.press(&link).await.title(), "An earlier try is not finished");
    assert_eq!(reason(stage.read("shop-1").await).1, "NOT_CONNECTED");
    // Again and again: the callback, the code, the status page. Nothing is sent a second time.
    assert_eq!(browser.call_back(&callback).await, status);
    assert_eq!(stage.mints().await, 1);
    let of_bob = stage.connect("shop-2", &bob).await;
    assert!(stage.works_there(&of_bob.access_token).await, "another merchant is not affected");

    stage.advance(AFTER_QUIESCENCE_S).await;
    stage.wait_until_settled("shop-1").await;
    assert_eq!(browser.wait(&status).await.title, "You are not connected");
    assert_eq!(stage.merchant("shop-1").await.next_action(), NextAction::Connect);
    assert_eq!(stage.mints().await, 2, "judging mints nothing");

    let again = stage.connect("shop-1", &ann).await;
    assert_eq!(again.version.unwrap().version, 1);
    assert!(stage.works_there(&again.access_token).await);
    assert_eq!(stage.live_there(&ann).await, if was_minted { vec![false, true] } else { vec![true] });
    assert!(stage.works_there(&of_bob.access_token).await);
    let settled = stage.settlements().await;
    assert_eq!(settled, ["in_doubt", "committed", "lost", "committed"]);
}

#[tokio::test]
async fn a_call_lost_on_its_way_is_in_doubt_and_then_lost() {
    a_first_connect_in_doubt(on_token("lose_before"), false).await;
}

#[tokio::test]
async fn an_answer_lost_on_its_way_back_is_in_doubt_and_then_lost() {
    a_first_connect_in_doubt(on_token("lose_after"), true).await;
}

#[tokio::test]
async fn an_answer_that_ends_in_the_middle_is_in_doubt_and_then_lost() {
    a_first_connect_in_doubt(on_token("malformed"), true).await;
}

#[tokio::test]
async fn a_server_error_says_nothing_whether_it_came_before_or_after_the_mint() {
    a_first_connect_in_doubt(answered("status", 500, None), false).await;
    a_first_connect_in_doubt(answered("status_after", 502, None), true).await;
}

#[tokio::test]
async fn a_throttled_exchange_is_in_doubt() {
    a_first_connect_in_doubt(answered("status", 429, Some(1007)), false).await;
}

#[tokio::test]
async fn a_refused_code_is_over_at_once_and_the_same_link_goes_on() {
    let stage = Stage::new().await;
    let ann = stage.person("ann").await;
    let link = stage.invite("shop-1").await;
    let browser = stage.browser();
    for code in [1003, 1012] {
        stage.fault(answered("status", 400, Some(code))).await;
        assert_eq!(browser.go_through(&link, &ann).await.title, "You are not connected", "{code}");
        let merchant = stage.merchant("shop-1").await;
        assert_eq!((merchant.open_attempt, merchant.next_action), (None, NextAction::Connect.into()), "{code}");
    }
    // A code that really is too old.
    let callback = browser.granted(&link, &ann).await;
    stage.advance(11 * 60).await;
    let status = browser.call_back(&callback).await;
    assert_eq!(browser.wait(&status).await.title, "You are not connected");
    assert_eq!(stage.live_there(&ann).await, Vec::<bool>::new());

    assert_eq!(browser.go_through(&link, &ann).await.title, "Almost done");
    assert_eq!((stage.mints().await, stage.live_there(&ann).await), (4, vec![true]));
    let settled = stage.settlements().await;
    assert_eq!(settled, ["rejected", "rejected", "rejected", "committed"]);
}

#[tokio::test]
async fn a_renewal_in_doubt_is_lost_while_the_old_token_stays_dead() {
    for (fault, live) in [("lose_before", vec![false]), ("lose_after", vec![false, true])] {
        let stage = Stage::new().await;
        let ann = stage.person("ann").await;
        stage.connect_and_die("shop-1", &ann).await;
        stage.fault(on_token(fault)).await;
        let link = stage.invite("shop-1").await;
        let browser = stage.browser();
        let callback = browser.granted(&link, &ann).await;
        let status = browser.call_back(&callback).await;
        assert_eq!(stage.while_time_passes(browser.wait(&status)).await.title, "We are waiting for certainty");
        assert_eq!(stage.live_there(&ann).await, live, "{fault}");
        assert_eq!(reason(stage.read("shop-1").await).1, "TOKEN_DEAD");

        stage.advance(AFTER_QUIESCENCE_S).await;
        stage.wait_until_settled("shop-1").await;
        assert_eq!(browser.wait(&status).await.title, "You are not connected");
        assert_eq!(stage.merchant("shop-1").await.next_action(), NextAction::Reconnect);

        let invited = stage.start(stage.order("shop-1", RETURN_URL)).await.unwrap();
        let link = url::Url::parse(&invited.url).unwrap();
        let ended = stage.while_time_passes(browser.go_through(&link, &ann)).await;
        assert_eq!(ended.outcome, "connected", "{fault}");
        let renewed = stage.read("shop-1").await.unwrap();
        assert_eq!(renewed.version.unwrap().version, 2, "{fault}");
        assert!(stage.works_there(&renewed.access_token).await);
        assert_eq!((stage.live_there(&ann).await.last(), stage.mints().await), (Some(&true), 3));
        let settled = stage.settlements().await;
        assert_eq!(settled, ["committed", "in_doubt", "lost", "committed"], "{fault}");
    }
}

#[tokio::test]
async fn an_attempt_that_took_no_effect_is_seen_by_the_token_that_still_lives() {
    let stage = Stage::new().await;
    let ann = stage.person("ann").await;
    let first = stage.connect("shop-1", &ann).await;
    // The provider declares a live token dead: to the report's probe and to the gate's, twice each.
    let lie = json!({ "path": "/user", "kind": "status", "status": 401, "error_code": 1011, "times": 4 });
    stage.fault(lie).await;
    let told = stage.report(first.version.as_ref().unwrap(), "1011").await;
    assert_eq!(told.head.unwrap().liveness(), Liveness::Dead);
    stage.fault(on_token("lose_before")).await;
    let link = stage.invite("shop-1").await;
    let browser = stage.browser();
    let callback = browser.granted(&link, &ann).await;
    let status = browser.call_back(&callback).await;
    assert_eq!(stage.while_time_passes(browser.wait(&status)).await.title, "We are waiting for certainty");
    assert_eq!(stage.mints().await, 2);

    stage.advance(AFTER_QUIESCENCE_S).await;
    stage.wait_until_settled("shop-1").await;
    assert_eq!(browser.wait(&status).await.title, "You are already connected");
    let head = stage.read("shop-1").await.unwrap();
    assert_eq!((head.liveness(), &head.access_token), (Liveness::Live, &first.access_token));
    assert_eq!((stage.live_there(&ann).await, stage.mints().await), (vec![true], 2));
    assert_eq!(stage.settlements().await, ["committed", "in_doubt", "not_applied"]);
}

#[tokio::test]
async fn where_a_mint_revokes_nothing_the_head_is_suspect_while_in_doubt_and_live_again_after() {
    let stage = Stage::with(|options| (options.mint_revokes, options.token_revokes) = (false, false)).await;
    let ann = stage.person("ann").await;
    let first = stage.connect("shop-1", &ann).await;
    stage.fault(on_token("lose_before")).await;
    let link = stage.invite("shop-1").await;
    let browser = stage.browser();
    let callback = browser.granted(&link, &ann).await;
    let status = browser.call_back(&callback).await;
    assert_eq!(browser.wait(&status).await.title, "We are waiting for certainty");
    let doubted = stage.read("shop-1").await.unwrap();
    assert_eq!((doubted.liveness(), &doubted.access_token), (Liveness::Suspect, &first.access_token));
    // M4: it answers, and is still not called live while the exchange could yet hit it.
    assert_eq!(stage.verify_token("shop-1").await, Liveness::Suspect);

    stage.advance(AFTER_QUIESCENCE_S).await;
    stage.wait_until_settled("shop-1").await;
    stage.wait_until_live("shop-1").await;
    assert_eq!(stage.live_there(&ann).await, [true]);
    assert_eq!(stage.settlements().await, ["committed", "in_doubt", "not_applied"]);
}

#[tokio::test]
async fn an_attempt_in_doubt_is_not_judged_by_another_merchants_token() {
    let stage = Stage::new().await;
    let (ann, bob) = (stage.person("ann").await, stage.person("bob").await);
    stage.connect("shop-1", &ann).await;
    // The second merchant's first try ends with the wrong user signed in: a held link to the first one's connection.
    let link = stage.invite("shop-2").await;
    let wrong = stage.browser();
    assert_eq!(wrong.go_through(&link, &ann).await.title, "Almost done");
    assert!(stage.merchant("shop-2").await.links[0].shared);
    stage.wait_for_identity_check("shop-1").await;

    stage.fault(on_token("lose_after")).await;
    let link = stage.invite("shop-2").await;
    let browser = stage.browser();
    let callback = browser.granted(&link, &bob).await;
    let status = browser.call_back(&callback).await;
    assert_eq!(browser.wait(&status).await.title, "We are waiting for certainty");
    stage.advance(AFTER_QUIESCENCE_S).await;
    stage.wait_until_settled("shop-2").await;
    assert_eq!(browser.wait(&status).await.title, "You are not connected", "the other merchant's token proves nothing");
    assert!(stage.works_there(&stage.read("shop-1").await.unwrap().access_token).await);
    let settled = stage.settlements().await;
    assert_eq!(settled, ["committed", "committed", "in_doubt", "lost"]);
}

#[tokio::test]
async fn a_merchant_whose_token_cannot_be_opened_holds_up_no_other() {
    let stage = Stage::new().await;
    let (ann, bob) = (stage.person("ann").await, stage.person("bob").await);
    stage.connect_and_die("shop-1", &ann).await;
    stage.fault(json!({ "path": "/oauth2/token", "kind": "lose_before", "times": 2 })).await;
    for (shop, person) in [("shop-1", &ann), ("shop-2", &bob)] {
        let browser = stage.browser();
        let callback = browser.granted(&stage.invite(shop).await, person).await;
        let status = browser.call_back(&callback).await;
        assert_eq!(stage.while_time_passes(browser.wait(&status)).await.title, "We are waiting for certainty");
    }
    let spoil = Statement {
        sqlite: "UPDATE token_secrets SET ciphertext = zeroblob(200)",
        postgres: "UPDATE token_secrets SET ciphertext = decode(repeat('00', 200), 'hex')",
    };
    stage.home().intruder().await.execute(spoil, &[]).await;

    stage.advance(AFTER_QUIESCENCE_S).await;
    stage.wait_until_settled("shop-2").await;
    stage.wait_for_attempt("shop-1", AttemptState::InDoubt).await;
    assert_eq!(reason(stage.start(stage.order("shop-1", "")).await).1, "ATTEMPT_UNRESOLVED");
    assert_eq!(stage.settlements().await, ["committed", "in_doubt", "in_doubt", "lost"]);
}
