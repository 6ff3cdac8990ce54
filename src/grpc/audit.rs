//! AuditService: convert, call, convert.

mod calls;
mod events;
mod place;

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
    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        let call = self.0.call(&request).await?;
        let request = request.into_inner();
        let work = async {
            let below = convert::optional(&request.page_token, events::place)?;
            let size = convert::page_size(request.page_size)?;
            self.0.services.events(&call, &events::filter(&request)?, below, size).await
        };
        let page = self.0.read(&call, work).await?;
        Ok(Response::new(v1::ListEventsResponse {
            events: page.events.into_iter().map(events::event).collect(),
            next_page_token: page.next.map(|place| events::page_token(&place)).unwrap_or_default(),
        }))
    }

    async fn list_provider_calls(
        &self,
        request: Request<v1::ListProviderCallsRequest>,
    ) -> Result<Response<v1::ListProviderCallsResponse>, Status> {
        let call = self.0.call(&request).await?;
        let request = request.into_inner();
        let work = async {
            let below = convert::optional(&request.page_token, calls::place)?;
            let size = convert::page_size(request.page_size)?;
            self.0.services.provider_calls(&call, &calls::filter(&request)?, below, size).await
        };
        let page = self.0.read(&call, work).await?;
        Ok(Response::new(v1::ListProviderCallsResponse {
            calls: page.calls.into_iter().map(calls::call).collect(),
            next_page_token: page.next.map(|place| calls::page_token(&place)).unwrap_or_default(),
        }))
    }

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
