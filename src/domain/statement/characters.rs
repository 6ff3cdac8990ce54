//! Rules about single characters: which may stand in a name, and the name without the others.

use unicode_normalization::{UnicodeNormalization as _, is_nfc};
use unicode_properties::{
    GeneralCategory, GeneralCategoryGroup, UnicodeEmoji as _, UnicodeGeneralCategory as _, emoji::is_regional_indicator,
};

use super::reason::NameReason;

/// Reasons that lie in characters, not in words.
pub(super) fn judge(name: &str, reasons: &mut Vec<NameReason>) {
    reasons.extend(name.chars().filter_map(fault));
    if !is_nfc(name) {
        reasons.push(NameReason::NotNfc);
    }
    if name.starts_with(char::is_whitespace) || name.ends_with(char::is_whitespace) {
        reasons.push(NameReason::SurroundingSpace);
    }
    let mut after_space = false;
    for c in name.trim().chars() {
        if after_space && c.is_whitespace() {
            reasons.push(NameReason::DoubledSpace);
        }
        after_space = c.is_whitespace();
    }
    let mut after_latin = false;
    for c in name.chars() {
        if is_uncommon(c) || (after_latin && is_mark(c)) {
            reasons.push(NameReason::UncommonCharacter);
        }
        after_latin = is_latin(c) || (after_latin && is_mark(c));
    }
}

fn fault(c: char) -> Option<NameReason> {
    if c.is_ascii_graphic() || c == ' ' {
        return None;
    }
    if c.is_control() {
        return Some(NameReason::ControlCharacter);
    }
    if is_invisible(c) {
        return Some(NameReason::InvisibleCharacter);
    }
    if is_unprintable(c) {
        return Some(NameReason::UnprintableCharacter);
    }
    if is_emoji(c) {
        return Some(NameReason::Emoji);
    }
    if c.is_whitespace() {
        return Some(NameReason::UnusualSpace);
    }
    is_foreign_letter(c).then_some(NameReason::NonLatin)
}

/// The name as it was probably meant: composed, without what may not stand in it, words one space apart.
pub(super) fn clean(name: &str) -> String {
    let kept = name.chars().filter_map(|c| match c {
        _ if c.is_whitespace() || c.is_control() => Some(' '),
        _ if is_invisible(c) || is_unprintable(c) || is_emoji(c) => None,
        _ => Some(c),
    });
    one_space_apart(&kept.nfc().collect::<String>())
}

/// The text in characters that every bank can show, as far as Unicode itself says how: without symbols, compatibility forms replaced.
pub(super) fn plain(name: &str) -> String {
    let kept = name.chars().filter(|c| c.is_ascii() || c.general_category_group() != GeneralCategoryGroup::Symbol);
    one_space_apart(&kept.nfkc().collect::<String>())
}

/// For finding words whatever their form: compatibility forms replaced, without accents and invisible characters, in lower case.
pub(super) fn folded(name: &str) -> String {
    name.nfkd().filter(|c| !is_mark(*c) && !is_invisible(*c)).flat_map(char::to_lowercase).collect()
}

/// The words of the text, one space apart.
pub(super) fn one_space_apart(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A letter of the Latin script: ASCII, Latin-1 Supplement, Latin Extended-A and B, Latin Extended Additional (Unicode, Blocks.txt).
pub(super) fn is_latin(c: char) -> bool {
    c.is_alphabetic() && matches!(c, '\0'..='\u{24f}' | '\u{1e00}'..='\u{1eff}')
}

/// A letter of another script; Latin letters in a compatibility form (full width, bold) are none.
pub(super) fn is_foreign_letter(c: char) -> bool {
    c.is_alphabetic() && !is_latin(c) && c.nfkc().any(|c| c.is_alphabetic() && !is_latin(c))
}

/// A combining mark.
pub(super) fn is_mark(c: char) -> bool {
    !c.is_ascii() && c.general_category_group() == GeneralCategoryGroup::Mark
}

/// Takes up no room, or turns the direction of reading: format characters, separators of lines and paragraphs, and the letters and
/// marks that Unicode defines as ignorable (Default_Ignorable_Code_Point), with the empty Braille cell.
fn is_invisible(c: char) -> bool {
    use GeneralCategory::{Format, LineSeparator, ParagraphSeparator};
    !c.is_ascii()
        && (matches!(c.general_category(), Format | LineSeparator | ParagraphSeparator)
            || matches!(c, '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2800}'
                | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}'))
}

/// Private use, not assigned, or the replacement character that stands for what was not text.
fn is_unprintable(c: char) -> bool {
    use GeneralCategory::{PrivateUse, Surrogate, Unassigned};
    c == '\u{fffd}' || (!c.is_ascii() && matches!(c.general_category(), PrivateUse | Surrogate | Unassigned))
}

/// A picture. Signs that Unicode also counts as emoji, but that print as text, are none: © ® ™ ‼ ⁉ ℹ and the like.
fn is_emoji(c: char) -> bool {
    let sign = matches!(c, '©' | '®' | '™' | '‼' | '⁉' | 'ℹ' | 'Ⓜ' | '〰' | '〽' | '㊗' | '㊙');
    !c.is_ascii() && !sign && (c.is_emoji_char() || c == '\u{20e3}' || is_regional_indicator(c))
}

/// Not a letter of any script, and beyond what code pages of banks have.
fn is_uncommon(c: char) -> bool {
    use GeneralCategory::{ConnectorPunctuation, EnclosingMark, LetterNumber, OtherNumber};
    if c.is_ascii() || fault(c).is_some_and(|reason| reason != NameReason::NonLatin) {
        return false;
    }
    c.general_category_group() == GeneralCategoryGroup::Symbol
        || matches!(c.general_category(), ConnectorPunctuation | EnclosingMark | LetterNumber | OtherNumber)
        || !c.nfkc().eq([c])
}
