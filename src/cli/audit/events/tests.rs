//! What is asked for, and how events look.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    list: List,
}

fn list(words: &[&str]) -> List {
    let words = std::iter::once("list").chain(words.iter().copied());
    Line::try_parse_from(words).unwrap_or_else(|refused| panic!("{refused}")).list
}

const CONNECTION: &str = "con_0190f3c7111172228333444455556666";

fn event() -> v1::Event {
    v1::Event {
        trail_id: "trl_0190f3c71111722283334444aaaabbbb".into(),
        seq: 7,
        index: 3,
        record_time: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 0 }),
        event_time: Some(prost_types::Timestamp { seconds: 1_799_999_999, nanos: 0 }),
        kind: "token.read".into(),
        outcome: v1::EventOutcome::Success.into(),
        actor: "spiffe://dev.strongroom/service/payments".into(),
        connection_id: CONNECTION.into(),
        version: 2,
        details: vec![v1::EventDetail { name: "purpose".into(), value: "charge\ncards".into() }],
        ..Default::default()
    }
}

#[test]
fn every_option_becomes_its_filter() {
    assert_eq!(
        list(&[]).request(String::new()),
        v1::ListEventsRequest { page_size: 50, ..Default::default() },
        "nothing asked for, everything listed"
    );
    let request = list(&[
        "--merchant=shop-17",
        "--token=con_0190f3c7111172228333444455556666:3",
        "--kind=token.read",
        "--actor=system",
        "--outcome=denied",
        "--attempt=att_0190f3c7111172228333444455556666",
        "--source=reads",
        "--since=2026-03-01T09:00:00Z",
        "--until=2026-03-02T09:00:00Z",
        "--limit=1000",
    ])
    .request("next".into());
    let expected = v1::ListEventsRequest {
        page_size: 100,
        page_token: "next".into(),
        merchant: Some(v1::list_events_request::Merchant::ExternalId("shop-17".into())),
        connection_id: CONNECTION.into(),
        version: 3,
        kind: "token.read".into(),
        actor: "system".into(),
        outcome: v1::EventOutcome::Denied.into(),
        attempt_id: "att_0190f3c7111172228333444455556666".into(),
        after_time: Some(prost_types::Timestamp { seconds: 1_772_355_600, nanos: 0 }),
        before_time: Some(prost_types::Timestamp { seconds: 1_772_442_000, nanos: 0 }),
        source: v1::EventSource::Reads.into(),
    };
    assert_eq!(request, expected);
    let of_connection = list(&["--connection", CONNECTION]).request(String::new());
    assert_eq!((of_connection.connection_id.as_str(), of_connection.version), (CONNECTION, 0));
    for bad in
        ["--kind=token.eaten", "--outcome=maybe", "--since=yesterday", "--limit=0", "--token=con_1", "--attempt=1"]
    {
        assert!(Line::try_parse_from(["list", bad]).is_err(), "{bad}");
    }
}

#[test]
fn a_table_is_short_unless_it_is_asked_to_be_wide() {
    assert_eq!(
        list(&[]).extent_table(&[event()]),
        "TIME                  KIND        OUTCOME  ACTOR             MERCHANT  TOKEN            REASON  PLACE\n\
         2027-01-15T07:59:59Z  token.read  success  service/payments  —         con_…55556666:2  —       trl_…aaaabbbb:7.3\n"
    );
    let wide = list(&["--wide"]).extent_table(&[event()]);
    for shown in ["spiffe://dev.strongroom/service/payments", CONNECTION, "trl_0190f3c71111722283334444aaaabbbb:7.3"] {
        assert!(wide.contains(shown), "{shown} in {wide}");
    }
    assert!(wide.contains("purpose=charge\\u{a}cards"), "no text breaks a line: {wide}");
    assert_eq!(wide.lines().count(), 2);
}

#[test]
fn for_programs_an_event_is_one_line_and_says_what_there_is() {
    let mut fetched = list(&["--limit=2"]).extent.begin();
    fetched.push(vec![event(), event(), event()], String::new());
    let answer = fetched.answer("none", |_| String::new(), event_to_json);
    let lines: Vec<Value> = answer.json_line().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "cut at the limit");
    assert!(answer.warning.unwrap().contains("--limit"));
    assert_eq!(
        lines[0],
        json!({
            "trail_id": "trl_0190f3c71111722283334444aaaabbbb", "seq": 7, "index": 3,
            "record_time": "2027-01-15T08:00:00Z", "event_time": "2027-01-15T07:59:59Z",
            "kind": "token.read", "outcome": "success", "actor": "spiffe://dev.strongroom/service/payments",
            "connection_id": CONNECTION, "version": 2, "details": {"purpose": "charge\ncards"},
        })
    );
}
