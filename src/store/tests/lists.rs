//! Conformance of what people look through: records by time, attempts, the call log. Written once, run on every engine.

use sqlx::Row as _;

use super::business::{Bench, store_suite};
use super::*;
use crate::domain::ambient::Timestamp;
use crate::domain::attempt::AttemptState;
use crate::domain::id::{AttemptId, ConnectionId, ProviderCallId, TokenVersion};
use crate::domain::provider_call::{About, CallOutcome, ProviderCall};
use crate::domain::trail::Record;

store_suite! {
    super::Bench,
    records_come_newest_first_from_any_place,
    changes_about_one_merchant_or_connection_are_found_apart,
    a_record_that_was_moved_is_not_handed_out,
    attempts_come_newest_first_with_the_version_they_brought,
    a_call_is_logged_once_however_often_it_is_written,
    calls_are_found_by_what_they_are_about,
    old_calls_are_pruned_in_batches_and_the_others_stay,
}

const EVER: Timestamp = Timestamp::from_micros(i64::MIN);

async fn decoded(store: &Store, trail: TrailId) -> Vec<Record> {
    whole(store, trail).await.iter().map(|sealed| cbor::decode(&sealed.bytes).unwrap()).collect()
}

/// Every record of this kind, newest first, a page of so many at a time.
async fn walked(store: &Store, of: RecordsOf, oldest: Timestamp, limit: u32) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    let mut from = RecordPlace::LAST;
    loop {
        let page = store.records_down_from(of, from, oldest, limit).await.unwrap();
        let Some(last) = page.last() else { return records };
        assert!(page.len() <= usize::try_from(limit).unwrap());
        from = RecordPlace::of(last).below();
        records.extend(page);
    }
}

/// Two read trails beside the change trail: everything sorted as it must come.
async fn furnished(bench: &Bench) -> (Vec<Record>, Vec<Record>) {
    let store = &bench.store;
    let mut reads = Vec::new();
    let mut trails = Vec::new();
    for _ in 0..2 {
        trails.push(store.open_read_trail("system").await.unwrap());
    }
    for round in 0..5 {
        bench.shop(&format!("shop-{round}")).await;
        for trail in &mut trails {
            let events = vec![event(EventKind::TokenRead), event(EventKind::MerchantRead)];
            store.append_reads(trail, events).await.unwrap();
        }
    }
    for trail in &trails {
        reads.extend(decoded(store, trail.id()).await);
    }
    let mut changes = decoded(store, store.change_trail()).await;
    for records in [&mut changes, &mut reads] {
        records.sort_by_key(|record| std::cmp::Reverse(RecordPlace::of(record)));
    }
    assert!(changes.len() > 10 && reads.len() == 10);
    (changes, reads)
}

async fn records_come_newest_first_from_any_place(bench: Bench) {
    let (changes, reads) = furnished(&bench).await;
    for limit in [1, 3, 1_000] {
        assert_eq!(walked(&bench.store, RecordsOf::Changes, EVER, limit).await, changes, "by {limit}");
        assert_eq!(walked(&bench.store, RecordsOf::Reads, EVER, limit).await, reads, "by {limit}");
    }
    // From the place of every record, and from places of the same time in trails before and behind all others.
    for at in changes.iter().chain(&reads).map(RecordPlace::of) {
        let ends = [[0; 16], [0xff; 16]].map(|id| RecordPlace { trail: TrailId::from_bytes(id), ..at });
        for from in [at, at.below(), RecordPlace::before(at.time)].into_iter().chain(ends) {
            for (of, all) in [(RecordsOf::Changes, &changes), (RecordsOf::Reads, &reads)] {
                let found = bench.store.records_down_from(of, from, EVER, 1_000).await.unwrap();
                let expected: Vec<Record> =
                    all.iter().filter(|record| RecordPlace::of(record) <= from).cloned().collect();
                assert_eq!(found, expected, "{of:?} from {from:?}");
            }
        }
    }
    let oldest = changes[3].time;
    let expected: Vec<Record> = changes.iter().filter(|record| record.time >= oldest).cloned().collect();
    assert_eq!(walked(&bench.store, RecordsOf::Changes, oldest, 2).await, expected);
    assert_eq!(walked(&bench.store, RecordsOf::Reads, Timestamp::from_micros(i64::MAX), 2).await, []);
}

async fn changes_about_one_merchant_or_connection_are_found_apart(bench: Bench) {
    let (shop, other) = (bench.shop("shop-1").await, bench.shop("shop-2").await);
    let stored = bench.connect(&shop, "100").await;
    bench.activate(&stored).await;
    bench.connect(&other, "200").await;
    let all = walked(&bench.store, RecordsOf::Changes, EVER, 1_000).await;
    let (merchant, connection) = (shop.merchant.id, stored.connection.id);
    let those = |fits: &dyn Fn(&Event) -> bool| -> Vec<Record> {
        all.iter().filter(|record| fits(&record.events[0])).cloned().collect()
    };
    let of_merchant = those(&|event| event.merchant == Some(merchant));
    let of_connection = those(&|event| event.connection == Some(connection));
    assert!(of_merchant.len() > 3 && of_connection.len() > 1 && of_merchant.len() < all.len());
    assert_eq!(walked(&bench.store, RecordsOf::ChangesOfMerchant(merchant), EVER, 2).await, of_merchant);
    assert_eq!(walked(&bench.store, RecordsOf::ChangesOfConnection(connection), EVER, 2).await, of_connection);
    let nobody = MerchantId::generate(&SystemClock, &SystemEntropy);
    assert_eq!(walked(&bench.store, RecordsOf::ChangesOfMerchant(nobody), EVER, 2).await, []);
}

async fn a_record_that_was_moved_is_not_handed_out(bench: Bench) {
    bench.shop("shop-1").await;
    let mut intruder = bench.ground.intruder().await;
    intruder.unbind().await;
    intruder.run("UPDATE change_trail SET time_us = time_us - 1 WHERE seq = 2").await.unwrap();
    let found = bench.store.records_down_from(RecordsOf::Changes, RecordPlace::LAST, EVER, 100).await;
    assert!(matches!(found, Err(Error::Corrupt("place of a record"))), "{found:?}");
}

async fn attempts_come_newest_first_with_the_version_they_brought(bench: Bench) {
    let (shop, other) = (bench.shop("shop-1").await, bench.shop("shop-2").await);
    let stored = bench.connect(&shop, "100").await;
    let refused = bench.received(&shop).await;
    bench.settle(&refused, AttemptState::Refused).await.unwrap();
    let open = bench.armed(&other).await;
    let all = bench.store.attempts_before(AttemptsOf::All, None, 10).await.unwrap();
    let states: Vec<AttemptState> = all.iter().map(|listed| listed.attempt.state).collect();
    assert_eq!(states, [AttemptState::Armed, AttemptState::Refused, AttemptState::Committed]);
    assert!(all.windows(2).all(|pair| pair[0].attempt.id > pair[1].attempt.id));
    let versions: Vec<_> = all.iter().map(|listed| listed.version).collect();
    assert_eq!(versions, [None, None, Some((stored.connection.id, TokenVersion(1)))]);
    assert_eq!(all[0].attempt, bench.attempt(open.id).await);

    let list =
        async |of, before: Option<AttemptId>, limit| bench.store.attempts_before(of, before, limit).await.unwrap();
    assert_eq!(list(AttemptsOf::Unsettled, None, 10).await, all[..1]);
    assert_eq!(list(AttemptsOf::Merchant(shop.merchant.id), None, 10).await, all[1..]);
    assert_eq!(list(AttemptsOf::All, None, 1).await, all[..1]);
    assert_eq!(list(AttemptsOf::All, Some(all[0].attempt.id), 1).await, all[1..2]);
    assert_eq!(list(AttemptsOf::Merchant(shop.merchant.id), Some(all[1].attempt.id), 10).await, all[2..]);
    assert_eq!(list(AttemptsOf::All, Some(all[2].attempt.id), 10).await, []);
}

fn entry(at: i64, about: About) -> CallEntry {
    let call = ProviderCall {
        at: Timestamp::from_micros(at),
        call: "/user",
        about,
        request: "{\"scope\":\"[redacted]\"}".to_owned(),
        outcome: CallOutcome::Refused,
        status: Some(400),
        code: Some("1011".to_owned()),
        detail: "access_denied".to_owned(),
        duration: Duration::from_micros(1_234),
    };
    CallEntry { id: ProviderCallId::generate(&SystemClock, &SystemEntropy), call }
}

async fn times(store: &Store, of: CallsOf, before: CallPlace, oldest: i64, limit: u32) -> Vec<i64> {
    let calls = store.calls(of, before, Timestamp::from_micros(oldest), limit).await.unwrap();
    calls.iter().map(|call| call.at.as_micros()).collect()
}

async fn a_call_is_logged_once_however_often_it_is_written(bench: Bench) {
    let position = bench.store.position().await.unwrap();
    let first = entry(1, About::default());
    let unanswered = CallEntry {
        call: ProviderCall {
            outcome: CallOutcome::NotSent,
            status: None,
            code: None,
            duration: Duration::MAX,
            ..entry(2, About::default()).call
        },
        ..entry(2, About::default())
    };
    for _ in 0..3 {
        bench.store.log_calls(&[first.clone(), unanswered.clone()]).await.unwrap();
    }
    bench.store.log_calls(&[]).await.unwrap();
    let logged = bench.store.calls(CallsOf::All, CallPlace::LAST, EVER, 10).await.unwrap();
    assert_eq!(logged.iter().map(|call| call.id).collect::<Vec<_>>(), [unanswered.id, first.id]);
    let CallEntry { id, call } = first;
    let expected = LoggedCall {
        id,
        at: call.at,
        call: call.call.to_owned(),
        about: call.about,
        request: call.request,
        outcome: call.outcome,
        status: call.status,
        code: call.code,
        detail: call.detail,
        duration: call.duration,
    };
    assert_eq!(logged[1], expected);
    assert_eq!((logged[0].status, logged[0].code.as_ref(), logged[0].outcome), (None, None, CallOutcome::NotSent));
    // One that the table does not take: none of its batch is written.
    let nameless = CallEntry { call: ProviderCall { call: "", ..unanswered.call }, ..entry(3, About::default()) };
    let refused = bench.store.log_calls(&[entry(4, About::default()), nameless]).await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    assert_eq!(times(&bench.store, CallsOf::All, CallPlace::LAST, 0, 10).await, [2, 1]);
    assert_eq!(bench.store.position().await.unwrap(), position, "a log, and no state");
}

async fn calls_are_found_by_what_they_are_about(bench: Bench) {
    let attempt = AttemptId::generate(&SystemClock, &SystemEntropy);
    let merchant = MerchantId::generate(&SystemClock, &SystemEntropy);
    let connection = ConnectionId::generate(&SystemClock, &SystemEntropy);
    let abouts = [
        About { attempt: Some(attempt), merchant: Some(merchant), connection: None },
        About { connection: Some(connection), ..About::default() },
        About { merchant: Some(merchant), connection: Some(connection), attempt: None },
        About::default(),
    ];
    let entries: Vec<CallEntry> = (1..).zip(abouts).map(|(at, about)| entry(at * 10, about)).collect();
    bench.store.log_calls(&entries).await.unwrap();
    let list = async |of, before, oldest| times(&bench.store, of, before, oldest, 10).await;
    assert_eq!(list(CallsOf::All, CallPlace::LAST, 0).await, [40, 30, 20, 10]);
    assert_eq!(list(CallsOf::Attempt(attempt), CallPlace::LAST, 0).await, [10]);
    assert_eq!(list(CallsOf::Merchant(merchant), CallPlace::LAST, 0).await, [30, 10]);
    assert_eq!(list(CallsOf::Connection(connection), CallPlace::LAST, 0).await, [30, 20]);
    assert_eq!(list(CallsOf::All, CallPlace::before(Timestamp::from_micros(30)), 20).await, [20]);
    let of_thirty = CallPlace { at: Timestamp::from_micros(30), id: entries[2].id };
    assert_eq!(list(CallsOf::All, of_thirty, 0).await, [20, 10]);

    // Of one time: by id, and a page may end between them.
    let mut twins = vec![entry(50, About::default()), entry(50, About::default()), entry(50, About::default())];
    bench.store.log_calls(&twins).await.unwrap();
    twins.sort_by_key(|twin| std::cmp::Reverse(twin.id));
    let mut before = CallPlace::LAST;
    for twin in &twins {
        let page = bench.store.calls(CallsOf::All, before, EVER, 1).await.unwrap();
        assert_eq!(page[0].id, twin.id);
        before = CallPlace { at: page[0].at, id: page[0].id };
    }
    assert_eq!(times(&bench.store, CallsOf::All, before, 0, 1).await, [40]);
}

async fn old_calls_are_pruned_in_batches_and_the_others_stay(bench: Bench) {
    let entries: Vec<CallEntry> = (1..=10).map(|at| entry(at, About::default())).collect();
    bench.store.log_calls(&entries).await.unwrap();
    let limit = Timestamp::from_micros(8);
    let mut pruned = Vec::new();
    for _ in 0..4 {
        pruned.push(bench.store.prune_calls(limit, 3).await.unwrap());
        if pruned.len() == 1 {
            assert_eq!(
                times(&bench.store, CallsOf::All, CallPlace::LAST, 0, 20).await.last(),
                Some(&4),
                "oldest first"
            );
        }
    }
    assert_eq!(pruned, [3, 3, 1, 0]);
    assert_eq!(times(&bench.store, CallsOf::All, CallPlace::LAST, 0, 20).await, [10, 9, 8]);
}

/// SQLite says how it reads: `SEARCH … USING INDEX`, and `USE TEMP B-TREE` where it must sort.
#[tokio::test]
async fn lists_are_read_through_an_index_in_their_order() {
    let bench = Bench::sqlite().await;
    let Intruder::File(mut database) = bench.ground.intruder().await else { unreachable!("a file") };
    let lists = [trail::events::STATEMENTS, attempts::list::STATEMENTS, calls::STATEMENTS].concat();
    for statement in lists.into_iter().filter(|statement| statement.starts_with("SELECT")) {
        // Made of a constant, and as long-lived as one.
        let explained: &'static str = format!("EXPLAIN QUERY PLAN {statement}").leak();
        let plan = sqlx::raw_sql(explained).fetch_all(&mut database).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|step| step.get::<String, _>("detail")).collect();
        assert!(plan.iter().all(|step| step.starts_with("SEARCH")), "{statement}: {plan:?}");
        let about = ["merchant_id", "connection_id", "attempt_id"].into_iter().find(|column| {
            let condition = format!("{column} = $");
            statement.contains(&condition) || statement.contains(&format!("a.{condition}"))
        });
        if let Some(column) = about {
            assert!(plan[0].contains(&format!("{column}=?")), "{statement}: {plan:?}");
        }
    }
    sqlx::Connection::close(database).await.unwrap();
}
