//! The one place where state changes: under one lock, journal first, then memory, then the answer.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, Method};
use serde::{Deserialize, Serialize};

use super::faults::Faults;
use super::journal::Journal;
use super::state::{Event, State};
use crate::domain::ambient::{AdjustableClock, Clock as _, Entropy, Timestamp};

/// What the control API can switch. Not durable: each start begins with the options it was given.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Settings {
    /// `/oauth2/token` revokes earlier tokens of the (user, app): the truth. False only for tests of tests.
    pub(super) token_revokes: bool,
    /// `/user/register` does so too: not stated anywhere, so both can be played.
    pub(super) register_revokes: bool,
    /// Redirect and callback URIs may also point to a loopback address.
    pub(super) lax_redirects: bool,
    /// A denial carries the `state` back.
    pub(super) state_on_denial: bool,
    /// A second use of a code revokes the tokens of its (user, app), as RFC 6749 advises; not known of WePay.
    pub(super) reused_code_revokes: bool,
    /// The domain registered for the apps; redirect URIs must be on it.
    pub(super) registered_domain: String,
}

impl Settings {
    /// The settings of a fresh start.
    pub(super) fn new(token_revokes: bool, register_revokes: bool) -> Self {
        Self {
            token_revokes,
            register_revokes,
            lax_redirects: true,
            state_on_denial: true,
            reused_code_revokes: false,
            registered_domain: "localhost".to_owned(),
        }
    }
}

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
    /// SHA-256 of the token presented or issued.
    pub(super) token: Option<String>,
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
    pub(super) now: Timestamp,
    pub(super) time_scale: u32,
    pub(super) entropy: &'a dyn Entropy,
}

impl Context<'_> {
    /// A documented duration, divided by the time scale.
    pub(super) fn scaled(&self, duration: Duration) -> Duration {
        duration / self.time_scale.max(1)
    }
}

/// State, journal, faults and settings: what the lock guards.
pub(super) struct World {
    pub(super) state: State,
    pub(super) journal: Journal,
    pub(super) faults: Faults,
    pub(super) settings: Settings,
}

impl World {
    /// Journals the events as one step, then applies them. After an error nothing has happened.
    pub(super) fn commit(&mut self, events: Vec<Event>) -> io::Result<()> {
        let changes_something = events.iter().any(|event| !matches!(event, Event::Called(_)));
        self.journal.append(&events, changes_something)?;
        for event in events {
            self.state.apply(event);
        }
        Ok(())
    }
}

/// The world with its clock and its source of randomness.
pub(super) struct Core {
    pub(super) clock: Arc<AdjustableClock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) time_scale: u32,
    /// Base URL of the pages.
    pub(super) ui: String,
    world: Mutex<World>,
}

impl Core {
    /// Puts the parts together.
    pub(super) fn new(
        clock: Arc<AdjustableClock>,
        entropy: Arc<dyn Entropy>,
        time_scale: u32,
        ui: String,
        world: World,
    ) -> Arc<Self> {
        Arc::new(Self { clock, entropy, time_scale, ui, world: Mutex::new(world) })
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
            now: self.clock.now(),
            time_scale: self.time_scale,
            entropy: self.entropy.as_ref(),
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
