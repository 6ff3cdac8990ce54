//! `account …`: have payment accounts made under names that payers recognise, look at them, change them.

use std::time::Duration;

use serde_json::{Value, json};
use tonic::transport::Channel;
use tonic_types::StatusExt as _;

use super::Global;
use super::answer::Answer;
use super::failure::{ACCOUNT_UNRESOLVED, Failure};
use super::json;
use super::owner::{MerchantName, parse_merchant};
use super::request::RequestId;
use super::text::{self, ABSENT, or_absent, pairs, table, time_or_absent};
use crate::domain::ambient::{Clock as _, SystemClock};
use crate::domain::id::AccountId;
use crate::v1;
use crate::v1::account_service_client::AccountServiceClient;

const CALLER: &str = "onboarding";
/// Largest page that the server gives.
const PAGE_MAX: u32 = 100;
/// Most accounts of one list: more is a report, not a look.
const LIST_MAX: i64 = 10_000;
/// Longest wait for an account in doubt, in seconds: ten minutes is more than the provider ever takes.
const WAIT_MAX_S: i64 = 600;
/// Least time between two tries.
const RETRY_LEAST: Duration = Duration::from_secs(1);

const CREATE_HELP: &str = "\
Examples:
  strongroom account create shop-17 'Ada Books' --description 'second-hand books'
  strongroom account create shop-17 'Ada Livres' --description livres --kind business --country CA

The stored token is used: a second account never needs a new one. When the provider's answer is lost
the account is looked for, not asked for again; until that is settled the command waits and repeats
its request, at most --wait seconds. If it gives up, repeat it with the --request-id that it prints:
the same request never makes a second account.";
const UPDATE_HELP: &str = "\
Examples:
  strongroom account update acc_0190f3c7111172228333444455556666 --name 'Ada Rare Books'
  strongroom account update acc_0190f3c7111172228333444455556666 --description 'rare books and maps'";
const GET_HELP: &str = "\
Examples:
  strongroom account get acc_0190f3c7111172228333444455556666
  strongroom account get 1723052 --refresh            by the provider's id, as it is there now";
const LIST_HELP: &str = "\
Examples:
  strongroom account list shop-17
  strongroom account list --limit 1000 --json";
const CHECK_HELP: &str = "\
Examples:
  strongroom account check-name 'Ada Books'
  strongroom account check-name ORD-2024-00012345 --dba 'Ada Books'

Payers see `WPY*` and the beginning of the name. Ends with exit code 1 if the name would be refused.
`strongroom names check` does the same without a server.";

/// The commands about payment accounts.
#[derive(Debug, clap::Subcommand)]
pub enum AccountCommand {
    /// Has the provider make an account for a merchant, once.
    #[command(after_help = CREATE_HELP)]
    Create(Create),
    /// Changes an account's name or description.
    #[command(after_help = UPDATE_HELP)]
    Update(Update),
    /// Lists a merchant's accounts, or all that you may see.
    #[command(after_help = LIST_HELP)]
    List(List),
    /// Shows one account and what to do next for it.
    #[command(after_help = GET_HELP)]
    Get(Get),
    /// Judges a name for an account and does nothing else.
    #[command(after_help = CHECK_HELP)]
    CheckName {
        /// The name.
        #[arg(value_name = "NAME")]
        name: String,
        /// The name that the merchant does business under: suggestions may be made of it.
        #[arg(long, value_name = "NAME")]
        dba: Option<String>,
    },
}

/// Which account to make.
#[derive(Debug, clap::Args)]
pub struct Create {
    /// The merchant: mer_… or the platform's own id.
    #[arg(value_name = "MERCHANT", value_parser = parse_merchant)]
    merchant: MerchantName,
    /// What payers read on their statements.
    #[arg(value_name = "NAME")]
    name: String,
    /// What the account is for, in one line.
    #[arg(long, value_name = "TEXT")]
    description: String,
    /// The name that the merchant does business under: if NAME is refused, the suggestion may be made of it. Not kept.
    #[arg(long, value_name = "NAME")]
    dba: Option<String>,
    /// Whose money it is.
    #[arg(long, value_enum, value_name = "KIND", default_value = "personal")]
    kind: Kind,
    /// Where: US (dollars) or CA (Canadian dollars).
    #[arg(long, value_name = "CODE", default_value = "US", value_parser = ["US", "CA"])]
    country: String,
    /// Longest wait while it is not known whether the account was made.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(0..=WAIT_MAX_S.unsigned_abs()))]
    wait: u64,
    #[command(flatten)]
    request: RequestId,
}

/// Whose money an account holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A person's.
    Personal,
    /// A business's.
    Business,
    /// A non-profit organisation's.
    Nonprofit,
}

/// What to change of which account.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
pub struct Update {
    /// The account.
    #[arg(value_name = "ACCOUNT_ID")]
    account: AccountId,
    /// Its new name.
    #[arg(long, group = "change", value_name = "NAME")]
    name: Option<String>,
    /// Its new description.
    #[arg(long, group = "change", value_name = "TEXT")]
    description: Option<String>,
    #[command(flatten)]
    request: RequestId,
}

/// Which accounts to list.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Only this merchant's: mer_… or the platform's own id.
    #[arg(value_name = "MERCHANT", value_parser = parse_merchant)]
    merchant: Option<MerchantName>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=LIST_MAX))]
    limit: u32,
}

/// Which account to show.
#[derive(Debug, clap::Args)]
pub struct Get {
    /// The account: acc_… or the provider's own id.
    #[arg(value_name = "ACCOUNT", value_parser = parse_account)]
    account: AccountName,
    /// Ask the provider now.
    #[arg(long)]
    refresh: bool,
}

/// An account: our id, or the provider's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AccountName {
    /// Ours, `acc_…`.
    Id(AccountId),
    /// The provider's.
    Provider(String),
}

/// Reads an account. What begins with `acc_` is our id.
///
/// # Errors
/// Text for the user.
pub(crate) fn parse_account(text: &str) -> Result<AccountName, String> {
    match text {
        "" => Err("an account's id is not empty".to_owned()),
        text if text.starts_with("acc_") => text.parse().map(AccountName::Id).map_err(|bad| format!("{bad}")),
        text => Ok(AccountName::Provider(text.to_owned())),
    }
}

pub(crate) async fn run(command: AccountCommand, global: &Global) -> Result<Answer, Failure> {
    let mut client = AccountServiceClient::new(global.connect(CALLER).await?);
    match command {
        AccountCommand::Create(create) => {
            let wait = Duration::from_secs(create.wait);
            let account = insist(&mut client, &create.request(), wait).await?;
            Ok(shown(&account))
        }
        AccountCommand::Update(update) => {
            let request = update.request();
            let id = request.request_id.clone();
            let response = client.update_account(request).await;
            let response = response.map_err(|status| Failure::mutating(status, &id))?.into_inner();
            Ok(shown(&response.account.ok_or(Failure::Answer("account"))?))
        }
        AccountCommand::List(list) => {
            let (accounts, more) = fetch(&mut client, &list).await?;
            Ok(listed(&accounts, more))
        }
        AccountCommand::Get(get) => {
            let request = v1::GetAccountRequest { account: Some(get.account.into()), refresh: get.refresh };
            let response = client.get_account(request).await?.into_inner();
            Ok(shown(&response.account.ok_or(Failure::Answer("account"))?))
        }
        AccountCommand::CheckName { name, dba } => {
            let request = v1::CheckAccountNameRequest { name: name.clone(), dba: dba.unwrap_or_default() };
            Ok(judged(&name, &client.check_account_name(request).await?.into_inner()))
        }
    }
}

/// Asks until it is known whether the account was made, at most that long; the same request never makes a second one.
async fn insist(
    client: &mut AccountServiceClient<Channel>,
    request: &v1::CreateAccountRequest,
    wait: Duration,
) -> Result<v1::Account, Failure> {
    let clock = SystemClock;
    let until = clock.boot().saturating_add(wait);
    loop {
        let refused = match client.create_account(request.clone()).await {
            Ok(response) => return response.into_inner().account.ok_or(Failure::Answer("account")),
            Err(refused) => refused,
        };
        let details = refused.get_error_details();
        let is_unresolved = details.error_info().is_some_and(|info| info.reason == ACCOUNT_UNRESOLVED);
        let left = until.saturating_sub(clock.boot());
        if !is_unresolved || left.is_zero() {
            return Err(Failure::mutating(refused, &request.request_id));
        }
        let pause = details.retry_info().and_then(|info| info.retry_delay).unwrap_or(RETRY_LEAST);
        clock.sleep(pause.max(RETRY_LEAST).min(left)).await;
    }
}

/// The first accounts, page by page, and whether there are more.
async fn fetch(client: &mut AccountServiceClient<Channel>, list: &List) -> Result<(Vec<v1::Account>, bool), Failure> {
    let limit = usize::try_from(list.limit).unwrap_or(usize::MAX);
    let mut accounts = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListAccountsRequest {
            merchant: list.merchant.clone().map(Into::into),
            page_size: i32::try_from(list.limit.min(PAGE_MAX)).unwrap_or(0),
            page_token,
        };
        let response = client.list_accounts(request).await?.into_inner();
        accounts.extend(response.accounts);
        page_token = response.next_page_token;
        if page_token.is_empty() || accounts.len() >= limit {
            let more = accounts.len() > limit || !page_token.is_empty();
            accounts.truncate(limit);
            return Ok((accounts, more));
        }
    }
}

impl Create {
    fn request(self) -> v1::CreateAccountRequest {
        v1::CreateAccountRequest {
            request_id: self.request.choose(),
            merchant: Some(self.merchant.into()),
            name: self.name,
            description: self.description,
            kind: v1::AccountKind::from(self.kind).into(),
            country: self.country,
            dba: self.dba.unwrap_or_default(),
        }
    }
}

impl Update {
    fn request(self) -> v1::UpdateAccountRequest {
        v1::UpdateAccountRequest {
            request_id: self.request.choose(),
            account_id: self.account.to_string(),
            name: self.name.unwrap_or_default(),
            description: self.description.unwrap_or_default(),
        }
    }
}

impl From<Kind> for v1::AccountKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Personal => Self::Personal,
            Kind::Business => Self::Business,
            Kind::Nonprofit => Self::Nonprofit,
        }
    }
}

impl From<AccountName> for v1::get_account_request::Account {
    fn from(name: AccountName) -> Self {
        match name {
            AccountName::Id(id) => Self::AccountId(id.to_string()),
            AccountName::Provider(id) => Self::ProviderAccountId(id),
        }
    }
}

impl From<AccountName> for v1::get_access_token_request::Owner {
    fn from(name: AccountName) -> Self {
        match name {
            AccountName::Id(id) => Self::AccountId(id.to_string()),
            AccountName::Provider(id) => Self::ProviderAccountId(id),
        }
    }
}

/// Where it stands at the provider; nowhere while it is not open.
fn state(account: &v1::Account) -> String {
    if account.seen_time.is_none() { ABSENT.to_owned() } else { text::account_state(account.state) }
}

fn shown(account: &v1::Account) -> Answer {
    let mut rows = vec![
        ("account", account.account_id.clone()),
        ("at the provider", or_absent(&account.provider_account_id)),
        ("merchant", or_absent(&account.merchant_id)),
        ("connection", account.connection_id.clone()),
        ("name", account.name.clone()),
        ("description", account.description.clone()),
        ("kind", text::account_kind(account.kind)),
        ("country", format!("{} {}", account.country, account.currency)),
        ("opening", text::account_opening(account.opening)),
        ("state", state(account)),
        ("must give", or_absent(&account.action_reasons.join(", "))),
        ("disabled for", or_absent(&account.disabled_reasons.join(", "))),
        ("disabled from", time_or_absent(account.disablement_time.as_ref())),
        ("as seen", time_or_absent(account.seen_time.as_ref())),
        ("created", time_or_absent(account.create_time.as_ref())),
    ];
    if let Some(refusal) = &account.refusal {
        rows.push(("refused", format!("{} {}: {}", refusal.error, refusal.code, refusal.description)));
    }
    rows.push(("next action", text::account_next_action(account.next_action)));
    rows.push(("", or_absent(&account.next_action_text)));
    let rows: Vec<_> = rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Answer::new(json::account(account), pairs("", &rows))
}

fn listed(accounts: &[v1::Account], more: bool) -> Answer {
    let value = json!({ "accounts": accounts.iter().map(json::account).collect::<Vec<_>>(), "more": more });
    if accounts.is_empty() {
        return Answer::new(value, "No accounts that you may see.".to_owned());
    }
    let mut text = table(
        ["ACCOUNT", "AT THE PROVIDER", "MERCHANT", "NAME", "OPENING", "STATE", "SEEN", "NEXT ACTION"],
        accounts.iter().map(|account| {
            [
                account.account_id.clone(),
                or_absent(&account.provider_account_id),
                or_absent(&account.merchant_id),
                account.name.clone(),
                text::account_opening(account.opening),
                state(account),
                time_or_absent(account.seen_time.as_ref()),
                text::account_next_action(account.next_action),
            ]
        }),
    );
    if more {
        text.push_str("\nThere are more: raise --limit.\n");
    }
    Answer::new(value, text)
}

fn judged(name: &str, response: &v1::CheckAccountNameResponse) -> Answer {
    let verdict = text::name_verdict(response.verdict);
    let preview = response.preview.clone().unwrap_or_default();
    let reasons: Vec<Value> =
        response.reasons.iter().map(|reason| json!({ "code": reason.code, "text": reason.text })).collect();
    let value = json!({
        "name": name,
        "verdict": verdict,
        "reasons": reasons,
        "preview": { "at_14": preview.at_14, "at_18": preview.at_18, "at_20": preview.at_20 },
        "suggestions": response.suggestions,
    });
    let mut rows = vec![("name".to_owned(), name.to_owned()), ("verdict".to_owned(), verdict)];
    rows.extend(response.reasons.iter().map(|reason| (reason.code.clone(), reason.text.clone())));
    rows.push((
        "payers read".to_owned(),
        format!("{} (14), {} (18), {} (20)", preview.at_14, preview.at_18, preview.at_20),
    ));
    rows.extend(response.suggestions.iter().map(|name| ("suggestion".to_owned(), name.clone())));
    Answer { holds: response.verdict() != v1::NameVerdict::Refuse, ..Answer::new(value, pairs("", &rows)) }
}

#[cfg(test)]
mod tests;
