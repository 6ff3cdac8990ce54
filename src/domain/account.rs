//! Payment accounts: what the provider says of one, how far we are with opening it, and what it needs next.
//!
//! [`opening`] has the states of the opening and the only ways they may change.

pub mod opening;

use super::ambient::Timestamp;
use super::id::{AccountId, AppId, ConnectionId, MerchantId};
use super::name::Subject;

pub use opening::OpeningState;

/// Where an account stands at the provider (`docs/provider.md` §8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccountState {
    /// Made with a temporary token; its owner has not confirmed. It can take money, within limits.
    Pending,
    /// Takes money, but its owner must act (see the action reasons) or it will be disabled.
    ActionRequired,
    /// Nothing is open.
    Active,
    /// Cannot take payments.
    Disabled,
    /// Final.
    Deleted,
}

impl AccountState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Pending, Self::ActionRequired, Self::Active, Self::Disabled, Self::Deleted];

    /// The provider's own word, which is also the stored form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::ActionRequired => "action_required",
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Deleted => "deleted",
        }
    }

    /// The state with this stored form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// Whose money it is, legally.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccountKind {
    /// A person's: the provider's default.
    Personal,
    /// A business's.
    Business,
    /// A non-profit organisation's.
    Nonprofit,
}

impl AccountKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Personal, Self::Business, Self::Nonprofit];

    /// The provider's own word, which is also the stored form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Personal => "personal",
            Self::Business => "business",
            Self::Nonprofit => "nonprofit",
        }
    }

    /// The kind with this stored form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// An account as the provider describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProviderAccount {
    /// The provider's id, as text.
    pub id: String,
    /// Its name; a statement says `WPY*` and the beginning of it.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The id that we gave it when it was made, if any.
    pub reference_id: Option<String>,
    /// The provider user who owns it, if the answer says so.
    pub owner: Option<Subject>,
    /// Where it stands; `None` for a word that we do not know.
    pub state: Option<AccountState>,
    /// What its owner must do, such as `kyc`, `bank_account`; the provider's words.
    pub action_reasons: Vec<String>,
    /// Why it is disabled; the provider's words.
    pub disabled_reasons: Vec<String>,
    /// Whose money it is; `None` for a word that we do not know.
    pub kind: Option<AccountKind>,
    /// Two-letter country code.
    pub country: String,
    /// Three-letter currency code.
    pub currency: String,
    /// When the provider made it.
    pub created_at: Option<Timestamp>,
    /// When it will be disabled for want of what the action reasons name.
    pub disablement_at: Option<Timestamp>,
}

/// Where a new account is, and with it its currency. The provider has more, but only on request
/// (`docs/provider.md` §8).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Country {
    /// The United States: US dollars.
    #[default]
    UnitedStates,
    /// Canada: Canadian dollars. The provider enables it app by app.
    Canada,
}

impl Country {
    /// The two-letter code (ISO 3166-1).
    pub const fn code(self) -> &'static str {
        match self {
            Self::UnitedStates => "US",
            Self::Canada => "CA",
        }
    }

    /// The one currency of its accounts (ISO 4217).
    pub const fn currency(self) -> &'static str {
        match self {
            Self::UnitedStates => "USD",
            Self::Canada => "CAD",
        }
    }

    /// The country with this code.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::UnitedStates, Self::Canada].into_iter().find(|country| country.code() == text)
    }
}

/// The provider's no to an account that we asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountRefusal {
    /// The error's class.
    pub error: String,
    /// The error's number, as text, if it had one.
    pub code: Option<String>,
    /// For people; bounded and cleaned where it was read.
    pub description: String,
}

/// What the provider last said of an open account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeenAccount {
    /// When it said so.
    pub at: Timestamp,
    /// Where the account stands; `None` for a word that we do not know.
    pub state: Option<AccountState>,
    /// What its owner must do; the provider's words.
    pub action_reasons: Vec<String>,
    /// Why it is disabled; the provider's words.
    pub disabled_reasons: Vec<String>,
    /// When the provider made it.
    pub created_at: Option<Timestamp>,
    /// When it will be disabled for want of what the action reasons name.
    pub disablement_at: Option<Timestamp>,
}

/// An account that we asked for, or were told of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// Ours.
    pub id: AccountId,
    /// Within which app.
    pub app: AppId,
    /// The connection that owns it.
    pub connection: ConnectionId,
    /// The merchant it was made for; none for the app owner's.
    pub merchant: Option<MerchantId>,
    /// What the provider finds it by: the text form of our id, unless somebody else made it.
    pub reference_id: Option<String>,
    /// The provider's id, once open.
    pub provider_id: Option<String>,
    /// How far we are with opening it.
    pub opening: OpeningState,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Whose money it is; `None` for a word of the provider that we do not know.
    pub kind: Option<AccountKind>,
    /// Two-letter country code.
    pub country: String,
    /// Three-letter currency code.
    pub currency: String,
    /// What the provider last said of it, once open.
    pub seen: Option<SeenAccount>,
    /// The provider's no, if it said that.
    pub refusal: Option<AccountRefusal>,
    /// How often its create was sent.
    pub sends: u32,
    /// When it was sent last.
    pub sent_at: Option<Timestamp>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When its opening last came a step further.
    pub changed_at: Timestamp,
}

/// What somebody has to do next for an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccountNextAction {
    /// Nothing.
    None,
    /// Wait: it is being opened, or whether it was is not known yet.
    Wait,
    /// Ask again: it was not opened, or is gone.
    CreateAgain,
    /// Its owner must confirm the provider's e-mail.
    ConfirmEmail,
    /// Its owner must give the provider what the action reasons name.
    ProvideInformation,
    /// Mend what it was disabled or refused for.
    FixCause,
    /// The provider uses a word that we do not know: look at it there.
    LookAtProvider,
}

impl Account {
    /// Whether it can be used at the provider: opened, and not deleted there.
    pub fn is_open(&self) -> bool {
        let is_deleted = self.seen.as_ref().is_some_and(|seen| seen.state == Some(AccountState::Deleted));
        self.opening == OpeningState::Open && !is_deleted
    }

    /// What somebody has to do next.
    pub fn next_action(&self) -> AccountNextAction {
        match self.opening {
            OpeningState::Requested | OpeningState::Absent => AccountNextAction::CreateAgain,
            OpeningState::Sent | OpeningState::InDoubt => AccountNextAction::Wait,
            OpeningState::Refused => AccountNextAction::FixCause,
            OpeningState::Open => match self.seen.as_ref().and_then(|seen| seen.state) {
                Some(AccountState::Active) => AccountNextAction::None,
                Some(AccountState::Pending) => AccountNextAction::ConfirmEmail,
                Some(AccountState::ActionRequired) => AccountNextAction::ProvideInformation,
                Some(AccountState::Disabled) => AccountNextAction::FixCause,
                Some(AccountState::Deleted) => AccountNextAction::CreateAgain,
                None => AccountNextAction::LookAtProvider,
            },
        }
    }

    /// The same as a sentence for people.
    pub fn next_action_text(&self) -> String {
        let reasons = |reasons: fn(&SeenAccount) -> &[String]| {
            self.seen.as_ref().map(|seen| reasons(seen).join(", ")).filter(|text| !text.is_empty())
        };
        match (self.next_action(), self.opening) {
            (AccountNextAction::None, _) => "nothing: the account takes payments and pays out".to_owned(),
            (AccountNextAction::Wait, _) => {
                "whether the account was opened is not known yet: repeat CreateAccount with the same request_id"
                    .to_owned()
            }
            (AccountNextAction::CreateAgain, OpeningState::Open) => {
                "the account was deleted at the provider: create another one with a new request_id".to_owned()
            }
            (AccountNextAction::CreateAgain, _) => {
                "the account was not opened: repeat CreateAccount with the same request_id".to_owned()
            }
            (AccountNextAction::ConfirmEmail, _) => {
                "the account takes payments, within limits, until its owner confirms by the provider's e-mail"
                    .to_owned()
            }
            (AccountNextAction::ProvideInformation, _) => {
                let what = reasons(|seen| &seen.action_reasons).unwrap_or_else(|| "what it asks for".to_owned());
                let until = self.seen.as_ref().and_then(|seen| seen.disablement_at);
                let until = until.map(|at| format!(" before {}", at.to_rfc3339())).unwrap_or_default();
                format!("the account's owner must give the provider {what}{until}; until then nothing is paid out")
            }
            (AccountNextAction::FixCause, OpeningState::Open) => {
                let why = reasons(|seen| &seen.disabled_reasons).unwrap_or_else(|| "unknown".to_owned());
                format!("the provider disabled the account ({why}): settle that with the provider")
            }
            (AccountNextAction::FixCause, _) => {
                "the provider refused: mend what it names, then create the account with a new request_id".to_owned()
            }
            (AccountNextAction::LookAtProvider, _) => {
                "the provider reports a state that is not known here: look at the account there".to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(opening: OpeningState, state: Option<AccountState>) -> Account {
        let now = Timestamp::from_unix_seconds(1_700_000_000);
        let seen = SeenAccount {
            at: now,
            state,
            action_reasons: vec!["kyc".to_owned(), "bank_account".to_owned()],
            disabled_reasons: vec!["fraud".to_owned()],
            created_at: Some(now),
            disablement_at: Some(Timestamp::from_unix_seconds(1_700_086_400)),
        };
        Account {
            id: AccountId::from_bytes([1; 16]),
            app: AppId::from_bytes([2; 16]),
            connection: ConnectionId::from_bytes([3; 16]),
            merchant: None,
            reference_id: None,
            provider_id: None,
            opening,
            name: "Ada Shop".to_owned(),
            description: "books".to_owned(),
            kind: Some(AccountKind::Business),
            country: Country::UnitedStates.code().to_owned(),
            currency: Country::UnitedStates.currency().to_owned(),
            seen: (opening == OpeningState::Open).then_some(seen),
            refusal: None,
            sends: 0,
            sent_at: None,
            created_at: now,
            changed_at: now,
        }
    }

    #[test]
    fn every_state_says_what_to_do_next() {
        use AccountNextAction as Next;
        for (opening, next) in [
            (OpeningState::Requested, Next::CreateAgain),
            (OpeningState::Sent, Next::Wait),
            (OpeningState::InDoubt, Next::Wait),
            (OpeningState::Refused, Next::FixCause),
            (OpeningState::Absent, Next::CreateAgain),
        ] {
            let account = account(opening, None);
            assert_eq!(account.next_action(), next, "{opening:?}");
            assert!(!account.is_open() && !account.next_action_text().is_empty());
        }
        for (state, next) in [
            (Some(AccountState::Pending), Next::ConfirmEmail),
            (Some(AccountState::ActionRequired), Next::ProvideInformation),
            (Some(AccountState::Active), Next::None),
            (Some(AccountState::Disabled), Next::FixCause),
            (Some(AccountState::Deleted), Next::CreateAgain),
            (None, Next::LookAtProvider),
        ] {
            let account = account(OpeningState::Open, state);
            assert_eq!(account.next_action(), next, "{state:?}");
            assert_eq!(account.is_open(), state != Some(AccountState::Deleted));
        }
    }

    #[test]
    fn the_owner_is_told_what_is_wanted_and_until_when() {
        let text = account(OpeningState::Open, Some(AccountState::ActionRequired)).next_action_text();
        assert!(text.contains("kyc, bank_account") && text.contains("2023-11-15T22:13:20"), "{text}");
        assert!(account(OpeningState::Open, Some(AccountState::Disabled)).next_action_text().contains("fraud"));
    }

    #[test]
    fn a_country_has_one_currency() {
        for (code, currency) in [("US", "USD"), ("CA", "CAD")] {
            assert_eq!(Country::parse(code).unwrap().currency(), currency);
        }
        assert_eq!(Country::parse("us"), None);
    }
}
