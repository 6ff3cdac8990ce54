//! Payment accounts: rows and reading. [`steps`] has how one comes to be open.

pub(in crate::store) mod steps;

use sqlx::FromRow;

pub use self::steps::OpeningStep;

use super::{Error, Result, Store, blob, on_db};
use crate::domain::account::{Account, AccountKind, AccountRefusal, AccountState, OpeningState, SeenAccount};
use crate::domain::ambient::Timestamp;
use crate::domain::id::{AccountId, AppId, ConnectionId, MerchantId};
use crate::domain::mac::RowKind;

#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] = &[BY_ID, BY_PROVIDER_ID, OF_MERCHANT, PAGE, UNSETTLED, FIRST];

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
const FIRST: &str = "SELECT MIN(COALESCE(provider_created_at_us, created_at_us)) FROM accounts \
                     WHERE connection_id = $1 AND opening = 'open'";

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

fn split_words(text: &str) -> Vec<String> {
    text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}
