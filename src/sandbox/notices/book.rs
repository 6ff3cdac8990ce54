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
pub(in crate::sandbox) enum NoticeChange {
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

/// All notices.
#[derive(Clone, Default)]
pub(in crate::sandbox) struct Book {
    notices: BTreeMap<u64, Notice>,
    /// When those that wait and are not held are due.
    due: BTreeSet<(i64, u64)>,
    /// Released ones, each waiting for the answer to the one before.
    line: VecDeque<u64>,
    /// Those asked for.
    requested: Vec<u64>,
}

impl Book {
    /// Takes in a change. Changes of unknown notices change nothing.
    pub(in crate::sandbox) fn apply(&mut self, change: NoticeChange) {
        match change {
            NoticeChange::Queued(notice) => {
                self.insert(*notice);
                self.forget_oldest();
            }
            NoticeChange::Moved { notice_id, standing } => self.stand(notice_id, standing),
            NoticeChange::Requested { notice_id } => self.requested.push(notice_id),
            NoticeChange::Released { notice_ids } => self.line.extend(notice_ids),
            NoticeChange::Tried { notice_id, attempt, standing } => {
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

    /// Changes that lead from nothing to this book.
    pub(in crate::sandbox) fn history(&self) -> impl Iterator<Item = NoticeChange> {
        let queued = self.notices.values().map(|notice| NoticeChange::Queued(Box::new(notice.clone())));
        let released =
            (!self.line.is_empty()).then(|| NoticeChange::Released { notice_ids: self.line.iter().copied().collect() });
        let requested = self.requested.iter().map(|notice_id| NoticeChange::Requested { notice_id: *notice_id });
        queued.chain(released).chain(requested)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::notices::record::Kind;

    fn notice(notice_id: u64, standing: Standing) -> NoticeChange {
        NoticeChange::Queued(Box::new(Notice {
            notice_id,
            client_id: 1,
            kind: Kind::User,
            object_id: 2,
            uri: "http://127.0.0.1/".to_owned(),
            body: "user_id=2".to_owned(),
            queued_at_us: 0,
            standing,
            tries: Vec::new(),
        }))
    }

    const fn waiting(due_us: i64, is_held: bool) -> Standing {
        Standing::Waiting { retry: 0, due_us, is_held }
    }

    fn due(book: &Book, now: i64) -> Vec<u64> {
        book.due(Timestamp::from_micros(now)).map(|notice| notice.notice_id).collect()
    }

    #[test]
    fn what_waits_is_due_in_order_and_what_is_held_is_not() {
        let mut book = Book::default();
        for change in [notice(1, waiting(30, false)), notice(2, waiting(10, false)), notice(3, waiting(5, true))] {
            book.apply(change);
        }
        assert_eq!((due(&book, 9), due(&book, 10), due(&book, 99)), (vec![], vec![2], vec![2, 1]));
        assert_eq!(book.next_due(Timestamp::from_micros(10)), Some(Timestamp::from_micros(30)));
        assert_eq!((book.held(), book.next_id()), (vec![3], 4));
        book.apply(NoticeChange::Moved { notice_id: 2, standing: Standing::Delivered });
        book.apply(NoticeChange::Moved { notice_id: 99, standing: Standing::Delivered });
        assert_eq!((due(&book, 99), book.next_due(Timestamp::from_micros(30))), (vec![1], None));
    }

    #[test]
    fn a_history_leads_to_the_same_book() {
        let mut book = Book::default();
        let at_front = Try { at_us: 7, source: Source::Release, status: Some(500), error: None };
        for change in [
            notice(1, waiting(30, true)),
            notice(2, waiting(10, true)),
            notice(3, Standing::NotSent { reason: "elsewhere".to_owned() }),
            NoticeChange::Released { notice_ids: vec![2, 1, 2] },
            NoticeChange::Requested { notice_id: 1 },
            NoticeChange::Tried { notice_id: 2, attempt: at_front, standing: waiting(40, false) },
        ] {
            book.apply(change);
        }
        let mut again = Book::default();
        book.history().for_each(|change| again.apply(change));
        let shown = |book: &Book| {
            let text = serde_json::to_string(&book.history().collect::<Vec<_>>()).unwrap();
            let requested = book.requested().map(|notice| notice.notice_id).collect::<Vec<_>>();
            (text, due(book, 99), book.line.clone(), requested)
        };
        assert_eq!(shown(&again), shown(&book));
        assert_eq!((due(&again, 99), again.line, again.requested), (vec![2], VecDeque::from([1, 2]), vec![1]));
        let text = serde_json::to_string(&book.history().collect::<Vec<_>>()).unwrap();
        assert_eq!(serde_json::from_str::<Vec<NoticeChange>>(&text).unwrap().len(), 5);
    }

    #[test]
    fn the_oldest_are_forgotten_when_nothing_becomes_of_them_any_more() {
        let mut book = Book::default();
        let most = u64::try_from(KEPT_MAX).unwrap();
        for notice_id in 1..=most + 2 {
            let standing = if notice_id == 2 { waiting(1, false) } else { Standing::GivenUp };
            book.apply(notice(notice_id, standing));
        }
        assert!(book.notice(1).is_none() && book.notice(2).is_some() && book.notice(3).is_some());
        assert_eq!(book.next_id(), most + 3);
        book.apply(NoticeChange::Moved { notice_id: 2, standing: Standing::Delivered });
        book.apply(notice(most + 3, Standing::GivenUp));
        assert!(book.notice(2).is_none() && book.notice(3).is_none() && book.notice(4).is_some());
    }
}
