//! One `strongroom serve` as a process: started, asked to end, killed, paused, and started again on the same ports.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use strongroom::demo::DevJson;
use strongroom::domain::ambient::{Clock as _, SystemClock};

use super::app::Caller;
use super::installation::run;

/// Longest wait for anything: far above what a loaded machine needs, so that a hang fails instead of blocking.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Between two looks at something that is about to happen.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How much of the log is shown when something failed.
const LOG_LINES: usize = 40;

/// A server; killed when dropped.
pub(crate) struct Replica {
    name: String,
    config: PathBuf,
    log: PathBuf,
    dev: DevJson,
    child: Option<Child>,
}

impl Replica {
    /// One that is configured, and not started.
    pub(crate) const fn new(name: String, config: PathBuf, log: PathBuf, dev: DevJson) -> Self {
        Self { name, config, log, dev, child: None }
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How to reach it, and who may.
    pub(crate) const fn dev(&self) -> &DevJson {
        &self.dev
    }

    /// Its configuration file.
    pub(crate) fn config(&self) -> &str {
        self.config.to_str().unwrap()
    }

    /// A caller, on a connection of its own to this server.
    pub(crate) fn caller(&self, name: &str) -> Caller {
        Caller::of_dev(&self.dev, name)
    }

    /// Starts the process.
    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs", self.name);
        let log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom"));
        command.args(["serve", "--config", self.config()]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// Starts the process, and waits until it is ready.
    pub(crate) async fn started(&mut self) {
        self.start();
        self.ready().await;
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn ready(&mut self) {
        let until = SystemClock.boot() + WAIT_MAX;
        while self.readiness().await.0 != 200 {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "{} ended, {ended:?}:\n{}", self.name, self.end_of_log());
            assert!(SystemClock.boot() < until, "{} is not ready:\n{}", self.name, self.end_of_log());
            SystemClock.sleep(LOOK_EVERY).await;
        }
    }

    /// What `/readyz` answers: the status, 0 where nobody does, and the text.
    pub(crate) async fn readiness(&self) -> (u16, String) {
        let client = reqwest::Client::builder().no_proxy().timeout(WAIT_MAX).build().unwrap();
        match client.get(format!("{}/readyz", self.dev.ops_http)).send().await {
            Ok(answer) => (answer.status().as_u16(), answer.text().await.unwrap_or_default()),
            Err(_) => (0, String::new()),
        }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
    }

    /// SIGTERM, and waits for an end in order.
    pub(crate) async fn terminate(&mut self) {
        self.signal(Signal::TERM);
        let status = self.ended().await;
        assert!(status.success(), "{} ended with {status}:\n{}", self.name, self.end_of_log());
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        let status = child.wait().unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert_eq!(signal, Some(Signal::KILL.as_raw()), "{} had ended before: {status}", self.name);
    }

    /// SIGSTOP: it holds its connections and locks, and does nothing.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits until it ends, by itself or because it was told.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let until = SystemClock.boot() + WAIT_MAX;
        loop {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                self.child = None;
                return status;
            }
            assert!(SystemClock.boot() < until, "{} does not end:\n{}", self.name, self.end_of_log());
            SystemClock.sleep(LOOK_EVERY).await;
        }
    }

    /// Everything it logged so far, over all its starts.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until the log says this so many times.
    pub(crate) async fn logged(&self, text: &str, times: usize) {
        let until = SystemClock.boot() + WAIT_MAX;
        while self.log().matches(text).count() < times {
            assert!(SystemClock.boot() < until, "{} never logs {text:?}:\n{}", self.name, self.end_of_log());
            SystemClock.sleep(LOOK_EVERY).await;
        }
    }

    /// `strongroom …` as a caller, against this server.
    pub(crate) fn call(&self, caller: &str, arguments: &[&str]) -> Output {
        let files = &self.dev.callers[caller];
        let port = self.dev.grpc.address.rsplit_once(':').unwrap().1;
        let address = format!("localhost:{port}");
        let (ca, cert, key) = (&self.dev.grpc.ca, &files.cert, &files.key);
        let [ca, cert, key] = [ca, cert, key].map(|file| file.to_str().unwrap());
        run(&[arguments, &["--address", &address, "--ca", ca, "--cert", cert, "--key", key]].concat())
    }

    fn end_of_log(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _gone = child.kill();
            let _gone = child.wait();
        }
    }
}
