//! What the app told of the owner with `/account/get_update_uri`, as the page's fields show it at first (WePay.NET, prefill
//! structure). The person may change all of it.

use serde_json::Value;

use crate::sandbox::state::Account;

/// What a field begins with; empty when nothing is known of it.
pub(super) fn value(account: &Account, field: &str) -> String {
    let Some(info) = &account.standing.prefill_info else { return String::new() };
    // What is told of the organization is not told of a person.
    let (entity_name, address) = match account.kind.as_str() {
        "personal" => (None, "address"),
        _ => (Some("entity_name"), "entity_address"),
    };
    match (field, entity_name) {
        ("legal_name", None) => joined(info.get("name"), &["first", "middle", "last"]),
        ("legal_name", Some(name)) => text(info.get(name)),
        ("date_of_birth", None) => date(info.get("date_of_birth")).unwrap_or_default(),
        ("address", _) => joined(info.get(address), &["address1", "address2"]),
        ("city" | "region" | "postal_code", _) => text(info.get(address).and_then(|address| address.get(field))),
        _ => String::new(),
    }
}

fn text(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Some texts of an object, one after the other.
fn joined(object: Option<&Value>, names: &[&str]) -> String {
    let parts = names.iter().map(|name| text(object.and_then(|object| object.get(*name))));
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// `year`, `month` and `day` as a date field has them.
fn date(object: Option<&Value>) -> Option<String> {
    let number = |name: &str| object?.get(name)?.as_u64();
    Some(format!("{:04}-{:02}-{:02}", number("year")?, number("month")?, number("day")?))
}
