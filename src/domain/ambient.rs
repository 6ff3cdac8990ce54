//! Time and randomness: the crate's only two seams to the world outside its arguments.
//!
//! Everything that needs the time or a random byte takes a [`Clock`] or an [`Entropy`]; `clippy.toml` bans the ambient
//! functions everywhere else. `demo`, `dev` and the tests hand one [`AdjustableClock`] to product and sandbox alike.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::watch;

/// A point in time: microseconds since 1970-01-01T00:00:00Z, the one form in which time is stored, signed and compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(i64);

const MICROS_PER_SECOND: i64 = 1_000_000;

impl Timestamp {
    /// The timestamp that many microseconds after (or before) 1970.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The timestamp of a Unix time in seconds; saturates at the ends of the range.
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(MICROS_PER_SECOND))
    }

    /// Whole seconds since 1970, rounded down.
    pub const fn as_unix_seconds(self) -> i64 {
        self.0.div_euclid(MICROS_PER_SECOND)
    }

    /// This much later; saturates.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }

    /// This much earlier; saturates.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// RFC 3339 in UTC, for people.
    pub fn to_rfc3339(self) -> String {
        time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000)
            .ok()
            .and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok())
            .unwrap_or_else(|| format!("{}us", self.0))
    }

    /// Reads RFC 3339 text; `None` when it is not.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let at = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
        i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000)).ok().map(Self)
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// A future on the heap, as [`Clock::sleep`] returns it.
pub type Sleep<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Where the time comes from.
pub trait Clock: Send + Sync + 'static {
    /// Wall-clock time (UTC).
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment before this process began; never steps back, counts suspended time too.
    fn boot(&self) -> Duration;

    /// How far this clock was moved ahead of the machine's on purpose: nothing, unless somebody plays with time. Who compares clocks
    /// takes it out.
    fn ahead(&self) -> Duration {
        Duration::ZERO
    }

    /// Waits until this clock has advanced by `duration`. An adjusted clock wakes its sleepers.
    fn sleep(&self, duration: Duration) -> Sleep<'_>;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(micros(since_epoch))
    }

    fn boot(&self) -> Duration {
        let at = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(u64::try_from(at.tv_sec).unwrap_or(0), u32::try_from(at.tv_nsec).unwrap_or(0))
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that sleeps")]
    fn sleep(&self, duration: Duration) -> Sleep<'_> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// The machine's clock plus an offset that can be moved forward: wall and boot time together.
#[derive(Debug)]
pub struct AdjustableClock {
    /// Where a stopped clock stands without its offset; none for one that runs with the machine's.
    stopped_at: Option<Timestamp>,
    offset: watch::Sender<Duration>,
}

impl Default for AdjustableClock {
    fn default() -> Self {
        Self { stopped_at: None, offset: watch::Sender::new(Duration::ZERO) }
    }
}

impl AdjustableClock {
    /// A clock that stands, and moves by [`AdjustableClock::advance`] alone: whatever is played on it twice, ends alike.
    pub fn stopped_at(at: Timestamp) -> Self {
        Self { stopped_at: Some(at), ..Self::default() }
    }

    /// Moves the clock forward and wakes every sleeper whose time has come.
    pub fn advance(&self, by: Duration) {
        self.offset.send_modify(|offset| *offset = offset.saturating_add(by));
    }

    /// How far this clock is ahead of the machine's.
    pub fn offset(&self) -> Duration {
        *self.offset.borrow()
    }
}

impl Clock for AdjustableClock {
    fn now(&self) -> Timestamp {
        self.stopped_at.unwrap_or_else(|| SystemClock.now()).plus(self.offset())
    }

    fn boot(&self) -> Duration {
        let machines = if self.stopped_at.is_some() { Duration::ZERO } else { SystemClock.boot() };
        machines.saturating_add(self.offset())
    }

    fn ahead(&self) -> Duration {
        self.offset()
    }

    fn sleep(&self, duration: Duration) -> Sleep<'_> {
        let until = self.boot().saturating_add(duration);
        let mut offset = self.offset.subscribe();
        Box::pin(async move {
            loop {
                let left = until.saturating_sub(self.boot());
                if left.is_zero() {
                    return;
                }
                tokio::select! {
                    () = SystemClock.sleep(left) => {}
                    _ = offset.changed() => {}
                }
            }
        })
    }
}

/// Where random bytes come from.
pub trait Entropy: Send + Sync + 'static {
    /// Fills the buffer with unpredictable bytes.
    fn fill(&self, buffer: &mut [u8]);
}

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks for randomness")]
    fn fill(&self, buffer: &mut [u8]) {
        // A vault that cannot draw randomness must not draw one more breath: every salt, state and id depends on it.
        if getrandom::fill(buffer).is_err() {
            std::process::abort();
        }
    }
}

/// Draws `N` random bytes.
pub fn random<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_survives_its_text_form() {
        let at = Timestamp::from_micros(1_700_000_000_123_456);
        assert_eq!(at.to_rfc3339(), "2023-11-14T22:13:20.123456Z");
        assert_eq!(Timestamp::parse_rfc3339(&at.to_rfc3339()), Some(at));
        assert_eq!(Timestamp::parse_rfc3339("yesterday"), None);
    }

    #[test]
    fn arithmetic_saturates_at_the_edges() {
        let last = Timestamp::from_micros(i64::MAX);
        assert_eq!(last.plus(Duration::from_secs(1)), last);
        assert_eq!(Timestamp::from_micros(5).since(last), Duration::ZERO);
        assert_eq!(Timestamp::from_unix_seconds(i64::MAX), last);
        assert_eq!(Timestamp::from_micros(-1).as_unix_seconds(), -1);
    }

    #[tokio::test]
    async fn advancing_the_clock_wakes_a_sleeper() {
        let clock = AdjustableClock::default();
        let before = clock.now();
        let sleeper = clock.sleep(Duration::from_secs(3_600));
        clock.advance(Duration::from_secs(3_601));
        sleeper.await;
        assert!(clock.now().since(before) >= Duration::from_secs(3_601));
        assert_eq!((clock.ahead(), SystemClock.ahead()), (Duration::from_secs(3_601), Duration::ZERO));
    }
}
