//! The provider: does it know our app, and do its clock and ours agree. One call, `/app`, which has no effect, made outside the
//! budget: this must work where there is no database to keep one in.

use std::time::Duration;

use crate::app;
use crate::config::Config;
use crate::domain::ambient::{Clock, Timestamp};
use crate::domain::budget::Permit;
use crate::domain::finding::Finding;
use crate::domain::provider_call::About;
use crate::provider::{AppState, CallError, CallKind, Endpoints, NotSentReason, Signal};

const PROVIDER: &str = "provider";
const CLOCK: &str = "clock";
/// The state of an app that may call.
const ACTIVE: &str = "active";
/// How far the clocks may be apart: an orderly time service keeps milliseconds, so more than this is one that is missing.
const APART_MAX: Duration = Duration::from_secs(2);
/// The provider's date is cut to whole seconds.
const DATE_STEP: Duration = Duration::from_secs(1);

pub(super) async fn examine(config: &Config, clock: &dyn Clock) -> [Finding; 2] {
    let client = match app::provider(config) {
        Ok(client) => client,
        Err(error) => {
            let mend = "mend what is said above, and install root certificates on this host";
            return [
                Finding::fail(PROVIDER, error.to_string(), mend),
                Finding::warn(CLOCK, "not compared: the provider was not called", "mend the provider first"),
            ];
        }
    };
    let before = clock.now();
    let (app, date) = client.by(Permit::by_hand(), About::default()).app_and_date().await;
    let after = clock.now();
    [judge_app(config, &address(config), app), judge_clock(date, before, after)]
}

fn judge_app(config: &Config, address: &str, app: Result<AppState, CallError>) -> Finding {
    let (id, environment) = (&config.client_id, config.environment);
    let error = match app {
        Ok(app) if app.state == ACTIVE => {
            let version = app.api_version.as_deref().unwrap_or("not told");
            return Finding::ok(PROVIDER, format!("{address} has app {id} as active; API version {version}"));
        }
        Ok(app) => {
            let what = format!("{address} has app {id} as {}", app.state);
            return Finding::fail(PROVIDER, what, "ask the provider's support: only an active app may call");
        }
        Err(error) => error,
    };
    let what = format!("{address}: {error}");
    if error.signal(CallKind::App) == Signal::Throttled {
        return Finding::warn(PROVIDER, what, "the app calls too often: wait ten seconds and look again");
    }
    let mend = match error {
        CallError::NotSent(NotSentReason::NameResolution) => "make the host's name resolve from here".to_owned(),
        CallError::NotSent(_) => {
            "open the way from here to there; no proxy is used, and TLS 1.2 is the least".to_owned()
        }
        CallError::Refused(_) => {
            format!("compare client_id and the client secret with the app's page in the {environment} environment")
        }
        CallError::OutcomeUnknown(_) => "try again; if it stays, something on the way answers in its place".to_owned(),
    };
    Finding::fail(PROVIDER, what, mend)
}

/// The provider told its time somewhere between `before` and `after`.
fn judge_clock(date: Option<Timestamp>, before: Timestamp, after: Timestamp) -> Finding {
    let Some(date) = date else {
        return Finding::warn(CLOCK, "not compared: the provider told no time", "mend the provider first");
    };
    let (ahead, behind) = (before.since(date.plus(DATE_STEP)), date.since(after));
    let apart = ahead.max(behind);
    if apart > APART_MAX {
        let direction = if ahead > behind { "ahead of" } else { "behind" };
        let what = format!("this host's clock is {}s {direction} the provider's", apart.as_secs());
        return Finding::warn(
            CLOCK,
            what,
            "synchronise it (chrony, systemd-timesyncd): codes and tokens end by the clock",
        );
    }
    Finding::ok(CLOCK, "agrees with the provider's within two seconds")
}

fn address(config: &Config) -> String {
    match &config.provider {
        Some(sandbox) => sandbox.api.clone(),
        None => Endpoints::of(config.environment).map(|endpoints| endpoints.api.into()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::finding::Verdict;

    #[test]
    fn clocks_agree_within_two_seconds_and_the_step_of_a_date() {
        let at = |millis: i64| Timestamp::from_micros(1_700_000_000_000_000 + millis * 1_000);
        for (date, before, after, verdict) in [
            (0, 0, 5, Verdict::Ok),
            (0, 2_999, 3_100, Verdict::Ok),
            (0, 3_001, 3_100, Verdict::Warn),
            (0, -5_000, -2_000, Verdict::Ok),
            (0, -5_000, -2_001, Verdict::Warn),
            (0, -60_000, 60_000, Verdict::Ok),
        ] {
            assert_eq!(judge_clock(Some(at(date)), at(before), at(after)).verdict, verdict, "{date} {before} {after}");
        }
        let ahead = judge_clock(Some(at(0)), at(61_000), at(61_000));
        assert!(ahead.what.contains("60s ahead of"), "{}", ahead.what);
        let behind = judge_clock(Some(at(60_000)), at(0), at(0));
        assert!(behind.what.contains("60s behind"), "{}", behind.what);
        assert_eq!(judge_clock(None, at(0), at(0)).verdict, Verdict::Warn);
    }
}
