//! What the provider told us of, kept until it is looked into. A notice carries ids only, proves nothing, and may come often.

use super::tx::{on_tx, transaction};
use super::{Error, Result, Store};
use crate::domain::id::AppId;
use crate::domain::notice::Notice;
use crate::domain::trail::{Act, EventKind};

#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] = &[OBJECTS, UPSERT];

const OBJECTS: &str = "SELECT COUNT(*) FROM notices WHERE app_id = $1 AND kind = $2 AND about = $3 AND object_id <> $4";
const UPSERT: &str = "INSERT INTO notices (app_id, kind, about, object_id, reference_id, times, first_at_us, last_at_us) \
     VALUES ($1, $2, $3, $4, $5, 1, $6, $6) \
     ON CONFLICT (app_id, kind, about, object_id) DO UPDATE SET times = times + 1, last_at_us = excluded.last_at_us, \
     reference_id = COALESCE(excluded.reference_id, reference_id)";

/// Most objects that one address is told of: an account has one, an attempt one user. More is somebody who found the address.
const OBJECTS_MAX: i64 = 8;

impl Store {
    /// Keeps a notice: one row for each object that an address was told of, with how often.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the address was told of too many objects.
    pub async fn keep_notice(&self, app: AppId, notice: &Notice, act: &Act) -> Result<()> {
        transaction!(self, "keep_notice", tx => {
            let now = tx.now();
            let (others,): (i64,) = on_tx!(tx, conn => sqlx::query_as(OBJECTS)
                .bind(&app.as_bytes()[..])
                .bind(notice.about.kind().as_str())
                .bind(&notice.about.as_bytes()[..])
                .bind(notice.object_id.as_str())
                .fetch_one(conn)
                .await)?;
            if others >= OBJECTS_MAX {
                return Err(Error::Conflict("an address was told of too many objects"));
            }
            on_tx!(tx, conn => sqlx::query(UPSERT)
                .bind(&app.as_bytes()[..])
                .bind(notice.about.kind().as_str())
                .bind(&notice.about.as_bytes()[..])
                .bind(notice.object_id.as_str())
                .bind(notice.reference_id.map(|id| id.to_string()))
                .bind(now.as_micros())
                .execute(conn)
                .await)?;
            let event = notice.about.mark(act.event(EventKind::NoticeStored, now)).detail("object", &notice.object_id);
            Ok(((), vec![event]))
        })
    }
}
