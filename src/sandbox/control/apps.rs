//! Apps: what their dashboards show and set.

use serde_json::{Value, json};

use super::{Refusal, internal};
use crate::sandbox::state::{App, Event};
use crate::sandbox::world::Core;
use crate::sandbox::{app_owner_token, fresh_app, new_client, owner_account};

/// Makes a further app of the same owner.
pub(super) fn make_app(core: &Core) -> Result<Value, Refusal> {
    let mut world = core.lock();
    let owner_user_id = world.state.first_app().map_or(0, |app| app.owner_user_id);
    let taken = |client_id| world.state.app(client_id).is_some();
    let client_id = new_client(core.entropy.as_ref(), &taken);
    let app: App = fresh_app(core.entropy.as_ref(), client_id, owner_user_id);
    let answer = json!({ "client_id": client_id.to_string(), "client_secret": app.client_secret });
    world.commit(vec![Event::AppMade(app)]).map_err(|error| internal(&error))?;
    Ok(answer)
}

/// What the dashboard of the first app shows.
pub(super) fn app(core: &Core) -> Result<Value, Refusal> {
    let world = core.lock();
    let app = world.state.first_app().ok_or_else(|| (404, "there is no app".to_owned()))?;
    Ok(json!({
        "client_id": app.client_id.to_string(),
        "owner_user_id": app.owner_user_id,
        "owner_access_token": app_owner_token(core.environment, app),
        "owner_account_id": owner_account(&world.state, app),
    }))
}
