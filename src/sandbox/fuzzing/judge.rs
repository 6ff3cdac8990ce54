//! What must hold of every answer, whatever was asked.

use serde_json::{Map, Value};
use url::{Host, Url};

use super::Broken;
use super::markup;
use super::stage::{Answer, Asked, Stage};

/// Statuses that calls answer: success, the classes of errors, a body that is too large, the throttle, an unknown call.
const API_STATUSES: [u16; 6] = [200, 400, 401, 413, 429, 501];

/// Statuses that pages answer.
const PAGE_STATUSES: [u16; 6] = [200, 303, 400, 403, 404, 405];

/// Statuses that the control API answers.
const CONTROL_STATUSES: [u16; 7] = [200, 400, 403, 404, 405, 409, 413];

/// Values of `error`.
const CLASSES: [&str; 6] =
    ["invalid_request", "access_denied", "invalid_scope", "invalid_client", "processing_error", "throttle_exceeded"];

/// Keys of an error; the first three alone before API version 2018-08-29.
const ERROR_KEYS: [&str; 5] = ["error", "error_code", "error_description", "details", "documentation_url"];

/// What the control API was told before, as far as other answers follow from it.
#[derive(Clone, Copy, Default)]
struct Told {
    /// A fault may be due: anything may come, or nothing.
    fault: bool,
    /// Errors may have other statuses.
    statuses: bool,
    /// A refusal may come with a change: the clock has moved, or a code that is used again revokes.
    changes: bool,
    /// Apps may live on other domains.
    domains: bool,
}

/// Follows the requests of an input.
pub(super) struct Judge {
    /// What the provider knew after the last answer.
    known: String,
    told: Told,
}

impl Judge {
    /// Looks at the world as it is before the first request.
    pub(super) fn new(stage: &Stage) -> Result<Self, Broken> {
        Ok(Self { known: stage.known()?, told: Told::default() })
    }

    /// Takes in an answer; none is a connection that was dropped.
    pub(super) fn answered(&mut self, stage: &Stage, asked: &Asked, answer: Option<&Answer>) -> Result<(), Broken> {
        self.told.hear(asked);
        let known = stage.known()?;
        let has_changed = std::mem::replace(&mut self.known, known) != self.known;
        let judged = match answer {
            Some(answer) if asked.is_control() => control(answer),
            _ if self.told.fault => Ok(()),
            None => Err("the connection was dropped".to_owned()),
            Some(answer) if answer.media().starts_with("text/html") => page(asked, answer, self.told),
            Some(answer) => call(asked, answer, self.told, has_changed),
        };
        judged.map_err(|problem| broken(asked, answer, &problem))
    }
}

impl Told {
    /// Takes in a request to the control API.
    fn hear(&mut self, asked: &Asked) {
        if !asked.is_control() || asked.method == "GET" {
            return;
        }
        let path = asked.target.path();
        self.fault |= path.starts_with("/control/faults");
        self.statuses |= path.starts_with("/control/settings");
        self.changes |= !path.starts_with("/control/users");
        self.domains |=
            ["/control/settings", "/control/apps", "/control/snapshot"].iter().any(|of| path.starts_with(of));
    }
}

fn call(asked: &Asked, answer: &Answer, told: Told, has_changed: bool) -> Result<(), String> {
    let body = json(answer)?;
    if !told.statuses && !API_STATUSES.contains(&answer.status) {
        return Err("the status is not one of the API's".to_owned());
    }
    if answer.media() != "application/json" {
        return Err("JSON is called something else".to_owned());
    }
    if answer.status == 200 {
        return if body.get("error_code").is_some() { Err("success with an error code".to_owned()) } else { Ok(()) };
    }
    envelope(body.as_object().ok_or("an error is an object")?)?;
    if asked.is_api() && !told.changes && has_changed {
        return Err("a refused call changed something".to_owned());
    }
    Ok(())
}

fn broken(asked: &Asked, answer: Option<&Answer>, problem: &str) -> Broken {
    let (status, body) = answer.map_or((0, "".into()), |answer| (answer.status, String::from_utf8_lossy(&answer.body)));
    Broken(format!("{} {}: {problem}: {status} {body}", asked.method, asked.target))
}

fn json(answer: &Answer) -> Result<Value, String> {
    serde_json::from_slice(&answer.body).map_err(|error| format!("this is no JSON: {error}"))
}

/// Three keys or five, of the right types; a client that is strict about them is in use.
fn envelope(error: &Map<String, Value>) -> Result<(), String> {
    let expected = if error.len() == 3 { 3 } else { ERROR_KEYS.len() };
    let are_keys = error.len() == expected && ERROR_KEYS.iter().take(expected).all(|key| error.contains_key(*key));
    let class = error.get("error").and_then(Value::as_str).unwrap_or_default();
    let is_typed = error.get("error_code").is_some_and(Value::is_u64)
        && error.get("error_description").and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    match (are_keys, CLASSES.contains(&class), is_typed) {
        (true, true, true) => Ok(()),
        _ => Err("that is not the shape of an error".to_owned()),
    }
}

fn control(answer: &Answer) -> Result<(), String> {
    if !CONTROL_STATUSES.contains(&answer.status) {
        return Err("the status is not one of the control API's".to_owned());
    }
    if answer.media() == "application/json" {
        json(answer)?;
    }
    Ok(())
}

fn page(asked: &Asked, answer: &Answer, told: Told) -> Result<(), String> {
    if !PAGE_STATUSES.contains(&answer.status) {
        return Err("the status is not one of a page".to_owned());
    }
    let text = std::str::from_utf8(&answer.body).map_err(|_| "a page is UTF-8")?;
    if let Some(location) = answer.location() {
        // Where a confirmation leads is what the registration said: any address.
        let is_free = told.domains || asked.target.path().starts_with("/v2/user/confirm");
        return if is_free || is_ours(location) { Ok(()) } else { Err(format!("it leads to {location}")) };
    }
    if !text.to_lowercase().contains("sandbox") {
        return Err("a page does not say what it is".to_owned());
    }
    markup::check(text)
}

/// Whether a redirect stays here or goes where the apps of the stage live: on their domain, or on this machine.
fn is_ours(location: &str) -> bool {
    if location.starts_with('/') && !location.starts_with("//") {
        return true;
    }
    match Url::parse(location).ok().as_ref().and_then(Url::host) {
        Some(Host::Domain(host)) => host == "localhost" || host.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;
    use axum::http::header::{CONTENT_TYPE, LOCATION};
    use serde_json::json;

    use super::*;

    fn is_envelope(body: &Value) -> bool {
        envelope(body.as_object().unwrap()).is_ok()
    }

    fn verdict(method: &str, target: &str, (status, media, body): (u16, &str, &str)) -> Result<(), String> {
        let asked = Asked::new(method.parse().unwrap(), target.parse().unwrap());
        let mut answer = Answer { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec() };
        answer.headers.insert(CONTENT_TYPE, media.parse().unwrap());
        if status == 303 {
            answer.headers.insert(LOCATION, body.parse().unwrap());
        }
        match media {
            "text/html" => page(&asked, &answer, Told::default()),
            _ if asked.is_control() => control(&answer),
            _ => call(&asked, &answer, Told::default(), body.contains("changed")),
        }
    }

    #[test]
    fn an_answer_that_is_not_as_documented_is_found() {
        let refusal = r#"{"error": "access_denied", "error_description": "no", "error_code": 1010}"#;
        let changed = r#"{"error": "access_denied", "error_description": "changed", "error_code": 1010}"#;
        let page = "<!doctype html><p>sandbox</p>";
        let json = "application/json";
        for (target, answer) in [
            ("/v2/user", (200, json, "{}")),
            ("/v2/user", (401, json, refusal)),
            ("/v2/oauth2/authorize", (200, "text/html", page)),
            ("/v2/oauth2/authorize", (303, "text/html", "http://127.0.0.1/cb?code=1")),
            ("/v2/user/confirm", (303, "text/html", "https://anywhere.example/")),
            ("/control/state", (404, json, "{}")),
        ] {
            assert_eq!(verdict("POST", target, answer), Ok(()), "{answer:?}");
        }
        for (target, answer) in [
            ("/v2/user", (500, json, refusal)),
            ("/v2/user", (401, json, "{")),
            ("/v2/user", (401, json, "[]")),
            ("/v2/user", (401, "text/plain", refusal)),
            ("/v2/user", (200, json, refusal)),
            ("/v2/user", (401, json, changed)),
            ("/v2/oauth2/authorize", (500, "text/html", page)),
            ("/v2/oauth2/authorize", (200, "text/html", "<!doctype html><p>WePay</p>")),
            ("/v2/oauth2/authorize", (200, "text/html", "<!doctype html><p>sandbox <xss></p>")),
            ("/v2/oauth2/authorize", (303, "text/html", "https://anywhere.example/")),
            ("/control/state", (500, json, "{}")),
        ] {
            assert!(verdict("POST", target, answer).is_err(), "{answer:?}");
        }
    }

    #[test]
    fn an_error_has_three_keys_or_five() {
        let mut body = json!({"error": "access_denied", "error_description": "no", "error_code": 1010});
        assert!(is_envelope(&body));
        body["details"] = json!([]);
        assert!(!is_envelope(&body));
        body["documentation_url"] = json!("x");
        assert!(is_envelope(&body));
        body["more"] = json!(1);
        assert!(!is_envelope(&body));
        for wrong in [
            json!({"error": "odd", "error_description": "no", "error_code": 1}),
            json!({"error": "access_denied", "error_description": "no", "error_code": "1"}),
            json!({"error": "access_denied", "error_description": "", "error_code": 1}),
            json!({"error": "access_denied", "error_code": 1, "details": []}),
        ] {
            assert!(!is_envelope(&wrong), "{wrong}");
        }
    }

    #[test]
    fn redirects_lead_home() {
        for ours in
            ["/v2/oauth2/authorize?x", "http://localhost:1/", "http://a.localhost/", "http://127.0.0.9/cb?code=1"]
        {
            assert!(is_ours(ours), "{ours}");
        }
        for foreign in
            ["//evil.example/", "https://evil.example/", "javascript:alert(1)", "https://localhost.example/", ""]
        {
            assert!(!is_ours(foreign), "{foreign}");
        }
    }
}
