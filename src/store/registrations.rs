//! Registrations and imports: attempts that no browser journey stands behind.

use super::attempts::{NewAttempt, insert_attempt};
use super::links::ConnectionRow;
use super::merchants::Private;
use super::requests::Request;
use super::tx::{on_tx, transaction};
use super::{Error, Result, Store, on_db};
use crate::domain::attempt::AttemptKind;
use crate::domain::id::{AppId, AttemptId};
use crate::domain::merchant::{Connection, Merchant};
use crate::domain::trail::{Act, EventKind};

#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] = &[BY_EMAIL];

const BY_EMAIL: &str = "SELECT id, app_id, subject, role, head_version, created_at_us, mac FROM connections \
                        WHERE app_id = $1 AND email_index = $2 ORDER BY id LIMIT 1";

/// What RegisterMerchant writes before anything is sent.
#[derive(Clone, Debug)]
pub struct RegistrationOrder {
    /// The merchant; made if it is new.
    pub merchant: Merchant,
    /// Whether it was known when the order was made up.
    pub merchant_is_new: bool,
    /// Its personal data, if the order brings any that is new.
    pub private: Option<Private>,
    /// Within which app.
    pub app: AppId,
    /// The attempt to claim.
    pub attempt: AttemptId,
    /// Blind index of the e-mail address to register.
    pub email_index: [u8; 32],
    /// The request.
    pub request: Request,
}

/// What became of a claim to register.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RegistrationClaim {
    /// It is ours: this process, and no other, may send it, once.
    Claimed,
    /// A connection has that e-mail address.
    Known(Connection),
    /// Another attempt for this merchant or this address stands in the way.
    Busy,
}

impl Store {
    /// Claims a registration, and makes the merchant if it is new. Nothing is written unless it is claimed.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the merchant or the request was made at the same time.
    pub async fn claim_registration(&self, order: &RegistrationOrder, act: &Act) -> Result<RegistrationClaim> {
        transaction!(self, "claim_registration", tx => {
            let now = tx.now();
            let known: Option<ConnectionRow> = on_tx!(tx, conn => sqlx::query_as(BY_EMAIL)
                .bind(&order.app.as_bytes()[..])
                .bind(&order.email_index[..])
                .fetch_optional(conn)
                .await)?;
            if let Some(known) = known {
                return Ok((RegistrationClaim::Known(self.check_connection(known)?.0), Vec::new()));
            }
            let mut events = Vec::new();
            if order.merchant_is_new {
                let made = self.insert_merchant(tx, &order.merchant, act, now).await?;
                events.push(made.ok_or(Error::Conflict("the merchant was made at the same time"))?);
            }
            let claim = NewAttempt {
                id: order.attempt,
                app: order.app,
                kind: AttemptKind::Register,
                merchant: Some(order.merchant.id),
                connection: None,
                flow: None,
                code_hash: None,
                email_index: Some(&order.email_index),
            };
            if !insert_attempt(tx, &claim, now).await? {
                return Ok((RegistrationClaim::Busy, Vec::new()));
            }
            if let Some(private) = &order.private {
                self.put_private(tx, order.merchant.id, private, now).await?;
            }
            self.note_request(tx, &order.request, order.attempt.as_bytes(), now).await?;
            for kind in [EventKind::RegistrationRequested, EventKind::AttemptReceived] {
                events.push(act.event(kind, now).merchant(order.merchant.id).attempt(order.attempt));
            }
            Ok((RegistrationClaim::Claimed, events))
        })
    }

    /// Claims the import of credentials that exist already. Nothing is sent; the attempt is what their version is bound to.
    ///
    /// # Errors
    /// As every write of the database.
    pub async fn claim_import(&self, app: AppId, attempt: AttemptId, act: &Act) -> Result<()> {
        transaction!(self, "claim_import", tx => {
            let now = tx.now();
            let claim = NewAttempt {
                id: attempt,
                app,
                kind: AttemptKind::Import,
                merchant: None,
                connection: None,
                flow: None,
                code_hash: None,
                email_index: None,
            };
            if !insert_attempt(tx, &claim, now).await? {
                return Err(Error::Conflict("another attempt stands in the way"));
            }
            let event = act.event(EventKind::AttemptReceived, now).attempt(attempt);
            Ok(((), vec![event.detail("kind", AttemptKind::Import.as_str())]))
        })
    }

    /// The connection that has this e-mail address, by its blind index.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the row does not belong to its MAC.
    pub async fn connection_by_email(&self, app: AppId, email_index: &[u8; 32]) -> Result<Option<Connection>> {
        let row: Option<ConnectionRow> = on_db!(read self, pool => sqlx::query_as(BY_EMAIL)
            .bind(&app.as_bytes()[..])
            .bind(&email_index[..])
            .fetch_optional(pool)
            .await)?;
        row.map(|row| Ok(self.check_connection(row)?.0)).transpose()
    }
}
