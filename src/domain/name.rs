//! Texts from outside: parsed once at the edge, valid by type from there on.

use std::fmt;

/// What is wrong with one field of a request or a file.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct FieldError {
    /// The field, as the caller wrote it.
    pub field: String,
    /// The rule it breaks, as a sentence fragment. Never quotes the value.
    pub rule: String,
}

impl FieldError {
    /// A complaint about this field.
    pub fn new(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { field: field.into(), rule: rule.into() }
    }
}

/// Longest `external_id`: room for a UUID, a URN or a database key with its table name.
pub const EXTERNAL_ID_BYTES_MAX: usize = 128;
/// Longest display name of a merchant: the provider's limit of ordinary strings (`docs/provider.md` §3).
pub const DISPLAY_NAME_CHARS_MAX: usize = 255;
/// Longest e-mail address: the provider's limit (`docs/provider.md` §3).
pub const EMAIL_BYTES_MAX: usize = 255;
/// Longest label.
pub const LABEL_BYTES_MAX: usize = 64;
/// Most labels a merchant may have.
pub const LABELS_MAX: usize = 16;
/// Longest `request_id`.
pub const REQUEST_ID_BYTES_MAX: usize = 64;
/// Longest caller identity: the limit of a SPIFFE id (SPIFFE-ID §2.3).
pub const CALLER_BYTES_MAX: usize = 2048;
/// Longest provider id we accept: a 64-bit integer has 20 characters, the rest is headroom.
pub const SUBJECT_BYTES_MAX: usize = 64;
/// Longest URI: the provider's limit (`docs/provider.md` §3).
pub const URI_BYTES_MAX: usize = 2083;
/// Longest description of a payment account: the provider takes 65,535, which nobody reads; a page of a hundred must fit into an
/// answer.
pub const DESCRIPTION_CHARS_MAX: usize = 4_096;
/// Longest first and last name: the provider's limit (`docs/provider.md` §3).
pub const PERSON_NAME_CHARS_MAX: usize = 127;
/// Longest description of a device: the provider's limit (`docs/provider.md` §3).
pub const DEVICE_CHARS_MAX: usize = 255;
/// Longest free text a person gives as a reason.
pub const REASON_CHARS_MAX: usize = 500;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The platform's own id of a merchant: 1 to 128 visible ASCII characters.
    ExternalId
);
name!(
    /// What a merchant is called on our pages: 1 to 255 characters, none of them control characters.
    DisplayName
);
name!(
    /// An e-mail address, as far as an address can be judged without sending mail: one `@` with something on both sides.
    Email
);
name!(
    /// A label of a merchant that grants may name: lower-case letters, digits, `-`, `_`, `.`, `:`.
    Label
);
name!(
    /// A caller's own id of a request: the same id with the same content gets the same answer.
    RequestId
);
name!(
    /// The provider's id of a user, as text.
    Subject
);
name!(
    /// The provider's id of a payment account, as text.
    ProviderAccountId
);
name!(
    /// What a payment account is for, in one line.
    Description
);
name!(
    /// An internal service or person, named by its SPIFFE id.
    CallerId
);
name!(
    /// A sentence a person gives as a reason.
    Reason
);

impl ExternalId {
    /// Parses the field.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        visible_ascii("external_id", text, EXTERNAL_ID_BYTES_MAX).map(Self)
    }
}

impl RequestId {
    /// Parses the field.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        visible_ascii("request_id", text, REQUEST_ID_BYTES_MAX).map(Self)
    }
}

impl Subject {
    /// Parses the field.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        visible_ascii("subject", text, SUBJECT_BYTES_MAX).map(Self)
    }
}

impl ProviderAccountId {
    /// Parses the field.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        visible_ascii("provider_account_id", text, SUBJECT_BYTES_MAX).map(Self)
    }
}

impl Description {
    /// Parses the field.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        plain_text("description", text, DESCRIPTION_CHARS_MAX).map(Self)
    }
}

impl CallerId {
    /// Parses a SPIFFE id (SPIFFE-ID §2): `spiffe://`, a trust domain of lower-case letters, digits, `.`, `-`, `_`, and a
    /// non-empty path of segments of letters, digits, `.`, `-`, `_`, none of them empty, `.` or `..`.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        let bad = |rule: &str| FieldError::new("caller", rule);
        if text.len() > CALLER_BYTES_MAX {
            return Err(bad("must be at most 2048 bytes long"));
        }
        let rest = text.strip_prefix("spiffe://").ok_or_else(|| bad("must begin with spiffe://"))?;
        let (domain, path) = rest.split_once('/').ok_or_else(|| bad("must have a path"))?;
        let domain_ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
        if domain.is_empty() || !domain.bytes().all(domain_ok) {
            return Err(bad("must name a trust domain of lower-case letters, digits, dots, dashes and underscores"));
        }
        let segment_ok = |segment: &str| {
            !matches!(segment, "" | "." | "..")
                && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        };
        if !path.split('/').all(segment_ok) {
            return Err(bad("must have path segments of letters, digits, dots, dashes and underscores"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &str {
        self.0.strip_prefix("spiffe://").and_then(|rest| rest.split('/').next()).unwrap_or_default()
    }
}

impl DisplayName {
    /// Parses the field.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        plain_text("display_name", text, DISPLAY_NAME_CHARS_MAX).map(Self)
    }
}

/// Parses a first or last name.
///
/// # Errors
/// Names the field when it is empty, too long, or has control or invisible characters.
pub fn person_name(field: &str, text: &str) -> Result<String, FieldError> {
    plain_text(field, text, PERSON_NAME_CHARS_MAX)
}

/// Parses the description of a device.
///
/// # Errors
/// As [`person_name`].
pub fn device(field: &str, text: &str) -> Result<String, FieldError> {
    plain_text(field, text, DEVICE_CHARS_MAX)
}

impl Reason {
    /// Parses the field.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        plain_text("reason", text, REASON_CHARS_MAX).map(Self)
    }
}

impl Email {
    /// Parses the field.
    pub fn parse(field: &str, text: &str) -> Result<Self, FieldError> {
        let bad = |rule: &str| FieldError::new(field, rule);
        if text.len() > EMAIL_BYTES_MAX {
            return Err(bad("must be at most 255 bytes long"));
        }
        let sides = text.split_once('@').filter(|(local, host)| !local.is_empty() && !host.is_empty());
        match sides {
            Some((_, host)) if !host.contains('@') && !text.chars().any(|c| c.is_whitespace() || is_invisible(c)) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(bad("must be an e-mail address")),
        }
    }

    /// The form in which two addresses are compared: the provider keys users by it, letter case aside.
    pub fn folded(&self) -> String {
        self.0.to_lowercase()
    }
}

impl Label {
    /// Parses one label.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.' | b':');
        if text.is_empty() || text.len() > LABEL_BYTES_MAX || !text.bytes().all(ok) {
            return Err(FieldError::new("labels", "must be 1 to 64 lower-case letters, digits, '-', '_', '.' or ':'"));
        }
        Ok(Self(text.to_owned()))
    }

    /// Parses a list of labels: sorted, without repetition.
    pub fn parse_all<T: AsRef<str>>(texts: &[T]) -> Result<Vec<Self>, FieldError> {
        if texts.len() > LABELS_MAX {
            return Err(FieldError::new("labels", "must be at most 16"));
        }
        let mut labels = texts.iter().map(|text| Self::parse(text.as_ref())).collect::<Result<Vec<_>, _>>()?;
        labels.sort();
        labels.dedup();
        Ok(labels)
    }
}

fn visible_ascii(field: &str, text: &str, bytes_max: usize) -> Result<String, FieldError> {
    if text.is_empty() || text.len() > bytes_max || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(FieldError::new(field, format!("must be 1 to {bytes_max} visible ASCII characters")));
    }
    Ok(text.to_owned())
}

fn plain_text(field: &str, text: &str, chars_max: usize) -> Result<String, FieldError> {
    let chars = text.chars().count();
    if text.trim().is_empty() || chars > chars_max {
        return Err(FieldError::new(field, format!("must be 1 to {chars_max} characters")));
    }
    if text.chars().any(is_invisible) {
        return Err(FieldError::new(field, "must not contain control or invisible characters"));
    }
    Ok(text.to_owned())
}

/// Control characters (NUL among them, which PostgreSQL refuses in text), bidirectional controls, zero-width characters.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_a_strict_spiffe_id() {
        assert_eq!(CallerId::parse("spiffe://prod.example/ns/pay/sa/api").unwrap().trust_domain(), "prod.example");
        for bad in [
            "",
            "https://prod.example/a",
            "spiffe://",
            "spiffe://prod.example",
            "spiffe://prod.example/",
            "spiffe:///a",
            "spiffe://PROD.example/a",
            "spiffe://prod.example:8443/a",
            "spiffe://user@prod.example/a",
            "spiffe://prod.example/a/",
            "spiffe://prod.example//a",
            "spiffe://prod.example/a/../b",
            "spiffe://prod.example/./a",
            "spiffe://prod.example/a%2fb",
            "spiffe://prod.example/a?b",
            "spiffe://prod.example/a#b",
            "Spiffe://prod.example/a",
        ] {
            assert!(CallerId::parse(bad).is_err(), "{bad:?}");
        }
        assert!(CallerId::parse(&format!("spiffe://a/{}", "x".repeat(CALLER_BYTES_MAX))).is_err());
    }

    #[test]
    fn text_fields_refuse_what_cannot_be_seen() {
        assert!(DisplayName::parse("Café Müller & Söhne").is_ok());
        for bad in ["", "   ", "a\0b", "a\u{202e}b", "a\u{200b}b", "a\nb"] {
            assert!(DisplayName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(DisplayName::parse(&"x".repeat(256)).is_err());
        assert!(ExternalId::parse("shop-42").is_ok());
        assert!(ExternalId::parse("shop 42").is_err());
    }

    #[test]
    fn an_email_has_two_sides() {
        for bad in ["", "a", "@b", "a@", "a@b@c", "a b@c", "a@b\0"] {
            assert!(Email::parse("email", bad).is_err(), "{bad:?}");
        }
        assert_eq!(Email::parse("email", "Ann@Example.com").unwrap().folded(), "ann@example.com");
    }

    #[test]
    fn labels_are_a_sorted_set() {
        let labels = Label::parse_all(&["b", "a", "b"]).unwrap();
        assert_eq!(labels.iter().map(Label::as_str).collect::<Vec<_>>(), ["a", "b"]);
        assert!(Label::parse_all(&["A"]).is_err());
        assert!(Label::parse_all(&["x"; 17]).is_err());
    }
}
