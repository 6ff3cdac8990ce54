//! `audit list`: events of the trails, newest first.

use clap::builder::PossibleValuesParser;
use serde_json::{Map, Value, json};

use crate::cli::Global;
use crate::cli::answer::Answer;
use crate::cli::failure::Failure;
use crate::cli::owner::{MerchantName, parse_merchant, parse_version};
use crate::cli::pages::Extent;
use crate::cli::period::Period;
use crate::cli::text::{self, ABSENT, or_absent, table, time_or_absent};
use crate::domain::id::{AttemptId, ConnectionId};
use crate::domain::trail::EventKind;
use crate::v1;

pub(super) const HELP: &str = "\
Examples:
  strongroom audit list --merchant shop-17 --since 7d     what became of a merchant
  strongroom audit list --token con_0190f3c7111172228333444455556666:3 --kind token.read
                                                          who held this version of a token, and when
  strongroom audit list --outcome denied --since 1h       who was turned away
  strongroom audit list --attempt att_0190f3c7111172228333444455556666 --wide
                                                          everything about one attempt, with all ids

A view: PLACE says where the signed record stands, as trail:record.event; `audit verify` proves
that nothing was altered. With --json each event is one line. Looking is recorded too.";

/// Which events to list.
#[derive(Debug, clap::Args)]
pub struct List {
    /// About this merchant: mer_… or the platform's own id.
    #[arg(long, value_parser = parse_merchant)]
    merchant: Option<MerchantName>,
    /// About this connection.
    #[arg(long, value_name = "con_…", conflicts_with = "token")]
    connection: Option<ConnectionId>,
    /// About this version of a connection's token.
    #[arg(long, value_name = "con_…:N", value_parser = parse_version)]
    token: Option<v1::TokenVersionRef>,
    /// Of this kind.
    #[arg(long, value_parser = PossibleValuesParser::new(EventKind::ALL.iter().map(|kind| kind.as_str())))]
    kind: Option<String>,
    /// By exactly this caller, or by `merchant` or `system`.
    #[arg(long, value_name = "SPIFFE_ID")]
    actor: Option<String>,
    /// Which ended so.
    #[arg(long, value_enum)]
    outcome: Option<Outcome>,
    /// About this attempt.
    #[arg(long, value_name = "att_…")]
    attempt: Option<AttemptId>,
    /// Of this kind of trail only.
    #[arg(long, value_enum)]
    source: Option<Source>,
    #[command(flatten)]
    period: Period,
    #[command(flatten)]
    extent: Extent,
}

/// How what an event tells of ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Outcome {
    /// It was done, or could have been.
    Success,
    /// No grant permitted it.
    Denied,
    /// It was permitted and did not come about.
    Failure,
}

/// A kind of trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Source {
    /// The change trail.
    Changes,
    /// The read trails.
    Reads,
}

impl List {
    pub(super) async fn run(self, global: &Global) -> Result<Answer, Failure> {
        let mut client = super::client(global).await?;
        let mut fetched = self.extent.begin();
        while !fetched.is_done() {
            let page = client.list_events(self.request(fetched.page_token.clone())).await?.into_inner();
            fetched.push(page.events, page.next_page_token);
        }
        Ok(fetched.answer("No such events.", |events| self.extent_table(events), event_to_json))
    }

    fn request(&self, page_token: String) -> v1::ListEventsRequest {
        let connection = self.connection.map(|id| id.to_string());
        let token = self.token.as_ref();
        v1::ListEventsRequest {
            page_size: self.extent.page_size(),
            page_token,
            merchant: self.merchant.clone().map(Into::into),
            connection_id: token.map(|token| token.connection_id.clone()).or(connection).unwrap_or_default(),
            version: token.map_or(0, |token| token.version),
            kind: self.kind.clone().unwrap_or_default(),
            actor: self.actor.clone().unwrap_or_default(),
            outcome: match self.outcome {
                None => v1::EventOutcome::Unspecified,
                Some(Outcome::Success) => v1::EventOutcome::Success,
                Some(Outcome::Denied) => v1::EventOutcome::Denied,
                Some(Outcome::Failure) => v1::EventOutcome::Failure,
            }
            .into(),
            attempt_id: self.attempt.map(|id| id.to_string()).unwrap_or_default(),
            after_time: self.period.after_time(),
            before_time: self.period.before_time(),
            source: match self.source {
                None => v1::EventSource::Unspecified,
                Some(Source::Changes) => v1::EventSource::Changes,
                Some(Source::Reads) => v1::EventSource::Reads,
            }
            .into(),
        }
    }

    fn extent_table(&self, events: &[v1::Event]) -> String {
        let extent = &self.extent;
        let common = |event: &v1::Event| {
            [
                time_or_absent(event.event_time.as_ref()),
                event.kind.clone(),
                text::event_outcome(event.outcome),
                extent.actor(&event.actor),
                extent.id(&event.merchant_id),
                token(extent, event),
                or_absent(&event.reason),
            ]
        };
        let place = |event: &v1::Event| format!("{}:{}.{}", extent.id(&event.trail_id), event.seq, event.index);
        if !extent.wide {
            return table(
                ["TIME", "KIND", "OUTCOME", "ACTOR", "MERCHANT", "TOKEN", "REASON", "PLACE"],
                events.iter().map(|event| {
                    let [time, kind, outcome, actor, merchant, token, reason] = common(event);
                    [time, kind, outcome, actor, merchant, token, reason, place(event)]
                }),
            );
        }
        table(
            [
                "TIME", "KIND", "OUTCOME", "ACTOR", "MERCHANT", "TOKEN", "REASON", "ATTEMPT", "LINK", "FLOW", "ORIGIN",
                "CALL", "GRANT", "DETAILS", "PLACE",
            ],
            events.iter().map(|event| {
                let [time, kind, outcome, actor, merchant, token, reason] = common(event);
                let details = event.details.iter().map(|detail| format!("{}={}", detail.name, detail.value));
                let details = details.collect::<Vec<_>>().join(" ");
                let (attempt, link, flow) = (&event.attempt_id, &event.link_id, &event.flow_id);
                let (origin, call, grant) = (&event.origin, &event.call_id, &event.grant_id);
                let [attempt, link, flow, origin, call, grant, details] =
                    [attempt, link, flow, origin, call, grant, &details].map(|text| or_absent(text));
                [
                    time,
                    kind,
                    outcome,
                    actor,
                    merchant,
                    token,
                    reason,
                    attempt,
                    link,
                    flow,
                    origin,
                    call,
                    grant,
                    details,
                    place(event),
                ]
            }),
        )
    }
}

/// The connection, and the version where the event names one.
fn token(extent: &Extent, event: &v1::Event) -> String {
    match (event.connection_id.is_empty(), event.version) {
        (true, _) => ABSENT.to_owned(),
        (false, 0) => extent.id(&event.connection_id),
        (false, version) => format!("{}:{version}", extent.id(&event.connection_id)),
    }
}

/// An event: field names of the API; what is absent is left out.
fn event_to_json(event: &v1::Event) -> Value {
    let mut value = Map::new();
    let mut put = |name: &str, found: Value| {
        if !matches!(&found, Value::Null) && found.as_str() != Some("") {
            value.insert(name.to_owned(), found);
        }
    };
    put("trail_id", json!(event.trail_id));
    put("seq", json!(event.seq));
    put("index", json!(event.index));
    put("record_time", json!(text::time(event.record_time.as_ref())));
    put("event_time", json!(text::time(event.event_time.as_ref())));
    put("kind", json!(event.kind));
    put("outcome", json!(text::event_outcome(event.outcome)));
    put("actor", json!(event.actor));
    put("origin", json!(event.origin));
    put("call_id", json!(event.call_id));
    put("merchant_id", json!(event.merchant_id));
    put("connection_id", json!(event.connection_id));
    put("version", json!((event.version > 0).then_some(event.version)));
    put("link_id", json!(event.link_id));
    put("invitation_id", json!(event.invitation_id));
    put("flow_id", json!(event.flow_id));
    put("attempt_id", json!(event.attempt_id));
    put("about_trail_id", json!(event.about_trail_id));
    put("fingerprint", json!(event.fingerprint));
    put("grant_id", json!(event.grant_id));
    put("policy_hash", json!(event.policy_hash));
    put("reason", json!(event.reason));
    let details = event.details.iter().map(|detail| (detail.name.clone(), Value::from(detail.value.as_str())));
    let details: Map<String, Value> = details.collect();
    if !details.is_empty() {
        put("details", Value::Object(details));
    }
    Value::Object(value)
}

#[cfg(test)]
mod tests;
