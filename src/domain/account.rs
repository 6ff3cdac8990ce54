//! Payment accounts: what the provider says of one.

use super::ambient::Timestamp;
use super::name::Subject;

/// Where an account stands at the provider (`docs/provider.md`, accounts).
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
