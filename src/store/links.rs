//! Connections and the links that lead to them.

use sqlx::FromRow;

use super::merchants::Private;
use super::requests::Request;
use super::tx::{Run as _, Tx, on_tx, transaction};
use super::{Error, Result, Store, blob, on_db};
use crate::domain::ambient::Timestamp;
use crate::domain::id::{AppId, ConnectionId, FlowId, LinkId, MerchantId};
use crate::domain::mac::{RowKind, RowTag};
use crate::domain::merchant::{Connection, ConsentFacts, Link, LinkState, Merchant, Role};
use crate::domain::name::Subject;
use crate::domain::trail::{Act, Event, EventKind, Outcome};

#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] = &[
    BY_ID,
    OF_MERCHANT,
    OPEN_OF_CONNECTION,
    ACTIVE_OF_MERCHANT,
    IDS_AFTER,
    INSERT,
    UPDATE,
    CONNECTION_BY_ID,
    CONNECTION_BY_SUBJECT,
    INSERT_CONNECTION,
];

const BY_ID: &str = "SELECT id, app_id, merchant_id, connection_id, state, flow_id, created_at_us, changed_at_us, \
                     row_version, mac FROM links WHERE id = $1";
const OF_MERCHANT: &str = "SELECT id, app_id, merchant_id, connection_id, state, flow_id, created_at_us, changed_at_us, \
                           row_version, mac FROM links WHERE merchant_id = $1 ORDER BY id DESC";
const OPEN_OF_CONNECTION: &str = "SELECT id, app_id, merchant_id, connection_id, state, flow_id, created_at_us, changed_at_us, row_version, mac \
     FROM links WHERE connection_id = $1 AND state <> 'closed' ORDER BY id";
const ACTIVE_OF_MERCHANT: &str = "SELECT id, app_id, merchant_id, connection_id, state, flow_id, created_at_us, changed_at_us, row_version, mac \
     FROM links WHERE app_id = $1 AND merchant_id = $2 AND state = 'active'";
const IDS_AFTER: &str = "SELECT id FROM links WHERE id > $1 ORDER BY id LIMIT $2";
const INSERT: &str = "INSERT INTO links (id, app_id, merchant_id, connection_id, state, flow_id, created_at_us, \
                      changed_at_us, row_version, mac) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
const UPDATE: &str = "UPDATE links SET state = $1, changed_at_us = $2, row_version = $3, mac = $4, flow_id = $5 \
                      WHERE id = $6 AND row_version = $7";
const CONNECTION_BY_ID: &str =
    "SELECT id, app_id, subject, role, head_version, created_at_us, mac FROM connections WHERE id = $1";
const CONNECTION_BY_SUBJECT: &str = "SELECT id, app_id, subject, role, head_version, created_at_us, mac FROM connections WHERE app_id = $1 AND subject = $2";
const INSERT_CONNECTION: &str = "INSERT INTO connections (id, app_id, subject, role, head_version, created_at_us, mac) \
                                 VALUES ($1, $2, $3, $4, 0, $5, $6)";

#[derive(FromRow)]
pub(in crate::store) struct LinkRow {
    pub(in crate::store) id: Vec<u8>,
    pub(in crate::store) app_id: Vec<u8>,
    pub(in crate::store) merchant_id: Vec<u8>,
    pub(in crate::store) connection_id: Vec<u8>,
    pub(in crate::store) state: String,
    pub(in crate::store) flow_id: Option<Vec<u8>>,
    pub(in crate::store) created_at_us: i64,
    pub(in crate::store) changed_at_us: i64,
    pub(in crate::store) row_version: i64,
    pub(in crate::store) mac: Vec<u8>,
}

#[derive(FromRow)]
pub(in crate::store) struct ConnectionRow {
    pub(in crate::store) id: Vec<u8>,
    pub(in crate::store) app_id: Vec<u8>,
    pub(in crate::store) subject: String,
    pub(in crate::store) role: String,
    pub(in crate::store) head_version: i64,
    pub(in crate::store) created_at_us: i64,
    pub(in crate::store) mac: Vec<u8>,
}

/// What to do with a held link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolution {
    /// It serves the merchant from now on; an active one beside it is closed.
    Activate,
    /// It never will.
    Close,
}

/// What LinkMerchant writes.
#[derive(Clone, Debug)]
pub struct LinkOrder {
    /// The link to make.
    pub link: LinkId,
    /// Within which app.
    pub app: AppId,
    /// The merchant; made if it is new.
    pub merchant: Merchant,
    /// Whether it was known when the order was made up.
    pub merchant_is_new: bool,
    /// Its personal data, if the order brings any.
    pub private: Option<Private>,
    /// The connection that is to serve it too.
    pub connection: ConnectionId,
    /// The request.
    pub request: Request,
}

impl Store {
    /// Makes an active link from a merchant to a connection that exists, and the merchant if it is new.
    ///
    /// # Errors
    /// [`Error::Conflict`] when merchant, request or another open link of the merchant was made at the same time.
    pub async fn link_further(&self, order: &LinkOrder, act: &Act) -> Result<Link> {
        transaction!(self, "link_further", tx => {
            let now = tx.now();
            let mut events = Vec::new();
            if order.merchant_is_new {
                let made = self.insert_merchant(tx, &order.merchant, act, now).await?;
                events.push(made.ok_or(Error::Conflict("the merchant was made at the same time"))?);
            }
            if let Some(private) = &order.private {
                self.put_private(tx, order.merchant.id, private, now).await?;
            }
            let (facts, _) = self.consent_facts(tx, order.app, order.merchant.id, order.connection).await?;
            if facts.existing.is_some() || facts.linked_elsewhere {
                return Err(Error::Conflict("the merchant was linked at the same time"));
            }
            let link = Link {
                id: order.link,
                app: order.app,
                merchant: order.merchant.id,
                connection: order.connection,
                state: LinkState::Active,
                flow: None,
                created_at: now,
                changed_at: now,
                row_version: 1,
            };
            events.push(self.insert_link(tx, &link, act).await?);
            self.note_request(tx, &order.request, link.id.as_bytes(), now).await?;
            Ok((link, events))
        })
    }

    /// The link with this id.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the row does not belong to its MAC.
    pub async fn link(&self, id: LinkId) -> Result<Option<Link>> {
        let row: Option<LinkRow> =
            on_db!(read self, pool => sqlx::query_as(BY_ID).bind(&id.as_bytes()[..]).fetch_optional(pool).await)?;
        row.map(|row| self.check_link(row)).transpose()
    }

    /// The merchant's links, newest first; closed ones too.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a row does not belong to its MAC.
    pub async fn links(&self, merchant: MerchantId) -> Result<Vec<Link>> {
        let rows: Vec<LinkRow> = on_db!(read self, pool => sqlx::query_as(OF_MERCHANT).bind(&merchant.as_bytes()[..]).fetch_all(pool).await)?;
        rows.into_iter().map(|row| self.check_link(row)).collect()
    }

    /// The connection's links that are active or held.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a row does not belong to its MAC.
    pub async fn open_links_of(&self, connection: ConnectionId) -> Result<Vec<Link>> {
        let rows: Vec<LinkRow> = on_db!(read self, pool => sqlx::query_as(OPEN_OF_CONNECTION)
            .bind(&connection.as_bytes()[..])
            .fetch_all(pool)
            .await)?;
        rows.into_iter().map(|row| self.check_link(row)).collect()
    }

    /// At most `limit` link ids behind `after`.
    ///
    /// # Errors
    /// As every read of the database.
    pub async fn link_ids_after(&self, after: Option<LinkId>, limit: u32) -> Result<Vec<LinkId>> {
        let after = after.map(|id| id.as_bytes().to_vec()).unwrap_or_default();
        let rows: Vec<(Vec<u8>,)> = on_db!(read self, pool => sqlx::query_as(IDS_AFTER)
            .bind(&after[..])
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await)?;
        rows.iter().map(|(id,)| Ok(LinkId::from_bytes(blob(id, "link id")?))).collect()
    }

    /// The connection with this id.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the row does not belong to its MAC.
    pub async fn connection(&self, id: ConnectionId) -> Result<Option<Connection>> {
        let row: Option<ConnectionRow> = on_db!(read self, pool => sqlx::query_as(CONNECTION_BY_ID)
            .bind(&id.as_bytes()[..])
            .fetch_optional(pool)
            .await)?;
        row.map(|row| Ok(self.check_connection(row)?.0)).transpose()
    }

    /// The connection of this provider user.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the row does not belong to its MAC.
    pub async fn connection_of(&self, app: AppId, subject: &Subject) -> Result<Option<Connection>> {
        let row: Option<ConnectionRow> = on_db!(read self, pool => sqlx::query_as(CONNECTION_BY_SUBJECT)
            .bind(&app.as_bytes()[..])
            .bind(subject.as_str())
            .fetch_optional(pool)
            .await)?;
        row.map(|row| Ok(self.check_connection(row)?.0)).transpose()
    }

    /// Decides about a held link: activates it, closing the active one beside it, or closes it.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the link is not held (any more).
    pub async fn resolve_link(
        &self,
        link: &Link,
        resolution: Resolution,
        request: Option<&Request>,
        act: &Act,
        reason: &str,
    ) -> Result<()> {
        transaction!(self, "resolve_link", tx => {
            let now = tx.now();
            let row: Option<LinkRow> =
                on_tx!(tx, conn => sqlx::query_as(BY_ID).bind(&link.id.as_bytes()[..]).fetch_optional(conn).await)?;
            let current = row.map(|row| self.check_link(row)).transpose()?.ok_or(Error::Conflict("the link is gone"))?;
            if current.state != LinkState::Held {
                return Err(Error::Conflict("the link is not held"));
            }
            let mut events = Vec::new();
            if resolution == Resolution::Activate {
                let beside: Option<LinkRow> = on_tx!(tx, conn => sqlx::query_as(ACTIVE_OF_MERCHANT)
                    .bind(&current.app.as_bytes()[..])
                    .bind(&current.merchant.as_bytes()[..])
                    .fetch_optional(conn)
                    .await)?;
                if let Some(beside) = beside.map(|row| self.check_link(row)).transpose()? {
                    events.push(self.set_link(tx, &beside, LinkState::Closed, act, "replaced", now).await?);
                }
            }
            let next = match resolution {
                Resolution::Activate => LinkState::Active,
                Resolution::Close => LinkState::Closed,
            };
            events.push(self.set_link(tx, &current, next, act, reason, now).await?);
            if let Some(request) = request {
                self.note_request(tx, request, current.id.as_bytes(), now).await?;
            }
            Ok(((), events))
        })
    }

    /// What the link decision looks at.
    pub(in crate::store) async fn consent_facts(
        &self,
        tx: &mut Tx<'_>,
        app: AppId,
        merchant: MerchantId,
        connection: ConnectionId,
    ) -> Result<(ConsentFacts, Option<Link>)> {
        let rows: Vec<LinkRow> = on_tx!(tx, conn => sqlx::query_as(OPEN_OF_CONNECTION)
            .bind(&connection.as_bytes()[..])
            .fetch_all(conn)
            .await)?;
        let of_connection = rows.into_iter().map(|row| self.check_link(row)).collect::<Result<Vec<_>>>()?;
        let active: Option<LinkRow> = on_tx!(tx, conn => sqlx::query_as(ACTIVE_OF_MERCHANT)
            .bind(&app.as_bytes()[..])
            .bind(&merchant.as_bytes()[..])
            .fetch_optional(conn)
            .await)?;
        let active = active.map(|row| self.check_link(row)).transpose()?;
        let existing = of_connection.iter().find(|link| link.merchant == merchant).cloned();
        let facts = ConsentFacts {
            existing: existing.as_ref().map(|link| link.state),
            serves_another: of_connection.iter().any(|link| link.merchant != merchant),
            linked_elsewhere: active.is_some_and(|link| link.connection != connection),
        };
        Ok((facts, existing))
    }

    /// Makes a link.
    pub(in crate::store) async fn insert_link(&self, tx: &mut Tx<'_>, link: &Link, act: &Act) -> Result<Event> {
        let mac = with_link_fields(link, |fields| self.tag_row(RowKind::Link, fields));
        on_tx!(tx, conn => sqlx::query(INSERT)
            .bind(&link.id.as_bytes()[..])
            .bind(&link.app.as_bytes()[..])
            .bind(&link.merchant.as_bytes()[..])
            .bind(&link.connection.as_bytes()[..])
            .bind(link.state.as_str())
            .bind(link.flow.as_ref().map(|flow| &flow.as_bytes()[..]))
            .bind(link.created_at.as_micros())
            .bind(link.changed_at.as_micros())
            .bind(link.row_version)
            .bind(&mac.0[..])
            .run(conn)
            .await)?;
        Ok(act
            .event(EventKind::LinkCreated, link.created_at)
            .merchant(link.merchant)
            .connection(link.connection)
            .link(link.id)
            .reason(link.state.as_str()))
    }

    /// Changes a link's state, and its flow to the one given; the row version makes a lost race an error.
    pub(in crate::store) async fn set_link(
        &self,
        tx: &mut Tx<'_>,
        link: &Link,
        state: LinkState,
        act: &Act,
        why: &str,
        now: Timestamp,
    ) -> Result<Event> {
        let next = Link { state, changed_at: now, row_version: link.row_version.saturating_add(1), ..link.clone() };
        let mac = with_link_fields(&next, |fields| self.tag_row(RowKind::Link, fields));
        let done = on_tx!(tx, conn => sqlx::query(UPDATE)
            .bind(state.as_str())
            .bind(now.as_micros())
            .bind(next.row_version)
            .bind(&mac.0[..])
            .bind(next.flow.as_ref().map(|flow| &flow.as_bytes()[..]))
            .bind(&link.id.as_bytes()[..])
            .bind(link.row_version)
            .run(conn)
            .await)?;
        if done != 1 {
            return Err(Error::Conflict("the link was changed at the same time"));
        }
        Ok(act
            .event(EventKind::LinkChanged, now)
            .outcome(Outcome::Success)
            .merchant(link.merchant)
            .connection(link.connection)
            .link(link.id)
            .reason(state.as_str())
            .detail("why", why))
    }

    /// The connection of this user, made if it is new, and its head version.
    pub(in crate::store) async fn upsert_connection(
        &self,
        tx: &mut Tx<'_>,
        connection: &Connection,
        act: &Act,
    ) -> Result<(Connection, i64, Option<Event>)> {
        let row: Option<ConnectionRow> = on_tx!(tx, conn => sqlx::query_as(CONNECTION_BY_SUBJECT)
            .bind(&connection.app.as_bytes()[..])
            .bind(connection.subject.as_str())
            .fetch_optional(conn)
            .await)?;
        if let Some(row) = row {
            let (known, head_version) = self.check_connection(row)?;
            return Ok((known, head_version, None));
        }
        let mac = self.tag_connection(connection, 0);
        on_tx!(tx, conn => sqlx::query(INSERT_CONNECTION)
            .bind(&connection.id.as_bytes()[..])
            .bind(&connection.app.as_bytes()[..])
            .bind(connection.subject.as_str())
            .bind(connection.role.as_str())
            .bind(connection.created_at.as_micros())
            .bind(&mac.0[..])
            .run(conn)
            .await)?;
        let event = act
            .event(EventKind::ConnectionCreated, connection.created_at)
            .connection(connection.id)
            .detail("subject", &connection.subject)
            .detail("role", connection.role.as_str());
        Ok((connection.clone(), 0, Some(event)))
    }

    pub(in crate::store) fn check_link(&self, row: LinkRow) -> Result<Link> {
        let link = Link {
            id: LinkId::from_bytes(blob(&row.id, "link id")?),
            app: AppId::from_bytes(blob(&row.app_id, "app id")?),
            merchant: MerchantId::from_bytes(blob(&row.merchant_id, "merchant id")?),
            connection: ConnectionId::from_bytes(blob(&row.connection_id, "connection id")?),
            state: LinkState::parse(&row.state).ok_or(Error::Corrupt("link state"))?,
            flow: row.flow_id.map(|id| Ok::<_, Error>(FlowId::from_bytes(blob(&id, "flow id")?))).transpose()?,
            created_at: Timestamp::from_micros(row.created_at_us),
            changed_at: Timestamp::from_micros(row.changed_at_us),
            row_version: row.row_version,
        };
        with_link_fields(&link, |fields| self.check_row(RowKind::Link, fields, &row.mac))?;
        Ok(link)
    }

    pub(in crate::store) fn tag_connection(&self, connection: &Connection, head_version: i64) -> RowTag {
        self.tag_row(
            RowKind::Connection,
            &[
                connection.id.as_bytes(),
                connection.app.as_bytes(),
                connection.subject.as_str().as_bytes(),
                connection.role.as_str().as_bytes(),
                &head_version.to_be_bytes(),
            ],
        )
    }

    pub(in crate::store) fn check_connection(&self, row: ConnectionRow) -> Result<(Connection, i64)> {
        self.check_row(
            RowKind::Connection,
            &[&row.id, &row.app_id, row.subject.as_bytes(), row.role.as_bytes(), &row.head_version.to_be_bytes()],
            &row.mac,
        )?;
        let connection = Connection {
            id: ConnectionId::from_bytes(blob(&row.id, "connection id")?),
            app: AppId::from_bytes(blob(&row.app_id, "app id")?),
            subject: Subject::parse(&row.subject).map_err(|_| Error::Corrupt("subject"))?,
            role: Role::parse(&row.role).ok_or(Error::Corrupt("role"))?,
            created_at: Timestamp::from_micros(row.created_at_us),
        };
        Ok((connection, row.head_version))
    }
}

/// What the MAC of a link covers: all but the times.
fn with_link_fields<R>(link: &Link, then: impl FnOnce(&[&[u8]]) -> R) -> R {
    let flow = link.flow.map(|flow| *flow.as_bytes());
    then(&[
        link.id.as_bytes(),
        link.app.as_bytes(),
        link.merchant.as_bytes(),
        link.connection.as_bytes(),
        link.state.as_str().as_bytes(),
        flow.as_ref().map(|id| &id[..]).unwrap_or_default(),
        &link.row_version.to_be_bytes(),
    ])
}
