//! What WePay refuses in the name of an account.

use std::ops::RangeInclusive;

use crate::sandbox::protocol::ApiError;

/// The word no name may contain, in any case (WePay.NET; that case does not matter is inferred from the pattern that
/// WePay's next API version documents).
const OWN_NAME: &str = "wepay";

/// Emoji and what joins or colours them (WePay.NET: no emoji; the ranges are those of Unicode's emoji blocks).
const EMOJI: [RangeInclusive<char>; 9] = [
    '\u{200d}'..='\u{200d}',
    '\u{20e3}'..='\u{20e3}',
    '\u{231a}'..='\u{231b}',
    '\u{23e9}'..='\u{23fa}',
    '\u{2600}'..='\u{27bf}',
    '\u{2b05}'..='\u{2b55}',
    '\u{fe0f}'..='\u{fe0f}',
    '\u{1f000}'..='\u{1fbff}',
    '\u{e0020}'..='\u{e007f}',
];

/// Characters without a shape of their own, beside the control characters (WePay.NET: no unprintable characters).
const UNPRINTABLE: [RangeInclusive<char>; 7] = [
    '\u{ad}'..='\u{ad}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{e000}'..='\u{f8ff}',
    '\u{feff}'..='\u{feff}',
    '\u{fff0}'..='\u{ffff}',
];

/// 1003 for a name that WePay does not take; the texts are inferred.
pub(super) fn check(name: &str) -> Result<(), ApiError> {
    if name.to_lowercase().contains(OWN_NAME) {
        return Err(ApiError::invalid_parameter("name parameter cannot contain the word wepay"));
    }
    let is_in = |ranges: &[RangeInclusive<char>]| name.chars().any(|c| ranges.iter().any(|range| range.contains(&c)));
    if is_in(&EMOJI) || is_in(&UNPRINTABLE) || name.chars().any(char::is_control) {
        return Err(ApiError::invalid_parameter("name parameter cannot contain emoji or unprintable characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_shops_pass() {
        for name in ["Ada's Bakery & Café", "Łódź 24/7", "東京ラーメン", "We Pay Less", "A—B ©®™ №1"]
        {
            assert_eq!(check(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn the_providers_name_emoji_and_unprintable_characters_are_refused() {
        for name in ["wepay", "My WePay Shop", "WEPAYments", "weWePaY"] {
            assert!(check(name).unwrap_err().description.ends_with("wepay"), "{name}");
        }
        for name in ["a\tb", "a\u{0}", "a\u{7f}", "a\u{200b}b", "a\u{202e}b", "Pizza 🍕", "☀ Tan", "1\u{fe0f}\u{20e3}"]
        {
            assert!(check(name).unwrap_err().description.contains("emoji"), "{name:?}");
        }
    }
}
