//! The words of a name, and what each of them says to a card holder.

mod lists;

use self::lists::{BARE, COMMON, COUNTED, FILLERS, INTERNAL, LINKS, TESTS};
use super::characters::is_latin;
use super::reason::NameReason;
use super::{Platform, reference};

/// What a part of a name says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    /// Something that names somebody: whatever is none of the others.
    Speaking,
    /// One letter; several of them are initials.
    Initial,
    /// What kind of trade, or where: says something together with more.
    Common,
    /// What stands before a name, and may be one.
    Link,
    /// Articles, legal forms, conjunctions.
    Filler,
    /// What systems call their records.
    Internal,
    /// What people type to try something.
    Test,
    /// Digits.
    Number,
}

/// One stretch of letters and digits, with the signs that hold names together (`H&M`, `Joe's`, `E*TRADE`).
pub(super) struct Part<'a> {
    pub(super) text: &'a str,
    /// Characters of the name before it.
    pub(super) start: usize,
    pub(super) class: Class,
}

/// What stands between spaces.
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    pub(super) parts: Vec<Part<'a>>,
    /// The id that it contains or is part of.
    pub(super) id: Option<NameReason>,
}

/// Most digits of a number that counts shops, rooms or years.
const NUMBER_DIGITS_MAX: usize = 4;
/// In so many digits in a row of numbers (`4111 1111 1111 1111`) cards, accounts and telephones are written.
const NUMBERS_DIGITS_MAX: usize = 11;
/// As many letters of a word that is cut are enough to guess it.
const CUT_LETTERS_MIN: usize = 3;

/// The name, read.
pub(super) struct Reading<'a> {
    pub(super) words: Vec<Word<'a>>,
}

impl<'a> Reading<'a> {
    /// Reads a clean name: words one space apart.
    pub(super) fn new(name: &'a str, platform: &Platform) -> Self {
        let mut words = Vec::new();
        let mut start = 0;
        let mut rest = Some(name);
        let mut of_platform = 0; // bytes of the name, from here on, that a pattern of the platform covers
        while let Some(text) = rest {
            of_platform = platform.covers(text).unwrap_or(0).max(of_platform);
            let (word, after) = text.split_once(' ').map_or((text, None), |(word, after)| (word, Some(after)));
            let id = if of_platform > 0 { Some(NameReason::PlatformPattern) } else { reference::find(word) };
            words.push(Word { text: word, parts: parts(word, start), id });
            of_platform = of_platform.saturating_sub(word.len() + 1);
            start += word.chars().count() + 1;
            rest = after;
        }
        let mut reading = Self { words };
        reading.find_titles();
        reading.find_labelled();
        reading.find_rows();
        reading
    }

    /// `Merchant of Tennis`, `Order of the Phoenix`: our words as others use them.
    fn find_titles(&mut self) {
        let parts = self.words.iter_mut().flat_map(|word| &mut word.parts);
        let mut before: Option<&mut Part<'a>> = None;
        for part in parts {
            if part.key() == "of"
                && let Some(before) = before.filter(|before| before.class == Class::Internal)
            {
                before.class = Class::Common;
            }
            before = Some(part);
        }
    }

    /// A label and the number or id after it belong together: `MID 412`, `ref: 9f86d081884c7d65`.
    fn find_labelled(&mut self) {
        let mut label: Option<&mut Word<'a>> = None;
        for word in &mut self.words {
            let digits = word.text.chars().filter(|c| c.is_numeric()).count();
            let number =
                digits >= reference::LABELLED_DIGITS_MIN && word.parts.iter().all(|part| part.class == Class::Number);
            let sign = word.parts.is_empty() || matches!(word.key().as_str(), "no" | "nr" | "number" | "num");
            if let Some(label) = label.as_mut()
                && (number
                    || reference::is_code(word.text.trim_matches(|c: char| !c.is_alphanumeric()))
                    || (word.id.is_some() && word.id != Some(NameReason::PlatformPattern)))
            {
                label.id = label.id.or(Some(NameReason::ReferenceId));
                word.id = word.id.or(Some(NameReason::ReferenceId));
            }
            if reference::is_label(&word.key()) {
                label = Some(word);
            } else if !sign {
                label = None;
            }
        }
    }

    /// Numbers in a row that are a long number together.
    fn find_rows(&mut self) {
        let numeric =
            |word: &Word<'_>| !word.parts.is_empty() && word.parts.iter().all(|part| part.class == Class::Number);
        for row in self.words.chunk_by_mut(|a, b| numeric(a) && numeric(b)) {
            let digits = row.iter().flat_map(|word| word.text.chars()).filter(|c| c.is_numeric()).count();
            if digits > NUMBERS_DIGITS_MAX {
                for word in row.iter_mut().filter(|word| numeric(word)) {
                    word.id = word.id.or(Some(NameReason::DigitRun));
                }
            }
        }
    }

    /// Reasons that lie in the words.
    pub(super) fn judge(&self, reasons: &mut Vec<NameReason>) {
        reasons.extend(self.words.iter().filter_map(|word| word.id));
        let named = self.words.iter().filter(|word| word.id.is_none());
        let letters: usize = named.clone().map(|word| word.text.chars().filter(|c| c.is_alphabetic()).count()).sum();
        if letters == 0 {
            reasons.push(NameReason::TooFewLetters);
            return;
        }
        let digits = named.clone().flat_map(|word| word.text.chars()).filter(|c| c.is_numeric()).count();
        let latin = named.clone().flat_map(|word| word.text.chars()).any(is_latin);
        if letters == 1 && latin {
            let few = digits >= NUMBER_DIGITS_MAX;
            reasons.push(if few { NameReason::TooFewLetters } else { NameReason::SingleLetter });
        }
        if named.clone().any(|word| reference::longest_run(word.text) > NUMBER_DIGITS_MAX) {
            reasons.push(NameReason::LongNumber);
        }
        if named.clone().any(|word| reference::is_doubtful(word.text)) {
            reasons.push(NameReason::PossibleId);
        }
        if self.speaks() {
            reasons.extend(self.judge_opening());
        } else if letters > 1 {
            reasons.extend(self.judge_common(digits));
        }
    }

    /// Whether anything in the name names somebody.
    pub(super) fn speaks(&self) -> bool {
        speak(
            &self
                .named_parts()
                .map(|part| (part.class, part.text.chars().filter(|c| c.is_alphabetic()).count()))
                .collect::<Vec<_>>(),
        )
    }

    fn named_parts(&self) -> impl Iterator<Item = &Part<'a>> {
        self.words.iter().filter(|word| word.id.is_none()).flat_map(|word| &word.parts)
    }

    /// A name in which nothing speaks.
    fn judge_common(&self, digits: usize) -> Option<NameReason> {
        let has = |class: Class| self.named_parts().any(|part| part.class == class);
        let common: Vec<_> = self.named_parts().filter(|part| part.class == Class::Common).map(Part::key).collect();
        let bare = if digits > 0 { COUNTED } else { BARE };
        let bare = common.len() == 1 && common.iter().all(|key| bare.contains(&stem(key)));
        Some(if has(Class::Test) {
            NameReason::TestName
        } else if has(Class::Internal) || bare || (common.is_empty() && !has(Class::Link) && digits < 2) {
            NameReason::Generic
        } else {
            NameReason::CommonWords
        })
    }

    /// A name in which something speaks: does it speak soon enough?
    fn judge_opening(&self) -> Option<NameReason> {
        let shown = |part: &Part<'_>| super::OPENING_CHARS.saturating_sub(part.start);
        let mut seen = Vec::new();
        let (mut ids, mut internal, mut begun) = (false, 0_usize, false);
        for word in &self.words {
            for part in word.parts.iter().filter(|part| shown(part) > 0) {
                ids |= word.id.is_some();
                internal += usize::from(part.class == Class::Internal);
                begun |= matches!(part.class, Class::Common | Class::Speaking) && word.id.is_none();
                let letters = part.text.chars().take(shown(part)).filter(|c| c.is_alphabetic()).count();
                let cut = part.text.chars().count() > shown(part);
                let foreign = part.text.chars().any(|c| c.is_alphabetic() && !is_latin(c));
                if word.id.is_none() && (!cut || foreign || letters >= CUT_LETTERS_MIN) {
                    seen.push((part.class, letters));
                }
            }
        }
        // `The Payment Fa…` begins to name somebody; `Merchant Accou…` does not.
        let ours = internal > 1 || (internal == 1 && !begun);
        let leads_with_number = self.words.first().is_some_and(|word| {
            word.parts.first().is_some_and(|part| {
                part.class == Class::Number && reference::longest_run(part.text) > NUMBER_DIGITS_MAX
            })
        });
        if leads_with_number || (!speak(&seen) && (ids || ours || seen.iter().all(|(_, letters)| *letters == 0))) {
            Some(NameReason::StartsUnrecognisable)
        } else {
            (!speak(&seen)).then_some(NameReason::StartsCommon)
        }
    }
}

/// Whether parts of these classes and numbers of letters name somebody.
fn speak(parts: &[(Class, usize)]) -> bool {
    let initials =
        |(class, letters): &&(Class, usize)| *class == Class::Initial || (*class == Class::Filler && *letters == 1);
    parts.iter().any(|(class, _)| *class == Class::Speaking) || parts.iter().filter(initials).count() >= 2
}

impl Word<'_> {
    /// As the lists have it.
    pub(super) fn key(&self) -> String {
        key(self.text)
    }
}

impl Part<'_> {
    fn key(&self) -> String {
        key(self.text)
    }
}

fn key(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Without the number at its end.
fn stem(key: &str) -> &str {
    key.trim_end_matches(char::is_numeric)
}

/// Cuts a word at signs that do not hold names together.
fn parts(word: &str, start: usize) -> Vec<Part<'_>> {
    let cut = |c: char| c.is_ascii_punctuation() && !matches!(c, '\'' | '&' | '*' | '$' | '!' | '.');
    if INTERNAL.contains(&key(word).as_str()) {
        // `N/A` is no initials.
        return vec![Part { text: word, start, class: Class::Internal }];
    }
    let mut parts = Vec::new();
    let mut start = start;
    for text in word.split_inclusive(cut) {
        let trimmed = text.trim_matches(|c: char| !c.is_alphanumeric());
        if !trimmed.is_empty() {
            let before = text.chars().take_while(|c| !c.is_alphanumeric()).count();
            parts.push(Part { text: trimmed, start: start + before, class: class(trimmed) });
        }
        start += text.chars().count();
    }
    // `B-52` and `A-1` name somebody; neither half does.
    let numbered = parts.iter().any(|part| part.class == Class::Number);
    for part in
        parts.iter_mut().filter(|part| numbered && part.text.chars().count() == 1 && part.text.chars().all(is_latin))
    {
        part.class = Class::Speaking;
    }
    parts
}

fn class(text: &str) -> Class {
    let key = key(text);
    let is = |words: &[&str]| words.contains(&key.as_str());
    // With a number after it, a word of ours stays one (`user42`, `store1`); others become names (`Cafe2024`).
    let counted = |words: &[&str]| words.contains(&stem(&key));
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    if letters == 0 {
        Class::Number
    } else if counted(TESTS) || is_one_key(stem(&key)) {
        Class::Test
    } else if counted(INTERNAL) {
        Class::Internal
    } else if is(FILLERS) {
        Class::Filler
    } else if is(LINKS) {
        Class::Link
    } else if is(COMMON) || counted(COUNTED) {
        Class::Common
    } else if text.chars().count() == 1 && text.chars().all(is_latin) {
        Class::Initial
    } else {
        Class::Speaking
    }
}

/// One key held down: `aaaa`. Three may be a name (`AAA`).
fn is_one_key(stem: &str) -> bool {
    stem.len() > 3 && stem.is_ascii() && stem.bytes().zip(stem.bytes().skip(1)).all(|(a, b)| a == b)
}
