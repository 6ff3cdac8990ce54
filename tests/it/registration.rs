//! Merchants that the platform registers itself: one registration for each, whatever is lost; temporary tokens and how they become
//! permanent; further merchants of a connection.

mod budget;
mod confirmation;
mod lost;
mod outcomes;
mod overlaps;
mod refused;
mod revokes;
mod sharing;
mod temporary;
mod upgrade;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use strongroom::v1::{
    Attempt, AttemptState, GetMerchantRequest, Link, ListAttemptsRequest, ListTokenVersionsRequest, Merchant,
    RegisterMerchantRequest, SendConfirmationRequest, TokenVersion, VerifyTokenRequest, VerifyTokenResponse,
    get_merchant_request, list_attempts_request, list_token_versions_request, send_confirmation_request,
    verify_token_request,
};
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::support::app::TestApp;
use crate::support::database::Statement;

/// The path of a registration as the sandbox logs it.
const REGISTER: &str = "/v2/user/register";
const UNRESOLVED: &str = "FAILED_PRECONDITION:ATTEMPT_UNRESOLVED";
const STILL_LIVE: &str = "FAILED_PRECONDITION:TOKEN_STILL_LIVE";
const EXISTS: &str = "FAILED_PRECONDITION:CONNECTION_EXISTS";
/// Digits of a hash that the sandbox shows.
const SHOWN_DIGITS: usize = 16;
/// Makes the database take no address of a user in `forgotten`.
const FORGETFUL: [Statement; 2] = [
    Statement {
        sqlite: "CREATE TABLE IF NOT EXISTS forgotten (subject TEXT PRIMARY KEY)",
        // Whoever changes the table looks into it as itself, not as who made it.
        postgres: "DO $$ BEGIN CREATE TABLE IF NOT EXISTS forgotten (subject TEXT PRIMARY KEY); \
                   GRANT SELECT ON forgotten TO strongroom_app; END $$",
    },
    Statement {
        sqlite: "CREATE TRIGGER IF NOT EXISTS forget AFTER UPDATE OF email_index ON connections \
                 WHEN NEW.email_index IS NOT NULL AND NEW.subject IN (SELECT subject FROM forgotten) \
                 BEGIN UPDATE connections SET email_index = NULL WHERE id = NEW.id; END",
        postgres: "DO $$ BEGIN \
                   CREATE OR REPLACE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN \
                   IF EXISTS (SELECT 1 FROM forgotten f WHERE f.subject = NEW.subject) THEN NEW.email_index = NULL; END IF; \
                   RETURN NEW; END $f$; \
                   CREATE OR REPLACE TRIGGER forget BEFORE UPDATE OF email_index ON connections \
                   FOR EACH ROW EXECUTE FUNCTION forget(); END $$",
    },
];

impl TestApp {
    async fn register(&self, order: &RegisterMerchantRequest) -> Result<Merchant, Status> {
        let answer = self.caller("onboarding").onboarding().register_merchant(order.clone()).await;
        answer.map(|answer| answer.into_inner().merchant.unwrap())
    }

    /// A merchant that was registered under an address of its own, and whose token can be read.
    async fn registered(&self, external_id: &str) -> Merchant {
        self.register(&self.registration(external_id, &address(external_id))).await.unwrap();
        self.looked_at(external_id).await
    }

    /// The merchant, once its new user was looked at: that is another call, and no part of the registration.
    async fn looked_at(&self, external_id: &str) -> Merchant {
        self.until("a look at the new user", async || {
            let merchant = self.merchant(external_id).await.unwrap();
            merchant.links[0].head.as_ref().unwrap().evidence == "probe"
        })
        .await;
        self.merchant(external_id).await.unwrap()
    }

    async fn merchant(&self, external_id: &str) -> Result<Merchant, Status> {
        let merchant = Some(get_merchant_request::Merchant::ExternalId(external_id.to_owned()));
        let answer = self.caller("onboarding").onboarding().get_merchant(GetMerchantRequest { merchant }).await;
        answer.map(|answer| answer.into_inner().merchant.unwrap())
    }

    /// Every attempt for the merchant, oldest first.
    async fn attempts_for(&self, external_id: &str) -> Vec<Attempt> {
        let merchant = Some(list_attempts_request::Merchant::ExternalId(external_id.to_owned()));
        let request = ListAttemptsRequest { merchant, ..Default::default() };
        let answer = self.caller("auditor").tokens().list_attempts(request).await;
        let mut attempts = answer.unwrap().into_inner().attempts;
        attempts.reverse();
        attempts
    }

    async fn attempt_states(&self, external_id: &str) -> Vec<AttemptState> {
        self.attempts_for(external_id).await.iter().map(Attempt::state).collect()
    }

    /// Every version of the merchant's connections, newest first.
    async fn versions(&self, external_id: &str) -> Vec<TokenVersion> {
        let merchant = Some(list_token_versions_request::Merchant::ExternalId(external_id.to_owned()));
        let request = ListTokenVersionsRequest { merchant, ..Default::default() };
        self.caller("auditor").tokens().list_token_versions(request).await.unwrap().into_inner().versions
    }

    /// Has the head probed.
    async fn verify(&self, external_id: &str) -> VerifyTokenResponse {
        let merchant = Some(verify_token_request::Merchant::ExternalId(external_id.to_owned()));
        let mut payments = self.caller("payments").tokens();
        let asked = payments.verify_token(VerifyTokenRequest { request_id: self.request_id(), merchant });
        self.while_time_passes(asked).await.unwrap().into_inner()
    }

    /// Whether the provider takes this token.
    async fn works_there(&self, token: &str) -> bool {
        let request = self.http().post(format!("{}/user", self.dev().sandbox.api)).bearer_auth(token);
        let answer = request.header("content-type", "application/json").body("{}").send().await;
        answer.unwrap().status().is_success()
    }

    /// The hashes, as far as the sandbox shows them, of the tokens that live there, by user.
    async fn live_there(&self) -> BTreeMap<String, Vec<String>> {
        let state = self.control(Method::GET, "/state", None).await;
        let live = |user: &Value| {
            let tokens = user["tokens"].as_array().unwrap().iter().filter(|token| token["live"] == true);
            tokens.map(|token| token["token_sha256"].as_str().unwrap().to_owned()).collect()
        };
        let users = state["users"].as_array().unwrap().iter();
        users.map(|user| (user["user_id"].to_string(), live(user))).collect()
    }

    /// The person confirms, in the mail or at the provider.
    async fn confirm_there(&self, subject: &str) {
        self.control(Method::POST, &format!("/users/{subject}/confirm"), Some(json!({}))).await;
    }

    /// The person reads the mail, chooses a password on the page behind its button, accepts the terms and grants access: where the page
    /// leads then.
    async fn confirm_by_mail(&self, external_id: &str, password: &str) -> Option<String> {
        let mail = SendConfirmationRequest {
            request_id: self.request_id(),
            merchant: Some(send_confirmation_request::Merchant::ExternalId(external_id.to_owned())),
            ..Default::default()
        };
        self.caller("onboarding").onboarding().send_confirmation(mail).await.unwrap();
        let mails = self.control(Method::GET, "/mails", None).await;
        let link = mails["mails"].as_array().unwrap().last().unwrap()["link"].as_str().unwrap().to_owned();
        let page = self.http().get(&link).send().await.unwrap();
        let cookie = page.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        let html = page.text().await.unwrap();
        let csrf = html.split_once("name=\"csrf\" value=\"").unwrap().1.split_once('"').unwrap().0;
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs([("form", "confirm"), ("csrf", csrf), ("decision", "grant")]);
        form.extend_pairs([("accept", "yes"), ("password", password)]);
        let request = self.http().post(&link).header("cookie", cookie);
        let kind = "application/x-www-form-urlencoded";
        let answer = request.header("content-type", kind).body(form.finish()).send().await.unwrap();
        assert!(!answer.status().is_client_error(), "{}", answer.status());
        answer.headers().get("location").map(|to| to.to_str().unwrap().to_owned())
    }

    /// Makes us forget under which address the provider knows this user, and not learn it again: as if every answer that named it had
    /// been lost, or as if the person had taken another address at the provider since. Otherwise the address alone would refuse the
    /// registration. Not learning it matters: once a token is stored its page is there, and its user is looked at behind that.
    async fn forget_address(&self, subject: &str) {
        let mut intruder = self.intruder().await;
        for rule in FORGETFUL {
            intruder.execute(rule, &[]).await;
        }
        intruder.execute("INSERT INTO forgotten VALUES ($1) ON CONFLICT DO NOTHING", &[subject]).await;
        let forget = "UPDATE connections SET email_index = NULL WHERE subject = $1";
        assert_eq!(intruder.execute(forget, &[subject]).await, 1);
        intruder.close().await;
    }

    async fn no_faults(&self) {
        self.control(Method::DELETE, "/faults", None).await;
    }

    /// Waits, while time passes, until no attempt of the merchant is open.
    async fn settled(&self, external_id: &str) {
        let settled = self
            .until("the attempt settled", async || self.merchant(external_id).await.unwrap().open_attempt.is_none());
        self.while_time_passes(settled).await;
    }

    /// The events' reasons of this kind, in order.
    async fn reasons_of(&self, kind: strongroom::domain::trail::EventKind) -> Vec<String> {
        let of_kind = self.events().await.into_iter().filter(|event| event.kind == kind);
        of_kind.map(|event| event.reason.unwrap_or_default()).collect()
    }
}

/// The address of a merchant's person.
fn address(external_id: &str) -> String {
    format!("{external_id}@mail.example")
}

/// What the sandbox shows of a hash.
fn shown(text: &str) -> String {
    let digits = Sha256::digest(text.as_bytes()).iter().fold(String::new(), |mut digits, byte| {
        write!(digits, "{byte:02x}").unwrap();
        digits
    });
    digits.chars().take(SHOWN_DIGITS).collect()
}

fn metadata(refused: &Status, name: &str) -> String {
    refused.get_details_error_info().and_then(|info| info.metadata.get(name).cloned()).unwrap_or_default()
}

/// The only link of the merchant.
fn link_of(merchant: &Merchant) -> &Link {
    assert_eq!(merchant.links.len(), 1, "{merchant:?}");
    &merchant.links[0]
}

/// The head of the merchant's only link.
fn head_of(merchant: &Merchant) -> &TokenVersion {
    link_of(merchant).head.as_ref().unwrap()
}
