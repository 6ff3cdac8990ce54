//! JSON text as WePay writes it, which is as PHP's `json_encode` does: slashes are escaped (recorded on stage), and so is what is
//! not ASCII (inferred: `json_encode` does both unless told otherwise).

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// The text of a value.
pub(super) fn text(value: &impl Serialize) -> String {
    let mut text = Vec::with_capacity(USUAL);
    match value.serialize(&mut Serializer::with_formatter(&mut text, Escaped)) {
        Ok(()) => String::from_utf8(text).unwrap_or_default(),
        // What is answered has text keys only, and a vector takes everything.
        Err(_) => String::new(),
    }
}

/// Room for most answers: that of an account has about 1000 bytes.
const USUAL: usize = 1024;

/// Compact JSON with `\/` for each slash and `\u` for each character beyond ASCII; both stand inside of strings only.
struct Escaped;

impl Formatter for Escaped {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut plain_from = 0;
        for (at, character) in fragment.char_indices().filter(|(_, character)| is_special(*character)) {
            writer.write_all(fragment.get(plain_from..at).unwrap_or_default().as_bytes())?;
            plain_from = at.saturating_add(character.len_utf8());
            if character == '/' {
                writer.write_all(b"\\/")?;
            } else {
                character.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(writer, "\\u{unit:04x}"))?;
            }
        }
        writer.write_all(fragment.get(plain_from..).unwrap_or_default().as_bytes())
    }
}

const fn is_special(character: char) -> bool {
    character == '/' || !character.is_ascii()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn slashes_are_escaped_and_still_parse() {
        let value = json!({"uri": "https://a.example/b\\/c"});
        assert!(text(&value).contains(r"https:\/\/a.example\/b"));
        assert_eq!(serde_json::from_str::<Value>(&text(&value)).unwrap(), value);
    }

    #[test]
    fn what_is_not_ascii_is_escaped_and_still_parses() {
        assert_eq!(text(&json!(["é/\u{1f600}\u{2028}", "a"])), r#"["\u00e9\/\ud83d\ude00\u2028","a"]"#);
        let odd = ["", "/", "//", "a/b/", "\"/\\/\u{8}\n", "é/\u{1F600}/\u{2028}", "\u{7f}", "ü", "aü/b"];
        for odd in odd {
            let value = json!({"a/é": [odd, 1.5, -3, true, null, {"c": odd}], "d": u64::MAX});
            assert!(text(&value).is_ascii());
            assert_eq!(serde_json::from_str::<Value>(&text(&value)).unwrap(), value);
        }
    }

    #[test]
    fn ascii_is_plain_json_but_for_its_slashes() {
        let value = json!({"a/b": ["a/b", 1.5, -3, true, null, {"c": "\"/\\/\u{8}\n"}], "d": u64::MAX});
        assert_eq!(text(&value), value.to_string().replace('/', "\\/"));
    }
}
