//! The browser's binding: one cookie that ties a journey to the browser in which the button was pressed.

use axum::http::{HeaderMap, HeaderValue, header};

/// Its name. The prefix makes browsers refuse it unless it is `Secure`, for the whole host and without `Domain`, so that no
/// sibling host can plant one (RFC 6265bis §4.1.3.2).
pub(super) const NAME: &str = "__Host-strongroom-browser";

/// How long a browser keeps it: longer than a state lives (30 minutes) and an attempt in doubt stays open (10.5 minutes)
/// together, so that the status page can still tell the outcome.
const LIFE_S: u32 = 60 * 60;

/// Longest value looked at: 32 bytes in base64url are 43 characters, the rest is headroom.
const VALUE_BYTES_MAX: usize = 64;

/// Most pairs looked at: our host sets one, so more than this is nobody's browser.
const PAIRS_MAX: usize = 64;

/// The binding that the browser shows. Two of them are none: which one is ours cannot be told.
pub(super) fn read(headers: &HeaderMap) -> Option<&str> {
    let sent = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut ours = sent
        .flat_map(|value| value.split(';'))
        .take(PAIRS_MAX)
        .filter_map(|pair| pair.trim_matches([' ', '\t']).strip_prefix(NAME)?.strip_prefix('='));
    let value = ours.next()?;
    (ours.next().is_none() && is_value(value)).then_some(value)
}

/// The header that sets the binding; `None` for a value that cannot be one.
pub(super) fn set(value: &str) -> Option<HeaderValue> {
    if !is_value(value) {
        return None;
    }
    // Lax, not Strict: the provider's redirect back to us is a navigation from another site.
    let text = format!("{NAME}={value}; Max-Age={LIFE_S}; Path=/; Secure; HttpOnly; SameSite=Lax");
    HeaderValue::try_from(text).ok()
}

fn is_value(value: &str) -> bool {
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=VALUE_BYTES_MAX).contains(&value.len()) && value.bytes().all(is_base64url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(lines: &[&[u8]]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        read(&headers).map(str::to_owned)
    }

    #[test]
    fn the_binding_is_found_among_other_cookies() {
        for line in [
            &b"__Host-strongroom-browser=ab_-9"[..],
            b"a=b; __Host-strongroom-browser=ab_-9; c=d",
            b";;a;=;__Host-strongroom-browser=ab_-9;",
        ] {
            assert_eq!(shown(&[line]).as_deref(), Some("ab_-9"), "{line:?}");
        }
        assert_eq!(shown(&[b"a=b", b"__Host-strongroom-browser=x"]).as_deref(), Some("x"));
    }

    #[test]
    fn two_bindings_or_one_that_cannot_be_are_none() {
        let long = format!("{NAME}={}", "a".repeat(VALUE_BYTES_MAX + 1));
        for lines in [
            &[][..],
            &[&b"__Host-strongroom-browser"[..]],
            &[b"__Host-strongroom-browser="],
            &[b"__Host-strongroom-browser=a; __Host-strongroom-browser=a"],
            &[b"__Host-strongroom-browser=a", b"__Host-strongroom-browser=b"],
            &[b"__host-strongroom-browser=a"],
            &[b"__Host-strongroom-browser2=a"],
            &[b"__Host-strongroom-browser=a b"],
            &[b"__Host-strongroom-browser=\"a\""],
            &[b"__Host-strongroom-browser=\xff"],
            &[long.as_bytes()],
        ] {
            assert_eq!(shown(lines), None, "{lines:?}");
        }
    }

    #[test]
    fn only_a_possible_value_is_set() {
        let header = set("ab_-9").unwrap();
        let expected = "__Host-strongroom-browser=ab_-9; Max-Age=3600; Path=/; Secure; HttpOnly; SameSite=Lax";
        assert_eq!(header.to_str().unwrap(), expected);
        assert_eq!(set("a; Domain=example.org"), None);
        assert_eq!(set(""), None);
    }
}
