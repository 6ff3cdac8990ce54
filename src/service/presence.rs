//! This process among those that share its database: it shows itself, leads if nobody else does, and comes back when it was taken for
//! dead.
//!
//! Every process serves; what nobody asks for (judging, sweeping, pruning, taking others for dead) is done by the one that *leads*.
//! Leadership is held in the database until a time by its clock. A process believes in its own for less than that, by its boot clock, so
//! that one which was paused or cut off stops before another begins. Two that lead all the same do no harm: each step is compare-and-set.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::error::Result;
use crate::domain::ambient::{Clock, Timestamp};
use crate::domain::timing::Timing;
use crate::store::{Beat, Store};

/// The duty of whoever leads.
const BACKGROUND: &str = "background";

/// This process's place among the others.
pub struct Presence {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    name: String,
    timing: Timing,
    leads: watch::Sender<bool>,
    retired: CancellationToken,
    /// What the first beat found, until the others go on from it.
    first: Mutex<Option<Standing>>,
}

impl Presence {
    /// Begins a run of this process, named for people, and tries to lead. Who has the database for itself leads from here on, and every
    /// other run is dead.
    ///
    /// # Errors
    /// As every write of the database.
    pub async fn begin(store: Arc<Store>, clock: Arc<dyn Clock>, timing: Timing, name: String) -> Result<Self> {
        store.begin_run(&name).await?;
        if store.is_exclusive() {
            store.bury_others().await?;
        }
        let presence = Self {
            store,
            clock,
            name,
            timing,
            leads: watch::Sender::new(false),
            retired: CancellationToken::new(),
            first: Mutex::new(None),
        };
        let mut standing = presence.nothing_known();
        let began = presence.machine_time();
        let beat = presence.store.beat(timing.lease, Some(BACKGROUND)).await?;
        standing.beaten(began, &beat);
        presence.leads.send_replace(beat.leads);
        *presence.first.lock().unwrap_or_else(PoisonError::into_inner) = Some(standing);
        info!(run.id = %presence.store.run(), leads = beat.leads, "run begun");
        Ok(presence)
    }

    /// Whether this process leads, and when that changes.
    pub fn leads(&self) -> watch::Receiver<bool> {
        self.leads.subscribe()
    }

    /// Leads no more, so that another can begin at once; goes on showing itself, since what is under way is still its own.
    pub fn retire(&self) {
        self.retired.cancel();
    }

    /// Shows itself, for ever.
    pub async fn keep(&self) {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut standing = first.unwrap_or_else(|| self.nothing_known());
        let mut is_retired = false;
        loop {
            let wait = self.beat(&mut standing).await;
            tokio::select! {
                () = self.clock.sleep(wait) => {}
                () = self.end_of_leadership(&standing) => self.lead(false),
                () = self.retired.cancelled(), if !is_retired => is_retired = true,
            }
        }
    }

    /// The last thing a process does: nobody has to wait a lease for what it was in charge of.
    pub async fn end(&self) {
        self.lead(false);
        if let Err(failed) = self.store.end_run().await {
            warn!("run not ended, the others will find out: {failed}");
        }
    }

    /// Shows itself once, and says after what time to do it again.
    async fn beat(&self, standing: &mut Standing) -> Duration {
        let again = self.timing.beat_interval();
        let began = self.machine_time();
        let duty = (!self.retired.is_cancelled()).then_some(BACKGROUND);
        // The database may be slow to answer, and leadership must not outlive that.
        let beat = self.store.beat(self.timing.lease, duty);
        tokio::pin!(beat);
        let beaten = tokio::select! {
            beaten = &mut beat => beaten,
            () = self.end_of_leadership(standing) => {
                self.lead(false);
                beat.await
            }
        };
        let beat = match beaten {
            Ok(beat) => beat,
            Err(failed) => {
                warn!("process not seen by the others: {failed}");
                return again / 4;
            }
        };
        if !beat.alive {
            self.lead(false);
            error!(run.id = %self.store.run(), "taken for dead by the others; going on as another run");
            *standing = self.nothing_known();
            if let Err(failed) = self.store.begin_run(&self.name).await {
                warn!("no other run begun yet: {failed}");
                return again / 4;
            }
            return Duration::ZERO;
        }
        standing.beaten(began, &beat);
        self.lead(standing.leads_for(self.machine_time()).is_some());
        if standing.may_bury(began) {
            // However slow the database is: who leads no more buries no more, and is to be seen itself.
            tokio::select! {
                () = self.bury(&beat) => {}
                () = self.end_of_leadership(standing) => self.lead(false),
                () = self.clock.sleep(again) => {}
            }
        }
        again
    }

    async fn bury(&self, beat: &Beat) {
        for stale in &beat.stale {
            match self.store.bury(stale.id, self.timing.lease).await {
                Ok(true) => warn!(run.id = %stale.id, run.name = stale.name, "not seen for a lease, taken for dead"),
                Ok(false) => {}
                Err(failed) => warn!(run.id = %stale.id, "not seen for a lease, not taken for dead yet: {failed}"),
            }
        }
    }

    /// Resolves when leadership ends unless it is renewed; never, if there is none or it does not end.
    async fn end_of_leadership(&self, standing: &Standing) {
        if !*self.leads.borrow() {
            return std::future::pending().await;
        }
        // Again, because a clock that is adjusted wakes early.
        while let Some(left) = standing.leads_for(self.machine_time()) {
            if left == Duration::MAX {
                return std::future::pending().await;
            }
            self.clock.sleep(left).await;
        }
    }

    fn nothing_known(&self) -> Standing {
        Standing::new(self.timing.lease, self.store.is_exclusive())
    }

    /// The machine's own time since it was started: leases run by the database's clock, which nobody adjusts.
    fn machine_time(&self) -> Duration {
        self.clock.boot().saturating_sub(self.clock.ahead())
    }

    fn lead(&self, leads: bool) {
        let changed = self.leads.send_if_modified(|now| std::mem::replace(now, leads) != leads);
        if changed && leads {
            info!("this process leads");
        } else if changed {
            info!("this process leads no more");
        }
    }
}

/// Does the work while this process leads: begins it when it begins to lead, drops it when it does not any more.
pub async fn while_leading<F: Future<Output = ()>>(mut leads: watch::Receiver<bool>, work: impl Fn() -> F) {
    // An error means that nobody will ever lead again.
    while leads.wait_for(|leads| *leads).await.is_ok() {
        let work = async {
            work().await;
            std::future::pending::<()>().await;
        };
        let lost = tokio::select! {
            lost = leads.wait_for(|leads| !leads) => lost.map(drop),
            () = work => return,
        };
        if lost.is_err() {
            return;
        }
    }
}

/// What the beats so far add up to.
#[derive(Debug)]
struct Standing {
    lease: Duration,
    /// Nobody else can have the database: what is ours stays ours, whatever the clocks say.
    is_exclusive: bool,
    /// The last beat that was answered: when it began by the boot clock, and the database's time.
    last: Option<(Duration, Timestamp)>,
    /// Since when beats were answered without a gap.
    steady_since: Duration,
    /// Whether the last beat had the duty.
    leads: bool,
}

impl Standing {
    const fn new(lease: Duration, is_exclusive: bool) -> Self {
        Self { lease, is_exclusive, last: None, steady_since: Duration::ZERO, leads: false }
    }

    /// A beat that began then was answered.
    fn beaten(&mut self, began: Duration, beat: &Beat) {
        let is_steady = self.last.is_some_and(|(before, at)| {
            let (ours, theirs) = (began.saturating_sub(before), beat.at.since(at));
            // One beat may get lost. A database whose clock was moved makes everybody look old, or keeps them young.
            ours <= self.lease.mul_f32(0.8) && beat.at >= at && theirs.abs_diff(ours) <= self.lease / 3
        });
        if !is_steady {
            self.steady_since = began;
        }
        self.last = Some((began, beat.at));
        self.leads = beat.leads;
    }

    /// For how long from now on this process may believe that it leads. The lease in the database runs from later than the beat began;
    /// the tenth that is left is for clocks that run at different speeds, and for work to notice.
    fn leads_for(&self, now: Duration) -> Option<Duration> {
        let (began, _) = self.last.filter(|_| self.leads)?;
        if self.is_exclusive {
            return Some(Duration::MAX);
        }
        let left = began.saturating_add(self.lease.mul_f32(0.9)).saturating_sub(now);
        (!left.is_zero()).then_some(left)
    }

    /// Whether who was not seen for a lease may be taken for dead. After an outage of the database everybody was not seen for a while:
    /// whoever lives had a lease's time to show itself since.
    fn may_bury(&self, now: Duration) -> bool {
        self.leads && now.saturating_sub(self.steady_since) > self.lease
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(15);
    const S: fn(u64) -> Duration = Duration::from_secs;

    fn beat(at: u64, leads: bool) -> Beat {
        Beat { at: Timestamp::from_micros(1_000_000).plus(S(at)), alive: true, leads, stale: Vec::new() }
    }

    fn steady(from: u64, to: u64) -> Standing {
        let mut standing = Standing::new(LEASE, false);
        for at in (from..=to).step_by(5) {
            standing.beaten(S(at), &beat(at, true));
        }
        standing
    }

    #[test]
    fn leadership_is_believed_in_for_less_than_the_lease_and_from_the_beginning_of_the_beat() {
        let mut standing = Standing::new(LEASE, false);
        assert_eq!(standing.leads_for(S(100)), None, "nothing was answered yet");
        standing.beaten(S(100), &beat(100, true));
        assert_eq!(standing.leads_for(S(103)), Some(Duration::from_millis(10_500)));
        assert_eq!(standing.leads_for(S(113)), Some(Duration::from_millis(500)));
        assert_eq!(standing.leads_for(S(114)), None);
        standing.beaten(S(105), &beat(105, false));
        assert_eq!(standing.leads_for(S(105)), None, "somebody else has it");
    }

    #[test]
    fn who_has_the_database_for_itself_leads_whatever_the_clock_does() {
        let mut standing = Standing::new(LEASE, true);
        standing.beaten(S(100), &beat(100, true));
        assert_eq!(standing.leads_for(S(100_000)), Some(Duration::MAX));
    }

    #[test]
    fn nobody_is_taken_for_dead_before_a_whole_lease_without_a_gap() {
        assert!(!steady(100, 115).may_bury(S(115)));
        assert!(steady(100, 120).may_bury(S(120)));
        let mut standing = steady(100, 120);
        // The database was away: a beat later than a lease's fourth fifth.
        standing.beaten(S(133), &beat(133, true));
        assert!(!standing.may_bury(S(133)));
        for at in [138, 143, 148] {
            standing.beaten(S(at), &beat(at, true));
            assert!(!standing.may_bury(S(at)), "{at}");
        }
        standing.beaten(S(153), &beat(153, true));
        assert!(standing.may_bury(S(153)));
    }

    #[test]
    fn one_lost_beat_is_no_gap_and_a_moved_clock_of_the_database_is_one() {
        let mut standing = steady(100, 120);
        standing.beaten(S(130), &beat(130, true));
        assert!(standing.may_bury(S(130)), "one beat was lost");
        standing.beaten(S(135), &beat(3_735, true));
        assert!(!standing.may_bury(S(135)), "an hour passed at the database");
        let mut standing = steady(100, 120);
        standing.beaten(S(125), &beat(90, true));
        assert!(!standing.may_bury(S(125)), "its clock was set back");
    }

    #[test]
    fn who_does_not_lead_takes_nobody_for_dead() {
        let mut standing = steady(100, 120);
        standing.beaten(S(125), &beat(125, false));
        assert!(!standing.may_bury(S(125)));
        // Steady all the while: it may as soon as it leads.
        standing.beaten(S(130), &beat(130, true));
        assert!(standing.may_bury(S(130)));
    }

    #[tokio::test]
    async fn work_is_done_while_leading_and_begun_again_after_a_break() {
        let leads = watch::Sender::new(false);
        let begun = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let count = Arc::clone(&begun);
        let work = tokio::spawn(while_leading(leads.subscribe(), move || {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            std::future::pending()
        }));
        for times in 1..=3 {
            leads.send_replace(true);
            while begun.load(std::sync::atomic::Ordering::SeqCst) < times {
                tokio::task::yield_now().await;
            }
            leads.send_replace(false);
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            assert_eq!(begun.load(std::sync::atomic::Ordering::SeqCst), times);
        }
        drop(leads);
        work.await.unwrap();
    }
}
