//! dev.json and explicit flags.

use super::*;

const DEV: &str = r#"{
    "grpc": {"address": "127.0.0.1:7001", "ca": "/d/ca.pem", "server_name": "strongroom.test"},
    "public_http": "https://127.0.0.1:7002", "public_ca": "/d/ca.pem", "ops_http": "http://127.0.0.1:7003",
    "sandbox": {"api": "x", "ui": "x", "control": "x", "client_id": "1", "client_secret": "s"},
    "database": "sqlite:///d/db", "a later key": [1],
    "callers": {
        "payments": {"cert": "/d/payments.pem", "key": "/d/payments.key", "id": "spiffe://x/payments", "later": 1},
        "auditor": {"cert": "/d/auditor.pem", "key": "/d/auditor.key", "id": "spiffe://x/auditor"}
    }
}"#;

fn explicit() -> Global {
    Global {
        address: Some("[::1]:7001".to_owned()),
        ca: Some("ca".into()),
        cert: Some("cert".into()),
        key: Some("key".into()),
        ..Global::default()
    }
}

fn usage(result: Result<Target, Failure>) -> String {
    match result {
        Err(Failure::Usage(said)) => said,
        other => panic!("{other:?}"),
    }
}

#[test]
fn dev_json_names_server_and_caller_and_may_grow() {
    let target = Target {
        address: "127.0.0.1:7001".to_owned(),
        server_name: "strongroom.test".to_owned(),
        ca: "/d/ca.pem".into(),
        cert: "/d/payments.pem".into(),
        key: "/d/payments.key".into(),
    };
    assert_eq!(parse_dev_file(DEV.as_bytes(), "payments"), Ok(target));
    assert_eq!(parse_dev_file(DEV.as_bytes(), "nobody").unwrap_err(), "no caller nobody; there are: auditor, payments");
    for bad in ["", "{}", "[]", &DEV.replace("server_name", "name"), &DEV.replace("callers", "people")] {
        assert!(parse_dev_file(bad.as_bytes(), "payments").is_err(), "{bad}");
    }
}

#[test]
fn the_caller_is_the_commands_unless_another_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let dev = Global { dev: Some(dir.path().to_owned()), ..Global::default() };
    assert!(usage(dev.target("payments")).contains("start `strongroom dev`"));
    fs::write(dir.path().join("dev.json"), DEV).unwrap();
    assert_eq!(dev.target("payments").unwrap().key, Path::new("/d/payments.key"));
    let as_auditor = Global { as_name: Some("auditor".to_owned()), ..dev.clone() };
    assert_eq!(as_auditor.target("payments").unwrap().key, Path::new("/d/auditor.key"));
}

#[test]
fn explicit_flags_belong_together_and_exclude_dev() {
    let target = explicit().target("payments").unwrap();
    assert_eq!((target.address.as_str(), target.server_name.as_str()), ("[::1]:7001", "::1"));
    let named = Global { server_name: Some("s".to_owned()), ..explicit() };
    assert_eq!(named.target("payments").unwrap().server_name, "s");
    for bad in [
        Global { address: None, ..explicit() },
        Global { ca: None, ..explicit() },
        Global { cert: None, ..explicit() },
        Global { key: None, ..explicit() },
        Global { dev: Some("d".into()), ..explicit() },
        Global { as_name: Some("n".to_owned()), ..explicit() },
        Global { address: Some("host".to_owned()), ..explicit() },
        Global { address: Some(":1".to_owned()), ..explicit() },
        Global { address: Some("host:99999".to_owned()), ..explicit() },
    ] {
        usage(bad.target("payments"));
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let failure = explicit().connect("payments").await.unwrap_err();
    assert_eq!(failure.exit_code(), 2);
    assert!(failure.to_string().starts_with("ca: "), "{failure}");
}

#[tokio::test]
async fn files_that_hold_something_else_are_not_taken_for_an_unreachable_server() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("not.pem");
    fs::write(&file, "nothing").unwrap();
    // Port 9 of the loopback: whether somebody answers there must not matter.
    let address = "127.0.0.1:9".to_owned();
    let target = Target { address, server_name: "s".to_owned(), ca: file.clone(), cert: file.clone(), key: file };
    let failure = connect(&target).await.unwrap_err();
    assert_eq!(failure.exit_code(), 2, "{failure}");
    assert!(failure.to_string().contains("not.pem"), "{failure}");
}
