//! What an app sets for looks and analytics, of itself or of an account: `theme_object` and `gaq_domains`.

use serde_json::{Value, json};

use crate::sandbox::protocol::{ApiError, TEXT_MAX};

/// What a theme says (WePay API docs, account page): a name and four colours.
const COLORS: [&str; 4] = ["primary_color", "secondary_color", "background_color", "button_color"];

/// Digits of a colour, without `#` (same page); three are inferred from the way CSS writes them.
const COLOR_DIGITS: [usize; 2] = [6, 3];

/// Whether an object is a theme; texts inferred.
pub(super) fn check(theme: &Value) -> Result<(), ApiError> {
    for (name, value) in theme.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        let is_color = COLORS.contains(&name.as_str());
        // An app may send back what it was answered.
        if !is_color && name != "name" && name != "theme_id" {
            return Err(ApiError::unexpected(&format!("theme_object.{name}")));
        }
        let is_good = match value.as_str() {
            Some(text) if is_color => {
                COLOR_DIGITS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
            }
            Some(text) => text.chars().count() <= TEXT_MAX,
            None => name == "theme_id" && value.is_u64(),
        };
        if !is_good {
            return Err(ApiError::invalid_parameter(format!("invalid theme_object parameter {name}")));
        }
    }
    Ok(())
}

/// Whether a list names domains: texts of ordinary length; the text of the error is inferred.
pub(super) fn check_domains(domains: &Value) -> Result<(), ApiError> {
    let is_text = |value: &Value| value.as_str().is_some_and(|text| text.chars().count() <= TEXT_MAX);
    match domains.as_array().is_some_and(|domains| domains.iter().all(is_text)) {
        true => Ok(()),
        false => Err(ApiError::invalid_parameter("Parameter 'gaq_domains' expected array of strings")),
    }
}

/// A theme as it is answered: with the id of its own that WePay gives it (WePay API docs, account page; which one is inferred).
pub(super) fn with_id(theme: &Value, theme_id: u64) -> Value {
    let mut theme = theme.clone();
    if let Some(fields) = theme.as_object_mut() {
        fields.insert("theme_id".to_owned(), json!(theme_id));
    }
    theme
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_theme_is_a_name_and_colours_without_the_number_sign() {
        let good = json!({"name": "Dark", "primary_color": "FFffff", "button_color": "abc", "theme_id": 7, "secondary_color": null});
        assert_eq!(check(&good), Ok(()));
        assert_eq!(check(&json!({})), Ok(()));
        for bad in [
            json!({"primary_color": "#ffffff"}),
            json!({"primary_color": "ffff"}),
            json!({"primary_color": 123}),
            json!({"colour": "fff"}),
            json!({"name": ["x"]}),
            json!({"name": "x".repeat(256)}),
            json!({"theme_id": {}}),
        ] {
            assert_eq!(check(&bad).err().map(|error| error.code), Some(1003), "{bad}");
        }
        assert_eq!(with_id(&json!({"name": "Dark"}), 5), json!({"name": "Dark", "theme_id": 5}));
    }

    #[test]
    fn analytics_domains_are_texts() {
        assert_eq!(check_domains(&json!(["UA-01234-5"])), Ok(()));
        assert_eq!(check_domains(&json!([])), Ok(()));
        assert!(check_domains(&json!([1])).is_err() && check_domains(&json!(["x".repeat(256)])).is_err());
    }
}
