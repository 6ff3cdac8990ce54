//! Three hundred registrations while answers are lost at random: the provider's own call log accounts for every one.

#![expect(clippy::print_stderr, reason = "the seed and the counts belong to the report of the test")]

use std::collections::BTreeMap;
use std::sync::Mutex;

use reqwest::Method;
use serde_json::{Value, json};
use strongroom::domain::ambient::Timestamp;
use strongroom::v1::{Attempt, AttemptKind, AttemptState, ListAttemptsRequest, NextAction, RegisterMerchantRequest};
use tonic_types::StatusExt as _;

use super::{REGISTER, UNRESOLVED, address, metadata, shown};
use crate::support::app::{TestApp, outcome_of};

const MERCHANTS: usize = 300;
/// Registrations under way at a time.
const AT_ONCE: usize = 8;
/// Of a hundred calls so many meet a fault.
const LOST_OF_100: u64 = 20;
/// More rounds than any seed needs: each leaves a fifth of what the round before left.
const ROUNDS_MAX: usize = 12;
/// The seed, unless `STRONGROOM_LOST_SEED` gives one.
const SEED: u64 = 20_240_613;

/// SplitMix64: good enough to choose faults, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }
}

#[expect(clippy::disallowed_methods, reason = "the seed of a run that failed can be given again")]
fn seed() -> u64 {
    std::env::var("STRONGROOM_LOST_SEED").ok().map_or(SEED, |seed| seed.parse().unwrap())
}

/// What goes wrong with the next call of this path, if anything does.
fn fault(path: &str, dice: &mut Dice) -> Option<Value> {
    let is_hit = dice.below(100) < LOST_OF_100;
    let plan = match dice.below(5) {
        0 => json!({ "path": path, "kind": "lose_before" }),
        1 => json!({ "path": path, "kind": "lose_after" }),
        2 => json!({ "path": path, "kind": "malformed" }),
        3 => json!({ "path": path, "kind": "status", "status": 503 }),
        _ => json!({ "path": path, "kind": "status_after", "status": 502 }),
    };
    is_hit.then_some(plan)
}

/// A call of the sandbox's log.
struct Sent {
    at: Timestamp,
    email_sha256: String,
}

impl TestApp {
    /// Registers these merchants, some at a time, each once. Whose registration is in doubt comes back.
    async fn register_all(&self, names: Vec<String>, dice: &Mutex<Dice>) -> Vec<String> {
        let (left, doubtful) = (Mutex::new(names), Mutex::new(Vec::new()));
        let one_after_another = || async {
            loop {
                let Some(name) = left.lock().unwrap().pop() else { return };
                for path in ["/user/register", "/user"] {
                    let plan = fault(path, &mut dice.lock().unwrap());
                    if let Some(plan) = plan {
                        self.fault(plan).await;
                    }
                }
                let order: RegisterMerchantRequest = self.registration(&name, &address(&name));
                match self.register(&order).await {
                    Ok(made) => assert_eq!(made.next_action(), NextAction::GetConfirmed, "{name}"),
                    Err(refused) => {
                        assert_eq!(outcome_of::<()>(&Err(refused.clone())), UNRESOLVED, "{name}");
                        assert_eq!(metadata(&refused, "attempt_state"), "in_doubt", "{name}");
                        assert!(refused.get_details_retry_info().is_some(), "{name}");
                        doubtful.lock().unwrap().push(name);
                    }
                }
            }
        };
        let mut lanes: Vec<_> = (0..AT_ONCE).map(|_| Box::pin(one_after_another())).collect();
        std::future::poll_fn(|context| {
            lanes.retain_mut(|lane| lane.as_mut().poll(context).is_pending());
            if lanes.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        drop(lanes);
        doubtful.into_inner().unwrap()
    }

    /// Every attempt to register, by merchant, oldest first.
    async fn registrations(&self) -> BTreeMap<String, Vec<Attempt>> {
        let mut by_merchant: BTreeMap<String, Vec<Attempt>> = BTreeMap::new();
        let mut request =
            ListAttemptsRequest { page_size: 100, kind: AttemptKind::Register.into(), ..Default::default() };
        loop {
            let page = self.caller("auditor").tokens().list_attempts(request.clone()).await.unwrap().into_inner();
            for attempt in page.attempts {
                by_merchant.entry(attempt.merchant_id.clone()).or_default().insert(0, attempt);
            }
            if page.next_page_token.is_empty() {
                return by_merchant;
            }
            request.page_token = page.next_page_token;
        }
    }

    async fn sent(&self) -> Vec<Sent> {
        let log = self.control(Method::GET, &format!("/calls?path={REGISTER}"), None).await;
        let sent = log["calls"].as_array().unwrap().iter().map(|call| Sent {
            at: Timestamp::parse_rfc3339(call["at"].as_str().unwrap()).unwrap(),
            email_sha256: call["email_sha256"].as_str().unwrap().to_owned(),
        });
        sent.collect()
    }
}

fn instant(at: Option<&prost_types::Timestamp>) -> Timestamp {
    let at = at.unwrap();
    Timestamp::from_micros(at.seconds * 1_000_000 + i64::from(at.nanos / 1_000))
}

#[tokio::test]
async fn whatever_answers_are_lost_no_address_is_sent_twice_except_after_a_loss_that_the_report_names() {
    let seed = seed();
    eprintln!("STRONGROOM_LOST_SEED={seed}");
    let dice = Mutex::new(Dice(seed));
    let app = TestApp::start().await;
    let names: Vec<String> = (0..MERCHANTS).map(|number| format!("merchant-{number}")).collect();
    let (mut waiting, mut rounds) = (names.clone(), 0);
    while !waiting.is_empty() {
        rounds += 1;
        assert!(rounds <= ROUNDS_MAX, "{} merchants are never registered", waiting.len());
        waiting = app.register_all(waiting, &dice).await;
        app.advance(std::time::Duration::from_secs(81)).await;
        for name in &waiting {
            app.settled(name).await;
        }
    }
    app.no_faults().await;

    let (sent, mut attempts) = (app.sent().await, app.registrations().await);
    assert_eq!(attempts.len(), MERCHANTS);
    let there = app.live_there().await;
    let mut lost = 0;
    for name in &names {
        let token = app.caller("payments").read(name).await.unwrap();
        let attempts = attempts.remove(&token.merchant_id).unwrap();
        let (last, before) = attempts.split_last().unwrap();
        assert_eq!(last.state(), AttemptState::Committed, "{name}");
        assert_eq!(last.version, token.version, "{name}");
        assert!(before.iter().all(|attempt| attempt.state() == AttemptState::Lost), "{name}: {before:?}");
        lost += before.len();
        // One call for each attempt, within its time, and none besides: the next one only after the one before was lost.
        let hash = shown(&address(name));
        let calls: Vec<&Sent> = sent.iter().filter(|call| hash.starts_with(&call.email_sha256)).collect();
        assert_eq!(calls.len(), attempts.len(), "{name}: {attempts:?}");
        for (call, attempt) in calls.iter().zip(&attempts) {
            let within = instant(attempt.arm_time.as_ref())..=instant(attempt.change_time.as_ref());
            assert!(within.contains(&call.at), "{name}: sent at {}, {attempt:?}", call.at.to_rfc3339());
        }
        // And the token that is handed out lives.
        assert!(there[&token.subject].contains(&shown(&token.access_token)), "{name}");
        assert!(app.works_there(&token.access_token).await, "{name}");
    }
    assert_eq!(sent.len(), MERCHANTS + lost, "every call is accounted for");
    assert!(lost >= MERCHANTS / 10, "only {lost} answers were lost: the faults do not bite");
    let committed: Vec<(i64,)> =
        app.rows("SELECT count(*) FROM attempts WHERE kind = 'register' AND state = 'committed'").await;
    assert_eq!(usize::try_from(committed[0].0).unwrap(), MERCHANTS);
    eprintln!("{MERCHANTS} registered in {rounds} rounds, {lost} answers lost; STRONGROOM_LOST_SEED={seed}");
    app.close().await;
}
