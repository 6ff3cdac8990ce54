//! What an app sets for looks and analytics, of itself or of an account: `theme_object` and `gaq_domains`.

use serde_json::{Map, Value, json};

use crate::sandbox::parameters::Parameters;
use crate::sandbox::protocol::{ApiError, TEXT_MAX};

/// Colours of a theme: six hexadecimal digits each, without `#` (WePay API docs, theme structure).
const COLOURS: [&str; 4] = ["primary_color", "secondary_color", "background_color", "button_color"];

/// Digits of a colour.
const COLOUR_DIGITS: usize = 6;

/// Length of a theme's name (WePay.NET).
const NAME_MAX: usize = 64;

/// A theme without its id, which is WePay's to give; one that comes with it is taken (python-wepay's documentation shows
/// the whole structure).
pub(super) fn read(parameters: &Parameters) -> Result<Option<Value>, ApiError> {
    let Some(theme) = parameters.nested("theme_object")? else { return Ok(None) };
    theme.refuse_unexpected(&[&["name", "theme_id"], &COLOURS[..]].concat())?;
    theme.integer("theme_id")?;
    let mut fields = Map::new();
    for (name, limit) in [("name", NAME_MAX)].into_iter().chain(COLOURS.map(|colour| (colour, TEXT_MAX))) {
        let Some(text) = theme.text(name, limit)? else { continue };
        let is_colour = text.len() == COLOUR_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if name != "name" && !is_colour {
            return Err(ApiError::invalid_parameter(format!("{name} must be six hexadecimal digits")));
        }
        fields.insert(name.to_owned(), Value::String(text));
    }
    Ok(Some(Value::Object(fields)))
}

/// Analytics domains: texts; the text of the error is inferred.
pub(super) fn domains(parameters: &Parameters) -> Result<Option<Value>, ApiError> {
    let domains = parameters.array("gaq_domains")?;
    if domains.as_ref().and_then(Value::as_array).is_some_and(|all| !all.iter().all(Value::is_string)) {
        return Err(ApiError::invalid_parameter("gaq_domains parameter must be an array of strings"));
    }
    Ok(domains)
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
    use axum::http::{HeaderMap, Method};

    use super::*;

    fn parameters(body: &Value) -> Parameters {
        Parameters::read(&Method::POST, "", &HeaderMap::new(), body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_theme_is_a_name_and_colours_without_the_number_sign() {
        let theme = |theme: Value| read(&parameters(&json!({ "theme_object": theme })));
        let good = json!({"name": "Dark", "primary_color": "FFffff", "theme_id": 7, "secondary_color": null});
        assert_eq!(theme(good), Ok(Some(json!({"name": "Dark", "primary_color": "FFffff"}))));
        assert_eq!((theme(json!({})), theme(Value::Null)), (Ok(Some(json!({}))), Ok(None)));
        for bad in [
            json!({"primary_color": "#fffff"}),
            json!({"primary_color": "fff"}),
            json!({"primary_color": 123}),
            json!({"colour": "ffffff"}),
            json!({"name": ["x"]}),
            json!({"name": "x".repeat(65)}),
            json!({"theme_id": {}}),
            json!("dark"),
        ] {
            assert_eq!(theme(bad.clone()).err().map(|error| error.code), Some(1003), "{bad}");
        }
        assert_eq!(with_id(&json!({"name": "Dark"}), 5), json!({"name": "Dark", "theme_id": 5}));
    }

    #[test]
    fn analytics_domains_are_texts() {
        let read = |list: Value| domains(&parameters(&json!({ "gaq_domains": list })));
        assert_eq!(read(json!(["UA-01234-5"])), Ok(Some(json!(["UA-01234-5"]))));
        assert_eq!((read(json!([])), read(Value::Null)), (Ok(Some(json!([]))), Ok(None)));
        assert!(read(json!([1])).is_err() && read(json!("UA-01234-5")).is_err());
    }
}
