//! Writes the call log, and prunes it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::domain::ambient::{Clock, Entropy};
use crate::domain::id::ProviderCallId;
use crate::domain::provider_call::ProviderCall;
use crate::store::{self, CallEntry, Store};

/// Calls that wait in the channel: many times what the provider's throttle lets through in a second.
pub const CALL_QUEUE_MAX: usize = 1024;
/// Most calls of one transaction: the writer of the database is not held up for long.
const BATCH_MAX: usize = 128;
/// Most calls that wait for a database that takes no writes: an hour of the provider's throttle (30 calls per 10 s), some 10 MiB.
const BACKLOG_MAX: usize = 10_800;
/// Between two tries at a database that takes no writes.
const RETRY: Duration = Duration::from_secs(1);
/// How often what is left is tried at the end; each try waits for the database as long as a write may.
const FLUSH_TRIES: u32 = 3;
/// Calls pruned in one transaction.
const PRUNE_BATCH: u32 = 500;
/// Between two rounds of pruning: under a hundredth of the shortest retention.
const PRUNE_EVERY: Duration = Duration::from_secs(10 * 60);

/// A handle to the writer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CallLog {
    closing: CancellationToken,
}

impl CallLog {
    /// Starts the writer on a channel. It ends when it is told to, or when the last sender is gone.
    pub fn start(
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        calls: mpsc::Receiver<ProviderCall>,
    ) -> (Self, JoinHandle<()>) {
        let closing = CancellationToken::new();
        let writer = Writer { store, clock, entropy, backlog: VecDeque::new(), retry_at: None, dropped: 0 };
        let task = tokio::spawn(writer.run(calls, closing.clone()));
        (Self { closing }, task)
    }

    /// Takes no more calls; what is queued is written, then the writer ends.
    pub fn close(&self) {
        self.closing.cancel();
    }
}

struct Writer {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// Calls that are not written yet, oldest first.
    backlog: VecDeque<CallEntry>,
    /// When the database is tried again (boot time); `None` while it takes writes.
    retry_at: Option<Duration>,
    /// Calls that were dropped since the last that could be written.
    dropped: u64,
}

impl Writer {
    async fn run(mut self, mut calls: mpsc::Receiver<ProviderCall>, closing: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            let wait = self.retry_at.map_or(RETRY, |at| at.saturating_sub(self.clock.boot()));
            let taken = tokio::select! {
                taken = calls.recv_many(&mut batch, BATCH_MAX) => taken,
                // What is queued by now still comes out; then there is nothing more.
                () = closing.cancelled(), if !calls.is_closed() => {
                    calls.close();
                    continue;
                }
                () = self.clock.sleep(wait), if self.retry_at.is_some() => {
                    self.write().await;
                    continue;
                }
            };
            if taken == 0 {
                break;
            }
            for call in batch.drain(..) {
                self.keep(call);
            }
            // While the database takes no writes its next try comes with the time, not with every call.
            if self.retry_at.is_none_or(|at| at <= self.clock.boot()) {
                self.write().await;
            }
        }
        for _ in 0..FLUSH_TRIES {
            self.write().await;
        }
        if !self.backlog.is_empty() {
            error!(calls.lost = self.backlog.len(), "the end of the call log could not be written");
        }
    }

    fn keep(&mut self, call: ProviderCall) {
        if self.backlog.len() >= BACKLOG_MAX {
            self.backlog.pop_front();
            self.dropped = self.dropped.saturating_add(1);
        }
        let id = ProviderCallId::generate(&*self.clock, &*self.entropy);
        self.backlog.push_back(CallEntry { id, call });
    }

    /// Writes what waits, until all is written or the database takes no more.
    async fn write(&mut self) {
        self.retry_at = None;
        while !self.backlog.is_empty() {
            let size = self.backlog.len().min(BATCH_MAX);
            let batch: Vec<CallEntry> = self.backlog.iter().take(size).cloned().collect();
            match self.store.log_calls(&batch).await {
                Ok(()) => drop(self.backlog.drain(..size)),
                Err(fault) if may_pass(&fault) => {
                    warn!(calls.waiting = self.backlog.len(), "call log not written, it is kept: {fault}");
                    self.retry_at = Some(self.clock.boot().saturating_add(RETRY));
                    return;
                }
                Err(fault) => {
                    error!(calls.waiting = size, "the call log does not take this batch as a whole: {fault}");
                    self.backlog.drain(..size);
                    if !self.write_each(batch).await {
                        self.retry_at = Some(self.clock.boot().saturating_add(RETRY));
                        return;
                    }
                }
            }
        }
        if self.dropped > 0 {
            warn!(calls.lost = self.dropped, "calls were dropped from the log while the database took no writes");
            self.dropped = 0;
        }
    }

    /// Writes call by call, so that one that the database never takes holds up no other. False when the database takes no more.
    async fn write_each(&mut self, batch: Vec<CallEntry>) -> bool {
        let mut left = batch.into_iter();
        while let Some(entry) = left.next() {
            match self.store.log_calls(std::slice::from_ref(&entry)).await {
                Ok(()) => {}
                Err(fault) if may_pass(&fault) => {
                    for entry in left.rev().chain([entry]) {
                        self.backlog.push_front(entry);
                    }
                    return false;
                }
                Err(fault) => {
                    error!(call.id = %entry.id, "the call log never takes this call: {fault}");
                    self.dropped = self.dropped.saturating_add(1);
                }
            }
        }
        true
    }
}

/// Whether writing the same again may succeed. After an unknown commit it writes nothing twice: ids are given once.
const fn may_pass(fault: &store::Error) -> bool {
    fault.is_retryable() || matches!(fault, store::Error::CommitUnknown { .. })
}

/// Removes calls that are older than the retention, in small batches, for ever.
pub async fn keep_pruning(store: Arc<Store>, clock: Arc<dyn Clock>, retention: Duration) {
    loop {
        let before = clock.now().minus(retention);
        match store.prune_calls(before, PRUNE_BATCH).await {
            Ok(pruned) if pruned >= u64::from(PRUNE_BATCH) => {
                // There may be more: at once, but not in the way of others who wait for the database.
                tokio::task::yield_now().await;
                continue;
            }
            Ok(0) => {}
            Ok(pruned) => debug!(calls.pruned = pruned, "call log pruned"),
            Err(fault) => warn!("call log not pruned: {fault}"),
        }
        clock.sleep(PRUNE_EVERY.min(retention)).await;
    }
}
