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
    pub(super) body: fn(&Stage) -> Value,
    pub(super) fields: &'static [Field],
}

impl Row {
    /// Whether the body as it stands goes through; a code that works cannot stand in a table.
    pub(super) fn works(&self) -> bool {
        self.call != "/oauth2/token"
    }
}

const BARE: &[&str] = &["{}"];
const EMAIL: &[&str] = &["{}", "{}.#@blns.example", "a#@{}"];
const URI: &[&str] = &["{}", "https://blns.example/{}", "https://blns.example/?of={}", "http://{}/"];

const fn kept(pointer: &'static str, seen: Seen) -> Field {
    Field { pointer, templates: BARE, seen }
}

const fn looked_at(pointer: &'static str) -> Field {
    kept(pointer, Seen::Nowhere)
}

const fn uri(pointer: &'static str, seen: Seen) -> Field {
    Field { pointer, templates: URI, seen }
}

/// What `/account/create` and `/account/modify` share.
fn details(stage: &Stage) -> Value {
    json!({
        "name": "Shop",
        "description": "x",
        "reference_id": "r#",
        "image_uri": "https://shop.example/i",
        "callback_uri": "https://shop.example/n",
        "gaq_domains": ["UA-1-1"],
        "theme_object": {"name": "x", "primary_color": "FFFFFF", "secondary_color": "FFFFFF",
            "background_color": "FFFFFF", "button_color": "FFFFFF"},
        "support_contact_number": {"country_code": "1", "phone_number": "6505551234"},
        "country_options": {"debit_opt_in": true},
        "rbits": [rbit(stage)],
    })
}

fn rbit(_: &Stage) -> Value {
    json!({"type": "phone", "receive_time": 1_700_000_000, "source": "user", "note": "x",
        "properties": {"phone": "650-555-1234"}})
}

fn with(mut body: Value, more: Value) -> Value {
    let (Some(body_map), Value::Object(more)) = (body.as_object_mut(), more) else { panic!("two objects") };
    body_map.extend(more);
    body
}

fn created(stage: &Stage) -> Value {
    with(details(stage), json!({"type": "business", "mcc": "5734", "country": "US", "currencies": ["USD"]}))
}

fn own_account(stage: &Stage) -> Value {
    json!({"account_id": stage.world.sandbox.app_owner_account_id()})
}

fn modified(stage: &Stage) -> Value {
    with(details(stage), own_account(stage))
}

fn registration(stage: &Stage) -> Value {
    let more = json!({"email": "bob#@shop.example", "redirect_uri": REDIRECT,
        "callback_uri": "https://shop.example/n", "type": "", "rbits": [rbit(stage)]});
    with(stage.world.register_body("bob@shop.example"), more)
}

/// Every call of the API.
pub(super) const ROWS: &[Row] = &[
    Row {
        call: "/user/register",
        by: By::Client,
        body: registration,
        fields: &[
            looked_at("/client_id"),
            looked_at("/client_secret"),
            Field { pointer: "/email", templates: EMAIL, seen: Seen::User("/email") },
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
    },
    Row {
        call: "/user/modify",
        by: By::Owner,
        body: |stage| json!({"callback_uri": "https://shop.example/n", "rbits": [rbit(stage)]}),
        fields: &[uri("/callback_uri", Seen::User("/callback_uri")), looked_at("/rbits/0/note")],
    },
    Row {
        call: "/user/send_confirmation",
        by: By::Temporary,
        body: |_| json!({"email_message": "x", "email_subject": "x", "email_button_text": "x"}),
        fields: &[
            kept("/email_message", Seen::Mail("/message")),
            kept("/email_subject", Seen::Mail("/subject")),
            kept("/email_button_text", Seen::Mail("/button_text")),
        ],
    },
    Row {
        call: "/user/resend_confirmation",
        by: By::Temporary,
        body: |_| json!({"email_message": "x"}),
        fields: &[kept("/email_message", Seen::Mail("/message"))],
    },
    Row { call: "/user", by: By::Owner, body: |_| json!({}), fields: &[] },
    Row {
        call: "/oauth2/token",
        by: By::Client,
        body: |_| json!({"code": "x", "redirect_uri": REDIRECT, "callback_uri": "https://shop.example/n",
            "state": "x", "grant_type": "x"}),
        fields: &[
            looked_at("/client_id"),
            looked_at("/client_secret"),
            looked_at("/code"),
            uri("/redirect_uri", Seen::Nowhere),
            uri("/callback_uri", Seen::Nowhere),
            looked_at("/state"),
            looked_at("/grant_type"),
        ],
    },
    Row {
        call: "/account/create",
        by: By::Owner,
        body: created,
        fields: &[
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
            looked_at("/support_contact_number/phone_number"),
            looked_at("/support_contact_number/country_code"),
            looked_at("/country_options/debit_opt_in"),
            looked_at("/rbits/0/type"),
            looked_at("/rbits/0/source"),
            looked_at("/rbits/0/note"),
            looked_at("/rbits/0/properties/phone"),
        ],
    },
    Row {
        call: "/account/modify",
        by: By::Owner,
        body: modified,
        fields: &[
            looked_at("/account_id"),
            kept("/name", Seen::Account("/name")),
            kept("/description", Seen::Account("/description")),
            kept("/reference_id", Seen::Account("/reference_id")),
            uri("/image_uri", Seen::Account("/image_uri")),
            uri("/callback_uri", Seen::Account("/callback_uri")),
            kept("/gaq_domains/0", Seen::Account("/gaq_domains/0")),
            kept("/theme_object/name", Seen::Account("/theme_object/name")),
            looked_at("/support_contact_number/phone_number"),
            looked_at("/rbits/0/note"),
        ],
    },
    Row {
        call: "/account/find",
        by: By::Owner,
        body: |_| json!({"name": "x", "reference_id": "x", "sort_order": "ASC", "start": 0, "limit": 1}),
        fields: &[
            looked_at("/name"),
            looked_at("/reference_id"),
            looked_at("/sort_order"),
            looked_at("/start"),
            looked_at("/limit"),
        ],
    },
    Row { call: "/account", by: By::Owner, body: own_account, fields: &[looked_at("/account_id")] },
    Row {
        call: "/app",
        by: By::Client,
        body: |_| json!({}),
        fields: &[looked_at("/client_id"), looked_at("/client_secret")],
    },
];
