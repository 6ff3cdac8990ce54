//! What the provider knows: apps, people, codes, tokens, sessions and every call; changed by [`Event`]s alone.
//!
//! An event says what happened, not what was asked, so that replaying the journal needs no decision. Secrets are hashed
//! before they come here; only the app's client secret stays readable, because it must be handed out again.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::hash::Password;
use crate::domain::ambient::Timestamp;

/// The first user id given: above 2^31, as recorded ids are (stage transcripts of 2015 to 2017), so that a client
/// with 32-bit ids fails here and not in production.
const FIRST_USER_ID: u64 = 3_800_000_001;

/// State of a WePay user (WePay API docs, user page).
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum UserState {
    /// Made by an app, not confirmed by the person.
    Pending,
    /// A person who can sign in.
    Registered,
    /// Gone, by own wish or by WePay support.
    Deleted,
}

impl UserState {
    /// The name on the wire.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Registered => "registered",
            Self::Deleted => "deleted",
        }
    }
}

/// A registered app.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct App {
    /// Public id, digits.
    pub(super) client_id: u64,
    /// Ten lower-case hexadecimal digits.
    pub(super) client_secret: String,
    /// The user who registered the app.
    pub(super) owner_user_id: u64,
}

/// A WePay user, keyed by e-mail address.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct User {
    /// Id.
    pub(super) user_id: u64,
    /// E-mail address as entered.
    pub(super) email: String,
    /// First name.
    pub(super) first_name: String,
    /// Last name.
    pub(super) last_name: String,
    /// State.
    pub(super) state: UserState,
    /// Nobody signs in without one.
    pub(super) password: Option<Password>,
}

/// An authorization code.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Code {
    /// SHA-256 of the code.
    pub(super) sha256: String,
    /// The app it was issued to.
    pub(super) client_id: u64,
    /// Who granted.
    pub(super) user_id: u64,
    /// Byte for byte as given to the authorize page.
    pub(super) redirect_uri: String,
    /// What was granted.
    pub(super) scope: Vec<String>,
    /// When, in microseconds since 1970.
    pub(super) issued_at_us: i64,
    /// Whether it was exchanged.
    #[serde(default)]
    pub(super) is_used: bool,
}

/// Kind of a token (WePay API docs, access tokens page).
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TokenKind {
    /// Lives until revoked.
    Permanent,
}

/// An access token.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Token {
    /// SHA-256 of the token.
    pub(super) sha256: String,
    /// Whose.
    pub(super) user_id: u64,
    /// For which app.
    pub(super) client_id: u64,
    /// What it may do.
    pub(super) scope: Vec<String>,
    /// Kind.
    pub(super) kind: TokenKind,
    /// When, in microseconds since 1970.
    pub(super) issued_at_us: i64,
    /// When it was revoked.
    #[serde(default)]
    pub(super) revoked_at_us: Option<i64>,
}

/// One request to the API or to the authorize page.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Call {
    /// 1, 2, 3 …
    pub(super) seq: u64,
    /// RFC 3339, by the sandbox's clock.
    pub(super) at: String,
    /// HTTP method.
    pub(super) method: String,
    /// Path with `/v2`, without trailing slash.
    pub(super) path: String,
    /// HTTP status of the answer; none when the connection was dropped.
    pub(super) status: Option<u16>,
    /// `error_code` of the answer.
    pub(super) error_code: Option<u32>,
    /// The user whose token or code it was, or who was signed in.
    pub(super) user_id: Option<u64>,
    /// The app, when the request named one that is.
    pub(super) client_id: Option<String>,
    /// At the authorize page: the scope list exactly as received.
    pub(super) scope: Option<String>,
    /// Beginning of the SHA-256 of the token presented or issued.
    pub(super) token_sha256: Option<String>,
    /// False when a fault dropped the answer.
    pub(super) answered: bool,
}

/// Something that happened.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    /// An app was registered.
    AppMade(App),
    /// A user was made.
    UserMade(User),
    /// A user's state changed.
    UserChanged { user_id: u64, state: UserState },
    /// Somebody signed in at the pages.
    SessionOpened { sha256: String, user_id: u64, at_us: i64 },
    /// Somebody signed out.
    SessionClosed { sha256: String },
    /// A code was issued.
    CodeIssued(Code),
    /// A code was exchanged.
    CodeUsed { sha256: String },
    /// A token was issued.
    TokenIssued(Token),
    /// These tokens died.
    TokensRevoked { sha256: Vec<String>, at_us: i64 },
    /// Where notices about a user go.
    CallbackSet { user_id: u64, client_id: u64, callback_uri: String },
    /// The clock stands this far ahead of the machine's.
    ClockAdvanced { offset_us: i64 },
    /// A call was answered (or dropped).
    Called(Call),
}

/// A session of the pages.
#[derive(Clone, Copy)]
struct Session {
    user_id: u64,
    opened_at: Timestamp,
}

/// Everything the provider knows.
#[derive(Default)]
pub(super) struct State {
    apps: BTreeMap<u64, App>,
    first_app: Option<u64>,
    users: BTreeMap<u64, User>,
    emails: HashMap<String, u64>,
    sessions: HashMap<String, Session>,
    codes: HashMap<String, Code>,
    tokens: HashMap<String, Token>,
    /// Hashes of all tokens of a (user, app), in order of issue.
    grants: BTreeMap<(u64, u64), Vec<String>>,
    callbacks: HashMap<(u64, u64), String>,
    calls: Vec<Call>,
    clock_offset_us: i64,
}

impl State {
    /// Takes in one event. Events about unknown things change nothing.
    pub(super) fn apply(&mut self, event: Event) {
        match event {
            Event::AppMade(app) => {
                self.first_app.get_or_insert(app.client_id);
                self.apps.insert(app.client_id, app);
            }
            Event::UserMade(user) => {
                self.emails.insert(email_key(&user.email), user.user_id);
                self.users.insert(user.user_id, user);
            }
            Event::UserChanged { user_id, state } => {
                if let Some(user) = self.users.get_mut(&user_id) {
                    user.state = state;
                }
            }
            Event::SessionOpened { sha256, user_id, at_us } => {
                self.sessions.insert(sha256, Session { user_id, opened_at: Timestamp::from_micros(at_us) });
            }
            Event::SessionClosed { sha256 } => {
                self.sessions.remove(&sha256);
            }
            Event::CodeIssued(code) => {
                self.codes.insert(code.sha256.clone(), code);
            }
            Event::CodeUsed { sha256 } => {
                if let Some(code) = self.codes.get_mut(&sha256) {
                    code.is_used = true;
                }
            }
            Event::TokenIssued(token) => {
                self.grants.entry((token.user_id, token.client_id)).or_default().push(token.sha256.clone());
                self.tokens.insert(token.sha256.clone(), token);
            }
            Event::TokensRevoked { sha256, at_us } => {
                for token in sha256 {
                    if let Some(token) = self.tokens.get_mut(&token) {
                        token.revoked_at_us.get_or_insert(at_us);
                    }
                }
            }
            Event::CallbackSet { user_id, client_id, callback_uri } => {
                self.callbacks.insert((user_id, client_id), callback_uri);
            }
            Event::ClockAdvanced { offset_us } => self.clock_offset_us = self.clock_offset_us.max(offset_us),
            Event::Called(call) => self.calls.push(call),
        }
    }

    /// The app made at first start.
    pub(super) fn first_app(&self) -> Option<&App> {
        self.first_app.and_then(|client_id| self.apps.get(&client_id))
    }

    /// An app by its client id.
    pub(super) fn app(&self, client_id: u64) -> Option<&App> {
        self.apps.get(&client_id)
    }

    /// A user by id.
    pub(super) fn user(&self, user_id: u64) -> Option<&User> {
        self.users.get(&user_id)
    }

    /// A user by e-mail address; case does not matter.
    pub(super) fn user_by_email(&self, email: &str) -> Option<&User> {
        self.emails.get(&email_key(email)).and_then(|user_id| self.users.get(user_id))
    }

    /// All users, by id.
    pub(super) fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values()
    }

    /// The id of the next user.
    pub(super) fn next_user_id(&self) -> u64 {
        self.users.last_key_value().map_or(FIRST_USER_ID, |(last, _)| last.saturating_add(1))
    }

    /// Who signed in with this session, unless it was opened before `since`.
    pub(super) fn session_user(&self, sha256: &str, since: Timestamp) -> Option<&User> {
        let session = self.sessions.get(sha256).filter(|session| session.opened_at >= since)?;
        self.users.get(&session.user_id).filter(|user| user.state == UserState::Registered)
    }

    /// A code by its hash.
    pub(super) fn code(&self, sha256: &str) -> Option<&Code> {
        self.codes.get(sha256)
    }

    /// All codes ever issued, in no order.
    pub(super) fn codes(&self) -> impl Iterator<Item = &Code> {
        self.codes.values()
    }

    /// A token by its hash.
    pub(super) fn token(&self, sha256: &str) -> Option<&Token> {
        self.tokens.get(sha256)
    }

    /// All tokens of a user, app by app, in order of issue.
    pub(super) fn tokens_of(&self, user_id: u64) -> impl Iterator<Item = &Token> {
        self.grants
            .range((user_id, u64::MIN)..=(user_id, u64::MAX))
            .flat_map(|(_, hashes)| hashes)
            .filter_map(|sha256| self.tokens.get(sha256))
    }

    /// Hashes of the tokens of a (user, app) that were not revoked.
    pub(super) fn unrevoked(&self, user_id: u64, client_id: u64) -> Vec<String> {
        self.tokens_of(user_id)
            .filter(|token| token.client_id == client_id && token.revoked_at_us.is_none())
            .map(|token| token.sha256.clone())
            .collect()
    }

    /// Where an app wants notices about a user.
    pub(super) fn callback(&self, user_id: u64, client_id: u64) -> Option<&String> {
        self.callbacks.get(&(user_id, client_id))
    }

    /// Every call so far.
    pub(super) fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// How far the clock was moved ahead, in microseconds.
    pub(super) const fn clock_offset_us(&self) -> i64 {
        self.clock_offset_us
    }
}

fn email_key(email: &str) -> String {
    email.trim().to_lowercase()
}
