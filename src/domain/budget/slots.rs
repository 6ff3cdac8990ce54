//! Whose the next slot is, decided on what all processes know in common. Pure: the store brings the facts and the database's time, and
//! writes down what comes of it.

use std::time::Duration;

use super::{Lane, Pace, SLOWDOWN_MAX};
use crate::domain::ambient::Timestamp;

/// How long before it a slot is given away, if slots are that far apart: enough to commit that, to note the intent of the call, and then
/// to wait for its time; and little enough that whoever comes in between with something more urgent waits one slot longer at most.
const LOOKAHEAD: Duration = Duration::from_millis(300);
/// Longest time between two bids of somebody who waits, so that the bid stays fresh.
const BID_EVERY: Duration = Duration::from_millis(300);
/// A bid that was not renewed for this long is nobody's any more: its process died. Three bids may be late before that.
pub const BID_FRESH: Duration = Duration::from_secs(1);
/// How soon somebody asks again whose turn it is not though the slot is free: the better one is about to take it.
const BEATEN_RETRY: Duration = Duration::from_millis(25);

/// What all processes know in common, by the database's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slots {
    /// When the next call may leave.
    pub next_at: Timestamp,
    /// By what the pace is divided…
    pub slowdown: u32,
    /// …until when.
    pub slowed_until: Timestamp,
}

/// The most urgent call that waits in a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bid {
    /// Its lane.
    pub lane: Lane,
    /// Since when it waits.
    pub since: Timestamp,
    /// How many calls wait there in all, this one included.
    pub waiting: u32,
}

/// What a bid is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The slot is yours: leave in this long. `None`: it is not, or not yet.
    pub granted: Option<Duration>,
    /// When to bid again for what still waits.
    pub ask_in: Duration,
    /// Until the first slot that nobody has.
    pub next_in: Duration,
    /// From one slot to the next, as things are.
    pub interval: Duration,
    /// How many calls wait in other processes before one of each lane, the lanes in their order.
    pub others: [u32; 4],
}

impl Slots {
    /// Decides whether the next slot goes to this bid, with the fresh bids of all others at hand. If it does, the next one moves on: from
    /// the slot, or from now if that has passed. Time that went by unused is never caught up with.
    pub fn bid(&mut self, pace: Pace, own: &Bid, others: &[Bid], now: Timestamp) -> Answer {
        self.heal(pace, now);
        let interval = pace.interval().saturating_mul(self.slowdown);
        let lookahead = LOOKAHEAD.min(interval);
        let wait = self.next_at.since(now);
        let beaten = others.iter().any(|other| (other.lane, other.since) < (own.lane, own.since));
        let granted = (wait <= lookahead && !beaten).then_some(wait);
        if granted.is_some() {
            self.next_at = self.next_at.max(now).plus(interval);
        }
        let next_in = self.next_at.since(now);
        let ask_in = match granted {
            None if wait <= lookahead => BEATEN_RETRY.min(interval),
            _ => next_in.saturating_sub(lookahead).min(BID_EVERY),
        };
        let ahead = |lane: Lane| {
            let ahead = others.iter().filter(|other| other.lane <= lane);
            ahead.fold(0_u32, |sum, other| sum.saturating_add(other.waiting))
        };
        Answer { granted, ask_in, next_in, interval, others: Lane::ALL.map(ahead) }
    }

    /// A call left that much later than its slot: those behind it follow later, too, since what the provider counts is arrivals. The next
    /// ones would otherwise be closer to it than the pace allows.
    pub fn delayed(&mut self, pace: Pace, by: Duration, now: Timestamp) {
        self.heal(pace, now);
        self.next_at = self.next_at.max(now).plus(by.min(pace.window()));
    }

    /// The provider said that there were too many calls: nothing leaves for a whole window, and the pace is halved for a while. Calls that
    /// were under way at the same time say nothing new.
    pub fn throttled(&mut self, pace: Pace, now: Timestamp) {
        self.heal(pace, now);
        let pause = now.plus(pace.window());
        let is_news = self.slowed_until.plus(pace.window()) < now.plus(pace.slow_for());
        if is_news {
            self.slowdown = self.slowdown.saturating_mul(2).min(SLOWDOWN_MAX);
        }
        self.slowed_until = now.plus(pace.slow_for());
        self.next_at = self.next_at.max(pause);
    }

    /// Forgets what is over, and what cannot be: a database whose clock was set back must not stop all calls until it is that late again.
    fn heal(&mut self, pace: Pace, now: Timestamp) {
        let slowed = self.slowed_until > now && self.slowed_until <= now.plus(pace.slow_for());
        if !slowed {
            (self.slowdown, self.slowed_until) = (1, now);
        }
        let furthest = pace.interval().saturating_mul(SLOWDOWN_MAX).max(pace.window()).saturating_add(LOOKAHEAD);
        if self.next_at > now.plus(furthest) {
            self.next_at = now.plus(pace.window());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::budget::WINDOW;

    const PACE: fn() -> Pace = || Pace::new(30, WINDOW);

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000 + millis * 1_000)
    }

    fn bid(lane: Lane, since: i64) -> Bid {
        Bid { lane, since: at(since), waiting: 1 }
    }

    fn fresh() -> Slots {
        Slots { next_at: Timestamp::default(), slowdown: 1, slowed_until: Timestamp::default() }
    }

    #[test]
    fn slots_are_an_interval_apart_and_unused_time_is_not_caught_up_with() {
        let mut slots = fresh();
        let own = bid(Lane::Merchant, 0);
        assert_eq!(slots.bid(PACE(), &own, &[], at(0)).granted, Some(Duration::ZERO));
        let later = slots.bid(PACE(), &own, &[], at(1));
        assert_eq!(
            (later.granted, later.next_in, later.interval),
            (None, Duration::from_micros(342_333), PACE().interval())
        );
        assert_eq!(slots.bid(PACE(), &own, &[], at(244)).granted, Some(Duration::from_micros(99_333)));
        // Nobody asked for a minute: one slot, and then again an interval.
        assert_eq!(slots.bid(PACE(), &own, &[], at(60_000)).granted, Some(Duration::ZERO));
        assert_eq!(slots.bid(PACE(), &own, &[], at(60_001)).granted, None);
        assert_eq!(slots.next_at, at(60_000).plus(PACE().interval()));
    }

    #[test]
    fn the_lower_lane_goes_first_and_within_a_lane_who_waits_longer() {
        for (own, other, wins) in [
            (bid(Lane::Exchange, 9), bid(Lane::Merchant, 0), true),
            (bid(Lane::Sweep, 0), bid(Lane::Account, 9), false),
            (bid(Lane::Merchant, 5), bid(Lane::Merchant, 6), true),
            (bid(Lane::Merchant, 6), bid(Lane::Merchant, 5), false),
            (bid(Lane::Merchant, 5), bid(Lane::Merchant, 5), true),
        ] {
            let answer = fresh().bid(PACE(), &own, &[other], at(10));
            assert_eq!(answer.granted.is_some(), wins, "{own:?} {other:?}");
            assert!(wins || answer.ask_in == BEATEN_RETRY);
        }
    }

    #[test]
    fn who_waits_bids_again_before_the_bid_is_stale_and_in_time_for_the_slot() {
        let pace = Pace::new(1, WINDOW);
        let mut slots = fresh();
        let own = bid(Lane::Sweep, 0);
        assert!(slots.bid(pace, &own, &[], at(0)).granted.is_some());
        assert_eq!(slots.bid(pace, &own, &[], at(1)).ask_in, BID_EVERY);
        assert_eq!(slots.bid(pace, &own, &[], at(9_900)).ask_in, Duration::from_millis(100));
        assert!(BID_EVERY * 3 < BID_FRESH);
    }

    #[test]
    fn the_others_that_go_first_are_counted_by_lane() {
        let others = [Bid { waiting: 3, ..bid(Lane::Exchange, 0) }, Bid { waiting: 5, ..bid(Lane::Account, 0) }];
        assert_eq!(fresh().bid(PACE(), &bid(Lane::Merchant, 0), &others, at(9)).others, [3, 3, 8, 8]);
    }

    #[test]
    fn a_throttled_call_stops_all_for_a_window_and_halves_the_pace_for_a_minute() {
        let mut slots = fresh();
        let own = bid(Lane::Exchange, 0);
        slots.throttled(PACE(), at(0));
        // Those that were under way say nothing new.
        slots.throttled(PACE(), at(300));
        assert_eq!((slots.slowdown, slots.next_at), (2, at(10_300)));
        assert_eq!(slots.bid(PACE(), &own, &[], at(9_900)).granted, None);
        let answer = slots.bid(PACE(), &own, &[], at(10_200));
        assert_eq!((answer.granted, answer.interval), (Some(Duration::from_millis(100)), PACE().interval() * 2));
        for (second, slowdown) in [(20, 4), (40, 8), (60, 8)] {
            slots.throttled(PACE(), at(second * 1_000));
            assert_eq!(slots.slowdown, slowdown);
        }
        let answer = slots.bid(PACE(), &own, &[], at(119_000));
        assert_eq!(answer.interval, PACE().interval() * 8);
        let answer = slots.bid(PACE(), &own, &[], at(120_001));
        assert_eq!((answer.interval, slots.slowdown), (PACE().interval(), 1));
    }

    #[test]
    fn those_behind_a_call_that_left_late_follow_later() {
        let mut slots = fresh();
        let own = bid(Lane::Merchant, 0);
        assert!(slots.bid(PACE(), &own, &[], at(0)).granted.is_some());
        let next_at = slots.next_at;
        slots.delayed(PACE(), Duration::from_millis(500), at(500));
        assert_eq!(slots.next_at, at(500).max(next_at).plus(Duration::from_millis(500)));
        slots.delayed(PACE(), WINDOW * 100, at(501));
        assert!(slots.next_at < at(501).plus(WINDOW * 2), "not for ever");
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_stop_the_calls_for_long() {
        let mut slots = Slots { next_at: at(3_600_000), slowdown: 8, slowed_until: at(3_600_000) };
        let answer = slots.bid(PACE(), &bid(Lane::Merchant, 0), &[], at(0));
        assert_eq!((answer.granted, answer.next_in, answer.interval), (None, WINDOW, PACE().interval()));
    }
}
