//! The trails as stored, for clients that verify them.

use tokio::sync::mpsc;

use super::error::Result;
use super::{Call, Services};
use crate::domain::id::{ConnectionId, LinkId, TokenVersion};
use crate::domain::trail::{EventKind, PublicKey, SealedRecord, Signer};
use crate::store::Trail;

/// Records of one page from the database.
const PAGE: u32 = 256;
/// Ids of one piece of the inventory.
const INVENTORY_PAGE: u32 = 500;
/// Pieces that wait for a slow client.
const QUEUE_MAX: usize = 64;

/// One piece of an export, in this order.
#[derive(Clone, Debug)]
pub enum Piece {
    /// The key the server signs with now.
    Key(PublicKey),
    /// A trail begins.
    Header(Trail),
    /// Its next record.
    Record(SealedRecord),
    /// What the database says exists.
    Inventory {
        /// Token versions.
        versions: Vec<(ConnectionId, TokenVersion)>,
        /// Links.
        links: Vec<LinkId>,
    },
}

impl Services {
    /// Streams every record of every trail up to now, and what they must account for.
    ///
    /// # Errors
    /// [`super::Kind::PermissionDenied`]; later faults of the database end the stream with an error.
    pub async fn export_trails(&self, call: &Call) -> Result<mpsc::Receiver<Result<Piece>>> {
        let (grant, act) = self.permit_audit(call).await?;
        let event = act.event(EventKind::AuditRead, self.now()).reason("export").detail("purpose", grant.purpose());
        self.parts.auditor.record(event).await?;
        let (pieces, stream) = mpsc::channel(QUEUE_MAX);
        let services = self.clone();
        tokio::spawn(async move {
            if let Err(failed) = services.export(&pieces).await {
                let _gone = pieces.send(Err(failed)).await;
            }
        });
        Ok(stream)
    }

    async fn export(&self, pieces: &mpsc::Sender<Result<Piece>>) -> Result<()> {
        // Inventory first, heads second: what is in the inventory has its record below the head.
        let inventory = self.inventory().await?;
        let trails = self.parts.store.trails().await?;
        if send(pieces, Piece::Key(self.parts.vault.public_key())).await.is_break() {
            return Ok(());
        }
        for trail in trails {
            let (id, size) = (trail.head.trail, trail.head.seq);
            if send(pieces, Piece::Header(trail)).await.is_break() {
                return Ok(());
            }
            let mut after = 0;
            while after < size {
                let page = self.parts.store.trail_page(id, after, PAGE).await?;
                if page.is_empty() {
                    break;
                }
                for record in page {
                    after += 1;
                    if after > size {
                        break;
                    }
                    if send(pieces, Piece::Record(record)).await.is_break() {
                        return Ok(());
                    }
                }
            }
        }
        for piece in inventory {
            if send(pieces, piece).await.is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn inventory(&self) -> Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        let mut after = None;
        loop {
            let versions = self.parts.store.version_keys_after(after, INVENTORY_PAGE).await?;
            let Some(last) = versions.last() else { break };
            after = Some(*last);
            pieces.push(Piece::Inventory { versions, links: Vec::new() });
        }
        let mut after = None;
        loop {
            let links = self.parts.store.link_ids_after(after, INVENTORY_PAGE).await?;
            let Some(last) = links.last() else { break };
            after = Some(*last);
            pieces.push(Piece::Inventory { versions: Vec::new(), links });
        }
        Ok(pieces)
    }
}

/// Break: the client is gone.
async fn send(pieces: &mpsc::Sender<Result<Piece>>, piece: Piece) -> std::ops::ControlFlow<()> {
    match pieces.send(Ok(piece)).await {
        Ok(()) => std::ops::ControlFlow::Continue(()),
        Err(_) => std::ops::ControlFlow::Break(()),
    }
}
