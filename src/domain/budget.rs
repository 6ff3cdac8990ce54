//! The budget of calls to the provider: who goes first, how fast, and the leave to make one call.
//!
//! The provider counts the calls of an app, 30 in 10 seconds (`docs/provider.md` §2), whichever process makes them and whatever else the
//! platform calls with the same credentials. So calls are paced: one for each interval, never a burst, and never more to make up for
//! time that went by unused.

mod slots;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub use slots::{Answer, BID_FRESH, Bid, Slots};

/// What the provider lets an app do in one [`WINDOW`]: 30 calls (`docs/provider.md` §2).
pub const CALLS_MAX: u32 = 30;
/// The window in which it counts them.
pub const WINDOW: Duration = Duration::from_secs(10);
/// Our share unless configured: a third, for the platform's other services call in the app's name, too.
pub const SHARE: u32 = 10;
/// By how much a window is stretched, in hundredths: 300 ms of ten seconds. What counts is when calls *arrive*. Thirty calls that leave
/// exactly a thirtieth of the window apart are one too many as soon as one is late and the thirtieth after it is not. Stretched, they may
/// be late by that much in all, and 291 calls fit in a hundred seconds.
const GUARD_PERCENT: u32 = 3;
/// How late a call may leave for its slot: half of what a window is stretched by, the other half is the network's. Not divided with a
/// window that is: machines are no faster for it.
pub const LATE_MAX: Duration = Duration::from_millis(150);
/// Most that the pace is slowed down when the provider says that it is too fast.
pub const SLOWDOWN_MAX: u32 = 8;
/// For how many windows it stays slowed down: a minute of ten seconds each.
const SLOW_WINDOWS: u32 = 6;

/// Who goes first: a lower lane's calls leave before any of a higher one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Lane {
    /// The exchange of a code, and what its gate must know first: the code dies, and a person waits in a browser.
    Exchange,
    /// What a caller waits for: registrations, confirmation mails, probes.
    Merchant,
    /// Payment accounts.
    Account,
    /// What nobody waits for: recovery, looks at heads, the app owner.
    Sweep,
}

impl Lane {
    /// Every lane, the first to go first.
    pub const ALL: [Self; 4] = [Self::Exchange, Self::Merchant, Self::Account, Self::Sweep];

    /// Its place among the lanes, from zero.
    pub const fn rank(self) -> usize {
        match self {
            Self::Exchange => 0,
            Self::Merchant => 1,
            Self::Account => 2,
            Self::Sweep => 3,
        }
    }
}

/// How many calls may be made in how long a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    share: u32,
    window: Duration,
}

impl Pace {
    /// So many calls (1 to [`CALLS_MAX`]; what is outside counts as the nearest) in such a window.
    pub fn new(share: u32, window: Duration) -> Self {
        Self { share: share.clamp(1, CALLS_MAX), window }
    }

    /// The same window with another share.
    #[must_use]
    pub fn with_share(self, share: u32) -> Self {
        Self::new(share, self.window)
    }

    /// Calls in a window.
    pub const fn share(self) -> u32 {
        self.share
    }

    /// The window.
    pub const fn window(self) -> Duration {
        self.window
    }

    /// From one call to the next.
    pub fn interval(self) -> Duration {
        self.window.saturating_add(self.guard()).checked_div(self.share).unwrap_or(self.window)
    }

    /// How long the pace stays slowed down after the provider said that it was too fast.
    pub const fn slow_for(self) -> Duration {
        self.window.saturating_mul(SLOW_WINDOWS)
    }

    const fn guard(self) -> Duration {
        match self.window.saturating_mul(GUARD_PERCENT).checked_div(100) {
            Some(guard) => guard,
            None => self.window,
        }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::new(SHARE, WINDOW)
    }
}

/// The time at which a call may leave, given away by the budget.
pub trait Slot: Send + Sync {
    /// Resolves when it has come.
    fn due(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// The provider refused the call because there were too many.
    fn throttled(&self);
}

/// Leave to make one call to the provider, when its slot is due. It is used up by the call.
pub struct Permit(Option<Arc<dyn Slot>>);

impl Permit {
    /// A permit for this slot of the budget, which hears of it if the call is throttled.
    pub fn of(slot: Arc<dyn Slot>) -> Self {
        Self(Some(slot))
    }

    /// A person at a shell makes one call outside any budget: `doctor`, which must work where no database can be opened.
    pub const fn by_hand() -> Self {
        Self(None)
    }

    /// Waits until the call may leave: the last thing before it does, so that calls arrive as far apart as their slots are, whatever each
    /// still had to do.
    pub async fn due(&self) {
        if let Some(slot) = &self.0 {
            slot.due().await;
        }
    }

    /// Tells the budget that the call was throttled.
    pub fn throttled(&self) {
        if let Some(slot) = &self.0 {
            slot.throttled();
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirty_calls_and_one_more_take_longer_than_a_window_though_the_last_comes_early() {
        for share in 1..=CALLS_MAX {
            let pace = Pace::new(share, WINDOW);
            let interval = pace.interval();
            assert!(interval * share >= WINDOW + 2 * LATE_MAX - Duration::from_micros(1), "{share}");
            assert!(interval * share < WINDOW + Duration::from_millis(301), "{share}");
        }
        let in_a_hundred_seconds = Duration::from_secs(100).as_micros() / Pace::new(30, WINDOW).interval().as_micros();
        assert_eq!(in_a_hundred_seconds, 291);
    }

    #[test]
    fn a_share_is_one_to_thirty() {
        assert_eq!((Pace::new(0, WINDOW).share(), Pace::new(31, WINDOW).share()), (1, 30));
        assert_eq!(Pace::default().interval(), Duration::from_millis(1_030));
        assert_eq!(Pace::default().with_share(20).interval(), Duration::from_millis(515));
        assert_eq!(Pace::default().slow_for(), Duration::from_secs(60));
    }

    #[test]
    fn the_lanes_are_ranked_as_they_stand() {
        assert!(Lane::ALL.is_sorted());
        assert_eq!(Lane::ALL.map(Lane::rank), [0, 1, 2, 3]);
    }
}
