//! Golden vectors made by another implementation, and properties.

use proptest::prelude::*;

use super::super::verify::{TrailVerifier, strategy};
use super::super::{GENESIS, view};
use super::*;

fn event() -> Event {
    let mut event = Event::new(EventKind::TokenRead, Timestamp::from_micros(1_800_000_000_000_000), "system");
    event.details.insert("size".to_owned(), "3".to_owned());
    event
}

fn record(events: Vec<Event>) -> Record {
    Record { trail: TrailId::from_bytes([1; 16]), seq: 1, time: Timestamp::default(), previous: GENESIS, events }
}

#[test]
fn what_would_not_be_accepted_is_not_signed() {
    let (signer, key) = strategy::signer();
    let long = "x".repeat(TEXT_BYTES_MAX);
    let longer = format!("{long}x");
    let many = |count: usize| (0..count).map(|at| (at.to_string(), String::new())).collect();
    for (accepted, refused, limit) in [
        (Event { actor: long.clone(), ..event() }, Event { actor: longer.clone(), ..event() }, LimitExceeded::Text),
        (event().reason(long.as_str()), event().reason(longer.as_str()), LimitExceeded::Text),
        (event().detail("a", &long), event().detail("a", &longer), LimitExceeded::Text),
        (event().detail(&long, "a"), event().detail(&longer, "a"), LimitExceeded::Text),
        (
            Event { details: many(DETAILS_MAX), ..event() },
            Event { details: many(DETAILS_MAX + 1), ..event() },
            LimitExceeded::Details,
        ),
    ] {
        let sealed = seal(&record(vec![accepted]), &signer).unwrap();
        TrailVerifier::new(TrailId::from_bytes([1; 16]), key).unwrap().push(&sealed).unwrap();
        let refused = record(vec![refused]);
        assert_eq!(seal(&refused, &signer), Err(limit));
        assert_eq!(decode(&encode(&refused)), Err(DecodeError::Limit(limit)), "both sides agree");
    }
    let most = record(vec![event(); EVENTS_MAX]);
    assert_eq!(decode(&seal(&most, &signer).unwrap().bytes), Ok(most));
    for (refused, limit) in [
        (record(vec![event(); EVENTS_MAX + 1]), LimitExceeded::Events),
        (record(vec![event().reason(long); 600]), LimitExceeded::Bytes),
    ] {
        assert_eq!(seal(&refused, &signer), Err(limit));
        assert_eq!(decode(&encode(&refused)), Err(DecodeError::Limit(limit)));
    }
}

#[test]
fn a_huge_count_reserves_nothing() {
    let mut bytes = encode(&record(Vec::new()));
    assert_eq!(bytes.pop(), Some(0x80), "the empty array of events");
    bytes.extend([0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(decode(&bytes), Err(DecodeError::Limit(LimitExceeded::Events)));
}

#[test]
fn every_kind_and_outcome_survives() {
    for &kind in EventKind::ALL {
        for outcome in [Outcome::Success, Outcome::Denied, Outcome::Failure] {
            let record = record(vec![Event::new(kind, Timestamp::default(), "").outcome(outcome)]);
            assert_eq!(decode(&encode(&record)), Ok(record));
        }
    }
}

proptest! {
    #[test]
    fn every_record_survives_and_has_a_view_on_one_line(record in strategy::record()) {
        let bytes = encode(&record);
        prop_assert_eq!(&decode(&bytes), &Ok(record.clone()));
        let line = view::to_line(&view::to_json(&record));
        prop_assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    }

    #[test]
    fn every_input_has_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(decode(&bytes).is_err());
    }

    #[test]
    fn damaged_records_have_an_answer_and_never_a_second_encoding(
        record in strategy::record(), at in any::<prop::sample::Index>(), to in any::<u8>(), cut in any::<prop::sample::Index>(),
    ) {
        let bytes = encode(&record);
        let mut damaged = bytes.clone();
        damaged[at.index(bytes.len())] = to;
        if let Ok(other) = decode(&damaged) {
            prop_assert_eq!(encode(&other), damaged);
        }
        prop_assert!(decode(&bytes[..cut.index(bytes.len())]).is_err());
    }
}
