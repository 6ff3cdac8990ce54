//! The one place where state changes: under one lock, journal first, then memory, then the answer.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, Method};

use super::control::Snapshots;
use super::environment::Environment;
use super::faults::Faults;
use super::journal::Journal;
use super::lifecycle;
use super::notices::Desk;
use super::settings::Settings;
use super::state::{Event, State};
use super::throttle::Meter;
use crate::domain::ambient::{AdjustableClock, Clock as _, Entropy, Timestamp};

/// A request to the API or the pages, read whole. No `Debug`: it carries secrets.
pub(super) struct Request {
    pub(super) method: Method,
    /// Path without `/v2` and without a trailing slash.
    pub(super) call: String,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Media type of an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    Json,
    Html,
    /// One JSON object a line.
    JsonLines,
}

/// An answer before it is HTTP.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) media: Media,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) body: String,
}

/// What the call log says about a request.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) error_code: Option<u32>,
    pub(super) user_id: Option<u64>,
    pub(super) client_id: Option<u64>,
    pub(super) scope: Option<String>,
    pub(super) account_id: Option<u64>,
    pub(super) reference_id: Option<String>,
    /// At `/user/register`: beginning of the SHA-256 of the e-mail address asked for.
    pub(super) email_sha256: Option<String>,
    /// SHA-256 of the token presented or issued.
    pub(super) token: Option<String>,
    /// The app against whose limit the call counts, and since when its calls do. The log does not say it.
    pub(super) counted: Option<(u64, Timestamp)>,
}

/// An answer with what it changes.
pub(super) struct Outcome {
    pub(super) reply: Reply,
    pub(super) facts: Facts,
    pub(super) events: Vec<Event>,
}

/// What a handler may look at.
pub(super) struct Context<'a> {
    pub(super) state: &'a State,
    pub(super) settings: &'a Settings,
    pub(super) throttle: &'a Meter,
    pub(super) now: Timestamp,
    pub(super) time_scale: u32,
    pub(super) entropy: &'a dyn Entropy,
    pub(super) environment: Environment,
    /// Base URL of the pages, ends in `/v2`.
    pub(super) ui: &'a str,
}

impl Context<'_> {
    /// A documented duration, divided by the time scale.
    pub(super) fn scaled(&self, duration: Duration) -> Duration {
        duration / self.time_scale.max(1)
    }
}

/// State, journal, faults, settings and the count of calls: what the lock guards.
pub(super) struct World {
    pub(super) state: State,
    pub(super) journal: Journal,
    pub(super) faults: Faults,
    pub(super) settings: Settings,
    /// What `DELETE /control/settings` goes back to.
    pub(super) settings_at_start: Settings,
    pub(super) snapshots: Snapshots,
    pub(super) throttle: Meter,
    /// Where changes become notices.
    pub(super) desk: Desk,
}

impl World {
    /// A world as it starts: no fault, no snapshot.
    pub(super) fn new(state: State, journal: Journal, settings: Settings, desk: Desk) -> Self {
        Self {
            state,
            journal,
            faults: Faults::default(),
            settings_at_start: settings.clone(),
            settings,
            snapshots: Snapshots::default(),
            throttle: Meter::default(),
            desk,
        }
    }

    /// Lets time do to the accounts what is due by now; nothing to look at when nothing is.
    pub(super) fn settle(&mut self, now: Timestamp) -> io::Result<()> {
        while self.state.next_due().is_some_and(|at| at <= now) {
            let events = lifecycle::due(&self.state, now);
            self.commit(events)?;
        }
        Ok(())
    }

    /// Journals the events, with the notices that they cause, as one step, then applies them. After an error nothing has happened.
    pub(super) fn commit(&mut self, mut events: Vec<Event>) -> io::Result<()> {
        self.desk.add_notices(&self.state, &self.settings, &mut events);
        let changes_something = events.iter().any(|event| !matches!(event, Event::Called(_)));
        self.journal.append(&events, changes_something)?;
        for event in events {
            self.state.apply(event);
        }
        if changes_something {
            self.desk.wake();
        }
        Ok(())
    }
}

/// The world with its clock and its source of randomness.
pub(super) struct Core {
    pub(super) clock: Arc<AdjustableClock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) time_scale: u32,
    pub(super) environment: Environment,
    /// Base URL of the pages, ends in `/v2`.
    pub(super) ui: String,
    /// Whether a change waits for a disk.
    pub(super) is_durable: bool,
    world: Mutex<World>,
}

impl Core {
    /// Puts the parts together.
    pub(super) fn new(
        clock: Arc<AdjustableClock>,
        entropy: Arc<dyn Entropy>,
        time_scale: u32,
        environment: Environment,
        ui: String,
        world: World,
    ) -> Arc<Self> {
        let is_durable = world.journal.is_durable();
        Arc::new(Self { clock, entropy, time_scale, environment, ui, is_durable, world: Mutex::new(world) })
    }

    /// Locks the world. A handler that panicked has changed nothing: events are applied after its decision.
    pub(super) fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The view of a locked world.
    pub(super) fn context<'a>(&'a self, world: &'a World) -> Context<'a> {
        Context {
            state: &world.state,
            settings: &world.settings,
            throttle: &world.throttle,
            now: self.clock.now(),
            time_scale: self.time_scale,
            entropy: self.entropy.as_ref(),
            environment: self.environment,
            ui: &self.ui,
        }
    }

    /// Moves the clock ahead, journal first; returns its new offset.
    pub(super) fn advance(&self, by: Duration) -> io::Result<Duration> {
        let mut world = self.lock();
        let offset = self.clock.offset().saturating_add(by);
        let offset_us = i64::try_from(offset.as_micros()).unwrap_or(i64::MAX);
        world.commit(vec![Event::ClockAdvanced { offset_us }])?;
        self.clock.advance(by);
        Ok(self.clock.offset())
    }
}
