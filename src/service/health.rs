//! Whether this process should get traffic, and if not, why. Looked at once a second, whoever asks and however often; told to the
//! prober of the ops listener and to gRPC clients alike.

use std::fmt;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{info, warn};

use super::Services;
use crate::store::{self, ClockOffset};

/// Between two looks: short against what a prober waits (Kubernetes: 10 s), and two small statements a second are nothing to a database.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// After so long without an answer the database counts as silent, until it has answered.
const LOOK_DEADLINE: Duration = Duration::from_secs(2);
/// How far our clock and the database's may be apart. Processes agree by the database's clock who does what until when, and records of one
/// trail are ordered by it to this accuracy; an orderly time service keeps milliseconds.
const APART_MAX: Duration = Duration::from_secs(1);

/// Why a process should get no traffic. Its text is one line, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Hindrance {
    /// Not all listeners are open yet.
    Starting,
    /// It was told to end.
    Ending,
    /// Nobody writes the audit: nothing could be released.
    AuditGone,
    /// The database does not answer in time.
    DatabaseSilent,
    /// The database cannot be used, or its schema not by this build: the class of the error.
    Database(String),
    /// Our clock is too far from the database's.
    Clock(ClockOffset),
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("process is starting"),
            Self::Ending => f.write_str("process is ending"),
            Self::AuditGone => f.write_str("audit writer is gone"),
            Self::DatabaseSilent => write!(f, "database did not answer within {} s", LOOK_DEADLINE.as_secs()),
            Self::Database(why) => f.write_str(why),
            Self::Clock(offset) => {
                let apart = Duration::from_micros(offset.ahead_us.unsigned_abs()).as_secs_f64();
                let side = if offset.ahead_us < 0 { "behind" } else { "ahead of" };
                write!(f, "clock is {apart:.1} s {side} the database's")
            }
        }
    }
}

/// Where the process is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Starting,
    Serving,
    Ending,
}

/// What is known of the process's health.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    stage: Stage,
    found: Vec<Hindrance>,
}

impl Standing {
    /// Whether it should get traffic.
    pub fn is_ready(&self) -> bool {
        self.stage == Stage::Serving && self.found.is_empty()
    }

    /// Why not; empty when it should.
    pub fn hindrances(&self) -> Vec<Hindrance> {
        let stage = match self.stage {
            Stage::Starting => Some(Hindrance::Starting),
            Stage::Serving => None,
            Stage::Ending => Some(Hindrance::Ending),
        };
        stage.into_iter().chain(self.found.iter().cloned()).collect()
    }
}

/// The health of the process: kept by [`Services::keep_looking_at_health`], and by whoever starts and ends it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Health(watch::Sender<Standing>);

impl Default for Health {
    fn default() -> Self {
        Self(watch::Sender::new(Standing { stage: Stage::Starting, found: Vec::new() }))
    }
}

impl Health {
    /// From here on the process takes calls.
    pub fn begin(&self) {
        self.0.send_modify(|standing| standing.stage = Stage::Serving);
    }

    /// From here on it should get none, though it may still take some.
    pub fn end(&self) {
        self.0.send_modify(|standing| standing.stage = Stage::Ending);
    }

    /// What is known now, and every change of it.
    pub fn watch(&self) -> watch::Receiver<Standing> {
        self.0.subscribe()
    }

    fn tell(&self, found: Vec<Hindrance>) {
        self.0.send_if_modified(|standing| {
            // A clock that drifts is the same news every time.
            let is_news = found.len() != standing.found.len() || found.iter().zip(&standing.found).any(differ);
            if is_news {
                log(&found);
            }
            let changed = found != standing.found;
            standing.found = found;
            changed
        });
    }
}

fn differ((one, other): (&Hindrance, &Hindrance)) -> bool {
    !matches!((one, other), (Hindrance::Clock(_), Hindrance::Clock(_))) && one != other
}

fn log(found: &[Hindrance]) {
    if found.is_empty() {
        info!("healthy again");
    }
    for hindrance in found {
        warn!("not ready: {hindrance}");
    }
}

impl Services {
    /// Looks at what the process needs, once.
    pub async fn look_at_health(&self, health: &Health) {
        let audit = || (!self.parts.auditor.is_open()).then_some(Hindrance::AuditGone).into_iter();
        let mut database = pin!(self.look_at_database());
        // The machine's own time: an adjusted clock must not make a database late.
        let found = match tokio::time::timeout(LOOK_DEADLINE, &mut database).await {
            Ok(found) => found,
            Err(_) => {
                health.tell(audit().chain([Hindrance::DatabaseSilent]).collect());
                // Not broken off: the store's own limits end it, and see to the connection.
                database.await
            }
        };
        health.tell(audit().chain(found).collect());
    }

    /// Looks again and again.
    pub async fn keep_looking_at_health(&self, health: &Health) {
        loop {
            self.look_at_health(health).await;
            self.parts.clock.sleep(LOOK_INTERVAL).await;
        }
    }

    async fn look_at_database(&self) -> Option<Hindrance> {
        match self.ask_database().await {
            Ok(offset) if offset.at_least() > APART_MAX => Some(Hindrance::Clock(offset)),
            Ok(_) => None,
            Err(error) => Some(Hindrance::Database(error.to_string())),
        }
    }

    async fn ask_database(&self) -> Result<ClockOffset, store::Error> {
        self.parts.store.check_schema().await?;
        self.parts.store.clock_offset().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(seconds: i64) -> Hindrance {
        Hindrance::Clock(ClockOffset { ahead_us: seconds * 1_000_000, uncertainty: Duration::ZERO })
    }

    #[test]
    fn every_reason_is_one_line_that_says_what_is_wrong() {
        let database = Hindrance::Database("database is unavailable (code io)".to_owned());
        for (hindrance, line) in [
            (Hindrance::Starting, "process is starting"),
            (Hindrance::Ending, "process is ending"),
            (Hindrance::AuditGone, "audit writer is gone"),
            (Hindrance::DatabaseSilent, "database did not answer within 2 s"),
            (database, "database is unavailable (code io)"),
            (apart(-2), "clock is 2.0 s behind the database's"),
            (apart(90), "clock is 90.0 s ahead of the database's"),
        ] {
            assert_eq!(hindrance.to_string(), line);
        }
    }

    #[test]
    fn a_process_is_ready_while_it_serves_and_nothing_hinders() {
        let health = Health::default();
        let told = health.watch();
        assert_eq!(told.borrow().hindrances(), [Hindrance::Starting]);
        health.begin();
        assert!(told.borrow().is_ready());
        health.tell(vec![Hindrance::AuditGone, apart(3)]);
        assert!(!told.borrow().is_ready());
        assert_eq!(told.borrow().hindrances(), [Hindrance::AuditGone, apart(3)]);
        health.tell(Vec::new());
        assert!(told.borrow().is_ready());
        health.end();
        assert_eq!(told.borrow().hindrances(), [Hindrance::Ending]);
    }

    #[test]
    fn only_a_change_is_news() {
        let health = Health::default();
        health.begin();
        let mut told = health.watch();
        told.mark_unchanged();
        health.tell(Vec::new());
        assert!(!told.has_changed().unwrap());
        health.tell(vec![apart(2)]);
        assert!(told.has_changed().unwrap());
        assert!(differ((&Hindrance::AuditGone, &apart(2))) && !differ((&apart(3), &apart(2))));
    }
}
