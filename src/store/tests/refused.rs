//! Commits that the disk refuses: in a process of its own, whose files may not grow for some milliseconds, again and again. What was
//! acknowledged is there, and what was asked for once is there once.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::span;

use super::business::order;
use super::*;
use crate::domain::name::ExternalId;
use crate::domain::trail::Act;

/// Commits that are refused.
const REFUSED: usize = 1_000;
/// Who asks at once.
const TASKS: usize = 4;
/// Says that this is the process of its own.
const ALONE: &str = "STRONGROOM_TEST_ALONE";
/// How long files may not grow, and how long they may, at most.
const TIGHT_MS: u64 = 6;
const ROOMY_MS: u64 = 6;

/// Counts commits whose outcome had to be looked for.
struct Looks;

static LOOKS: AtomicUsize = AtomicUsize::new(0);

impl tracing::Subscriber for Looks {
    fn enabled(&self, about: &tracing::Metadata<'_>) -> bool {
        about.target() == "strongroom::store::tx"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        // Only the look for a commit says where it would be.
        let looks = event.metadata().fields().field("trail.seq").is_some();
        LOOKS.fetch_add(usize::from(looks), Ordering::Relaxed);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// How far files may grow from now on; a write beyond it fails as on a disk that has trouble.
fn limit_files(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).unwrap();
}

async fn pause(up_to_ms: u64) {
    let [chance] = crate::domain::ambient::random::<1>(&SystemEntropy);
    SystemClock.sleep(Duration::from_millis(1 + u64::from(chance) % up_to_ms)).await;
}

async fn until_acknowledged(store: &Store, name: &str) {
    let app = store.deployment().await.unwrap().map(|row| AppId::from_slice(&row.app_id).unwrap()).unwrap();
    let order = order(app, name, name);
    while let Err(failed) = store.start_authorization(&order, &Act::system()).await {
        assert!(failed.is_retryable() || matches!(failed, Error::CommitUnknown { .. }), "{failed:?}");
        // Whoever hears that nothing was changed, or nobody knows, asks again as a caller would: by the same request.
        if !matches!(store.earlier(&order.request).await, Ok(Earlier::None) | Err(_)) {
            break;
        }
    }
}

async fn refuse_a_thousand() {
    tracing::subscriber::set_global_default(Looks).unwrap();
    let ground = Ground::file();
    let store = Arc::new(stamped(&ground).await);
    let mut trail = store.open_read_trail("system").await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (store, over) = (Arc::clone(&store), Arc::clone(&over));
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let name = format!("shop-{task}-{}", acknowledged.len());
                    until_acknowledged(&store, &name).await;
                    acknowledged.push(name);
                }
                acknowledged
            })
        })
        .collect();
    let reading = {
        let (store, over) = (Arc::clone(&store), Arc::clone(&over));
        tokio::spawn(async move {
            let (mut recorded, mut number) = (Vec::new(), 0_usize);
            while !over.load(Ordering::Relaxed) {
                number += 1;
                let wanted = event(EventKind::TokenRead).detail("number", number);
                if store.append_reads(&mut trail, vec![wanted]).await.is_ok() {
                    recorded.push(number);
                }
            }
            (trail.id(), recorded)
        })
    };
    while LOOKS.load(Ordering::Relaxed) < REFUSED {
        limit_files(Some(1));
        pause(TIGHT_MS).await;
        limit_files(None);
        pause(ROOMY_MS).await;
    }
    over.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for task in tasks {
        acknowledged.extend(task.await.unwrap());
    }
    let (trail, recorded) = reading.await.unwrap();

    // As the next start finds it.
    crash(Arc::into_inner(store).unwrap()).await;
    let store = try_open(&ground, [1; 16]).await.unwrap();
    let events = verified(&store, store.change_trail()).await;
    for name in &acknowledged {
        let merchant = store.merchant(&MerchantKey::External(ExternalId::parse(name).unwrap())).await.unwrap();
        let id = merchant.unwrap_or_else(|| panic!("{name} was acknowledged and is lost")).id;
        let about = |kind| events.iter().filter(|event| event.kind == kind && event.merchant == Some(id)).count();
        assert_eq!((about(EventKind::MerchantCreated), about(EventKind::AuthorizationStarted)), (1, 1), "{name}");
    }
    let merchants = ground.intruder().await.number("SELECT COUNT(*) FROM merchants").await;
    assert_eq!(merchants, i64::try_from(acknowledged.len()).unwrap());
    let reads = verified(&store, trail).await;
    for number in &recorded {
        let text = number.to_string();
        assert_eq!(reads.iter().filter(|event| event.details["number"] == text).count(), 1, "read {number}");
    }
    assert!(!acknowledged.is_empty() && !recorded.is_empty());
}

#[test]
fn a_thousand_commits_that_the_disk_refuses_lose_nothing_and_double_nothing() {
    const NAME: &str =
        "store::tests::refused::a_thousand_commits_that_the_disk_refuses_lose_nothing_and_double_nothing";
    #[expect(clippy::disallowed_methods, reason = "which process this is is said by the environment")]
    if std::env::var_os(ALONE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(refuse_a_thousand());
        return;
    }
    // A write beyond the limit would end a process that does not ignore this signal.
    let alone = Command::new("env")
        .arg("--ignore-signal=XFSZ")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&alone.stdout);
    assert!(alone.status.success() && said.contains("1 passed"), "{said}\n{}", String::from_utf8_lossy(&alone.stderr));
}
