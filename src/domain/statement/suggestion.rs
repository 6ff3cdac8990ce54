//! Names that would do, made of what speaks in the one that does not. Nothing is invented: none rather than nonsense.

use unicode_normalization::UnicodeNormalization as _;

use super::characters::{clean, folded, one_space_apart, plain};
use super::words::{Class, Reading};
use super::{NAME_BYTES_MAX, NAME_CHARS_MAX, Platform, SUGGESTIONS_MAX, Verdict, assess, verdict};

/// A word of as many letters must be left of a name: less is what was left over.
const WORD_LETTERS_MIN: usize = 3;
/// Signs that stand around ids, and lead nowhere without them.
const LEFT_OVER: &[char] =
    &['-', '–', '—', '#', ':', ';', ',', '/', '|', '(', ')', '[', ']', '{', '}', '<', '>', '=', '_', '+', '~', '@'];
/// Those among them that come in pairs.
const BRACKETS: &[char] = &['(', ')', '[', ']', '{', '}', '<', '>'];

/// Suggests names in place of this one: from its own words first, then from the name under which the merchant does business.
pub(super) fn suggest(name: &str, dba: Option<&str>, platform: &Platform) -> Vec<String> {
    let mut made: Vec<String> = Vec::new();
    made.extend(rests(name, platform));
    if let Some(dba) = dba {
        made.push(dba.to_owned());
        made.extend(rests(dba, platform));
    }
    let mut suggestions: Vec<String> = Vec::new();
    for candidate in made {
        let known = candidate == name || suggestions.contains(&candidate);
        if !known && verdict(&assess(&candidate, platform)) == Verdict::Accept {
            suggestions.push(candidate);
        }
    }
    suggestions.truncate(SUGGESTIONS_MAX);
    suggestions
}

/// What can be made of a name, from the smallest change to the greatest.
fn rests(name: &str, platform: &Platform) -> Vec<String> {
    if name.len() > NAME_BYTES_MAX {
        return Vec::new();
    }
    let spaced = one_space_apart(&name.nfc().collect::<String>());
    let cleaned = short(&clean(name));
    let named = short(&without_ids(&cleaned, platform));
    let shown = short(&plain(&named));
    let mut rests = Vec::new();
    for rest in [cleaned, named, shown] {
        let opened = from_first_speaking(&rest, platform);
        rests.push(rest);
        rests.extend(opened);
    }
    rests.retain(|rest| *rest == spaced || names_somebody(rest, platform));
    rests
}

/// Whether something that was torn out of a name stands by itself: it has a whole word that names somebody.
fn names_somebody(rest: &str, platform: &Platform) -> bool {
    let long = |text: &str| text.chars().filter(|c| c.is_alphabetic()).count() >= WORD_LETTERS_MIN;
    let words = Reading::new(rest, platform).words;
    words.iter().flat_map(|word| &word.parts).any(|part| part.class == Class::Speaking && long(part.text))
}

/// Without ids, the labels that belong to them, the provider's name, and the signs around them.
fn without_ids(name: &str, platform: &Platform) -> String {
    let words = Reading::new(name, platform).words;
    let last = words.len();
    let kept = words.iter().enumerate().filter(|(at, word)| {
        let sign =
            word.parts.is_empty() && (*at == 0 || at + 1 == last || LEFT_OVER.iter().any(|c| word.text.contains(*c)));
        word.id.is_none() && !sign && !folded(word.text).contains("wepay")
    });
    let kept: Vec<_> = kept.map(|(_, word)| word.text).collect();
    let joined = kept.join(" ");
    if joined == name {
        return joined;
    }
    // A bracket whose other half went with an id goes, too.
    let halves = [('(', ')'), ('[', ']'), ('{', '}'), ('<', '>')]
        .into_iter()
        .filter(|(open, close)| joined.matches(*open).count() != joined.matches(*close).count());
    let halves: Vec<_> = halves.flat_map(|(open, close)| [open, close]).collect();
    let whole = joined.replace(halves.as_slice(), "");
    one_space_apart(whole.trim_matches(|c: char| c == ' ' || (LEFT_OVER.contains(&c) && !BRACKETS.contains(&c))))
}

/// From the first word on that names somebody, if what comes before are articles, numbers and words of our trade; common words
/// (`University of …`) are not: the rest without them may be anybody.
fn from_first_speaking(name: &str, platform: &Platform) -> Option<String> {
    let words = Reading::new(name, platform).words;
    let has = |at: usize, classes: &[Class]| {
        words.get(at).is_some_and(|word| word.parts.iter().any(|part| classes.contains(&part.class)))
    };
    let speaks = |at: &usize| has(*at, &[Class::Speaking, Class::Initial, Class::Common]);
    let first = (0..words.len()).find(speaks)?;
    let common = has(first, &[Class::Common]);
    // `Merchant Account for …` leads to a name, `Payment …` may be the beginning of one.
    let leads = |at| {
        has(at, &[Class::Number, Class::Link])
            || words.get(at).is_some_and(|word| word.text.ends_with([':', '-', '–', '—']))
    };
    let led = (0..first).any(leads);
    if common || !led {
        return None;
    }
    Some(words.iter().skip(first).map(|word| word.text).collect::<Vec<_>>().join(" "))
}

/// At most as long as the provider takes, cut between words.
fn short(name: &str) -> String {
    if name.chars().count() <= NAME_CHARS_MAX {
        return name.to_owned();
    }
    let head: String = name.chars().take(NAME_CHARS_MAX + 1).collect();
    head.rsplit_once(' ').map_or_else(String::new, |(head, _)| head.trim_end().to_owned())
}
