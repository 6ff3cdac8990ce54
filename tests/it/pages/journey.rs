//! From the button to the outcome.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, StatusCode};
use strongroom::domain::trail::EventKind;
use url::Url;

use super::stage::Stage;

/// A browser that pressed the button.
struct Pressed {
    /// As it sends it back: name and value.
    cookie: String,
    state: String,
    to: Url,
}

async fn press(stage: &Stage) -> Pressed {
    let answer = stage.send(Method::POST, &stage.invitation, &[("sec-fetch-site", "same-origin")], Body::empty()).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let to = Url::parse(answer.header("location").unwrap()).unwrap();
    let state = to.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    Pressed { cookie, state, to }
}

#[tokio::test]
async fn pressing_binds_the_browser_and_asks_the_provider_for_all_five_scopes() {
    let stage = Stage::new().await;
    let before = stage.store.position().await.unwrap();
    let answer = stage.send(Method::POST, &stage.invitation, &[], Body::empty()).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_ne!(stage.store.position().await.unwrap(), before, "a flow was started");

    let set = answer.header("set-cookie").unwrap();
    let (pair, attributes) = set.split_once("; ").unwrap();
    let value = pair.strip_prefix("__Host-strongroom-browser=").unwrap();
    assert_eq!(value.len(), 43, "32 bytes in base64url");
    assert_eq!(attributes, "Max-Age=3600; Path=/; Secure; HttpOnly; SameSite=Lax");

    let to = Url::parse(answer.header("location").unwrap()).unwrap();
    let query: BTreeMap<_, _> = to.query_pairs().into_owned().collect();
    assert_eq!(to.path(), "/v2/oauth2/authorize");
    assert_eq!(query["scope"], "manage_accounts,collect_payments,view_user,preapprove_payments,send_money");
    assert_eq!(query["redirect_uri"], format!("https://connect.example{}", stage.connect("/callback")));
    assert_eq!((query["client_id"].as_str(), query["response_type"].as_str()), ("4711", "code"));
    stage.assert_provider_was_not_called();
}

#[tokio::test]
async fn a_second_press_keeps_the_browser_and_makes_a_fresh_state() {
    let stage = Stage::new().await;
    let first = press(&stage).await;
    let headers = [("cookie", first.cookie.as_str())];
    let answer = stage.send(Method::POST, &stage.invitation, &headers, Body::empty()).await;
    assert!(answer.header("set-cookie").unwrap().starts_with(&first.cookie));
    assert_ne!(answer.header("location").unwrap(), first.to.as_str());
}

#[tokio::test]
async fn a_callback_that_is_not_right_consumes_nothing() {
    let stage = Stage::new().await;
    let Pressed { cookie, state, .. } = press(&stage).await;
    let other = format!("__Host-strongroom-browser={}", "A".repeat(43));
    let before = stage.store.position().await.unwrap();
    let wrong = [
        ("code=c".to_owned(), &cookie, StatusCode::BAD_REQUEST),
        ("code=c&state=".to_owned(), &cookie, StatusCode::BAD_REQUEST),
        (format!("code=c&state={}", "A".repeat(43)), &cookie, StatusCode::BAD_REQUEST),
        (format!("code=c&state={state}"), &other, StatusCode::FORBIDDEN),
        (format!("code=c&state={state}"), &String::new(), StatusCode::FORBIDDEN),
        (format!("code=c&state={state}"), &format!("{cookie}; {other}"), StatusCode::FORBIDDEN),
        (format!("error=access_denied&state={state}"), &other, StatusCode::FORBIDDEN),
        (format!("code=c&code=c&state={state}"), &cookie, StatusCode::BAD_REQUEST),
        (format!("code=c&state={state}&state={state}"), &cookie, StatusCode::BAD_REQUEST),
        (format!("error=a&error=a&state={state}"), &cookie, StatusCode::BAD_REQUEST),
        (format!("code=c&error=a&state={state}"), &cookie, StatusCode::BAD_REQUEST),
        (format!("state={state}"), &cookie, StatusCode::BAD_REQUEST),
        (format!("code={}&state={state}", "c".repeat(256)), &cookie, StatusCode::BAD_REQUEST),
        (format!("code=c%20d&state={state}"), &cookie, StatusCode::BAD_REQUEST),
        (format!("code=c&state={state}&iss=https%3A%2F%2Fother.example"), &cookie, StatusCode::BAD_REQUEST),
        (format!("code=c&state={state}&{}", "x=1&".repeat(40)), &cookie, StatusCode::BAD_REQUEST),
    ];
    let cases = wrong.len();
    for (query, cookie, status) in wrong {
        let answer = stage.get_with(&stage.connect(&format!("/callback?{query}")), cookie).await;
        assert_eq!(answer.status, status, "{query}");
        assert_eq!((answer.header("location"), answer.header("set-cookie")), (None, None), "{query}");
        if status == StatusCode::FORBIDDEN {
            assert!(answer.body.contains("open your link again here and press the button"), "{query}");
        }
    }
    let path = stage.connect(&format!("/callback?code=c&state={state}"));
    for (method, status) in [(Method::HEAD, StatusCode::OK), (Method::POST, StatusCode::METHOD_NOT_ALLOWED)] {
        assert_eq!(stage.send(method, &path, &[("cookie", &cookie)], Body::empty()).await.status, status);
    }
    stage.clock.advance(Duration::from_secs(30 * 60));
    assert_eq!(stage.get_with(&path, &cookie).await.status, StatusCode::GONE);
    assert_eq!(stage.store.position().await.unwrap(), before, "none changed anything");
    let refusals = stage.reads(EventKind::CallbackRefused).await;
    assert_eq!(refusals.len(), cases + 1, "each is recorded");
    assert!(refusals.iter().all(|event| event.origin.is_none() && event.call.is_some()));
    stage.assert_provider_was_not_called();
}

#[tokio::test]
async fn a_denial_ends_the_flow_and_is_not_repeated() {
    let stage = Stage::new().await;
    let Pressed { cookie, state, .. } = press(&stage).await;
    let path = stage.connect(&format!(
        "/callback?error=access_denied&error_description=%3Cscript%3Ealert(1)%3C%2Fscript%3E&state={state}"
    ));
    let answer = stage.get_with(&path, &cookie).await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::SEE_OTHER, ""));
    let status = answer.header("location").unwrap().to_owned();
    assert!(status.starts_with(&stage.connect("/status/flo_")) && !status.contains('?'), "{status}");

    let page = stage.get_with(&status, &cookie).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("the permission was not given"));
    assert!(!page.body.contains("script") && !page.body.contains("access_denied") && !page.body.contains("refresh"));
    // Another browser sees nothing of it.
    assert_eq!(stage.get(&status).await.status, StatusCode::NOT_FOUND);
    // A reload lands at the same status and changes nothing; a code for the consumed state is not even looked at.
    let before = stage.store.position().await.unwrap();
    assert_eq!(stage.get_with(&path, &cookie).await.header("location"), Some(status.as_str()));
    let late = stage.connect(&format!("/callback?code=c&state={state}"));
    assert_eq!(stage.get_with(&late, &cookie).await.header("location"), Some(status.as_str()));
    assert_eq!(stage.store.position().await.unwrap(), before);
    stage.assert_provider_was_not_called();
}

#[tokio::test]
async fn the_browser_returns_to_the_platform_once_the_outcome_is_there() {
    let stage = Stage::returning_to("https://shop.example/done?order=1").await.without_provider();
    let Pressed { cookie, state, .. } = press(&stage).await;
    let path = stage.connect(&format!("/callback?code=c0de&state={state}&iss=http%3A%2F%2F127.0.0.1%3A9"));
    let answer = stage.get_with(&path, &cookie).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let status = answer.header("location").unwrap().to_owned();
    stage.services.drain().await;

    let answer = stage.get_with(&status, &cookie).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let to = Url::parse(answer.header("location").unwrap()).unwrap();
    let flow = status.rsplit('/').next().unwrap();
    assert_eq!(to.as_str(), format!("https://shop.example/done?order=1&flow={flow}&outcome=not_sent"));
}

#[tokio::test]
async fn the_status_page_looks_again_while_the_outcome_is_worked_on() {
    let stage = Stage::new().await;
    let Pressed { cookie, state, .. } = press(&stage).await;
    let answer = stage.get_with(&stage.connect(&format!("/callback?code=c0de&state={state}")), &cookie).await;
    let status = answer.header("location").unwrap().to_owned();
    // The provider's listener never answers, so the outcome cannot be there yet.
    let page = stage.get_with(&status, &cookie).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("<meta http-equiv=\"refresh\" content=\"1\">"), "{}", page.body);
}

/// What was logged, also by other crates.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_log_line_carries_a_link_a_state_a_code_or_a_cookie() {
    // With one dispatcher alone, `tracing` asks the thread that meets a log line first whether anybody listens, and that may be
    // another test's. With two it asks both.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let stage = Stage::new().await;
    stage.get(&stage.invitation).await;
    let Pressed { cookie, state, .. } = press(&stage).await;
    let code = "canary0c0de0canary";
    let path = stage.connect(&format!("/callback?code={code}&code={code}&state={state}"));
    stage.get_with(&path, &cookie).await;
    let path = stage.connect(&format!("/callback?error={code}&state={state}"));
    assert_eq!(stage.get_with(&path, &cookie).await.status, StatusCode::SEE_OTHER);

    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("/connect/{app}/callback"), "the template is logged");
    let key = stage.invitation.rsplit('.').next().unwrap();
    for secret in [key, state.as_str(), code, cookie.split('=').nth(1).unwrap()] {
        assert!(secret.len() > 16 && !text.contains(secret));
    }
}
