//! `merchant …`: connect merchants, look at them, decide about held links. `enrol` has the other ways in.

mod enrol;

use std::io::{self, Read};

use serde_json::json;

use super::Global;
use super::answer::Answer;
use super::failure::Failure;
use super::json;
use super::owner::{MerchantName, parse_merchant};
use super::request::RequestId;
use super::text::{self, ABSENT, or_absent, pairs, table, time_or_absent};
use crate::domain::id::{LinkId, MerchantId};
use crate::v1;
use crate::v1::onboarding_service_client::OnboardingServiceClient;

const CALLER: &str = "onboarding";
/// Who decides about held links.
const RESOLVER: &str = "admin";
/// Largest page that the server gives.
const PAGE_MAX: u32 = 100;
/// Most merchants of one list: more is a report, not a look.
const LIST_MAX: i64 = 10_000;
/// Longest confirmation read from standard input; real ones have under a hundred characters.
const CONFIRMATION_BYTES_MAX: u64 = 4096;

const CONNECT_HELP: &str = "\
Examples:
  strongroom merchant connect shop-17 --name 'Ada Shop' --email ada@shop.example
  strongroom merchant connect shop-17 --label eu --return-url https://platform.example/connected

Hand the link to the merchant. Opening it has no effect; pressing the button on the page does. While
the merchant's token is live this is refused (TOKEN_STILL_LIVE): another consent would revoke it. A
temporary token may be given up for a permanent one with --upgrade-temporary.";
const SHOW_HELP: &str = "\
Examples:
  strongroom merchant show shop-17                by the platform's id
  strongroom merchant show mer_0190f3c7111172228333444455556666 --json

NEXT ACTION says what has to be done, and the line below it how.";
const CONFIRM_HELP: &str = "\
Example:
  strongroom merchant confirm mer_0190f3c7111172228333444455556666 -

The value is used once and proves that the signed-in merchant is the one who connected. `-` reads it
from standard input, so that it stands in no list of processes.";
const RESOLVE_HELP: &str = "\
Examples:
  strongroom merchant resolve lnk_0190f3c7111172228333444455556666 --activate \\
      --reason 'called the merchant, ticket 4711'
  strongroom merchant resolve lnk_0190f3c7111172228333444455556666 --close \\
      --reason 'the link was forwarded to somebody else'

The link's id is in `merchant show`. A connection that serves another merchant too is always held:
look at SHARED, and ask who that is, before you activate it.";
const LIST_HELP: &str = "\
Examples:
  strongroom merchant list --held                             who waits for a decision
  strongroom merchant list --next-action reconnect --json     who has to consent again
  strongroom merchant list --label eu --limit 1000";

/// The commands about merchants.
#[derive(Debug, clap::Subcommand)]
pub enum MerchantCommand {
    /// Lists the merchants you may see.
    #[command(after_help = LIST_HELP)]
    List(List),
    /// Shows one merchant, its links and what to do next.
    #[command(after_help = SHOW_HELP)]
    Show {
        /// The merchant: mer_… or the platform's own id.
        #[arg(value_name = "MERCHANT", value_parser = parse_merchant)]
        merchant: MerchantName,
    },
    /// Makes the link that takes a merchant through the provider's page; makes the merchant on first use.
    ///
    /// Prints the link and until when it works. For a merchant who is known already, name and labels may be left out.
    #[command(after_help = CONNECT_HELP)]
    Connect(Connect),
    /// Registers a merchant at the provider with the person's data; makes the merchant on first use.
    #[command(after_help = enrol::REGISTER_HELP)]
    Register(enrol::Register),
    /// Has the provider mail the person behind a temporary token, who confirms and so makes it permanent.
    #[command(after_help = enrol::SEND_HELP)]
    SendConfirmation(enrol::SendConfirmation),
    /// Lets an existing connection serve a further merchant, without a mint.
    #[command(after_help = enrol::LINK_HELP)]
    Link(enrol::Link),
    /// Activates a held link with the one-time value that return_url received.
    #[command(after_help = CONFIRM_HELP)]
    Confirm(Confirm),
    /// Decides about a held link without the merchant's browser.
    #[command(after_help = RESOLVE_HELP)]
    Resolve(Resolve),
}

/// Which merchants to list.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Only those with this label.
    #[arg(long)]
    label: Option<String>,
    /// Only those with a link that waits for a decision.
    #[arg(long)]
    held: bool,
    /// Only those for whom this has to be done next.
    #[arg(long, value_enum, value_name = "ACTION")]
    next_action: Option<NextAction>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=LIST_MAX))]
    limit: u32,
}

/// What somebody has to do next for a merchant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum NextAction {
    /// Nothing: tokens can be read.
    None,
    /// Send the merchant a link.
    Connect,
    /// Confirm or resolve the held link.
    Confirm,
    /// Send the merchant a link again.
    Reconnect,
    /// Wait for an attempt.
    Wait,
    /// Have the token replaced: it works only in part.
    Replace,
    /// Have the person behind a temporary token confirm.
    GetConfirmed,
}

/// Whom to connect.
#[derive(Debug, clap::Args)]
pub struct Connect {
    /// The platform's own id of the merchant.
    #[arg(value_name = "EXTERNAL_ID")]
    external_id: String,
    /// What the merchant is called on our page.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Address that the provider's user is expected to have.
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// The person's name, prefilled at the provider.
    #[arg(long, value_name = "NAME")]
    user_name: Option<String>,
    /// A label that grants may name; may be repeated.
    #[arg(long, value_name = "LABEL")]
    label: Vec<String>,
    /// Where the merchant's browser goes in the end; must be on the server's allow-list.
    #[arg(long, value_name = "URL")]
    return_url: Option<String>,
    /// Give leave to revoke the merchant's own live temporary token for a permanent one.
    #[arg(long)]
    upgrade_temporary: bool,
    #[command(flatten)]
    request: RequestId,
}

/// Which connection to confirm.
#[derive(Debug, clap::Args)]
pub struct Confirm {
    /// The merchant that is signed in at the platform.
    #[arg(value_name = "MERCHANT_ID")]
    merchant: MerchantId,
    /// The parameter `confirmation` that return_url received; `-` reads it from standard input.
    #[arg(value_name = "CONFIRMATION")]
    confirmation: String,
    #[command(flatten)]
    request: RequestId,
}

/// What to decide about which link.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("decision").required(true))]
pub struct Resolve {
    /// The held link.
    #[arg(value_name = "LINK_ID")]
    link: LinkId,
    /// It serves the merchant from now on; an active one beside it is closed.
    #[arg(long, group = "decision")]
    activate: bool,
    /// It never will.
    #[arg(long, group = "decision")]
    close: bool,
    /// Why, for the audit.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    request: RequestId,
}

pub(crate) async fn run(command: MerchantCommand, global: &Global) -> Result<Answer, Failure> {
    let confirmation = match &command {
        MerchantCommand::Confirm(confirm) => confirm.value(&mut io::stdin().lock())?,
        _ => String::new(),
    };
    let caller = if matches!(command, MerchantCommand::Resolve(_)) { RESOLVER } else { CALLER };
    let mut client = OnboardingServiceClient::new(global.connect(caller).await?);
    match command {
        MerchantCommand::List(list) => {
            let (merchants, more) = fetch(&mut client, &list).await?;
            Ok(listed(&merchants, more))
        }
        MerchantCommand::Show { merchant } => {
            let request = v1::GetMerchantRequest { merchant: Some(merchant.into()) };
            let response = client.get_merchant(request).await?.into_inner();
            Ok(shown(&response.merchant.ok_or(Failure::Answer("merchant"))?))
        }
        MerchantCommand::Connect(connect) => {
            let request = connect.request();
            let id = request.request_id.clone();
            let response = client.start_authorization(request).await;
            Ok(connected(&response.map_err(|status| Failure::mutating(status, &id))?.into_inner()))
        }
        MerchantCommand::Register(register) => enrol::register(&mut client, register).await,
        MerchantCommand::SendConfirmation(send) => enrol::send_confirmation(&mut client, send).await,
        MerchantCommand::Link(link) => enrol::link(&mut client, link).await,
        MerchantCommand::Confirm(confirm) => {
            let request_id = confirm.request.choose();
            let merchant_id = confirm.merchant.to_string();
            let request = v1::ConfirmConnectionRequest { request_id: request_id.clone(), merchant_id, confirmation };
            let response = client.confirm_connection(request).await;
            let response = response.map_err(|status| Failure::mutating(status, &request_id))?.into_inner();
            Ok(decided(&response.link.ok_or(Failure::Answer("link"))?))
        }
        MerchantCommand::Resolve(resolve) => {
            let request = resolve.request();
            let id = request.request_id.clone();
            let response = client.resolve_held_link(request).await;
            let response = response.map_err(|status| Failure::mutating(status, &id))?.into_inner();
            Ok(decided(&response.link.ok_or(Failure::Answer("link"))?))
        }
    }
}

/// The first merchants, page by page, and whether there are more.
async fn fetch(
    client: &mut OnboardingServiceClient<tonic::transport::Channel>,
    list: &List,
) -> Result<(Vec<v1::Merchant>, bool), Failure> {
    let limit = usize::try_from(list.limit).unwrap_or(usize::MAX);
    let mut merchants = Vec::new();
    let mut page_token = String::new();
    loop {
        let response = client.list_merchants(list.request(page_token)).await?.into_inner();
        merchants.extend(response.merchants);
        page_token = response.next_page_token;
        if page_token.is_empty() || merchants.len() >= limit {
            let more = merchants.len() > limit || !page_token.is_empty();
            merchants.truncate(limit);
            return Ok((merchants, more));
        }
    }
}

impl List {
    fn request(&self, page_token: String) -> v1::ListMerchantsRequest {
        v1::ListMerchantsRequest {
            page_size: i32::try_from(self.limit.min(PAGE_MAX)).unwrap_or(0),
            page_token,
            label: self.label.clone().unwrap_or_default(),
            held: self.held,
            next_action: self.next_action.map_or(v1::NextAction::Unspecified, v1::NextAction::from).into(),
        }
    }
}

impl From<NextAction> for v1::NextAction {
    fn from(action: NextAction) -> Self {
        match action {
            NextAction::None => Self::None,
            NextAction::Connect => Self::Connect,
            NextAction::Confirm => Self::Confirm,
            NextAction::Reconnect => Self::Reconnect,
            NextAction::Wait => Self::Wait,
            NextAction::Replace => Self::Replace,
            NextAction::GetConfirmed => Self::GetConfirmed,
        }
    }
}

impl Connect {
    fn request(self) -> v1::StartAuthorizationRequest {
        v1::StartAuthorizationRequest {
            request_id: self.request.choose(),
            external_id: self.external_id,
            display_name: self.name.unwrap_or_default(),
            labels: self.label,
            return_url: self.return_url.unwrap_or_default(),
            expected_email: self.email.unwrap_or_default(),
            user_name: self.user_name.unwrap_or_default(),
            upgrade_temporary: self.upgrade_temporary,
        }
    }
}

impl Confirm {
    fn value(&self, input: &mut dyn Read) -> Result<String, Failure> {
        if self.confirmation != "-" {
            return Ok(self.confirmation.clone());
        }
        let mut text = String::new();
        let read = input.take(CONFIRMATION_BYTES_MAX).read_to_string(&mut text);
        read.map_err(|fault| Failure::file("standard input", fault))?;
        Ok(text.trim().to_owned())
    }
}

impl Resolve {
    fn request(self) -> v1::ResolveHeldLinkRequest {
        let decision = if self.activate { v1::LinkDecision::Activate } else { v1::LinkDecision::Close };
        v1::ResolveHeldLinkRequest {
            request_id: self.request.choose(),
            link_id: self.link.to_string(),
            decision: decision.into(),
            reason: self.reason,
        }
    }
}

fn listed(merchants: &[v1::Merchant], more: bool) -> Answer {
    let value = json!({ "merchants": merchants.iter().map(json::merchant).collect::<Vec<_>>(), "more": more });
    if merchants.is_empty() {
        return Answer::new(value, "No merchants that you may see.".to_owned());
    }
    let mut text = table(
        ["MERCHANT", "EXTERNAL ID", "LABELS", "LINK", "HEAD", "LIVENESS", "NEXT ACTION"],
        merchants.iter().map(|merchant| {
            // The active link says what readers get; without one the newest says what is going on.
            let active = |link: &&v1::Link| link.state() == v1::LinkState::Active;
            let link = merchant.links.iter().find(active).or(merchant.links.first());
            let head = link.and_then(|link| link.head.as_ref());
            [
                merchant.merchant_id.clone(),
                merchant.external_id.clone(),
                or_absent(&merchant.labels.join(",")),
                link.map_or_else(|| ABSENT.to_owned(), |link| text::link_state(link.state)),
                head.and_then(|head| head.r#ref.as_ref())
                    .map_or_else(|| ABSENT.to_owned(), |version| format!("v{}", version.version)),
                head.map_or_else(|| ABSENT.to_owned(), |head| text::liveness(head.liveness)),
                text::next_action(merchant.next_action),
            ]
        }),
    );
    if more {
        text.push_str("\nThere are more: raise --limit.\n");
    }
    Answer::new(value, text)
}

fn shown(merchant: &v1::Merchant) -> Answer {
    let mut rows = vec![
        ("merchant", merchant.merchant_id.clone()),
        ("external id", merchant.external_id.clone()),
        ("labels", or_absent(&merchant.labels.join(", "))),
        ("created", time_or_absent(merchant.create_time.as_ref())),
        ("next action", text::next_action(merchant.next_action)),
        ("", or_absent(&merchant.next_action_text)),
    ];
    if let Some(attempt) = &merchant.open_attempt {
        rows.push(("open attempt", format!("{} {}", attempt.attempt_id, text::attempt_state(attempt.state))));
        rows.push(("  since", time_or_absent(attempt.since_time.as_ref())));
        rows.push(("  judged from", time_or_absent(attempt.judge_time.as_ref())));
    }
    if let Some(temporary) = merchant.links.iter().find_map(|link| link.temporary.as_ref()) {
        rows.push(("temporary until", time_or_absent(temporary.expire_time.as_ref())));
        rows.push(("  payments may stop", time_or_absent(temporary.payments_block_earliest_time.as_ref())));
        rows.push(("  may be deleted", time_or_absent(temporary.deletion_earliest_time.as_ref())));
    }
    let mut text = pairs("", &owned(rows));
    if !merchant.links.is_empty() {
        text.push('\n');
        text.push_str(&links_table(&merchant.links));
    }
    Answer::new(json::merchant(merchant), text)
}

fn connected(response: &v1::StartAuthorizationResponse) -> Answer {
    let until = time_or_absent(response.expire_time.as_ref());
    let text = format!(
        "Hand this link to the merchant; it works until {until}:\n\n  {}\n\n{}",
        text::plain(&response.url),
        pairs(
            "",
            &owned(vec![("merchant", response.merchant_id.clone()), ("invitation", response.invitation_id.clone())])
        ),
    );
    let value = json!({
        "merchant_id": response.merchant_id,
        "invitation_id": response.invitation_id,
        "url": response.url,
        "expire_time": text::time(response.expire_time.as_ref()),
    });
    Answer::new(value, text)
}

fn decided(link: &v1::Link) -> Answer {
    Answer::new(json!({ "link": json::link(link) }), links_table(std::slice::from_ref(link)))
}

fn links_table(links: &[v1::Link]) -> String {
    table(
        ["LINK", "STATE", "SUBJECT", "HEAD", "LIVENESS", "SHARED", "CREATED"],
        links.iter().map(|link| {
            let head = link.head.as_ref();
            [
                link.link_id.clone(),
                text::link_state(link.state),
                or_absent(&link.subject),
                text::version(head.and_then(|head| head.r#ref.as_ref())),
                head.map_or_else(|| ABSENT.to_owned(), |head| text::liveness(head.liveness)),
                if link.shared { "yes" } else { "no" }.to_owned(),
                time_or_absent(link.create_time.as_ref()),
            ]
        }),
    )
}

fn owned(rows: Vec<(&str, String)>) -> Vec<(String, String)> {
    rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests;
