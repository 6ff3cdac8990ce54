//! Rbits, alone and as a parameter of other calls (WePay API docs, rbit and rbit types pages).
//!
//! Nothing here judges what an rbit says: WePay's list of types has some forty, each with properties of its own, and grew with
//! the versions. A type is any lower-case word, its properties any object (inferred: lax rather than wrong).

use serde_json::{Map, Value, json};

use super::{ApiCall, Body};
use crate::sandbox::protocol::{
    ApiError, LONG_TEXT_MAX, NO_CHECKOUT, SCOPE_MANAGE_ACCOUNTS, SCOPE_VIEW_USER, TEXT_MAX,
};
use crate::sandbox::state::{Event, Rbit, RbitObject, Said, Token, User};

/// What an rbit says, in a call of its own or embedded.
const SAID: [&str; 6] = ["type", "properties", "receive_time", "source", "note", "related_rbits"];

/// What `/rbit/create` must say.
pub(super) const REQUIRED: [&str; 6] =
    ["associated_object_type", "associated_object_id", "type", "properties", "receive_time", "source"];

/// What it may say.
pub(super) const OPTIONAL: [&str; 2] = ["note", "related_rbits"];

/// How deep related rbits may stand in each other; the documentation shows one level, our choice.
const DEPTH_MAX: usize = 8;

/// The object an rbit is about, as a request names it.
struct About {
    object: RbitObject,
    object_id: u64,
}

/// The rbits that a call's `rbits` parameter brings for the object that the call makes or changes; ids follow those of the
/// state. They are kept with [`Event::RbitsMade`], beside those that the object has (inferred).
pub(super) fn from_parameter(
    call: &ApiCall<'_>,
    (user_id, client_id): (u64, u64),
    object: RbitObject,
    object_id: u64,
) -> Result<Vec<Rbit>, ApiError> {
    let Some(rbits) = call.parameters.array("rbits")? else { return Ok(Vec::new()) };
    let ids = call.context.state.next_rbit_id()..;
    let said = read_all("rbits", &rbits, DEPTH_MAX)?;
    let rbit = |(said, rbit_id)| Rbit { rbit_id, user_id, client_id, object, object_id, said };
    Ok(said.into_iter().zip(ids).map(rbit).collect())
}

/// `/rbit`.
pub(super) fn lookup(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    find_own(call).map(|rbit| Body::of(&rbit.as_answer()))
}

/// `/rbit/create`.
pub(super) fn create(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    let (token, user) = call.authenticate()?;
    let kind = call.parameters.required_text("associated_object_type", TEXT_MAX)?;
    let object_id = call.parameters.required_id("associated_object_id")?;
    let mut said = Map::new();
    for name in ["type", "source"] {
        said.insert(name.to_owned(), json!(call.parameters.required_text(name, TEXT_MAX)?));
    }
    said.insert("receive_time".to_owned(), json!(call.parameters.required_id("receive_time")?));
    let properties = call.parameters.object("properties")?.ok_or_else(|| ApiError::required("properties"))?;
    said.insert("properties".to_owned(), properties);
    said.insert("note".to_owned(), json!(call.parameters.text("note", LONG_TEXT_MAX)?));
    said.insert("related_rbits".to_owned(), json!(call.parameters.array("related_rbits")?));
    let said = read(&Value::Object(said), DEPTH_MAX)?;
    let about = About { object: object_named(&kind)?, object_id };
    allow(call, token, user, &about)?;
    let rbit = Rbit {
        rbit_id: call.context.state.next_rbit_id(),
        user_id: user.user_id,
        client_id: token.client_id,
        object: about.object,
        object_id,
        said,
    };
    let body = rbit.as_answer();
    call.events.push(Event::RbitsMade { rbits: vec![rbit] });
    Ok(Body::of(&body))
}

/// `/rbit/find`: what this app said with tokens of this user, oldest first (order inferred), as far as the token's scopes reach.
pub(super) fn find(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    let (token, user) = call.authenticate()?;
    let object = call.parameters.text("associated_object_type", TEXT_MAX)?;
    let object_id = call.parameters.integer("associated_object_id")?;
    let kind = call.parameters.text("type", TEXT_MAX)?;
    let source = call.parameters.text("source", TEXT_MAX)?;
    let object = object.as_deref().map(object_named).transpose()?;
    match (object, object_id) {
        (Some(object), Some(object_id)) => allow(call, token, user, &About { object, object_id })?,
        (Some(object), None) => has_scope(token, object)?,
        // An id says nothing without its type (inferred).
        (None, Some(_)) => return Err(ApiError::required("associated_object_type")),
        (None, None) => {}
    }
    let is_wanted = |rbit: &&Rbit| {
        is_visible(rbit, token)
            && has_scope(token, rbit.object).is_ok()
            && object.is_none_or(|object| object == rbit.object)
            && object_id.is_none_or(|object_id| object_id == rbit.object_id)
            && kind.as_ref().is_none_or(|kind| *kind == rbit.said.kind)
            && source.as_ref().is_none_or(|source| *source == rbit.said.source)
    };
    let limit = call.context.settings.find_limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let found = call.context.state.rbits().filter(is_wanted).take(limit);
    Ok(Body::of(&found.map(Rbit::as_answer).collect::<Vec<_>>()))
}

/// `/rbit/delete`; what it answers is inferred from `/account/delete`.
pub(super) fn delete(call: &mut ApiCall<'_>) -> Result<Body, ApiError> {
    let rbit_id = find_own(call)?.rbit_id;
    call.events.push(Event::RbitDeleted { rbit_id });
    Ok(Body::of(&json!({ "rbit_id": rbit_id, "state": "deleted" })))
}

/// The rbit that a request names, if this token may see it; else 1003 (the catalogue has no number for it; inferred).
fn find_own<'a>(call: &mut ApiCall<'a>) -> Result<&'a Rbit, ApiError> {
    let context = call.context;
    let (token, _) = call.authenticate()?;
    let rbit_id = call.parameters.required_id("rbit_id")?;
    let rbit = context.state.rbit(rbit_id).filter(|rbit| is_visible(rbit, token));
    let rbit = rbit.ok_or_else(|| ApiError::invalid_parameter("invalid rbit_id parameter"))?;
    has_scope(token, rbit.object)?;
    Ok(rbit)
}

/// Whether the token is of the app and of the user that an rbit came from (inferred).
fn is_visible(rbit: &Rbit, token: &Token) -> bool {
    rbit.client_id == token.client_id && rbit.user_id == token.user_id
}

/// The scope of the object's own calls (inferred; the documentation names none for rbits).
fn has_scope(token: &Token, object: RbitObject) -> Result<(), ApiError> {
    let scope = match object {
        RbitObject::Account => SCOPE_MANAGE_ACCOUNTS,
        RbitObject::User => SCOPE_VIEW_USER,
        RbitObject::Checkout | RbitObject::CreditCard => "collect_payments",
        RbitObject::Preapproval => "preapprove_payments",
    };
    if token.scope.iter().any(|has| has == scope) { Ok(()) } else { Err(ApiError::missing_scope(scope)) }
}

/// The object must be the token's user's own.
fn allow(call: &mut ApiCall<'_>, token: &Token, user: &User, about: &About) -> Result<(), ApiError> {
    has_scope(token, about.object)?;
    let state = call.context.state;
    let refusal = match about.object {
        RbitObject::Account => {
            call.facts.account_id = Some(about.object_id);
            let account = state.account(about.object_id);
            account.is_none_or(|account| account.owner_user_id != user.user_id).then(ApiError::foreign_account)
        }
        RbitObject::User => (about.object_id != user.user_id).then(foreign_user),
        RbitObject::Checkout => Some(no_checkout()),
        RbitObject::Preapproval | RbitObject::CreditCard => {
            Some(ApiError::invalid_parameter("invalid associated_object_id parameter"))
        }
    };
    refusal.map_or(Ok(()), Err)
}

/// 7001: another user than the token's (number from the catalogue, text inferred).
fn foreign_user() -> ApiError {
    ApiError {
        code: 7001,
        description: "user does not exist or does not belong to this access_token".to_owned(),
        ..ApiError::foreign_account()
    }
}

/// 4001: there are no payments here (text recorded on stage).
fn no_checkout() -> ApiError {
    ApiError { code: 4001, ..ApiError::invalid_parameter(NO_CHECKOUT) }
}

fn object_named(name: &str) -> Result<RbitObject, ApiError> {
    let object = RbitObject::ALL.into_iter().find(|object| object.as_str() == name);
    object.ok_or_else(|| ApiError::invalid_parameter("invalid associated_object_type parameter"))
}

/// All rbits of an array; `depth` is how many levels there may be.
fn read_all(name: &str, rbits: &Value, depth: usize) -> Result<Vec<Said>, ApiError> {
    match rbits {
        Value::Null => Ok(Vec::new()),
        Value::Array(rbits) if rbits.is_empty() => Ok(Vec::new()),
        Value::Array(_) if depth == 0 => {
            Err(ApiError::invalid_parameter(format!("{name} must not be nested deeper than {DEPTH_MAX}")))
        }
        Value::Array(rbits) => rbits.iter().map(|rbit| read(rbit, depth.saturating_sub(1))).collect(),
        _ => Err(expected(name, "array")),
    }
}

/// One rbit. Refused are what the page requires and is missing, wrong types and lengths, and, as anywhere, names that it does
/// not have (inferred for embedded ones).
fn read(rbit: &Value, depth: usize) -> Result<Said, ApiError> {
    let rbit = rbit.as_object().ok_or_else(|| expected("rbits", "array of objects"))?;
    if let Some(name) = rbit.keys().find(|name| !SAID.contains(&name.as_str())) {
        return Err(ApiError::unexpected(name));
    }
    let present = |name: &str| rbit.get(name).filter(|value| !value.is_null());
    let text = |name: &str, limit: usize| match present(name) {
        None => Ok(None),
        Some(Value::String(text)) if text.chars().count() <= limit => Ok(Some(text.clone())),
        Some(Value::String(_)) => {
            Err(ApiError::invalid_parameter(format!("{name} must be at most {limit} characters")))
        }
        Some(_) => Err(expected(name, "string")),
    };
    let word = |name: &str| {
        let word = text(name, TEXT_MAX)?.filter(|word| !word.is_empty()).ok_or_else(|| ApiError::required(name))?;
        let is_word = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if is_word { Ok(word) } else { Err(ApiError::invalid_parameter(format!("invalid {name} parameter"))) }
    };
    let kind = word("type")?;
    if kind.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(ApiError::invalid_parameter("invalid type parameter"));
    }
    let properties = present("properties").ok_or_else(|| ApiError::required("properties"))?;
    if !properties.is_object() {
        return Err(expected("properties", "object"));
    }
    let receive_time = present("receive_time").ok_or_else(|| ApiError::required("receive_time"))?;
    let receive_time = receive_time.as_u64().or_else(|| receive_time.as_str()?.parse().ok());
    Ok(Said {
        kind,
        properties: properties.clone(),
        receive_time: receive_time.ok_or_else(|| expected("receive_time", "integer"))?,
        source: word("source")?,
        note: text("note", LONG_TEXT_MAX)?,
        related_rbits: present("related_rbits")
            .map_or(Ok(Vec::new()), |related| read_all("related_rbits", related, depth))?,
    })
}

fn expected(name: &str, shape: &str) -> ApiError {
    ApiError::invalid_parameter(format!("Parameter '{name}' expected {shape}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the value of an `rbits` parameter can be taken.
    fn check(rbits: &Value) -> Result<(), ApiError> {
        read_all("rbits", rbits, DEPTH_MAX).map(drop)
    }

    fn rbit() -> Value {
        json!({"type": "email", "properties": {"email": "a@b.example"}, "receive_time": 1, "source": "user"})
    }

    fn nested(levels: usize) -> Value {
        let inner = if levels == 1 { json!([]) } else { nested(levels - 1) };
        let mut rbit = rbit();
        rbit["related_rbits"] = inner;
        json!([rbit])
    }

    #[test]
    fn rbits_of_any_type_are_taken_when_whole() {
        for rbits in [json!([]), json!(null), json!([rbit()]), json!([rbit(), rbit()]), nested(DEPTH_MAX)] {
            assert_eq!(check(&rbits), Ok(()), "{rbits}");
        }
        let mut unknown = rbit();
        (unknown["type"], unknown["source"], unknown["note"]) = (json!("brand_new"), json!("Whitepages"), json!(null));
        assert_eq!(check(&json!([unknown])), Ok(()));
    }

    #[test]
    fn what_is_missing_wrong_or_unknown_in_an_rbit_is_refused() {
        for name in ["type", "properties", "receive_time", "source"] {
            let mut without = rbit();
            without.as_object_mut().unwrap().remove(name);
            assert_eq!(check(&json!([without])), Err(ApiError::required(name)));
        }
        for (name, value) in [
            ("type", json!("Not lower")),
            ("type", json!("Email")),
            ("type", json!(7)),
            ("properties", json!([])),
            ("receive_time", json!("soon")),
            ("receive_time", json!(-1)),
            ("source", json!("a b")),
            ("note", json!("n".repeat(LONG_TEXT_MAX + 1))),
            ("related_rbits", json!("x")),
            ("related_rbits", json!([{}])),
            ("colour", json!("red")),
        ] {
            let mut wrong = rbit();
            wrong[name] = value;
            assert!(check(&json!([wrong.clone()])).is_err(), "{wrong}");
        }
        for wrong in [json!("x"), json!({}), json!([1]), nested(DEPTH_MAX + 1)] {
            assert!(check(&wrong).is_err(), "{wrong}");
        }
    }
}
