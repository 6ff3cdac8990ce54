//! All notices, and which of them is to be sent when.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::record::{Notice, Source, Standing, Try};
use crate::domain::ambient::Timestamp;

/// Most notices that are kept: far more than any test sends. Beyond it the oldest go, as far as nothing becomes of them any
/// more.
const KEPT_MAX: usize = 100_000;

/// Something that happened to a notice.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub(in crate::sandbox) enum Change {
    /// It was caused.
    Queued(Box<Notice>),
    /// It stands otherwise now, without having been sent.
    Moved { notice_id: u64, standing: Standing },
    /// It shall be sent at once, whatever else becomes of it.
    Requested { notice_id: u64 },
    /// These shall be sent one after the other.
    Released { notice_ids: Vec<u64> },
    /// It was sent, or could not be.
    Tried { notice_id: u64, attempt: Try, standing: Standing },
}

/// All notices. Its stored form is the plain lists.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub(in crate::sandbox) struct Book {
    notices: BTreeMap<u64, Notice>,
    /// When those that wait and are not held are due.
    due: BTreeSet<(i64, u64)>,
    /// Released ones, each waiting for the answer to the one before.
    line: VecDeque<u64>,
    /// Those asked for.
    requested: Vec<u64>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    notices: Vec<Notice>,
    line: VecDeque<u64>,
    requested: Vec<u64>,
}

impl From<Stored> for Book {
    fn from(stored: Stored) -> Self {
        let mut book = Self { line: stored.line, requested: stored.requested, ..Self::default() };
        for notice in stored.notices {
            book.insert(notice);
        }
        book
    }
}

impl From<Book> for Stored {
    fn from(book: Book) -> Self {
        Self { notices: book.notices.into_values().collect(), line: book.line, requested: book.requested }
    }
}

impl Book {
    /// Takes in a change. Changes of unknown notices change nothing.
    pub(in crate::sandbox) fn apply(&mut self, change: Change) {
        match change {
            Change::Queued(notice) => {
                self.insert(*notice);
                self.forget_oldest();
            }
            Change::Moved { notice_id, standing } => self.stand(notice_id, standing),
            Change::Requested { notice_id } => self.requested.push(notice_id),
            Change::Released { notice_ids } => self.line.extend(notice_ids),
            Change::Tried { notice_id, attempt, standing } => {
                match attempt.source {
                    Source::Schedule => {}
                    Source::Release => drop(first(&self.line, notice_id).and_then(|place| self.line.remove(place))),
                    Source::Request => {
                        if let Some(place) = self.requested.iter().position(|id| *id == notice_id) {
                            self.requested.remove(place);
                        }
                    }
                }
                if let Some(notice) = self.notices.get_mut(&notice_id) {
                    notice.tries.push(attempt);
                }
                self.stand(notice_id, standing);
            }
        }
    }

    /// The id of the next notice.
    pub(in crate::sandbox) fn next_id(&self) -> u64 {
        self.notices.last_key_value().map_or(1, |(last, _)| last.saturating_add(1))
    }

    /// A notice by its id.
    pub(in crate::sandbox) fn notice(&self, notice_id: u64) -> Option<&Notice> {
        self.notices.get(&notice_id)
    }

    /// The notices after this id, oldest first.
    pub(in crate::sandbox) fn after(&self, notice_id: u64) -> impl Iterator<Item = &Notice> {
        self.notices.range(notice_id.saturating_add(1)..).map(|(_, notice)| notice)
    }

    /// Those that are held and not released, oldest first.
    pub(in crate::sandbox) fn held(&self) -> Vec<u64> {
        let released = self.released();
        let is_held = |notice: &&Notice| matches!(notice.standing, Standing::Waiting { is_held: true, .. });
        let held = self.notices.values().filter(is_held).map(|notice| notice.notice_id);
        held.filter(|notice_id| !released.contains(notice_id)).collect()
    }

    /// Those that were released and are not sent yet.
    pub(in crate::sandbox) fn released(&self) -> HashSet<u64> {
        self.line.iter().copied().collect()
    }

    /// Those that are due, in that order.
    pub(super) fn due(&self, now: Timestamp) -> impl Iterator<Item = &Notice> {
        self.due.range(..=(now.as_micros(), u64::MAX)).filter_map(|(_, notice_id)| self.notice(*notice_id))
    }

    /// When the next one is due that is not yet.
    pub(super) fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let later = (now.as_micros().saturating_add(1), 0);
        self.due.range(later..).next().map(|(due_us, _)| Timestamp::from_micros(*due_us))
    }

    /// The released one whose turn it is.
    pub(super) fn next_released(&self) -> Option<&Notice> {
        self.line.iter().find_map(|notice_id| self.notice(*notice_id))
    }

    /// Those asked for.
    pub(super) fn requested(&self) -> impl Iterator<Item = &Notice> {
        self.requested.iter().filter_map(|notice_id| self.notice(*notice_id))
    }

    fn insert(&mut self, notice: Notice) {
        let (notice_id, standing) = (notice.notice_id, notice.standing.clone());
        self.notices.insert(notice_id, notice);
        self.stand(notice_id, standing);
    }

    fn stand(&mut self, notice_id: u64, standing: Standing) {
        let Some(notice) = self.notices.get_mut(&notice_id) else { return };
        if let Standing::Waiting { due_us, .. } = notice.standing {
            self.due.remove(&(due_us, notice_id));
        }
        if let Standing::Waiting { due_us, is_held: false, .. } = standing {
            self.due.insert((due_us, notice_id));
        }
        notice.standing = standing;
    }

    fn forget_oldest(&mut self) {
        while self.notices.len() > KEPT_MAX {
            match self.notices.first_entry() {
                Some(oldest) if !matches!(oldest.get().standing, Standing::Waiting { .. }) => drop(oldest.remove()),
                _ => return,
            }
        }
    }
}

fn first(line: &VecDeque<u64>, notice_id: u64) -> Option<usize> {
    line.iter().position(|id| *id == notice_id)
}
