//! Snapshots: everything the provider knows, taken out and put back.
//!
//! A snapshot is the shortest history that leads to the state: a list of events, as the journal has them. So it is checked by what
//! reads the journal, and putting it back is one event. Call log, settings and faults are no part of it, and the clock does not go
//! back: what has ended meanwhile has ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Refusal, internal};
use crate::domain::ambient::{Clock as _, Timestamp};
use crate::sandbox::environment::Environment;
use crate::sandbox::owner_account;
use crate::sandbox::state::{Event, State};
use crate::sandbox::world::{Core, World};

/// Format of the document.
const FORMAT: u32 = 1;

/// Most snapshots kept by name: each holds a whole state in memory.
const NAMED_MAX: usize = 32;

/// Longest name of a kept snapshot; our choice.
const NAME_MAX: usize = 64;

/// Largest id that a state may come with: the largest number that every reader of JSON takes exactly, with room for those that
/// follow.
const ID_MAX: u64 = 1 << 53;

/// A snapshot as a document.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    format: u32,
    environment: Environment,
    /// When it was taken, by the sandbox's clock; for people.
    taken_at: String,
    state: Vec<Event>,
}

/// A snapshot kept by name.
struct Kept {
    taken_at: Timestamp,
    state: Arc<Vec<Event>>,
}

/// The snapshots kept by name: in memory alone.
#[derive(Default)]
pub(in crate::sandbox) struct Snapshots(BTreeMap<String, Kept>);

impl Snapshots {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The state as the text of a document.
pub(super) fn take(core: &Core) -> Result<String, Refusal> {
    let state = core.lock().state.history();
    let taken_at = core.clock.now().to_rfc3339();
    let document = Document { format: FORMAT, environment: core.environment, taken_at, state };
    serde_json::to_string(&document).map_err(|error| (500, format!("the snapshot cannot be written: {error}")))
}

/// Puts a document's state in the place of the one that is there, when it is whole.
pub(super) fn put_back(core: &Core, document: Document) -> Result<Value, Refusal> {
    if document.format != FORMAT {
        return Err((400, format!("the snapshot has format {}, not {FORMAT}", document.format)));
    }
    if document.environment != core.environment {
        let (theirs, ours) = (document.environment.as_str(), core.environment.as_str());
        return Err((400, format!("the snapshot is of {theirs}, the sandbox plays {ours}")));
    }
    check(&document.state).map_err(|text| (400, format!("the snapshot is broken: {text}")))?;
    restore(&mut core.lock(), document.state)
}

/// What a request to `/control/snapshots…` does.
pub(super) fn named(core: &Core, method: &Method, path: &[&str]) -> Result<Value, Refusal> {
    match (method.as_str(), path) {
        ("GET", []) => Ok(list(&core.lock())),
        ("POST", [name]) => keep(core, name),
        ("POST", [name, "restore"]) => {
            let mut world = core.lock();
            let kept = world.snapshots.0.get(*name).ok_or_else(|| missing(name))?;
            let state = kept.state.as_ref().clone();
            restore(&mut world, state)
        }
        ("DELETE", [name]) => match core.lock().snapshots.0.remove(*name) {
            Some(_) => Ok(json!({ "deleted": 1 })),
            None => Err(missing(name)),
        },
        ("DELETE", []) => Ok(json!({ "deleted": std::mem::take(&mut core.lock().snapshots.0).len() })),
        (method, path) => Err((404, format!("there is no {method} /control/snapshots/{}", path.join("/")))),
    }
}

fn missing(name: &str) -> Refusal {
    (404, format!("there is no snapshot {name}"))
}

fn list(world: &World) -> Value {
    let described = |(name, kept): (&String, &Kept)| json!({ "name": name, "taken_at": kept.taken_at.to_rfc3339() });
    json!({ "snapshots": world.snapshots.0.iter().map(described).collect::<Vec<Value>>() })
}

/// Keeps the state by a name; one of that name is replaced.
fn keep(core: &Core, name: &str) -> Result<Value, Refusal> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(is_part) {
        return Err((400, format!("a name has 1 to {NAME_MAX} letters, digits, hyphens, underscores and points")));
    }
    let mut world = core.lock();
    if world.snapshots.len() >= NAMED_MAX && !world.snapshots.0.contains_key(name) {
        return Err((400, format!("there are {NAMED_MAX} snapshots already")));
    }
    let taken_at = core.clock.now();
    let state = Arc::new(world.state.history());
    world.snapshots.0.insert(name.to_owned(), Kept { taken_at, state });
    Ok(json!({ "name": name, "taken_at": taken_at.to_rfc3339() }))
}

fn restore(world: &mut World, events: Vec<Event>) -> Result<Value, Refusal> {
    world.commit(vec![Event::Restored { events }]).map_err(|error| internal(&error))?;
    let client_id = world.state.first_app().map(|app| app.client_id.to_string());
    Ok(
        json!({ "client_id": client_id, "users": world.state.users().count(), "accounts": world.state.accounts().count() }),
    )
}

/// What is wrong with a history from outside: a sandbox could not go on, or not start again, from it.
fn check(events: &[Event]) -> Result<(), String> {
    let mut state = State::default();
    for event in events {
        match event {
            Event::Founded { .. } | Event::Called(_) | Event::ClockAdvanced { .. } | Event::Restored { .. } => {
                let text =
                    "environment, calls, moves of the clock and other snapshots are no part of a snapshot's state";
                return Err(text.to_owned());
            }
            event => state.apply(event.clone()),
        }
    }
    let next = [state.next_user_id(), state.next_account_id(), state.next_rbit_id(), state.notices().next_id()];
    if next.into_iter().any(|id| id > ID_MAX) {
        return Err(format!("it has an id that is not below {ID_MAX}"));
    }
    // They are looked for by halves.
    if !state.mails().is_sorted_by_key(|mail| mail.mail_id) {
        return Err("its mails are not in the order of their ids".to_owned());
    }
    let app = state.first_app().ok_or("it has no app")?;
    owner_account(&state, app).ok_or("the first app's owner has no account")?;
    let (no_user, no_app) = (|id| format!("it has no user {id}"), |id| format!("it has no app {id}"));
    let has_user = |id: u64| state.user(id).map(drop).ok_or_else(|| no_user(id));
    let has_app = |id: u64| state.app(id).map(drop).ok_or_else(|| no_app(id));
    for event in events {
        match event {
            Event::AppMade(app) => has_user(app.owner_user_id)?,
            Event::TokenIssued(token) => has_user(token.user_id).and_then(|()| has_app(token.client_id))?,
            Event::CodeIssued(code) => has_user(code.user_id).and_then(|()| has_app(code.client_id))?,
            Event::MailSent(mail) => has_user(mail.user_id).and_then(|()| has_app(mail.client_id))?,
            Event::SessionOpened { user_id, .. } => has_user(*user_id)?,
            Event::AccountMade(account) => {
                has_user(account.owner_user_id).and_then(|()| has_app(account.client_id))?;
            }
            Event::RbitsMade { rbits } => {
                for rbit in rbits {
                    has_user(rbit.user_id).and_then(|()| has_app(rbit.client_id))?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}
