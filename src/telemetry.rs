//! The log: one subscriber to standard error, and a panic hook that tells where, never what.
//!
//! Standard output belongs to commands. Nothing here may print the payload of a panic or the value of an environment
//! variable: either could hold a secret.

use std::fmt;
use std::io::Write;
use std::panic::{self, Location};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// Form of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// One JSON object a line, for machines.
    #[default]
    Json,
    /// Text, for people.
    Text,
}

/// Why the log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is no level and no list of directives.
    #[error("log filter: {0}")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// The process has a subscriber already.
    #[error("the log is already set up")]
    AlreadySet,
    /// The log that the filter belonged to is no more.
    #[error("the log is gone")]
    Gone,
}

/// Sets up the log of the process, and the panic hook with it. Once, before anything else runs. The filter is a level
/// or directives like `info,strongroom=debug`; what is returned can replace it.
///
/// # Errors
/// [`TelemetryError`]; then nothing is set up.
pub fn init(format: Format, filter: &str) -> Result<Filter, TelemetryError> {
    let filter = EnvFilter::builder().parse(filter).map_err(TelemetryError::Filter)?;
    let (filter, handle) = reload::Layer::new(filter);
    let fmt = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        Format::Json => registry.with(fmt.json()).try_init(),
        Format::Text => registry.with(fmt.with_ansi(false)).try_init(),
    }
    .map_err(|_| TelemetryError::AlreadySet)?;
    hide_panic_payloads();
    Ok(Filter(handle))
}

/// The filter of the process's log.
#[derive(Clone, Debug)]
pub struct Filter(reload::Handle<EnvFilter, Registry>);

impl Filter {
    /// Replaces it by a level or directives.
    ///
    /// # Errors
    /// [`TelemetryError::Filter`], [`TelemetryError::Gone`]; then it stays what it was.
    pub fn set(&self, filter: &str) -> Result<(), TelemetryError> {
        let filter = EnvFilter::builder().parse(filter).map_err(TelemetryError::Filter)?;
        self.0.reload(filter).map_err(|_| TelemetryError::Gone)
    }
}

/// A log that was kept in memory.
#[derive(Clone, Debug, Default)]
pub struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// Everything that was logged so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Sets up the log of the process like [`init`], but keeps it in memory: for a demo that searches it for secrets.
///
/// # Errors
/// [`TelemetryError`]; then nothing is set up.
pub fn capture(filter: &str) -> Result<Captured, TelemetryError> {
    let filter = EnvFilter::builder().parse(filter).map_err(TelemetryError::Filter)?;
    let captured = Captured::default();
    let writer = captured.clone();
    let fmt = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone());
    tracing_subscriber::registry().with(filter).with(fmt).try_init().map_err(|_| TelemetryError::AlreadySet)?;
    hide_panic_payloads();
    Ok(captured)
}

/// Replaces the panic hook by one that prints the place only: payloads may carry whatever a value's `Debug` shows
///.
pub fn hide_panic_payloads() {
    panic::set_hook(Box::new(|info| {
        // Not through the log: the panic may have come from there. A standard error that is gone is no reason to panic
        // again.
        let _ = writeln!(std::io::stderr().lock(), "{}", PanicNotice(info.location()));
    }));
}

/// What is said of a panic.
struct PanicNotice<'l>(Option<&'l Location<'l>>);

impl fmt::Display for PanicNotice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(place) => write!(f, "panic at {}:{}:{}", place.file(), place.line(), place.column()),
            None => f.write_str("panic at an unknown place"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Set in the child process of the test below.
    const CHILD: &str = "STRONGROOM_TEST_PANIC";

    #[test]
    fn a_panic_tells_its_place_and_nothing_of_its_payload() {
        #[expect(clippy::disallowed_methods, reason = "tells the child process of this test from its parent")]
        let is_child = std::env::var_os(CHILD).is_some();
        if is_child {
            init(Format::Json, "info").unwrap();
            panic!("STAGE_canary");
        }
        // The hook is the whole process's: it is tried in a process of its own.
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "telemetry::tests::a_panic_tells_its_place_and_nothing_of_its_payload"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert!(!output.status.success());
        let all = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&all);
        assert!(text.contains("panic at src/telemetry.rs:"), "{text}");
        assert!(!text.contains("STAGE_canary"), "{text}");
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        assert!(matches!(init(Format::Text, "loud,,=="), Err(TelemetryError::Filter(_))));
    }
}
