//! Apps: what their dashboards show and set.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::{Refusal, internal, read};
use crate::domain::ambient::Clock as _;
use crate::sandbox::hash::{random_hex, sha256};
use crate::sandbox::pages::new_user;
use crate::sandbox::protocol::{PERMISSIONS, SCOPES, SCOPES_CURRENT, TEXT_MAX, VERSIONS};
use crate::sandbox::state::{App, AppState, Event, Token, TokenKind, UserState};
use crate::sandbox::world::{Core, Request, World};
use crate::sandbox::{app_owner_token, fresh_app, new_client, owner_account};

/// What a dashboard sets.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wish {
    name: Option<String>,
    api_version: Option<String>,
    permissions: Option<BTreeSet<String>>,
    /// Null is the domain of the settings.
    #[serde(deserialize_with = "present")]
    registered_domain: Option<Option<String>>,
    /// Of a new app alone: somebody else than the first app's owner.
    owner: Option<Owner>,
    /// Of an app that is there alone.
    state: Option<AppState>,
    /// Likewise: a fresh secret in the old one's place.
    rotate_client_secret: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Owner {
    email: String,
    password: String,
    first_name: String,
    last_name: String,
}

/// Tells a null from nothing at all.
fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<String>>, D::Error> {
    Deserialize::deserialize(value).map(Some)
}

/// All apps, oldest id first.
pub(super) fn apps(core: &Core) -> Value {
    let world = core.lock();
    let apps: Vec<Value> = world.state.apps().map(|app| described(core, &world, app)).collect();
    json!({ "apps": apps })
}

/// One app.
pub(super) fn app(core: &Core, id: &str) -> Result<Value, Refusal> {
    let world = core.lock();
    Ok(described(core, &world, find(&world, id)?))
}

/// The app made at the first start.
pub(super) fn first_app(core: &Core) -> Result<Value, Refusal> {
    let world = core.lock();
    let app = world.state.first_app().ok_or_else(|| (404, "there is no app".to_owned()))?;
    Ok(described(core, &world, app))
}

/// Makes an app, and its owner's token; the owner is that of the first app unless one is named, who is made too.
pub(super) fn make_app(core: &Core, request: &Request) -> Result<Value, Refusal> {
    let wish: Option<Wish> = if request.body.trim_ascii().is_empty() { None } else { read(request)? };
    let mut wish = wish.unwrap_or_default();
    if wish.state.is_some() || wish.rotate_client_secret {
        return Err((400, "a new app is active and has a fresh secret".to_owned()));
    }
    let mut world = core.lock();
    let mut events = Vec::new();
    let owner_user_id = match wish.owner.take() {
        None => world.state.first_app().map_or(0, |app| app.owner_user_id),
        Some(Owner { email, password, first_name, last_name }) => {
            let made = new_user(&core.context(&world), &email, &password, &first_name, &last_name);
            let mut user = made.map_err(|text| (400, text.to_owned()))?;
            user.state = UserState::Registered;
            let user_id = user.user_id;
            events.push(Event::UserMade(user));
            user_id
        }
    };
    let taken = |client_id| world.state.app(client_id).is_some();
    let client_id = new_client(core.entropy.as_ref(), &taken);
    let mut app = fresh_app(core.entropy.as_ref(), client_id, owner_user_id);
    change(&mut app, wish)?;
    events.push(Event::AppMade(app.clone()));
    events.push(Event::TokenIssued(Token {
        sha256: sha256(&app_owner_token(core.environment, &app)),
        user_id: owner_user_id,
        client_id,
        scope: SCOPES.iter().take(SCOPES_CURRENT).map(|scope| (*scope).to_owned()).collect(),
        kind: TokenKind::Permanent,
        issued_at_us: core.clock.now().as_micros(),
        expires_at_us: None,
        revoked_at_us: None,
    }));
    world.commit(events).map_err(|error| internal(&error))?;
    Ok(described(core, &world, &app))
}

/// Changes what a request names.
pub(super) fn change_app(core: &Core, request: &Request, id: &str) -> Result<Value, Refusal> {
    let wish: Wish = read(request)?;
    if wish.owner.is_some() {
        return Err((400, "an app keeps its owner".to_owned()));
    }
    let mut world = core.lock();
    let mut app = find(&world, id)?.clone();
    if wish.rotate_client_secret {
        app.client_secret = random_hex::<5>(core.entropy.as_ref());
    }
    change(&mut app, wish)?;
    world.commit(vec![Event::AppChanged(Box::new(app.clone()))]).map_err(|error| internal(&error))?;
    Ok(described(core, &world, &app))
}

fn find<'a>(world: &'a World, id: &str) -> Result<&'a App, Refusal> {
    let app = id.parse().ok().and_then(|client_id| world.state.app(client_id));
    app.ok_or_else(|| (404, format!("there is no app {id}")))
}

/// Takes over what a wish says, all or nothing.
fn change(app: &mut App, wish: Wish) -> Result<(), Refusal> {
    let refuse = |text: String| Err((400, text));
    let Wish { name, api_version, permissions, registered_domain, state, .. } = wish;
    if name.as_ref().is_some_and(|name| name.trim().is_empty() || name.chars().count() > TEXT_MAX) {
        return refuse(format!("name must have 1 to {TEXT_MAX} characters"));
    }
    if let Some(unknown) = api_version.as_ref().filter(|version| !VERSIONS.contains(&version.as_str())) {
        return refuse(format!("there is no API version {unknown}"));
    }
    let unknown = |name: &&String| !PERMISSIONS.contains(&name.as_str());
    if let Some(unknown) = permissions.iter().flatten().find(unknown) {
        return refuse(format!("there is no permission {unknown}"));
    }
    let is_bare = |domain: &str| url::Host::parse(domain).is_ok_and(|host| host.to_string() == domain);
    if let Some(Some(domain)) = &registered_domain
        && !is_bare(domain)
    {
        return refuse("registered_domain must be a bare host in small letters".to_owned());
    }
    app.name = name.unwrap_or_else(|| std::mem::take(&mut app.name));
    app.api_version = api_version.unwrap_or_else(|| std::mem::take(&mut app.api_version));
    app.permissions = permissions.unwrap_or_else(|| std::mem::take(&mut app.permissions));
    app.registered_domain = registered_domain.unwrap_or_else(|| app.registered_domain.take());
    app.state = state.unwrap_or(app.state);
    Ok(())
}

fn described(core: &Core, world: &World, app: &App) -> Value {
    json!({
        "client_id": app.client_id.to_string(),
        "client_secret": app.client_secret,
        "name": app.name,
        "state": app.state,
        "api_version": app.api_version,
        "permissions": app.permissions,
        "registered_domain": app.registered_domain,
        "theme_object": app.theme_object,
        "gaq_domains": app.gaq_domains,
        "owner_user_id": app.owner_user_id,
        "owner_access_token": app_owner_token(core.environment, app),
        "owner_account_id": owner_account(&world.state, app),
    })
}
