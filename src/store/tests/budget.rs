//! Conformance of the budget of calls: several processes on one database.

use std::sync::Mutex;

use super::business::{Bench, store_suite};
use super::*;
use crate::domain::ambient::Timestamp;
use crate::domain::budget::{Answer, BID_FRESH, Lane, Pace};
use crate::domain::id::RunId;
use crate::store::budget::{Waiting, bid};
use crate::store::tx::record;

store_suite! {
    super::Bench,
    slots_that_several_processes_take_are_an_interval_apart,
    the_better_bid_of_another_process_goes_first_as_long_as_it_is_renewed,
    a_process_that_died_holds_up_nobody_for_long,
    a_throttled_call_slows_every_process_down,
    a_bid_that_was_withdrawn_is_gone,
}

/// Thirty calls in 1.5 s: one each 51.5 ms.
fn pace() -> Pace {
    Pace::new(30, Duration::from_millis(1_500))
}

fn run() -> RunId {
    RunId::generate(&SystemClock, &SystemEntropy)
}

fn waiting(lane: Lane) -> Waiting {
    Waiting { lane, waited: Duration::ZERO, calls: 1 }
}

/// Bids as a process would; with when the slot is, if it was granted.
async fn bid_as(bench: &Bench, run: RunId, waiting: Waiting) -> (Answer, Option<Timestamp>) {
    let store: &Store = &bench.store;
    let bidden = record!(store, "bid", tx => bid(tx, run, bench.app, pace(), waiting).await);
    let (answer, slots, _) = bidden.unwrap();
    (answer, answer.granted.map(|_| slots.next_at.minus(answer.interval)))
}

/// Bids until it is granted.
async fn take(bench: &Bench, run: RunId, lane: Lane) -> Timestamp {
    let since = SystemClock.boot();
    loop {
        let waiting = Waiting { waited: SystemClock.boot() - since, ..waiting(lane) };
        let (answer, slot) = bid_as(bench, run, waiting).await;
        if let Some(slot) = slot {
            return slot;
        }
        SystemClock.sleep(answer.ask_in).await;
    }
}

async fn slots_that_several_processes_take_are_an_interval_apart(bench: Bench) {
    let slots = Mutex::new(Vec::new());
    let process = async || {
        let run = run();
        for lane in [Lane::Merchant, Lane::Sweep, Lane::Merchant, Lane::Account, Lane::Exchange] {
            let slot = take(&bench, run, lane).await;
            slots.lock().unwrap().push(slot);
        }
    };
    tokio::join!(process(), process(), process(), process());
    let mut slots = slots.into_inner().unwrap();
    slots.sort_unstable();
    assert_eq!(slots.len(), 20);
    for pair in slots.windows(2) {
        assert!(pair[1].since(pair[0]) >= pace().interval(), "{pair:?}");
    }
}

async fn the_better_bid_of_another_process_goes_first_as_long_as_it_is_renewed(bench: Bench) {
    let (first, better) = (run(), run());
    let mut intruder = bench.ground.intruder().await;
    let mut beaten = 0;
    while beaten < 5 {
        let longest = Waiting { waited: BID_FRESH, ..waiting(Lane::Sweep) };
        intruder.run("UPDATE budgets SET next_at_us = next_at_us + 600000").await.unwrap();
        let (renewed, slot) = (SystemClock.boot(), bid_as(&bench, better, waiting(Lane::Merchant)).await.1);
        // The slot has come.
        intruder.run("UPDATE budgets SET next_at_us = 0").await.unwrap();
        let (answer, taken) = bid_as(&bench, first, longest).await;
        if slot.is_none() && SystemClock.boot() - renewed < BID_FRESH / 2 {
            assert_eq!((taken, answer.others), (None, [0, 1, 1, 1]), "a sweep waits, however long it has");
            assert!(bid_as(&bench, better, waiting(Lane::Merchant)).await.1.is_some());
            beaten += 1;
        }
        take(&bench, better, Lane::Merchant).await;
    }
}

async fn a_process_that_died_holds_up_nobody_for_long(bench: Bench) {
    take(&bench, run(), Lane::Exchange).await;
    let (dead, alive) = (run(), run());
    while bid_as(&bench, dead, waiting(Lane::Exchange)).await.1.is_some() {}
    let mut intruder = bench.ground.intruder().await;
    intruder.run("UPDATE budget_bids SET seen_at_us = seen_at_us - 1000000").await.unwrap();
    take(&bench, alive, Lane::Sweep).await;
    // A clock that was set back makes it no fresher.
    intruder.run("UPDATE budget_bids SET seen_at_us = seen_at_us + 3600000000").await.unwrap();
    take(&bench, alive, Lane::Sweep).await;
    intruder.run("UPDATE budget_bids SET seen_at_us = seen_at_us - 7200000000").await.unwrap();
    take(&bench, alive, Lane::Sweep).await;
    assert_eq!(intruder.number("SELECT COUNT(*) FROM budget_bids").await, 0, "it was removed at last");
}

async fn a_throttled_call_slows_every_process_down(bench: Bench) {
    let window = pace().window();
    for _ in 0..3 {
        assert_eq!(bench.store.slow_down(bench.app, pace()).await.unwrap(), 2, "calls under way say nothing new");
        let (answer, _) = bench.store.bid_for_slot(bench.app, pace(), waiting(Lane::Exchange)).await.unwrap();
        if answer.granted.is_none() {
            assert_eq!(answer.interval, pace().interval() * 2);
            assert!(answer.next_in <= window, "{answer:?}");
        }
    }
    let mut intruder = bench.ground.intruder().await;
    let (paused, slowed) = ("SELECT next_at_us FROM budgets", "SELECT slowed_until_us FROM budgets");
    let (paused, slowed) = (intruder.number(paused).await, intruder.number(slowed).await);
    assert!(slowed - paused >= 6_000_000, "slow for longer than nothing leaves: {paused} {slowed}");
    for slowdown in [4, 8, 8] {
        // A window goes by.
        intruder.run("UPDATE budgets SET slowed_until_us = slowed_until_us - 1500001").await.unwrap();
        assert_eq!(bench.store.slow_down(bench.app, pace()).await.unwrap(), slowdown);
    }
    intruder.run("UPDATE budgets SET next_at_us = 0, slowed_until_us = slowed_until_us - 9000001").await.unwrap();
    let (answer, _) = bench.store.bid_for_slot(bench.app, pace(), waiting(Lane::Exchange)).await.unwrap();
    assert_eq!((answer.granted, answer.interval), (Some(Duration::ZERO), pace().interval()), "all is as before");
}

async fn a_bid_that_was_withdrawn_is_gone(bench: Bench) {
    take(&bench, run(), Lane::Merchant).await;
    let mut intruder = bench.ground.intruder().await;
    intruder.run("UPDATE budgets SET next_at_us = next_at_us + 1000000").await.unwrap();
    let (answer, _) = bench.store.bid_for_slot(bench.app, pace(), waiting(Lane::Merchant)).await.unwrap();
    assert_eq!(answer.granted, None);
    assert_eq!(intruder.number("SELECT COUNT(*) FROM budget_bids").await, 1);
    bench.store.withdraw_bid(bench.app).await.unwrap();
    assert_eq!(intruder.number("SELECT COUNT(*) FROM budget_bids").await, 0);
}
