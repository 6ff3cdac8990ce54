//! Events for people: what happened, newest first, from the change trail and the read trails as one list.
//!
//! A view. What proves anything are the signed records, which [`super::Services::export_trails`] hands out.

use std::collections::VecDeque;

use super::error::{Error, Kind, Result};
use super::{Call, Services};
use crate::domain::ambient::Timestamp;
use crate::domain::id::{AttemptId, ConnectionId, MerchantId, TokenVersion};
use crate::domain::trail::{Act, Event, EventKind, Outcome, Record};
use crate::policy::{Grant, ReadAudit, Resource};
use crate::store::{MerchantKey, RecordPlace, RecordsOf, Store};

/// Most records that one page looks at: with full read records (256 events each) well within the deadline of a read.
const SCAN_MAX: usize = 500;
/// Records of one trip to the database: a page that fills at once costs one trip for each kind of trail.
const CHUNK: u32 = 64;

/// Which trails to look at.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum EventSource {
    /// Both kinds.
    #[default]
    Both,
    /// The change trail.
    Changes,
    /// The read trails.
    Reads,
}

/// Which events to list: those that fit everything that is given.
#[derive(Clone, Default, Debug)]
pub struct EventFilter {
    /// About this merchant.
    pub merchant: Option<MerchantKey>,
    /// About this connection.
    pub connection: Option<ConnectionId>,
    /// About this version; of the connection, where one is given.
    pub version: Option<TokenVersion>,
    /// Of this kind.
    pub kind: Option<EventKind>,
    /// By exactly this actor.
    pub actor: Option<String>,
    /// Which ended so.
    pub outcome: Option<Outcome>,
    /// About this attempt.
    pub attempt: Option<AttemptId>,
    /// In records not made before this time.
    pub after: Option<Timestamp>,
    /// In records made before this time.
    pub before: Option<Timestamp>,
    /// Of these trails.
    pub source: EventSource,
}

/// Where an event stands among those of all trails.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct EventPlace {
    /// Its record.
    pub record: RecordPlace,
    /// Its place in the record, 0 for the first.
    pub index: u32,
}

/// An event and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlacedEvent {
    /// Where it stands.
    pub place: EventPlace,
    /// The event.
    pub event: Event,
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct EventPage {
    /// The events, newest first.
    pub events: Vec<PlacedEvent>,
    /// The place above the next page; `None` when there is none.
    pub next: Option<EventPlace>,
}

impl Services {
    /// Events that fit the filter, newest first, below a place; looks at no more than a bounded number of records.
    ///
    /// # Errors
    /// [`Kind::PermissionDenied`]; [`Kind::NotFound`] for an external id that nobody has; [`Kind::DataCorrupt`] for a record that
    /// was damaged.
    pub async fn events(
        &self,
        call: &Call,
        filter: &EventFilter,
        below: Option<EventPlace>,
        page_size: usize,
    ) -> Result<EventPage> {
        let (grant, act) = self.permit_audit(call).await?;
        let merchant = self.named_merchant(filter.merchant.as_ref(), &act).await?;
        let page = self.scan(&grant, filter, merchant, below, page_size).await?;
        let event = act.event(EventKind::AuditRead, self.now()).reason("events").detail("purpose", grant.purpose());
        let event = described(event, filter, merchant).detail("count", page.events.len());
        self.parts.auditor.record(event).await?;
        Ok(page)
    }

    /// Makes the grant to read the audit.
    pub(super) async fn permit_audit(&self, call: &Call) -> Result<(Grant<ReadAudit>, Act)> {
        match self.policy().authorize::<ReadAudit>(&call.caller, &Resource::Deployment, self.now()) {
            Ok(grant) => {
                let act = call.act_by(&grant);
                Ok((grant, act))
            }
            Err(_) => Err(self.deny(call, EventKind::AuditRead, None, Kind::PermissionDenied).await),
        }
    }

    /// The id of the merchant that a filter of the audit names. An id of ours is taken as it is: who is gone has a history yet.
    pub(super) async fn named_merchant(&self, key: Option<&MerchantKey>, act: &Act) -> Result<Option<MerchantId>> {
        match key {
            None => Ok(None),
            Some(MerchantKey::Id(id)) => Ok(Some(*id)),
            Some(key) => match self.parts.store.merchant(key).await? {
                Some(merchant) => Ok(Some(merchant.id)),
                None => Err(self.fail(act, EventKind::AuditRead, None, Error::new(Kind::NotFound)).await),
            },
        }
    }

    async fn scan(
        &self,
        _permission: &Grant<ReadAudit>,
        filter: &EventFilter,
        merchant: Option<MerchantId>,
        below: Option<EventPlace>,
        page_size: usize,
    ) -> Result<EventPage> {
        let mut walks = walks(filter, merchant, below);
        let mut page = EventPage { events: Vec::new(), next: None };
        let mut looked_at = below;
        let mut scanned = 0_usize;
        while let Some(record) = newest(&mut walks, &self.parts.store).await? {
            let of = RecordPlace::of(&record);
            for (index, event) in record.events.into_iter().enumerate().rev() {
                let place = EventPlace { record: of, index: u32::try_from(index).unwrap_or(u32::MAX) };
                if below.is_some_and(|below| place >= below) {
                    continue;
                }
                if page.events.len() >= page_size {
                    page.next = looked_at;
                    return Ok(page);
                }
                looked_at = Some(place);
                if fits(filter, merchant, &event) {
                    page.events.push(PlacedEvent { place, event });
                }
            }
            scanned = scanned.saturating_add(1);
            if scanned >= SCAN_MAX {
                page.next = looked_at;
                return Ok(page);
            }
        }
        Ok(page)
    }
}

/// A way down through the records of one kind, a chunk at a time.
struct Walk {
    of: RecordsOf,
    oldest: Timestamp,
    chunk: VecDeque<Record>,
    /// Where the next chunk begins; `None` when there is none.
    next: Option<RecordPlace>,
}

impl Walk {
    /// Where the walk stands; `None` at its end.
    async fn place(&mut self, store: &Store) -> Result<Option<RecordPlace>> {
        if let (true, Some(from)) = (self.chunk.is_empty(), self.next) {
            let chunk = store.records_down_from(self.of, from, self.oldest, CHUNK).await?;
            self.next = chunk.last().map(|last| RecordPlace::of(last).below());
            self.chunk = chunk.into();
        }
        Ok(self.chunk.front().map(RecordPlace::of))
    }
}

/// The walks through the records that can hold what fits. Of one merchant or connection only its own changes are looked at; in
/// the read trails no column says whom a record is about.
fn walks(filter: &EventFilter, merchant: Option<MerchantId>, below: Option<EventPlace>) -> Vec<Walk> {
    let changes = match (merchant, filter.connection) {
        (_, Some(connection)) => RecordsOf::ChangesOfConnection(connection),
        (Some(merchant), None) => RecordsOf::ChangesOfMerchant(merchant),
        (None, None) => RecordsOf::Changes,
    };
    let sources = match filter.source {
        EventSource::Both => vec![changes, RecordsOf::Reads],
        EventSource::Changes => vec![changes],
        EventSource::Reads => vec![RecordsOf::Reads],
    };
    let from = below.map_or(RecordPlace::LAST, |below| below.record);
    let from = filter.before.map_or(from, |before| from.min(RecordPlace::before(before)));
    let oldest = filter.after.unwrap_or(Timestamp::from_micros(i64::MIN));
    let walk = |of| Walk { of, oldest, chunk: VecDeque::new(), next: Some(from) };
    sources.into_iter().map(walk).collect()
}

/// Takes the newest record that any of the walks stands at.
async fn newest(walks: &mut [Walk], store: &Store) -> Result<Option<Record>> {
    let mut newest: Option<(RecordPlace, &mut Walk)> = None;
    for walk in walks {
        if let Some(place) = walk.place(store).await?
            && newest.as_ref().is_none_or(|(other, _)| *other < place)
        {
            newest = Some((place, walk));
        }
    }
    Ok(newest.and_then(|(_, walk)| walk.chunk.pop_front()))
}

fn fits(filter: &EventFilter, merchant: Option<MerchantId>, event: &Event) -> bool {
    fn is<T: PartialEq>(wanted: Option<&T>, found: Option<&T>) -> bool {
        wanted.is_none() || wanted == found
    }
    is(merchant.as_ref(), event.merchant.as_ref())
        && is(filter.connection.as_ref(), event.connection.as_ref())
        && is(filter.version.as_ref(), event.version.as_ref())
        && is(filter.kind.as_ref(), Some(&event.kind))
        && is(filter.actor.as_ref(), Some(&event.actor))
        && is(filter.outcome.as_ref(), Some(&event.outcome))
        && is(filter.attempt.as_ref(), event.attempt.as_ref())
}

/// What was asked for, as details: the event is about the audit and not about whom was asked for.
fn described(event: Event, filter: &EventFilter, merchant: Option<MerchantId>) -> Event {
    let details = [
        ("merchant", merchant.map(|id| id.to_string())),
        ("connection", filter.connection.map(|id| id.to_string())),
        ("version", filter.version.map(|version| version.to_string())),
        ("kind", filter.kind.map(|kind| kind.as_str().to_owned())),
        ("actor", filter.actor.clone()),
        ("outcome", filter.outcome.map(|outcome| outcome.as_str().to_owned())),
        ("attempt", filter.attempt.map(|id| id.to_string())),
        ("after", filter.after.map(Timestamp::to_rfc3339)),
        ("before", filter.before.map(Timestamp::to_rfc3339)),
    ];
    with_details(event, details)
}

/// The event with those details that there are.
pub(super) fn with_details<const N: usize>(event: Event, details: [(&str, Option<String>); N]) -> Event {
    details.into_iter().fold(event, |event, (name, value)| match value {
        Some(value) => event.detail(name, value),
        None => event,
    })
}
