//! The writer of this run's read trail: what has gathered is committed as one record, and only then answered.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::error::{Error, Kind, Result};
use crate::domain::trail::Event;
use crate::store::{ReadTrail, Store};

/// Most events that wait for the writer: some ten batches. Beyond that a caller is told to come back.
const QUEUE_MAX: usize = 2048;
/// Most events of one record: bounds the size of a record and the wait of its last event.
const BATCH_MAX: usize = 256;

/// Longest wait for a record to be durable, well below the deadline of a read: a write that hangs is a write that failed.
const DEADLINE: Duration = Duration::from_secs(2);

/// Who opens a trail that no caller asked for.
const WRITER: &str = "system";

/// A handle to the writer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Auditor {
    queue: mpsc::Sender<Entry>,
    closing: CancellationToken,
}

struct Entry {
    event: Event,
    durable: oneshot::Sender<std::result::Result<(), Error>>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("kind", &self.event.kind).finish_non_exhaustive()
    }
}

impl Auditor {
    /// Starts the writer on a trail. It ends, and closes the trail, when it is told to or the last handle is gone.
    pub fn start(store: Arc<Store>, trail: ReadTrail) -> (Self, JoinHandle<()>) {
        let (queue, entries) = mpsc::channel(QUEUE_MAX);
        let closing = CancellationToken::new();
        let writer = tokio::spawn(write(store, trail, entries, closing.clone()));
        (Self { queue, closing }, writer)
    }

    /// Takes no more events; what is queued is written, then the trail is closed.
    pub fn close(&self) {
        self.closing.cancel();
    }

    /// Whether events are taken.
    pub fn is_open(&self) -> bool {
        !self.queue.is_closed()
    }

    /// Records the event; returns when it is durable.
    ///
    /// # Errors
    /// [`Kind::Overloaded`] when the queue is full, [`Kind::StoreUnavailable`] when the record could not be written. Either way
    /// the caller must not release what the event is about.
    pub async fn record(&self, event: Event) -> Result<()> {
        let (durable, told) = oneshot::channel();
        self.queue.try_send(Entry { event, durable }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Error::new(Kind::Overloaded).because("audit queue is full"),
            mpsc::error::TrySendError::Closed(_) => Error::new(Kind::StoreUnavailable).because("audit writer is gone"),
        })?;
        let unwritten = |why: &str| Err(Error::new(Kind::StoreUnavailable).because(why).retry_after(DEADLINE));
        match tokio::time::timeout(DEADLINE, told).await {
            Ok(Ok(written)) => written,
            Ok(Err(_)) => unwritten("audit writer is gone"),
            // It may be written yet: a record says that a token could have been released, not that it was.
            Err(_) => unwritten("audit write hangs"),
        }
    }
}

async fn write(
    store: Arc<Store>,
    mut trail: ReadTrail,
    mut entries: mpsc::Receiver<Entry>,
    closing: CancellationToken,
) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    loop {
        let taken = tokio::select! {
            taken = entries.recv_many(&mut batch, BATCH_MAX) => taken,
            // What is queued by now still comes out; then there is nothing more.
            () = closing.cancelled(), if !entries.is_closed() => {
                entries.close();
                continue;
            }
        };
        if taken == 0 {
            break;
        }
        let (events, waiting): (Vec<_>, Vec<_>) = batch.drain(..).map(|entry| (entry.event, entry.durable)).unzip();
        let written = store.append_reads_anew(&mut trail, events, WRITER).await.map(|_| ()).map_err(Error::from);
        if let Err(unwritten) = &written {
            error!(audit.events = waiting.len(), "audit record not written: {unwritten}");
        }
        for durable in waiting {
            // A caller that hung up in the meantime needs no answer; its event stands.
            let _gone = durable.send(written.clone());
        }
    }
    if let Err(unwritten) = store.close_read_trail(trail).await {
        error!("read trail not closed, another process or the next start will: {unwritten}");
    }
}
