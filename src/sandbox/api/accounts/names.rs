//! What WePay refuses in the name of an account.

use std::ops::RangeInclusive;

use serde_json::Value;

use crate::sandbox::protocol::ApiError;
use crate::sandbox::state::since;

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

/// What is answered to an empty name and to WePay's own since [`since::NAME_TEXT`] (change log of that version).
const IMPOSSIBLE: &str = "Account names can't be empty or contain \"WePay\", please try again.";

/// Refuses a name that WePay does not take. Empty names and its own: as the change log of 2019-04-03 has them, before and since;
/// the text about unprintable characters is inferred.
pub(super) fn check(name: Option<&Value>, version: &str) -> Result<(), ApiError> {
    let Some(Value::String(name)) = name else { return Ok(()) };
    let is_since = version >= since::NAME_TEXT;
    if is_since && (name.is_empty() || name.to_lowercase().contains(OWN_NAME)) {
        return Err(ApiError::invalid_parameter(IMPOSSIBLE));
    }
    if name.is_empty() {
        return Err(ApiError::processing());
    }
    if name.to_lowercase().contains(OWN_NAME) {
        return Err(ApiError::invalid_parameter("account name cannot contain wepay"));
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

    const OLD: &str = "2018-10-03";

    fn verdict(name: &str, version: &str) -> Result<(), (u16, u32, String)> {
        let refused = |error: ApiError| (error.status, error.code, error.description);
        check(Some(&Value::from(name)), version).map_err(refused)
    }

    #[test]
    fn names_of_shops_pass() {
        for name in ["Ada's Bakery & Café", "Łódź 24/7", "東京ラーメン", "We Pay Less", "A—B ©®™ №1"]
        {
            assert_eq!(verdict(name, OLD), Ok(()), "{name}");
        }
    }

    #[test]
    fn the_providers_name_emoji_and_unprintable_characters_are_refused() {
        for name in ["wepay", "My WePay Shop", "WEPAYments", "weWePaY"] {
            let refused = (400, 1003, "account name cannot contain wepay".to_owned());
            assert_eq!(verdict(name, OLD), Err(refused), "{name}");
            assert_eq!(verdict(name, "2019-04-03"), Err((400, 1003, IMPOSSIBLE.to_owned())), "{name}");
        }
        for name in ["a\tb", "a\u{0}", "a\u{7f}", "a\u{200b}b", "a\u{202e}b", "Pizza 🍕", "☀ Tan", "1\u{fe0f}\u{20e3}"]
        {
            assert!(verdict(name, OLD).unwrap_err().2.contains("emoji"), "{name:?}");
        }
    }
    #[test]
    fn an_empty_name_broke_the_provider_before_it_was_refused() {
        let (status, code, _) = verdict("", OLD).unwrap_err();
        assert_eq!((status, code), (500, 1008));
        assert_eq!(verdict("", "2019-04-03"), Err((400, 1003, IMPOSSIBLE.to_owned())));
    }
}
