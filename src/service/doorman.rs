//! Keeps those who only knock from filling the audit: recorded one by one up to a limit per source, then counted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Length of a window.
const WINDOW: Duration = Duration::from_secs(60);
/// Most records per source and window.
const RECORDED_MAX: u64 = 20;
/// Most sources that are told apart; further ones share one place.
const SOURCES_MAX: usize = 1024;

/// Counts per source, in the current window.
#[derive(Debug, Default)]
pub(super) struct Doorman {
    sources: Mutex<HashMap<Option<IpAddr>, Source>>,
}

#[derive(Debug, Default)]
struct Source {
    window: Duration,
    recorded: u64,
    unrecorded: u64,
}

impl Doorman {
    /// Whether to record an event of this source, and how many before it were not.
    pub(super) fn admit(&self, source: IpAddr, boot: Duration) -> Option<u64> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.len() >= SOURCES_MAX {
            sources.retain(|_, source| boot.saturating_sub(source.window) < WINDOW);
        }
        let key = (sources.contains_key(&Some(source)) || sources.len() < SOURCES_MAX).then_some(source);
        let source = sources.entry(key).or_default();
        if boot.saturating_sub(source.window) >= WINDOW {
            source.window = boot;
            source.recorded = 0;
        }
        if source.recorded >= RECORDED_MAX {
            source.unrecorded = source.unrecorded.saturating_add(1);
            return None;
        }
        source.recorded = source.recorded.saturating_add(1);
        Some(std::mem::take(&mut source.unrecorded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_keeps_knocking_is_counted_and_others_are_not_drowned() {
        let doorman = Doorman::default();
        let (loud, quiet) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let start = Duration::from_secs(1_000);
        let recorded = (0..1_000).filter(|_| doorman.admit(loud, start).is_some()).count();
        assert_eq!(u64::try_from(recorded).unwrap(), RECORDED_MAX);
        assert_eq!(doorman.admit(quiet, start), Some(0));
        assert_eq!(doorman.admit(loud, start + WINDOW), Some(1_000 - RECORDED_MAX));
        assert_eq!(doorman.admit(loud, start + WINDOW), Some(0));
    }

    #[test]
    fn a_crowd_of_sources_shares_one_place() {
        let doorman = Doorman::default();
        let recorded = (0..10_000u32)
            .filter(|n| doorman.admit(IpAddr::from(n.to_be_bytes()), Duration::from_secs(1_000)).is_some())
            .count();
        assert!(recorded <= SOURCES_MAX + usize::try_from(RECORDED_MAX).unwrap());
    }
}
