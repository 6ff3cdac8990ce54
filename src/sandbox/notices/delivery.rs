//! The task that sends what is due. It also lets the world settle, so that what happens by time alone happens without a call.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::after_failure;
use super::book::NoticeChange;
use super::post::{Letter, Poster};
use super::record::{Notice, Source, Standing, Try, TryError};
use super::target::Target;
use crate::domain::ambient::{Clock as _, SystemClock, Timestamp};
use crate::sandbox::settings::{Notices, Settings};
use crate::sandbox::state::Event;
use crate::sandbox::world::{Core, World};

/// How many notices are on the wire at once: a bound for sockets, far above what keeps a receiver on this machine busy.
const AT_ONCE_MAX: usize = 64;

/// How many of them go to one host and port, so that one that hangs does not take all the places.
const AT_ONCE_PER_RECEIVER_MAX: usize = 8;

/// How long to wait after the journal could not be written: a full disk is not freed by trying harder.
const JOURNAL_PAUSE: Duration = Duration::from_secs(1);

/// Why a notice that was due is not sent.
const SWITCHED_OFF: &str = "notices are switched off";

/// The running delivery.
pub(in crate::sandbox) struct Delivery {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Delivery {
    /// Starts to send.
    pub(in crate::sandbox) fn start(core: Arc<Core>, poster: Poster) -> Self {
        let delivery = Self { stop: CancellationToken::new(), tasks: TaskTracker::new() };
        let wake = core.lock().desk.wake.clone();
        let round = Round { core, poster: Arc::new(poster), tasks: delivery.tasks.clone() };
        let stop = delivery.stop.clone();
        delivery.tasks.spawn(async move { stop.run_until_cancelled(round.run(&wake)).await });
        delivery
    }

    /// Gives up what is on the wire and waits until all tasks are gone. What was not answered is sent again by the next start.
    pub(in crate::sandbox) async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A notice on the wire.
#[derive(Clone, PartialEq, Eq)]
struct Job {
    notice_id: u64,
    /// When it was caused: tells it from another one of that id, which a restored snapshot may have.
    queued_at_us: i64,
    source: Source,
    /// Host and port.
    receiver: String,
}

/// What to do now, and when to look again.
struct Plan {
    letters: Vec<(Job, Letter)>,
    next: Option<Timestamp>,
}

struct Round {
    core: Arc<Core>,
    poster: Arc<Poster>,
    tasks: TaskTracker,
}

impl Round {
    async fn run(self, wake: &Notify) {
        let mut running = JoinSet::new();
        let mut busy = HashMap::new();
        loop {
            let (core, jobs) = (self.core.clone(), Vec::from_iter(busy.values().cloned()));
            // The journal may make a plan wait for the disk.
            let Ok(planned) = tokio::task::spawn_blocking(move || plan(&core, &jobs)).await else { return };
            let plan = match planned {
                Ok(plan) => plan,
                Err(error) => {
                    tracing::error!("the sandbox could not write its journal: {error}");
                    SystemClock.sleep(JOURNAL_PAUSE).await;
                    continue;
                }
            };
            for (job, letter) in plan.letters {
                let work = deliver(self.core.clone(), self.poster.clone(), job.clone(), letter);
                let id = running.spawn(self.tasks.track_future(work)).id();
                busy.insert(id, job);
            }
            self.wait(wake, plan.next, &mut running, &mut busy).await;
        }
    }

    /// Returns when there may be something to do.
    async fn wait(
        &self,
        wake: &Notify,
        next: Option<Timestamp>,
        running: &mut JoinSet<()>,
        busy: &mut HashMap<Id, Job>,
    ) {
        let clock = &self.core.clock;
        let offset = clock.offset();
        let due = next.map(|next| clock.sleep(next.since(clock.now())));
        // Moved in between, the clock would make the sleeper wait for the move once more.
        if clock.offset() != offset {
            return;
        }
        let due = async {
            match due {
                Some(due) => due.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = wake.notified() => {}
            () = due => {}
            Some(done) = running.join_next_with_id() => {
                let id = done.map_or_else(|error| error.id(), |(id, ())| id);
                busy.remove(&id);
            }
        }
    }
}

/// Settles the world, and takes from it what is to be sent now.
fn plan(core: &Core, busy: &[Job]) -> io::Result<Plan> {
    let mut world = core.lock();
    let now = core.clock.now();
    world.settle(now)?;
    park(&mut world, now)?;
    let book = world.state.notices();
    let next = [book.next_due(now), world.state.next_due()].into_iter().flatten().min();
    let released = book.next_released().map(|notice| (Source::Release, notice));
    let requested = book.requested().map(|notice| (Source::Request, notice));
    let due = book.due(now).map(|notice| (Source::Schedule, notice));
    let mut letters = Vec::new();
    let mut jobs = busy.to_vec();
    // Where no more can go now: of thousands that wait for one receiver, one is looked at.
    let mut full = HashSet::new();
    for (source, notice) in released.into_iter().chain(requested).chain(due) {
        if jobs.len() >= AT_ONCE_MAX {
            break;
        }
        if full.contains(notice.uri.as_str()) {
            continue;
        }
        let Some((job, letter)) = letter(source, notice, &world.settings) else { continue };
        if going_to(&job.receiver, &jobs) >= AT_ONCE_PER_RECEIVER_MAX {
            full.insert(notice.uri.as_str());
            continue;
        }
        if !may_start(&job, &jobs) {
            continue;
        }
        jobs.push(job.clone());
        letters.push((job, letter));
    }
    Ok(Plan { letters, next })
}

/// How many are on the wire to this receiver.
fn going_to(receiver: &str, jobs: &[Job]) -> usize {
    jobs.iter().filter(|going| going.receiver == receiver).count()
}

/// Whether a notice may go on the wire beside these.
fn may_start(job: &Job, jobs: &[Job]) -> bool {
    let is_going = |going: &&Job| match job.source {
        // One after the other.
        Source::Release => going.source == Source::Release,
        Source::Schedule | Source::Request => {
            let of = |job: &Job| (job.notice_id, job.queued_at_us, job.source);
            of(going) == of(job)
        }
    };
    !jobs.iter().any(|going| is_going(&going))
}

/// What becomes of the notices that are due and not to be sent: held, or dropped.
fn park(world: &mut World, now: Timestamp) -> io::Result<()> {
    let parked = |notice: &Notice| {
        let standing = match (world.settings.notices, &notice.standing) {
            (Notices::Hold, Standing::Waiting { retry, due_us, .. }) => {
                Standing::Waiting { retry: *retry, due_us: *due_us, is_held: true }
            }
            _ => Standing::NotSent { reason: SWITCHED_OFF.to_owned() },
        };
        Event::Notice(NoticeChange::Moved { notice_id: notice.notice_id, standing })
    };
    let events: Vec<Event> = match world.settings.notices {
        Notices::Send => return Ok(()),
        Notices::Hold | Notices::Off => world.state.notices().due(now).map(parked).collect(),
    };
    if events.is_empty() { Ok(()) } else { world.commit(events) }
}

/// The request that a notice is; none for one that leads nowhere, which is never due.
fn letter(source: Source, notice: &Notice, settings: &Settings) -> Option<(Job, Letter)> {
    let target = Target::parse(&notice.uri).ok()?;
    let (notice_id, queued_at_us) = (notice.notice_id, notice.queued_at_us);
    let job = Job { notice_id, queued_at_us, source, receiver: target.authority.clone() };
    let letter = Letter {
        target,
        body: notice.body.clone(),
        content_type: settings.notice_content_type.clone(),
        user_agent: settings.notice_user_agent.clone(),
        limit: Duration::from_secs(settings.notice_timeout_s.into()),
    };
    Some((job, letter))
}

async fn deliver(core: Arc<Core>, poster: Arc<Poster>, job: Job, letter: Letter) {
    let answered = poster.post(letter).await;
    let kept = tokio::task::spawn_blocking(move || keep(&core, &job, answered)).await;
    if let Ok(Err(error)) = kept {
        tracing::error!("the sandbox could not write its journal: {error}");
        SystemClock.sleep(JOURNAL_PAUSE).await;
    }
}

/// Journals how a try ended.
fn keep(core: &Core, job: &Job, answered: Result<u16, TryError>) -> io::Result<()> {
    let mut world = core.lock();
    let notice = world.state.notices().notice(job.notice_id);
    let Some(notice) = notice.filter(|notice| notice.queued_at_us == job.queued_at_us) else { return Ok(()) };
    let now = core.clock.now();
    let standing = match (&notice.standing, answered) {
        // Any other answer is a failure, other good ones too (WePay FAQ).
        (_, Ok(200)) => Standing::Delivered,
        (Standing::Waiting { retry, .. }, _) if job.source != Source::Request => {
            after_failure(*retry, now, core.time_scale)
        }
        // One that was asked for beside them takes nothing back, and no retry away.
        (other, _) => other.clone(),
    };
    let attempt = Try { at_us: now.as_micros(), source: job.source, status: answered.ok(), error: answered.err() };
    world.commit(vec![Event::Notice(NoticeChange::Tried { notice_id: job.notice_id, attempt, standing })])
}
