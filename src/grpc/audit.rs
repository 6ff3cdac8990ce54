//! AuditService: convert, call, convert.

use std::pin::Pin;

use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use super::{Desk, convert, status};
use crate::service::{Piece, TrailKind};
use crate::v1;
use crate::v1::audit_service_server::AuditService;
use crate::v1::export_trail_response::Piece as Sent;

pub(super) struct Audit(pub(super) Desk);

#[tonic::async_trait]
impl AuditService for Audit {
    type ExportTrailStream = Pin<Box<dyn Stream<Item = Result<v1::ExportTrailResponse, Status>> + Send>>;

    async fn export_trail(
        &self,
        request: Request<v1::ExportTrailRequest>,
    ) -> Result<Response<Self::ExportTrailStream>, Status> {
        let call = self.0.call(&request).await?;
        let pieces = self.0.read(&call, self.0.services.export_trails(&call)).await?;
        let stream = ReceiverStream::new(pieces).map(move |piece| match piece {
            Ok(piece) => Ok(v1::ExportTrailResponse { piece: Some(sent(piece)) }),
            Err(error) => Err(status::of(&error, call.id)),
        });
        Ok(Response::new(Box::pin(stream)))
    }
}

fn sent(piece: Piece) -> Sent {
    match piece {
        Piece::Key(key) => Sent::PublicKey(key.0.to_vec()),
        Piece::Header(trail) => Sent::Header(v1::TrailHeader {
            trail_id: trail.head.trail.to_string(),
            kind: match trail.kind {
                TrailKind::Change => v1::TrailKind::Change,
                TrailKind::Read => v1::TrailKind::Read,
            }
            .into(),
            open_time: Some(convert::time(trail.opened_at)),
        }),
        Piece::Record(record) => {
            Sent::Record(v1::TrailRecord { record: record.bytes, signature: record.signature.0.to_vec() })
        }
        Piece::Inventory { versions, links } => Sent::Inventory(v1::TrailInventory {
            versions: versions
                .into_iter()
                .map(|(connection, version)| v1::TokenVersionRef {
                    connection_id: connection.to_string(),
                    version: version.0,
                })
                .collect(),
            link_ids: links.into_iter().map(|link| link.to_string()).collect(),
        }),
    }
}
