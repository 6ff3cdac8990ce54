//! What stands in the sandbox, and how it is set.

use serde_json::{Map, Value, json};

use super::accounts::described;
use super::{Refusal, read};
use crate::domain::ambient::{Clock as _, Timestamp};
use crate::sandbox::hash::prefix;
use crate::sandbox::state::{Token, User, UserState};
use crate::sandbox::world::{Core, Request, World};

/// Sets the settings that a request names: all of them or none.
pub(super) fn change_settings(core: &Core, request: &Request) -> Result<Value, Refusal> {
    let changes: Map<String, Value> = read(request)?;
    let mut world = core.lock();
    world.settings = world.settings.changed(&changes).map_err(|text| (400, text))?;
    Ok(json!(world.settings))
}

/// Sets all settings as they stood at the start.
pub(super) fn reset_settings(core: &Core) -> Value {
    let mut world = core.lock();
    world.settings = world.settings_at_start.clone();
    json!(world.settings)
}

/// All of it.
pub(super) fn state(core: &Core) -> Value {
    let world = core.lock();
    let now = core.clock.now();
    let users: Vec<Value> = world.state.users().map(|user| described_user(&world, user, now)).collect();
    let accounts: Vec<Value> = world.state.accounts().map(|account| described(&world.state, account)).collect();
    let used = world.state.codes().filter(|code| code.is_used).count();
    json!({
        "users": users,
        "accounts": accounts,
        "mails": world.state.mails().len(),
        "rbits": world.state.rbits().count(),
        "codes": world.state.codes().count(),
        "codes_used": used,
        "calls": world.state.calls().len(),
        "calls_dropped": world.state.calls_dropped(),
        "environment": core.environment,
        "throttle_used": world.throttle.used(&core.context(&world)),
        "settings": world.settings,
        "snapshots": world.snapshots.len(),
        "time_scale": core.time_scale,
        "journal_position": world.journal.position(),
        "clock_offset_s": core.clock.offset().as_secs(),
        "now": now.to_rfc3339(),
    })
}

fn described_user(world: &World, user: &User, now: Timestamp) -> Value {
    let tokens = world.state.tokens_of(user.user_id).map(|token| described_token(token, user, now));
    let tokens: Vec<Value> = tokens.collect();
    json!({
        "user_id": user.user_id,
        "email": user.email,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "state": user.state,
        "tokens": tokens,
    })
}

fn described_token(token: &Token, user: &User, now: Timestamp) -> Value {
    let rfc3339 = |micros| Timestamp::from_micros(micros).to_rfc3339();
    json!({
        "token_sha256": prefix(&token.sha256),
        "client_id": token.client_id.to_string(),
        "kind": token.kind,
        "scope": token.scope.join(","),
        "live": token.is_live(now) && user.state != UserState::Deleted,
        "issued_at": rfc3339(token.issued_at_us),
        "expires_at": token.expires_at_us.map(rfc3339),
        "revoked_at": token.revoked_at_us.map(rfc3339),
    })
}
