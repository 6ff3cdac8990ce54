//! ListEvents: every event once, newest first, and each leads to its signed record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use strongroom::domain::ambient::{Clock as _, Timestamp};
use strongroom::domain::trail::{self, cbor};
use strongroom::v1::{
    Event, EventOutcome, EventSource, GetAccessTokenResponse, ListEventsRequest, TokenVersionRef, list_events_request,
};
use tonic::Status;

use crate::support::app::{Caller, TestApp, outcome_of, records_of};

/// Where an event stands: trail, sequence, index.
type Place = (String, u64, u32);

/// Pages that a list may take in these scenarios; more means that it goes in circles.
const PAGES_MAX: usize = 2_000;

/// Records that one page looks at.
const SCANNED_MAX: i64 = 500;

/// Whether that is the text of this id.
fn is_text(id: Option<impl ToString>, text: &str) -> bool {
    id.is_some_and(|id| id.to_string() == text)
}

fn place(event: &Event) -> Place {
    (event.trail_id.clone(), event.seq, event.index)
}

fn at(time: Timestamp) -> Option<prost_types::Timestamp> {
    let micros = time.as_micros();
    let nanos = i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap();
    Some(prost_types::Timestamp { seconds: time.as_unix_seconds(), nanos })
}

fn micros(at: Option<&prost_types::Timestamp>) -> i64 {
    at.map(|at| at.seconds * 1_000_000 + i64::from(at.nanos / 1_000)).unwrap()
}

async fn page(app: &TestApp, request: ListEventsRequest) -> Result<(Vec<Event>, String), Status> {
    let answer = app.caller("auditor").audit().list_events(request).await?.into_inner();
    Ok((answer.events, answer.next_page_token))
}

/// Every page of a list.
async fn all(app: &TestApp, request: ListEventsRequest) -> Vec<Event> {
    let mut events = Vec::new();
    let mut page_token = String::new();
    for _ in 0..PAGES_MAX {
        let (found, next) = page(app, ListEventsRequest { page_token, ..request.clone() }).await.unwrap();
        events.extend(found);
        if next.is_empty() {
            return events;
        }
        page_token = next;
    }
    unreachable!("the list has no end");
}

/// Every event of every trail by its place, with the time of its record.
async fn exported(app: &TestApp) -> BTreeMap<Place, (Timestamp, trail::Event)> {
    let export = app.export().await;
    let records = records_of(&export).into_iter().map(|bytes| cbor::decode(bytes).unwrap());
    let placed = records.flat_map(|record| {
        let (trail, seq, time) = (record.trail.to_string(), record.seq, record.time);
        let events = record.events.into_iter().enumerate();
        events.map(move |(index, event)| ((trail.clone(), seq, u32::try_from(index).unwrap()), (time, event)))
    });
    placed.collect()
}

fn of_version(version: &TokenVersionRef) -> ListEventsRequest {
    ListEventsRequest {
        connection_id: version.connection_id.clone(),
        version: version.version,
        kind: "token.read".to_owned(),
        outcome: EventOutcome::Success.into(),
        source: EventSource::Reads.into(),
        ..Default::default()
    }
}

fn version_of(read: &GetAccessTokenResponse) -> TokenVersionRef {
    read.version.clone().unwrap()
}

#[tokio::test]
async fn from_a_version_of_a_token_one_gets_to_everybody_who_held_it() {
    let app = TestApp::start().await;
    let mut shop = app.connected("held-shop").await;
    let other = app.connected("other-shop").await;
    let until = app.site().clock().now().plus(Duration::from_secs(60 * 60));
    let second_reader = app.authority().caller(app.dev(), "ending", until);
    let first = version_of(&app.token(&shop).await);
    app.token(&shop).await;
    second_reader.read(&shop.external_id).await.unwrap();
    app.token(&other).await;
    assert!(app.caller("stranger").read(&shop.external_id).await.is_err());
    app.kill(&shop).await; // reads once more
    let second = version_of(&app.reconnect(&mut shop).await);
    assert_eq!((second.connection_id.as_str(), second.version), (first.connection_id.as_str(), first.version + 1));

    let held = all(&app, of_version(&first)).await;
    let mut holders: BTreeMap<&str, usize> = BTreeMap::new();
    for event in &held {
        *holders.entry(event.actor.as_str()).or_default() += 1;
        assert_eq!((&event.merchant_id, event.version), (&shop.merchant_id, first.version));
        assert!(!event.grant_id.is_empty() && !event.origin.is_empty() && !event.call_id.is_empty(), "{event:?}");
    }
    let payments = app.caller("payments").id.clone();
    assert_eq!(holders, BTreeMap::from([(payments.as_str(), 3), (second_reader.id.as_str(), 1)]));
    assert_eq!(all(&app, of_version(&second)).await.len(), 1, "the newer version was read once");

    // Each is found in the export, and says the same there.
    let exported = exported(&app).await;
    for event in &held {
        let (time, signed) = &exported[&place(event)];
        assert_eq!(time.as_micros(), micros(event.record_time.as_ref()));
        assert_eq!(signed.at.as_micros(), micros(event.event_time.as_ref()));
        assert_eq!((signed.kind.as_str(), signed.actor.as_str()), (event.kind.as_str(), event.actor.as_str()));
        assert_eq!(signed.attempt.map(|id| id.to_string()).as_ref(), Some(&event.attempt_id));
    }
    // The attempt behind it leads to the change that brought it.
    let attempt_id = held[0].attempt_id.clone();
    let kind = "token.stored".to_owned();
    let stored = all(&app, ListEventsRequest { attempt_id, kind, ..Default::default() }).await;
    assert_eq!(stored.iter().map(|event| event.version).collect::<Vec<_>>(), [first.version]);
    app.close().await;
}

#[tokio::test]
async fn pages_have_every_event_once_and_in_order_while_others_write() {
    const READERS: usize = 4;
    let app = TestApp::start().await;
    let shop = app.connected("busy-shop").await;
    for _ in 0..20 {
        app.token(&shop).await;
    }
    let before = exported(&app).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..READERS {
        let (caller, stop) = (Caller::of_dev(app.dev(), "payments"), Arc::clone(&stop));
        readers.spawn(async move {
            let mut reads = 0_usize;
            while !stop.load(Ordering::Relaxed) {
                caller.read("busy-shop").await.unwrap();
                reads += 1;
            }
            reads
        });
    }
    let from = app.site().clock().now();
    app.until("reads beside the list", async || {
        let after = ListEventsRequest { after_time: at(from), page_size: 1, ..Default::default() };
        !page(&app, after).await.unwrap().0.is_empty()
    })
    .await;
    for page_size in [1, 7, 100] {
        let listed = all(&app, ListEventsRequest { page_size, ..Default::default() }).await;
        let places: BTreeSet<Place> = listed.iter().map(place).collect();
        assert_eq!(places.len(), listed.len(), "nothing doubles");
        let missed: Vec<_> = before.keys().filter(|place| !places.contains(*place)).collect();
        assert!(missed.is_empty(), "pages of {page_size} miss {missed:?}");
        let keys: Vec<_> = listed.iter().map(|event| (micros(event.record_time.as_ref()), place(event))).collect();
        assert!(keys.windows(2).all(|pair| pair[0] > pair[1]), "newest first, without a tie");
    }
    app.until("more records than one page looks at", async || {
        let records: Vec<(i64,)> = app.rows("SELECT count(*) FROM read_records").await;
        records[0].0 > SCANNED_MAX
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    assert!(readers.join_all().await.into_iter().sum::<usize>() > READERS);

    // Far below everything that was looked at: the first page is empty and says that there is more.
    let oldest = ListEventsRequest { kind: "deployment.stamped".to_owned(), ..Default::default() };
    let (found, next) = page(&app, oldest.clone()).await.unwrap();
    assert!(found.is_empty() && !next.is_empty(), "{found:?} {next}");
    assert_eq!(all(&app, oldest).await.len(), 1);

    // With nobody else about the two agree to the last event: the list's own record comes after what it lists.
    let listed = all(&app, ListEventsRequest { before_time: at(app.site().clock().now()), ..Default::default() }).await;
    let newest = listed.iter().map(|event| micros(event.record_time.as_ref())).max().unwrap();
    let exported = exported(&app).await;
    let expected: BTreeSet<Place> =
        exported.iter().filter(|(_, (time, _))| time.as_micros() <= newest).map(|(place, _)| place.clone()).collect();
    assert_eq!(listed.iter().map(place).collect::<BTreeSet<_>>(), expected);
    app.close().await;
}

#[tokio::test]
async fn every_filter_lets_through_what_fits_and_nothing_else() {
    let app = TestApp::start().await;
    let shop = app.connected("wanted-shop").await;
    app.connected("unwanted-shop").await;
    let read = app.token(&shop).await;
    app.advance(Duration::from_secs(60)).await;
    let middle = app.site().clock().now();
    app.token(&shop).await;
    assert!(app.caller("stranger").read(&shop.external_id).await.is_err());
    assert!(app.caller("payments").read("nobody").await.is_err());
    app.advance(Duration::from_secs(60)).await;
    let end = app.site().clock().now();
    let exported = exported(&app).await;
    let in_time = |time: &Timestamp| *time < end;
    let payments = app.caller("payments").id.clone();
    let connection = version_of(&read).connection_id;
    let stored = exported.values().find(|(_, event)| event.kind.as_str() == "token.stored").unwrap();
    let attempt = stored.1.attempt.unwrap().to_string();
    let change_trail = exported.values().find(|(_, event)| event.kind.as_str() == "deployment.stamped");
    let change_trail = exported.iter().find(|(_, found)| Some(*found) == change_trail).unwrap().0.0.clone();

    let by_external = Some(list_events_request::Merchant::ExternalId(shop.external_id.clone()));
    let by_id = Some(list_events_request::Merchant::MerchantId(shop.merchant_id.clone()));
    let any = ListEventsRequest { before_time: at(end), page_size: 100, ..Default::default() };

    let of_merchant = |event: &trail::Event| is_text(event.merchant, &shop.merchant_id);
    type Fits<'a> = Box<dyn Fn(&Place, &Timestamp, &trail::Event) -> bool + 'a>;
    let cases: Vec<(&str, ListEventsRequest, Fits<'_>)> = vec![
        ("any", any.clone(), Box::new(|_, _, _| true)),
        ("external id", ListEventsRequest { merchant: by_external, ..any.clone() }, Box::new(|_, _, e| of_merchant(e))),
        (
            "merchant id",
            ListEventsRequest { merchant: by_id.clone(), ..any.clone() },
            Box::new(|_, _, e| of_merchant(e)),
        ),
        (
            "connection",
            ListEventsRequest { connection_id: connection.clone(), ..any.clone() },
            Box::new(|_, _, e| is_text(e.connection, &connection)),
        ),
        (
            "version",
            ListEventsRequest { connection_id: connection.clone(), version: 1, ..any.clone() },
            Box::new(|_, _, e| is_text(e.connection, &connection) && e.version.is_some_and(|v| v.0 == 1)),
        ),
        (
            "kind",
            ListEventsRequest { kind: "link.changed".to_owned(), ..any.clone() },
            Box::new(|_, _, e| e.kind.as_str() == "link.changed"),
        ),
        (
            "actor",
            ListEventsRequest { actor: payments.clone(), ..any.clone() },
            Box::new(|_, _, e| e.actor == payments),
        ),
        (
            "system",
            ListEventsRequest { actor: "system".to_owned(), ..any.clone() },
            Box::new(|_, _, e| e.actor == "system"),
        ),
        (
            "outcome",
            ListEventsRequest { outcome: EventOutcome::Denied.into(), ..any.clone() },
            Box::new(|_, _, e| e.outcome == trail::Outcome::Denied),
        ),
        (
            "attempt",
            ListEventsRequest { attempt_id: attempt.clone(), ..any.clone() },
            Box::new(|_, _, e| is_text(e.attempt, &attempt)),
        ),
        ("after", ListEventsRequest { after_time: at(middle), ..any.clone() }, Box::new(|_, time, _| *time >= middle)),
        ("before", ListEventsRequest { before_time: at(middle), ..any.clone() }, Box::new(|_, time, _| *time < middle)),
        (
            "changes",
            ListEventsRequest { source: EventSource::Changes.into(), ..any.clone() },
            Box::new(|place, _, _| place.0 == change_trail),
        ),
        (
            "reads",
            ListEventsRequest { source: EventSource::Reads.into(), ..any.clone() },
            Box::new(|place, _, _| place.0 != change_trail),
        ),
        (
            "all at once",
            ListEventsRequest {
                merchant: by_id,
                connection_id: connection.clone(),
                version: 1,
                kind: "token.read".to_owned(),
                actor: payments.clone(),
                outcome: EventOutcome::Success.into(),
                after_time: at(middle),
                ..any
            },
            Box::new(|_, time, e| of_merchant(e) && e.kind.as_str() == "token.read" && *time >= middle),
        ),
    ];
    for (what, request, fits) in cases {
        let listed: BTreeSet<Place> = all(&app, request).await.iter().map(place).collect();
        let wanted = exported.iter().filter(|(place, (time, event))| in_time(time) && fits(place, time, event));
        let expected: BTreeSet<Place> = wanted.map(|(place, _)| place.clone()).collect();
        assert!(!expected.is_empty(), "{what}: the scenario has such an event");
        assert_eq!(listed, expected, "{what}");
    }
    app.close().await;
}

#[tokio::test]
async fn who_looked_for_what_is_on_record_and_garbage_is_refused() {
    let app = TestApp::start().await;
    let shop = app.connected("looked-at-shop").await;
    let merchant = Some(list_events_request::Merchant::ExternalId(shop.external_id.clone()));
    let asked = ListEventsRequest { merchant, kind: "token.read".to_owned(), ..Default::default() };
    all(&app, asked.clone()).await;
    let unknown = Some(list_events_request::Merchant::ExternalId("nobody".to_owned()));
    let refused = page(&app, ListEventsRequest { merchant: unknown, ..Default::default() }).await;
    assert_eq!(outcome_of(&refused), "NOT_FOUND");
    for name in ["payments", "onboarding", "admin", "approver", "stranger"] {
        let refused = app.caller(name).audit().list_events(asked.clone()).await;
        assert_eq!(outcome_of(&refused), "PERMISSION_DENIED", "{name}");
    }
    let looks = all(&app, ListEventsRequest { kind: "audit.read".to_owned(), ..Default::default() }).await;
    let auditor = app.caller("auditor").id.clone();
    let outcomes = |outcome: EventOutcome| looks.iter().filter(move |event| event.outcome() == outcome);
    let detail = |event: &Event, name: &str| {
        let found = event.details.iter().find(|detail| detail.name == name);
        found.map(|detail| detail.value.clone()).unwrap_or_default()
    };
    let first = outcomes(EventOutcome::Success).next_back().unwrap();
    assert_eq!((first.actor.as_str(), first.reason.as_str()), (auditor.as_str(), "events"));
    assert_eq!((detail(first, "merchant"), detail(first, "kind")), (shop.merchant_id.clone(), "token.read".to_owned()));
    assert_eq!(first.merchant_id, "", "the look is not about the merchant itself");
    assert_eq!(outcomes(EventOutcome::Denied).count(), 5);
    assert_eq!(outcomes(EventOutcome::Failure).count(), 1);

    let (_, token) = page(&app, ListEventsRequest { page_size: 1, ..Default::default() }).await.unwrap();
    let page_token = |page_token: &str| ListEventsRequest { page_token: page_token.to_owned(), ..Default::default() };
    assert!(page(&app, page_token(&token)).await.is_ok());
    for bad in ["x", "e00", &token[1..], &token.to_uppercase(), &format!("c{}", &token[1..]), &shop.merchant_id] {
        assert_eq!(outcome_of(&page(&app, page_token(bad)).await), "INVALID_ARGUMENT", "{bad}");
    }
    for request in [
        ListEventsRequest { page_size: -1, ..Default::default() },
        ListEventsRequest { kind: "token.eaten".to_owned(), ..Default::default() },
        ListEventsRequest { version: 1, ..Default::default() },
    ] {
        assert_eq!(outcome_of(&page(&app, request).await), "INVALID_ARGUMENT");
    }
    app.close().await;
}
