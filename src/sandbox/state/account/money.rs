//! Amounts of money: whole cents inside, the provider's JSON numbers outside.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Cents in a unit of each currency there is (USD, CAD, GBP).
const CENTS: u64 = 100;

/// Digits behind the point.
const FRACTION_DIGITS: usize = 2;

/// An amount that is not negative, in cents.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(in crate::sandbox) struct Cents(pub(in crate::sandbox) u64);

impl Cents {
    /// Reads a JSON number or digits in a string (both recorded on stage), at most two of them behind the point.
    pub(in crate::sandbox) fn parse(value: &Value) -> Option<Self> {
        let text = match value {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.clone(),
            _ => return None,
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, "0"));
        let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(whole) || !is_digits(fraction) || fraction.len() > FRACTION_DIGITS {
            return None;
        }
        let fraction: u64 = format!("{fraction:0<FRACTION_DIGITS$}").parse().ok()?;
        whole.parse::<u64>().ok()?.checked_mul(CENTS)?.checked_add(fraction).map(Self)
    }

    /// A JSON number with as few digits as it needs: `20`, `25.5`, `0.88` (recorded on stage).
    pub(in crate::sandbox) fn json(self) -> Value {
        let (whole, fraction) = (self.0 / CENTS, self.0 % CENTS);
        match format!("{whole}.{fraction:0>FRACTION_DIGITS$}").parse::<f64>() {
            Ok(number) if fraction != 0 => json!(number),
            _ => json!(whole),
        }
    }

    /// This much more; stays at the largest amount there is.
    pub(in crate::sandbox) const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// This much less; stays at zero.
    pub(in crate::sandbox) const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_with_as_few_digits_as_they_need() {
        for (cents, text) in [(0, "0"), (2_000, "20"), (2_550, "25.5"), (88, "0.88"), (5, "0.05"), (100_001, "1000.01")]
        {
            assert_eq!(Cents(cents).json().to_string(), text);
            assert_eq!(Cents::parse(&Cents(cents).json()), Some(Cents(cents)));
        }
    }

    #[test]
    fn numbers_and_texts_are_amounts_unless_they_are_finer_than_a_cent_or_negative() {
        for (value, cents) in [(json!("20.00"), 2_000), (json!(0.1), 10), (json!("007.5"), 750), (json!(3), 300)] {
            assert_eq!(Cents::parse(&value), Some(Cents(cents)), "{value}");
        }
        for value in [json!(-1), json!(0.001), json!("1e3"), json!(1e300), json!(".5"), json!("5."), json!(true)] {
            assert_eq!(Cents::parse(&value), None, "{value}");
        }
        assert_eq!(Cents::parse(&json!(u64::MAX)), None);
    }
}
