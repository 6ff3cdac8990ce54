//! Names for card statements: will the card holder know who took the money?
//!
//! A payment to an account appears on the statement as `WPY*` and the account's name. Banks show 14 to 20 characters of such a line, and
//! the card networks guarantee no more of the name than its first 14, so a name must name the merchant by then; ids and words of
//! our own trade name nobody. [`judge`] says what is the matter with a name, what the statement will look like, and which name would
//! do. It changes nothing: a name goes to the provider as it was given, or not at all.
//!
//! Two kinds of mistakes are possible, and they do not weigh the same. A bad name that passes costs a chargeback now and then; a
//! real merchant's own name refused cannot be mended by the merchant. What could be somebody's name is therefore a warning at most.
//!
//! In two cases a statement says [`PROVIDER_LINE`] whatever the name: while a payment is authorised and not yet captured (most banks
//! show the merchant of record), and on American Express until the merchant has passed the provider's identity checks.

mod characters;
mod platform;
mod reason;
mod reference;
mod suggestion;
mod words;

pub use self::platform::{PATTERN_CHARS_MAX, PATTERNS_MAX, Platform};
pub use self::reason::{NameReason, Severity};

use self::words::Reading;

/// What the provider puts before the name (`docs/provider.md` §8, as all of these).
pub const LINE_PREFIX: &str = "WPY*";
/// What a statement says instead of [`LINE_PREFIX`] and the name while a payment is only authorised, and for American Express until the
/// merchant has passed the provider's identity checks.
pub const PROVIDER_LINE: &str = "WEPAY, INC.";
/// Longest name, in characters: the provider's limit of ordinary strings (`docs/provider.md` §3).
pub const NAME_CHARS_MAX: usize = 255;
/// Longer input is not looked at: no name of [`NAME_CHARS_MAX`] characters has more bytes than this, but for a few of rare scripts.
pub const NAME_BYTES_MAX: usize = 1024;
/// By so many characters of a name the merchant must be known: a limit of the card networks.
pub const OPENING_CHARS: usize = 14;
/// Most suggestions: whoever needs more needs a person.
pub const SUGGESTIONS_MAX: usize = 3;

/// What becomes of a name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Verdict {
    /// Nothing is the matter.
    Accept,
    /// It may be used; look at the reasons.
    Warn,
    /// It is not used.
    Refuse,
}

impl Verdict {
    /// Every verdict, from mild to severe.
    pub const ALL: [Self; 3] = [Self::Accept, Self::Warn, Self::Refuse];

    /// The text form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Warn => "warn",
            Self::Refuse => "refuse",
        }
    }
}

/// The line of a statement, as banks cut it. Characters that are not printable stand in it as they stand in the name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Previews {
    /// The first 14 characters of the line, the least that banks show: 10 of the name.
    pub at_14: String,
    /// The first 18 characters: what the card networks carry, 14 of the name.
    pub at_18: String,
    /// The first 20 characters, the most that banks show: 16 of the name.
    pub at_20: String,
}

impl Previews {
    /// The previews of a name.
    pub fn of(name: &str) -> Self {
        let cut = |chars: usize| {
            LINE_PREFIX.chars().chain(name.chars()).take(chars).collect::<String>().trim_end().to_owned()
        };
        Self { at_14: cut(14), at_18: cut(18), at_20: cut(20) }
    }
}

/// What was found about a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judgement {
    /// What becomes of it.
    pub verdict: Verdict,
    /// Why, each reason once, in the order of [`NameReason::ALL`]; empty if it is accepted.
    pub reasons: Vec<NameReason>,
    /// What statements will say.
    pub preview: Previews,
    /// At most [`SUGGESTIONS_MAX`] names that are accepted, the best first; empty if the name is, or if nothing of it speaks.
    pub suggestions: Vec<String>,
}

/// Judges a name. `dba` is the name under which the merchant does business, if it is known; it serves for suggestions only.
pub fn judge(name: &str, dba: Option<&str>, platform: &Platform) -> Judgement {
    let reasons = assess(name, platform);
    let verdict = verdict(&reasons);
    let suggestions = if verdict == Verdict::Accept { Vec::new() } else { suggestion::suggest(name, dba, platform) };
    Judgement { verdict, reasons, preview: Previews::of(name), suggestions }
}

fn verdict(reasons: &[NameReason]) -> Verdict {
    reasons.iter().map(|reason| reason.severity()).max().map_or(Verdict::Accept, |severity| match severity {
        Severity::Warning => Verdict::Warn,
        Severity::Refusal => Verdict::Refuse,
    })
}

/// What is the matter, in order, each once.
fn assess(name: &str, platform: &Platform) -> Vec<NameReason> {
    if name.len() > NAME_BYTES_MAX {
        return vec![NameReason::TooLong];
    }
    if name.trim().is_empty() {
        return vec![NameReason::Empty];
    }
    let mut reasons = Vec::new();
    if name.chars().count() > NAME_CHARS_MAX {
        reasons.push(NameReason::TooLong);
    }
    if characters::folded(name).contains("wepay") {
        reasons.push(NameReason::ContainsWepay);
    }
    if name.split_whitespace().any(is_email_address) {
        reasons.push(NameReason::EmailAddress);
    }
    characters::judge(name, &mut reasons);
    // An id does not become a name by an invisible character in its middle.
    Reading::new(&characters::clean(name), platform).judge(&mut reasons);
    reasons.sort_unstable();
    reasons.dedup();
    reasons
}

/// One `@` between a local part and a host with a dot inside it; `Me@Home` is a name.
fn is_email_address(word: &str) -> bool {
    word.split_once('@').is_some_and(|(local, host)| {
        let labels = host.split_once('.');
        !local.is_empty()
            && !host.contains('@')
            && labels.is_some_and(|(one, rest)| !one.is_empty() && !rest.is_empty())
    })
}

#[cfg(test)]
mod tests;
