//! Until when a caller waits: what it says in `grpc-timeout`, and at most as long as we work on a call.
//!
//! The server ends a call then whatever it does. It is known beforehand so that nobody is let wait for what cannot come in time.

use std::time::Duration;

use tokio::time::Instant;
use tonic::metadata::MetadataMap;

/// The header of the gRPC protocol.
const HEADER: &str = "grpc-timeout";
/// Most digits that the protocol gives it.
const DIGITS_MAX: usize = 8;

/// Until when the caller of a request waits.
pub(super) fn of(metadata: &MetadataMap, longest: Duration) -> Instant {
    let wanted = metadata.get(HEADER).and_then(|text| timeout(text.to_str().ok()?));
    let now = Instant::now();
    now.checked_add(wanted.unwrap_or(longest).min(longest)).unwrap_or(now)
}

/// Digits and a unit; what is written otherwise counts as absent, as the server itself takes it.
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number.saturating_mul(3_600))),
        "M" => Some(Duration::from_secs(number.saturating_mul(60))),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_read_as_the_protocol_writes_it() {
        for (text, expected) in [
            ("2H", Some(Duration::from_secs(7_200))),
            ("3M", Some(Duration::from_secs(180))),
            ("0S", Some(Duration::ZERO)),
            ("1500m", Some(Duration::from_millis(1_500))),
            ("99999999u", Some(Duration::from_micros(99_999_999))),
            ("7n", Some(Duration::from_nanos(7))),
            ("100000000S", None),
            ("S", None),
            ("", None),
            ("-1S", None),
            ("1", None),
            ("1s", None),
            ("1\u{e9}", None),
        ] {
            assert_eq!(timeout(text), expected, "{text:?}");
        }
    }

    #[tokio::test]
    async fn nobody_waits_longer_than_we_work() {
        let longest = Duration::from_secs(60);
        let left = |text: Option<&str>| {
            let mut metadata = MetadataMap::new();
            if let Some(text) = text {
                metadata.insert(HEADER, text.parse().unwrap());
            }
            of(&metadata, longest).saturating_duration_since(Instant::now()).as_millis().div_ceil(1_000)
        };
        assert_eq!([left(None), left(Some("5S")), left(Some("2M")), left(Some("soon"))], [60, 5, 60, 60]);
    }
}
