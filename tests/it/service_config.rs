//! The gRPC service config that clients are given: every method is judged, and none is repeated that must not be.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{DescriptorPool, MethodDescriptor};
use serde_json::Value;
use strongroom::v1;

const SERVICE_CONFIG: &str = include_str!("../../proto/service_config.json");
/// A method whose request carries this may be repeated: the same id leads to the same answer.
const REQUEST_ID: &str = "request_id";
/// Methods without one that may be repeated, and why.
const REPEATED: [(&str, &str); 12] = [
    ("AccountService/CheckAccountName", "judges a name and stores nothing"),
    ("AccountService/GetAccount", "reads"),
    ("AccountService/ListAccounts", "reads"),
    ("AdminService/ExplainAccess", "reads"),
    ("AuditService/ExportTrail", "reads; once its first piece came, gRPC repeats it no more"),
    ("AuditService/ListEvents", "reads"),
    ("AuditService/ListProviderCalls", "reads"),
    ("OnboardingService/GetMerchant", "reads"),
    ("OnboardingService/ListMerchants", "reads"),
    ("TokenService/GetAccessToken", "reads; each try has its own event"),
    ("TokenService/ListAttempts", "reads"),
    ("TokenService/ListTokenVersions", "reads"),
];
/// Methods that are never repeated, and why. Nothing yet.
const NEVER_REPEATED: [(&str, &str); 0] = [];
/// gRPC takes no more attempts than this, whatever is asked for (gRFC A6).
const ATTEMPTS_MAX: u64 = 5;
/// The server's own longest calls, in seconds: a client must not give up before.
const READ_S: f64 = 5.0;
const MINT_S: f64 = 100.0;

fn config() -> Value {
    serde_json::from_str(SERVICE_CONFIG).unwrap()
}

fn methods() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(v1::FILE_DESCRIPTOR_SET).unwrap();
    pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

fn short(method: &MethodDescriptor) -> String {
    format!("{}/{}", method.parent_service().name(), method.name())
}

fn seconds(value: &Value) -> f64 {
    value.as_str().unwrap().strip_suffix('s').unwrap().parse().unwrap()
}

/// What each method is configured with, by its short name.
fn configured(config: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for entry in config["methodConfig"].as_array().unwrap() {
        for name in entry["name"].as_array().unwrap() {
            let service = name["service"].as_str().unwrap().strip_prefix("strongroom.v1.").unwrap();
            let name = format!("{service}/{}", name["method"].as_str().unwrap());
            assert!(found.insert(name.clone(), entry.clone()).is_none(), "{name} twice");
        }
    }
    found
}

#[test]
fn every_method_is_repeated_or_says_why_not() {
    let configured = configured(&config());
    let repeated: BTreeMap<_, _> = REPEATED.into();
    let never: BTreeMap<_, _> = NEVER_REPEATED.into();
    let mut judged = BTreeSet::new();
    for method in methods() {
        let name = short(&method);
        let has_id = method.input().get_field_by_name(REQUEST_ID).is_some();
        let policy = configured.get(&name).and_then(|entry| entry.get("retryPolicy"));
        assert!(!(has_id && repeated.contains_key(name.as_str())), "{name} needs no reason");
        let may_be_repeated = has_id || repeated.contains_key(name.as_str());
        assert_ne!(may_be_repeated, never.contains_key(name.as_str()), "{name} is judged nowhere, or twice");
        assert_eq!(policy.is_some(), may_be_repeated, "{name}");
        judged.insert(name);
    }
    let known = configured.keys().map(String::as_str).chain(repeated.into_keys()).chain(never.into_keys());
    for name in known {
        assert!(judged.contains(name), "there is no {name}");
    }
}

#[test]
fn only_an_unavailable_server_is_asked_again_and_not_for_ever() {
    let config = config();
    for (name, entry) in configured(&config) {
        let policy = &entry["retryPolicy"];
        assert_eq!(policy["retryableStatusCodes"], serde_json::json!(["UNAVAILABLE"]), "{name}");
        assert!((2..=ATTEMPTS_MAX).contains(&policy["maxAttempts"].as_u64().unwrap()), "{name}");
        assert!(seconds(&policy["initialBackoff"]) < seconds(&policy["maxBackoff"]), "{name}");
        assert!(policy["backoffMultiplier"].as_f64().unwrap() > 1.0, "{name}");
        // Waiting for a server, and no end: only for a stream, which takes as long as it takes.
        let least = if REPEATED.iter().any(|(read, _)| *read == name) { READ_S } else { MINT_S };
        match entry.get("timeout") {
            Some(timeout) => assert!(seconds(timeout) > least, "{name}"),
            None => assert_eq!(name, "AuditService/ExportTrail"),
        }
    }
    assert_eq!(config["loadBalancingConfig"], serde_json::json!([{ "round_robin": {} }]));
    let throttling = &config["retryThrottling"];
    // A tenth of what succeeds may be tried again.
    assert_eq!(throttling["tokenRatio"].as_f64(), Some(0.1));
    assert!((1..=1000).contains(&throttling["maxTokens"].as_u64().unwrap()));
    let watched = config["healthCheckConfig"]["serviceName"].as_str().unwrap();
    assert!(methods().iter().any(|method| method.parent_service().full_name() == watched));
}
