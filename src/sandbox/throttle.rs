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
    start_of(context.settings.throttle, window, context.now)
}

/// The same for a window of this length.
fn start_of(shape: Throttle, window: Duration, now: Timestamp) -> Option<Timestamp> {
    let window = i64::try_from(window.as_micros()).unwrap_or(i64::MAX).max(1);
    let now = now.as_micros();
    let start = match shape {
        Throttle::Off => return None,
        // A call is out of the window when exactly its length has passed.
        Throttle::Sliding => now.saturating_sub(window).saturating_add(1),
        Throttle::Fixed => now.saturating_sub(now.rem_euclid(window)),
    };
    Some(Timestamp::from_micros(start))
}

fn newer(calls: &VecDeque<Timestamp>, since: Timestamp) -> usize {
    calls.len().saturating_sub(calls.partition_point(|at| *at < since))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documented limit.
    const WINDOW: Duration = Duration::from_secs(10);

    /// How many calls count at a time (in milliseconds) after 30 calls at each of these times.
    fn counted(shape: Throttle, bursts: &[i64], at_ms: i64) -> usize {
        let time = |ms: i64| Timestamp::from_micros(ms * 1000);
        let mut meter = Meter::default();
        for burst in bursts {
            for _ in 0..30 {
                meter.count(7, time(*burst), start_of(shape, WINDOW, time(*burst)).unwrap());
            }
        }
        meter.used_by(7, start_of(shape, WINDOW, time(at_ms)).unwrap())
    }

    #[test]
    fn a_sliding_window_forgets_a_call_when_its_length_has_passed() {
        let sliding = |bursts: &[i64], at| counted(Throttle::Sliding, bursts, at);
        assert_eq!((sliding(&[9_000], 9_000), sliding(&[9_000], 18_999), sliding(&[9_000], 19_000)), (30, 30, 0));
        assert_eq!(sliding(&[9_000, 11_000], 18_999), 60);
    }

    #[test]
    fn a_fixed_window_begins_anew_at_each_multiple_of_its_length() {
        let fixed = |bursts: &[i64], at| counted(Throttle::Fixed, bursts, at);
        assert_eq!((fixed(&[9_000], 9_999), fixed(&[9_000], 10_000), fixed(&[10_000], 19_999)), (30, 0, 30));
        assert_eq!(fixed(&[9_000, 11_000], 18_999), 30);
    }

    #[test]
    fn calls_that_count_no_more_take_no_room() {
        let mut meter = Meter::default();
        for second in 0..1_000 {
            let now = Timestamp::from_unix_seconds(second);
            meter.count(7, now, start_of(Throttle::Sliding, WINDOW, now).unwrap());
        }
        assert_eq!(meter.0[&7].len(), 10);
        assert!(start_of(Throttle::Off, WINDOW, Timestamp::default()).is_none());
    }
}
