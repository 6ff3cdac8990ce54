//! Notices (WePay calls them IPN): what is sent to an app's `callback_uri` when something of a user or an account changed.
//!
//! | module | what |
//! |---|---|
//! | `causes` | which change causes which notice; pure |
//! | `record` | what is kept of one |
//! | `book` | all of them, changed by events alone; which are due, held, asked for |
//! | `target` | what a `callback_uri` means on the wire, and whether this machine is where it leads |
//! | `post` | one HTTP request |
//! | `delivery` | the task that sends what is due, on the sandbox's clock |
//!
//! A notice is queued in the same step of the journal as the change that caused it, and each try is a step of its own: a
//! restart goes on where it stood. A try whose end was not journaled is made again, so a notice may come twice, as from WePay.
//! Nothing here waits for the network while the world is locked.

mod book;
mod causes;
mod delivery;
mod post;
mod record;
mod target;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

pub(super) use self::book::{Book, NoticeChange};
pub(super) use self::causes::Cause;
pub(super) use self::delivery::Delivery;
pub(super) use self::post::Poster;
pub(super) use self::record::{Kind, Notice, Standing, Try};
use self::target::Target;
use super::settings::{Notices, Settings};
use super::state::{Event, State};
use crate::domain::ambient::{AdjustableClock, Clock as _, Timestamp};

/// How long after a failed try the next one follows (WePay FAQ: 15 minutes after the first attempt, then 30 minutes, 1, 6, 12
/// and 24 hours each after the retry before); after the last the notice is given up. The time scale divides them.
const RETRIES: [Duration; 6] = [
    Duration::from_secs(15 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(60 * 60),
    Duration::from_secs(6 * 60 * 60),
    Duration::from_secs(12 * 60 * 60),
    Duration::from_secs(24 * 60 * 60),
];

/// How many seconds of real time a receiver has to answer, unless the settings say otherwise. WePay's own limit is not
/// documented; 30 seconds is what web servers commonly allow.
pub(super) const ANSWER_MAX_S: u32 = 30;

/// The standing after a failed try that followed `retry` others: the next one, or none any more.
fn after_failure(retry: u32, at: Timestamp, time_scale: u32) -> Standing {
    let delay = usize::try_from(retry).ok().and_then(|retry| RETRIES.get(retry));
    delay.map_or(Standing::GivenUp, |delay| Standing::Waiting {
        retry: retry.saturating_add(1),
        due_us: at.plus(*delay / time_scale.max(1)).as_micros(),
        is_held: false,
    })
}

/// Where changes become notices: what `World::commit` needs for it.
pub(super) struct Desk {
    clock: Arc<AdjustableClock>,
    wake: Arc<Notify>,
}

impl Desk {
    /// A desk on this clock.
    pub(super) fn new(clock: Arc<AdjustableClock>) -> Self {
        Self { clock, wake: Arc::new(Notify::new()) }
    }

    /// Adds to a step the notices that its changes cause.
    pub(super) fn add_notices(&self, state: &State, settings: &Settings, events: &mut Vec<Event>) {
        let causes = causes::causes(state, events);
        if !causes.is_empty() {
            events.extend(queued(state, settings, self.clock.now(), &causes));
        }
    }

    /// Tells the delivery that something changed.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }
}

/// The events that queue a notice for each cause, as the settings want it. Switched off there are none.
pub(super) fn queued(state: &State, settings: &Settings, now: Timestamp, causes: &[Cause]) -> Vec<Event> {
    let copies = match settings.notices {
        Notices::Send | Notices::Hold => settings.notice_copies,
        Notices::Off => 0,
    };
    let all = causes.iter().flat_map(|cause| (0..copies).map(move |_| cause));
    let ids = state.notices().next_id()..;
    let event = |(notice_id, cause): (u64, &Cause)| {
        let standing = match Target::parse(&cause.uri) {
            Ok(_) => {
                Standing::Waiting { retry: 0, due_us: now.as_micros(), is_held: settings.notices == Notices::Hold }
            }
            Err(reason) => Standing::NotSent { reason: reason.to_owned() },
        };
        Event::Notice(NoticeChange::Queued(Box::new(Notice {
            notice_id,
            client_id: cause.client_id,
            kind: cause.kind,
            object_id: cause.object_id,
            uri: cause.uri.clone(),
            // The id alone (WePay FAQ); the form encoding is inferred: every known handler reads it as a form.
            body: format!("{}={}", cause.kind.parameter(), cause.object_id),
            queued_at_us: now.as_micros(),
            standing,
            tries: Vec::new(),
        })))
    };
    ids.zip(all).map(event).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_retries_are_those_of_the_faq_and_the_time_scale_divides_them() {
        let at = Timestamp::from_unix_seconds(1_000);
        let mut delays = Vec::new();
        let mut retry = 0;
        while let Standing::Waiting { retry: next, due_us, is_held: false } = after_failure(retry, at, 1) {
            delays.push(Timestamp::from_micros(due_us).since(at).as_secs() / 60);
            assert_eq!(next, retry + 1);
            retry = next;
        }
        assert_eq!(delays, [15, 30, 60, 360, 720, 1440]);
        assert_eq!(after_failure(6, at, 1), Standing::GivenUp);
        let scaled = after_failure(1, at, 60);
        assert_eq!(scaled, Standing::Waiting { retry: 2, due_us: 1_030_000_000, is_held: false });
        assert_eq!(after_failure(0, at, 0), after_failure(0, at, 1));
    }
}
