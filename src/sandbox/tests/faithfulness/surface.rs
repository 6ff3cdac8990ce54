//! What clients and tests can reach, taken from the code.

use serde_json::Value;

use super::tree::Tree;
use crate::sandbox::api;
use crate::sandbox::faults::Kind;
use crate::sandbox::settings::{Settings, Throttle};

/// Every API call.
pub(super) fn calls() -> Vec<String> {
    let calls = api::describe();
    calls.as_array().unwrap().iter().map(|call| call["call"].as_str().unwrap().to_owned()).collect()
}

/// Every setting; those within one are joined by a point.
pub(super) fn settings() -> Vec<String> {
    keys(&serde_json::to_value(Settings::new(true, false, Throttle::Off)).unwrap())
}

/// The keys of an object; a key whose value has keys of its own stands for these.
pub(super) fn keys(value: &Value) -> Vec<String> {
    let inner = |(name, value): (&String, &Value)| {
        let below = keys(value);
        if below.is_empty() { vec![name.clone()] } else { below.iter().map(|key| format!("{name}.{key}")).collect() }
    };
    value.as_object().into_iter().flatten().flat_map(inner).collect()
}

/// Every kind of fault: as the refusal of an unknown one lists them.
pub(super) fn kinds() -> Vec<String> {
    let refusal = serde_json::from_str::<Kind>("\"?\"").err().unwrap().to_string();
    refusal.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

/// Every constructor of an API error, as `path::name`: those of all calls, and those of one.
pub(super) fn errors(tree: &Tree) -> Vec<String> {
    let mut sources = tree.sources("protocol");
    sources.push(("protocol.rs".to_owned(), tree.text("src/sandbox/protocol.rs").unwrap()));
    let mut errors = Vec::new();
    for (path, text) in sources {
        for (_, body) in text.match_indices("\nimpl ApiError {").map(|(at, head)| text.split_at(at + head.len())) {
            let body = body.split_once("\n}").map_or(body, |(body, _)| body);
            let made = body.lines().filter(|line| line.starts_with("    pub") && line.ends_with("-> Self {"));
            let names = made.filter_map(|line| line.split_once("fn ")?.1.split_once(['(', '<']));
            errors.extend(names.map(|(name, _)| format!("{path}::{name}")));
        }
    }
    for (path, text) in ["api", "api/accounts"].iter().flat_map(|dir| tree.sources(dir)) {
        // One that is told its number is a means to make the others.
        let is_made = |line: &&str| line.ends_with(" -> ApiError {") && !line.contains("(code: ");
        let made =
            text.lines().filter(is_made).filter_map(|line| line.trim_start_matches("pub(super) ").strip_prefix("fn "));
        let names = made.filter_map(|function| function.split_once(['(', '<']));
        errors.extend(names.map(|(name, _)| format!("{path}::{name}")));
    }
    errors
}

/// Every route of the control API, as `METHOD /control/…/ID`. What a module matches on alone stands below its collection.
pub(super) fn routes(tree: &Tree) -> Vec<String> {
    let mut routes = routes_in(&tree.text("src/sandbox/control.rs").unwrap(), "");
    for (path, text) in tree.sources("control") {
        let module = path.trim_start_matches("control/").trim_end_matches(".rs").trim_end_matches('s');
        routes.extend(routes_in(&text, &format!("/{module}s")));
    }
    routes
}

/// The routes that a text matches on: `("METHOD", [segments])` below a collection, or `("METHOD", "act")` for one of its
/// objects; without a collection, for a request of that name.
pub(super) fn routes_in(text: &str, below: &str) -> Vec<String> {
    let mut routes = Vec::new();
    for method in ["GET", "POST", "DELETE", "PUT"] {
        for (at, head) in text.match_indices(&format!("(\"{method}\", ")) {
            let (_, rest) = text.split_at(at + head.len());
            let paths = match rest.strip_prefix('[') {
                Some(pattern) => expanded(pattern.split_once("])").map_or("", |(pattern, _)| pattern)),
                None => {
                    let act = rest.strip_prefix('"').and_then(|rest| rest.split_once('"'));
                    let object = if below.is_empty() { "" } else { "/ID" };
                    act.into_iter().map(|(act, _)| format!("{object}/{act}")).collect()
                }
            };
            routes.extend(paths.into_iter().map(|path| (at, format!("{method} /control{below}{path}"))));
        }
    }
    routes.sort_unstable();
    routes.into_iter().map(|(_, route)| route).collect()
}

/// The paths that a pattern of segments matches; what is bound by name is `ID`.
fn expanded(pattern: &str) -> Vec<String> {
    let mut paths = vec![String::new()];
    for segment in pattern.split(", ").filter(|segment| !segment.is_empty()) {
        let literals: Vec<&str> = segment.split('"').skip(1).step_by(2).collect();
        let literals = if literals.is_empty() { vec!["ID"] } else { literals };
        paths = paths.iter().flat_map(|path| literals.iter().map(move |next| format!("{path}/{next}"))).collect();
    }
    paths
}
