//! The provider's error numbers as data: what a refusal says about a token, and about an attempt.
//!
//! A wrong *dead* is the way to destroy a good token, so the default of every question here is "says nothing": only the
//! numbers of the table mean something, and only two of them mean death. The numbers' sources are in
//! `docs/provider.md` §6.

use super::{CallError, Refusal, UnknownReason};

/// What an answer says about the token that was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// The token was revoked or its user deleted. One such answer is evidence, not yet proof.
    Dead,
    /// The token may be dead or superseded: probe it.
    Suspect,
    /// The token lives but may not do this.
    InsufficientScope,
    /// Our app called too often; says nothing about the token.
    Throttled,
    /// The provider could not answer now; says nothing about the token.
    Transient,
    /// The answer is about something else.
    NotAboutToken,
}

/// What a failed call with an effect means: an exchange, a registration, an account to be made, a mail to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MintVerdict {
    /// Nothing was sent; a code is unused.
    NotSent,
    /// The provider said no before it acted. (A refused code that was used before may still have cost its tokens,
    /// RFC 6749 §4.1.2, and a refused registration may have found the user first: the old token deserves a probe.)
    Rejected,
    /// It may have acted.
    InDoubt,
}

/// The call that was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallKind {
    /// `/oauth2/token`: client id and secret, no token.
    Exchange,
    /// `/user/register`: client id and secret, no token.
    Register,
    /// `/user` with a token: the probe.
    User,
    /// `/app`: client id and secret, no token.
    App,
    /// Any other call with a token: accounts, confirmation mails, and what a caller of ours made and reports.
    OtherWithToken,
}

impl CallKind {
    /// Whether the call carries a token, without which no answer can be about one.
    pub const fn carries_token(self) -> bool {
        matches!(self, Self::User | Self::OtherWithToken)
    }
}

/// One line of the provider's error catalogue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The number, as text.
    pub code: &'static str,
    /// What it means, in our words.
    pub meaning: &'static str,
    /// What it says about the token that was sent. 1008 says `Transient` with one exact text only.
    pub signal: Signal,
}

/// The one 1008 that is worth another try; the same number also stands for final refusals.
pub const TRANSIENT_1008_TEXT: &str = "there was an unknown error - please contact api@wepay.com for support";
/// What the refusal of a confirmation mail says when none is needed any more, with 7002. The same number with another text
/// is about something else.
pub const ALREADY_CONFIRMED_TEXT: &str = "access_token is already approved";
const WRONG_STATE_CODE: &str = "7002";
/// What the two texts for a token of the other environment have in common. No number was recorded with them.
pub const WRONG_ENVIRONMENT_TEXT: &str = "trying to use an access_token from";

/// The catalogue, in the order of the numbers. The provider's list is open-ended: a number that is not here says nothing
/// about a token.
pub const CATALOGUE: &[Entry] = &{
    use Signal::{Dead, InsufficientScope, NotAboutToken, Suspect, Throttled, Transient};
    [
        entry("1001", "no such call", NotAboutToken),
        entry("1002", "a header is missing or the Authorization header cannot be parsed", Suspect),
        entry("1003", "invalid parameter value", NotAboutToken),
        entry("1004", "missing parameter", NotAboutToken),
        entry("1005", "request body cannot be parsed", NotAboutToken),
        entry("1006", "cannot authenticate: the token is not known", Suspect),
        entry("1007", "throttled: too many calls by the app", Throttled),
        entry("1008", "unexpected error; also some final payment refusals", Transient),
        entry("1009", "error meant to be shown to the user", NotAboutToken),
        entry("1010", "the token lacks a permission", InsufficientScope),
        entry("1011", "the token was revoked", Dead),
        entry("1012", "the authorization code has expired", NotAboutToken),
        entry("1013", "the authorization code is another client's", NotAboutToken),
        entry("1014", "the caller's IP address is not allow-listed", NotAboutToken),
        entry("1015", "Api-Version invalid or expired", NotAboutToken),
        entry("1016", "Api-Version not valid for this app", NotAboutToken),
        entry("2001", "address verification failed", NotAboutToken),
        entry("2002", "card type not supported", NotAboutToken),
        entry("2003", "declined by the bank: not supported", NotAboutToken),
        entry("2004", "declined by the bank without a reason", NotAboutToken),
        entry("2005", "declined by the bank: insufficient funds", NotAboutToken),
        entry("2006", "declined by the bank: card lost or stolen", NotAboutToken),
        entry("2007", "declined by the bank: card expired", NotAboutToken),
        entry("2008", "declined by the bank: invalid card data", NotAboutToken),
        entry("2009", "the card object is in the wrong state", NotAboutToken),
        entry("3001", "the account does not exist", NotAboutToken),
        entry("3002", "the account does not exist or is not this user's", Suspect),
        entry("3003", "the account was deleted", NotAboutToken),
        entry("3004", "the account cannot transact", NotAboutToken),
        entry("3005", "the account has insufficient funds", NotAboutToken),
        entry("3006", "identity data was given already", NotAboutToken),
        entry("3007", "identity data is needed first", NotAboutToken),
        entry("3008", "settlement data is needed before a review", NotAboutToken),
        entry("3009", "a social security number of nine digits is needed", NotAboutToken),
        entry("3010", "the identity check does not ask for documents", NotAboutToken),
        entry("3011", "files not found", NotAboutToken),
        entry("3012", "the account's owner is missing", NotAboutToken),
        entry("3302", "the financial admin's token must be used", NotAboutToken),
        entry("3306", "the admin cannot change after withdrawals", NotAboutToken),
        entry("4001", "the checkout does not exist", NotAboutToken),
        entry("4002", "no permission for the checkout", Suspect),
        entry("4003", "the payment method does not exist or can no longer transact", NotAboutToken),
        entry("4004", "the checkout is in the wrong state", NotAboutToken),
        entry("4005", "a signature cannot be added", NotAboutToken),
        entry("5001", "the preapproval does not exist", NotAboutToken),
        entry("5002", "no permission for the preapproval", Suspect),
        entry("5003", "the app cannot access the preapproval", NotAboutToken),
        entry("5004", "before the preapproval's start", NotAboutToken),
        entry("5005", "after the preapproval's end", NotAboutToken),
        entry("5006", "the preapproval is in the wrong state", NotAboutToken),
        entry("5007", "too many failed authorisations of the preapproval", NotAboutToken),
        entry("5008", "the preapproval is another account's", NotAboutToken),
        entry("5009", "the preapproval's frequency is used up", NotAboutToken),
        entry("5010", "the preapproval's amount is used up", NotAboutToken),
        entry("5011", "the preapproval is being executed", NotAboutToken),
        entry("6001", "the withdrawal does not exist", NotAboutToken),
        entry("6002", "no permission for the withdrawal", Suspect),
        entry("7001", "the user does not exist or may not be seen", Suspect),
        entry("7002", "the user, or its token or account, is in the wrong state", NotAboutToken),
        entry("7003", "the user was deleted", Dead),
        entry("8001", "subscription error", NotAboutToken),
        entry("8002", "subscription error", NotAboutToken),
        entry("8003", "subscription error", NotAboutToken),
        entry("8004", "subscription error", NotAboutToken),
        entry("8005", "subscription error", NotAboutToken),
        entry("8006", "subscription error", NotAboutToken),
        entry("8007", "subscription error", NotAboutToken),
        entry("8008", "subscription error", NotAboutToken),
        entry("8009", "subscription error", NotAboutToken),
        entry("8010", "subscription error", NotAboutToken),
        entry("8011", "subscription error", NotAboutToken),
        entry("10003", "invalid postal code", NotAboutToken),
    ]
};

/// Refusals that come before any effect: the request, the code or the client was wrong.
const REJECTING_CODES: [&str; 12] =
    ["1001", "1002", "1003", "1004", "1005", "1006", "1010", "1012", "1013", "1014", "1015", "1016"];
/// Error classes that say the same where the number is missing or new: the provider's own and those of RFC 6749 §5.2.
const REJECTING_ERRORS: [&str; 8] = [
    "invalid_request",
    "invalid_parameter",
    "invalid_client",
    "invalid_grant",
    "invalid_scope",
    "unauthorized_client",
    "unsupported_grant_type",
    "access_denied",
];

/// The catalogue's line for a number, if it has one.
pub fn entry_of(code: &str) -> Option<&'static Entry> {
    CATALOGUE.iter().find(|entry| entry.code == code)
}

/// What a refusal says about the token that was sent with the call.
pub fn signal(call: CallKind, refusal: &Refusal) -> Signal {
    let status = Some(refusal.status);
    let signal = read(&refusal.error, refusal.code.as_deref(), &refusal.description, status);
    without_token(call, signal)
}

/// What a provider error says that someone else saw and reports: the number, the description and, if known, the HTTP
/// status. A report is a hint and never proof, so a death in it is [`Signal::Suspect`].
pub fn reported_signal(code: Option<&str>, description: &str, status: Option<u16>) -> Signal {
    match read("", code, description, status) {
        Signal::Dead => Signal::Suspect,
        other => other,
    }
}

/// Whether the provider, or what stands before it, refused the call because there were too many. By number and class also where the status
/// makes of it a passing fault: which status comes with it is not known.
pub fn is_throttled(error: &CallError) -> bool {
    let by_name = matches!(error, CallError::Refused(refusal)
        if refusal.code.as_deref() == Some("1007") || refusal.error == "throttle_exceeded");
    by_name || error.signal(CallKind::App) == Signal::Throttled
}

/// What a failed call with an effect means (`docs/provider.md` §5, §7).
pub fn mint_verdict(error: &CallError) -> MintVerdict {
    match error {
        CallError::NotSent(_) => MintVerdict::NotSent,
        CallError::OutcomeUnknown(_) => MintVerdict::InDoubt,
        CallError::Refused(refusal) if rejects(refusal) => MintVerdict::Rejected,
        CallError::Refused(_) => MintVerdict::InDoubt,
    }
}

/// Whether this refusal of a confirmation mail says that its user has confirmed already, so that the token is permanent.
pub fn already_confirmed(error: &CallError) -> bool {
    match error {
        CallError::Refused(refusal) => {
            refusal.code.as_deref() == Some(WRONG_STATE_CODE)
                && (400..500).contains(&refusal.status)
                && refusal.description.to_ascii_lowercase().contains(ALREADY_CONFIRMED_TEXT)
        }
        CallError::NotSent(_) | CallError::OutcomeUnknown(_) => false,
    }
}

/// What a call without a clear answer says about the token that was sent with it.
pub(super) fn unknown_signal(call: CallKind, reason: UnknownReason) -> Signal {
    let signal = match reason {
        UnknownReason::Malformed { status: 401 } => Signal::Suspect,
        UnknownReason::Malformed { status: 429 } => Signal::Throttled,
        _ => Signal::Transient,
    };
    without_token(call, signal)
}

const fn entry(code: &'static str, meaning: &'static str, signal: Signal) -> Entry {
    Entry { code, meaning, signal }
}

fn read(error: &str, code: Option<&str>, description: &str, status: Option<u16>) -> Signal {
    match status {
        // The status of an unknown call: about the path, whatever else the answer says.
        Some(501) => return Signal::NotAboutToken,
        Some(500..=599) => return Signal::Transient,
        _ => {}
    }
    let wrong_environment = description.to_ascii_lowercase().contains(WRONG_ENVIRONMENT_TEXT);
    match code {
        Some("1001") => Signal::NotAboutToken,
        _ if wrong_environment => Signal::Suspect,
        Some("1008") if description.trim() != TRANSIENT_1008_TEXT => Signal::NotAboutToken,
        Some(code) => entry_of(code).map_or(Signal::NotAboutToken, |entry| entry.signal),
        None if error == "throttle_exceeded" || status == Some(429) => Signal::Throttled,
        None if status == Some(401) => Signal::Suspect,
        None => Signal::NotAboutToken,
    }
}

const fn without_token(call: CallKind, signal: Signal) -> Signal {
    match signal {
        Signal::Dead | Signal::Suspect | Signal::InsufficientScope if !call.carries_token() => Signal::NotAboutToken,
        other => other,
    }
}

fn rejects(refusal: &Refusal) -> bool {
    // 501 is the status of an unknown call; 408 and 429 are said by proxies that may have passed the request on.
    let clear = matches!(refusal.status, 400..=499 | 501) && !matches!(refusal.status, 408 | 429);
    let code = refusal.code.as_deref();
    let contradicts = matches!(refusal.error.as_str(), "processing_error" | "throttle_exceeded");
    let open = matches!(code, Some("1007" | "1008"));
    let says_no =
        code.is_some_and(|code| REJECTING_CODES.contains(&code)) || REJECTING_ERRORS.contains(&refusal.error.as_str());
    clear && !contradicts && !open && says_no
}
