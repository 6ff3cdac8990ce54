//! Payment accounts: asked for, sent, open or in doubt. A step is compare-and-set, so that one owner sends.

use sqlx::FromRow;

use super::requests::Request;
use super::tx::{Tx, on_tx, transaction};
use super::{Error, Result, Store, blob, on_db};
use crate::domain::account::{
    Account, AccountKind, AccountRefusal, AccountState, OpeningState, ProviderAccount, SeenAccount,
};
use crate::domain::ambient::Timestamp;
use crate::domain::id::{AccountId, AppId, ConnectionId, MerchantId};
use crate::domain::mac::{RowKind, RowTag};
use crate::domain::trail::{Act, Event, EventKind};

#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] =
    &[BY_ID, BY_PROVIDER_ID, OF_MERCHANT, PAGE, UNSETTLED, INSERT, STEP, SEE, FIRST];

macro_rules! account_columns {
    () => {
        "SELECT id, app_id, connection_id, merchant_id, reference_id, provider_id, opening, name, description, kind, country, \
         currency, state, action_reasons, disabled_reasons, provider_created_at_us, disablement_at_us, seen_at_us, \
         refusal_error, refusal_code, refusal_description, sends, sent_at_us, created_at_us, changed_at_us, mac FROM accounts "
    };
}
const BY_ID: &str = concat!(account_columns!(), "WHERE id = $1");
const BY_PROVIDER_ID: &str = concat!(account_columns!(), "WHERE app_id = $1 AND provider_id = $2");
const OF_MERCHANT: &str = concat!(account_columns!(), "WHERE merchant_id = $1 AND id > $2 ORDER BY id LIMIT $3");
const PAGE: &str = concat!(account_columns!(), "WHERE id > $1 ORDER BY id LIMIT $2");
const UNSETTLED: &str =
    concat!(account_columns!(), "WHERE opening IN ('sent', 'in_doubt') AND id > $1 ORDER BY id LIMIT $2");
const INSERT: &str = "INSERT INTO accounts (id, app_id, connection_id, merchant_id, reference_id, provider_id, opening, name, \
     description, kind, country, currency, state, action_reasons, disabled_reasons, provider_created_at_us, \
     disablement_at_us, seen_at_us, sends, created_at_us, changed_at_us, mac) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)";
// Who has read the row and moves it first is its owner: sends counts what was sent, so that no step of an earlier try fits.
const STEP: &str = "UPDATE accounts SET opening = $1, changed_at_us = $2, sends = $3, sent_at_us = $4, refusal_error = $5, \
     refusal_code = $6, refusal_description = $7 WHERE id = $8 AND opening = $9 AND sends = $10 RETURNING id";
const SEE: &str = "UPDATE accounts SET opening = 'open', changed_at_us = $1, provider_id = $2, name = $3, description = $4, \
     kind = $5, country = $6, currency = $7, state = $8, action_reasons = $9, disabled_reasons = $10, \
     provider_created_at_us = $11, disablement_at_us = $12, seen_at_us = $13, mac = $14 \
     WHERE id = $15 AND opening = $16 AND sends = $17 RETURNING id";

const FIRST: &str = "SELECT MIN(COALESCE(provider_created_at_us, created_at_us)) FROM accounts \
                     WHERE connection_id = $1 AND opening = 'open'";

/// Most words of one list that are kept: the provider documents seven at most…
const WORDS_MAX: usize = 16;
/// …and most characters of one: the longest has twenty.
const WORD_CHARS_MAX: usize = 64;

/// A step of opening an account that brings no account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OpeningStep {
    /// From now on bytes may be on their way.
    Send,
    /// Provably nothing was done; why.
    NotSent(String),
    /// The provider said no.
    Refuse(AccountRefusal),
    /// Whether it was done is not known; why.
    Doubt(String),
    /// It is not there, and can no longer come.
    Absent,
}

impl OpeningStep {
    /// Where it leads.
    pub const fn target(&self) -> OpeningState {
        match self {
            Self::Send => OpeningState::Sent,
            Self::NotSent(_) => OpeningState::Requested,
            Self::Refuse(_) => OpeningState::Refused,
            Self::Doubt(_) => OpeningState::InDoubt,
            Self::Absent => OpeningState::Absent,
        }
    }

    /// For the event: a class, never the provider's words.
    fn why(&self) -> Option<&str> {
        match self {
            Self::Send | Self::Absent => None,
            Self::NotSent(why) | Self::Doubt(why) => Some(why),
            Self::Refuse(refusal) => refusal.code.as_deref(),
        }
    }
}

#[derive(FromRow)]
struct AccountRow {
    id: Vec<u8>,
    app_id: Vec<u8>,
    connection_id: Vec<u8>,
    merchant_id: Option<Vec<u8>>,
    reference_id: Option<String>,
    provider_id: Option<String>,
    opening: String,
    name: String,
    description: String,
    kind: Option<String>,
    country: String,
    currency: String,
    state: Option<String>,
    action_reasons: String,
    disabled_reasons: String,
    provider_created_at_us: Option<i64>,
    disablement_at_us: Option<i64>,
    seen_at_us: Option<i64>,
    refusal_error: Option<String>,
    refusal_code: Option<String>,
    refusal_description: Option<String>,
    sends: i64,
    sent_at_us: Option<i64>,
    created_at_us: i64,
    changed_at_us: i64,
    mac: Vec<u8>,
}

impl Store {
    /// The account with this id.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the row does not belong to its MAC.
    pub async fn account(&self, id: AccountId) -> Result<Option<Account>> {
        let row: Option<AccountRow> =
            on_db!(read self, pool => sqlx::query_as(BY_ID).bind(&id.as_bytes()[..]).fetch_optional(pool).await)?;
        row.map(|row| self.check_account(row)).transpose()
    }

    /// The account that the provider calls so.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the row does not belong to its MAC.
    pub async fn account_at_provider(&self, app: AppId, provider_id: &str) -> Result<Option<Account>> {
        let row: Option<AccountRow> = on_db!(read self, pool => sqlx::query_as(BY_PROVIDER_ID)
            .bind(&app.as_bytes()[..])
            .bind(provider_id)
            .fetch_optional(pool)
            .await)?;
        row.map(|row| self.check_account(row)).transpose()
    }

    /// At most `limit` accounts of the merchant behind `after`, by id.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a row does not belong to its MAC.
    pub async fn accounts_of(
        &self,
        merchant: MerchantId,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<Account>> {
        let rows: Vec<AccountRow> = on_db!(read self, pool => sqlx::query_as(OF_MERCHANT)
            .bind(&merchant.as_bytes()[..])
            .bind(behind(after))
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await)?;
        rows.into_iter().map(|row| self.check_account(row)).collect()
    }

    /// When the first account of a connection was made: no payment of its user can be older.
    ///
    /// # Errors
    /// As every read of the database.
    pub async fn first_account_at(&self, connection: ConnectionId) -> Result<Option<Timestamp>> {
        let (first,): (Option<i64>,) = on_db!(read self, pool => sqlx::query_as(FIRST)
            .bind(&connection.as_bytes()[..])
            .fetch_one(pool)
            .await)?;
        Ok(first.map(Timestamp::from_micros))
    }

    /// At most `limit` accounts behind `after`, by id.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a row does not belong to its MAC.
    pub async fn accounts_after(&self, after: Option<AccountId>, limit: u32) -> Result<Vec<Account>> {
        let rows: Vec<AccountRow> = on_db!(read self, pool => sqlx::query_as(PAGE)
            .bind(behind(after))
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await)?;
        rows.into_iter().map(|row| self.check_account(row)).collect()
    }

    /// At most `limit` accounts behind `after` by what was sent for which something may still come about, by id.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a row does not belong to its MAC.
    pub async fn unsettled_accounts_after(&self, after: Option<AccountId>, limit: u32) -> Result<Vec<Account>> {
        let rows: Vec<AccountRow> = on_db!(read self, pool => sqlx::query_as(UNSETTLED)
            .bind(behind(after))
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await)?;
        rows.into_iter().map(|row| self.check_account(row)).collect()
    }

    /// Notes that an account is wanted, with the request for it: before anything is sent.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the request's twin got here first.
    pub async fn request_account(&self, account: &Account, request: &Request, act: &Act) -> Result<()> {
        transaction!(self, "request_account", tx => {
            let now = tx.now();
            self.insert_account(tx, account).await?;
            self.note_request(tx, request, account.id.as_bytes(), now).await?;
            let event = about(act.event(EventKind::AccountRequested, now), account).reason(account.opening.as_str());
            Ok(((), vec![event]))
        })
    }

    /// Takes a step of the opening, if the account still stands where it was read.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it does not, or the step is not in the table.
    pub async fn step_account(&self, account: &Account, step: &OpeningStep, act: &Act) -> Result<Account> {
        let to = step.target();
        transaction!(self, "step_account", tx => {
            let now = tx.now();
            let is_send = to == OpeningState::Sent;
            let next = Account {
                opening: to,
                sends: if is_send { account.sends.saturating_add(1) } else { account.sends },
                sent_at: if is_send { Some(now) } else { account.sent_at },
                refusal: match step {
                    OpeningStep::Refuse(refusal) => Some(refusal.clone()),
                    _ => None,
                },
                changed_at: now,
                ..account.clone()
            };
            if !account.opening.may_become(to) {
                return Err(Error::Conflict("no such step of an account"));
            }
            let moved: Option<(Vec<u8>,)> = on_tx!(tx, conn => sqlx::query_as(STEP)
                .bind(to.as_str())
                .bind(now.as_micros())
                .bind(i64::from(next.sends))
                .bind(next.sent_at.map(Timestamp::as_micros))
                .bind(next.refusal.as_ref().map(|refusal| refusal.error.as_str()))
                .bind(next.refusal.as_ref().and_then(|refusal| refusal.code.as_deref()))
                .bind(next.refusal.as_ref().map(|refusal| refusal.description.as_str()))
                .bind(&account.id.as_bytes()[..])
                .bind(account.opening.as_str())
                .bind(i64::from(account.sends))
                .fetch_optional(conn)
                .await)?;
            moved.ok_or(Error::Conflict("the account was moved at the same time"))?;
            let mut event = about(act.event(EventKind::AccountChanged, now), account).reason(to.as_str());
            if let Some(why) = step.why() {
                event = event.detail("why", why);
            }
            Ok((next, vec![event]))
        })
    }

    /// Notes what the provider says of an account: opens one that was sent or in doubt, or keeps what is new of an open one.
    /// `because` is the event of what it was looked at for, if that is not on record elsewhere; `request` is noted with it.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the account stands elsewhere by now, or is not the one it was.
    pub async fn see_account(
        &self,
        account: &Account,
        said: &ProviderAccount,
        request: Option<&Request>,
        because: Option<EventKind>,
        act: &Act,
    ) -> Result<Account> {
        transaction!(self, "see_account", tx => {
            let now = tx.now();
            let next = seen(account, said, now);
            let is_new = account.opening != OpeningState::Open;
            if is_new && !account.opening.may_become(OpeningState::Open)
                || !is_new && account.provider_id != next.provider_id
            {
                return Err(Error::Conflict("the account is another one"));
            }
            self.write_seen(tx, account, &next).await?;
            if let Some(request) = request {
                self.note_request(tx, request, account.id.as_bytes(), now).await?;
            }
            let mut events = Vec::new();
            if let Some(kind) = because {
                events.push(about(act.event(kind, now), &next));
            }
            let state = |account: &Account| account.seen.as_ref().and_then(|seen| seen.state);
            if is_new || state(account) != state(&next) {
                let mut event = about(act.event(EventKind::AccountChanged, now), &next)
                    .reason(if is_new { OpeningState::Open.as_str() } else { "seen" });
                if let Some(state) = state(&next) {
                    event = event.detail("state", state.as_str());
                }
                events.push(event);
            }
            Ok((next, events))
        })
    }

    /// Takes over an account that somebody else opened, which serves no merchant. Nothing changes when it is known already.
    ///
    /// # Errors
    /// As every write of the database.
    pub async fn adopt_account(
        &self,
        app: AppId,
        connection: ConnectionId,
        said: &ProviderAccount,
        act: &Act,
    ) -> Result<()> {
        let id = AccountId::generate(&*self.clock, &*self.entropy);
        transaction!(self, "adopt_account", tx => {
            let now = tx.now();
            let known: Option<AccountRow> = on_tx!(tx, conn => sqlx::query_as(BY_PROVIDER_ID)
                .bind(&app.as_bytes()[..])
                .bind(said.id.as_str())
                .fetch_optional(conn)
                .await)?;
            if known.is_some() {
                return Ok(((), Vec::new()));
            }
            let nothing = Account {
                id,
                app,
                connection,
                merchant: None,
                reference_id: said.reference_id.clone(),
                provider_id: None,
                opening: OpeningState::Requested,
                name: String::new(),
                description: String::new(),
                kind: None,
                country: String::new(),
                currency: String::new(),
                seen: None,
                refusal: None,
                sends: 0,
                sent_at: None,
                created_at: now,
                changed_at: now,
            };
            let account = seen(&nothing, said, now);
            self.insert_account(tx, &account).await?;
            let event = about(act.event(EventKind::AccountChanged, now), &account).reason("imported");
            Ok(((), vec![event]))
        })
    }

    async fn write_seen(&self, tx: &mut Tx<'_>, before: &Account, next: &Account) -> Result<()> {
        let mac = self.account_tag(next);
        let seen = next.seen.as_ref().ok_or(Error::Corrupt("what was seen of an account"))?;
        let moved: Option<(Vec<u8>,)> = on_tx!(tx, conn => sqlx::query_as(SEE)
            .bind(next.changed_at.as_micros())
            .bind(next.provider_id.as_deref())
            .bind(next.name.as_str())
            .bind(next.description.as_str())
            .bind(next.kind.map(AccountKind::as_str))
            .bind(next.country.as_str())
            .bind(next.currency.as_str())
            .bind(seen.state.map(AccountState::as_str))
            .bind(kept_words(&seen.action_reasons).join(" "))
            .bind(kept_words(&seen.disabled_reasons).join(" "))
            .bind(seen.created_at.map(Timestamp::as_micros))
            .bind(seen.disablement_at.map(Timestamp::as_micros))
            .bind(seen.at.as_micros())
            .bind(&mac.0[..])
            .bind(&before.id.as_bytes()[..])
            .bind(before.opening.as_str())
            .bind(i64::from(before.sends))
            .fetch_optional(conn)
            .await)?;
        moved.map(|_| ()).ok_or(Error::Conflict("the account was moved at the same time"))
    }

    /// Inserts an account as it is: one that is asked for, or one that somebody else opened.
    pub(in crate::store) async fn insert_account(&self, tx: &mut Tx<'_>, account: &Account) -> Result<()> {
        let mac = self.account_tag(account);
        let seen = account.seen.as_ref();
        on_tx!(tx, conn => sqlx::query(INSERT)
            .bind(&account.id.as_bytes()[..])
            .bind(&account.app.as_bytes()[..])
            .bind(&account.connection.as_bytes()[..])
            .bind(account.merchant.as_ref().map(|id| &id.as_bytes()[..]))
            .bind(account.reference_id.as_deref())
            .bind(account.provider_id.as_deref())
            .bind(account.opening.as_str())
            .bind(account.name.as_str())
            .bind(account.description.as_str())
            .bind(account.kind.map(AccountKind::as_str))
            .bind(account.country.as_str())
            .bind(account.currency.as_str())
            .bind(seen.and_then(|seen| seen.state).map(AccountState::as_str))
            .bind(seen.map(|seen| kept_words(&seen.action_reasons).join(" ")).unwrap_or_default())
            .bind(seen.map(|seen| kept_words(&seen.disabled_reasons).join(" ")).unwrap_or_default())
            .bind(seen.and_then(|seen| seen.created_at).map(Timestamp::as_micros))
            .bind(seen.and_then(|seen| seen.disablement_at).map(Timestamp::as_micros))
            .bind(seen.map(|seen| seen.at.as_micros()))
            .bind(i64::from(account.sends))
            .bind(account.created_at.as_micros())
            .bind(account.changed_at.as_micros())
            .bind(&mac.0[..])
            .execute(conn)
            .await)?;
        Ok(())
    }

    fn account_tag(&self, account: &Account) -> RowTag {
        with_account_fields(account, |fields| self.tag_row(RowKind::Account, fields))
    }

    fn check_account(&self, row: AccountRow) -> Result<Account> {
        let account = row.into_domain()?;
        with_account_fields(&account.0, |fields| self.check_row(RowKind::Account, fields, &account.1))?;
        Ok(account.0)
    }
}

impl AccountRow {
    /// The account, and the MAC it must have.
    fn into_domain(self) -> Result<(Account, Vec<u8>)> {
        let state = parsed(self.state.as_deref(), AccountState::parse, "account state")?;
        let seen = self.seen_at_us.map(|at| SeenAccount {
            at: Timestamp::from_micros(at),
            state,
            action_reasons: split_words(&self.action_reasons),
            disabled_reasons: split_words(&self.disabled_reasons),
            created_at: self.provider_created_at_us.map(Timestamp::from_micros),
            disablement_at: self.disablement_at_us.map(Timestamp::from_micros),
        });
        let refusal = self.refusal_error.map(|error| AccountRefusal {
            error,
            code: self.refusal_code,
            description: self.refusal_description.unwrap_or_default(),
        });
        let merchant = self.merchant_id.map(|id| blob(&id, "merchant id").map(MerchantId::from_bytes)).transpose()?;
        let account = Account {
            id: AccountId::from_bytes(blob(&self.id, "account id")?),
            app: AppId::from_bytes(blob(&self.app_id, "app id")?),
            connection: ConnectionId::from_bytes(blob(&self.connection_id, "connection id")?),
            merchant,
            reference_id: self.reference_id,
            provider_id: self.provider_id,
            opening: OpeningState::parse(&self.opening).ok_or(Error::Corrupt("opening of an account"))?,
            name: self.name,
            description: self.description,
            kind: parsed(self.kind.as_deref(), AccountKind::parse, "account kind")?,
            country: self.country,
            currency: self.currency,
            seen,
            refusal,
            sends: u32::try_from(self.sends).map_err(|_| Error::Corrupt("sends of an account"))?,
            sent_at: self.sent_at_us.map(Timestamp::from_micros),
            created_at: Timestamp::from_micros(self.created_at_us),
            changed_at: Timestamp::from_micros(self.changed_at_us),
        };
        Ok((account, self.mac))
    }
}

/// The account with what the provider says of it.
fn seen(account: &Account, said: &ProviderAccount, now: Timestamp) -> Account {
    let is_new = account.opening != OpeningState::Open;
    Account {
        provider_id: Some(said.id.clone()),
        opening: OpeningState::Open,
        name: said.name.clone(),
        description: said.description.clone(),
        kind: said.kind,
        country: said.country.clone(),
        currency: said.currency.clone(),
        seen: Some(SeenAccount {
            at: now,
            state: said.state,
            action_reasons: kept_words(&said.action_reasons),
            disabled_reasons: kept_words(&said.disabled_reasons),
            created_at: said.created_at,
            disablement_at: said.disablement_at,
        }),
        changed_at: if is_new { now } else { account.changed_at },
        ..account.clone()
    }
}

/// An event about an account. The trail's format has no field for it; what it is about beside that has.
fn about(event: Event, account: &Account) -> Event {
    let mut event = event.connection(account.connection).detail("account", account.id);
    event.merchant = account.merchant;
    if let Some(id) = &account.provider_id {
        event = event.detail("provider_account", id);
    }
    event
}

/// What the MAC of an account covers: whose it is, and which one it is at the provider.
fn with_account_fields<R>(account: &Account, then: impl FnOnce(&[&[u8]]) -> R) -> R {
    let merchant = account.merchant.map(|merchant| *merchant.as_bytes());
    then(&[
        account.id.as_bytes(),
        account.app.as_bytes(),
        account.connection.as_bytes(),
        merchant.as_ref().map(|id| &id[..]).unwrap_or_default(),
        account.reference_id.as_deref().unwrap_or_default().as_bytes(),
        account.provider_id.as_deref().unwrap_or_default().as_bytes(),
    ])
}

fn behind(after: Option<AccountId>) -> Vec<u8> {
    after.map(|id| id.as_bytes().to_vec()).unwrap_or_default()
}

fn parsed<T>(text: Option<&str>, parse: impl FnOnce(&str) -> Option<T>, what: &'static str) -> Result<Option<T>> {
    text.map(|text| parse(text).ok_or(Error::Corrupt(what))).transpose()
}

/// The provider's words have no spaces; one that has gets none, so that a space keeps them apart where they are stored.
fn kept_words(words: &[String]) -> Vec<String> {
    let word = |word: &String| -> String {
        word.chars().take(WORD_CHARS_MAX).map(|c| if c.is_whitespace() || c.is_control() { '_' } else { c }).collect()
    };
    words.iter().filter(|word| !word.is_empty()).take(WORDS_MAX).map(word).collect()
}

fn split_words(text: &str) -> Vec<String> {
    text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}
