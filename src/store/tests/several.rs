//! Conformance of processes that share a database: who lives, who leads, what a dead one leaves, and what comes back from one.
//!
//! On PostgreSQL there are two stores; on SQLite, where there can be one only, it is two runs by turns.

use super::business::{Bench, probed, request, store_suite};
use super::*;
use crate::domain::attempt::AttemptState;
use crate::domain::id::{RunId, TokenVersion};
use crate::domain::token::Liveness;
use crate::domain::trail::Act;

store_suite! {
    super::Bench,
    a_run_is_alive_until_it_ends,
    one_run_leads_at_a_time_and_the_next_takes_over,
    who_was_not_seen_for_a_lease_is_buried_unless_it_was_seen_since,
    what_a_buried_run_left_is_orphaned_and_it_can_arm_nothing_more,
    a_process_that_comes_back_goes_on_in_another_trail,
    a_damaged_trail_of_a_dead_process_stays_open_and_holds_up_no_other,
    a_token_that_comes_late_is_kept_as_a_suspect_head_where_there_is_none,
    a_token_that_comes_late_waits_beside_a_head_that_is_not_dead,
    a_token_that_comes_after_the_judgement_is_kept_as_well,
    only_what_was_given_up_in_doubt_can_come_late,
    of_several_candidates_the_others_wait_when_one_is_promoted,
    which_of_two_mints_came_in_between_is_told_by_the_trail_and_not_by_their_clocks,
    a_request_that_its_twin_carries_out_anew_is_not_forgotten,
}

mod first {
    use super::super::ground::Ground;

    super::store_suite! {
        super::super::super::Ground,
        two_first_starts_at_once_agree_on_one_deployment,
    }

    async fn two_first_starts_at_once_agree_on_one_deployment(ground: Ground) {
        super::first_starts(ground).await;
    }
}

const LEASE: Duration = Duration::from_secs(15);
const DUTY: Option<&str> = Some("background");

/// Two processes on one database; the first one's turn comes first.
struct Two {
    bench: Bench,
    /// The second process, where a second one can be.
    other: Option<Store>,
    runs: [RunId; 2],
}

impl Two {
    async fn on(bench: Bench) -> Self {
        let other = match &bench.ground {
            Ground::File(_) => None,
            Ground::Schema(_) => Some(stamped(&bench.ground).await),
        };
        let first = bench.store.run();
        let second = other.as_ref().unwrap_or(&bench.store).begin_run("second").await.unwrap();
        bench.store.become_run(first);
        Self { bench, other, runs: [first, second] }
    }

    fn first(&self) -> &Store {
        self.bench.store.become_run(self.runs[0]);
        &self.bench.store
    }

    fn second(&self) -> &Store {
        match &self.other {
            Some(other) => other,
            None => {
                self.bench.store.become_run(self.runs[1]);
                &self.bench.store
            }
        }
    }

    /// As if the second process had not been seen for an hour.
    async fn second_vanishes(&self) {
        let aged = "UPDATE runs SET seen_at_us = seen_at_us - 3600000000 WHERE name = 'second'";
        self.bench.ground.intruder().await.run(aged).await.unwrap();
    }

    async fn bury_second(&self) {
        self.second_vanishes().await;
        assert!(self.first().bury(self.runs[1], LEASE).await.unwrap());
    }
}

async fn a_run_is_alive_until_it_ends(bench: Bench) {
    let two = Two::on(bench).await;
    for store in [two.first(), two.second()] {
        let beat = store.beat(LEASE, None).await.unwrap();
        assert!(beat.alive && !beat.leads && beat.stale.is_empty(), "{beat:?}");
    }
    two.second().end_run().await.unwrap();
    let beat = two.second().beat(LEASE, DUTY).await.unwrap();
    assert!(!beat.alive && !beat.leads, "{beat:?}");
    assert!(two.first().beat(LEASE, DUTY).await.unwrap().leads, "who is nobody takes no duty");
    let long = "x".repeat(1_000);
    two.second().begin_run(&long).await.unwrap();
    let names = two.bench.ground.intruder().await.texts("SELECT name FROM runs WHERE name <> 'test'").await;
    assert_eq!(names, [&long[..128]]);
}

async fn one_run_leads_at_a_time_and_the_next_takes_over(bench: Bench) {
    let two = Two::on(bench).await;
    let leads = async || {
        let first = two.first().beat(LEASE, DUTY).await.unwrap().leads;
        (first, two.second().beat(LEASE, DUTY).await.unwrap().leads)
    };
    assert_eq!((leads().await, leads().await), ((true, false), (true, false)));
    // Given up, it is free at once.
    assert!(!two.first().beat(LEASE, None).await.unwrap().leads);
    assert!(two.second().beat(LEASE, DUTY).await.unwrap().leads);
    assert_eq!(leads().await, (false, true));
    // So it is at a clean end, and when its time is over without a word.
    two.second().end_run().await.unwrap();
    assert_eq!(leads().await, (true, false));
    let two = Two { runs: [two.runs[0], two.second().begin_run("second").await.unwrap()], ..two };
    let mut intruder = two.bench.ground.intruder().await;
    intruder.run("UPDATE duties SET until_us = until_us - 3600000000").await.unwrap();
    assert!(two.second().beat(LEASE, DUTY).await.unwrap().leads);
    assert!(!two.first().beat(LEASE, DUTY).await.unwrap().leads, "and does not come back by itself");
    assert_eq!(intruder.number("SELECT COUNT(*) FROM duties").await, 1);
}

async fn who_was_not_seen_for_a_lease_is_buried_unless_it_was_seen_since(bench: Bench) {
    let two = Two::on(bench).await;
    assert!(two.second().beat(LEASE, DUTY).await.unwrap().leads);
    assert!(!two.first().bury(two.runs[1], LEASE).await.unwrap(), "it was seen just now");
    two.second_vanishes().await;
    let stale = two.first().beat(LEASE, DUTY).await.unwrap().stale;
    assert_eq!(stale, [StaleRun { id: two.runs[1], name: "second".to_owned() }]);
    assert!(two.second().beat(LEASE, DUTY).await.unwrap().alive);
    assert!(!two.first().bury(two.runs[1], LEASE).await.unwrap(), "it showed itself in time");

    two.bury_second().await;
    assert!(!two.first().bury(two.runs[1], LEASE).await.unwrap(), "nobody dies twice");
    assert!(two.first().beat(LEASE, DUTY).await.unwrap().leads, "its duty went with it");
    assert!(!two.second().beat(LEASE, DUTY).await.unwrap().alive);
    // Alone with the database, the others go all at once.
    let two = Two { runs: [two.runs[0], two.second().begin_run("second").await.unwrap()], ..two };
    two.first().bury_others().await.unwrap();
    assert!(!two.second().beat(LEASE, DUTY).await.unwrap().alive);
    assert!(two.first().beat(LEASE, DUTY).await.unwrap().leads);
}

async fn what_a_buried_run_left_is_orphaned_and_it_can_arm_nothing_more(bench: Bench) {
    let two = Two::on(bench).await;
    let shops = [two.bench.shop("shop-1").await, two.bench.shop("shop-2").await, two.bench.shop("shop-3").await];
    let own = two.bench.received(&shops[0]).await;
    // What the second process claims, by its own store.
    let claim = async |shop| {
        let attempt = two.bench.received(shop).await;
        let text = format!(
            "UPDATE attempts SET run_id = (SELECT id FROM runs WHERE name = 'second') \
                            WHERE merchant_id = (SELECT id FROM merchants WHERE external_id = '{}')",
            shop.merchant.external_id
        );
        two.bench.ground.intruder().await.run(&text).await.unwrap();
        attempt
    };
    let received = claim(&shops[1]).await;
    let armed = claim(&shops[2]).await;
    let seen = two.second().seen_heads(shops[2].merchant.id).await.unwrap();
    assert!(two.second().arm(&armed, &seen, None, &Act::system()).await.unwrap());
    let armed = two.bench.attempt(armed.id).await;
    assert_eq!(two.first().orphaned_attempts().await.unwrap(), [], "everybody lives");

    two.bury_second().await;
    assert_eq!(two.first().orphaned_attempts().await.unwrap(), [received.clone(), armed.clone()]);
    let seen = two.second().seen_heads(shops[1].merchant.id).await.unwrap();
    let refused = two.second().arm(&received, &seen, None, &Act::system()).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    assert_eq!(two.bench.attempt(received.id).await, received, "nothing was changed");
    two.bench.settle(&received, AttemptState::NotSent).await.unwrap();
    two.bench.settle(&armed, AttemptState::InDoubt).await.unwrap();
    assert_eq!(two.first().orphaned_attempts().await.unwrap(), []);
    assert_eq!(two.bench.attempt(own.id).await, own);
}

async fn a_process_that_comes_back_goes_on_in_another_trail(bench: Bench) {
    let two = Two::on(bench).await;
    let mut of_first = two.first().open_read_trail("system").await.unwrap();
    let mut of_second = two.second().open_read_trail("system").await.unwrap();
    let closed = two.second().append_reads(&mut of_second, vec![event(EventKind::TokenRead); 2]).await.unwrap();
    two.first().close_orphaned_trails().await.unwrap();
    two.second().append_reads(&mut of_second, vec![event(EventKind::TokenRead)]).await.unwrap();

    two.bury_second().await;
    two.first().close_orphaned_trails().await.unwrap();
    let refused = two.second().append_reads(&mut of_second, vec![event(EventKind::TokenRead)]).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    // It finds out, begins anew, and what was to be recorded is.
    assert!(!two.second().beat(LEASE, DUTY).await.unwrap().alive);
    let two = Two { runs: [two.runs[0], two.second().begin_run("second").await.unwrap()], ..two };
    let head =
        two.second().append_reads_anew(&mut of_second, vec![event(EventKind::TokenRead); 3], "system").await.unwrap();
    assert_eq!((head.seq, of_second.head()), (1, head));
    assert_ne!(head.trail, closed.trail);
    two.second().append_reads_anew(&mut of_second, vec![event(EventKind::TokenRead)], "system").await.unwrap();
    assert_eq!(of_second.head().seq, 2, "opened once");
    two.first().append_reads(&mut of_first, vec![event(EventKind::TokenRead)]).await.unwrap();
    two.first().close_orphaned_trails().await.unwrap();

    let open = two.first().trails().await.unwrap().into_iter().filter(|trail| trail.closed_at.is_none());
    let open: Vec<_> = open.map(|trail| trail.head.trail).collect();
    assert_eq!(open, [two.first().change_trail(), of_first.id(), of_second.id()]);
    for (trail, events) in [(closed.trail, 3), (of_first.id(), 1), (of_second.id(), 4)] {
        assert_eq!(verified(two.first(), trail).await.len(), events);
    }
    let events = two.bench.events().await;
    let closing: Vec<_> = events.iter().filter(|event| event.kind == EventKind::TrailClosed).collect();
    assert_eq!(closing.len(), 1);
    assert_eq!((closing[0].trail, closing[0].reason.as_deref()), (Some(closed.trail), Some(CRASHED)));
    assert_eq!(closing[0].details["size"], "2");
    two.second().close_read_trail(of_second).await.unwrap();
}

async fn a_damaged_trail_of_a_dead_process_stays_open_and_holds_up_no_other(bench: Bench) {
    let two = Two::on(bench).await;
    let mut damaged = two.second().open_read_trail("system").await.unwrap();
    two.second().append_reads(&mut damaged, vec![event(EventKind::TokenRead)]).await.unwrap();
    let sound = two.second().open_read_trail("system").await.unwrap();
    let mut intruder = two.bench.ground.intruder().await;
    intruder.run("UPDATE trails SET seq = 7 WHERE kind = 'read' AND seq = 1").await.unwrap();
    two.bury_second().await;
    let told = two.first().close_orphaned_trails().await;
    assert!(matches!(told, Err(Error::Corrupt(_))), "{told:?}");
    let trails = two.first().trails().await.unwrap();
    let is_closed = |id| trails.iter().any(|trail| trail.head.trail == id && trail.closed_at.is_some());
    assert_eq!((is_closed(damaged.id()), is_closed(sound.id())), (false, true));
}

async fn a_token_that_comes_late_is_kept_as_a_suspect_head_where_there_is_none(bench: Bench) {
    let (act, shop) = (Act::system(), bench.shop("shop-1").await);
    let armed = bench.armed(&shop).await;
    bench.settle(&armed, AttemptState::InDoubt).await.unwrap();
    // Its owner knows nothing of that.
    let stored = bench.store.commit_token(&bench.token(armed.clone(), "100"), &act).await.unwrap();
    assert_eq!((stored.version, stored.is_head, stored.link.is_some()), (TokenVersion(1), true, true));
    assert_eq!(bench.attempt(armed.id).await.state, AttemptState::Late);
    let head = bench.store.head(stored.connection.id).await.unwrap().unwrap();
    assert_eq!((head.liveness, head.evidence.as_str(), head.candidate), (Liveness::Suspect, "late_answer", false));
    assert_eq!(bench.store.open_attempt_of(shop.merchant.id).await.unwrap(), None, "nothing stands in the way");
    let events = bench.events().await;
    let told: Vec<_> = events.iter().filter(|event| event.attempt == Some(armed.id)).collect();
    let told: Vec<_> = told[told.len() - 2..].iter().map(|event| (event.kind, event.reason.as_deref())).collect();
    assert_eq!(told, [(EventKind::TokenStored, None), (EventKind::AttemptSettled, Some("late"))]);
    // Once.
    let twice = bench.store.commit_token(&bench.token(armed, "100"), &act).await;
    assert!(matches!(twice, Err(Error::Conflict(_))), "{twice:?}");
}

async fn a_token_that_comes_late_waits_beside_a_head_that_is_not_dead(bench: Bench) {
    let act = Act::system();
    for promote in [true, false] {
        let shop = bench.shop(if promote { "shop-1" } else { "shop-2" }).await;
        let subject = if promote { "100" } else { "200" };
        let first = bench.connect(&shop, subject).await;
        let armed = bench.armed(&shop).await;
        bench.settle(&armed, AttemptState::InDoubt).await.unwrap();
        // A mint that revokes, by all that is known; but when?
        let stored = bench.store.commit_token(&bench.token(armed.clone(), subject), &act).await.unwrap();
        assert_eq!((stored.version, stored.is_head), (TokenVersion(2), false));
        let connection = first.connection.id;
        let head = bench.store.head(connection).await.unwrap().unwrap();
        assert_eq!((head.number, head.liveness), (TokenVersion(1), Liveness::Suspect));
        assert_eq!(bench.store.connections_with_candidates(None, 10).await.unwrap(), [connection]);
        assert!(bench.store.judge_candidate(&first.connection, TokenVersion(1), promote, &act).await.unwrap());
        let head = bench.store.head(connection).await.unwrap().unwrap();
        assert_eq!(head.number, TokenVersion(if promote { 2 } else { 1 }));
        assert_eq!(head.liveness, Liveness::Suspect, "a probe says more");
        assert_eq!(bench.store.connections_with_candidates(None, 10).await.unwrap(), []);
    }
}

async fn a_token_that_comes_after_the_judgement_is_kept_as_well(bench: Bench) {
    let act = Act::system();
    for (judged, subject) in [(AttemptState::Lost, "100"), (AttemptState::NotApplied, "200")] {
        let shop = bench.shop(subject).await;
        let given_up = bench.armed(&shop).await;
        bench.settle(&given_up, AttemptState::InDoubt).await.unwrap();
        bench.settle(&bench.attempt(given_up.id).await, judged).await.unwrap();
        // The merchant did not wait.
        let since = bench.connect(&shop, subject).await;
        let stored = bench.store.commit_token(&bench.token(given_up.clone(), subject), &act).await.unwrap();
        assert_eq!((stored.connection.id, stored.is_head), (since.connection.id, false), "{judged:?}");
        assert_eq!(bench.attempt(given_up.id).await.state, AttemptState::Late);
        let versions = bench.store.versions(since.connection.id).await.unwrap();
        let told: Vec<_> = versions.iter().map(|one| (one.number.0, one.candidate, one.liveness)).collect();
        assert_eq!(told, [(2, true, Liveness::Suspect), (1, false, Liveness::Suspect)], "{judged:?}");
    }
}

async fn only_what_was_given_up_in_doubt_can_come_late(bench: Bench) {
    let (act, shop) = (Act::system(), bench.shop("shop-1").await);
    let pretended = async |to| {
        let attempt = if to == AttemptState::Refused { bench.received(&shop).await } else { bench.armed(&shop).await };
        bench.settle(&attempt, to).await.unwrap();
        Attempt { state: AttemptState::Armed, ..attempt }
    };
    for to in [AttemptState::Refused, AttemptState::NotSent, AttemptState::Rejected] {
        let attempt = pretended(to).await;
        let refused = bench.store.commit_token(&bench.token(attempt.clone(), "100"), &act).await;
        assert!(matches!(refused, Err(Error::Conflict(_))), "{to:?}: {refused:?}");
        assert_eq!(bench.attempt(attempt.id).await.state, to);
    }
    assert_eq!(bench.store.version_keys_after(None, 10).await.unwrap(), []);
}

async fn of_several_candidates_the_others_wait_when_one_is_promoted(bench: Bench) {
    let (act, shop) = (Act::system(), bench.shop("shop-1").await);
    let first = bench.connect(&shop, "100").await;
    for _ in 0..2 {
        let armed = bench.armed(&shop).await;
        bench.settle(&armed, AttemptState::InDoubt).await.unwrap();
        bench.store.commit_token(&bench.token(armed, "100"), &act).await.unwrap();
    }
    let connection = &first.connection;
    let waiting = async || {
        let versions = bench.store.versions(connection.id).await.unwrap();
        versions.iter().filter(|one| one.candidate).map(|one| one.number.0).collect::<Vec<_>>()
    };
    assert_eq!(waiting().await, [3, 2]);
    assert!(bench.store.judge_candidate(connection, TokenVersion(1), true, &act).await.unwrap());
    assert_eq!(waiting().await, [2], "the newest to be stored need not be the newest to be issued");
    let dead = probed(Liveness::Dead, bench.store.clock.now());
    bench.store.record_liveness(connection.id, TokenVersion(3), dead, &act).await.unwrap();
    assert!(bench.store.judge_candidate(connection, TokenVersion(3), true, &act).await.unwrap());
    assert_eq!(bench.store.head(connection.id).await.unwrap().unwrap().number, TokenVersion(2));
    assert!(waiting().await.is_empty());
}

async fn which_of_two_mints_came_in_between_is_told_by_the_trail_and_not_by_their_clocks(bench: Bench) {
    let act = Act::system();
    let skew = Duration::from_secs(2);
    // By the clock of the process that armed it.
    let armed = async |shop: &str, is_ahead| {
        let attempt = bench.armed(&bench.shop(shop).await).await;
        let at = attempt.armed_at.unwrap();
        Attempt { armed_at: Some(if is_ahead { at.plus(skew) } else { at.minus(skew) }), ..attempt }
    };
    let one = armed("shop-1", false).await;
    let other = armed("shop-2", true).await;
    let first = bench.store.commit_token(&bench.token(one, "100"), &act).await.unwrap();
    let second = bench.store.commit_token(&bench.token(other, "100"), &act).await.unwrap();
    assert_eq!((first.is_head, second.is_head), (true, false), "either may have revoked the other");
    let head = bench.store.head(first.connection.id).await.unwrap().unwrap();
    assert_eq!((head.number, head.liveness), (TokenVersion(1), Liveness::Suspect));
    // Armed behind both of them, whatever its clock says: it revoked what was there.
    let last = armed("shop-3", false).await;
    let last = bench.store.commit_token(&bench.token(last, "100"), &act).await.unwrap();
    assert!(last.is_head);
    let versions = bench.store.versions(first.connection.id).await.unwrap();
    let told: Vec<_> = versions.iter().map(|one| (one.number.0, one.candidate, one.liveness)).collect();
    assert_eq!(told, [(3, false, Liveness::Live), (2, false, Liveness::Dead), (1, false, Liveness::Dead)]);
}

async fn a_request_that_its_twin_carries_out_anew_is_not_forgotten(bench: Bench) {
    let (request, event) = (request("again", 1), || event(EventKind::RegistrationRequested));
    let (given_up, anew) = ([1; 16], [2; 16]);
    bench.store.note_event(&request, &given_up, event()).await.unwrap();
    // Both of two processes read that it came to nothing; one was faster.
    bench.store.forget_request(&request, &given_up, event()).await.unwrap();
    bench.store.note_event(&request, &anew, event()).await.unwrap();
    let late = bench.store.forget_request(&request, &given_up, event()).await;
    assert!(matches!(late, Err(Error::Conflict(_))), "{late:?}");
    assert_eq!(bench.store.earlier(&request).await.unwrap(), Earlier::Same(anew));
}

async fn first_starts(ground: Ground) {
    let one = try_open(&ground, [1; 16]).await.unwrap();
    let other = match &ground {
        Ground::File(_) => None,
        Ground::Schema(_) => Some(try_open(&ground, [1; 16]).await.unwrap()),
    };
    let two = other.as_ref().unwrap_or(&one);
    let stamp = async |store: &Store| store.stamp("wepay", Environment::Stage, "4711").await;
    let (first, second) = tokio::join!(stamp(&one), stamp(two));
    assert_eq!(first.unwrap(), second.unwrap());
    assert_eq!(one.change_trail(), two.change_trail());
    append(two, event(EventKind::MerchantCreated)).await.unwrap();
    let events = verified(&one, one.change_trail()).await;
    assert_eq!(kinds(&events), [EventKind::DeploymentStamped, EventKind::MerchantCreated]);
}
