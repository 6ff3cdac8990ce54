//! Accounts: what happens to them outside of the API.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Refusal, internal, read};
use crate::sandbox::state::{AccountState, Event};
use crate::sandbox::world::{Core, Request};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewState {
    state: AccountState,
}

/// What a request to `/control/accounts/ID/…` does.
pub(super) fn answer(core: &Core, request: &Request, id: &str, act: &str) -> Result<Value, Refusal> {
    match (request.method.as_str(), act) {
        ("POST", "state") => force_state(core, id, &read(request)?),
        (method, act) => Err((404, format!("there is no {method} /control/accounts/ID/{act}"))),
    }
}

/// Forces a state.
fn force_state(core: &Core, id: &str, wish: &NewState) -> Result<Value, Refusal> {
    let mut world = core.lock();
    let account = id.parse().ok().and_then(|account_id| world.state.account(account_id));
    let account_id = account.ok_or_else(|| (404, format!("there is no account {id}")))?.account_id;
    world.commit(vec![Event::AccountChanged { account_id, state: wish.state }]).map_err(|error| internal(&error))?;
    Ok(json!({ "account_id": account_id, "state": wish.state }))
}
