//! The real binary as a process, `strongroom dev`, driven as an outside user drives it: `dev.json`, gRPC with client
//! certificates, the sandbox's control API.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use strongroom::domain::ambient::{Clock as _, SystemClock};
use strongroom::v1::audit_service_client::AuditServiceClient;
use strongroom::v1::onboarding_service_client::OnboardingServiceClient;
use strongroom::v1::token_service_client::TokenServiceClient;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// Longest wait for anything: far above what a loaded machine needs, so that a hang fails instead of blocking.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Between two looks at something that is about to happen.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How far the shared clock is moved at once where the product waits on it, and how long it is let alone in between.
const CLOCK_STEP_S: u64 = 6;
const CLOCK_STEP_EVERY: Duration = Duration::from_millis(50);

/// How many lines of the log are shown when something failed.
const LOG_LINES: usize = 40;

/// A running `strongroom dev`; killed when dropped.
pub(crate) struct Process {
    child: Child,
    /// Kept open, or a further word of the process would end it.
    _stdout: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Process {
    /// Starts it on `dir`, with its log appended to the file `log`, and waits until it says that it is ready.
    pub(crate) async fn start(dir: &Path, log: &Path) -> (Self, Dev) {
        let stderr: File = OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_strongroom"))
            .args(["dev", "--dir"])
            .arg(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let reading = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            (stdout, line)
        });
        let in_time = tokio::time::timeout(WAIT_MAX, reading).await;
        if in_time.is_err() {
            // The reader ends with the process.
            child.kill().unwrap();
        }
        let (stdout, line) = in_time.unwrap().unwrap();
        let logged = fs::read_to_string(log).unwrap();
        assert!(line.starts_with("ready"), "dev did not start: {line:?}\n{logged}");
        let process = Self { child, _stdout: stdout, log: log.to_owned() };
        (process, Dev::new(&dir.join("dev.json")))
    }

    /// SIGKILL, and waits until the process is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "it had ended before: {status}");
    }

    /// How long the log is.
    pub(crate) fn logged(&self) -> usize {
        fs::read(&self.log).unwrap().len()
    }

    /// Whether a line of the log after this length has all these texts.
    pub(crate) fn has_logged(&self, after: usize, texts: &[&str]) -> bool {
        let bytes = fs::read(&self.log).unwrap();
        let new = String::from_utf8_lossy(bytes.get(after..).unwrap_or_default()).into_owned();
        new.lines().any(|line| texts.iter().all(|text| line.contains(text)))
    }
}

impl Process {
    /// The last lines of the log.
    pub(crate) fn end_of_log(&mut self) -> String {
        let ended = self.child.try_wait();
        let logged = fs::read_to_string(&self.log).unwrap_or_default();
        let from = logged.lines().count().saturating_sub(LOG_LINES);
        format!("{}\n(process: {ended:?})", logged.lines().skip(from).collect::<Vec<_>>().join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// How to reach a running `strongroom dev`.
pub(crate) struct Dev {
    pub(crate) json: strongroom::demo::DevJson,
    payments: Channel,
    onboarding: Channel,
    auditor: Channel,
    admin: Channel,
    http: reqwest::Client,
}

impl Dev {
    fn new(path: &Path) -> Self {
        let json = strongroom::demo::DevJson::read(path).unwrap();
        let authority = Certificate::from_pem(fs::read(&json.grpc.ca).unwrap());
        let channel = |name: &str| {
            let caller = json.callers.get(name).unwrap();
            let identity = Identity::from_pem(fs::read(&caller.cert).unwrap(), fs::read(&caller.key).unwrap());
            let tls = ClientTlsConfig::new().ca_certificate(authority.clone()).identity(identity);
            let tls = tls.domain_name(json.grpc.server_name.clone());
            let endpoint = Endpoint::from_shared(format!("https://{}", json.grpc.address)).unwrap();
            endpoint.timeout(WAIT_MAX).tls_config(tls).unwrap().connect_lazy()
        };
        let http = reqwest::Client::builder().no_proxy().timeout(WAIT_MAX).build().unwrap();
        let (payments, onboarding) = (channel("payments"), channel("onboarding"));
        let (auditor, admin) = (channel("auditor"), channel("admin"));
        Self { payments, onboarding, auditor, admin, http, json }
    }

    /// The connection of `payments`, which reads tokens and reports on them.
    pub(crate) fn payments(&self) -> Channel {
        self.payments.clone()
    }

    /// TokenService as `payments`.
    pub(crate) fn tokens(&self) -> TokenServiceClient<Channel> {
        TokenServiceClient::new(self.payments())
    }

    /// OnboardingService as `onboarding`.
    pub(crate) fn onboarding(&self) -> OnboardingServiceClient<Channel> {
        OnboardingServiceClient::new(self.onboarding.clone())
    }

    /// OnboardingService as `admin`, who decides about held links.
    pub(crate) fn admin(&self) -> OnboardingServiceClient<Channel> {
        OnboardingServiceClient::new(self.admin.clone())
    }

    /// AuditService as `auditor`.
    pub(crate) fn audit(&self) -> AuditServiceClient<Channel> {
        AuditServiceClient::new(self.auditor.clone())
    }

    /// Asks the sandbox's control API.
    pub(crate) async fn ask(&self, path: &str) -> Value {
        self.control(Method::GET, path, None).await
    }

    /// Tells the sandbox's control API something.
    pub(crate) async fn tell(&self, path: &str, body: Value) -> Value {
        self.control(Method::POST, path, Some(body)).await
    }

    async fn control(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let mut request = self.http.request(method, format!("{}{path}", self.json.sandbox.control));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap().error_for_status().unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    /// Moves the one clock of product and sandbox.
    pub(crate) async fn advance(&self, seconds: u64) {
        self.tell("/clock", json!({ "advance_s": seconds })).await;
    }

    /// Does the work while that clock moves on, so that nobody waits for real time.
    pub(crate) async fn while_time_passes<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = SystemClock.sleep(CLOCK_STEP_EVERY) => self.advance(CLOCK_STEP_S).await,
            }
        }
    }
}

/// Looks until there is something to see, which is returned.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let until = SystemClock.boot() + WAIT_MAX;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(SystemClock.boot() < until, "never seen: {what}");
        SystemClock.sleep(LOOK_EVERY).await;
    }
}
