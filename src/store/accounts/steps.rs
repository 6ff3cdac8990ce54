//! How an account comes to be open: asked for, sent, seen. A step is compare-and-set, so that one owner sends.

use super::{AccountRow, BY_PROVIDER_ID, with_account_fields};
use crate::domain::account::{
    Account, AccountKind, AccountRefusal, AccountState, OpeningState, ProviderAccount, SeenAccount,
};
use crate::domain::ambient::Timestamp;
use crate::domain::id::{AccountId, AppId, ConnectionId};
use crate::domain::mac::{RowKind, RowTag};
use crate::domain::trail::{Act, Event, EventKind};
use crate::store::requests::Request;
use crate::store::tx::{Run as _, Tx, on_tx, transaction};
use crate::store::{Error, Result, Store};

#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] = &[INSERT, STEP, SEE];

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

impl Store {
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
            .run(conn)
            .await)?;
        Ok(())
    }

    fn account_tag(&self, account: &Account) -> RowTag {
        with_account_fields(account, |fields| self.tag_row(RowKind::Account, fields))
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

/// The provider's words have no spaces; one that has gets none, so that a space keeps them apart where they are stored.
fn kept_words(words: &[String]) -> Vec<String> {
    let word = |word: &String| -> String {
        word.chars().take(WORD_CHARS_MAX).map(|c| if c.is_whitespace() || c.is_control() { '_' } else { c }).collect()
    };
    words.iter().filter(|word| !word.is_empty()).take(WORDS_MAX).map(word).collect()
}
