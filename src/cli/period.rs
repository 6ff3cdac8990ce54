//! A period on the command line: `--since` and `--until`, each an age or a time.

use std::time::Duration;

use crate::domain::ambient::{Clock as _, SystemClock, Timestamp};

/// From when until when.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct Period {
    /// Not before this: an age like 90s, 15m, 1h or 7d, or a time like 2026-03-01T09:00:00Z.
    #[arg(long, value_name = "AGE_OR_TIME", value_parser = parse_now)]
    since: Option<Timestamp>,
    /// Before this, said in the same way.
    #[arg(long, value_name = "AGE_OR_TIME", value_parser = parse_now)]
    until: Option<Timestamp>,
}

impl Period {
    /// Its beginning, as requests take it.
    pub(crate) fn after_time(&self) -> Option<prost_types::Timestamp> {
        self.since.map(to_wire)
    }

    /// Its end, as requests take it.
    pub(crate) fn before_time(&self) -> Option<prost_types::Timestamp> {
        self.until.map(to_wire)
    }
}

fn parse_now(text: &str) -> Result<Timestamp, String> {
    parse(text, SystemClock.now())
}

fn parse(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let age = age(text).map(|age| now.minus(age));
    age.or_else(|| Timestamp::parse_rfc3339(text))
        .ok_or_else(|| "neither an age like 15m, 1h or 7d nor a time like 2026-03-01T09:00:00Z".to_owned())
}

fn age(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.find(|c: char| !c.is_ascii_digit())?)?;
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(seconds).map(Duration::from_secs)
}

fn to_wire(at: Timestamp) -> prost_types::Timestamp {
    let nanos = at.as_micros().rem_euclid(1_000_000).saturating_mul(1_000);
    prost_types::Timestamp { seconds: at.as_unix_seconds(), nanos: i32::try_from(nanos).unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_or_a_time_is_a_time_and_nothing_else_is() {
        let now = Timestamp::parse_rfc3339("2026-03-01T09:00:00Z").unwrap();
        for (text, expected) in [
            ("90s", "2026-03-01T08:58:30Z"),
            ("15m", "2026-03-01T08:45:00Z"),
            ("1h", "2026-03-01T08:00:00Z"),
            ("7d", "2026-02-22T09:00:00Z"),
            ("2026-01-02T03:04:05.5Z", "2026-01-02T03:04:05.5Z"),
            ("2026-01-02T03:04:05+01:00", "2026-01-02T02:04:05Z"),
        ] {
            assert_eq!(parse(text, now).unwrap().to_rfc3339(), expected, "{text}");
        }
        for bad in ["", "1", "h", "1w", "-1h", "1h30m", "yesterday", "2026-01-02", "99999999999999999999s"] {
            assert!(parse(bad, now).is_err(), "{bad:?}");
        }
        let odd = to_wire(Timestamp::from_micros(-1));
        assert_eq!((odd.seconds, odd.nanos), (-1, 999_999_000));
    }
}
