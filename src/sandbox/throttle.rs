//! The limit of calls for each app: 30 in 10 seconds (WePay API docs, throttling page).
//!
//! Every call below `/v2` that names an app counts, refused ones of other kinds too; pages, unknown paths and the calls inside a
//! batch do not. Which shape the window has, whether a throttled call counts itself (here it does not) and where the check stands
//! (here behind the route) is not known of WePay.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use super::api::ApiCall;
use super::hash::sha256;
use super::parameters::bearer;
use super::protocol::ApiError;
use super::settings::Throttle;
use super::world::Context;
use crate::domain::ambient::Timestamp;

/// When each app's latest calls were.
#[derive(Default)]
pub(super) struct Meter(HashMap<u64, VecDeque<Timestamp>>);

impl Meter {
    /// Counts a call of an app, and forgets those that count no more.
    pub(super) fn count(&mut self, client_id: u64, now: Timestamp, since: Timestamp) {
        let calls = self.0.entry(client_id).or_default();
        while calls.front().is_some_and(|at| *at < since) {
            calls.pop_front();
        }
        calls.push_back(now);
    }

    /// How many calls of each app count now.
    pub(super) fn used(&self, context: &Context<'_>) -> BTreeMap<u64, usize> {
        let Some(since) = window_start(context) else { return BTreeMap::new() };
        let used = self.0.iter().map(|(client_id, calls)| (*client_id, newer(calls, since)));
        used.filter(|(_, used)| *used > 0).collect()
    }

    fn used_by(&self, client_id: u64, since: Timestamp) -> usize {
        self.0.get(&client_id).map_or(0, |calls| newer(calls, since))
    }
}

/// Lets a call through and notes for which app it counts, or refuses it.
pub(super) fn admit(call: &mut ApiCall<'_>) -> Result<(), ApiError> {
    let Some(since) = window_start(call.context) else { return Ok(()) };
    let Some(client_id) = app_of(call) else { return Ok(()) };
    let limit = usize::try_from(call.context.settings.throttle_calls).unwrap_or(usize::MAX);
    if call.context.throttle.used_by(client_id, since) >= limit {
        call.facts.client_id = Some(client_id);
        return Err(ApiError::throttled());
    }
    call.facts.counted = Some((client_id, since));
    Ok(())
}

/// The app that a call names: by its client id, else by its token, dead ones too.
fn app_of(call: &ApiCall<'_>) -> Option<u64> {
    let state = call.context.state;
    let named = call.parameters.required_id("client_id").ok().and_then(|client_id| state.app(client_id));
    let by_token = || state.token(&sha256(bearer(&call.request.headers)?)).map(|token| token.client_id);
    named.map(|app| app.client_id).or_else(by_token)
}

/// The earliest moment whose calls still count; none when the throttle is off.
fn window_start(context: &Context<'_>) -> Option<Timestamp> {
    let window = context.scaled(Duration::from_secs(context.settings.throttle_window_s.into()));
    let window = i64::try_from(window.as_micros()).unwrap_or(i64::MAX).max(1);
    let now = context.now.as_micros();
    match context.settings.throttle {
        Throttle::Off => None,
        // A call is out of the window when exactly its length has passed.
        Throttle::Sliding => Some(now.saturating_sub(window).saturating_add(1)),
        Throttle::Fixed => Some(now.saturating_sub(now.rem_euclid(window))),
    }
    .map(Timestamp::from_micros)
}

fn newer(calls: &VecDeque<Timestamp>, since: Timestamp) -> usize {
    calls.len().saturating_sub(calls.partition_point(|at| *at < since))
}
