//! Asking the provider whether a token lives: single flight, and death only on confirmed evidence (M6).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::watch;
use tracing::{info, warn};

use super::Services;
use super::budget::{Budget, Patience};
use super::error::{Error, Kind, Result};
use crate::domain::ambient::Timestamp;
use crate::domain::budget::{Lane, Permit};
use crate::domain::id::{ConnectionId, TokenVersion};
use crate::domain::merchant::{Connection, Role};
use crate::domain::name::Subject;
use crate::domain::provider_call::About;
use crate::domain::secret::AccessToken;
use crate::domain::token::{END_MARGIN, Finding, Liveness, UserStanding, Version};
use crate::domain::trail::Act;
use crate::provider::{CallKind, Signal, User};
use crate::store::{Observed, SeenUser};
use crate::vault::{OpenError, Place, TokenPlaintext};

/// Who is probing which connection: however many ask, one asks the provider.
#[derive(Default)]
pub struct Probes {
    flights: Mutex<HashMap<ConnectionId, Weak<Flight>>>,
}

struct Flight {
    /// What the last probe of a connection found; held while one is under way.
    last: tokio::sync::Mutex<Option<Found>>,
    /// The lane of the most urgent one who waits for it: a sweep that somebody needs waits no longer than they would.
    lane: watch::Sender<Lane>,
}

impl Default for Flight {
    fn default() -> Self {
        Self { last: tokio::sync::Mutex::default(), lane: watch::Sender::new(Lane::Sweep) }
    }
}

impl Flight {
    fn urge(&self, lane: Lane) {
        self.lane.send_if_modified(|now| {
            let is_more_urgent = lane < *now;
            *now = lane.min(*now);
            is_more_urgent
        });
    }
}

/// By which leave a probe makes its calls.
struct Asking<'a> {
    budget: &'a Budget,
    flight: &'a Flight,
    patience: Patience,
}

impl Asking<'_> {
    async fn permit(&self) -> Result<Permit> {
        let mut urged = self.flight.lane.subscribe();
        loop {
            let lane = (*urged.borrow_and_update()).min(self.patience.lane);
            tokio::select! {
                permit = self.budget.permit(Patience { lane, ..self.patience }) => return permit,
                Ok(()) = urged.changed() => {}
            }
        }
    }
}

/// What a probe found of which version, and when the provider was asked for it last.
#[derive(Clone, Copy)]
struct Found {
    version: TokenVersion,
    asked_at: Timestamp,
    finding: Finding,
}

impl Probes {
    fn flight(&self, connection: ConnectionId) -> Arc<Flight> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| flight.strong_count() > 0);
        if let Some(flight) = flights.get(&connection).and_then(Weak::upgrade) {
            return flight;
        }
        let flight = Arc::default();
        flights.insert(connection, Arc::downgrade(&flight));
        flight
    }
}

/// What a probe found, and the version as it is known now.
#[derive(Debug)]
pub(super) struct Probed {
    pub(super) finding: Finding,
    pub(super) version: Version,
    /// The user, if the provider named it.
    pub(super) user: Option<User>,
}

/// What a probe observed, and when it asked the provider last.
struct Observation {
    asked_at: Timestamp,
    finding: Finding,
    liveness: Option<Liveness>,
    user: Option<User>,
}

/// How many other live tokens serve as control before another kind of call may.
const CONTROLS_MAX: u32 = 3;

/// What one `/user` call said.
enum Word {
    Alive(User),
    Dead,
    InsufficientScope,
    /// Something is wrong with the token, but it is no proof.
    Doubtful,
    /// Says nothing about the token.
    Silence,
}

impl Services {
    /// Probes the head of a connection and notes what came of it. In a task of its own: an impatient caller shortens its own wait,
    /// not the evidence.
    ///
    /// # Errors
    /// [`Kind::ProviderBusy`] when there is no leave to ask in time: nothing is noted then.
    pub(super) async fn probe(&self, connection: ConnectionId, patience: Patience, act: &Act) -> Result<Probed> {
        let (services, act) = (self.clone(), act.clone());
        let probed = self.tasks.spawn(async move { services.probe_head(connection, patience, &act).await });
        probed.await.map_err(|_| Error::internal("a probe ended badly"))?
    }

    async fn probe_head(&self, connection: ConnectionId, patience: Patience, act: &Act) -> Result<Probed> {
        let asked_at = self.now();
        let flight = self.probes.flight(connection);
        flight.urge(patience.lane);
        let mut last = flight.last.lock().await;
        let head = self.parts.store.head(connection).await?;
        let head = head.ok_or_else(|| Error::internal("a connection without a head was probed"))?;
        // Somebody may have asked while we waited: good for the same version, if their question is younger than ours; death is final.
        if let Some(found) = last.filter(|found| found.version == head.number)
            && (found.asked_at >= asked_at || (found.finding == Finding::Dead && head.liveness == Liveness::Dead))
        {
            return Ok(Probed { finding: found.finding, version: head, user: None });
        }
        let subject = self.known(connection).await?.subject;
        let token = self.open_token(&head, &subject).await?;
        let asking = Asking { budget: &self.budget, flight: &flight, patience };
        let Observation { asked_at, finding, liveness, user } = self.find(&head, &subject, &token, &asking).await?;
        let version = match liveness {
            Some(liveness) => {
                info!(connection.id = %connection, version = %head.number, "probe found {}", liveness.as_str());
                let seen = user.as_ref().map(|user| self.seen(user));
                let observed = Observed { liveness, evidence: "probe", at: asked_at, user: seen };
                self.parts.store.record_liveness(connection, head.number, observed, act).await?
            }
            None => head,
        };
        *last = Some(Found { version: version.number, asked_at, finding });
        Ok(Probed { finding, version, user })
    }

    /// Dead is what the provider declares twice, some seconds apart, while it answers another call sensibly in between. Past the end
    /// that the provider itself set, that it does not know the token any more is as good a declaration.
    async fn find(
        &self,
        head: &Version,
        subject: &Subject,
        token: &AccessToken,
        asking: &Asking<'_>,
    ) -> Result<Observation> {
        let connection = head.connection;
        let (asked_at, word) = self.word(connection, subject, token, asking).await?;
        let is_past_its_end = !head.permanent && head.expires_at.is_some_and(|end| end.plus(END_MARGIN) < asked_at);
        let seen = |asked_at, finding, liveness| Observation { asked_at, finding, liveness, user: None };
        match word {
            Word::Alive(user) => {
                return Ok(Observation { user: Some(user), ..seen(asked_at, Finding::Alive, Some(Liveness::Live)) });
            }
            Word::InsufficientScope => {
                return Ok(seen(asked_at, Finding::InsufficientScope, Some(Liveness::InsufficientScope)));
            }
            Word::Doubtful if !is_past_its_end => {
                return Ok(seen(asked_at, Finding::Unknown, Some(Liveness::Suspect)));
            }
            Word::Silence => return Ok(seen(asked_at, Finding::Unknown, None)),
            Word::Dead | Word::Doubtful => {}
        }
        self.parts.clock.sleep(self.parts.timing.death_confirmation).await;
        if !self.control(connection, asking).await? {
            warn!(connection.id = %connection, "token said to be dead, but the control call failed too");
            return Ok(seen(asked_at, Finding::Unknown, Some(Liveness::Suspect)));
        }
        let (asked_at, word) = self.word(connection, subject, token, asking).await?;
        Ok(match word {
            Word::Dead => seen(asked_at, Finding::Dead, Some(Liveness::Dead)),
            Word::Doubtful if is_past_its_end => seen(asked_at, Finding::Dead, Some(Liveness::Dead)),
            Word::Alive(user) => {
                Observation { user: Some(user), ..seen(asked_at, Finding::Alive, Some(Liveness::Live)) }
            }
            _ => seen(asked_at, Finding::Unknown, Some(Liveness::Suspect)),
        })
    }

    /// Asks once; with the time at which the question left.
    async fn word(
        &self,
        connection: ConnectionId,
        subject: &Subject,
        token: &AccessToken,
        asking: &Asking<'_>,
    ) -> Result<(Timestamp, Word)> {
        let about = About { connection: Some(connection), ..About::default() };
        let call = self.parts.provider.by(asking.permit().await?, about);
        let asked_at = self.now();
        let word = match call.user(token).await {
            Ok(user) if user.subject == *subject => Word::Alive(user),
            Ok(_) => {
                warn!(subject = %subject, "the provider names another user for this token");
                Word::Doubtful
            }
            Err(error) => match error.signal(CallKind::User) {
                Signal::Dead => Word::Dead,
                Signal::InsufficientScope => Word::InsufficientScope,
                Signal::Suspect => Word::Doubtful,
                Signal::Throttled | Signal::Transient | Signal::NotAboutToken => Word::Silence,
            },
        };
        Ok((asked_at, word))
    }

    /// Whether the provider answers sensibly right now: another connection's token that was live lately is accepted. Where there are
    /// too few others to tell an outage from their own deaths, a second kind of call will do; not where the app owner's token stands in
    /// for them, whose word is better.
    async fn control(&self, connection: ConnectionId, asking: &Asking<'_>) -> Result<bool> {
        let others = self.parts.store.live_connections_other_than(connection, CONTROLS_MAX).await?;
        let mut owner_spoke = false;
        for other in &others {
            let Some(head) = self.parts.store.head(*other).await? else { continue };
            let known = self.known(*other).await?;
            let token = self.open_token(&head, &known.subject).await?;
            if matches!(self.word(*other, &known.subject, &token, asking).await?, (_, Word::Alive(_))) {
                return Ok(true);
            }
            owner_spoke |= self.parts.settings.has_app_owner && known.role == Role::AppOwner;
        }
        let too_few = u32::try_from(others.len()).is_ok_and(|others| others < CONTROLS_MAX);
        if !too_few || owner_spoke {
            return Ok(false);
        }
        let call = self.parts.provider.by(asking.permit().await?, About::default());
        Ok(call.app().await.is_ok_and(|app| app.state == "active"))
    }

    /// Whether the token may be permanent, for all that can be told: it is known to be, or a mail went out in which its user could have
    /// confirmed, and the user is not pending. What may be permanent is not given up as temporary (M1).
    pub(super) async fn may_be_permanent(&self, probed: &Probed) -> Result<bool> {
        let version = &probed.version;
        let is_pending = probed.user.as_ref().is_some_and(|user| standing(user) == UserStanding::Pending);
        if version.permanent || is_pending {
            return Ok(version.permanent);
        }
        Ok(self.parts.store.was_asked_to_confirm(version).await?)
    }

    /// What is kept of the user behind a token: no personal data.
    pub(super) fn seen(&self, user: &User) -> SeenUser {
        SeenUser { standing: standing(user), email_index: user.email.as_ref().map(|email| self.email_index(email)) }
    }

    async fn known(&self, connection: ConnectionId) -> Result<Connection> {
        let connection = self.parts.store.connection(connection).await?;
        connection.ok_or_else(|| Error::internal("the connection is gone"))
    }

    async fn open_token(&self, head: &Version, subject: &Subject) -> Result<AccessToken> {
        let sealed = self.parts.store.sealed(head.connection, head.number).await?;
        self.unseal(head, subject, &sealed)
    }

    /// Opens a token where it belongs: with its attempt and its subject, nowhere else.
    pub(super) fn unseal(
        &self,
        version: &Version,
        subject: &Subject,
        sealed: &crate::domain::secret::SealedBytes,
    ) -> Result<AccessToken> {
        let app = &self.parts.app;
        let place = Place::token(app.environment, &app.client_id, version.attempt, subject.as_str());
        let corrupt = |detail: &str| Error::new(Kind::DataCorrupt).because(detail);
        let plaintext = self.parts.vault.open(&place, sealed).map_err(|error| match error {
            OpenError::UnknownEpoch(epoch) => corrupt(&format!("no key for epoch {epoch}")),
            _ => corrupt("a sealed token does not open in its place"),
        })?;
        let token =
            TokenPlaintext::decode(&plaintext).map_err(|_| corrupt("a sealed token has not the form we wrote"))?;
        if token.subject != subject.as_str() {
            return Err(corrupt("a sealed token names another user"));
        }
        Ok(token.access_token)
    }
}

fn standing(user: &User) -> UserStanding {
    match user.state.as_str() {
        "pending" => UserStanding::Pending,
        "registered" => UserStanding::Registered,
        _ => UserStanding::Other,
    }
}
