//! Notices: what the provider sends to an address of ours when something of it changed. It names the object and says nothing of it.

use super::id::{AccountId, AttemptId};
use super::trail::Event;

/// Longest id of an object: a 64-bit integer has at most twenty digits.
pub const OBJECT_ID_DIGITS_MAX: usize = 20;

/// What notices of an address are about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoticeKind {
    /// A user: its access was taken away, or it confirmed.
    User,
    /// An account: its state changed.
    Account,
}

impl NoticeKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::User, Self::Account];

    /// The stored form, and its place in the address. The provider keeps addresses: never changes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Account => "account",
        }
    }

    /// The kind with this stored form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// The parameter in which a notice names its object (`docs/provider.md` §10).
    pub const fn parameter(self) -> &'static str {
        match self {
            Self::User => "user_id",
            Self::Account => "account_id",
        }
    }
}

/// What we gave an address to the provider for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoticeAbout {
    /// The user that this attempt brings a token of.
    User(AttemptId),
    /// This account.
    Account(AccountId),
}

impl NoticeAbout {
    /// What has this kind and these bytes.
    pub const fn new(kind: NoticeKind, bytes: [u8; 16]) -> Self {
        match kind {
            NoticeKind::User => Self::User(AttemptId::from_bytes(bytes)),
            NoticeKind::Account => Self::Account(AccountId::from_bytes(bytes)),
        }
    }

    /// Its kind.
    pub const fn kind(&self) -> NoticeKind {
        match self {
            Self::User(_) => NoticeKind::User,
            Self::Account(_) => NoticeKind::Account,
        }
    }

    /// The bytes of its id.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        match self {
            Self::User(id) => id.as_bytes(),
            Self::Account(id) => id.as_bytes(),
        }
    }

    /// The event, about this.
    #[must_use]
    pub fn mark(&self, event: Event) -> Event {
        let event = event.detail("kind", self.kind().as_str());
        match self {
            Self::User(id) => event.attempt(*id),
            Self::Account(id) => event.detail("account", id),
        }
    }
}

/// A notice, as far as it is kept: ids, nothing personal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// Whose address it came to.
    pub about: NoticeAbout,
    /// The provider's id of the object: at most [`OBJECT_ID_DIGITS_MAX`] digits.
    pub object_id: String,
    /// The id that we gave the object, if it says one that is ours.
    pub reference_id: Option<AccountId>,
}

impl Notice {
    /// The notice with these parameters; `None` unless it names exactly one object of the kind it is about. What else it says is
    /// not kept.
    pub fn read<'a>(about: NoticeAbout, parameters: impl Iterator<Item = (&'a str, &'a str)>) -> Option<Self> {
        let (mut object_id, mut reference_id) = (None, None);
        for (name, value) in parameters {
            if name == about.kind().parameter() {
                let is_id = (1..=OBJECT_ID_DIGITS_MAX).contains(&value.len())
                    && value.bytes().all(|byte| byte.is_ascii_digit());
                if !is_id || object_id.is_some() {
                    return None;
                }
                object_id = Some(value.to_owned());
            } else if name == "reference_id" {
                reference_id = value.parse().ok();
            }
        }
        object_id.map(|object_id| Self { about, object_id, reference_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_names_one_object_of_its_kind_and_nothing_else_is_kept() {
        let account = AccountId::from_bytes([7; 16]);
        let about = NoticeAbout::Account(account);
        let ours = account.to_string();
        let read = |parameters: &[(&'static str, &str)]| Notice::read(about, parameters.iter().copied());
        let notice = read(&[("account_id", "4711"), ("reference_id", &ours), ("email", "ada@shop.example")]).unwrap();
        assert_eq!(notice, Notice { about, object_id: "4711".to_owned(), reference_id: Some(account) });
        assert_eq!(read(&[("account_id", "4711"), ("reference_id", "a name")]).unwrap().reference_id, None);
        let bad: [&[(&str, &str)]; 6] = [
            &[],
            &[("user_id", "4711")],
            &[("account_id", "")],
            &[("account_id", "47x1")],
            &[("account_id", "123456789012345678901")],
            &[("account_id", "1"), ("account_id", "2")],
        ];
        for parameters in bad {
            assert_eq!(read(parameters), None, "{parameters:?}");
        }
    }

    #[test]
    fn a_kind_survives_its_stored_form() {
        for kind in NoticeKind::ALL {
            assert_eq!(NoticeKind::parse(kind.as_str()), Some(kind));
            assert_eq!(NoticeAbout::new(kind, [3; 16]).kind(), kind);
        }
    }
}
