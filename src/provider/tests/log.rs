//! The call log: one entry for each call, and nothing secret in any.

use std::net::Ipv4Addr;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, channel};

use super::*;
use crate::domain::account::AccountKind;
use crate::domain::ambient::AdjustableClock;
use crate::domain::id::{AttemptId, ConnectionId, MerchantId};
use crate::domain::provider_call::CallOutcome;

const EMAIL: &str = "zq@quitten.example";
const TAG: &str = "7a97a97a9";
/// What no entry may hold: secrets, and what is personal.
const CANARIES: [&str; 12] = [
    SECRET,
    CODE,
    "ca9a0123456789abcdef",
    TAG,
    "quitten.example",
    "Zacharias",
    "Quittenbaum",
    "203.0.113.77",
    "Mozilla",
    "1699999999",
    "Dear",
    "hush",
];

async fn logged_stage(script: Script, room: usize) -> (Stub, Client, Receiver<ProviderCall>) {
    let (stub, client) = stage(script).await;
    let (log, calls) = channel(room);
    (stub, client.with_log(Arc::new(AdjustableClock::default()), log), calls)
}

#[tokio::test]
async fn every_call_makes_one_entry_that_names_what_it_is_about() {
    let (_stub, client, mut calls) = logged_stage(Script::json(200, &token_answer()), 9).await;
    let about = About {
        attempt: Some(AttemptId::from_bytes([1; 16])),
        merchant: Some(MerchantId::from_bytes([2; 16])),
        connection: Some(ConnectionId::from_bytes([3; 16])),
    };
    let logged = client.clone();
    // In a task, as services call: the future of each call can move between threads.
    tokio::spawn(async move { make_every_call(&logged, about).await }).await.unwrap();
    exchange(&client).await.unwrap();
    let entries = drain(&mut calls);
    let names = entries.iter().map(|call| call.call).collect::<Vec<_>>();
    let (token, user) = ("/oauth2/token", "/user");
    let rest = ["/account/create", "/account", "/account/find"];
    assert_eq!(names[..5], [token, "/user/register", "/user/send_confirmation", user, "/app"]);
    assert_eq!((&names[5..8], names[8]), (&rest[..], "/account/modify"));
    assert!(entries.iter().all(|call| call.about == about));
    assert_eq!(client.unlogged(), 1, "the tenth had no room, and waited for none");

    let logged = |at: usize| serde_json::from_str::<Value>(&entries[at].request).unwrap();
    let hidden = "[redacted]";
    assert_eq!(
        logged(0),
        json!({"client_id": 190_166, "client_secret": hidden, "code": hidden,
            "redirect_uri": "https://pay.example/connect/app_1/callback",
            "callback_uri": "https://pay.example/notices/app_1/user/[redacted]"})
    );
    assert_eq!(
        logged(1),
        json!({"client_id": 190_166, "client_secret": hidden, "email": hidden, "first_name": hidden,
            "last_name": hidden, "original_ip": hidden, "original_device": hidden, "tos_acceptance_time": hidden,
            "scope": SCOPES.join(","), "redirect_uri": "https://pay.example/welcome?[redacted]",
            "callback_uri": "https://pay.example/notices/app_1/user/[redacted]"})
    );
    assert_eq!(logged(2), json!({"email_subject": hidden, "email_message": hidden, "email_button_text": hidden}));
    assert_eq!((logged(3), logged(4)), (json!({}), json!({"client_id": 190_166, "client_secret": hidden})));
    assert_eq!(
        logged(5),
        json!({"name": "Quitten", "description": "jam", "reference_id": "acc_1", "type": "personal", "country": "US",
            "currencies": ["USD"], "callback_uri": "https://pay.example/notices/app_1/user/[redacted]"})
    );
    assert_eq!((logged(6), logged(7)), (json!({"account_id": 7}), json!({"reference_id": "acc_1"})));
    assert_eq!(logged(8), json!({"account_id": 7, "name": "New", "description": "x".repeat(255)}));
}

#[tokio::test]
async fn an_entry_says_how_the_call_ended() {
    let (stub, client, mut calls) = logged_stage(Script::json(200, &token_answer()), 16).await;
    exchange(&client).await.unwrap();
    let refusal = |class: &str, code: &str| {
        let body = format!(r#"{{"error":"{class}","error_code":{code},"error_description":"free text"}}"#);
        Script::json(400, &body)
    };
    for script in [
        refusal("access_denied", "1011"),
        refusal("odd_class", r#""odd-code""#),
        refusal("invalid_client", "null"),
        Script::json(502, "<html>"),
        Script::json(200, "free text"),
        Script::AnswerAndClose(Vec::new()),
    ] {
        stub.play(script);
        exchange(&client).await.unwrap_err();
    }
    let bad_token = AccessToken::new("a b".to_owned());
    call(&client).user(&bad_token).await.unwrap_err();
    let ends = drain(&mut calls)
        .into_iter()
        .map(|call| (call.outcome, call.status, call.code, call.detail))
        .collect::<Vec<_>>();
    let end = |outcome, status, code: Option<&str>, detail: &str| {
        (outcome, status, code.map(str::to_owned), detail.to_owned())
    };
    assert_eq!(
        ends,
        [
            end(CallOutcome::Done, Some(200), None, ""),
            end(CallOutcome::Refused, Some(400), Some("1011"), "access_denied"),
            end(CallOutcome::Refused, Some(400), Some("[not an error number]"), "an error class that is not on record"),
            end(CallOutcome::Refused, Some(400), None, "invalid_client"),
            end(CallOutcome::Unknown, Some(502), None, "server error (HTTP 502)"),
            end(CallOutcome::Unknown, Some(200), None, "malformed answer (HTTP 200)"),
            end(CallOutcome::Unknown, None, None, "connection lost"),
            end(CallOutcome::NotSent, None, None, "request cannot be built"),
        ]
    );
}

#[tokio::test]
async fn an_entry_has_its_time_from_the_clock_also_when_the_caller_gives_up() {
    let (stub, client) = stage(Script::AnswerAndHang(Vec::new())).await;
    let clock = Arc::new(AdjustableClock::default());
    let (log, mut calls) = channel(4);
    let client = client.with_log(Arc::<AdjustableClock>::clone(&clock), log);
    let before = clock.now();
    let pending = tokio::spawn(async move { probe(&client).await.map(|_| ()) });
    while stub.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(7));
    pending.abort();
    let entry = calls.recv().await.unwrap();
    assert_eq!((entry.outcome, entry.detail.as_str()), (CallOutcome::Unknown, "given up by us"));
    assert!((Duration::from_secs(7)..Duration::from_secs(60)).contains(&entry.duration), "{:?}", entry.duration);
    assert!(entry.at >= before && entry.at < before.plus(Duration::from_secs(7)));
    assert!(calls.recv().await.is_none(), "one entry for one call");
}

#[tokio::test]
async fn neither_a_secret_nor_a_person_is_in_any_entry_whatever_comes_back() {
    let (stub, client, mut calls) = logged_stage(Script::json(200, &token_answer()), 1_000).await;
    let echo = CANARIES.join(" ");
    let mut scripts = vec![
        Script::json(200, &token_answer()),
        Script::json(200, &echo),
        Script::json(503, &echo),
        Script::http(&format!("400 {echo}"), "", b"{}"),
        Script::json(400, &json!({"error": "invalid_request", "error_description": echo}).to_string()),
    ];
    for canary in CANARIES {
        let text = canary.replace(' ', "");
        scripts.push(Script::json(400, &json!({"error": text, "error_code": text}).to_string()));
    }
    for script in scripts {
        stub.play(script);
        make_every_call(&client, About::default()).await;
    }
    let entries = drain(&mut calls);
    assert_eq!(entries.len(), 9 * 17);
    for entry in &entries {
        let text = format!("{entry:?}");
        for canary in CANARIES {
            assert!(!text.contains(canary), "{canary} in {text}");
        }
    }
}

/// Each of the nine calls, once.
async fn make_every_call(client: &Client, about: About) {
    let call = || client.by(Permit::by_hand(), about);
    let url = |text: &str| Url::parse(text).unwrap();
    let (redirect, notices) = (url(REDIRECT), url(&format!("https://u:hush@pay.example/notices/app_1/user/{TAG}")));
    let token = AccessToken::new(TOKEN.to_owned());
    let code = AuthorizationCode::new(CODE.to_owned());
    let _ = call().exchange_code(&code, &redirect, Some(&notices)).await;
    let wanted = Registration {
        email: &Email::parse("email", EMAIL).unwrap(),
        first_name: "Zacharias",
        last_name: "Quittenbaum",
        original_ip: Ipv4Addr::new(203, 0, 113, 77),
        original_device: "Mozilla/5.0",
        terms_accepted_at: Timestamp::from_unix_seconds(1_699_999_999),
        redirect_uri: Some(&url("https://pay.example/welcome?word=hush")),
        callback_uri: &notices,
    };
    let _ = call().register(&wanted).await;
    let mail =
        ConfirmationMail { subject: Some("Dear Zacharias"), message: Some("hush"), button_text: Some("Quittenbaum") };
    let _ = call().send_confirmation(&token, &mail).await;
    let _ = call().user(&token).await;
    let _ = call().app().await;
    let account = NewAccount {
        name: "Quitten",
        description: "jam",
        reference_id: "acc_1",
        kind: AccountKind::Personal,
        country: "US",
        currency: "USD",
        callback_uri: &notices,
    };
    let _ = call().create_account(&token, &account).await;
    let _ = call().account(&token, "7").await;
    let _ = call().find_accounts(&token, Some("acc_1")).await;
    let changes = AccountChanges { name: Some("New"), description: Some(&"x".repeat(1_000)) };
    let _ = call().modify_account(&token, "7", &changes).await;
}

fn drain(calls: &mut Receiver<ProviderCall>) -> Vec<ProviderCall> {
    std::iter::from_fn(|| calls.try_recv().ok()).collect()
}
