//! The budget of calls to the provider: who needs one waits here for a [`Permit`], one for each call.
//!
//! The database gives slots away, one for an interval, over all processes ([`crate::domain::budget`]). One pump for each process, and only
//! while somebody waits, bids for the next slot and takes at most that one ahead; when it has come it goes to whoever is the most urgent
//! then. So an exchange overtakes a thousand registrations, and who has gone away costs nobody anything. A slot that nobody used in time
//! is gone: there is no burst to make up for it.
//!
//! Times here are the runtime's own and the database's. A clock that jumps must not make calls leave faster.

mod queue;

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use self::queue::{Place, Queue};
use super::error::{Error, Kind, Result};
use crate::domain::budget::{Answer, BID_FRESH, LATE_MAX, Lane, Pace, Permit, Slot};
use crate::domain::id::AppId;
use crate::store::{self, Store, Waiting};

/// Most calls that wait in one lane of one process: at the fastest pace the last of them would wait six minutes, longer than anybody does.
const LANE_MAX: usize = 1_000;
/// Longest wait of who named no time: the longest that a call of our API may take, 100 s, less what the answer needs.
const WAIT_MAX: Duration = Duration::from_secs(90);
/// Longest wait of what nobody waits for: it is tried again by itself.
const SWEEP_MAX: Duration = Duration::from_secs(30);
/// What is left of a caller's time when waiting ends, so that the refusal, with the time to come back, reaches it…
const ANSWER_MARGIN: Duration = Duration::from_millis(500);
/// …but not more than this part of it.
const ANSWER_PART: u32 = 4;
/// Shortest time that anybody is told to stay away.
const RETRY_MIN: Duration = Duration::from_millis(100);
/// How long before it is due a slot is handed over: what a call has to write down before it leaves is done by then, as a rule, so that it
/// leaves on time. Only then is decided whose it is.
const LEAD: Duration = Duration::from_millis(200);
/// Between two bids when the database cannot be used…
const STORE_RETRY: Duration = Duration::from_millis(200);
/// …and how often in a row, before those who wait are told so: some two seconds, and the database's own timeouts.
const STORE_TRIES: u32 = 10;

/// In which lane somebody waits for a call, and until when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Patience {
    pub(super) lane: Lane,
    pub(super) until: Instant,
}

impl Patience {
    /// Until shortly before the deadline, so that there is time to say no; without one as long as anybody waits.
    pub(super) fn until(lane: Lane, deadline: Option<Instant>) -> Self {
        let now = Instant::now();
        let left = deadline.map_or(WAIT_MAX, |deadline| {
            let left = deadline.saturating_duration_since(now);
            left.saturating_sub(ANSWER_MARGIN.min(left / ANSWER_PART)).min(WAIT_MAX)
        });
        Self::lasting(lane, left)
    }

    /// For this long.
    pub(super) fn lasting(lane: Lane, left: Duration) -> Self {
        let now = Instant::now();
        Self { lane, until: now.checked_add(left).unwrap_or(now) }
    }

    /// That of work that nobody waits for.
    pub(super) fn sweep() -> Self {
        Self::lasting(Lane::Sweep, SWEEP_MAX)
    }
}

/// The budget as one process sees it. Cheap to clone.
#[derive(Clone)]
pub(super) struct Budget(Arc<Inner>);

struct Inner {
    store: Arc<Store>,
    app: AppId,
    /// The pump is among them: the database stays open until nobody waits any more.
    tasks: TaskTracker,
    state: Mutex<State>,
    /// Somebody more urgent has come, or there is news for the pump.
    news: Notify,
    draining: CancellationToken,
}

struct State {
    pace: Pace,
    queue: Queue<Waiter>,
    is_pumping: bool,
    /// The provider said that we are too fast, and the database does not know yet.
    is_throttled: bool,
    /// By how much calls left late that the others do not know of yet.
    late: Duration,
    /// What the newest bid was told.
    seen: Option<Seen>,
}

/// What came of asking the database.
type Bidding = std::result::Result<(), store::Error>;

/// Tells who waits.
type Waiter = oneshot::Sender<Turn>;

/// What becomes of a wait.
enum Turn {
    /// The slot is there, since then.
    Slot(Instant),
    /// It will not be in time: come back in this long.
    Refused(Duration),
    /// The process is about to end.
    Draining,
    /// The database cannot be used.
    Unavailable,
}

/// What the pump does next.
enum Next {
    /// Tell the database that we are too fast.
    SlowDown(Pace),
    /// Calls left late: those behind them follow later.
    Delay(Pace, Duration),
    /// Bid.
    Bid(Pace, Waiting),
    /// Nobody waits.
    Withdraw,
}

/// How slots stood when a bid was answered.
#[derive(Clone, Copy)]
struct Seen {
    at: Instant,
    /// When the first slot is that nobody has.
    next: Instant,
    interval: Duration,
    others: [u32; 4],
}

impl Budget {
    pub(super) fn new(store: Arc<Store>, app: AppId, pace: Pace, tasks: TaskTracker) -> Self {
        let state = State {
            pace,
            queue: Queue::default(),
            is_pumping: false,
            is_throttled: false,
            late: Duration::ZERO,
            seen: None,
        };
        let (state, news, draining) = (Mutex::new(state), Notify::new(), CancellationToken::new());
        Self(Arc::new(Inner { store, app, tasks, state, news, draining }))
    }

    /// Another share of the calls from now on.
    pub(super) fn adjust(&self, share: u32) {
        let mut state = self.0.state();
        state.pace = state.pace.with_share(share);
        info!(budget.share = state.pace.share(), "budget of calls to the provider adjusted");
    }

    /// Waits for leave to make one call.
    ///
    /// # Errors
    /// [`Kind::ProviderBusy`] with the time to come back, as soon as it is clear that it would come too late;
    /// [`Kind::ProviderUnavailable`] for sweeps while the process is about to end; [`Kind::StoreUnavailable`].
    pub(super) async fn permit(&self, patience: Patience) -> Result<Permit> {
        let since = Instant::now();
        let mut was_late = false;
        loop {
            match self.turn(patience, since).await? {
                // Woken too late: who comes by the next slot could be too close. Twice in a row everybody is late, and as far apart as ever.
                Turn::Slot(due) if !was_late && due.elapsed() > LATE_MAX => was_late = true,
                Turn::Slot(due) => return Ok(Permit::of(Arc::new(Due { budget: self.clone(), at: due }))),
                Turn::Refused(after) => return Err(busy(after)),
                Turn::Draining => return Err(draining()),
                Turn::Unavailable => return Err(unavailable()),
            }
        }
    }

    /// The same for work that is given up, unsent, when the process is about to end: `None` then.
    pub(super) async fn permit_unless_draining(&self, patience: Patience) -> Option<Result<Permit>> {
        self.0.draining.run_until_cancelled(self.permit(patience)).await
    }

    /// Refuses at once who would wait in vain, before anything was begun.
    ///
    /// # Errors
    /// [`Kind::ProviderBusy`] with the time to come back.
    pub(super) fn expect_room(&self, patience: Patience) -> Result<()> {
        self.0.state().expect_room(patience, Instant::now())
    }

    /// From here on nothing is swept; whatever else waits is still served.
    pub(super) fn begin_to_drain(&self) {
        self.0.draining.cancel();
        for waiter in self.0.state().queue.empty(Lane::Sweep) {
            let _gone = waiter.send(Turn::Draining);
        }
    }

    /// Waits in the queue; whoever stops waiting leaves it.
    async fn turn(&self, patience: Patience, since: Instant) -> Result<Turn> {
        let (turn, _leaving) = self.join(patience, since)?;
        match tokio::time::timeout_at(patience.until, turn).await {
            Ok(turn) => Ok(turn.unwrap_or(Turn::Unavailable)),
            Err(_) => {
                let estimate = self.0.state().estimate(patience.lane, Instant::now());
                Ok(Turn::Refused(estimate))
            }
        }
    }

    fn join(&self, patience: Patience, since: Instant) -> Result<(oneshot::Receiver<Turn>, Leaving<'_>)> {
        let mut state = self.0.state();
        if patience.lane == Lane::Sweep && self.0.draining.is_cancelled() {
            return Err(draining());
        }
        state.expect_room(patience, Instant::now())?;
        let (waiter, turn) = oneshot::channel();
        let before = state.queue.front();
        let place = state.queue.join(patience.lane, since, patience.until, waiter);
        self.keep_pumping(&mut state);
        if before.is_some_and(|front| patience.lane < front.lane) {
            // The bid that stands is not the best any more.
            self.0.news.notify_one();
        }
        Ok((turn, Leaving { budget: self, place }))
    }

    /// Begins to pump unless somebody is at it.
    fn keep_pumping(&self, state: &mut State) {
        if !state.is_pumping {
            state.is_pumping = true;
            self.0.tasks.spawn(self.clone().pump());
        }
    }

    /// Bids, and hands slots over, as long as somebody waits.
    async fn pump(self) {
        let mut attempts = 0;
        let mut has_bid = false;
        loop {
            let next = self.0.state().next();
            let step = match next {
                Next::SlowDown(pace) => self.slow_down(pace).await,
                Next::Delay(pace, by) => self.delay(pace, by).await,
                Next::Bid(pace, waiting) => self.bid(pace, waiting, &mut has_bid).await,
                Next::Withdraw if has_bid => {
                    has_bid = false;
                    // Stale soon, if it stays.
                    let _stays = self.0.store.withdraw_bid(self.0.app).await;
                    Ok(())
                }
                Next::Withdraw if self.0.state().stop() => return,
                Next::Withdraw => Ok(()),
            };
            attempts = match step {
                Ok(()) => 0,
                Err(failed) => {
                    warn!("no slot for calls to the provider can be had right now: {failed}");
                    attempts + 1
                }
            };
            if attempts > 0 {
                if attempts % STORE_TRIES == 0 {
                    let mut state = self.0.state();
                    state.tell_all(|| Turn::Unavailable);
                    if self.0.draining.is_cancelled() {
                        state.give_up_telling();
                    }
                }
                pause(STORE_RETRY).await;
            }
        }
    }

    async fn bid(&self, pace: Pace, waiting: Waiting, has_bid: &mut bool) -> Bidding {
        let (answer, looked) = self.0.store.bid_for_slot(self.0.app, pace, waiting).await?;
        *has_bid = answer.granted.is_none();
        self.0.state().note(&answer, looked);
        let Some(wait) = answer.granted else {
            tokio::select! {
                () = pause(answer.ask_in) => {}
                () = self.0.news.notified() => {}
            }
            return Ok(());
        };
        let (due, late) = due(looked, wait, Instant::now());
        self.0.state().delay(late);
        pause(due.saturating_duration_since(Instant::now()).saturating_sub(LEAD)).await;
        self.0.state().hand_over(due);
        Ok(())
    }

    async fn delay(&self, pace: Pace, by: Duration) -> Bidding {
        self.0.store.delay_calls(self.0.app, pace, by).await?;
        let mut state = self.0.state();
        state.late = state.late.saturating_sub(by);
        Ok(())
    }

    async fn slow_down(&self, pace: Pace) -> Bidding {
        let slowdown = self.0.store.slow_down(self.0.app, pace).await?;
        let mut state = self.0.state();
        state.is_throttled = false;
        let interval = pace.interval().saturating_mul(slowdown);
        state.seen = None;
        warn!(
            budget.interval_ms = interval.as_millis(),
            "the provider throttled us: nothing leaves for {:?}, then one call each {interval:?} for {:?}",
            pace.window(),
            pace.slow_for(),
        );
        Ok(())
    }
}

/// A slot that was handed over.
struct Due {
    budget: Budget,
    at: Instant,
}

impl Slot for Due {
    fn due(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            tokio::time::sleep_until(self.at).await;
            if self.at.elapsed() > LATE_MAX {
                self.budget.left_late(self.at.elapsed());
            }
        })
    }

    fn throttled(&self) {
        self.budget.throttled();
    }
}

impl Budget {
    /// A call leaves that much after its slot.
    fn left_late(&self, by: Duration) {
        let mut state = self.0.state();
        state.delay(by);
        self.keep_pumping(&mut state);
        self.0.news.notify_one();
    }

    /// The provider said, to us or to another caller, that there were too many calls.
    pub(super) fn throttled(&self) {
        let mut state = self.0.state();
        state.is_throttled = true;
        self.keep_pumping(&mut state);
        self.0.news.notify_one();
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next(&self) -> Next {
        if self.is_throttled {
            return Next::SlowDown(self.pace);
        }
        if !self.late.is_zero() {
            return Next::Delay(self.pace, self.late);
        }
        let Some(front) = self.queue.front() else { return Next::Withdraw };
        let calls = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        Next::Bid(self.pace, Waiting { lane: front.lane, waited: front.since.elapsed(), calls })
    }

    /// A call leaves that much later than its slot, and the others do not know of it yet.
    fn delay(&mut self, by: Duration) {
        self.late = self.late.saturating_add(by);
    }

    /// Gives up telling the others what happened: the process is to end, and the database cannot be used.
    fn give_up_telling(&mut self) {
        self.is_throttled = false;
        self.late = Duration::ZERO;
    }

    /// The pump ends, unless there is something to do by now.
    fn stop(&mut self) -> bool {
        self.is_pumping = self.is_throttled || !self.late.is_zero() || self.queue.len() > 0;
        !self.is_pumping
    }

    /// Remembers how slots stand, and tells those who would wait in vain.
    fn note(&mut self, answer: &Answer, now: Instant) {
        let after = |wait: Duration| now.checked_add(wait).unwrap_or(now);
        self.seen =
            Some(Seen { at: now, next: after(answer.next_in), interval: answer.interval, others: answer.others });
        let first = after(answer.granted.unwrap_or(answer.next_in));
        for (waiter, wait) in self.queue.take_hopeless(now, first, answer.interval) {
            let _gone = waiter.send(Turn::Refused(wait));
        }
    }

    /// Gives the slot to the most urgent one that is still there.
    fn hand_over(&mut self, due: Instant) {
        while let Some(waiter) = self.queue.take() {
            if waiter.send(Turn::Slot(due)).is_ok() {
                return;
            }
        }
    }

    fn expect_room(&self, patience: Patience, now: Instant) -> Result<()> {
        let estimate = self.estimate(patience.lane, now);
        let is_full = self.queue.waiting_in(patience.lane) >= LANE_MAX;
        if is_full || patience.until.saturating_duration_since(now) < estimate {
            return Err(busy(estimate));
        }
        Ok(())
    }

    /// How long somebody would wait who comes into this lane now.
    fn estimate(&self, lane: Lane, now: Instant) -> Duration {
        let Some(seen) = self.seen else { return intervals(self.pace.interval(), self.queue.before(lane)) };
        let is_fresh = now.saturating_duration_since(seen.at) <= BID_FRESH;
        let others = seen.others.get(lane.rank()).copied().filter(|_| is_fresh).unwrap_or(0);
        let before = usize::try_from(others).unwrap_or(usize::MAX).saturating_add(self.queue.before(lane));
        seen.next.saturating_duration_since(now).saturating_add(intervals(seen.interval, before))
    }

    fn tell_all(&mut self, turn: impl Fn() -> Turn) {
        while let Some(waiter) = self.queue.take() {
            let _gone = waiter.send(turn());
        }
    }
}

/// Whoever stops waiting leaves the queue.
struct Leaving<'a> {
    budget: &'a Budget,
    place: Place,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.budget.0.state().queue.leave(self.place);
    }
}

/// When a call leaves whose slot is that long from when the database had looked, and by how much that is later than the slot: where the
/// answer took so long that the slot is over, those behind follow as much later.
fn due(looked: Instant, wait: Duration, told: Instant) -> (Instant, Duration) {
    let slot = looked.checked_add(wait).unwrap_or(looked);
    let late = told.saturating_duration_since(slot);
    if late > LATE_MAX { (told, late) } else { (slot, Duration::ZERO) }
}

fn intervals(interval: Duration, count: usize) -> Duration {
    interval.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Waits by the runtime's clock.
async fn pause(wait: Duration) {
    let now = Instant::now();
    tokio::time::sleep_until(now.checked_add(wait).unwrap_or(now)).await;
}

fn busy(after: Duration) -> Error {
    Error::new(Kind::ProviderBusy).retry_after(after.max(RETRY_MIN))
}

fn draining() -> Error {
    Error::new(Kind::ProviderUnavailable).because("draining")
}

fn unavailable() -> Error {
    let error = Error::new(Kind::StoreUnavailable).because("no slot can be had for a call");
    error.retry_after(STORE_RETRY.saturating_mul(STORE_TRIES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ambient::{Clock as _, SystemClock, SystemEntropy};
    use crate::domain::app::Environment;
    use crate::store::{Location, StoreKeys};
    use crate::vault::{Keyring, Vault};

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[tokio::test]
    async fn a_slot_counts_from_when_the_database_had_looked_and_one_that_is_over_delays_those_behind() {
        let looked = Instant::now();
        assert_eq!(due(looked, MS(300), looked + MS(2)), (looked + MS(300), Duration::ZERO));
        assert_eq!(due(looked, MS(300), looked + MS(300) + LATE_MAX), (looked + MS(300), Duration::ZERO));
        assert_eq!(due(looked, MS(300), looked + MS(1_300)), (looked + MS(1_300), MS(1_000)));
    }

    #[tokio::test]
    async fn a_process_ends_though_nobody_can_be_told_that_it_was_throttled() {
        let dir = tempfile::tempdir().unwrap();
        let location = Location::parse(&format!("sqlite://{}", dir.path().join("test.db").display())).unwrap();
        let vault = Arc::new(Vault::new(Keyring::generate(&SystemEntropy, SystemClock.now())));
        let keys = StoreKeys {
            signer: Arc::<Vault>::clone(&vault),
            mac: Arc::<Vault>::clone(&vault),
            check_value: vault.check_value(),
        };
        let store = Store::open(&location, keys, Arc::new(SystemClock), Arc::new(SystemEntropy)).await.unwrap();
        let app = store.stamp("wepay", Environment::Stage, "4711").await.unwrap();
        let (store, tasks) = (Arc::new(store), TaskTracker::new());
        let budget = Budget::new(Arc::clone(&store), app.id, Pace::default(), tasks.clone());
        store.close().await;
        budget.throttled();
        budget.left_late(MS(500));
        budget.begin_to_drain();
        tasks.close();
        let ended = tokio::time::timeout(Duration::from_secs(60), tasks.wait()).await;
        assert!(ended.is_ok(), "the process would not end before the database is there again");
    }
}
