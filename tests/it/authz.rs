//! Who may do what, as a golden matrix: role × RPC × outcome, and every answer on record.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use prost_reflect::{DescriptorPool, MethodDescriptor};
use strongroom::domain::ambient::Clock as _;
use strongroom::domain::trail::{Event, Outcome};
use strongroom::v1;
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::support::app::{Caller, Shop, TestApp, outcome_of};

/// The matrix.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/authz.txt");
/// Every role, in the order of the columns. The last two have no identity, or one that has ended.
const ROLES: [&str; 9] =
    ["payments", "onboarding", "auditor", "admin", "approver", "stranger", "label-reader", "anonymous", "expired"];
/// How long the certificate of `expired` lives.
const CERTIFICATE_LIFE: Duration = Duration::from_secs(60 * 60);
/// Who has no identity is recorded one by one up to a limit for each source and window: so long is a window, with a margin…
const DOOR_WINDOW: Duration = Duration::from_secs(61);
/// …and so many calls do not meet the limit, with what connecting again adds.
const ROWS_PER_WINDOW: usize = 5;

/// What there is to call about: merchants that only `label-reader` and callers for all merchants could see.
struct World {
    live: Shop,
    version: v1::TokenVersionRef,
    invited: Shop,
    to_confirm: Shop,
    to_resolve: String,
    account_id: String,
}

impl World {
    async fn furnish(app: &TestApp) -> Self {
        let mut elsewhere = app.shop("shop-elsewhere");
        elsewhere.labels = vec!["elsewhere".to_owned()];
        app.invite(&mut elsewhere).await.unwrap();
        let live = app.connected("shop-live").await;
        let mut invited = app.shop("shop-invited");
        app.invite(&mut invited).await.unwrap();
        let to_confirm = app.held("shop-to-confirm").await;
        app.held("shop-to-resolve").await;
        let version = app.token(&live).await.version.unwrap();
        let links: Vec<(Vec<u8>,)> = app
            .rows(
                "SELECT l.id FROM links l JOIN merchants m ON m.id = l.merchant_id \
                 WHERE m.external_id = 'shop-to-resolve'",
            )
            .await;
        let to_resolve = strongroom::domain::id::LinkId::from_slice(&links[0].0).unwrap().to_string();
        let order = v1::CreateAccountRequest {
            request_id: app.request_id(),
            merchant: Some(v1::create_account_request::Merchant::ExternalId(live.external_id.clone())),
            name: "Ada Books".to_owned(),
            description: "books".to_owned(),
            ..Default::default()
        };
        let account = app.caller("onboarding").accounts().create_account(order).await.unwrap().into_inner().account;
        let account_id = account.unwrap().account_id;
        Self { live, version, invited, to_confirm, to_resolve, account_id }
    }

    /// Makes one call that would be good if its caller may make it. A new RPC needs its line here.
    async fn call(&self, app: &TestApp, caller: &Caller, rpc: &str) -> Result<(), Status> {
        let request_id = app.request_id();
        let external_id = self.live.external_id.clone();
        match rpc {
            "OnboardingService.StartAuthorization" => {
                let order = app.authorization(&self.invited);
                caller.onboarding().start_authorization(order).await.map(drop)
            }
            "OnboardingService.ConfirmConnection" => {
                let (merchant_id, confirmation) =
                    (self.to_confirm.merchant_id.clone(), self.to_confirm.confirmation.clone());
                let request = v1::ConfirmConnectionRequest { request_id, merchant_id, confirmation };
                caller.onboarding().confirm_connection(request).await.map(drop)
            }
            "OnboardingService.ResolveHeldLink" => {
                let request = v1::ResolveHeldLinkRequest {
                    request_id,
                    link_id: self.to_resolve.clone(),
                    decision: v1::LinkDecision::Close.into(),
                    reason: "nobody answers for it".to_owned(),
                };
                caller.onboarding().resolve_held_link(request).await.map(drop)
            }
            "OnboardingService.GetMerchant" => {
                let merchant = Some(v1::get_merchant_request::Merchant::ExternalId(external_id));
                caller.onboarding().get_merchant(v1::GetMerchantRequest { merchant }).await.map(drop)
            }
            "OnboardingService.ListMerchants" => {
                let listed = caller.onboarding().list_merchants(v1::ListMerchantsRequest::default()).await?;
                let names: Vec<String> =
                    listed.into_inner().merchants.into_iter().map(|merchant| merchant.external_id).collect();
                let sees_all = !caller.id.ends_with("/label-reader");
                assert_eq!(names.contains(&external_id), sees_all, "{} sees {names:?}", caller.id);
                assert_eq!(names.len(), if sees_all { 5 } else { 1 }, "{} sees {names:?}", caller.id);
                Ok(())
            }
            "AccountService.CheckAccountName" => {
                let request = v1::CheckAccountNameRequest { name: "Ada Books".to_owned(), dba: String::new() };
                caller.accounts().check_account_name(request).await.map(drop)
            }
            "AccountService.CreateAccount" => {
                let request = v1::CreateAccountRequest {
                    request_id,
                    merchant: Some(v1::create_account_request::Merchant::ExternalId(external_id)),
                    name: "Ada Books".to_owned(),
                    description: "books".to_owned(),
                    ..Default::default()
                };
                caller.accounts().create_account(request).await.map(drop)
            }
            "AccountService.UpdateAccount" => {
                let request = v1::UpdateAccountRequest {
                    request_id,
                    account_id: self.account_id.clone(),
                    description: "old books".to_owned(),
                    ..Default::default()
                };
                caller.accounts().update_account(request).await.map(drop)
            }
            "AccountService.GetAccount" => {
                let account = Some(v1::get_account_request::Account::AccountId(self.account_id.clone()));
                let request = v1::GetAccountRequest { account, refresh: true };
                caller.accounts().get_account(request).await.map(drop)
            }
            "AccountService.ListAccounts" => {
                let listed = caller.accounts().list_accounts(v1::ListAccountsRequest::default()).await?.into_inner();
                let sees_it = listed.accounts.iter().any(|account| account.account_id == self.account_id);
                assert_eq!(sees_it, !caller.id.ends_with("/label-reader"), "{} sees {:?}", caller.id, listed.accounts);
                Ok(())
            }
            "TokenService.GetAccessToken" => caller.read(&external_id).await.map(drop),
            "TokenService.ReportProviderError" => {
                let request = v1::ReportProviderErrorRequest {
                    request_id,
                    version: Some(self.version.clone()),
                    error_code: "1005".to_owned(),
                    error_description: "a parameter is missing".to_owned(),
                    http_status: 400,
                };
                caller.tokens().report_provider_error(request).await.map(drop)
            }
            "TokenService.VerifyToken" => {
                let merchant = Some(v1::verify_token_request::Merchant::ExternalId(external_id));
                caller.tokens().verify_token(v1::VerifyTokenRequest { request_id, merchant }).await.map(drop)
            }
            "TokenService.ListTokenVersions" => {
                let merchant = Some(v1::list_token_versions_request::Merchant::ExternalId(external_id));
                let request = v1::ListTokenVersionsRequest { merchant, ..Default::default() };
                caller.tokens().list_token_versions(request).await.map(drop)
            }
            "AuditService.ExportTrail" => {
                let mut pieces = caller.audit().export_trail(v1::ExportTrailRequest {}).await?.into_inner();
                while pieces.message().await?.is_some() {}
                Ok(())
            }
            "AdminService.ExplainAccess" => {
                let request = v1::ExplainAccessRequest {
                    caller: app.caller("payments").id.clone(),
                    action: "token.read".to_owned(),
                    merchant: Some(v1::explain_access_request::Merchant::ExternalId(external_id)),
                };
                caller.admin().explain_access(request).await.map(drop)
            }
            unknown => unreachable!("{unknown} has no row in the authorization matrix"),
        }
    }
}

/// Every RPC that there is, with the kind of event that it promises to write.
fn rpcs() -> Vec<(String, String)> {
    let pool = DescriptorPool::decode(v1::FILE_DESCRIPTOR_SET).unwrap();
    let kind = pool.get_extension_by_name("strongroom.v1.audit_kind").unwrap();
    let name = |method: &MethodDescriptor| format!("{}.{}", method.parent_service().name(), method.name());
    let kind_of = |method: &MethodDescriptor| method.options().get_extension(&kind).as_str().unwrap().to_owned();
    let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    methods.map(|method| (name(&method), kind_of(&method))).collect()
}

/// The call's id, where the server answered with one.
fn call_id(result: &Result<(), Status>) -> Option<String> {
    result.as_ref().err()?.get_details_error_info()?.metadata.get("call_id").cloned()
}

fn table(rpcs: &[(String, String)], outcomes: &BTreeMap<(usize, usize), String>) -> String {
    let wide = rpcs.iter().map(|(rpc, _)| rpc.len()).max().unwrap() + 2;
    let width = |column: usize| {
        let cells = outcomes.iter().filter(|((of, _), _)| *of == column).map(|(_, outcome)| outcome.len());
        cells.chain([ROLES[column].len()]).max().unwrap() + 2
    };
    let mut text = format!("{:wide$}", "# RPC");
    for (column, role) in ROLES.iter().enumerate() {
        write!(text, "{role:0$}", width(column)).unwrap();
    }
    for (row, (rpc, _)) in rpcs.iter().enumerate() {
        write!(text, "\n{rpc:wide$}").unwrap();
        for column in 0..ROLES.len() {
            write!(text, "{:1$}", outcomes[&(column, row)], width(column)).unwrap();
        }
    }
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[tokio::test]
async fn every_role_gets_from_every_rpc_what_the_golden_matrix_says_and_all_of_it_is_on_record() {
    let app = TestApp::start().await;
    let world = World::furnish(&app).await;
    let rpcs = rpcs();
    assert_eq!(rpcs.len(), 16, "count the rows of the matrix again");
    let now = app.site().clock().now();
    let label_reader = app.authority().caller(app.dev(), "label-reader", now.plus(10 * CERTIFICATE_LIFE));
    let ending = app.authority().caller(app.dev(), "ending", now.plus(CERTIFICATE_LIFE));
    let anonymous = Caller::anonymous(app.dev());
    world.call(&app, &ending, "OnboardingService.GetMerchant").await.unwrap();

    let mut outcomes = BTreeMap::new();
    let mut answers = Vec::new();
    for (column, role) in ROLES.into_iter().enumerate() {
        let caller = match role {
            "label-reader" => &label_reader,
            "anonymous" => &anonymous,
            "expired" => {
                app.advance(2 * CERTIFICATE_LIFE).await;
                &ending
            }
            named => app.caller(named),
        };
        for (row, (rpc, kind)) in rpcs.iter().enumerate() {
            if matches!(role, "anonymous" | "expired") && row % ROWS_PER_WINDOW == 0 {
                app.advance(DOOR_WINDOW).await;
            }
            let result = world.call(&app, caller, rpc).await;
            let outcome = outcome_of(&result);
            answers.push((role, caller.id.clone(), rpc.clone(), kind.clone(), outcome.clone(), call_id(&result)));
            outcomes.insert((column, row), outcome);
        }
    }
    let table = table(&rpcs, &outcomes);
    #[expect(clippy::disallowed_methods, reason = "whether to write the golden file is the developer's to say")]
    if std::env::var_os("STRONGROOM_BLESS").is_some() {
        std::fs::write(GOLDEN, &table).unwrap();
    }
    assert_eq!(std::fs::read_to_string(GOLDEN).unwrap_or_default(), table, "\n{table}");

    let events = app.events().await;
    let from_here = |event: &Event| event.origin.as_deref().is_some_and(|origin| origin.starts_with("127.0.0.1:"));
    for (role, id, rpc, kind, outcome, call) in answers {
        let mut found = events.iter().filter(|event| from_here(event) && event.call.map(|id| id.to_string()) == call);
        let is_on_record = match outcome.as_str() {
            "HANDSHAKE" => found.any(|event| {
                event.kind.as_str() == "caller.rejected"
                    && event.outcome == Outcome::Denied
                    && event.reason.as_deref() == Some("no_certificate")
            }),
            "OK" => {
                // Who changed something is on record with the change, under the kind of the change.
                let is_change = matches!(kind.as_str(), "authorization.requested" | "link.requested");
                events.iter().any(|event| {
                    from_here(event)
                        && event.actor == id
                        && event.grant.is_some()
                        && event.outcome == Outcome::Success
                        && event.call.is_some()
                        && (event.kind.as_str() == kind || is_change)
                        && (event.reason.as_deref() == Some("list"))
                            == (rpc.ends_with(".ListMerchants") || rpc.ends_with(".ListAccounts"))
                })
            }
            "UNAUTHENTICATED" => found.any(|event| {
                event.kind.as_str() == "caller.rejected" && event.actor == id && event.outcome == Outcome::Denied
            }),
            _ => found.any(|event| {
                event.kind.as_str() == kind
                    && event.actor == id
                    && event.outcome == Outcome::Denied
                    && event.policy.is_some()
            }),
        };
        assert!(is_on_record, "{rpc} by {role}, answered {outcome}, is not on record");
    }
    app.close().await;
}
