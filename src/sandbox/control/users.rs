//! People: made, confirmed, revoked and deleted by hand, and the mails they got.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::{Refusal, internal, read};
use crate::domain::ambient::{Clock as _, Timestamp};
use crate::sandbox::confirmation;
use crate::sandbox::hash::PREFIX_DIGITS;
use crate::sandbox::lifecycle;
use crate::sandbox::pages::new_user;
use crate::sandbox::state::{Event, Mail, Token, TokenKind, UserState};
use crate::sandbox::world::{Core, Request, World};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewUser {
    email: String,
    password: String,
    first_name: String,
    last_name: String,
    state: Option<UserState>,
}

/// For which app a user's access is taken back; the first one when none is named.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ForApp {
    client_id: Option<String>,
}

/// Which token dies: its hash, or enough of its beginning.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenNamed {
    token_sha256: String,
}

/// Makes a user; `state` says whether one who can sign in.
pub(super) fn make_user(core: &Core, request: &Request) -> Result<Value, Refusal> {
    let wish: NewUser = read(request)?;
    let mut world = core.lock();
    let made = new_user(&core.context(&world), &wish.email, &wish.password, &wish.first_name, &wish.last_name);
    let mut user = made.map_err(|text| (400, text.to_owned()))?;
    user.state = wish.state.unwrap_or(UserState::Registered);
    let user_id = user.user_id;
    world.commit(vec![Event::UserMade(user)]).map_err(|error| internal(&error))?;
    Ok(json!({ "user_id": user_id }))
}

/// Confirms, revokes or deletes.
pub(super) fn change_user(core: &Core, id: &str, act: &str, for_app: &ForApp) -> Result<Value, Refusal> {
    let mut world = core.lock();
    if for_app.client_id.is_some() && act != "revoke" {
        return Err((400, format!("client_id has no meaning for {act}")));
    }
    let user = id.parse().ok().and_then(|user_id| world.state.user(user_id));
    let user = user.ok_or_else(|| (404, format!("there is no user {id}")))?;
    let user_id = user.user_id;
    let now = core.clock.now();
    let mut revoked = 0;
    let events = match (act, user.state) {
        ("revoke", _) => {
            let client_id = app_named(&world, for_app)?;
            let sha256 = world.state.unrevoked(user_id, client_id);
            revoked = sha256.len();
            let at_us = now.as_micros();
            vec![Event::TokensRevoked { sha256, at_us }, Event::ApprovalWithdrawn { user_id, client_id }]
        }
        ("confirm", UserState::Deleted) => return Err((400, "the user is deleted".to_owned())),
        ("confirm", _) => {
            let temporary = world.state.tokens_of(user_id).filter(|token| token.kind == TokenKind::Temporary);
            let client_ids: BTreeSet<u64> = temporary.map(|token| token.client_id).collect();
            confirmation::events(&world.state, user, &Vec::from_iter(client_ids), now)
        }
        _ => {
            let mut events = vec![Event::UserChanged { user_id, state: UserState::Deleted }];
            events.extend(lifecycle::user_deleted(&world.state, user_id));
            events
        }
    };
    world.commit(events).map_err(|error| internal(&error))?;
    let state = world.state.user(user_id).map(|user| user.state.as_str());
    Ok(json!({ "user_id": user_id, "state": state, "revoked": revoked }))
}

/// Revokes one token and nothing else: its user's approval stays, and so do the user's other tokens.
pub(super) fn revoke_token(core: &Core, named: &TokenNamed) -> Result<Value, Refusal> {
    let mut world = core.lock();
    let is_hash = named.token_sha256.len() >= PREFIX_DIGITS;
    let is_meant = |token: &&Token| is_hash && token.sha256.starts_with(&named.token_sha256);
    let found = world.state.users().flat_map(|user| world.state.tokens_of(user.user_id)).find(is_meant);
    let token = found.ok_or_else(|| (404, "there is no such token".to_owned()))?;
    let was_revoked = token.revoked_at_us.is_some();
    let (user_id, sha256) = (token.user_id, vec![token.sha256.clone()]);
    let at_us = core.clock.now().as_micros();
    world.commit(vec![Event::TokensRevoked { sha256, at_us }]).map_err(|error| internal(&error))?;
    Ok(json!({ "user_id": user_id, "revoked": u64::from(!was_revoked) }))
}

fn app_named(world: &World, for_app: &ForApp) -> Result<u64, Refusal> {
    let Some(named) = &for_app.client_id else {
        return Ok(world.state.first_app().map_or(0, |app| app.client_id));
    };
    let app = named.parse().ok().and_then(|client_id| world.state.app(client_id));
    app.map(|app| app.client_id).ok_or_else(|| (404, format!("there is no app {named}")))
}

/// The mails sent, with the links that only their readers have.
pub(super) fn mails(core: &Core, query: &str) -> Result<Value, Refusal> {
    let mut user_id = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "user_id" => user_id = Some(value.parse().map_err(|_| (400, "user_id must be a number".to_owned()))?),
            other => return Err((400, format!("there is no filter {other}"))),
        }
    }
    let world = core.lock();
    let wanted: Vec<&Mail> = match user_id {
        Some(user_id) => world.state.mails_of(user_id).collect(),
        None => world.state.mails().iter().collect(),
    };
    let mails: Vec<Value> = wanted
        .into_iter()
        .map(|mail| {
            json!({
                "mail_id": mail.mail_id,
                "user_id": mail.user_id,
                "client_id": mail.client_id.to_string(),
                "to": mail.to,
                "subject": mail.subject,
                "message": mail.message,
                "button_text": mail.button_text,
                "link": world.state.app(mail.client_id).map(|app| confirmation::link(&core.ui, app, mail)),
                "sent_at": Timestamp::from_micros(mail.sent_at_us).to_rfc3339(),
            })
        })
        .collect();
    Ok(json!({ "mails": mails }))
}
