//! Merchants and their sealed personal data.

use sqlx::FromRow;

use super::tx::{Run as _, Tx, on_tx};
use super::{Error, Result, Store, blob, on_db};
use crate::domain::ambient::Timestamp;
use crate::domain::id::MerchantId;
use crate::domain::mac::{RowKind, RowTag};
use crate::domain::merchant::Merchant;
use crate::domain::name::{ExternalId, Label};
use crate::domain::secret::SealedBytes;
use crate::domain::trail::{Act, Event, EventKind};

#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] = &[BY_ID, BY_EXTERNAL_ID, PAGE, INSERT, PRIVATE, UPSERT_PRIVATE];

const BY_ID: &str = "SELECT id, external_id, labels, created_at_us, mac FROM merchants WHERE id = $1";
const BY_EXTERNAL_ID: &str = "SELECT id, external_id, labels, created_at_us, mac FROM merchants WHERE external_id = $1";
const PAGE: &str =
    "SELECT id, external_id, labels, created_at_us, mac FROM merchants WHERE id > $1 ORDER BY id LIMIT $2";
const INSERT: &str = "INSERT INTO merchants (id, external_id, labels, created_at_us, mac) VALUES ($1, $2, $3, $4, $5) \
                      ON CONFLICT DO NOTHING RETURNING id";
const PRIVATE: &str = "SELECT epoch, salt, ciphertext FROM merchant_private WHERE merchant_id = $1";
const UPSERT_PRIVATE: &str = "INSERT INTO merchant_private (merchant_id, email_index, epoch, salt, ciphertext, changed_at_us) \
     VALUES ($1, $2, $3, $4, $5, $6) \
     ON CONFLICT (merchant_id) DO UPDATE SET email_index = excluded.email_index, epoch = excluded.epoch, \
     salt = excluded.salt, ciphertext = excluded.ciphertext, changed_at_us = excluded.changed_at_us";

/// How a merchant is named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MerchantKey {
    /// By our id.
    Id(MerchantId),
    /// By the platform's.
    External(ExternalId),
}

/// A merchant's personal data, sealed by the caller, and the blind index of its e-mail address.
#[derive(Clone, Debug)]
pub struct Private {
    /// The sealed map.
    pub sealed: SealedBytes,
    /// Blind index of the address, if there is one.
    pub email_index: Option<[u8; 32]>,
}

#[derive(FromRow)]
pub(in crate::store) struct MerchantRow {
    pub(in crate::store) id: Vec<u8>,
    pub(in crate::store) external_id: String,
    pub(in crate::store) labels: String,
    pub(in crate::store) created_at_us: i64,
    pub(in crate::store) mac: Vec<u8>,
}

#[derive(FromRow)]
pub(in crate::store) struct SealedRow {
    pub(in crate::store) epoch: i64,
    pub(in crate::store) salt: Vec<u8>,
    pub(in crate::store) ciphertext: Vec<u8>,
}

impl SealedRow {
    pub(in crate::store) fn into_domain(self) -> Result<SealedBytes> {
        Ok(SealedBytes {
            epoch: u32::try_from(self.epoch).map_err(|_| Error::Corrupt("epoch"))?,
            salt: blob(&self.salt, "salt")?,
            ciphertext: self.ciphertext,
        })
    }
}

impl Store {
    /// The merchant with this name.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the row does not belong to its MAC.
    pub async fn merchant(&self, key: &MerchantKey) -> Result<Option<Merchant>> {
        let row: Option<MerchantRow> = match key {
            MerchantKey::Id(id) => {
                on_db!(read self, pool => sqlx::query_as(BY_ID).bind(&id.as_bytes()[..]).fetch_optional(pool).await)?
            }
            MerchantKey::External(id) => {
                on_db!(read self, pool => sqlx::query_as(BY_EXTERNAL_ID).bind(id.as_str()).fetch_optional(pool).await)?
            }
        };
        row.map(|row| self.check_merchant(row)).transpose()
    }

    /// At most `limit` merchants behind `after`, by id.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a row does not belong to its MAC.
    pub async fn merchants_after(&self, after: Option<MerchantId>, limit: u32) -> Result<Vec<Merchant>> {
        let after = after.map(|id| id.as_bytes().to_vec()).unwrap_or_default();
        let rows: Vec<MerchantRow> = on_db!(read self, pool => sqlx::query_as(PAGE).bind(&after[..]).bind(i64::from(limit)).fetch_all(pool).await)?;
        rows.into_iter().map(|row| self.check_merchant(row)).collect()
    }

    /// The merchant's sealed personal data, if there is any.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the row has not the form we wrote.
    pub async fn private(&self, merchant: MerchantId) -> Result<Option<SealedBytes>> {
        let row: Option<SealedRow> = on_db!(read self, pool => sqlx::query_as(PRIVATE).bind(&merchant.as_bytes()[..]).fetch_optional(pool).await)?;
        row.map(SealedRow::into_domain).transpose()
    }

    pub(in crate::store) fn check_merchant(&self, row: MerchantRow) -> Result<Merchant> {
        self.check_row(RowKind::Merchant, &[&row.id, row.external_id.as_bytes(), row.labels.as_bytes()], &row.mac)?;
        Ok(Merchant {
            id: MerchantId::from_bytes(blob(&row.id, "merchant id")?),
            external_id: ExternalId::parse(&row.external_id).map_err(|_| Error::Corrupt("external id"))?,
            labels: parse_labels(&row.labels)?,
            created_at: Timestamp::from_micros(row.created_at_us),
        })
    }

    /// Inserts the merchant; no event when another call made it first.
    pub(in crate::store) async fn insert_merchant(
        &self,
        tx: &mut Tx<'_>,
        merchant: &Merchant,
        act: &Act,
        now: Timestamp,
    ) -> Result<Option<Event>> {
        let labels = join_labels(&merchant.labels);
        let mac = self.merchant_tag(merchant, &labels);
        let row: Option<(Vec<u8>,)> = on_tx!(tx, conn => sqlx::query_as(INSERT)
            .bind(&merchant.id.as_bytes()[..])
            .bind(merchant.external_id.as_str())
            .bind(labels.as_str())
            .bind(merchant.created_at.as_micros())
            .bind(&mac.0[..])
            .fetch_optional(conn)
            .await)?;
        Ok(row.map(|_| act.event(EventKind::MerchantCreated, now).merchant(merchant.id)))
    }

    fn merchant_tag(&self, merchant: &Merchant, labels: &str) -> RowTag {
        self.tag_row(
            RowKind::Merchant,
            &[merchant.id.as_bytes(), merchant.external_id.as_str().as_bytes(), labels.as_bytes()],
        )
    }

    pub(in crate::store) async fn put_private(
        &self,
        tx: &mut Tx<'_>,
        merchant: MerchantId,
        private: &Private,
        now: Timestamp,
    ) -> Result<()> {
        on_tx!(tx, conn => sqlx::query(UPSERT_PRIVATE)
            .bind(&merchant.as_bytes()[..])
            .bind(private.email_index.as_ref().map(|index| &index[..]))
            .bind(i64::from(private.sealed.epoch))
            .bind(&private.sealed.salt[..])
            .bind(&private.sealed.ciphertext[..])
            .bind(now.as_micros())
            .run(conn)
            .await)?;
        Ok(())
    }
}

/// Labels have no spaces, so a space keeps them apart.
pub(in crate::store) fn join_labels(labels: &[Label]) -> String {
    labels.iter().map(Label::as_str).collect::<Vec<_>>().join(" ")
}

pub(in crate::store) fn parse_labels(text: &str) -> Result<Vec<Label>> {
    let labels: Vec<&str> = text.split(' ').filter(|label| !label.is_empty()).collect();
    Label::parse_all(&labels).map_err(|_| Error::Corrupt("labels"))
}
