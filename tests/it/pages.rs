//! The merchant's pages on a real service and a real database, called as a server would call them.

mod journey;
mod stage;

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use strongroom::service::Health;
use url::form_urlencoded;

use stage::{Answer, Stage};

/// Stands in every naughty text, so that a reflection of any part of it is seen.
const MARK: &str = "naughty7c1";

/// Texts that have broken pages, headers and parsers before, percent-encoded.
fn naughty() -> Vec<String> {
    let texts = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' OR 1=1; --",
        "\r\nSet-Cookie: a=b",
        "\0",
        "../../../../etc/passwd",
        "{{7*7}}${7*7}",
        "\u{202e}\u{feff}\u{0}",
        "Ω≈ç√∫˜µ≤≥÷ 田中さん 👾",
        "%s%n%x",
        "javascript:alert(1)",
        "&amp;&lt;&#60;",
        "",
    ];
    let encode = |text: &str| form_urlencoded::byte_serialize(format!("{MARK}{text}").as_bytes()).collect::<String>();
    let mut all: Vec<String> = texts.iter().map(|text| encode(text)).collect();
    all.push(format!("{MARK}%ff%fe%c3%28"));
    all.push(format!("{MARK}%zz%"));
    all.push(format!("{MARK}{}", "A".repeat(4_000)));
    all
}

fn assert_no_reflection(answer: &Answer, what: &str) {
    assert!(answer.status.as_u16() < 500, "{what}: {}", answer.status);
    assert!(!answer.body.contains(MARK) && !answer.body.contains("<script"), "{what}");
    for (name, value) in &answer.headers {
        assert!(!String::from_utf8_lossy(value.as_bytes()).contains(MARK), "{what}: {name}");
    }
}

#[tokio::test]
async fn every_answer_carries_the_headers_also_where_there_is_nothing() {
    let stage = Stage::new().await;
    let connect = stage.connect("");
    let other_app = stage.invitation.replace("/connect/app_", "/connect/app_0");
    for (method, path, status) in [
        (Method::GET, stage.invitation.clone(), StatusCode::OK),
        (Method::HEAD, stage.invitation.clone(), StatusCode::OK),
        (Method::GET, other_app, StatusCode::NOT_FOUND),
        (Method::GET, format!("{connect}/invitation/inv_1.x"), StatusCode::NOT_FOUND),
        (Method::POST, format!("{connect}/invitation/inv_1.x"), StatusCode::NOT_FOUND),
        (Method::DELETE, stage.invitation.clone(), StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, format!("{connect}/callback"), StatusCode::BAD_REQUEST),
        (Method::HEAD, format!("{connect}/callback"), StatusCode::OK),
        (Method::POST, format!("{connect}/callback"), StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/connect/app_1/callback?code=a&state=b".to_owned(), StatusCode::NOT_FOUND),
        (Method::GET, format!("{connect}/status/flo_1"), StatusCode::NOT_FOUND),
        (Method::GET, format!("{connect}/status/flo_{}", "0".repeat(32)), StatusCode::NOT_FOUND),
        (Method::GET, "/assets/style.css".to_owned(), StatusCode::OK),
        (Method::GET, "/".to_owned(), StatusCode::NOT_FOUND),
        (Method::TRACE, "/".to_owned(), StatusCode::NOT_FOUND),
        (Method::GET, "/livez".to_owned(), StatusCode::NOT_FOUND),
        (Method::GET, format!("/{}", "a".repeat(9_000)), StatusCode::URI_TOO_LONG),
    ] {
        let answer = stage.send(method.clone(), &path, &[], Body::empty()).await;
        assert_eq!(answer.status, status, "{method} {path}");
        let keeps = if path.ends_with(".css") { "public, max-age=3600" } else { "no-store" };
        let policy = "default-src 'none'; style-src 'self'; form-action 'self' http://127.0.0.1:9 https://shop.example; \
                      frame-ancestors 'none'; base-uri 'none'";
        for (name, value) in [
            ("content-security-policy", policy),
            ("referrer-policy", "no-referrer"),
            ("cache-control", keeps),
            ("x-content-type-options", "nosniff"),
            ("cross-origin-opener-policy", "same-origin"),
            ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
            ("strict-transport-security", "max-age=31536000"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{method} {path}");
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            assert!(answer.header("allow").is_some_and(|allow| allow.contains("GET")), "{method} {path}");
        }
        if method == Method::HEAD {
            assert_eq!(answer.body, "", "{path}");
        }
    }
}

#[tokio::test]
async fn opening_an_invitation_has_no_effect_and_says_what_is_asked() {
    let stage = Stage::new().await;
    let before = stage.store.position().await.unwrap();
    for method in [Method::GET, Method::HEAD, Method::GET] {
        let answer = stage.send(method, &stage.invitation, &[], Body::empty()).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("set-cookie"), None);
    }
    let page = stage.get(&stage.invitation).await.body;
    assert_eq!(stage.store.position().await.unwrap(), before);
    assert_eq!(page.matches("<li>").count(), 5 + 3, "five permissions, three steps");
    assert_eq!((page.matches("<h1").count(), page.matches("<button").count()), (1, 1));
    assert!(page.contains("<html lang=\"en\">") && page.contains("<main>") && page.contains("name=\"viewport\""));
    assert!(page.contains(&format!("<form method=\"post\" action=\"{}\">", stage.invitation)));
    // The merchant's name comes from the platform: shown, and escaped.
    assert!(page.contains("Ann &#38; &#60;b&#62;Sons") && !page.contains("<b>"), "{page}");
    stage.assert_provider_was_not_called();
}

#[tokio::test]
async fn an_invitation_that_is_too_old_says_what_to_do() {
    let stage = Stage::new().await;
    stage.clock.advance(std::time::Duration::from_secs(8 * 24 * 60 * 60));
    for method in [Method::GET, Method::POST] {
        let answer = stage.send(method, &stage.invitation, &[], Body::empty()).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert!(answer.body.contains("ask the business that sent it to you for a new one"));
        assert_eq!(answer.header("set-cookie"), None);
    }
}

#[tokio::test]
async fn a_press_from_another_site_does_nothing() {
    let stage = Stage::new().await;
    let before = stage.store.position().await.unwrap();
    for sites in [&["cross-site"][..], &["same-site"], &["same-origin", "cross-site"], &["none, cross-site"], &[""]] {
        let headers: Vec<_> = sites.iter().map(|site| ("sec-fetch-site", *site)).collect();
        let answer = stage.send(Method::POST, &stage.invitation, &headers, Body::empty()).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{sites:?}");
        assert_eq!(answer.header("set-cookie"), None);
    }
    assert_eq!(stage.store.position().await.unwrap(), before);
    for site in ["same-origin", "none"] {
        let answer = stage.send(Method::POST, &stage.invitation, &[("sec-fetch-site", site)], Body::empty()).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{site}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_whether_declared_or_not() {
    let stage = Stage::new().await;
    let before = stage.store.position().await.unwrap();
    let declared = [("content-length", "8193")];
    let answer = stage.send(Method::POST, &stage.invitation, &declared, Body::empty()).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let answer = stage.send(Method::POST, &stage.invitation, &[], Body::from(vec![b'a'; 8_193])).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(stage.store.position().await.unwrap(), before);
    let answer = stage.send(Method::POST, &stage.invitation, &[], Body::from(vec![b'a'; 8_192])).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn naughty_texts_anywhere_are_neither_reflected_nor_fatal() {
    let stage = Stage::new().await;
    let before = stage.store.position().await.unwrap();
    let connect = stage.connect("");
    for text in naughty() {
        for path in [
            format!("/{text}"),
            format!("/connect/{text}/callback"),
            format!("/connect/{text}/invitation/{text}"),
            format!("{connect}/invitation/{text}"),
            format!("{connect}/invitation/inv_{}.{text}", "0".repeat(32)),
            format!("{connect}/status/{text}"),
            format!("{connect}/callback?{text}"),
            format!("{connect}/callback?code={text}&state={text}"),
            format!("{connect}/callback?error={text}&error_description={text}&state={text}"),
            format!("{connect}/callback?iss={text}&code=a&state={text}"),
        ] {
            for method in [Method::GET, Method::POST] {
                let answer = stage.send(method, &path, &[], Body::empty()).await;
                assert_no_reflection(&answer, &path);
            }
        }
        for name in [header::COOKIE.as_str(), "sec-fetch-site", "referer", "host"] {
            let value = format!("__Host-strongroom-browser={text}");
            let path = stage.connect("/callback?state=x");
            let answer = stage.send(Method::GET, &path, &[(name, &value)], Body::empty()).await;
            assert_no_reflection(&answer, name);
        }
    }
    assert_eq!(stage.store.position().await.unwrap(), before);
    stage.assert_provider_was_not_called();
}

#[tokio::test]
async fn the_probes_tell_life_from_readiness() {
    let stage = Stage::new().await;
    let health = Health::default();
    let probe = async |path: &str| stage.probe(&health, path).await;
    let unready = |lines: &str| (StatusCode::SERVICE_UNAVAILABLE, lines.to_owned());
    assert_eq!(probe("/livez").await, (StatusCode::OK, "ok\n".to_owned()));
    assert_eq!(probe("/readyz").await, unready("process is starting\n"));
    health.begin();
    assert_eq!(probe("/readyz").await, (StatusCode::OK, "ready\n".to_owned()));
    stage.store.close().await;
    assert_eq!(probe("/readyz").await, unready("database is unavailable (code closed)\n"));
    health.end();
    assert_eq!(probe("/readyz").await, unready("process is ending\ndatabase is unavailable (code closed)\n"));
    assert_eq!(probe("/livez").await.0, StatusCode::OK);
    // And the pages say so in plain words, with a reference and without internals.
    let answer = stage.get(&stage.invitation).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.header("retry-after").is_some() && answer.body.contains("<code>cal_"), "{}", answer.body);
    assert!(!answer.body.contains("sql") && !answer.body.contains("pool"));
}
