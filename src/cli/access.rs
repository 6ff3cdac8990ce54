//! `access …`: questions about the policy.

use serde_json::json;

use super::Global;
use super::answer::Answer;
use super::failure::Failure;
use super::owner::{MerchantName, parse_merchant};
use super::text::{self, or_absent, table, time_or_absent};
use crate::v1;
use crate::v1::admin_service_client::AdminServiceClient;

const CALLER: &str = "admin";

const EXPLAIN_HELP: &str = "\
Examples:
  strongroom access explain --action token.read --merchant shop-17           who can
  strongroom access explain --caller spiffe://platform.example/payments      what can this caller do
  strongroom access explain --caller spiffe://platform.example/payments --action token.read \\
      --merchant shop-17                                                     may it, and why (not)

The answer is that of the grants in force now. The last line is the hash of their file, which the
trail has as well.";

/// The commands about access.
#[derive(Debug, clap::Subcommand)]
pub enum AccessCommand {
    /// Says whether a caller may do something to a merchant, who can, or what a caller can do.
    #[command(after_help = EXPLAIN_HELP)]
    Explain(Explain),
}

/// The question. Without caller: who can. Without merchant: what can the caller do.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("question").required(true).multiple(true).args(["caller", "merchant"]))]
pub struct Explain {
    /// The caller's SPIFFE id.
    #[arg(long, value_name = "ID")]
    caller: Option<String>,
    /// The action, e.g. token.read [default: every action].
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// The merchant: mer_… or the platform's own id.
    #[arg(long, value_name = "MERCHANT", value_parser = parse_merchant)]
    merchant: Option<MerchantName>,
}

pub(crate) async fn run(command: AccessCommand, global: &Global) -> Result<Answer, Failure> {
    let AccessCommand::Explain(explain) = command;
    let mut client = AdminServiceClient::new(global.connect(CALLER).await?);
    let response = client.explain_access(explain.request()).await?.into_inner();
    Ok(explained(&response))
}

impl Explain {
    fn request(self) -> v1::ExplainAccessRequest {
        v1::ExplainAccessRequest {
            caller: self.caller.unwrap_or_default(),
            action: self.action.unwrap_or_default(),
            merchant: self.merchant.map(Into::into),
        }
    }
}

fn explained(response: &v1::ExplainAccessResponse) -> Answer {
    let grants: Vec<_> = response.grants.iter().map(grant_to_json).collect();
    let value = json!({ "allowed": response.allowed, "grants": grants, "policy_hash": response.policy_hash });
    let mut text = match response.allowed {
        Some(true) => "Allowed.\n\n".to_owned(),
        Some(false) => "Not allowed.\n\n".to_owned(),
        None => String::new(),
    };
    if response.grants.is_empty() {
        text.push_str("No grant bears on the question: what no grant allows is denied.\n");
    } else {
        text.push_str(&table(
            ["GRANT", "ALLOWS", "CALLER", "ACTIONS", "MERCHANTS", "PURPOSE", "FROM", "UNTIL"],
            response.grants.iter().map(|grant| {
                [
                    grant.grant_id.clone(),
                    match (grant.allows, grant.obstacle.as_str()) {
                        (true, _) => "yes".to_owned(),
                        (false, "") => "no".to_owned(),
                        (false, obstacle) => format!("no: {obstacle}"),
                    },
                    grant.caller.clone(),
                    grant.actions.join(" "),
                    or_absent(&grant.merchants),
                    or_absent(&grant.purpose),
                    time_or_absent(grant.not_before_time.as_ref()),
                    time_or_absent(grant.not_after_time.as_ref()),
                ]
            }),
        ));
    }
    text.push_str(&format!("\nPolicy {}\n", or_absent(&text::plain(&response.policy_hash))));
    Answer::new(value, text)
}

fn grant_to_json(grant: &v1::GrantLine) -> serde_json::Value {
    json!({
        "grant_id": grant.grant_id,
        "caller": grant.caller,
        "actions": grant.actions,
        "merchants": grant.merchants,
        "purpose": grant.purpose,
        "not_before_time": text::time(grant.not_before_time.as_ref()),
        "not_after_time": text::time(grant.not_after_time.as_ref()),
        "allows": grant.allows,
        "obstacle": Some(grant.obstacle.as_str()).filter(|obstacle| !obstacle.is_empty()),
    })
}

#[cfg(test)]
mod tests;
