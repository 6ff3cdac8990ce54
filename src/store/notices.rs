//! What the provider told us of, kept until it is looked into. A notice carries ids only, proves nothing, and may come often.

use std::time::Duration;

use super::tx::{Tx, on_tx, record, transaction};
use super::{Error, Result, Store};
use crate::domain::ambient::Timestamp;
use crate::domain::id::AppId;
use crate::domain::notice::Notice;
use crate::domain::trail::{Act, EventKind};

#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] = &[COUNT, OBJECTS, UPSERT];

// Windows are counted from the first notice on: the first one in a window finds the last one in another.
const COUNT: &str = "UPDATE notices SET times = times + 1, last_at_us = $1, reference_id = COALESCE($2, reference_id) \
     WHERE app_id = $3 AND kind = $4 AND about = $5 AND object_id = $6 AND last_at_us <= $1 \
     AND ($1 - first_at_us) / $7 = (last_at_us - first_at_us) / $7 RETURNING times";

const OBJECTS: &str = "SELECT COUNT(*) FROM notices WHERE app_id = $1 AND kind = $2 AND about = $3 AND object_id <> $4";
const UPSERT: &str = "INSERT INTO notices (app_id, kind, about, object_id, reference_id, times, first_at_us, last_at_us) \
     VALUES ($1, $2, $3, $4, $5, 1, $6, $6) \
     ON CONFLICT (app_id, kind, about, object_id) DO UPDATE SET times = notices.times + 1, last_at_us = excluded.last_at_us, \
     reference_id = COALESCE(excluded.reference_id, notices.reference_id) RETURNING times";

/// Most objects that one address is told of: an account has one, an attempt one user. More is somebody who found the address.
const OBJECTS_MAX: i64 = 8;

/// Of the notices of one object that come within such a time one is on the change trail, the others are counted in the row: the
/// provider repeats one after a quarter of an hour at the earliest, and whoever found an address must not be able to fill the trail.
const RECORD_EVERY: Duration = Duration::from_secs(60);

impl Store {
    /// Keeps a notice: one row for each object that an address was told of, with how often. One that repeats another of the same
    /// minute is only counted; the next record says how many there were until then.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the address was told of too many objects.
    pub async fn keep_notice(&self, app: AppId, notice: &Notice, act: &Act) -> Result<()> {
        if self.count_notice(app, notice).await? {
            return Ok(());
        }
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
            let (times,): (i64,) = on_tx!(tx, conn => sqlx::query_as(UPSERT)
                .bind(&app.as_bytes()[..])
                .bind(notice.about.kind().as_str())
                .bind(&notice.about.as_bytes()[..])
                .bind(notice.object_id.as_str())
                .bind(notice.reference_id.map(|id| id.to_string()))
                .bind(now.as_micros())
                .fetch_one(conn)
                .await)?;
            let event = notice.about.mark(act.event(EventKind::NoticeStored, now)).detail("object", &notice.object_id);
            Ok(((), vec![event.detail("times", times)]))
        })
    }

    /// Counts a notice that repeats one which is on record, as a log does and not as a change: whether it was one.
    async fn count_notice(&self, app: AppId, notice: &Notice) -> Result<bool> {
        record!(self, "count_notice", tx => {
            let now = tx.now();
            count(tx, app, notice, now).await
        })
    }
}

async fn count(tx: &mut Tx<'_>, app: AppId, notice: &Notice, now: Timestamp) -> Result<bool> {
    let counted: Option<(i64,)> = on_tx!(tx, conn => sqlx::query_as(COUNT)
        .bind(now.as_micros())
        .bind(notice.reference_id.map(|id| id.to_string()))
        .bind(&app.as_bytes()[..])
        .bind(notice.about.kind().as_str())
        .bind(&notice.about.as_bytes()[..])
        .bind(notice.object_id.as_str())
        .bind(i64::try_from(RECORD_EVERY.as_micros()).unwrap_or(i64::MAX))
        .fetch_optional(conn)
        .await)?;
    Ok(counted.is_some())
}
