//! `attempt …`: what was about to bring or kill tokens, and how it ended.

use serde_json::{Value, json};

use super::Global;
use super::answer::Answer;
use super::failure::Failure;
use super::json as messages;
use super::owner::{MerchantName, parse_merchant};
use super::pages::Extent;
use super::text::{self, ABSENT, or_absent, table, time_or_absent};
use crate::v1;
use crate::v1::token_service_client::TokenServiceClient;

const CALLER: &str = "auditor";

const LIST_HELP: &str = "\
Examples:
  strongroom attempt list --open                       what stands in the way of merchants now
  strongroom attempt list --merchant shop-17 --wide    every try of a merchant, with all ids
  strongroom attempt list --state lost --json          which tries brought a token that nobody has

An attempt in doubt is never repeated: it is judged at the time in JUDGED FROM at the earliest.
`audit calls --attempt` shows what it sent. With --json each attempt is one line.";

/// The commands about attempts.
#[derive(Debug, clap::Subcommand)]
pub enum AttemptCommand {
    /// Lists attempts at bringing a token, newest first, of the merchants whose history you may see.
    #[command(after_help = LIST_HELP)]
    List(List),
}

/// Which attempts to list.
#[derive(Debug, clap::Args)]
pub struct List {
    /// For this merchant: mer_… or the platform's own id.
    #[arg(long, value_parser = parse_merchant)]
    merchant: Option<MerchantName>,
    /// In this state.
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Of this kind.
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Only those that are not settled: received, armed or in doubt.
    #[arg(long)]
    open: bool,
    #[command(flatten)]
    extent: Extent,
}

/// Where an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum State {
    /// Claimed; nothing was sent.
    Received,
    /// Bytes may be on their way to the provider.
    Armed,
    /// A token came of it.
    Committed,
    /// The guard refused it; nothing was sent.
    Refused,
    /// Nothing was sent, for another reason than the guard's.
    NotSent,
    /// The provider said no.
    Rejected,
    /// Whether the provider acted is not known.
    InDoubt,
    /// What it may have brought cannot be found.
    Lost,
    /// It did not take effect.
    NotApplied,
    /// It was given up, and its answer came late and is kept.
    Late,
}

/// What an attempt is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Redeem the code that a merchant's consent brought.
    Exchange,
    /// Register a user at the provider.
    Register,
    /// Take over credentials that exist already.
    Import,
}

pub(crate) async fn run(command: AttemptCommand, global: &Global) -> Result<Answer, Failure> {
    let AttemptCommand::List(list) = command;
    let mut client = TokenServiceClient::new(global.connect(CALLER).await?);
    let mut fetched = list.extent.begin();
    while !fetched.is_done() {
        let page = client.list_attempts(list.request(fetched.page_token.clone())).await?.into_inner();
        fetched.push(page.attempts, page.next_page_token);
    }
    Ok(fetched.answer("No such attempts.", |attempts| attempts_table(&list.extent, attempts), attempt_to_json))
}

impl List {
    fn request(&self, page_token: String) -> v1::ListAttemptsRequest {
        v1::ListAttemptsRequest {
            page_size: self.extent.page_size(),
            page_token,
            merchant: self.merchant.clone().map(Into::into),
            state: self.state.map_or(v1::AttemptState::Unspecified, v1::AttemptState::from).into(),
            kind: match self.kind {
                None => v1::AttemptKind::Unspecified,
                Some(Kind::Exchange) => v1::AttemptKind::Exchange,
                Some(Kind::Register) => v1::AttemptKind::Register,
                Some(Kind::Import) => v1::AttemptKind::Import,
            }
            .into(),
            open: self.open,
        }
    }
}

impl From<State> for v1::AttemptState {
    fn from(state: State) -> Self {
        match state {
            State::Received => Self::Received,
            State::Armed => Self::Armed,
            State::Committed => Self::Committed,
            State::Refused => Self::Refused,
            State::NotSent => Self::NotSent,
            State::Rejected => Self::Rejected,
            State::InDoubt => Self::InDoubt,
            State::Lost => Self::Lost,
            State::NotApplied => Self::NotApplied,
            State::Late => Self::Late,
        }
    }
}

fn attempts_table(extent: &Extent, attempts: &[v1::Attempt]) -> String {
    let common = |attempt: &v1::Attempt| {
        [
            extent.id(&attempt.attempt_id),
            text::attempt_kind(attempt.kind),
            text::attempt_state(attempt.state),
            or_absent(&attempt.reason),
            extent.id(&attempt.merchant_id),
            attempt.version.as_ref().map_or_else(
                || ABSENT.to_owned(),
                |version| format!("{}:{}", extent.id(&version.connection_id), version.version),
            ),
            time_or_absent(attempt.receive_time.as_ref()),
            time_or_absent(attempt.judge_time.as_ref()),
        ]
    };
    let header = ["ATTEMPT", "KIND", "STATE", "REASON", "MERCHANT", "TOKEN", "RECEIVED", "JUDGED FROM"];
    if !extent.wide {
        return table(header, attempts.iter().map(common));
    }
    let [a, b, c, d, e, f, g, h] = header;
    table(
        [a, b, c, d, e, f, g, h, "ARMED", "CHANGED", "CONNECTION", "FLOW"],
        attempts.iter().map(|attempt| {
            let [a, b, c, d, e, f, g, h] = common(attempt);
            let armed = time_or_absent(attempt.arm_time.as_ref());
            let changed = time_or_absent(attempt.change_time.as_ref());
            [a, b, c, d, e, f, g, h, armed, changed, extent.id(&attempt.connection_id), extent.id(&attempt.flow_id)]
        }),
    )
}

fn attempt_to_json(attempt: &v1::Attempt) -> Value {
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    json!({
        "attempt_id": attempt.attempt_id,
        "kind": text::attempt_kind(attempt.kind),
        "state": text::attempt_state(attempt.state),
        "reason": some(&attempt.reason),
        "merchant_id": some(&attempt.merchant_id),
        "connection_id": some(&attempt.connection_id),
        "flow_id": some(&attempt.flow_id),
        "receive_time": text::time(attempt.receive_time.as_ref()),
        "arm_time": text::time(attempt.arm_time.as_ref()),
        "change_time": text::time(attempt.change_time.as_ref()),
        "judge_time": text::time(attempt.judge_time.as_ref()),
        "version": attempt.version.as_ref().map(messages::version_ref),
    })
}

#[cfg(test)]
mod tests;
