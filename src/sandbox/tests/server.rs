//! What a client sees of the server itself: headers, and that nobody's slowness or hanging up harms others.

use reqwest::header::{HeaderMap, HeaderName};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::support::{PATIENCE, World, options};
use crate::sandbox::{Environment, Options};

/// A header's text, empty when it is not there.
fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name.parse::<HeaderName>().unwrap()).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

async fn headers(world: &World, token: &str, call: &str, body: Value) -> HeaderMap {
    let request = world.post(call, &body).header("authorization", format!("Bearer {token}"));
    request.send().await.unwrap().headers().clone()
}

#[tokio::test]
async fn an_api_answer_has_the_headers_recorded_on_stage() {
    let world = World::start().await;
    let owner = world.sandbox.app_owner_token().to_owned();
    for (call, body) in
        [("/user", json!({})), ("/account/find", json!({})), ("/nothing", json!({})), ("/user", json!([1]))]
    {
        let headers = headers(&world, &owner, call, body).await;
        let names = ["server", "content-type", "x-content-type-options", "vary"];
        assert_eq!(names.map(|name| text(&headers, name)), ["nginx", "application/json", "nosniff", "Authorization"]);
        assert!(headers.contains_key("date") && headers.contains_key("content-length"), "{call}");
        for absent in ["set-cookie", "cache-control", "strict-transport-security", "www-authenticate", "retry-after"] {
            assert!(!headers.contains_key(absent), "{call}: {absent}");
        }
    }
}

#[tokio::test]
async fn a_write_sets_a_session_cookie_and_is_not_to_be_stored() {
    for (environment, domain) in [(Environment::Stage, "stage.wepay.com"), (Environment::Production, "www.wepay.com")] {
        let world = World::with(Options { environment, ..options(None) }).await;
        let owner = world.sandbox.app_owner_token().to_owned();
        let account = json!({"name": "Shop", "description": "Bread"});
        let headers = headers(&world, &owner, "/account/create", account).await;
        let cookie = text(&headers, "set-cookie");
        let value = cookie.strip_prefix("wepay=").unwrap();
        let (value, attributes) = value.split_once(';').unwrap();
        assert!(value.len() == 26 && value.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(attributes, format!(" path=/; domain={domain}; secure; HttpOnly"));
        let cookies: Vec<_> = headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(cookies, [&cookie, &cookie.replace("HttpOnly", "httponly")]);
        let unstored = "no-store, no-cache, must-revalidate, post-check=0, pre-check=0";
        assert_eq!(
            (text(&headers, "cache-control").as_str(), text(&headers, "pragma").as_str()),
            (unstored, "no-cache")
        );
        assert_eq!(text(&headers, "expires"), "Thu, 19 Nov 1981 08:52:00 GMT");
    }
}

#[tokio::test]
async fn a_slow_client_holds_up_nobody_and_is_answered_in_the_end() {
    let world = World::start().await;
    let owner = world.sandbox.app_owner_token().to_owned();
    let mut slow = TcpStream::connect(world.sandbox.local_addr()).await.unwrap();
    slow.set_nodelay(true).unwrap();
    let request = format!(
        "POST /v2/user HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {owner}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
    );
    for byte in request.as_bytes() {
        slow.write_all(&[*byte]).await.unwrap();
        if byte.is_ascii_whitespace() {
            assert_eq!(world.user(&owner).await.status, 200);
        }
    }
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, slow.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("owner@platform.example"), "{answer}");
}

#[tokio::test]
async fn a_request_that_was_sent_whole_is_processed_though_the_client_is_gone_at_once() {
    let dir = tempfile::tempdir().unwrap();
    for dir in [None, Some(dir.path())] {
        let world = World::with(options(dir)).await;
        for number in 0..20 {
            let body = world.register_body(&format!("user-{number}@shop.example")).to_string();
            let length = body.len();
            let mut stream = TcpStream::connect(world.sandbox.local_addr()).await.unwrap();
            let head = format!("POST /v2/user/register HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            drop(stream);
        }
        let all = async { while world.calls("/user/register").await.len() < 20 {} };
        tokio::time::timeout(PATIENCE, all).await.unwrap();
        let state = world.control("GET", "/state", Value::Null).await;
        assert_eq!(state["users"].as_array().unwrap().len(), 21);
    }
}

#[tokio::test]
async fn half_a_request_changes_nothing() {
    let world = World::start().await;
    let body = world.register_body("ada@shop.example").to_string();
    let mut stream = TcpStream::connect(world.sandbox.local_addr()).await.unwrap();
    let head = format!("POST /v2/user/register HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len() + 1);
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    drop(tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap());
    assert!(answer.is_empty() && world.calls("/user/register").await.is_empty());
}

#[tokio::test]
async fn a_body_may_be_as_large_as_the_limit_and_no_larger() {
    let world = World::start().await;
    let limit = crate::sandbox::protocol::BODY_MAX;
    let send =
        async |length: usize| world.send(world.post("/user", &Value::Null).body(" ".repeat(length))).await.refusal();
    assert_eq!(send(limit).await.2, 1002);
    assert_eq!(send(limit + 1).await, (413, "invalid_request".to_owned(), 1005));
}

#[tokio::test]
async fn a_body_that_is_announced_too_large_is_not_waited_for() {
    let world = World::start().await;
    let owner = world.sandbox.app_owner_token().to_owned();
    for expect in ["", "expect: 100-continue\r\n"] {
        let mut stream = TcpStream::connect(world.sandbox.local_addr()).await.unwrap();
        let head = format!("POST /v2/user HTTP/1.1\r\nhost: x\r\n{expect}content-length: 99999999\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 413 ") && answer.ends_with('}'), "{answer}");
    }
    assert_eq!(world.user(&owner).await.status, 200);
}

#[tokio::test]
async fn stopping_does_not_wait_for_what_a_client_left_behind() {
    let world = World::start().await;
    world.fault(json!({"path": "/user", "kind": "delay_before", "delay_ms": 600_000})).await;
    let mut stream = TcpStream::connect(world.sandbox.local_addr()).await.unwrap();
    stream.write_all(b"GET /v2/user HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    while world.control("GET", "/faults", Value::Null).await["faults"][0]["fired"] != 1 {}
    drop(stream);
    tokio::time::timeout(PATIENCE, world.sandbox.stop()).await.unwrap();
}
