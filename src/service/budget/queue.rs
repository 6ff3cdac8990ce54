//! Who waits for a call in this process: by lane, and within a lane the longest first.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::budget::Lane;

/// A place in the queue, by which its holder leaves it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    lane: Lane,
    number: u64,
}

struct Entry<T> {
    number: u64,
    since: Instant,
    until: Instant,
    waiter: T,
}

/// The most urgent one that waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Front {
    pub(super) lane: Lane,
    pub(super) since: Instant,
}

/// Everybody who waits.
pub(super) struct Queue<T> {
    lanes: [VecDeque<Entry<T>>; 4],
    numbers: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { lanes: std::array::from_fn(|_| VecDeque::new()), numbers: 0 }
    }
}

impl<T> Queue<T> {
    /// How many wait in this lane.
    pub(super) fn waiting_in(&self, lane: Lane) -> usize {
        self.lanes.get(lane.rank()).map_or(0, VecDeque::len)
    }

    /// How many wait in all.
    pub(super) fn len(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum()
    }

    /// How many leave before somebody who comes into this lane now.
    pub(super) fn before(&self, lane: Lane) -> usize {
        self.lanes.iter().take(lane.rank().saturating_add(1)).map(VecDeque::len).sum()
    }

    /// Lets somebody wait who has waited since then, and can wait until then.
    pub(super) fn join(&mut self, lane: Lane, since: Instant, until: Instant, waiter: T) -> Place {
        let number = self.numbers;
        self.numbers = number.wrapping_add(1);
        if let Some(queue) = self.lanes.get_mut(lane.rank()) {
            let at = queue.partition_point(|entry| entry.since <= since);
            queue.insert(at, Entry { number, since, until, waiter });
        }
        Place { lane, number }
    }

    /// Somebody waits no longer.
    pub(super) fn leave(&mut self, place: Place) {
        if let Some(queue) = self.lanes.get_mut(place.lane.rank()) {
            queue.retain(|entry| entry.number != place.number);
        }
    }

    /// Who is the most urgent.
    pub(super) fn front(&self) -> Option<Front> {
        Lane::ALL.into_iter().zip(&self.lanes).find_map(|(lane, queue)| {
            let entry = queue.front()?;
            Some(Front { lane, since: entry.since })
        })
    }

    /// Takes the most urgent one out.
    pub(super) fn take(&mut self) -> Option<T> {
        self.lanes.iter_mut().find_map(VecDeque::pop_front).map(|entry| entry.waiter)
    }

    /// Takes everybody of a lane out.
    pub(super) fn empty(&mut self, lane: Lane) -> Vec<T> {
        let queue = self.lanes.get_mut(lane.rank());
        queue.map(|queue| queue.drain(..).map(|entry| entry.waiter).collect()).unwrap_or_default()
    }

    /// Takes those out who would wait in vain: the first leaves at `next`, each further one an interval later. With the time they would
    /// have had to wait from `now` on.
    pub(super) fn take_hopeless(&mut self, now: Instant, next: Instant, interval: Duration) -> Vec<(T, Duration)> {
        let mut hopeless = Vec::new();
        let mut leaves = next;
        for queue in &mut self.lanes {
            for entry in std::mem::take(queue) {
                if entry.until < leaves {
                    hopeless.push((entry.waiter, leaves.saturating_duration_since(now)));
                } else {
                    leaves = leaves.checked_add(interval).unwrap_or(leaves);
                    queue.push_back(entry);
                }
            }
        }
        hopeless
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn queue(now: Instant, waiters: &[(Lane, u32, u32, &'static str)]) -> Queue<&'static str> {
        let mut queue = Queue::default();
        for (lane, since, until, name) in waiters {
            queue.join(*lane, now + *since * SECOND, now + *until * SECOND, *name);
        }
        queue
    }

    fn names(queue: &mut Queue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.take()).collect()
    }

    #[tokio::test]
    async fn lower_lanes_leave_first_and_within_a_lane_who_has_waited_longest() {
        let now = Instant::now();
        let mut queue = queue(
            now,
            &[
                (Lane::Sweep, 0, 9, "sweep"),
                (Lane::Merchant, 2, 9, "later"),
                (Lane::Merchant, 1, 9, "sooner"),
                (Lane::Exchange, 3, 9, "exchange"),
                (Lane::Merchant, 2, 9, "last"),
            ],
        );
        assert_eq!((queue.len(), queue.before(Lane::Exchange), queue.before(Lane::Merchant)), (5, 1, 4));
        assert_eq!(queue.front(), Some(Front { lane: Lane::Exchange, since: now + 3 * SECOND }));
        assert_eq!(names(&mut queue), ["exchange", "sooner", "later", "last", "sweep"]);
        assert_eq!((queue.front(), queue.len()), (None, 0));
    }

    #[tokio::test]
    async fn who_leaves_is_gone_and_nobody_else() {
        let now = Instant::now();
        let mut queue = queue(now, &[(Lane::Merchant, 0, 9, "first")]);
        let place = queue.join(Lane::Merchant, now, now, "second");
        queue.join(Lane::Merchant, now, now, "third");
        queue.leave(place);
        queue.leave(place);
        assert_eq!((queue.waiting_in(Lane::Merchant), queue.empty(Lane::Sweep).len()), (2, 0));
        assert_eq!(queue.empty(Lane::Merchant), ["first", "third"]);
    }

    #[tokio::test]
    async fn who_would_wait_in_vain_is_found_and_holds_up_nobody() {
        let now = Instant::now();
        let mut queue = queue(
            now,
            &[
                (Lane::Exchange, 0, 0, "too late"),
                (Lane::Merchant, 0, 1, "just so"),
                (Lane::Merchant, 1, 1, "one too far"),
                (Lane::Sweep, 0, 3, "patient"),
            ],
        );
        let hopeless = queue.take_hopeless(now, now + SECOND, SECOND);
        assert_eq!(hopeless, [("too late", SECOND), ("one too far", 2 * SECOND)]);
        assert_eq!(names(&mut queue), ["just so", "patient"]);
    }
}
