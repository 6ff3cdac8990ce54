//! The control API: settings, filters of the call log, single tokens and apps.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::support::{World, options};
use crate::sandbox::{Error, Options, Sandbox};

async fn refused(world: &World, method: &str, path: &str, body: &Value) -> u16 {
    let url = format!("{}{path}", world.sandbox.endpoints().control);
    world.send(world.client.request(method.parse().unwrap(), url).body(body.to_string())).await.status
}

#[tokio::test]
async fn settings_change_all_or_none_and_go_back_to_those_of_the_start() {
    let settings = json!({"throttle_calls": 7, "codes": {"reused_code": 1012}}).as_object().unwrap().clone();
    let world = World::with(Options { settings, ..options(None) }).await;
    let start = world.control("GET", "/settings", Value::Null).await;
    assert_eq!((&start["throttle_calls"], &start["codes"]["reused_code"]), (&json!(7), &json!(1012)));
    for wrong in [
        json!({"state_on_denial": false, "throttle_calls": 0}),
        json!({"state_on_denial": false, "unknown": 1}),
        json!({"state_on_denial": false, "codes": {"reused_code": 7}}),
        json!([]),
    ] {
        assert_eq!(refused(&world, "POST", "/settings", &wrong).await, 400, "{wrong}");
        assert_eq!(world.control("GET", "/settings", Value::Null).await, start);
    }
    let changed = world.control("POST", "/settings", json!({"state_on_denial": false, "find_limit": 3})).await;
    assert_eq!((&changed["state_on_denial"], &changed["find_limit"]), (&json!(false), &json!(3)));
    assert_eq!(world.control("GET", "/settings", Value::Null).await, changed);
    assert_eq!(world.control("DELETE", "/settings", Value::Null).await, start);
    assert_eq!(world.control("GET", "/settings", Value::Null).await, start);
}

#[tokio::test]
async fn a_sandbox_does_not_start_with_a_setting_that_it_cannot_have() {
    for wrong in [json!({"throttle_calls": 0}), json!({"colour": "red"})] {
        let settings = wrong.as_object().unwrap().clone();
        let started = Sandbox::start(Options { settings, ..options(None) }).await;
        assert!(matches!(started.err(), Some(Error::Setting(_))), "{wrong}");
    }
}

#[tokio::test]
async fn no_page_of_a_browser_is_answered_under_whatever_name_it_comes() {
    let world = World::start().await;
    let port = world.sandbox.local_addr().port();
    let apps = async |name: &str, value: &str| {
        let request = world.client.get(format!("{}/apps", world.sandbox.endpoints().control)).header(name, value);
        let answer = world.send(request).await;
        (answer.status, answer.text.contains("client_secret"))
    };
    // A name that leads to this machine today: a page of its own server's name need not say where it comes from.
    for host in
        ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.1", "a b"]
    {
        assert_eq!(apps("host", host).await, (403, false), "{host}");
    }
    for host in ["localhost", "LOCALHOST:1", "127.0.0.1", "127.8.9.1:80", "[::1]:80", &format!("127.0.0.1:{port}")] {
        assert_eq!(apps("host", host).await, (200, true), "{host}");
    }
    for origin in ["null", "http://evil.example", "http://localhost"] {
        assert_eq!(apps("origin", origin).await, (403, false), "{origin}");
    }
}

#[tokio::test]
async fn a_form_is_no_order_even_where_nothing_of_it_would_be_read() {
    let world = World::start().await;
    let account = world.sandbox.app_owner_account_id();
    let before = world.control("GET", "/state", Value::Null).await["journal_position"].clone();
    for path in [
        format!("/accounts/{account}/withdraw"),
        format!("/accounts/{account}/clear"),
        "/snapshots/a".to_owned(),
        "/apps".to_owned(),
        "/notices/1/send".to_owned(),
    ] {
        let url = format!("{}{path}", world.sandbox.endpoints().control);
        let answer = world.send(world.client.post(url).body(format!("account_id={account}"))).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.text);
    }
    let after = world.control("GET", "/state", Value::Null).await;
    assert_eq!((&after["journal_position"], &after["snapshots"]), (&before, &json!(0)));
}

/// Every setting must be read somewhere outside of its own module: one that nobody asks is a lie.
#[test]
fn every_setting_is_asked_somewhere() {
    let sources = {
        let mut sources = BTreeMap::new();
        collect(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sandbox"), &mut sources);
        sources
    };
    let settings = json!(crate::sandbox::settings::Settings::new(true, false, crate::sandbox::Throttle::Off));
    let codes = settings["codes"].as_object().unwrap().keys();
    let names = settings.as_object().unwrap().keys().filter(|name| *name != "codes").chain(codes);
    let is_read = |name: &String| {
        let field = format!(".{name}");
        let is_field = |next: char| !next.is_alphanumeric() && next != '_' && next != '(';
        let reads = |text: &String| text.split(&field).skip(1).any(|rest| rest.starts_with(is_field));
        sources.values().any(reads)
    };
    let unasked: Vec<&String> = names.filter(|name| !is_read(name)).collect();
    assert!(unasked.is_empty(), "nothing reads {unasked:?}");
}

/// Texts of all sources but the settings' own and the tests'.
fn collect(dir: &std::path::Path, into: &mut BTreeMap<std::path::PathBuf, String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let is_test = path.file_name().is_some_and(|name| name == "tests");
        if path.is_dir() && !is_test {
            collect(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("sandbox/settings.rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            into.insert(path, text.split("#[cfg(test)]").next().unwrap_or_default().to_owned());
        }
    }
}

#[tokio::test]
async fn the_call_log_is_filtered_and_comes_line_by_line() {
    let world = World::start().await;
    let (ada, token) = world.register("ada@shop.example").await;
    world.user(&token).await;
    world.user("STAGE_unknown").await;
    let newer = world.post("/user", &json!({})).header("api-version", "2019-04-03");
    world.send(newer.header("authorization", format!("Bearer {token}"))).await;
    world.fault(json!({"path": "/user", "kind": "lose_after"})).await;
    world
        .try_send(world.post("/user", &json!({})).header("authorization", format!("Bearer {token}")))
        .await
        .err()
        .unwrap();
    world.fault(json!({"path": "/user", "kind": "throttle"})).await;
    assert_eq!(world.user(&token).await.status, 429);

    let url = |query: &str| format!("{}/calls.jsonl{query}", world.sandbox.endpoints().control);
    let lines = async |query: &str| {
        let answer = world.send(world.client.get(url(query))).await;
        assert_eq!((answer.status, answer.media.as_str()), (200, "application/x-ndjson"));
        assert!(answer.text.is_empty() || answer.text.ends_with('\n'));
        answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let all = lines("").await;
    assert_eq!(world.control("GET", "/calls", Value::Null).await["calls"], json!(all));
    let client_id = &world.sandbox.endpoints().client_id;
    for (query, count) in [
        ("?path=/user".to_owned(), 5),
        ("?status=200".to_owned(), 3),
        ("?status=401".to_owned(), 1),
        ("?status=none".to_owned(), 1),
        (format!("?user_id={ada}"), 4),
        (format!("?client_id={client_id}&path=/v2/user/"), 3),
        ("?limit=2".to_owned(), 2),
        ("?limit=2&after=5".to_owned(), 1),
        ("?limit=0".to_owned(), 0),
    ] {
        assert_eq!(lines(&query).await.len(), count, "{query}");
    }
    let seen = |name: &str| all.iter().map(|line| line[name].clone()).collect::<Vec<Value>>();
    assert_eq!(
        seen("fault"),
        [json!(null), json!(null), json!(null), json!(null), json!("lose_after"), json!("throttle")]
    );
    assert_eq!(seen("throttled"), [false, false, false, false, false, true]);
    let (default, newest) = (json!("2018-03-21"), json!("2019-04-03"));
    assert_eq!(seen("version")[1..4], [default.clone(), json!(null), newest]);
    for wrong in ["?status=x", "?limit=-1", "?user_id=a", "?colour=red"] {
        assert_eq!(world.send(world.client.get(url(wrong))).await.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn access_is_taken_back_from_one_app_and_single_tokens_die() {
    let world = World::start().await;
    let ada = world.make_user("ada@shop.example").await;
    let first = world.token("ada@shop.example").await;
    let other = world.control("POST", "/apps", Value::Null).await;
    let mut body = world.register_body("ada@shop.example");
    (body["client_id"], body["client_secret"]) = (other["client_id"].clone(), other["client_secret"].clone());
    let issued = world.send(world.post("/user/register", &body)).await.json();
    let second = issued["access_token"].as_str().unwrap();
    let revoke = format!("/users/{ada}/revoke");
    let done = world.control("POST", &revoke, json!({"client_id": other["client_id"]})).await;
    assert_eq!(done["revoked"], 1);
    assert_eq!((world.user(second).await.refusal().2, world.user(&first).await.status), (1011, 200));
    let hash = world.tokens(ada).await.into_iter().find(|token| token["live"] == true).unwrap()["token_sha256"].clone();
    let named = json!({"token_sha256": hash});
    assert_eq!(world.control("POST", "/tokens/revoke", named.clone()).await, json!({"user_id": ada, "revoked": 1}));
    assert_eq!(world.control("POST", "/tokens/revoke", named).await["revoked"], 0);
    assert_eq!(world.user(&first).await.refusal().2, 1011);
    for (path, body, status) in [
        (revoke.as_str(), json!({"client_id": "1"}), 404),
        (revoke.as_str(), json!({"app": "1"}), 400),
        (&format!("/users/{ada}/delete"), json!({"client_id": other["client_id"]}), 400),
        ("/tokens/revoke", json!({"token_sha256": "abc"}), 404),
        ("/tokens/revoke", json!({"token_sha256": "0".repeat(16)}), 404),
    ] {
        assert_eq!(refused(&world, "POST", path, &body).await, status, "{path} {body}");
    }
}
