//! What happened: the one way in which the state changes, and what the journal keeps.

use serde::{Deserialize, Serialize};

use super::{Account, AccountState, App, Call, Change, Code, Details, Mail, Rbit, Token, User, UserState};
use crate::sandbox::environment::Environment;
use crate::sandbox::hash::Password;
use crate::sandbox::notices::NoticeChange;

/// Something that happened.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(in crate::sandbox) enum Event {
    /// The sandbox was made, as this environment.
    Founded { environment: Environment },
    /// An app was registered.
    AppMade(App),
    /// An app is different now, from its dashboard or by `/app/modify`.
    AppChanged(Box<App>),
    /// A user was made.
    UserMade(User),
    /// A user's state changed.
    UserChanged { user_id: u64, state: UserState },
    /// A user's address changed.
    EmailChanged { user_id: u64, email: String },
    /// An app registered a user whom it signs in itself.
    SingleSignOn { user_id: u64, client_id: u64 },
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
    /// These temporary tokens became permanent.
    TokensMadePermanent { sha256: Vec<String> },
    /// A user granted an app access on the confirmation page.
    Approved { user_id: u64, client_id: u64 },
    /// A user took an app's access back.
    ApprovalWithdrawn { user_id: u64, client_id: u64 },
    /// An app registered a user; where the person goes after confirming.
    Registered { user_id: u64, client_id: u64, redirect_uri: Option<String> },
    /// A user who had no password, or another one, chose it.
    PasswordSet { user_id: u64, password: Password },
    /// A confirmation mail was sent.
    MailSent(Mail),
    /// An account was made.
    AccountMade(Box<Account>),
    /// An account's state changed.
    AccountChanged { account_id: u64, state: AccountState },
    /// Identity, bank, money or members of an account changed.
    AccountStands { account_id: u64, change: Change },
    /// An app changed what it says of an account.
    AccountModified { account_id: u64, details: Box<Details> },
    /// An app told something about an object.
    RbitsMade { rbits: Vec<Rbit> },
    /// An app took an rbit back.
    RbitDeleted { rbit_id: u64 },
    /// These tokens died.
    TokensRevoked { sha256: Vec<String>, at_us: i64 },
    /// Where notices about a user go.
    CallbackSet { user_id: u64, client_id: u64, callback_uri: String },
    /// The clock stands this far ahead of the machine's.
    ClockAdvanced { offset_us: i64 },
    /// Something happened to a notice.
    Notice(NoticeChange),
    /// Everything is as these events leave it, but for calls and clock.
    Restored { events: Vec<Event> },
    /// A call was answered (or dropped).
    Called(Call),
}
