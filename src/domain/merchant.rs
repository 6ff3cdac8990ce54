//! Merchants, connections, the links between them, and whose link it is.

use super::ambient::Timestamp;
use super::id::{AppId, ConnectionId, FlowId, LinkId, MerchantId};
use super::name::{ExternalId, Label, Subject};

/// A customer of the platform.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Merchant {
    /// Ours.
    pub id: MerchantId,
    /// The platform's.
    pub external_id: ExternalId,
    /// Labels that grants may name; sorted.
    pub labels: Vec<Label>,
    /// When it became known.
    pub created_at: Timestamp,
}

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// A merchant's user.
    Merchant,
    /// The owner of the app itself: its token is the control of probes.
    AppOwner,
}

impl Role {
    /// The stored form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Merchant => "merchant",
            Self::AppOwner => "app_owner",
        }
    }

    /// The role with this stored form.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Merchant, Self::AppOwner].into_iter().find(|role| role.as_str() == text)
    }
}

/// A provider user who granted our app access. Tokens belong to it, never to a merchant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Connection {
    /// Ours.
    pub id: ConnectionId,
    /// Which app it granted access to.
    pub app: AppId,
    /// The provider's id of the user.
    pub subject: Subject,
    /// What it is for.
    pub role: Role,
    /// When it became known.
    pub created_at: Timestamp,
}

/// Where a link stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkState {
    /// Readers of the merchant get the connection's token.
    Active,
    /// The platform or a person must confirm it first.
    Held,
    /// Over.
    Closed,
}

impl LinkState {
    /// The stored form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Held => "held",
            Self::Closed => "closed",
        }
    }

    /// The state with this stored form.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Held, Self::Closed].into_iter().find(|state| state.as_str() == text)
    }
}

/// Merchant → connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Ours.
    pub id: LinkId,
    /// Within which app.
    pub app: AppId,
    /// Whose.
    pub merchant: MerchantId,
    /// To which connection.
    pub connection: ConnectionId,
    /// Where it stands.
    pub state: LinkState,
    /// The flow it came of.
    pub flow: Option<FlowId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its state last changed.
    pub changed_at: Timestamp,
    /// Counts its changes.
    pub row_version: i64,
}

/// What is known when a mint has brought a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConsentFacts {
    /// The open link from this merchant to the answer's user, if there is one.
    pub existing: Option<LinkState>,
    /// Whether that user's connection already serves another merchant, or waits to.
    pub serves_another: bool,
    /// Whether this merchant is actively linked to another user.
    pub linked_elsewhere: bool,
}

/// What becomes of the link when a mint has brought a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkOutcome {
    /// The open link stays as it is: the answer's user is the one already linked.
    Keep,
    /// A new one, held until the platform or a person confirms it.
    Hold,
    /// A new one that serves at once.
    Activate,
}

/// Whose link is it? A forwarded invitation lets a stranger's user consent for another's merchant, so a consent alone never
/// activates a link; it is active only if it was so before.
pub fn link_outcome(facts: &ConsentFacts) -> LinkOutcome {
    match facts.existing {
        Some(LinkState::Active | LinkState::Held) => LinkOutcome::Keep,
        Some(LinkState::Closed) | None => LinkOutcome::Hold,
    }
}

/// Whose link is it, when the platform registered the merchant itself? It named the user, so there is nobody else to confirm it;
/// but a connection that serves another merchant, or would replace another user's link, waits for a person.
pub fn registered_link_outcome(facts: &ConsentFacts) -> LinkOutcome {
    match link_outcome(facts) {
        LinkOutcome::Hold if !facts.serves_another && !facts.linked_elsewhere => LinkOutcome::Activate,
        outcome => outcome,
    }
}

/// Whether a held link may be activated because the provider's e-mail address is the expected one (where configuration allows
/// that at all): never when the connection serves another merchant or would replace another user's link.
pub fn email_may_confirm(facts: &ConsentFacts) -> bool {
    !facts.serves_another && !facts.linked_elsewhere
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consent_alone_never_activates_a_link() {
        for existing in [None, Some(LinkState::Closed), Some(LinkState::Held), Some(LinkState::Active)] {
            for serves_another in [false, true] {
                for linked_elsewhere in [false, true] {
                    let facts = ConsentFacts { existing, serves_another, linked_elsewhere };
                    let open = matches!(existing, Some(LinkState::Held | LinkState::Active));
                    assert_eq!(link_outcome(&facts) == LinkOutcome::Keep, open, "{facts:?}");
                    assert_ne!(link_outcome(&facts), LinkOutcome::Activate, "{facts:?}");
                    let free = !open && !serves_another && !linked_elsewhere;
                    assert_eq!(registered_link_outcome(&facts) == LinkOutcome::Activate, free, "{facts:?}");
                    assert_eq!(email_may_confirm(&facts), !serves_another && !linked_elsewhere, "{facts:?}");
                }
            }
        }
    }
}
