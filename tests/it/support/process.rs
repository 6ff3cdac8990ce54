//! The real binary, as a process of its own.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use strongroom::domain::ambient::{Clock as _, SystemClock};
use tempfile::TempDir;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A process that does not outlive its test, with everything that it prints.
pub(crate) struct Process {
    child: Child,
    outputs: TempDir,
}

/// What came of a process.
pub(crate) struct Ended {
    pub(crate) is_success: bool,
    /// None: a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Process {
    /// Our own binary.
    pub(crate) fn strongroom(arguments: &[&str], tmp: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom"));
        command.args(arguments).env("TMPDIR", tmp);
        Self::start(command)
    }

    /// Any.
    pub(crate) fn start(mut command: Command) -> Self {
        // Into files: nobody has to empty a pipe.
        let outputs = tempfile::tempdir().unwrap();
        let file = |name: &str| File::create(outputs.path().join(name)).unwrap();
        command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr"));
        Self { child: command.spawn().unwrap(), outputs }
    }

    fn printed(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.outputs.path().join(name)).unwrap()).into_owned()
    }

    /// What it printed so far.
    pub(crate) fn stdout(&self) -> String {
        self.printed("stdout")
    }

    /// Waits for a line that begins like this.
    pub(crate) async fn line(&mut self, start: &str, within: Duration) -> String {
        let deadline = SystemClock.boot() + within;
        loop {
            let stdout = self.printed("stdout");
            if let Some(line) =
                stdout.split_inclusive('\n').find(|line| line.starts_with(start) && line.ends_with('\n'))
            {
                return line.to_owned();
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended: {}", self.printed("stderr"));
            assert!(SystemClock.boot() < deadline, "no line {start}: {}", self.printed("stderr"));
            SystemClock.sleep(LOOK_EVERY).await;
        }
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self, within: Duration) -> Ended {
        let deadline = SystemClock.boot() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                let (stdout, stderr) = (self.printed("stdout"), self.printed("stderr"));
                return Ended { is_success: status.success(), code: status.code(), stdout, stderr };
            }
            assert!(SystemClock.boot() < deadline, "it does not end: {}", self.printed("stderr"));
            SystemClock.sleep(LOOK_EVERY).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _status = self.child.wait();
    }
}
