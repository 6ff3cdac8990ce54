//! How strictly answers are read.

use proptest::prelude::*;
use zeroize::Zeroizing;

use super::super::http::Answer;
use super::super::wire;
use super::*;

/// What an exchange must end as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// In doubt, and the bytes are kept.
    Doubt(UnknownReason),
    /// A clean refusal with this number.
    Refused(Option<&'static str>),
}

const MALFORMED: End = End::Doubt(UnknownReason::Malformed { status: 200 });

/// HTTP 200 with each of these bodies: none is a token answer.
fn bad_token_bodies() -> Vec<String> {
    let with = |user: &str, token: &str, kind: &str, rest: &str| {
        format!(r#"{{"user_id":{user},"access_token":{token},"token_type":{kind}{rest}}}"#)
    };
    let (user, token, kind) = ("123456", &format!("\"{TOKEN}\""), "\"BEARER\"");
    let whole = with(user, token, kind, "");
    let mut bodies = Vec::new();
    for bad in ["1.0", "1e3", "-5", "0", "-0", "9223372036854775808", "18446744073709551616", "1e400", "null", "true"] {
        bodies.push(with(bad, token, kind, ""));
    }
    for bad in [r#""""#, r#""0""#, r#""-1""#, r#""+1""#, r#""01""#, r#"" 1""#, r#""1.0""#, r#""9223372036854775808""#] {
        bodies.push(with(bad, token, kind, ""));
    }
    for bad in [r#""12345x""#, "[1]", "{}", "0x10", "NaN"] {
        bodies.push(with(bad, token, kind, ""));
    }
    for bad in
        ["null", "7", "[]", r#""""#, r#""a b""#, r#""a\r\nb""#, r#""a\u0000b""#, r#""a\tb""#, r#""é""#, r#""\ud800""#]
    {
        bodies.push(with(user, bad, kind, ""));
    }
    bodies.push(with(user, "\"a\rb\"", kind, ""));
    bodies.push(with(user, "\"a\0b\"", kind, ""));
    bodies.push(with(user, "\"a\u{7f}\"", kind, ""));
    bodies.push(with(user, &format!("\"{}\"", "a".repeat(2049)), kind, ""));
    for bad in [r#""MAC""#, r#""""#, r#""Bearer ""#, "null", "1", r#"["BEARER"]"#] {
        bodies.push(with(user, token, bad, ""));
    }
    for bad in ["0", "-1", "1.5", r#""60""#, "true", "[]", "{}", "9223372036854775808", "1e99"] {
        bodies.push(with(user, token, kind, &format!(r#","expires_in":{bad}"#)));
    }
    bodies.push(with(user, token, kind, r#","user_id":123456"#));
    bodies.push(with(user, token, kind, r#","access_token":"other""#));
    bodies.push(with(user, token, kind, r#","extra":{"a":1,"a":2}"#));
    bodies.push(with(user, token, kind, r#","extra":[{"a":1,"\u0061":2}]"#));
    bodies.push(with(user, token, kind, r#","error":"invalid_request""#));
    bodies.push(with(user, token, kind, &format!(r#","deep":{}{}"#, "[".repeat(500), "]".repeat(500))));
    bodies.push(with(user, token, kind, ","));
    bodies.push(format!(r#"{{"access_token":{token},"token_type":{kind}}}"#));
    bodies.push(format!(r#"{{"user_id":{user},"token_type":{kind}}}"#));
    bodies.push(format!(r#"{{"user_id":{user},"access_token":{token}}}"#));
    bodies.push(format!("\u{feff}{whole}"));
    bodies.push(format!("[{whole}]"));
    bodies.push(format!("{whole}{whole}"));
    bodies.push(format!("{whole}x"));
    bodies.push(format!("x{whole}"));
    bodies.push(format!("/* */{whole}"));
    bodies.push(format!("callback({whole})"));
    bodies.push(whole.replace('"', "'"));
    for cut in [1, 2, 20, whole.len() / 2] {
        bodies.push(whole[..whole.len() - cut].to_owned());
    }
    for text in ["{}", "[]", "null", "\"\"", "0", " ", "<html>busy</html>", "user_id=1&access_token=x"] {
        bodies.push(text.to_owned());
    }
    bodies.push("{\"a\":".repeat(10_000));
    bodies
}

#[tokio::test]
async fn an_answer_that_breaks_one_rule_leaves_doubt_and_its_bytes_are_kept() {
    let (stub, client) = stage(Script::json(200, "")).await;
    let bodies = bad_token_bodies();
    assert!(bodies.len() >= 70, "{}", bodies.len());
    for body in &bodies {
        stub.play(Script::json(200, body));
        expect(&client, body.as_bytes(), MALFORMED).await;
    }
    assert_eq!(stub.requests().len(), bodies.len(), "nothing is sent twice");
}

#[tokio::test]
async fn every_status_but_200_is_a_refusal_or_leaves_doubt() {
    let (stub, client) = stage(Script::json(200, "")).await;
    let token = token_answer();
    let html = "<html><h1>Bad Gateway</h1></html>".to_owned();
    let refusal = |rest: &str| format!(r#"{{"error":"invalid_request","error_description":"no"{rest}}}"#);
    let plain = refusal(r#","error_code":1003"#);
    let malformed = |status| End::Doubt(UnknownReason::Malformed { status });
    let server = |status| End::Doubt(UnknownReason::ServerError { status });
    let five = r#","error_code":1012,"details":[{"target":["a"],"reason_code":"X"}],"documentation_url":"https://x""#;
    for (status, body, end) in [
        (201, token.clone(), malformed(201)),
        (202, token.clone(), malformed(202)),
        (302, token.clone(), malformed(302)),
        (400, token.clone(), malformed(400)),
        (500, token.clone(), server(500)),
        (400, html.clone(), malformed(400)),
        (404, html.clone(), malformed(404)),
        (429, html.clone(), malformed(429)),
        (502, html.clone(), server(502)),
        (504, String::new(), server(504)),
        (401, String::new(), malformed(401)),
        (200, String::new(), malformed(200)),
        (200, plain.clone(), malformed(200)),
        (302, plain.clone(), malformed(302)),
        (400, plain.clone(), End::Refused(Some("1003"))),
        (401, plain.clone(), End::Refused(Some("1003"))),
        (500, plain.clone(), End::Refused(Some("1003"))),
        (501, refusal(r#","error_code":1001"#), End::Refused(Some("1001"))),
        (400, refusal(five), End::Refused(Some("1012"))),
        (400, refusal(r#","error_code":"1013""#), End::Refused(Some("1013"))),
        (400, refusal(""), End::Refused(None)),
        (400, refusal(r#","error_code":null"#), End::Refused(None)),
        (400, r#"{"error":"invalid_client"}"#.to_owned(), End::Refused(None)),
        (400, refusal(r#","error_code":10.5"#), malformed(400)),
        (400, refusal(r#","error_code":"a b""#), malformed(400)),
        (400, refusal(r#","error_code":[1003]"#), malformed(400)),
        (400, refusal(r#","error_code":1003,"error_code":1004"#), malformed(400)),
        (400, refusal(&format!(r#","access_token":"{TOKEN}""#)), malformed(400)),
        (400, r#"{"error":7,"error_code":1003}"#.to_owned(), malformed(400)),
        (400, r#"{"error":"","error_code":1003}"#.to_owned(), malformed(400)),
        (400, r#"{"error_code":1003,"error_description":"x"}"#.to_owned(), malformed(400)),
        (400, r#"{"error":"x","error_description":7}"#.to_owned(), malformed(400)),
        (400, format!("[{plain}]"), malformed(400)),
        (400, format!("{plain}}}"), malformed(400)),
    ] {
        stub.play(Script::json(status, &body));
        expect(&client, body.as_bytes(), end).await;
    }
}

#[tokio::test]
async fn a_huge_answer_is_cut_at_the_limit_and_a_compressed_one_stays_as_it_is() {
    let (stub, client) = stage(Script::json(200, "")).await;
    let huge = format!(r#"{{"user_id":1,"token_type":"bearer","access_token":"{}"}}"#, "a".repeat(1 << 20));
    stub.play(Script::json(200, &huge));
    expect(&client, &huge.as_bytes()[..ANSWER_BYTES_MAX], End::Doubt(UnknownReason::TooLarge)).await;

    let token = token_answer();
    let exact = format!("{token}{}", " ".repeat(ANSWER_BYTES_MAX - token.len()));
    stub.play(Script::json(200, &exact));
    assert!(exchange(&client).await.is_ok(), "the limit itself is allowed");
    stub.play(Script::json(200, &format!("{exact} ")));
    expect(&client, exact.as_bytes(), End::Doubt(UnknownReason::TooLarge)).await;

    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    stub.play(Script::http("200 OK", "content-type: application/json\r\ncontent-encoding: gzip\r\n", &gzip));
    expect(&client, &gzip, MALFORMED).await;
    let latin = b"{\"user_id\":1,\"token_type\":\"bearer\",\"access_token\":\"\xe9\"}";
    stub.play(Script::http("200 OK", "", latin));
    expect(&client, latin, MALFORMED).await;
}

#[test]
fn valid_token_answers_of_every_age_are_read() {
    let read = |body: &str| wire::token(&answer(200, body.as_bytes()));
    let current = read(&token_answer()).unwrap();
    assert_eq!((current.subject.as_str(), current.access_token.expose()), ("123456", TOKEN));
    let oldest = read(r#"{"user_id":"123456","access_token":"cafe","token_type":"BEARER"}"#).unwrap();
    assert_eq!((oldest.subject.as_str(), oldest.expires_in), ("123456", None));
    let largest =
        r#"{ "user_id" : 9223372036854775807, "access_token":"~!", "token_type":"Bearer", "expires_in":null }"#;
    let largest = read(largest).unwrap();
    assert_eq!((largest.subject.as_str(), largest.expires_in), ("9223372036854775807", None));
    let further = r#"{"user_id":1,"access_token":"a","token_type":"bearer","expires_in":1,"new":{"b":[1.5,{}]}}"#;
    assert_eq!(read(further).unwrap().expires_in, Some(Duration::from_secs(1)));
}

#[test]
fn a_user_without_an_id_or_a_state_is_none() {
    let read = |body: &str| wire::user(&answer(200, body.as_bytes()));
    let bare = read(r#"{"user_id":7,"state":"pending","email":null}"#).unwrap();
    assert_eq!((bare.email, bare.user_name), (None, None));
    assert_eq!(read(r#"{"user_id":7,"state":"pending","email":"nobody"}"#).unwrap().email, None);
    for bad in [
        r#"{"user_id":7}"#,
        r#"{"state":"registered"}"#,
        r#"{"user_id":7,"state":""}"#,
        r#"{"user_id":7,"state":1}"#,
        r#"{"user_id":7,"user_id":8,"state":"registered"}"#,
        r#"{"user_id":7,"state":"registered","error":"x"}"#,
        "[]",
    ] {
        assert!(read(bad).is_none(), "{bad}");
    }
}

#[test]
fn a_description_is_bounded_plain_and_free_of_secrets() {
    let read = |description: &str| {
        let body = serde_json::json!({"error": "x", "error_description": description}).to_string();
        wire::refusal(&answer(400, body.as_bytes()), &[SECRET]).unwrap().description
    };
    assert_eq!(read("client_id parameter is required"), "client_id parameter is required");
    assert_eq!(read("a\u{1b}[31m\r\nb\u{202e}\0"), "a\u{fffd}[31m\u{fffd}\u{fffd}b\u{fffd}\u{fffd}");
    assert_eq!(read(&"é ".repeat(500)).chars().count(), DESCRIPTION_CHARS_MAX);
    assert_eq!(read(&format!("token '{TOKEN}' of {SECRET}!")), "token '[removed]' of [removed]!");
    assert_eq!(
        read("user <ada@shop.example>, or ada%40shop.example  may not @ all"),
        "user [removed] or [removed]  may not @ all"
    );
    let at_the_cut = format!("{} {TOKEN}", "ab ".repeat(95));
    assert!(!read(&at_the_cut).contains("STAGE"));
    assert_eq!(read(""), "");
}

proptest! {
    #[test]
    fn no_bytes_make_the_readers_panic(status in 100u16..600, body in proptest::collection::vec(any::<u8>(), 0..400)) {
        let answer = answer(status, &body);
        prop_assert!(wire::token(&answer).is_none());
        let _ = (wire::user(&answer), wire::app(&answer, "1"), wire::refusal(&answer, &["x"]));
    }

    #[test]
    fn a_description_of_any_text_is_bounded_and_plain(text in any::<String>(), secret in "[a-f0-9]{10}") {
        let clean = wire::plain(&wire::without_secrets(&format!("{text}{secret}{text}"), &[&secret]), 300);
        prop_assert!(clean.chars().count() <= 300);
        prop_assert!(!clean.contains(&secret) && !clean.chars().any(char::is_control));
    }
}

fn answer(status: u16, body: &[u8]) -> Answer {
    Answer { status, date: None, body: Zeroizing::new(body.to_vec()) }
}

async fn expect(client: &Client, body: &[u8], end: End) {
    let shown = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
    let found = match exchange(client).await {
        Err(CallError::OutcomeUnknown(unknown)) => {
            let kept = unknown.salvage.as_ref().map(|bytes| bytes.expose().as_slice()).unwrap_or_default();
            assert!(kept == body, "{shown}: salvage has {} of {} bytes", kept.len(), body.len());
            End::Doubt(unknown.reason)
        }
        Err(CallError::Refused(refusal)) => {
            let codes = [None, Some("1001"), Some("1003"), Some("1012"), Some("1013")];
            End::Refused(*codes.iter().find(|code| **code == refusal.code.as_deref()).unwrap())
        }
        other => panic!("{shown}: {other:?}"),
    };
    assert_eq!(found, end, "{shown}");
}
