//! `audit calls`: calls to the provider, newest first.

use serde_json::{Value, json};

use crate::cli::Global;
use crate::cli::answer::Answer;
use crate::cli::failure::Failure;
use crate::cli::owner::{MerchantName, parse_merchant};
use crate::cli::pages::Extent;
use crate::cli::period::Period;
use crate::cli::text::{self, ABSENT, or_absent, table, time_or_absent};
use crate::domain::id::{AttemptId, ConnectionId};
use crate::v1;

pub(super) const HELP: &str = "\
Examples:
  strongroom audit calls --outcome unknown --since 1d     which calls nobody knows the end of
  strongroom audit calls --attempt att_0190f3c7111172228333444455556666 --wide
                                                          what one attempt sent, and what came back
  strongroom audit calls --call /user --error-code 1011   which tokens the provider called revoked

Requests are redacted before they are logged: what is not known to be harmless is \"[redacted]\".
Old calls are removed after `retention.provider_calls`. With --json each call is one line.";

/// Which calls to list.
#[derive(Debug, clap::Args)]
pub struct Calls {
    /// By the provider's name of it, such as /oauth2/token.
    #[arg(long, value_name = "CALL")]
    call: Option<String>,
    /// Of this attempt.
    #[arg(long, value_name = "att_…")]
    attempt: Option<AttemptId>,
    /// About this merchant: mer_… or the platform's own id.
    #[arg(long, value_parser = parse_merchant)]
    merchant: Option<MerchantName>,
    /// With this connection's token.
    #[arg(long, value_name = "con_…")]
    connection: Option<ConnectionId>,
    /// Which ended so.
    #[arg(long, value_enum)]
    outcome: Option<Outcome>,
    /// Which the provider answered by this error code.
    #[arg(long, value_name = "CODE")]
    error_code: Option<String>,
    #[command(flatten)]
    period: Period,
    #[command(flatten)]
    extent: Extent,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Outcome {
    /// The provider did it.
    Done,
    /// Provably not one byte was written.
    #[value(name = "not_sent")]
    NotSent,
    /// The provider said no.
    Refused,
    /// No clear answer.
    Unknown,
}

impl Calls {
    pub(super) async fn run(self, global: &Global) -> Result<Answer, Failure> {
        let mut client = super::client(global).await?;
        let mut fetched = self.extent.begin();
        while !fetched.is_done() {
            let page = client.list_provider_calls(self.request(fetched.page_token.clone())).await?.into_inner();
            fetched.push(page.calls, page.next_page_token);
        }
        Ok(fetched.answer("No such calls.", |calls| calls_table(&self.extent, calls), call_to_json))
    }

    fn request(&self, page_token: String) -> v1::ListProviderCallsRequest {
        v1::ListProviderCallsRequest {
            page_size: self.extent.page_size(),
            page_token,
            call: self.call.clone().unwrap_or_default(),
            attempt_id: self.attempt.map(|id| id.to_string()).unwrap_or_default(),
            merchant: self.merchant.clone().map(Into::into),
            connection_id: self.connection.map(|id| id.to_string()).unwrap_or_default(),
            outcome: match self.outcome {
                None => v1::CallOutcome::Unspecified,
                Some(Outcome::Done) => v1::CallOutcome::Done,
                Some(Outcome::NotSent) => v1::CallOutcome::NotSent,
                Some(Outcome::Refused) => v1::CallOutcome::Refused,
                Some(Outcome::Unknown) => v1::CallOutcome::Unknown,
            }
            .into(),
            error_code: self.error_code.clone().unwrap_or_default(),
            after_time: self.period.after_time(),
            before_time: self.period.before_time(),
        }
    }
}

fn calls_table(extent: &Extent, calls: &[v1::ProviderCall]) -> String {
    let common = |call: &v1::ProviderCall| {
        [
            time_or_absent(call.begin_time.as_ref()),
            call.call.clone(),
            text::call_outcome(call.outcome),
            status(call),
            or_absent(&call.error_code),
            took(call),
            extent.id(&call.merchant_id),
            extent.id(&call.connection_id),
            extent.id(&call.attempt_id),
            or_absent(&call.detail),
        ]
    };
    let header = ["TIME", "CALL", "OUTCOME", "STATUS", "CODE", "TOOK", "MERCHANT", "CONNECTION", "ATTEMPT", "DETAIL"];
    if !extent.wide {
        return table(header, calls.iter().map(common));
    }
    let [a, b, c, d, e, f, g, h, i, j] = header;
    table(
        [a, b, c, d, e, f, g, h, i, j, "ID", "REQUEST"],
        calls.iter().map(|call| {
            let [a, b, c, d, e, f, g, h, i, j] = common(call);
            [a, b, c, d, e, f, g, h, i, j, call.provider_call_id.clone(), call.request.clone()]
        }),
    )
}

fn status(call: &v1::ProviderCall) -> String {
    if call.http_status == 0 { ABSENT.to_owned() } else { call.http_status.to_string() }
}

fn took(call: &v1::ProviderCall) -> String {
    millis(call).map_or_else(|| ABSENT.to_owned(), |millis| format!("{millis}ms"))
}

fn millis(call: &v1::ProviderCall) -> Option<i64> {
    let took = call.duration?;
    Some(took.seconds.saturating_mul(1_000).saturating_add(i64::from(took.nanos / 1_000_000)))
}

/// A call: field names of the API, the redacted request as the JSON it is.
fn call_to_json(call: &v1::ProviderCall) -> Value {
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    json!({
        "provider_call_id": call.provider_call_id,
        "begin_time": text::time(call.begin_time.as_ref()),
        "call": call.call,
        "request": serde_json::from_str(&call.request).unwrap_or_else(|_| Value::from(call.request.as_str())),
        "outcome": text::call_outcome(call.outcome),
        "http_status": (call.http_status != 0).then_some(call.http_status),
        "error_code": some(&call.error_code),
        "detail": some(&call.detail),
        "duration_ms": millis(call),
        "attempt_id": some(&call.attempt_id),
        "merchant_id": some(&call.merchant_id),
        "connection_id": some(&call.connection_id),
    })
}

#[cfg(test)]
mod tests;
