//! ListEvents: its filters, its events, its page tokens.

use super::place;
use crate::domain::ambient::Timestamp;
use crate::domain::id::{TokenVersion, TrailId};
use crate::domain::name::{CallerId, FieldError};
use crate::domain::trail::{EventKind, Outcome, view};
use crate::grpc::convert;
use crate::service::{Error, EventFilter, EventPlace, EventSource, PlacedEvent, RecordPlace};
use crate::v1;

/// The letter of this list's page tokens.
const LIST: char = 'e';
/// Time, trail, sequence, index.
const PLACE_BYTES: usize = 8 + 16 + 8 + 4;
/// Actors that are no callers.
const OTHER_ACTORS: [&str; 2] = ["merchant", "system"];

pub(super) fn filter(request: &v1::ListEventsRequest) -> Result<EventFilter, Error> {
    use v1::list_events_request::Merchant;
    let merchant = match &request.merchant {
        None => None,
        named => Some(convert::named!(Merchant, named)?),
    };
    let connection = convert::optional(&request.connection_id, |text| convert::id("connection_id", text))?;
    let version = (request.version > 0).then_some(TokenVersion(request.version));
    if version.is_some() && connection.is_none() {
        return Err(FieldError::new("version", "needs connection_id").into());
    }
    let kind = convert::optional(&request.kind, |text| {
        EventKind::parse(text).ok_or_else(|| FieldError::new("kind", "is no kind of event").into())
    })?;
    let actor = convert::optional(&request.actor, |text| {
        if OTHER_ACTORS.contains(&text) || CallerId::parse(text).is_ok() {
            Ok(text.to_owned())
        } else {
            Err(FieldError::new("actor", "must be a caller's identity, merchant or system").into())
        }
    })?;
    Ok(EventFilter {
        merchant,
        connection,
        version,
        kind,
        actor,
        outcome: outcome(request.outcome)?,
        attempt: convert::optional(&request.attempt_id, |text| convert::id("attempt_id", text))?,
        after: request.after_time.as_ref().map(|at| convert::instant("after_time", at)).transpose()?,
        before: request.before_time.as_ref().map(|at| convert::instant("before_time", at)).transpose()?,
        source: source(request.source)?,
    })
}

fn outcome(number: i32) -> Result<Option<Outcome>, Error> {
    match v1::EventOutcome::try_from(number) {
        Ok(v1::EventOutcome::Unspecified) => Ok(None),
        Ok(v1::EventOutcome::Success) => Ok(Some(Outcome::Success)),
        Ok(v1::EventOutcome::Denied) => Ok(Some(Outcome::Denied)),
        Ok(v1::EventOutcome::Failure) => Ok(Some(Outcome::Failure)),
        Err(_) => Err(FieldError::new("outcome", "must be a value of the enum").into()),
    }
}

fn source(number: i32) -> Result<EventSource, Error> {
    match v1::EventSource::try_from(number) {
        Ok(v1::EventSource::Unspecified) => Ok(EventSource::Both),
        Ok(v1::EventSource::Changes) => Ok(EventSource::Changes),
        Ok(v1::EventSource::Reads) => Ok(EventSource::Reads),
        Err(_) => Err(FieldError::new("source", "must be a value of the enum").into()),
    }
}

pub(super) fn event(placed: PlacedEvent) -> v1::Event {
    let PlacedEvent { place, event } = placed;
    v1::Event {
        trail_id: place.record.trail.to_string(),
        seq: place.record.seq,
        index: place.index,
        record_time: Some(convert::time(place.record.time)),
        event_time: Some(convert::time(event.at)),
        kind: event.kind.as_str().to_owned(),
        outcome: match event.outcome {
            Outcome::Success => v1::EventOutcome::Success,
            Outcome::Denied => v1::EventOutcome::Denied,
            Outcome::Failure => v1::EventOutcome::Failure,
        }
        .into(),
        actor: event.actor,
        origin: event.origin.unwrap_or_default(),
        call_id: convert::text(event.call),
        merchant_id: convert::text(event.merchant),
        connection_id: convert::text(event.connection),
        version: event.version.map_or(0, |version| version.0),
        link_id: convert::text(event.link),
        invitation_id: convert::text(event.invitation),
        flow_id: convert::text(event.flow),
        attempt_id: convert::text(event.attempt),
        about_trail_id: convert::text(event.trail),
        fingerprint: event
            .fingerprint
            .map(|fingerprint| fingerprint.iter().map(|byte| format!("{byte:02x}")).collect())
            .unwrap_or_default(),
        grant_id: event.grant.unwrap_or_default(),
        policy_hash: event.policy.as_ref().map(view::hash).unwrap_or_default(),
        reason: event.reason.unwrap_or_default(),
        details: event.details.into_iter().map(|(name, value)| v1::EventDetail { name, value }).collect(),
    }
}

pub(super) fn page_token(at: &EventPlace) -> String {
    let RecordPlace { time, trail, seq } = at.record;
    let parts: [&[u8]; 4] =
        [&time.as_micros().to_be_bytes(), trail.as_bytes(), &seq.to_be_bytes(), &at.index.to_be_bytes()];
    place::token(LIST, &parts)
}

pub(super) fn place(token: &str) -> Result<EventPlace, Error> {
    let bytes: [u8; PLACE_BYTES] = place::parse(LIST, token)?;
    let mut rest = &bytes[..];
    let time = Timestamp::from_micros(i64::from_be_bytes(place::take(&mut rest)?));
    let trail = TrailId::from_bytes(place::take(&mut rest)?);
    let seq = u64::from_be_bytes(place::take(&mut rest)?);
    let index = u32::from_be_bytes(place::take(&mut rest)?);
    if seq == 0 || i64::try_from(seq).is_err() {
        return Err(convert::bad_page_token().into());
    }
    Ok(EventPlace { record: RecordPlace { time, trail, seq }, index })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_its_token_and_no_other_text_is_one() {
        let record = RecordPlace { time: Timestamp::from_micros(-7), trail: TrailId::from_bytes([9; 16]), seq: 3 };
        let at = EventPlace { record, index: 255 };
        let token = page_token(&at);
        assert_eq!(place(&token).unwrap(), at);
        let none = page_token(&EventPlace { record: RecordPlace { seq: 0, ..record }, index: 0 });
        let huge = page_token(&EventPlace { record: RecordPlace { seq: u64::MAX, ..record }, index: 0 });
        let other_list = token.replacen('e', "c", 1);
        for bad in [
            "e",
            "x",
            " ",
            "é",
            &token.to_uppercase(),
            &token.replacen("ff", "+f", 1),
            &token[..token.len() - 2],
            &format!("{token}00"),
            &other_list,
            &none,
            &huge,
        ] {
            assert!(place(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_version_alone_and_words_that_are_no_kind_or_actor_are_refused() {
        let field = |request: v1::ListEventsRequest| filter(&request).map_err(|error| error.fields()[0].field.clone());
        assert!(field(v1::ListEventsRequest::default()).is_ok());
        for (bad, request) in [
            ("version", v1::ListEventsRequest { version: 1, ..Default::default() }),
            ("kind", v1::ListEventsRequest { kind: "token.eaten".to_owned(), ..Default::default() }),
            ("actor", v1::ListEventsRequest { actor: "somebody".to_owned(), ..Default::default() }),
            ("outcome", v1::ListEventsRequest { outcome: 77, ..Default::default() }),
            ("source", v1::ListEventsRequest { source: -1, ..Default::default() }),
            ("attempt_id", v1::ListEventsRequest { attempt_id: "att_1".to_owned(), ..Default::default() }),
            ("connection_id", v1::ListEventsRequest { connection_id: "mer_1".to_owned(), ..Default::default() }),
            (
                "before_time",
                v1::ListEventsRequest {
                    before_time: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
                    ..Default::default()
                },
            ),
        ] {
            assert_eq!(field(request).err().as_deref(), Some(bad));
        }
    }
}
