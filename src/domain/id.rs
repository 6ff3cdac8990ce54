//! Identifiers: 16 random-and-time-ordered bytes with a prefixed text form, one type for each kind of thing.

use std::fmt;
use std::str::FromStr;

use super::ambient::{Clock, Entropy, random};

/// A text that is not an identifier of the expected kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {prefix}_ and 32 lower-case hexadecimal digits")]
pub struct BadId {
    /// The prefix that identifiers of this kind begin with.
    pub prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// What the text form begins with, before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A new identifier: UUID version 7 (RFC 9562 §5.7), so that later ones sort behind earlier ones.
            pub fn generate(clock: &dyn Clock, entropy: &dyn Entropy) -> Self {
                let millis = u64::try_from(clock.now().as_micros().div_euclid(1_000)).unwrap_or(0);
                Self(*uuid::Builder::from_unix_timestamp_millis(millis, &random(entropy)).as_uuid().as_bytes())
            }

            /// The identifier with these bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The identifier with these bytes, if there are sixteen of them.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// The bytes, as stored, signed and bound to ciphertexts.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!($prefix, "_"))?;
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                parse_hex(text, concat!($prefix, "_")).map(Self).ok_or(BadId { prefix: $prefix })
            }
        }
    };
}

fn parse_hex(text: &str, prefix: &str) -> Option<[u8; 16]> {
    let digits = text.strip_prefix(prefix)?;
    // One text form for each identifier: no upper case, no hyphens.
    let lower = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    (digits.len() == 32 && digits.chars().all(lower))
        .then(|| uuid::Uuid::try_parse(digits).ok())
        .flatten()
        .map(uuid::Uuid::into_bytes)
}

id!(/** Our registration at a provider. */ AppId, "app");
id!(/** A customer of the platform. */ MerchantId, "mer");
id!(/** A provider user who granted our app access; tokens belong to it. */ ConnectionId, "con");
id!(/** Merchant → connection. */ LinkId, "lnk");
id!(/** Our own onboarding URL, handed to a merchant; lives days and has no effect until its button is pressed. */ InvitationId, "inv");
id!(/** One browser journey through the provider's authorize page. */ FlowId, "flo");
id!(/** The durable intent of something that can bring or kill tokens. */ AttemptId, "att");
id!(/** A payment account at the provider; its text form is also the reference id that the provider keeps. */ AccountId, "acc");
id!(/** One trail of signed records: the change trail or the read trail of one process run. */ TrailId, "trl");
id!(/** One run of a process on a database: who owns what is under way. */ RunId, "run");
id!(/** One call of the API: the correlation id that logs, errors and trail share. */ CallId, "cal");
id!(/** One call to the provider, as the call log keeps it. */ ProviderCallId, "pcl");

/// The number of a token within its connection: 1 for the first, without gaps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TokenVersion(pub u32);

impl fmt::Display for TokenVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ambient::{SystemClock, SystemEntropy};

    #[test]
    fn an_id_survives_its_text_form_and_no_other_text_is_one() {
        let id = MerchantId::generate(&SystemClock, &SystemEntropy);
        let text = id.to_string();
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(text.len(), "mer_".len() + 32);
        for bad in [
            "".to_owned(),
            text.to_uppercase(),
            text.replace("mer", "con"),
            format!("{text}0"),
            format!(" {text}"),
            text.replacen("mer_", "mer_-", 1),
            "mer_{0190f3c7-1111-7222-8333-444455556666}".to_owned(),
        ] {
            assert_eq!(bad.parse::<MerchantId>(), Err(BadId { prefix: "mer" }), "{bad:?}");
        }
    }
}
