//! Records as JSON, for people. A view only: what counts is the signed bytes.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{Event, Hash, Record};

/// A record as JSON: identifiers with their prefix, times as RFC 3339, hashes and fingerprints in hexadecimal, kinds and
/// outcomes as their stored text. What is absent is left out.
pub fn to_json(record: &Record) -> Value {
    let mut view = Map::new();
    put(&mut view, "trail", Some(record.trail));
    view.insert("seq".to_owned(), record.seq.into());
    put(&mut view, "time", Some(record.time.to_rfc3339()));
    put(&mut view, "previous", Some(hash(&record.previous)));
    view.insert("events".to_owned(), record.events.iter().map(event_to_json).collect());
    Value::Object(view)
}

/// An event as JSON, in the same way.
pub fn event_to_json(event: &Event) -> Value {
    let mut view = Map::new();
    put(&mut view, "kind", Some(event.kind.as_str()));
    put(&mut view, "outcome", Some(event.outcome.as_str()));
    put(&mut view, "at", Some(event.at.to_rfc3339()));
    put(&mut view, "actor", Some(&event.actor));
    put(&mut view, "origin", event.origin.as_ref());
    put(&mut view, "call", event.call);
    put(&mut view, "merchant", event.merchant);
    put(&mut view, "connection", event.connection);
    if let Some(version) = event.version {
        view.insert("version".to_owned(), version.0.into());
    }
    put(&mut view, "link", event.link);
    put(&mut view, "invitation", event.invitation);
    put(&mut view, "flow", event.flow);
    put(&mut view, "attempt", event.attempt);
    put(&mut view, "trail", event.trail);
    put(&mut view, "fingerprint", event.fingerprint.map(|fingerprint| hex(&fingerprint)));
    put(&mut view, "grant", event.grant.as_ref());
    put(&mut view, "policy", event.policy.as_ref().map(hash));
    put(&mut view, "reason", event.reason.as_ref());
    if !event.details.is_empty() {
        let details = event.details.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
        view.insert("details".to_owned(), Value::Object(details));
    }
    Value::Object(view)
}

/// One line of pure ASCII for one JSON value: every other character is escaped, so that no text in a record can break a line, move
/// a terminal's cursor or turn the reading direction.
pub fn to_line(view: &Value) -> String {
    let mut line = String::new();
    for c in view.to_string().chars() {
        if matches!(c, ' '..='~') {
            line.push(c);
        } else {
            // Outside of its strings compact JSON has no such character, so the escape is always inside of one.
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(line, "\\u{unit:04x}"); // a String takes every character
            }
        }
    }
    line
}

/// Lower-case hexadecimal of a hash, as views and details show it.
pub fn hash(hash: &Hash) -> String {
    hex(&hash.0)
}

fn put(view: &mut Map<String, Value>, name: &str, value: Option<impl ToString>) {
    if let Some(value) = value {
        view.insert(name.to_owned(), Value::String(value.to_string()));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{EventKind, GENESIS};
    use super::*;
    use crate::domain::ambient::Timestamp;
    use crate::domain::id::{MerchantId, TrailId};

    #[test]
    fn a_record_is_readable_and_leaves_out_what_is_absent() {
        let at = Timestamp::from_micros(1_700_000_000_123_456);
        let event = Event::new(EventKind::MerchantCreated, at, "system").merchant(MerchantId::from_bytes([7; 16]));
        let record =
            Record { trail: TrailId::from_bytes([9; 16]), seq: 1, time: at, previous: GENESIS, events: vec![event] };
        assert_eq!(
            to_json(&record),
            serde_json::json!({
                "trail": format!("trl_{}", "09".repeat(16)), "seq": 1, "time": "2023-11-14T22:13:20.123456Z", "previous": "00".repeat(32),
                "events": [{"kind": "merchant.created", "outcome": "success", "at": "2023-11-14T22:13:20.123456Z",
                    "actor": "system", "merchant": format!("mer_{}", "07".repeat(16))}],
            })
        );
    }

    #[test]
    fn no_text_breaks_the_line_or_reaches_the_terminal_unescaped() {
        let hostile = "a\nb\r\0\u{1b}[2J\u{7f}\u{85}\u{9b}31m\u{2028}\u{202e}\u{feff}é😀\"\\";
        let event =
            Event::new(EventKind::TokenRead, Timestamp::default(), hostile).reason(hostile).detail(hostile, hostile);
        let view = event_to_json(&event);
        let line = to_line(&view);
        assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), view, "the line still says the same");
    }
}
