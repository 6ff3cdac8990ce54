//! What a process says of itself: to a prober, to clients that watch its health, and to those who call while it ends.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use strongroom::app::{self, Listeners, Running, Surroundings};
use strongroom::config::Config;
use strongroom::demo::{DevJson, Site, SiteOptions};
use strongroom::domain::ambient::{Clock, Sleep, SystemClock, SystemEntropy, Timestamp};
use strongroom::domain::trail::EventKind;
use strongroom::v1::{EventSource, ListEventsRequest, ListMerchantsRequest};
use tempfile::TempDir;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::support::app::Caller;
use crate::support::postgres::Schema;

/// What clients watch: the service that the shipped service config names.
const WATCHED: &str = "strongroom.v1.TokenService";
/// Far longer than an announcement takes to get through, and shorter than anybody waits for a test.
const ANNOUNCE: Duration = Duration::from_secs(2);
/// Well below the drain's own limit, within which calls under way end.
const STOP_MAX: Duration = Duration::from_secs(8);

/// Calls that are answered before the end begins: all callers are at it.
const CALLS_BEFORE: usize = 100;

/// The machine's clock, wrong by so much, microseconds.
struct Wrong(i64);

impl Clock for Wrong {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(SystemClock.now().as_micros() + self.0)
    }

    fn boot(&self) -> Duration {
        SystemClock.boot()
    }

    fn sleep(&self, duration: Duration) -> Sleep<'_> {
        SystemClock.sleep(duration)
    }
}

/// A process's parts in this one, from a configuration file, with a clock of its own.
struct Process {
    running: Running,
    ops: SocketAddr,
    dev: DevJson,
}

/// What processes need, made by a site that is gone.
struct Files {
    dir: TempDir,
    dev: DevJson,
}

impl Files {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::open(SiteOptions::new(dir.path().join("site")), None).await.unwrap();
        let dev = site.dev().clone();
        site.close().await;
        let secret = dir.path().join("client_secret");
        std::fs::write(&secret, "secret").unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
        let keyring = dir.path().join("keyring.json");
        app::create_keyring(&keyring, &Surroundings::of_this_machine()).unwrap();
        Self { dir, dev }
    }

    fn product(&self, name: &str) -> PathBuf {
        self.dir.path().join("site/product").join(name)
    }

    /// Nobody is asked at the provider's address.
    fn config(&self, database: Option<&Schema>, announce: Duration) -> Config {
        let path = |path: PathBuf| format!("{:?}", path.to_str().unwrap());
        let own = |name: &str| path(self.dir.path().join(name));
        let (cert, key) = (path(self.product("tls/server.pem")), path(self.product("tls/server.key")));
        let text = format!(
            "environment = \"stage\"\nclient_id = \"100001\"\nclient_secret_file = {secret}\nkeyring_file = {keyring}\n\
             policy_file = {policy}\ntrust_domains = [\"dev.strongroom\"]\n\
             [provider]\napi = \"http://127.0.0.1:9/v2\"\nui = \"http://127.0.0.1:9/v2\"\n\
             [database]\nurl = \"sqlite://{database}\"\n\
             [grpc]\nlisten = \"127.0.0.1:0\"\ncert_file = {cert}\nkey_file = {key}\nclient_ca_file = {ca}\n\
             [public]\nlisten = \"127.0.0.1:0\"\nbase_url = \"https://localhost:1\"\ncert_file = {cert}\nkey_file = {key}\n\
             platform_name = \"Example Shops\"\n\
             [ops]\nlisten = \"127.0.0.1:0\"\n[drain]\nannounce = \"{announce}ms\"\n",
            secret = own("client_secret"),
            keyring = own("keyring.json"),
            policy = path(self.product("grants.toml")),
            database = self.dir.path().join("strongroom.db").display(),
            ca = path(self.product("tls/ca.pem")),
            announce = announce.as_millis(),
        );
        let mut config = Config::load(&&[][..], Some(&text)).unwrap();
        if let Some(schema) = database {
            config.database = schema.config();
        }
        config
    }

    async fn start(&self, clock: Arc<dyn Clock>, announce: Duration) -> Process {
        self.start_on(None, clock, announce).await
    }

    async fn start_on(&self, database: Option<&Schema>, clock: Arc<dyn Clock>, announce: Duration) -> Process {
        let config = self.config(database, announce);
        let listeners = Listeners::bind(&config).await.unwrap();
        let (grpc, ops) = (listeners.grpc.local_addr().unwrap(), listeners.ops.local_addr().unwrap());
        let around = Surroundings::new(clock, Arc::new(SystemEntropy));
        let running = app::start(&config, &around, listeners).await.unwrap();
        let mut dev = self.dev.clone();
        dev.grpc.address = grpc.to_string();
        Process { running, ops, dev }
    }
}

impl Process {
    async fn readyz(&self) -> (u16, String) {
        let answer = reqwest::get(format!("http://{}/readyz", self.ops)).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn health(&self) -> HealthClient<tonic::transport::Channel> {
        HealthClient::new(Caller::of_dev(&self.dev, "payments").channel())
    }
}

fn watched() -> HealthCheckRequest {
    HealthCheckRequest { service: WATCHED.to_owned() }
}

#[tokio::test]
async fn a_process_whose_clock_is_off_the_databases_is_not_ready_and_says_why() {
    let files = Files::new().await;
    for (wrong_us, line) in [(-2_000_000, "behind"), (2_000_000, "ahead of")] {
        let process = files.start(Arc::new(Wrong(wrong_us)), Duration::ZERO).await;
        let (status, text) = process.readyz().await;
        assert_eq!(status, 503, "{text}");
        // The tenth may be another one: asking took a moment.
        assert!(text.starts_with("clock is 2.") || text.starts_with("clock is 1.9"), "{text}");
        assert!(text.ends_with(&format!(" s {line} the database's\n")), "{text}");
        let status = process.health().await.check(watched()).await.unwrap().into_inner().status();
        assert_eq!(status, ServingStatus::NotServing);
        process.running.stop().await;
    }
    let process = files.start(Arc::new(Wrong(900_000)), Duration::ZERO).await;
    assert_eq!(process.readyz().await, (200, "ready\n".to_owned()));
    let status = process.health().await.check(watched()).await.unwrap().into_inner().status();
    assert_eq!(status, ServingStatus::Serving);
    process.running.stop().await;
}

#[tokio::test]
async fn of_two_processes_on_one_database_the_one_with_the_wrong_clock_is_not_ready_and_says_why() {
    let Some(schema) = Schema::migrated().await else { return };
    let files = Files::new().await;
    let right = files.start_on(Some(&schema), Arc::new(SystemClock), Duration::ZERO).await;
    let wrong = files.start_on(Some(&schema), Arc::new(Wrong(-2_000_000)), Duration::ZERO).await;
    assert_eq!(right.readyz().await, (200, "ready\n".to_owned()));
    let (status, text) = wrong.readyz().await;
    assert_eq!(status, 503, "{text}");
    assert!(text.starts_with("clock is 2.") || text.starts_with("clock is 1.9"), "{text}");
    assert!(text.ends_with(" s behind the database's\n"), "{text}");
    // It serves who comes all the same; who chooses a process will not choose it.
    let caller = Caller::of_dev(&wrong.dev, "onboarding");
    caller.onboarding().list_merchants(ListMerchantsRequest::default()).await.unwrap();
    wrong.running.stop().await;
    assert_eq!(right.readyz().await, (200, "ready\n".to_owned()));
    right.running.stop().await;
}

#[tokio::test]
async fn an_end_is_announced_while_calls_are_still_answered_and_no_watch_delays_it() {
    let files = Files::new().await;
    let process = files.start(Arc::new(SystemClock), ANNOUNCE).await;
    let onboarding = Caller::of_dev(&process.dev, "onboarding");
    let mut watch = process.health().await.watch(watched()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let ops = process.ops;
    let begun = SystemClock.boot();
    let stopping = tokio::spawn(process.running.stop());
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    let unready = reqwest::get(format!("http://{ops}/readyz")).await.unwrap();
    assert_eq!((unready.status().as_u16(), unready.text().await.unwrap()), (503, "process is ending\n".to_owned()));
    onboarding.onboarding().list_merchants(ListMerchantsRequest::default()).await.unwrap();
    // The watch ends by itself, so that its connection can be closed.
    assert!(!matches!(watch.message().await, Ok(Some(_))));
    stopping.await.unwrap();
    assert!(SystemClock.boot().saturating_sub(begun) < ANNOUNCE + STOP_MAX);
}

/// How many times callers read merchants, as the audit has it.
async fn recorded_reads(process: &Process) -> usize {
    let auditor = Caller::of_dev(&process.dev, "auditor");
    let mut request = ListEventsRequest {
        page_size: 100,
        kind: EventKind::MerchantRead.as_str().to_owned(),
        source: EventSource::Reads.into(),
        ..ListEventsRequest::default()
    };
    let mut found = 0;
    loop {
        let page = auditor.audit().list_events(request.clone()).await.unwrap().into_inner();
        found += page.events.len();
        if page.next_page_token.is_empty() {
            return found;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test]
async fn who_calls_while_the_process_ends_is_answered_or_not_served_at_all() {
    let files = Files::new().await;
    let process = files.start(Arc::new(SystemClock), Duration::ZERO).await;
    let callers: Vec<_> = (0..8).map(|_| Caller::of_dev(&process.dev, "onboarding")).collect();
    let answered = Arc::new(AtomicUsize::new(0));
    let calling = callers.into_iter().map(|caller| {
        let answered = Arc::clone(&answered);
        tokio::spawn(async move {
            // gRPC's own clients repeat elsewhere what a server that goes away did not begin; this one tells of it.
            while caller.onboarding().list_merchants(ListMerchantsRequest::default()).await.is_ok() {
                answered.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    let calling: Vec<_> = calling.collect();
    while answered.load(Ordering::Relaxed) < CALLS_BEFORE {
        SystemClock.sleep(Duration::from_millis(1)).await;
    }
    process.running.stop().await;
    for call in calling {
        call.await.unwrap();
    }
    // Nothing was done whose answer did not arrive.
    let process = files.start(Arc::new(SystemClock), Duration::ZERO).await;
    assert_eq!(recorded_reads(&process).await, answered.load(Ordering::Relaxed));
    process.running.stop().await;
}
