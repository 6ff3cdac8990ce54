//! What was asked under which request id.

use sqlx::FromRow;

use super::tx::{Run as _, Tx, on_tx, transaction};
use super::{Error, Result, Store, blob, on_db};
use crate::domain::ambient::Timestamp;
use crate::domain::name::{CallerId, RequestId};
use crate::domain::trail::Event;

#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] = &[SELECT, INSERT, SETTLE, FORGET];

const SELECT: &str =
    "SELECT method, content_hash, subject_id, settled FROM requests WHERE caller = $1 AND request_id = $2";
const INSERT: &str = "INSERT INTO requests (caller, request_id, method, content_hash, subject_id, settled, created_at_us) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING request_id";

const SETTLE: &str = "UPDATE requests SET settled = 1 WHERE caller = $1 AND request_id = $2";
const FORGET: &str = "DELETE FROM requests WHERE caller = $1 AND request_id = $2 AND subject_id = $3";

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
    settled: i64,
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
        if row.method != request.method || row.content_hash != request.content_hash {
            return Ok(Earlier::Other);
        }
        Ok(Earlier::Same(blob(&row.subject_id, "request subject")?))
    }

    /// Whether it is known what came of a request that was noted before it was sent.
    ///
    /// # Errors
    /// As every read of the database.
    pub async fn is_settled(&self, request: &Request) -> Result<bool> {
        let row: Option<RequestRow> = on_db!(read self, pool => sqlx::query_as(SELECT)
            .bind(request.caller.as_str())
            .bind(request.id.as_str())
            .fetch_optional(pool)
            .await)?;
        Ok(row.is_some_and(|row| row.settled != 0))
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

    /// Notes a request before it is sent; what comes of it is not known yet.
    ///
    /// # Errors
    /// [`Error::Conflict`] when its twin got here first.
    pub async fn note_intent(&self, request: &Request, subject: &[u8; 16], event: Event) -> Result<()> {
        transaction!(self, "note_intent", tx => {
            insert(tx, request, subject, false, tx.now()).await?;
            Ok(((), vec![event.clone()]))
        })
    }

    /// Notes that what was intended was done.
    ///
    /// # Errors
    /// As every write of the database.
    pub async fn settle_request(&self, request: &Request, event: Event) -> Result<()> {
        transaction!(self, "settle_request", tx => {
            on_tx!(tx, conn => sqlx::query(SETTLE)
                .bind(request.caller.as_str())
                .bind(request.id.as_str())
                .run(conn)
                .await)?;
            Ok(((), vec![event.clone()]))
        })
    }

    /// Forgets a request that came to nothing with this subject, so that the same one may be carried out.
    ///
    /// # Errors
    /// [`Error::Conflict`] when its twin got here first: then what stands there is the twin's.
    pub async fn forget_request(&self, request: &Request, subject: &[u8; 16], event: Event) -> Result<()> {
        transaction!(self, "forget_request", tx => {
            let forgotten = on_tx!(tx, conn => sqlx::query(FORGET)
                .bind(request.caller.as_str())
                .bind(request.id.as_str())
                .bind(&subject[..])
                .run(conn)
                .await)?;
            if forgotten == 0 {
                return Err(Error::Conflict("the same request is being carried out"));
            }
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
        insert(tx, request, subject, true, now).await
    }
}

async fn insert(tx: &mut Tx<'_>, request: &Request, subject: &[u8; 16], settled: bool, now: Timestamp) -> Result<()> {
    let row: Option<(String,)> = on_tx!(tx, conn => sqlx::query_as(INSERT)
        .bind(request.caller.as_str())
        .bind(request.id.as_str())
        .bind(request.method)
        .bind(&request.content_hash[..])
        .bind(&subject[..])
        .bind(i64::from(settled))
        .bind(now.as_micros())
        .fetch_optional(conn)
        .await)?;
    row.map(|_| ()).ok_or(Error::Conflict("the same request is being carried out"))
}
