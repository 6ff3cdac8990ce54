//! What counts as delivered, the schedule of the retries, and receivers that misbehave.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::domain::ambient::Timestamp;
use crate::sandbox::tests::receiver::{Receiver, Say};
use crate::sandbox::tests::support::{World, options};
use crate::sandbox::{Error, Options, Sandbox};

/// Seconds between the try before and each retry.
const RETRIES: [u64; 6] = [900, 1_800, 3_600, 21_600, 43_200, 86_400];

/// How long after its last try a notice is due.
fn waits(notice: &Value) -> Duration {
    let at = |value: &Value| Timestamp::parse_rfc3339(value.as_str().unwrap()).unwrap();
    let last = notice["tries"].as_array().unwrap().last().unwrap();
    at(&notice["next_try_at"]).since(at(&last["at"]))
}

#[tokio::test]
async fn a_notice_comes_again_six_times_at_the_documented_times_and_then_never() {
    let world = World::start().await;
    let (deaf, barrier) = (Receiver::saying(Vec::new(), Say::Status(500)).await, Receiver::start().await);
    let account = world.some_account(&deaf.uri("/")).await;
    let watched = world.account_with(&world.register("ada@shop.example").await.1, &barrier.uri("/")).await;
    world.force_state(account, "active").await;
    let id = world.notices("").await[0]["notice_id"].as_u64().unwrap();
    for (before, delay) in RETRIES.into_iter().enumerate() {
        let notice = world.tried(id, before + 1).await;
        assert_eq!((&notice["state"], &notice["tries"][before]["status"]), (&json!("failed"), &json!(500)));
        assert_eq!(waits(&notice), Duration::from_secs(delay));
        // A minute early nothing comes: what is sent after it is there, and this is not.
        world.advance(delay - 60).await;
        let (_, seen) = (world.fire(watched).await, before + 1);
        barrier.wait_for(seen).await;
        assert_eq!(deaf.received().len(), before + 1);
        world.advance(60).await;
    }
    let notice = world.tried(id, 7).await;
    assert_eq!((&notice["state"], &notice["next_try_at"]), (&json!("given_up"), &Value::Null));
    world.advance(365 * 86_400).await;
    world.fire(watched).await;
    barrier.wait_for(7).await;
    assert_eq!(deaf.received().len(), 7);
}

#[tokio::test]
async fn the_time_scale_divides_the_retries() {
    let world = World::with(Options { time_scale: 60, ..options(None) }).await;
    let deaf = Receiver::saying(vec![Say::Status(503)], Say::Status(200)).await;
    let id = world.fire(world.some_account(&deaf.uri("/")).await).await;
    assert_eq!(waits(&world.tried(id, 1).await), Duration::from_secs(15));
    world.advance(15).await;
    assert_eq!(world.tried(id, 2).await["state"], "delivered");
}

#[tokio::test]
async fn only_200_is_success_and_redirects_are_not_followed() {
    let (world, elsewhere) = (World::start().await, Receiver::start().await);
    let location = elsewhere.uri("/");
    let redirect = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
    let cases = [
        (Say::Raw(redirect.leak()), json!({"status": 302, "error": null})),
        (Say::Status(301), json!({"status": 301, "error": null})),
        (Say::Status(201), json!({"status": 201, "error": null})),
        (Say::Status(204), json!({"status": 204, "error": null})),
        (Say::Status(404), json!({"status": 404, "error": null})),
        (Say::Status(500), json!({"status": 500, "error": null})),
        (Say::Drop, json!({"status": null, "error": "broken"})),
        (Say::Raw("SSH-2.0-OpenSSH_9.6\r\n\r\n"), json!({"status": null, "error": "broken"})),
        (Say::Raw("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 410 Gone\r\n\r\n"), json!({"status": 410, "error": null})),
    ];
    for (say, wanted) in cases {
        let receiver = Receiver::saying(vec![say], Say::Status(200)).await;
        let account = world.some_account(&receiver.uri("/")).await;
        let id = world.fire(account).await;
        let notice = world.tried(id, 1).await;
        let attempt = &notice["tries"][0];
        assert_eq!((&attempt["status"], &attempt["error"]), (&wanted["status"], &wanted["error"]));
        assert_eq!((&notice["state"], &attempt["cause"]), (&json!("failed"), &json!("schedule")));
        world.advance(RETRIES[0]).await;
        assert_eq!(world.tried(id, 2).await["state"], "delivered");
    }
    assert!(elsewhere.received().is_empty());
}

#[tokio::test]
async fn a_port_that_opens_later_gets_the_retry() {
    let world = World::start().await;
    let closed = Receiver::closed_port();
    // By name too, without a look-up.
    let port = closed.local_addr().unwrap().port();
    let account = world.some_account(&format!("http://localhost:{port}/?late")).await;
    let id = world.fire(account).await;
    assert_eq!(world.tried(id, 1).await["tries"][0]["error"], "refused");
    let receiver = Receiver::on(closed.listen(8).unwrap(), Vec::new(), Say::Status(200), None);
    world.advance(RETRIES[0]).await;
    assert_eq!(world.tried(id, 2).await["state"], "delivered");
    assert_eq!(receiver.received()[0].line(), "POST /?late HTTP/1.1");
}

#[tokio::test]
async fn a_receiver_that_never_answers_is_given_up_in_time() {
    let world = World::start().await;
    let receiver = Receiver::saying(vec![Say::Hang], Say::Status(200)).await;
    world.set(json!({"notice_timeout_s": 1})).await;
    let id = world.fire(world.some_account(&receiver.uri("/")).await).await;
    // The clock's jump is not the receiver's fault.
    receiver.wait_for(1).await;
    world.advance(60).await;
    assert_eq!(world.notice(id).await["tries"], json!([]));
    assert_eq!(world.tried(id, 1).await["tries"][0]["error"], "timeout");
    world.advance(RETRIES[0]).await;
    assert_eq!(world.tried(id, 2).await["state"], "delivered");
}

#[tokio::test]
async fn a_receiver_that_hangs_delays_nobody_else() {
    let world = World::start().await;
    let (hanging, other) = (Receiver::saying(Vec::new(), Say::Hang).await, Receiver::start().await);
    let token = world.register("ada@shop.example").await.1;
    let stuck = world.account_with(&token, &hanging.uri("/")).await;
    let lucky = world.account_with(&token, &other.uri("/")).await;
    for _ in 0..100 {
        world.fire(stuck).await;
    }
    for _ in 0..3 {
        world.fire(lucky).await;
    }
    other.wait_for(3).await;
    assert!(world.notices(&format!("?account_id={stuck}")).await.iter().all(|notice| notice["state"] == "due"));
    assert!(hanging.received().len() <= 8, "and does not take all the places");
    assert_eq!(world.user(&token).await.status, 200);
    // Neither does it delay the end.
    world.sandbox.stop().await;
}

#[tokio::test]
async fn nothing_leaves_this_machine() {
    let world = World::start().await;
    let token = world.register("ada@shop.example").await.1;
    for uri in ["https://shop.example/in?x", "http://192.0.2.1/", "http://[2001:db8::1]:80/"] {
        let account = world.account_with(&token, uri).await;
        let id = world.fire(account).await;
        let notice = world.notice(id).await;
        assert_eq!(
            (&notice["state"], &notice["callback_uri"], &notice["tries"]),
            (&json!("not_sent"), &json!(uri), &json!([]))
        );
        assert!(notice["reason"].as_str().unwrap().contains("loopback"));
        let (status, why) = world.refused("POST", &format!("/notices/{id}/send"), json!({})).await;
        assert!(status == 400 && why.contains("loopback"), "{why}");
        world.force_state(account, "active").await;
    }
    world.advance(80 * 86_400).await;
    let receiver = Receiver::start().await;
    world.fire(world.account_with(&token, &receiver.uri("/")).await).await;
    receiver.wait_for(1).await;
    let states: Vec<_> = world.notices("").await.iter().map(|notice| notice["state"].clone()).collect();
    assert_eq!(states.iter().filter(|state| *state == "not_sent").count(), 6, "{states:?}");
}

/// Any client of the API can name a receiver, and the control API asks nobody for a password.
#[tokio::test]
async fn a_notice_gives_no_order_to_the_control_api() {
    let world = World::start().await;
    let token = world.register("ada@shop.example").await.1;
    let control = world.sandbox.endpoints().control.clone();
    let first = world.notices("").await.len() + 1;
    let accounts = [
        world.account_with(&token, &format!("{control}/notices/{first}/send")).await,
        world.account_with(&token, &format!("{control}/snapshots/planted")).await,
    ];
    for account in accounts {
        let id = world.fire(account).await;
        assert_eq!(world.tried(id, 1).await["tries"][0]["status"], 400);
    }
    let kept = world.control("GET", "/snapshots", Value::Null).await;
    assert_eq!(kept["snapshots"], json!([]));
    assert_eq!(
        world.notice(u64::try_from(first).unwrap()).await["tries"].as_array().unwrap().len(),
        1,
        "it sent itself once more"
    );
}

#[tokio::test]
async fn https_receivers_need_an_authority_that_the_sandbox_knows() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = config.with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
    let tls = TlsAcceptor::from(Arc::new(config));
    let listener = Receiver::closed_port().listen(8).unwrap();
    let receiver = Receiver::on(listener, Vec::new(), Say::Status(200), Some(tls));
    let known = vec![certified.cert.pem().into_bytes()];
    for (roots, wanted) in [(known, Value::Null), (Vec::new(), json!("tls"))] {
        let world = World::with(Options { notice_roots: roots, ..options(None) }).await;
        let token = world.register("ada@shop.example").await.1;
        for host in ["localhost", "127.0.0.1"] {
            let uri = format!("https://{host}:{}/secret?q", receiver.address().port());
            let id = world.fire(world.account_with(&token, &uri).await).await;
            assert_eq!(world.tried(id, 1).await["tries"][0]["error"], wanted, "{uri}");
        }
        // Who speaks no TLS is no receiver either.
        let uri = format!("https://{}/", world.sandbox.local_addr());
        let id = world.fire(world.account_with(&token, &uri).await).await;
        assert_eq!(world.tried(id, 1).await["tries"][0]["error"], "tls");
    }
    assert_eq!(receiver.wait_for(2).await[0].line(), "POST /secret?q HTTP/1.1");
    let wrong = Sandbox::start(Options { notice_roots: vec![b"none".to_vec()], ..options(None) }).await;
    assert!(matches!(wrong, Err(Error::NoticeRoots(_))));
}
