//! Which calls have which text fields, and where a value that was taken is to be seen.

use serde_json::{Value, json};

use super::Stage;
use crate::sandbox::tests::support::REDIRECT;

/// Who asks.
pub(super) enum By {
    /// The app's owner, by a token that is permanent.
    Owner,
    /// The person whom the app registered, by a temporary token.
    Temporary,
    /// The app, by its secret.
    Client,
}

/// Where a value can be seen again: in what, and at which JSON pointer.
pub(super) enum Seen {
    /// It is looked at and not kept.
    Nowhere,
    /// In the call's own answer alone.
    Answer(&'static str),
    /// In the account that was answered.
    Account(&'static str),
    /// In the user of the token that was answered, or of the one used.
    User(&'static str),
    /// In the newest mail to the person.
    Mail(&'static str),
    /// In the app.
    App(&'static str),
    /// In the rbit that was made.
    Rbit(&'static str),
}

/// A text field: where it stands in the body, and what is put there (`{}`: the string, `#`: a number of its own).
pub(super) struct Field {
    pub(super) pointer: &'static str,
    pub(super) templates: &'static [&'static str],
    pub(super) seen: Seen,
}

/// A call, a body that it takes, and the body's text fields.
pub(super) struct Row {
    pub(super) call: &'static str,
    pub(super) by: By,
    /// Whether it goes through with the body as it stands.
    pub(super) works: bool,
    pub(super) body: fn(&Stage) -> Value,
    pub(super) fields: &'static [Field],
}

impl Row {
    const fn new(call: &'static str, by: By, body: fn(&Stage) -> Value, fields: &'static [Field]) -> Self {
        Self { call, by, works: true, body, fields }
    }

    /// One whose good value cannot stand in a table, or that no app may make.
    const fn refused(call: &'static str, by: By, body: fn(&Stage) -> Value, fields: &'static [Field]) -> Self {
        Self { works: false, ..Self::new(call, by, body, fields) }
    }
}

const EMAIL: &[&str] = &["{}", "{}.#@blns.example", "a#@{}"];
const URI: &[&str] = &["{}", "https://blns.example/{}", "https://blns.example/?of={}", "http://{}/"];

const fn kept(pointer: &'static str, seen: Seen) -> Field {
    Field { pointer, templates: &["{}"], seen }
}

const fn looked_at(pointer: &'static str) -> Field {
    kept(pointer, Seen::Nowhere)
}

const fn uri(pointer: &'static str, seen: Seen) -> Field {
    Field { pointer, templates: URI, seen }
}

const fn email(pointer: &'static str) -> Field {
    Field { pointer, templates: EMAIL, seen: Seen::User("/email") }
}

fn with(mut body: Value, more: Value) -> Value {
    let (Some(all), Value::Object(more)) = (body.as_object_mut(), more) else { panic!("two objects") };
    all.extend(more);
    body
}

fn nothing(_: &Stage) -> Value {
    json!({})
}

fn theme() -> Value {
    json!({
        "name": "x",
        "primary_color": "FFFFFF",
        "secondary_color": "FFFFFF",
        "background_color": "FFFFFF",
        "button_color": "FFFFFF",
    })
}

fn rbit() -> Value {
    let properties = json!({"phone": "650-555-1234"});
    json!({"type": "phone", "receive_time": 1_700_000_000, "source": "user", "note": "x", "properties": properties})
}

/// What `/account/create` and `/account/modify` share.
fn details() -> Value {
    json!({
        "name": "Shop",
        "description": "x",
        "reference_id": "r#",
        "image_uri": "https://shop.example/i",
        "callback_uri": "https://shop.example/n",
        "gaq_domains": ["UA-1-1"],
        "theme_object": theme(),
        "support_contact_number": {"country_code": "1", "phone_number": "6505551234"},
        "country_options": {"debit_opt_in": true},
        "rbits": [rbit()],
    })
}

fn created(_: &Stage) -> Value {
    with(details(), json!({"type": "business", "mcc": "5734", "country": "US", "currencies": ["USD"]}))
}

fn own_account(stage: &Stage) -> Value {
    json!({"account_id": stage.account_id.to_string()})
}

fn modified(stage: &Stage) -> Value {
    with(details(), own_account(stage))
}

fn registration(stage: &Stage) -> Value {
    let more = json!({
        "email": "bob#@shop.example",
        "redirect_uri": REDIRECT,
        "callback_uri": "https://shop.example/n",
        "type": "sso",
        "tos_acceptance_time": "1700000000",
        "rbits": [rbit()],
    });
    with(stage.world.register_body(""), more)
}

fn exchange(_: &Stage) -> Value {
    json!({
        "code": "x",
        "redirect_uri": REDIRECT,
        "callback_uri": "https://shop.example/n",
        "state": "x",
        "grant_type": "x",
    })
}

fn of_account(stage: &Stage) -> Value {
    json!({"associated_object_type": "account", "associated_object_id": stage.account_id.to_string()})
}

fn batch(stage: &Stage) -> Value {
    let calls = json!([{
        "call": "/account/find",
        "authorization": stage.world.sandbox.app_owner_token(),
        "reference_id": "r",
        "parameters": {"name": "x"},
    }]);
    json!({"calls": calls})
}

/// Every call of the API.
pub(super) const ROWS: &[Row] = &[
    Row::new(
        "/user/register",
        By::Client,
        registration,
        &[
            looked_at("/client_id"),
            looked_at("/client_secret"),
            email("/email"),
            looked_at("/scope"),
            kept("/first_name", Seen::User("/first_name")),
            kept("/last_name", Seen::User("/last_name")),
            looked_at("/type"),
            looked_at("/original_ip"),
            looked_at("/original_device"),
            looked_at("/tos_acceptance_time"),
            uri("/redirect_uri", Seen::Nowhere),
            uri("/callback_uri", Seen::User("/callback_uri")),
            looked_at("/rbits/0/type"),
            looked_at("/rbits/0/source"),
            looked_at("/rbits/0/note"),
            looked_at("/rbits/0/properties/phone"),
        ],
    ),
    Row::new(
        "/user/modify",
        By::Owner,
        |_| json!({"callback_uri": "https://shop.example/n", "rbits": [rbit()]}),
        &[
            uri("/callback_uri", Seen::User("/callback_uri")),
            looked_at("/rbits/0/type"),
            looked_at("/rbits/0/source"),
            looked_at("/rbits/0/note"),
            looked_at("/rbits/0/properties/phone"),
        ],
    ),
    Row::new(
        "/user/send_confirmation",
        By::Temporary,
        |_| json!({"email_message": "x", "email_subject": "x", "email_button_text": "x"}),
        &[
            kept("/email_message", Seen::Mail("/message")),
            kept("/email_subject", Seen::Mail("/subject")),
            kept("/email_button_text", Seen::Mail("/button_text")),
        ],
    ),
    Row::new(
        "/user/resend_confirmation",
        By::Temporary,
        |_| json!({"email_message": "x"}),
        &[kept("/email_message", Seen::Mail("/message"))],
    ),
    Row::new("/user", By::Owner, nothing, &[]),
    Row::new(
        "/user/change_email",
        By::Temporary,
        |_| json!({"email": "eve@shop.example", "cookie": "x"}),
        &[Field { seen: Seen::Answer("/email"), ..email("/email") }, looked_at("/cookie")],
    ),
    Row::new("/user/logout", By::Temporary, nothing, &[]),
    Row::new("/user/mark_email_verified", By::Temporary, nothing, &[]),
    Row::new("/user/request_sso_token", By::Temporary, nothing, &[]),
    Row::refused("/user/mfa/confirm", By::Owner, nothing, &[]),
    Row::refused("/user/mfa/create", By::Owner, nothing, &[]),
    Row::refused("/user/mfa/find", By::Owner, nothing, &[]),
    Row::refused("/user/mfa/modify", By::Owner, nothing, &[]),
    Row::refused("/user/mfa/send_challenge", By::Owner, nothing, &[]),
    Row::refused("/user/mfa/send_default_challenge", By::Owner, nothing, &[]),
    Row::refused("/user/mfa/validate_cookie", By::Owner, nothing, &[]),
    Row::refused(
        "/oauth2/token",
        By::Client,
        exchange,
        &[
            looked_at("/client_id"),
            looked_at("/client_secret"),
            looked_at("/code"),
            uri("/redirect_uri", Seen::Nowhere),
            uri("/callback_uri", Seen::Nowhere),
            looked_at("/state"),
            looked_at("/grant_type"),
        ],
    ),
    Row::new(
        "/account/create",
        By::Owner,
        created,
        &[
            kept("/name", Seen::Account("/name")),
            kept("/description", Seen::Account("/description")),
            kept("/reference_id", Seen::Account("/reference_id")),
            looked_at("/type"),
            looked_at("/mcc"),
            looked_at("/country"),
            looked_at("/currencies/0"),
            uri("/image_uri", Seen::Account("/image_uri")),
            uri("/callback_uri", Seen::Account("/callback_uri")),
            kept("/gaq_domains/0", Seen::Account("/gaq_domains/0")),
            kept("/theme_object/name", Seen::Account("/theme_object/name")),
            looked_at("/theme_object/primary_color"),
            looked_at("/theme_object/secondary_color"),
            looked_at("/theme_object/background_color"),
            looked_at("/theme_object/button_color"),
            looked_at("/support_contact_number/phone_number"),
            looked_at("/support_contact_number/country_code"),
            looked_at("/rbits/0/type"),
            looked_at("/rbits/0/source"),
            looked_at("/rbits/0/note"),
            looked_at("/rbits/0/properties/phone"),
        ],
    ),
    Row::new(
        "/account/modify",
        By::Owner,
        modified,
        &[
            looked_at("/account_id"),
            kept("/name", Seen::Account("/name")),
            kept("/description", Seen::Account("/description")),
            kept("/reference_id", Seen::Account("/reference_id")),
            uri("/image_uri", Seen::Account("/image_uri")),
            uri("/callback_uri", Seen::Account("/callback_uri")),
            kept("/gaq_domains/0", Seen::Account("/gaq_domains/0")),
            kept("/theme_object/name", Seen::Account("/theme_object/name")),
            looked_at("/theme_object/primary_color"),
            looked_at("/theme_object/secondary_color"),
            looked_at("/theme_object/background_color"),
            looked_at("/theme_object/button_color"),
            looked_at("/support_contact_number/phone_number"),
            looked_at("/support_contact_number/country_code"),
            looked_at("/rbits/0/type"),
            looked_at("/rbits/0/source"),
            looked_at("/rbits/0/note"),
            looked_at("/rbits/0/properties/phone"),
        ],
    ),
    Row::new(
        "/account/find",
        By::Owner,
        |_| json!({"name": "x", "reference_id": "x", "sort_order": "ASC", "start": "0", "limit": "1"}),
        &[
            looked_at("/name"),
            looked_at("/reference_id"),
            looked_at("/sort_order"),
            looked_at("/start"),
            looked_at("/limit"),
        ],
    ),
    Row::new("/account", By::Owner, own_account, &[looked_at("/account_id")]),
    Row::new("/app", By::Client, nothing, &[looked_at("/client_id"), looked_at("/client_secret")]),
    Row::new(
        "/app/modify",
        By::Client,
        |_| json!({"theme_object": theme(), "gaq_domains": ["UA-1-1"]}),
        &[
            looked_at("/client_id"),
            looked_at("/client_secret"),
            kept("/theme_object/name", Seen::App("/theme_object/name")),
            looked_at("/theme_object/primary_color"),
            looked_at("/theme_object/secondary_color"),
            looked_at("/theme_object/background_color"),
            looked_at("/theme_object/button_color"),
            kept("/gaq_domains/0", Seen::App("/gaq_domains/0")),
        ],
    ),
    Row::new(
        "/batch/create",
        By::Client,
        batch,
        &[
            looked_at("/client_id"),
            looked_at("/client_secret"),
            kept("/calls/0/call", Seen::Answer("/calls/0/call")),
            kept("/calls/0/reference_id", Seen::Answer("/calls/0/reference_id")),
            looked_at("/calls/0/authorization"),
            looked_at("/calls/0/parameters/name"),
        ],
    ),
    Row::new(
        "/rbit/create",
        By::Owner,
        |stage| with(with(rbit(), of_account(stage)), json!({"related_rbits": [rbit()]})),
        &[
            looked_at("/associated_object_type"),
            looked_at("/associated_object_id"),
            kept("/type", Seen::Rbit("/type")),
            kept("/source", Seen::Rbit("/source")),
            kept("/note", Seen::Rbit("/note")),
            kept("/properties/phone", Seen::Rbit("/properties/phone")),
            looked_at("/related_rbits/0/type"),
            looked_at("/related_rbits/0/source"),
            kept("/related_rbits/0/note", Seen::Rbit("/related_rbits/0/note")),
            looked_at("/related_rbits/0/properties/phone"),
        ],
    ),
    Row::refused("/rbit", By::Owner, |_| json!({"rbit_id": "1"}), &[looked_at("/rbit_id")]),
    Row::refused("/rbit/delete", By::Owner, |_| json!({"rbit_id": "1"}), &[looked_at("/rbit_id")]),
    Row::new(
        "/rbit/find",
        By::Owner,
        |stage| with(of_account(stage), json!({"type": "phone", "source": "user"})),
        &[
            looked_at("/associated_object_type"),
            looked_at("/associated_object_id"),
            looked_at("/type"),
            looked_at("/source"),
        ],
    ),
];
