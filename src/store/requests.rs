//! What was asked under which request id.

use sqlx::FromRow;

use super::tx::{Tx, on_tx, transaction};
use super::{Error, Result, Store, blob, on_db};
use crate::domain::ambient::Timestamp;
use crate::domain::name::{CallerId, RequestId};
use crate::domain::trail::Event;

#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] = &[SELECT, INSERT, FORGET];

const SELECT: &str = "SELECT method, content_hash, subject_id FROM requests WHERE caller = $1 AND request_id = $2";
const INSERT: &str = "INSERT INTO requests (caller, request_id, method, content_hash, subject_id, created_at_us) \
                      VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING request_id";

const FORGET: &str = "DELETE FROM requests WHERE caller = $1 AND request_id = $2";

/// A request that changes something: who asked, under which id, for what.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who.
    pub caller: CallerId,
    /// The caller's id of it.
    pub id: RequestId,
    /// The method.
    pub method: &'static str,
    /// Keyed hash of the content.
    pub content_hash: [u8; 32],
}

/// What became of an earlier request with the same id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Earlier {
    /// There was none.
    None,
    /// It was the same one: this is the id of what it made or changed.
    Same([u8; 16]),
    /// It was another one.
    Other,
}

#[derive(FromRow)]
struct RequestRow {
    method: String,
    content_hash: Vec<u8>,
    subject_id: Vec<u8>,
}

impl Store {
    /// What became of an earlier request with the same id.
    ///
    /// # Errors
    /// As every read of the database.
    pub async fn earlier(&self, request: &Request) -> Result<Earlier> {
        let row: Option<RequestRow> = on_db!(read self, pool => sqlx::query_as(SELECT)
            .bind(request.caller.as_str())
            .bind(request.id.as_str())
            .fetch_optional(pool)
            .await)?;
        let Some(row) = row else { return Ok(Earlier::None) };
        if row.method == request.method && row.content_hash == request.content_hash {
            Ok(Earlier::Same(blob(&row.subject_id, "request subject")?))
        } else {
            Ok(Earlier::Other)
        }
    }

    /// Notes a request that changes no row of its own, with its event.
    ///
    /// # Errors
    /// [`Error::Conflict`] when its twin got here first.
    pub async fn note_event(&self, request: &Request, subject: &[u8; 16], event: Event) -> Result<()> {
        transaction!(self, "note_event", tx => {
            self.note_request(tx, request, subject, tx.now()).await?;
            Ok(((), vec![event.clone()]))
        })
    }

    /// Forgets a request that came to nothing, so that the same one may be carried out.
    ///
    /// # Errors
    /// As every write of the database.
    pub async fn forget_request(&self, request: &Request, event: Event) -> Result<()> {
        transaction!(self, "forget_request", tx => {
            on_tx!(tx, conn => sqlx::query(FORGET)
                .bind(request.caller.as_str())
                .bind(request.id.as_str())
                .execute(conn)
                .await)?;
            Ok(((), vec![event.clone()]))
        })
    }

    /// Notes the request. A twin that got here first is a conflict: the caller asks again and finds it.
    pub(in crate::store) async fn note_request(
        &self,
        tx: &mut Tx<'_>,
        request: &Request,
        subject: &[u8; 16],
        now: Timestamp,
    ) -> Result<()> {
        let row: Option<(String,)> = on_tx!(tx, conn => sqlx::query_as(INSERT)
            .bind(request.caller.as_str())
            .bind(request.id.as_str())
            .bind(request.method)
            .bind(&request.content_hash[..])
            .bind(&subject[..])
            .bind(now.as_micros())
            .fetch_optional(conn)
            .await)?;
        row.map(|_| ()).ok_or(Error::Conflict("the same request is being carried out"))
    }
}
