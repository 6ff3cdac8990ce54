//! Registering a user, and the mail that asks them to confirm.

use std::net::Ipv4Addr;

use serde_json::json;

use super::*;

const FIRST: &str = "Zacharias";
const LAST: &str = "Quittenbaum";
const EMAIL: &str = "zq@quitten.example";
const DEVICE: &str = "Mozilla/5.0 (quince)";
const IP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 77);
const NOTICES: &str = "https://pay.example/notices/app_1/user/7a97a97a9";

#[tokio::test]
async fn a_registration_is_one_post_on_its_own_connection_with_all_five_scopes() {
    let (stub, client) = stage(Script::json(200, &token_answer())).await;
    let issued = register(&client, Some("https://pay.example/welcome")).await.unwrap();
    assert_eq!((issued.subject.as_str(), issued.access_token.expose()), ("123456", TOKEN));
    assert_eq!(issued.expires_in, Some(Duration::from_secs(7_776_000)));
    register(&client, None).await.unwrap();

    assert_eq!(stub.connections(), 2, "no connection is used twice");
    let (head, body) = parts(&stub.requests()[0]);
    let lower = head.to_lowercase();
    assert!(head.starts_with("POST /v2/user/register HTTP/1.1\r\n"), "{head}");
    assert!(lower.contains("\r\nconnection: close") && !lower.contains("authorization"), "{head}");
    let mut sent = json!({
        "client_id": 190_166,
        "client_secret": SECRET,
        "email": EMAIL,
        "scope": "manage_accounts,collect_payments,view_user,preapprove_payments,send_money",
        "first_name": FIRST,
        "last_name": LAST,
        "original_ip": "203.0.113.77",
        "original_device": DEVICE,
        "tos_acceptance_time": 1_700_000_000,
        "redirect_uri": "https://pay.example/welcome",
        "callback_uri": NOTICES,
    });
    assert_eq!(body, sent);
    sent.as_object_mut().unwrap().remove("redirect_uri");
    assert_eq!(parts(&stub.requests()[1]).1, sent);
}

#[tokio::test]
async fn a_registration_without_a_clear_answer_keeps_what_came_and_is_not_sent_again() {
    let cut = &token_answer()[..40];
    let (stub, client) = stage(Script::json(200, cut)).await;
    for (script, reason) in [
        (Script::json(200, cut), UnknownReason::Malformed { status: 200 }),
        (Script::json(502, cut), UnknownReason::ServerError { status: 502 }),
        (
            Script::AnswerAndClose(format!("HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{cut}").into_bytes()),
            UnknownReason::ConnectionLost,
        ),
    ] {
        stub.play(script);
        let error = register(&client, None).await.unwrap_err();
        assert_eq!(mint_verdict(&error), MintVerdict::InDoubt);
        let CallError::OutcomeUnknown(unknown) = error else { panic!("{error:?}") };
        assert_eq!(unknown.reason, reason);
        assert_eq!(unknown.salvage.unwrap().expose(), cut.as_bytes());
    }
    assert_eq!(stub.requests().len(), 3, "nothing is sent twice");
}

#[tokio::test]
async fn a_refused_registration_is_a_no_or_a_doubt_by_its_number_and_tells_nothing_of_the_person() {
    let (stub, client) = stage(Script::json(200, "{}")).await;
    for (status, class, code, verdict) in [
        (400, "invalid_request", "1003", MintVerdict::Rejected),
        (401, "invalid_client", "null", MintVerdict::Rejected),
        (400, "invalid_scope", "null", MintVerdict::Rejected),
        (400, "processing_error", "1008", MintVerdict::InDoubt),
        (400, "throttle_exceeded", "1007", MintVerdict::InDoubt),
        (500, "invalid_request", "1003", MintVerdict::InDoubt),
        (400, "new_class", "4242", MintVerdict::InDoubt),
    ] {
        let echo = format!("no {FIRST} {} {} {IP} {DEVICE} {SECRET}", LAST.to_uppercase(), EMAIL.to_uppercase());
        let body = format!(r#"{{"error":"{class}","error_code":{code},"error_description":"{echo}"}}"#);
        stub.play(Script::json(status, &body));
        let error = register(&client, None).await.unwrap_err();
        assert_eq!(mint_verdict(&error), verdict, "{class} {code}");
        assert_eq!(error.signal(CallKind::Register), error.signal(CallKind::App), "never about a token");
        let CallError::Refused(refusal) = error else { panic!("{error:?}") };
        assert_eq!(refusal.description, format!("no{}", " [removed]".repeat(6)));
    }
    stub.play(Script::json(400, &format!(r#"{{"error":"{SECRET}","error_code":"{LAST}"}}"#)));
    assert_eq!(
        register(&client, None).await.unwrap_err().to_string(),
        "provider refused: [removed] (code [removed], HTTP 400)"
    );
}

#[tokio::test]
async fn what_is_longer_than_the_provider_takes_is_not_sent() {
    let (stub, client) = stage(Script::json(200, &token_answer())).await;
    let (email, notices) = (Email::parse("email", EMAIL).unwrap(), Url::parse(NOTICES).unwrap());
    let fits = "é".repeat(127);
    let wanted = Registration { first_name: &fits, last_name: &fits, ..registration(&email, &notices) };
    assert!(call(&client).register(&wanted).await.is_ok());
    let (long, longer) = ("x".repeat(128), "x".repeat(256));
    let far = Url::parse(&format!("https://pay.example/{}", "x".repeat(2083))).unwrap();
    for wanted in [
        Registration { first_name: &long, ..wanted },
        Registration { last_name: &long, ..wanted },
        Registration { original_device: &longer, ..wanted },
        Registration { redirect_uri: Some(&far), ..wanted },
        Registration { callback_uri: &far, ..wanted },
    ] {
        let error = call(&client).register(&wanted).await.unwrap_err();
        assert!(matches!(error, CallError::NotSent(NotSentReason::Request)), "{error:?}");
        assert_eq!(mint_verdict(&error), MintVerdict::NotSent);
    }
    assert_eq!(stub.connections(), 1);
}

#[tokio::test]
async fn a_confirmation_mail_goes_out_once_under_the_token() {
    let answer = r#"{"user_id":123456,"state":"pending","email":"zq@quitten.example"}"#;
    let (stub, client) = stage(Script::json(200, answer)).await;
    let user = confirm(&client, Some("Go on")).await.unwrap();
    assert_eq!((user.subject.as_str(), user.state.as_str()), ("123456", "pending"));
    confirm(&client, None).await.unwrap();
    let (head, body) = parts(&stub.requests()[0]);
    assert!(head.starts_with("POST /v2/user/send_confirmation HTTP/1.1\r\n"), "{head}");
    assert_eq!(stub.requests()[0].matches(TOKEN).count(), 1);
    assert_eq!(body, json!({"email_subject": "Hello", "email_message": "Please.", "email_button_text": "Go on"}));
    assert_eq!(parts(&stub.requests()[1]).1, json!({"email_subject": "Hello", "email_message": "Please."}));

    stub.play(Script::AnswerAndClose(Vec::new()));
    assert_eq!(mint_verdict(&confirm(&client, None).await.unwrap_err()), MintVerdict::InDoubt);
    assert_eq!(stub.requests().len(), 3, "nothing is sent twice");
}

#[tokio::test]
async fn one_text_of_7002_alone_says_that_the_user_has_confirmed() {
    let (stub, client) = stage(Script::json(200, "{}")).await;
    let approved = "This access_token is already approved.";
    for (status, code, description, expected) in [
        (400, 7002, approved, true),
        (401, 7002, &approved.to_uppercase(), true),
        (400, 7002, "pending account cannot be updated; account owner must confirm WePay registration", false),
        (400, 7002, "", false),
        (400, 7003, approved, false),
        (500, 7002, approved, false),
    ] {
        let body = json!({"error": "invalid_request", "error_code": code, "error_description": description});
        stub.play(Script::json(status, &body.to_string()));
        let error = confirm(&client, None).await.unwrap_err();
        assert_eq!(already_confirmed(&error), expected, "{error:?} {description}");
    }
    stub.play(Script::json(200, &json!({"error_description": approved, "error_code": 7002}).to_string()));
    assert!(!already_confirmed(&confirm(&client, None).await.unwrap_err()));
}

#[test]
fn a_person_is_in_no_debug_text() {
    let (email, notices) = (Email::parse("email", EMAIL).unwrap(), Url::parse(NOTICES).unwrap());
    assert_eq!(format!("{:?}", registration(&email, &notices)), "Registration { .. }");
    let mail = ConfirmationMail { subject: Some(FIRST), message: Some(LAST), button_text: None };
    assert_eq!(format!("{mail:?}"), "ConfirmationMail { .. }");
}

async fn register(client: &Client, redirect: Option<&str>) -> Result<IssuedToken, CallError> {
    let (email, notices) = (Email::parse("email", EMAIL).unwrap(), Url::parse(NOTICES).unwrap());
    let redirect = redirect.map(|text| Url::parse(text).unwrap());
    let wanted = Registration { redirect_uri: redirect.as_ref(), ..registration(&email, &notices) };
    tokio::time::timeout(Duration::from_secs(60), call(client).register(&wanted)).await.unwrap()
}

async fn confirm(client: &Client, button_text: Option<&str>) -> Result<User, CallError> {
    let mail = ConfirmationMail { subject: Some("Hello"), message: Some("Please."), button_text };
    call(client).send_confirmation(&AccessToken::new(TOKEN.to_owned()), &mail).await
}

fn registration<'a>(email: &'a Email, callback_uri: &'a Url) -> Registration<'a> {
    Registration {
        email,
        first_name: FIRST,
        last_name: LAST,
        original_ip: IP,
        original_device: DEVICE,
        terms_accepted_at: Timestamp::from_micros(1_700_000_000_999_999),
        redirect_uri: None,
        callback_uri,
    }
}
