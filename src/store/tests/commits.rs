//! Commits whose answer is lost: the connection to PostgreSQL is cut around them, again and again. What was acknowledged is there, what
//! was asked for once is there once, and whoever asked hears which of the two it was.

use super::business::order;
use super::*;
use crate::domain::ambient::{Timestamp, random};
use crate::domain::app::Environment;
use crate::domain::id::ProviderCallId;
use crate::domain::name::ExternalId;
use crate::domain::provider_call::{About, CallOutcome, ProviderCall};
use crate::domain::trail::Act;

#[path = "../../../tests/it/support/proxy.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod proxy;

use self::proxy::{End, Flow, Proxy, Verdict};

/// Commits whose connection is cut.
const CUTS: usize = 1_000;
/// Who asks at once.
const TASKS: usize = 4;
const EVER: Timestamp = Timestamp::from_micros(i64::MIN);

/// A store whose connections go through a proxy.
async fn behind_a_proxy(ground: &Ground) -> (Store, Proxy) {
    migrate(ground).await.unwrap();
    let Location::Postgres(mut server) = ground.location() else { unreachable!("a server") };
    let proxy = Proxy::postgres(format!("{}:{}", server.host, server.port).parse().unwrap()).await;
    server.host = proxy.address().ip().to_string();
    server.port = proxy.address().port();
    let location = Location::Postgres(server);
    let store = Store::open(&location, keys([1; 16]), Arc::new(SystemClock), Arc::new(SystemEntropy)).await.unwrap();
    store.stamp("wepay", Environment::Stage, "4711").await.unwrap();
    (store, proxy)
}

fn call() -> CallEntry {
    let call = ProviderCall {
        at: SystemClock.now(),
        call: "/user",
        about: About::default(),
        request: "{}".to_owned(),
        outcome: CallOutcome::Done,
        status: Some(200),
        code: None,
        detail: String::new(),
        duration: Duration::from_millis(1),
    };
    CallEntry { id: ProviderCallId::generate(&SystemClock, &SystemEntropy), call }
}

/// Cuts around a commit, each time at another place: before it, right after it, after its answer, and not at all.
fn around_commits() -> impl FnMut(&str) -> Verdict + Send + 'static {
    move |statement| {
        let [chance] = random::<1>(&SystemEntropy);
        match (statement.starts_with("COMMIT"), chance % 8) {
            (true, 0..=3) => Verdict::CutAfter,
            (true, 4) => Verdict::LoseAnswer,
            (true, 5) => Verdict::CutBefore,
            _ => Verdict::Pass,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_commits_whose_connection_is_cut_lose_nothing_and_double_nothing() {
    let Some(ground) = Ground::schema().await else { return };
    let (store, proxy) = behind_a_proxy(&ground).await;
    let (store, proxy) = (Arc::new(store), Arc::new(proxy));
    let app = store.deployment().await.unwrap().map(|row| AppId::from_slice(&row.app_id).unwrap()).unwrap();
    let mut trail = store.open_read_trail("system").await.unwrap();
    proxy.watch(around_commits());

    // Changes: each is a merchant, an invitation, a request and two events, or nothing at all.
    let changing = (0..TASKS).map(|task| {
        let (store, proxy) = (Arc::clone(&store), Arc::clone(&proxy));
        tokio::spawn(async move {
            let (mut acknowledged, mut asked) = (Vec::new(), 0);
            while proxy.struck() < CUTS {
                let name = format!("shop-{task}-{asked}");
                asked += 1;
                let order = order(app, &name, &name);
                // Whoever hears that nothing was changed, or nobody knows, asks again as a caller would: by the same request.
                while let Err(failed) = store.start_authorization(&order, &Act::system()).await {
                    assert!(failed.is_retryable() || matches!(failed, Error::CommitUnknown { .. }), "{failed:?}");
                    if !matches!(store.earlier(&order.request).await, Ok(Earlier::None) | Err(_)) {
                        break;
                    }
                }
                acknowledged.push(name);
            }
            acknowledged
        })
    });
    let changing: Vec<_> = changing.collect();
    // Reads that are recorded, and calls that are logged, beside them.
    let (mut recorded, mut number, mut logged) = (Vec::new(), 0, Vec::new());
    while proxy.struck() < CUTS {
        number += 1;
        let wanted = event(EventKind::TokenRead).detail("number", number);
        match store.append_reads(&mut trail, vec![wanted]).await {
            Ok(_) => recorded.push(number),
            Err(failed) => {
                assert!(failed.is_retryable() || matches!(failed, Error::CommitUnknown { .. }), "{failed:?}");
            }
        }
        let entry = call();
        while store.log_calls(std::slice::from_ref(&entry)).await.is_err() {}
        logged.push(entry.id);
    }
    let mut acknowledged = Vec::new();
    for task in changing {
        acknowledged.extend(task.await.unwrap());
    }
    proxy.unwatch();

    let events = verified(&store, store.change_trail()).await;
    for name in &acknowledged {
        let merchant = store.merchant(&MerchantKey::External(ExternalId::parse(name).unwrap())).await.unwrap();
        let id = merchant.unwrap_or_else(|| panic!("{name} was acknowledged and is lost")).id;
        let about = |kind| events.iter().filter(|event| event.kind == kind && event.merchant == Some(id)).count();
        assert_eq!((about(EventKind::MerchantCreated), about(EventKind::AuthorizationStarted)), (1, 1), "{name}");
    }
    let mut owner = ground.intruder().await;
    assert_eq!(owner.number("SELECT COUNT(*) FROM merchants").await, i64::try_from(acknowledged.len()).unwrap());
    let reads = verified(&store, trail.id()).await;
    for number in 1..=number {
        let text = number.to_string();
        let there = reads.iter().filter(|event| event.details["number"] == text).count();
        // One that was not acknowledged may be there: a token could have been released.
        assert!(there == 1 || there == 0 && !recorded.contains(&number), "read {number} is there {there} times");
    }
    let kept = store.calls(CallsOf::All, CallPlace::LAST, EVER, 100_000).await.unwrap();
    assert_eq!(kept.len(), logged.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_falls_silent_is_given_up_and_found_again() {
    let Some(ground) = Ground::schema().await else { return };
    let (store, proxy) = behind_a_proxy(&ground).await;
    append(&store, event(EventKind::MerchantCreated)).await.unwrap();
    proxy.flow(Flow::Swallow);
    let (read, changed) = tokio::join!(store.health(), append(&store, event(EventKind::MerchantCreated)));
    for failed in [read.unwrap_err(), changed.unwrap_err()] {
        assert!(failed.is_retryable(), "{failed:?}");
    }
    proxy.flow(Flow::Pass);
    proxy.cut(End::Reset).await;
    store.health().await.unwrap();
    append(&store, event(EventKind::MerchantCreated)).await.unwrap();
    assert_eq!(verified(&store, store.change_trail()).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_meets_a_connection_that_broke_and_takes_another() {
    let Some(ground) = Ground::schema().await else { return };
    let (store, proxy) = behind_a_proxy(&ground).await;
    for how in [End::Close, End::Reset] {
        let reads = (0..4).map(|_| store.health());
        for read in futures(reads).await {
            read.unwrap();
        }
        proxy.cut(how).await;
        store.health().await.unwrap();
        append(&store, event(EventKind::MerchantCreated)).await.unwrap();
    }
}

/// All at once.
async fn futures<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut pinned: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        for (one, done) in &mut pinned {
            if done.is_none()
                && let std::task::Poll::Ready(output) = one.as_mut().poll(context)
            {
                *done = Some(output);
            }
        }
        if pinned.iter().all(|(_, done)| done.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    pinned.into_iter().map(|(_, done)| done.unwrap()).collect()
}
