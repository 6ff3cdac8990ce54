//! Payment accounts: what is asked, and which answers count.

use serde_json::{Value, json};

use super::*;
use crate::domain::account::{AccountKind, AccountState};
use crate::domain::name::Subject;

const NOTICES: &str = "https://pay.example/notices/app_1/account/7a97a97a9";

/// An account as the provider describes it since 2014.
fn described() -> Value {
    json!({
        "account_id": 4_000_000_001_u64,
        "name": "Quitten & Co",
        "state": "action_required",
        "description": "jam",
        "owner_user_id": 123_456,
        "reference_id": "acc_1",
        "type": "business",
        "create_time": 1_700_000_000,
        "disablement_time": null,
        "country": "US",
        "currencies": ["USD"],
        "balances": [{"currency": "USD", "balance": 0.88, "withdrawal_next_time": null}],
        "statuses": [],
        "action_reasons": ["kyc", "bank_account"],
        "disabled_reasons": [],
        "supported_card_types": ["visa"],
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut account = described();
    account[name] = value;
    account
}

fn without(name: &str) -> Value {
    let mut account = described();
    account.as_object_mut().unwrap().remove(name);
    account
}

#[tokio::test]
async fn an_account_is_made_once_under_the_token() {
    let (stub, client) = stage(Script::json(200, &described().to_string())).await;
    let account = create(&client).await.unwrap();
    assert_eq!((account.id.as_str(), account.name.as_str()), ("4000000001", "Quitten & Co"));
    assert_eq!(account.description, "jam");
    assert_eq!(account.reference_id.as_deref(), Some("acc_1"));
    assert_eq!(account.owner.as_ref().map(Subject::as_str), Some("123456"));
    assert_eq!((account.state, account.kind), (Some(AccountState::ActionRequired), Some(AccountKind::Business)));
    assert_eq!(account.action_reasons, ["kyc", "bank_account"]);
    assert!(account.disabled_reasons.is_empty());
    assert_eq!((account.country.as_str(), account.currency.as_str()), ("US", "USD"));
    assert_eq!(account.created_at, Some(Timestamp::from_unix_seconds(1_700_000_000)));
    assert_eq!(account.disablement_at, None);

    let (head, body) = parts(&stub.requests()[0]);
    let lower = head.to_lowercase();
    assert!(head.starts_with("POST /v2/account/create HTTP/1.1\r\n"), "{head}");
    assert!(lower.contains("\r\nconnection: close"), "{head}");
    assert!(lower.contains(&format!("authorization: bearer {}", TOKEN.to_lowercase())), "{head}");
    let sent = json!({
        "name": "Quitten & Co",
        "description": "jam",
        "reference_id": "acc_1",
        "type": "business",
        "country": "US",
        "currencies": ["USD"],
        "callback_uri": NOTICES,
    });
    assert_eq!(body, sent);
    assert!(!stub.requests()[0].contains(SECRET));

    for lost in [Script::AnswerAndClose(Vec::new()), Script::json(502, "<html>"), Script::json(200, "{}")] {
        stub.play(lost);
        let error = create(&client).await.unwrap_err();
        assert_eq!(mint_verdict(&error), MintVerdict::InDoubt);
        assert!(matches!(error, CallError::OutcomeUnknown(Unknown { salvage: None, .. })), "{error:?}");
    }
    assert_eq!(stub.requests().len(), 4, "nothing is sent twice");
}

#[tokio::test]
async fn an_answer_about_another_account_is_none() {
    let (stub, client) = stage(Script::json(200, &described().to_string())).await;
    let token = token();
    let changes = AccountChanges { name: Some("New"), description: None };
    assert!(call(&client).account(&token, "4000000001").await.is_ok());
    assert!(call(&client).modify_account(&token, "4000000001", &changes).await.is_ok());
    assert_malformed(call(&client).account(&token, "4000000002").await);
    assert_malformed(call(&client).modify_account(&token, "4000000002", &changes).await);
    for other in [with("reference_id", json!("acc_2")), with("reference_id", json!(null)), without("reference_id")] {
        stub.play(Script::json(200, &other.to_string()));
        assert_malformed(create(&client).await);
        stub.play(Script::json(200, &json!([described(), other]).to_string()));
        assert_malformed(call(&client).find_accounts(&token, Some("acc_1")).await);
        assert_eq!(call(&client).find_accounts(&token, None).await.unwrap().len(), 2);
    }
    let requests = stub.requests();
    let (head, body) = parts(&requests[0]);
    assert!(head.starts_with("POST /v2/account HTTP/1.1\r\n"), "{head}");
    assert_eq!(body, json!({"account_id": 4_000_000_001_u64}));
    let (head, body) = parts(&requests[1]);
    assert!(head.starts_with("POST /v2/account/modify HTTP/1.1\r\n"), "{head}");
    assert_eq!(body, json!({"account_id": 4_000_000_001_u64, "name": "New"}));
}

#[tokio::test]
async fn accounts_are_found_by_reference_id_or_all_of_them() {
    let (stub, client) = stage(Script::json(200, "[]")).await;
    let token = token();
    assert!(call(&client).find_accounts(&token, Some("acc_1")).await.unwrap().is_empty());
    stub.play(Script::json(200, &json!([described()]).to_string()));
    assert_eq!(call(&client).find_accounts(&token, Some("acc_1")).await.unwrap()[0].id, "4000000001");
    let (head, body) = parts(&stub.requests()[0]);
    assert!(head.starts_with("POST /v2/account/find HTTP/1.1\r\n"), "{head}");
    assert_eq!(body, json!({"reference_id": "acc_1"}));

    let many = vec![with("description", json!("x".repeat(500))); 400];
    let many = serde_json::to_string(&many).unwrap();
    assert!(many.len() > ANSWER_BYTES_MAX && many.len() < LIST_BYTES_MAX);
    stub.play(Script::json(200, &many));
    assert_eq!(call(&client).find_accounts(&token, None).await.unwrap().len(), 400);
    assert_eq!(parts(stub.requests().last().unwrap()).1, json!({}));

    stub.play(Script::json(200, &format!("[{}]", " ".repeat(LIST_BYTES_MAX))));
    let error = call(&client).find_accounts(&token, None).await.unwrap_err();
    assert!(matches!(error, CallError::OutcomeUnknown(Unknown { reason: UnknownReason::TooLarge, .. })), "{error:?}");
    for bad in ["{}", "null", r#"[{"account_id":1}]"#, "[1]", "[[]]", &format!("[{},", described())] {
        stub.play(Script::json(200, bad));
        assert_malformed(call(&client).find_accounts(&token, None).await);
    }
}

#[tokio::test]
async fn an_account_that_breaks_one_rule_is_none_and_an_unknown_word_is_only_unknown() {
    let (stub, client) = stage(Script::json(200, "{}")).await;
    let token = token();
    for required in ["account_id", "name", "state", "country", "currencies"] {
        for bad in [without(required), with(required, json!(null)), with(required, json!(-1))] {
            stub.play(Script::json(200, &bad.to_string()));
            assert_malformed(call(&client).account(&token, "4000000001").await);
        }
    }
    for (name, bad) in [
        ("currencies", json!([])),
        ("owner_user_id", json!("x")),
        ("type", json!(7)),
        ("create_time", json!("yesterday")),
        ("disablement_time", json!(1.5)),
        ("action_reasons", json!("kyc")),
        ("action_reasons", json!([""])),
        ("disabled_reasons", json!(vec!["fraud"; 33])),
        ("reference_id", json!([])),
        ("error", json!("x")),
    ] {
        stub.play(Script::json(200, &with(name, bad).to_string()));
        assert_malformed(call(&client).account(&token, "4000000001").await);
    }
    // An empty one is none, and what no database takes is in none of them.
    stub.play(Script::json(200, &with("reference_id", json!("")).to_string()));
    assert_eq!(call(&client).account(&token, "4000000001").await.unwrap().reference_id, None);
    for name in ["name", "description", "reference_id"] {
        stub.play(Script::json(200, &with(name, json!("a\0b")).to_string()));
        let said = call(&client).account(&token, "4000000001").await.unwrap();
        assert!(!format!("{said:?}").contains("\\0"), "{name}: {said:?}");
    }
    let bare = json!({"account_id": "4000000001", "name": "a\u{202e}b", "state": "dormant", "type": "guild",
        "country": "US", "currencies": ["USD"], "disablement_time": 1_700_000_000});
    stub.play(Script::json(200, &bare.to_string()));
    let account = call(&client).account(&token, "4000000001").await.unwrap();
    assert_eq!((account.state, account.kind, account.name.as_str()), (None, None, "a\u{fffd}b"));
    assert_eq!((account.owner, account.reference_id, account.created_at), (None, None, None));
    assert_eq!(account.disablement_at, Some(Timestamp::from_unix_seconds(1_700_000_000)));
}

#[tokio::test]
async fn a_refusal_about_an_account_may_be_one_about_the_token() {
    let (stub, client) = stage(Script::json(200, "{}")).await;
    for (status, code, signal) in [
        (401, 1011, Signal::Dead),
        (403, 3002, Signal::Suspect),
        (403, 1010, Signal::InsufficientScope),
        (400, 1003, Signal::NotAboutToken),
        (400, 3003, Signal::NotAboutToken),
    ] {
        stub.play(Script::json(status, &json!({"error": "access_denied", "error_code": code}).to_string()));
        let error = call(&client).account(&token(), "4000000001").await.unwrap_err();
        assert_eq!(error.signal(CallKind::OtherWithToken), signal, "{code}");
    }
}

async fn create(client: &Client) -> Result<ProviderAccount, CallError> {
    let callback_uri = Url::parse(NOTICES).unwrap();
    let wanted = NewAccount {
        name: "Quitten & Co",
        description: "jam",
        reference_id: "acc_1",
        kind: AccountKind::Business,
        country: "US",
        currency: "USD",
        callback_uri: &callback_uri,
    };
    assert!(!format!("{wanted:?}").contains("7a97a97a9"));
    call(client).create_account(&token(), &wanted).await
}

fn token() -> AccessToken {
    AccessToken::new(TOKEN.to_owned())
}

fn assert_malformed<T: std::fmt::Debug>(result: Result<T, CallError>) {
    let malformed = UnknownReason::Malformed { status: 200 };
    match result {
        Err(CallError::OutcomeUnknown(unknown)) => assert_eq!(unknown.reason, malformed),
        other => panic!("{other:?}"),
    }
}
