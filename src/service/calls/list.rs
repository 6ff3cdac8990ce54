//! Looking through the call log, newest first.

use crate::domain::ambient::Timestamp;
use crate::domain::id::{AttemptId, ConnectionId, MerchantId};
use crate::domain::provider_call::CallOutcome;
use crate::domain::trail::{Event, EventKind};
use crate::policy::{Grant, ReadAudit};
use crate::service::error::Result;
use crate::service::events::with_details;
use crate::service::{Call, Services};
use crate::store::{CallPlace, CallsOf, LoggedCall, MerchantKey};

/// Most calls that one page of a list looks at.
const SCAN_MAX: u32 = 500;

/// Which calls to list: those that fit everything that is given.
#[derive(Clone, Default, Debug)]
pub struct CallFilter {
    /// By the provider's name of it.
    pub call: Option<String>,
    /// Of this attempt.
    pub attempt: Option<AttemptId>,
    /// About this merchant.
    pub merchant: Option<MerchantKey>,
    /// With this connection's token.
    pub connection: Option<ConnectionId>,
    /// Which ended so.
    pub outcome: Option<CallOutcome>,
    /// Which the provider answered by this error code.
    pub code: Option<String>,
    /// Begun not before this time.
    pub after: Option<Timestamp>,
    /// Begun before this time.
    pub before: Option<Timestamp>,
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct CallPage {
    /// The calls, newest first.
    pub calls: Vec<LoggedCall>,
    /// The place above the next page; `None` when there is none.
    pub next: Option<CallPlace>,
}

impl Services {
    /// Calls to the provider that fit the filter, newest first, below a place.
    ///
    /// # Errors
    /// [`crate::service::Kind::PermissionDenied`]; [`crate::service::Kind::NotFound`] for an external id that nobody has.
    pub async fn provider_calls(
        &self,
        call: &Call,
        filter: &CallFilter,
        below: Option<CallPlace>,
        page_size: usize,
    ) -> Result<CallPage> {
        let (grant, act) = self.permit_audit(call).await?;
        let merchant = self.named_merchant(filter.merchant.as_ref(), &act).await?;
        let page = self.scan_calls(&grant, filter, merchant, below, page_size).await?;
        let event = act.event(EventKind::AuditRead, self.now()).reason("provider_calls");
        let event = described(event.detail("purpose", grant.purpose()), filter, merchant);
        self.parts.auditor.record(event.detail("count", page.calls.len())).await?;
        Ok(page)
    }

    async fn scan_calls(
        &self,
        _permission: &Grant<ReadAudit>,
        filter: &CallFilter,
        merchant: Option<MerchantId>,
        below: Option<CallPlace>,
        page_size: usize,
    ) -> Result<CallPage> {
        let of = match (filter.attempt, filter.connection, merchant) {
            (Some(attempt), _, _) => CallsOf::Attempt(attempt),
            (None, Some(connection), _) => CallsOf::Connection(connection),
            (None, None, Some(merchant)) => CallsOf::Merchant(merchant),
            (None, None, None) => CallsOf::All,
        };
        let before = below.unwrap_or(CallPlace::LAST);
        let before = filter.before.map_or(before, |time| before.min(CallPlace::before(time)));
        let oldest = filter.after.unwrap_or(Timestamp::from_micros(i64::MIN));
        let scanned = self.parts.store.calls(of, before, oldest, SCAN_MAX).await?;
        let scan_is_full = u32::try_from(scanned.len()).is_ok_and(|found| found == SCAN_MAX);
        let mut page = CallPage { calls: Vec::new(), next: None };
        let mut last = None;
        for logged in scanned {
            if page.calls.len() == page_size {
                page.next = last;
                return Ok(page);
            }
            last = Some(CallPlace { at: logged.at, id: logged.id });
            if filter.fits(merchant, &logged) {
                page.calls.push(logged);
            }
        }
        if scan_is_full {
            page.next = last;
        }
        Ok(page)
    }
}

impl CallFilter {
    fn fits(&self, merchant: Option<MerchantId>, logged: &LoggedCall) -> bool {
        let about = &logged.about;
        self.call.as_ref().is_none_or(|call| *call == logged.call)
            && (self.attempt.is_none() || self.attempt == about.attempt)
            && (merchant.is_none() || merchant == about.merchant)
            && (self.connection.is_none() || self.connection == about.connection)
            && self.outcome.is_none_or(|outcome| outcome == logged.outcome)
            && (self.code.is_none() || self.code == logged.code)
    }
}

fn described(event: Event, filter: &CallFilter, merchant: Option<MerchantId>) -> Event {
    let details = [
        ("call", filter.call.clone()),
        ("attempt", filter.attempt.map(|id| id.to_string())),
        ("merchant", merchant.map(|id| id.to_string())),
        ("connection", filter.connection.map(|id| id.to_string())),
        ("outcome", filter.outcome.map(|outcome| outcome.as_str().to_owned())),
        ("code", filter.code.clone()),
        ("after", filter.after.map(Timestamp::to_rfc3339)),
        ("before", filter.before.map(Timestamp::to_rfc3339)),
    ];
    with_details(event, details)
}
