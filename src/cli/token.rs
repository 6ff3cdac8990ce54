//! `token …`: fetch a token, look at versions, report and verify.
//!
//! The token is a secret: it goes to a new private file, or to standard output when that was asked for, and nowhere else.

use std::path::PathBuf;

use serde_json::{Value, json};
use tonic::transport::Channel;
use zeroize::Zeroizing;

use super::Global;
use super::account::{AccountName, parse_account};
use super::answer::Answer;
use super::failure::Failure;
use super::json;
use super::owner::{MerchantName, parse_merchant, parse_version};
use super::private::PrivateFile;
use super::request::RequestId;
use super::text::{self, ABSENT, or_absent, pairs, table, time_or_absent};
use crate::v1;
use crate::v1::token_service_client::TokenServiceClient;

const CALLER: &str = "payments";
/// Largest page that the server gives.
const PAGE_MAX: i32 = 100;

const GET_HELP: &str = "\
Examples:
  strongroom token get shop-17                      what there is, without the token
  strongroom token get shop-17 --out token          the token into a new file for you alone
  strongroom token get --account 1723052            by an account: ours or the provider's id
  TOKEN=$(strongroom token get shop-17 --show)      the token on standard output

Each of them is recorded as a read before the server answers.";
const VERSIONS_HELP: &str = "\
Example:
  strongroom token versions shop-17

The head is the version that readers get. `audit list --token` says who held a version, and when.";
const VERIFY_HELP: &str = "\
Example:
  strongroom token verify shop-17

Only the provider's answers change what is known: one word of death is confirmed by a second one,
some seconds later. A temporary token whose person has confirmed becomes permanent, same version.";
const REPORT_HELP: &str = "\
Example:
  strongroom token report con_0190f3c7111172228333444455556666:3 --code 1011 --status 401

About an older version than the head nothing is done; about the head a probe may be started. A
report never starts a mint.";

/// The commands about tokens.
#[derive(Debug, clap::Subcommand)]
pub enum TokenCommand {
    /// Fetches a merchant's access token; shows it only when asked to.
    ///
    /// Without --show or --out only what is known of the token is printed: its version, whether the provider accepts it, and until
    /// when you may keep it without asking again.
    #[command(after_help = GET_HELP)]
    Get(Get),
    /// Lists every version of a merchant's connections, newest first, without the tokens.
    #[command(after_help = VERSIONS_HELP)]
    Versions {
        /// The merchant: mer_… or the platform's own id.
        #[arg(value_name = "MERCHANT", value_parser = parse_merchant)]
        merchant: MerchantName,
    },
    /// Tells that the provider answered a call made with this version by an error.
    #[command(after_help = REPORT_HELP)]
    Report(Report),
    /// Asks the provider now whether the merchant's token is alive.
    #[command(after_help = VERIFY_HELP)]
    Verify {
        /// The merchant: mer_… or the platform's own id.
        #[arg(value_name = "MERCHANT", value_parser = parse_merchant)]
        merchant: MerchantName,
        /// What makes repeating it safe.
        #[command(flatten)]
        request: RequestId,
    },
}

/// Whose token to fetch, and where it goes.
#[derive(Debug, clap::Args)]
pub struct Get {
    /// The merchant: mer_… or the platform's own id.
    #[arg(value_name = "MERCHANT", value_parser = parse_merchant, required_unless_present_any = ["subject", "account"])]
    merchant: Option<MerchantName>,
    /// The account's merchant, by the account: acc_… or the provider's own id.
    #[arg(long, value_name = "ACCOUNT", value_parser = parse_account, conflicts_with_all = ["merchant", "subject"])]
    account: Option<AccountName>,
    /// The provider's user, by the provider's id, instead of a merchant.
    #[arg(long, value_name = "ID", conflicts_with = "merchant")]
    subject: Option<String>,
    /// Not an older version than this.
    #[arg(long, value_name = "con_…:N", value_parser = parse_version)]
    min_version: Option<v1::TokenVersionRef>,
    /// Writes the token, nothing else, into this new file (mode 0600).
    #[arg(long, value_name = "FILE", conflicts_with = "show")]
    out: Option<PathBuf>,
    /// Prints the token on standard output; with --json as `access_token` beside the rest.
    #[arg(long)]
    show: bool,
}

/// Which error the provider gave.
#[derive(Debug, clap::Args)]
pub struct Report {
    /// The version that the failed call was made with.
    #[arg(id = "reported", value_name = "con_…:N", value_parser = parse_version)]
    version: v1::TokenVersionRef,
    /// The provider's error_code.
    #[arg(long, value_name = "CODE")]
    code: String,
    /// HTTP status of the provider's answer.
    #[arg(long, value_name = "STATUS", value_parser = clap::value_parser!(i32).range(100..=599))]
    status: Option<i32>,
    /// The provider's error_description.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    #[command(flatten)]
    request: RequestId,
}

pub(crate) async fn run(command: TokenCommand, global: &Global) -> Result<Answer, Failure> {
    match command {
        TokenCommand::Get(get) => get.run(global).await,
        TokenCommand::Versions { merchant } => {
            let mut client = client(global).await?;
            let mut versions = Vec::new();
            let mut page_token = String::new();
            loop {
                let merchant = Some(merchant.clone().into());
                let request = v1::ListTokenVersionsRequest { merchant, page_size: PAGE_MAX, page_token };
                let response = client.list_token_versions(request).await?.into_inner();
                versions.extend(response.versions);
                page_token = response.next_page_token;
                if page_token.is_empty() {
                    return Ok(listed(&versions));
                }
            }
        }
        TokenCommand::Report(report) => {
            let request = report.request();
            let id = request.request_id.clone();
            let response = client(global).await?.report_provider_error(request).await;
            Ok(reported(&response.map_err(|status| Failure::mutating(status, &id))?.into_inner()))
        }
        TokenCommand::Verify { merchant, request } => {
            let id = request.choose();
            let request = v1::VerifyTokenRequest { request_id: id.clone(), merchant: Some(merchant.into()) };
            let response = client(global).await?.verify_token(request).await;
            let response = response.map_err(|status| Failure::mutating(status, &id))?.into_inner();
            let finding = response.finding;
            Ok(verified(&response.head.ok_or(Failure::Answer("head"))?, finding))
        }
    }
}

async fn client(global: &Global) -> Result<TokenServiceClient<Channel>, Failure> {
    Ok(TokenServiceClient::new(global.connect(CALLER).await?))
}

impl Get {
    async fn run(self, global: &Global) -> Result<Answer, Failure> {
        // The file first: a read that then has nowhere to go would stand in the audit for nothing.
        let file = self.out.as_deref().map(PrivateFile::create).transpose()?;
        let mut client = client(global).await?;
        let mut response = client.get_access_token(self.request()).await?.into_inner();
        let token = Zeroizing::new(std::mem::take(&mut response.access_token));
        if let Some(mut file) = file {
            file.write(token.as_bytes())?;
            file.keep()?;
        }
        Ok(self.answer(&response, &token))
    }

    fn request(&self) -> v1::GetAccessTokenRequest {
        let subject = self.subject.clone().map(v1::get_access_token_request::Owner::Subject);
        v1::GetAccessTokenRequest {
            owner: self.merchant.clone().map(Into::into).or(subject).or(self.account.clone().map(Into::into)),
            min_version: self.min_version.clone(),
        }
    }

    fn answer(&self, response: &v1::GetAccessTokenResponse, token: &str) -> Answer {
        let mut value = json!({
            "version": response.version.as_ref().map(json::version_ref),
            "liveness": text::liveness(response.liveness),
            "evidence_time": text::time(response.evidence_time.as_ref()),
            "cache_until_time": text::time(response.cache_until_time.as_ref()),
            "expire_time": text::time(response.expire_time.as_ref()),
            "merchant_id": response.merchant_id,
            "subject": response.subject,
        });
        if self.show {
            if let Value::Object(fields) = &mut value {
                fields.insert("access_token".to_owned(), token.into());
            }
            return Answer::new(value, text::plain(token));
        }
        let place = match &self.out {
            Some(path) => format!("written to {}", path.display()),
            None => "not shown: --show prints it, --out FILE keeps it in a private file".to_owned(),
        };
        let rows = [
            ("version", text::version(response.version.as_ref())),
            ("liveness", text::liveness(response.liveness)),
            ("evidence of", time_or_absent(response.evidence_time.as_ref())),
            ("keep until", time_or_absent(response.cache_until_time.as_ref())),
            ("expires", time_or_absent(response.expire_time.as_ref())),
            ("merchant", or_absent(&response.merchant_id)),
            ("subject", or_absent(&response.subject)),
            ("token", place),
        ];
        Answer::new(value, pairs("", &rows.map(|(name, value)| (name.to_owned(), value))))
    }
}

impl Report {
    fn request(self) -> v1::ReportProviderErrorRequest {
        v1::ReportProviderErrorRequest {
            request_id: self.request.choose(),
            version: Some(self.version),
            error_code: self.code,
            error_description: self.description.unwrap_or_default(),
            http_status: self.status.unwrap_or(0),
        }
    }
}

fn listed(versions: &[v1::TokenVersion]) -> Answer {
    let value = json!({ "versions": versions.iter().map(json::token_version).collect::<Vec<_>>() });
    if versions.is_empty() {
        return Answer::new(value, "No token has ever been stored for this merchant.".to_owned());
    }
    Answer::new(value, versions_table(versions))
}

fn reported(response: &v1::ReportProviderErrorResponse) -> Answer {
    let value = json!({
        "result": text::report_result(response.result),
        "finding": text::finding(response.finding),
        "head": response.head.as_ref().map(json::token_version),
    });
    let said = match response.result() {
        v1::ReportResult::NewerVersion => {
            "A newer version is the head; nothing was done. Read the token again.".to_owned()
        }
        v1::ReportResult::NotAboutToken => "The error says nothing about the token; nothing was done.".to_owned(),
        v1::ReportResult::Probed => format!("The head was probed: {}.", text::finding(response.finding)),
        v1::ReportResult::Unspecified => format!("Result: {}.", text::report_result(response.result)),
    };
    let head = response.head.as_ref().map(|head| versions_table(std::slice::from_ref(head))).unwrap_or_default();
    Answer::new(value, format!("{said}\n\n{head}"))
}

fn verified(head: &v1::TokenVersion, finding: i32) -> Answer {
    let finding = text::finding(finding);
    let value = json!({ "finding": finding, "head": json::token_version(head) });
    Answer::new(value, format!("The probe found: {finding}.\n\n{}", versions_table(std::slice::from_ref(head))))
}

fn versions_table(versions: &[v1::TokenVersion]) -> String {
    table(
        ["VERSION", "HEAD", "LIVENESS", "EVIDENCE", "OF", "KIND", "CAUSE", "STORED", "EXPIRES", "FINGERPRINT"],
        versions.iter().map(|version| {
            [
                text::version(version.r#ref.as_ref()),
                place(version).to_owned(),
                text::liveness(version.liveness),
                or_absent(&version.evidence),
                time_or_absent(version.evidence_time.as_ref()),
                kind(version),
                or_absent(&version.cause),
                time_or_absent(version.store_time.as_ref()),
                time_or_absent(version.expire_time.as_ref()),
                or_absent(&version.fingerprint),
            ]
        }),
    )
}

/// Whether readers get it, or may get it once it is known whether the head lives.
const fn place(version: &v1::TokenVersion) -> &'static str {
    match (version.head, version.candidate) {
        (true, _) => "head",
        (false, true) => "candidate",
        (false, false) => ABSENT,
    }
}

/// What the version is by now: what was issued as temporary is permanent once its person has confirmed.
fn kind(version: &v1::TokenVersion) -> String {
    match version.issued_kind() {
        v1::IssuedKind::Temporary if version.permanent => "permanent, was temporary".to_owned(),
        _ => text::issued_kind(version.issued_kind),
    }
}

#[cfg(test)]
mod tests;
