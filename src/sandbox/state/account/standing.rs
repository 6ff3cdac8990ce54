//! How an account stands: identity, bank, money, members; and what can change of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Cents;
use crate::domain::ambient::Timestamp;

/// State of an account's identity check (WePay API docs, kyc page).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum KycState {
    /// Nothing is known of the owner.
    #[default]
    Unsubmitted,
    /// Submitted, not looked at.
    Unverified,
    /// Somebody looks at it.
    InReview,
    /// The owner must send documents.
    RequireDocs,
    /// Known.
    Verified,
}

impl KycState {
    /// The name on the wire.
    pub(in crate::sandbox) const fn as_str(self) -> &'static str {
        match self {
            Self::Unsubmitted => "unsubmitted",
            Self::Unverified => "unverified",
            Self::InReview => "in_review",
            Self::RequireDocs => "require_docs",
            Self::Verified => "verified",
        }
    }
}

/// Why an account is disabled (WePay.NET, mirrored from the WePay API docs).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum DisabledReason {
    /// The account itself serves fraud.
    Fraud,
    /// Too many payers took their money back.
    HighRiskChargeback,
    /// The platform reported the merchant.
    ReportedUser,
    /// The terms of service were broken.
    TosViolation,
    /// The merchant works where WePay does not.
    CountryNotSupported,
    /// The balance stayed negative.
    ClosedForLoss,
    /// Identity or bank account were not given in time; giving them mends it.
    NoSettlementPath,
}

impl DisabledReason {
    /// The name on the wire.
    pub(in crate::sandbox) const fn as_str(self) -> &'static str {
        match self {
            Self::Fraud => "fraud",
            Self::HighRiskChargeback => "high_risk_chargeback",
            Self::ReportedUser => "reported_user",
            Self::TosViolation => "tos_violation",
            Self::CountryNotSupported => "country_not_supported",
            Self::ClosedForLoss => "closed_for_loss",
            Self::NoSettlementPath => "no_settlement_path",
        }
    }
}

/// Whether WePay has looked at an account that wants a card reader (WePay.NET).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum Review {
    /// Nobody asked.
    #[default]
    NotRequested,
    /// Asked for.
    Pending,
    /// Done.
    #[serde(rename = "review_ok")]
    Done,
}

impl Review {
    /// The name on the wire.
    pub(in crate::sandbox) const fn as_str(self) -> &'static str {
        match self {
            Self::NotRequested => "not_requested",
            Self::Pending => "pending",
            Self::Done => "review_ok",
        }
    }
}

/// How money leaves an account (WePay.NET).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum Settlement {
    /// To a bank account.
    Ach,
    /// By mail.
    Check,
}

impl Settlement {
    /// The name on the wire.
    pub(in crate::sandbox) const fn as_str(self) -> &'static str {
        match self {
            Self::Ach => "ach",
            Self::Check => "check",
        }
    }
}

/// How often money leaves an account (WePay.NET).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum Frequency {
    /// Every day.
    Daily,
    /// Every week.
    Weekly,
    /// Every month.
    Monthly,
}

impl Frequency {
    /// The name on the wire.
    pub(in crate::sandbox) const fn as_str(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        }
    }

    /// The frequency of that name.
    pub(in crate::sandbox) fn parse(name: &str) -> Option<Self> {
        [Self::Daily, Self::Weekly, Self::Monthly].into_iter().find(|known| known.as_str() == name)
    }

    /// How long one period is, in days; a month is thirty (our choice: only the next date is shown).
    pub(in crate::sandbox) const fn days(self) -> u64 {
        match self {
            Self::Daily => 1,
            Self::Weekly => 7,
            Self::Monthly => 30,
        }
    }
}

/// Where an account's money goes.
#[derive(Clone, Serialize, Deserialize)]
pub(in crate::sandbox) struct Bank {
    /// How.
    pub(in crate::sandbox) settlement: Settlement,
    /// Masked, such as `WellsFargo XXXXX3102` (WePay API docs, account page); for a check, to whom it goes.
    pub(in crate::sandbox) name: String,
    /// How often.
    pub(in crate::sandbox) frequency: Frequency,
    /// Since when, in microseconds since 1970.
    pub(in crate::sandbox) since_us: i64,
    /// Length of a period in microseconds, already divided by the time scale.
    pub(in crate::sandbox) every_us: i64,
}

impl Bank {
    /// Where money goes from now on; `scaled` divides a documented duration by the time scale.
    pub(in crate::sandbox) fn of(
        settlement: Settlement,
        name: &str,
        frequency: Frequency,
        now: Timestamp,
        scaled: impl Fn(Duration) -> Duration,
    ) -> Self {
        let every = scaled(Duration::from_secs(frequency.days().saturating_mul(24 * 60 * 60)));
        Self {
            settlement,
            name: name.to_owned(),
            frequency,
            since_us: now.as_micros(),
            every_us: i64::try_from(every.as_micros()).unwrap_or(i64::MAX),
        }
    }

    /// When money leaves next.
    pub(in crate::sandbox) fn next(&self, now: Timestamp) -> Timestamp {
        let every = self.every_us.max(1);
        let gone = now.as_micros().saturating_sub(self.since_us).max(0) / every;
        Timestamp::from_micros(self.since_us.saturating_add(gone.saturating_add(1).saturating_mul(every)))
    }
}

/// What a member may do (WePay.NET).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum Role {
    /// Look.
    Member,
    /// Change all but identity and bank.
    Moderator,
    /// The financial owner.
    Admin,
}

impl Role {
    /// The name on the wire.
    pub(in crate::sandbox) const fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Moderator => "moderator",
            Self::Admin => "admin",
        }
    }

    /// The role of that name.
    pub(in crate::sandbox) fn parse(name: &str) -> Option<Self> {
        [Self::Member, Self::Moderator, Self::Admin].into_iter().find(|known| known.as_str() == name)
    }
}

/// A user who has access to somebody else's account.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(in crate::sandbox) struct Member {
    /// Who.
    pub(in crate::sandbox) user_id: u64,
    /// As what.
    pub(in crate::sandbox) role: Role,
}

/// How an account stands.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(in crate::sandbox) struct Standing {
    /// Identity.
    pub(in crate::sandbox) kyc: KycState,
    /// Whether identity was submitted by call, and waits to be authorized or was.
    pub(in crate::sandbox) is_submitted: bool,
    /// Whose identity it is: `first`, `middle`, `last`.
    pub(in crate::sandbox) legal_name: Option<Value>,
    /// What the app knows already, for the update page to show.
    pub(in crate::sandbox) prefill_info: Option<Value>,
    /// Bank account, or address for checks.
    pub(in crate::sandbox) bank: Option<Bank>,
    /// Review.
    pub(in crate::sandbox) review: Review,
    /// Why it is disabled, where somebody said so.
    pub(in crate::sandbox) disabled_reason: Option<DisabledReason>,
    /// Fee schedule, counted from zero.
    pub(in crate::sandbox) fee_schedule_slot: Option<u64>,
    /// Who has access beside the owner.
    pub(in crate::sandbox) members: Vec<Member>,
    /// Money that can leave.
    pub(in crate::sandbox) balance: Cents,
    /// Money on its way in.
    pub(in crate::sandbox) incoming: Cents,
    /// Money held back.
    pub(in crate::sandbox) reserved: Cents,
    /// All that ever came in.
    pub(in crate::sandbox) received: Cents,
    /// When the first payment came, in microseconds since 1970.
    pub(in crate::sandbox) first_payment_at_us: Option<i64>,
    /// When a pending account takes no further payment.
    pub(in crate::sandbox) blocks_at_us: Option<i64>,
    /// When a pending account is deleted, and one whose owner must act is disabled.
    pub(in crate::sandbox) ends_at_us: Option<i64>,
    /// A pending account that takes no further payment.
    pub(in crate::sandbox) is_blocked: bool,
    /// Whether money ever left.
    pub(in crate::sandbox) has_withdrawn: bool,
    /// What the app said when it deleted the account.
    pub(in crate::sandbox) delete_reason: Option<String>,
}

/// What can change of a standing.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub(in crate::sandbox) enum Change {
    /// The identity check is at another state.
    Kyc { state: KycState },
    /// Identity was submitted by call.
    Submitted { legal_name: Value },
    /// The app told what it knows already.
    Prefilled { info: Value },
    /// Where the money goes; none takes it away.
    Bank { bank: Option<Bank> },
    /// The review is at another state.
    Reviewed { review: Review },
    /// Why it is disabled.
    DisabledFor { reason: DisabledReason },
    /// Another fee schedule; none is the ordinary one.
    FeeSchedule { slot: Option<u64> },
    /// A user has this role; none takes it away.
    Member { user_id: u64, role: Option<Role> },
    /// A payment came. The two times are those of the first one, which alone sets them, and only where the owner has
    /// something to do.
    Paid { amount: Cents, is_pending: bool, at_us: i64, blocks_at_us: Option<i64>, ends_at_us: Option<i64> },
    /// A pending account takes no further payment.
    Blocked,
    /// What was on its way is there.
    Cleared,
    /// This much of the money is held back.
    Reserved { amount: Cents },
    /// All the money left: to the owner, or back to the payers.
    Emptied { is_withdrawal: bool },
    /// Why it was deleted.
    DeletedFor { reason: String },
}

impl Standing {
    /// Identity and bank of an account that needs nothing more.
    pub(in crate::sandbox) fn complete(bank: Bank) -> Self {
        Self { kyc: KycState::Verified, bank: Some(bank), ..Self::default() }
    }

    /// Whether nothing is left for the owner to do.
    pub(in crate::sandbox) fn is_complete(&self) -> bool {
        self.kyc == KycState::Verified && self.bank.is_some()
    }

    /// Whether it holds no money, and none is on its way.
    pub(in crate::sandbox) fn is_empty(&self) -> bool {
        [self.balance, self.incoming, self.reserved].iter().all(|amount| *amount == Cents::default())
    }

    /// What a member may do.
    pub(in crate::sandbox) fn role_of(&self, user_id: u64) -> Option<Role> {
        self.members.iter().find(|member| member.user_id == user_id).map(|member| member.role)
    }

    /// Takes over a change.
    pub(in crate::sandbox) fn apply(&mut self, change: Change) {
        match change {
            Change::Kyc { state } => self.kyc = state,
            Change::Submitted { legal_name } => {
                (self.is_submitted, self.legal_name) = (true, Some(legal_name));
            }
            Change::Prefilled { info } => self.prefill_info = Some(info),
            Change::Bank { bank } => self.bank = bank,
            Change::Reviewed { review } => self.review = review,
            Change::DisabledFor { reason } => self.disabled_reason = Some(reason),
            Change::FeeSchedule { slot } => self.fee_schedule_slot = slot,
            Change::Member { user_id, role } => {
                self.members.retain(|member| member.user_id != user_id);
                self.members.extend(role.map(|role| Member { user_id, role }));
            }
            Change::DeletedFor { reason } => self.delete_reason = Some(reason),
            about_money => self.apply_to_money(&about_money),
        }
    }

    fn apply_to_money(&mut self, change: &Change) {
        match change {
            Change::Paid { amount, is_pending, at_us, blocks_at_us, ends_at_us } => {
                self.received = self.received.plus(*amount);
                let place = if *is_pending { &mut self.incoming } else { &mut self.balance };
                *place = place.plus(*amount);
                if self.first_payment_at_us.is_none() {
                    self.first_payment_at_us = Some(*at_us);
                    (self.blocks_at_us, self.ends_at_us) = (*blocks_at_us, *ends_at_us);
                }
            }
            Change::Blocked => self.is_blocked = true,
            Change::Cleared => {
                self.balance = self.balance.plus(self.incoming);
                self.incoming = Cents::default();
            }
            Change::Reserved { amount } => {
                self.balance = self.balance.plus(self.reserved).minus(*amount);
                self.reserved = *amount;
            }
            Change::Emptied { is_withdrawal } => {
                self.has_withdrawn |= *is_withdrawal && !self.is_empty();
                (self.balance, self.incoming, self.reserved) = Default::default();
            }
            // `apply` has taken in all the others.
            _ => {}
        }
    }
}
