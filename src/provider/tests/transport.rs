//! How a request leaves, and how certain its failure is.

use serde_json::json;

use super::super::http::{Failure, Http, Lane};
use super::*;

fn reason(error: &CallError) -> UnknownReason {
    match error {
        CallError::OutcomeUnknown(unknown) => unknown.reason,
        other => panic!("{other:?}"),
    }
}

fn salvage(error: &CallError) -> Option<&[u8]> {
    match error {
        CallError::OutcomeUnknown(unknown) => unknown.salvage.as_ref().map(|bytes| bytes.expose().as_slice()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_exchange_is_one_post_on_its_own_connection_with_the_secret_in_the_body_alone() {
    let (stub, client) = stage(Script::json(200, &token_answer())).await;
    let token = exchange(&client).await.unwrap();
    assert_eq!(token.subject.as_str(), "123456");
    assert_eq!(token.access_token.expose(), TOKEN);
    assert_eq!(token.expires_in, Some(Duration::from_secs(7_776_000)));

    let notices = Url::parse("https://pay.example/notices/app_1/user/tag?x=1").unwrap();
    let code = AuthorizationCode::new("a\"b\\c".to_owned());
    call(&client).exchange_code(&code, &Url::parse(REDIRECT).unwrap(), Some(&notices)).await.unwrap();

    let requests = stub.requests();
    assert_eq!(stub.connections(), 2, "no connection is used twice");
    let (head, body) = parts(&requests[0]);
    let lower = head.to_lowercase();
    assert!(head.starts_with("POST /v2/oauth2/token HTTP/1.1\r\n"), "{head}");
    assert!(lower.contains("\r\nconnection: close"), "{head}");
    assert!(lower.contains("\r\ncontent-type: application/json"), "{head}");
    assert!(lower.contains(&format!("\r\nuser-agent: strongroom/{}", env!("CARGO_PKG_VERSION"))), "{head}");
    for absent in ["authorization", "cookie", "accept-encoding", "api-version", "referer", SECRET, CODE] {
        assert!(!lower.contains(absent), "{absent} in {head}");
    }
    let sent = json!({"client_id": 190_166, "client_secret": SECRET, "code": CODE, "redirect_uri": REDIRECT});
    assert_eq!(body, sent);
    let (_, body) = parts(&requests[1]);
    assert_eq!(body["code"], "a\"b\\c");
    assert_eq!(body["callback_uri"], notices.as_str());
}

#[tokio::test]
async fn a_probe_carries_the_token_in_the_authorization_header_alone() {
    let answer =
        r#"{"user_id":123456,"email":"ann@example.com","user_name":"Ann Ex","state":"registered","rbit_ids":[]}"#;
    let (stub, client) = stage(Script::json(200, answer)).await;
    let user = probe(&client).await.unwrap();
    assert_eq!(user.subject.as_str(), "123456");
    assert_eq!(user.email.as_ref().unwrap().as_str(), "ann@example.com");
    assert_eq!((user.user_name.as_deref(), user.state.as_str()), (Some("Ann Ex"), "registered"));
    assert!(!format!("{user:?}").contains("nn"), "no personal data in Debug");

    let requests = stub.requests();
    let (head, body) = parts(&requests[0]);
    assert!(head.starts_with("POST /v2/user HTTP/1.1\r\n"), "{head}");
    let header = format!("authorization: bearer {}", TOKEN.to_lowercase());
    assert_eq!(head.to_lowercase().lines().filter(|line| **line == header).count(), 1, "{head}");
    assert_eq!(requests[0].matches(TOKEN).count(), 1);
    assert_eq!(body, json!({}));
    assert!(!requests[0].contains(SECRET));
}

#[tokio::test]
async fn the_app_is_asked_with_client_id_and_secret_and_must_answer_about_itself() {
    let (stub, client) = stage(Script::json(200, r#"{"client_id":190166,"state":"active","status":"approved"}"#)).await;
    let app = call(&client).app().await.unwrap();
    assert_eq!(app, AppState { state: "active".into(), status: Some("approved".into()), api_version: None });
    let (head, body) = parts(&stub.requests()[0]);
    assert!(head.starts_with("POST /v2/app HTTP/1.1\r\n") && !head.to_lowercase().contains("authorization"), "{head}");
    assert_eq!(body, json!({"client_id": 190_166, "client_secret": SECRET}));

    stub.play(Script::json(200, r#"{"client_id":190167,"state":"active"}"#));
    assert_eq!(reason(&call(&client).app().await.unwrap_err()), UnknownReason::Malformed { status: 200 });
}

#[tokio::test]
async fn a_token_that_cannot_stand_in_a_header_is_not_sent() {
    let (stub, client) = stage(Script::json(200, "{}")).await;
    for bad in ["", "a\r\nx: y", "a b", "a\0", "é"] {
        let error = call(&client).user(&AccessToken::new(bad.to_owned())).await.unwrap_err();
        assert!(matches!(error, CallError::NotSent(NotSentReason::Request)), "{bad:?}: {error:?}");
    }
    assert_eq!(stub.connections(), 0);
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let (target, _) = stage(Script::json(200, &token_answer())).await;
    let (stub, client) = stage(Script::json(200, "{}")).await;
    for status in [301, 302, 303, 307, 308] {
        let header = format!("location: http://{}/v2/oauth2/token\r\n", target.address());
        stub.play(Script::http(&format!("{status} Moved"), &header, b"gone"));
        let error = exchange(&client).await.unwrap_err();
        assert_eq!(reason(&error), UnknownReason::Malformed { status });
        assert_eq!(salvage(&error), Some(&b"gone"[..]));
        assert_eq!(reason(&probe(&client).await.unwrap_err()), UnknownReason::Malformed { status });
    }
    assert_eq!(stub.requests().len(), 10, "and none is sent twice");
    assert_eq!(target.connections(), 0);
}

#[test]
fn proxies_named_by_the_environment_get_no_byte() {
    // A process of its own, since the environment of this one cannot be changed safely.
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let name = "an_exchange_is_one_post_on_its_own_connection_with_the_secret_in_the_body_alone";
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", &format!("provider::tests::transport::{name}")])
        .env_remove("NO_PROXY")
        .env_remove("no_proxy");
    for variable in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        child.env(variable, &address);
    }
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert_eq!(proxy.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn a_refused_connection_means_nothing_was_sent() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let client = client_at(&address, &timing(Duration::from_secs(30)));
    let error = exchange(&client).await.unwrap_err();
    assert!(matches!(error, CallError::NotSent(NotSentReason::Connect)), "{error:?}");
    assert_eq!(mint_verdict(&error), MintVerdict::NotSent);
    assert!(matches!(probe(&client).await.unwrap_err(), CallError::NotSent(NotSentReason::Connect)));
}

#[tokio::test]
async fn a_failed_tls_handshake_means_nothing_was_sent() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("https://{}/v2/oauth2/token", listener.local_addr().unwrap())).unwrap();
    let peer = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = [0; 1];
        stream.read_exact(&mut hello).await.unwrap();
        stream.write_all(b"HTTP/1.1 400 no TLS here\r\n\r\n").await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        rest
    });
    let http = Http::new(true, &timing(Duration::from_secs(30))).unwrap();
    let body = zeroize::Zeroizing::new(SECRET.as_bytes().to_vec());
    let failure = http.send(Lane::Mint, &url, None, body, ANSWER_BYTES_MAX).await;
    assert!(matches!(failure, Err(Failure::NotSent(NotSentReason::Connect))));
    assert!(!String::from_utf8_lossy(&peer.await.unwrap()).contains(SECRET));
}

#[tokio::test]
async fn a_connection_that_ends_after_the_request_leaves_doubt_and_keeps_what_came() {
    let (stub, client) = stage(Script::AnswerAndClose(Vec::new())).await;
    let error = exchange(&client).await.unwrap_err();
    assert_eq!(reason(&error), UnknownReason::ConnectionLost);
    assert_eq!(salvage(&error), None);
    assert_eq!(mint_verdict(&error), MintVerdict::InDoubt);

    let head = "HTTP/1.1 200 OK\r\ncontent-length: 4000\r\n\r\n";
    stub.play(Script::AnswerAndClose(format!("{head}{}", token_answer()).into_bytes()));
    let error = exchange(&client).await.unwrap_err();
    assert_eq!(reason(&error), UnknownReason::ConnectionLost);
    assert_eq!(salvage(&error), Some(token_answer().as_bytes()), "the token may be in these bytes");

    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"use\r\n40\r\nr_id";
    stub.play(Script::AnswerAndClose(chunked.into()));
    let error = exchange(&client).await.unwrap_err();
    assert_eq!(reason(&error), UnknownReason::ConnectionLost);
    assert!(salvage(&error).unwrap().starts_with(b"{\"use"));
    assert_eq!(stub.requests().len(), 3, "nothing is sent twice");
}

#[tokio::test]
async fn an_answer_that_is_not_http_leaves_doubt() {
    for bytes in ["SSH-2.0-OpenSSH\r\n\r\n", "HTTP/9.9 200 OK\r\n\r\n", "{\"user_id\":1}\r\n\r\n", "\0\0\0\0\r\n\r\n"] {
        let (_stub, client) = stage(Script::AnswerAndClose(bytes.into())).await;
        assert_eq!(reason(&exchange(&client).await.unwrap_err()), UnknownReason::Protocol, "{bytes:?}");
    }
}

#[tokio::test]
async fn a_silent_or_dripping_provider_ends_at_the_deadline() {
    let short = timing(Duration::from_millis(300));
    let stub = Stub::start(Script::AnswerAndHang(Vec::new())).await;
    let client = client_at(stub.address(), &short);
    let error = exchange(&client).await.unwrap_err();
    assert_eq!((reason(&error), salvage(&error)), (UnknownReason::Timeout, None));
    assert_eq!(reason(&probe(&client).await.unwrap_err()), UnknownReason::Timeout);

    stub.play(Script::AnswerAndHang(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"user_id\":".into()));
    let error = exchange(&client).await.unwrap_err();
    assert_eq!((reason(&error), salvage(&error)), (UnknownReason::Timeout, Some(&b"{\"user_id\":"[..])));
    assert_eq!(stub.requests().len(), 3, "nothing is sent twice");
}

#[tokio::test]
async fn nothing_secret_is_in_any_debug_or_error_text() {
    let (stub, client) = stage(Script::json(200, &token_answer())).await;
    let mut texts = vec![format!("{client:?} {:?} {:?}", credentials(), exchange(&client).await)];
    let echo = format!("got {SECRET} and {CODE}, {TOKEN};{}", TOKEN.replace("STAGE_", ""));
    let bodies = [
        (400, format!(r#"{{"error":"invalid_request","error_code":1003,"error_description":"{echo}"}}"#)),
        (400, format!("<p>{echo}")),
        (500, echo.clone()),
        (200, format!(r#"{{"access_token":"{TOKEN}"}}"#)),
    ];
    for (status, body) in bodies {
        stub.play(Script::json(status, &body));
        let (minted, probed, app) = (exchange(&client).await, probe(&client).await, call(&client).app().await);
        texts.push(format!("{minted:?} {probed:?} {app:?}"));
        texts.extend([minted.unwrap_err().to_string(), probed.unwrap_err().to_string(), app.unwrap_err().to_string()]);
    }
    texts.push(format!(
        "{:?}",
        call(&client_at("127.0.0.1:1", &timing(Duration::from_secs(1)))).user(&AccessToken::new(TOKEN.into())).await
    ));
    let request = AuthorizeRequest {
        redirect_uri: &Url::parse(REDIRECT).unwrap(),
        state: SECRET,
        user_name: None,
        user_email: None,
    };
    texts.push(format!("{request:?}"));
    for text in texts {
        for canary in [SECRET, CODE, &TOKEN[6..]] {
            assert!(!text.contains(canary), "{canary} in {text}");
        }
    }
}
