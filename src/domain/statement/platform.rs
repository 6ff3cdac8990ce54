//! What a platform knows about its own ids.

use crate::domain::name::FieldError;

/// Most patterns: a platform has a dozen kinds of ids.
pub const PATTERNS_MAX: usize = 64;
/// Longest pattern; prefixes of ids are short.
pub const PATTERN_CHARS_MAX: usize = 64;

/// So much of a name one id may cover: more is no id, whatever stars stand in the pattern.
const COVERED_CHARS_MAX: usize = 128;

/// The patterns of a platform's own ids. A name with a word that begins with one of them is refused.
///
/// A pattern is text that stands for itself, letter case aside, but for `#` (one digit), `?` (any one character) and `*` (any
/// characters, also none). `ORD-` is every word that begins so, `T####` a T and four digits, `tenant #` two words. The default
/// has none.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Platform {
    patterns: Vec<Vec<char>>,
}

impl Platform {
    /// Parses patterns.
    pub fn parse<T: AsRef<str>>(patterns: &[T]) -> Result<Self, FieldError> {
        let bad = |rule: String| FieldError::new("platform_patterns", rule);
        if patterns.len() > PATTERNS_MAX {
            return Err(bad(format!("must be at most {PATTERNS_MAX}")));
        }
        let parse = |pattern: &T| {
            let pattern: Vec<_> = pattern.as_ref().trim().chars().flat_map(char::to_lowercase).collect();
            if pattern.is_empty() || pattern.len() > PATTERN_CHARS_MAX {
                return Err(bad(format!("must have 1 to {PATTERN_CHARS_MAX} characters each")));
            }
            if pattern.iter().all(|c| matches!(c, '?' | '*')) {
                return Err(bad("must have a character besides ? and * each, or they would fit every name".to_owned()));
            }
            Ok(pattern)
        };
        Ok(Self { patterns: patterns.iter().map(parse).collect::<Result<_, _>>()? })
    }

    /// How many bytes of the text, from its beginning, a pattern covers, if one does.
    pub(super) fn covers(&self, text: &str) -> Option<usize> {
        self.patterns.iter().filter_map(|pattern| covers(pattern, text)).max()
    }
}

/// Walks the text once and keeps the places of the pattern that can be reached, so that no pattern makes it go back.
fn covers(pattern: &[char], text: &str) -> Option<usize> {
    let mut places = vec![false; pattern.len() + 1];
    if let Some(first) = places.first_mut() {
        *first = true;
    }
    pass_stars(pattern, &mut places);
    let mut bytes = 0;
    for c in text.chars().take(COVERED_CHARS_MAX) {
        if places.last() == Some(&true) {
            return Some(bytes);
        }
        let mut next = vec![false; places.len()];
        let steps = pattern.iter().zip(&places).enumerate().filter(|(_, (_, reached))| **reached);
        for (at, (wanted, _)) in steps {
            let (stays, moves) = match wanted {
                '*' => (true, false),
                '?' => (false, true),
                '#' => (false, c.is_numeric()),
                literal => (false, c == *literal || c.to_lowercase().eq([*literal])),
            };
            for (place, reached) in [(at, stays), (at + 1, moves)] {
                if let Some(place) = next.get_mut(place) {
                    *place |= reached;
                }
            }
        }
        if !next.contains(&true) {
            return None;
        }
        places = next;
        pass_stars(pattern, &mut places);
        bytes += c.len_utf8();
    }
    (places.last() == Some(&true)).then_some(bytes)
}

/// A star may stand for nothing.
fn pass_stars(pattern: &[char], places: &mut [bool]) {
    let mut reached_before = false;
    let stars = std::iter::once(false).chain(pattern.iter().map(|c| *c == '*'));
    for (place, after_star) in places.iter_mut().zip(stars) {
        *place |= reached_before && after_star;
        reached_before = *place;
    }
}
