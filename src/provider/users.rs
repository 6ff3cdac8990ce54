//! Users and their tokens: the two calls that mint, the probe, the confirmation, and our own app.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use url::Url;

use crate::domain::ambient::Timestamp;
use crate::domain::name::{Email, Subject};
use crate::domain::secret::{AccessToken, AuthorizationCode};
#[cfg(doc)]
use crate::domain::timing::Timing;

use super::wire::{self, LONG_TEXT_CHARS_MAX, PERSON_NAME_CHARS_MAX, Parameters, TEXT_CHARS_MAX};
use super::{Call, CallError, Keep, Lane, OneCall, SCOPES};

/// What the provider wants to know of a person before it makes a user (`docs/provider.md` §7). All of it is personal data,
/// so `Debug` shows none.
#[derive(Clone, Copy)]
pub struct Registration<'a> {
    /// Identifies the user at the provider, who may exist already.
    pub email: &'a Email,
    /// At most 127 characters.
    pub first_name: &'a str,
    /// At most 127 characters.
    pub last_name: &'a str,
    /// From where the person accepted the terms. The provider's field has 16 characters, too few for IPv6.
    pub original_ip: Ipv4Addr,
    /// With what: the browser's User-Agent, at most 255 characters.
    pub original_device: &'a str,
    /// When the person accepted the provider's terms; goes out in whole seconds.
    pub terms_accepted_at: Timestamp,
    /// Where the person lands after confirming; the app's home page if absent.
    pub redirect_uri: Option<&'a Url>,
    /// Receives the provider's notices about the user.
    pub callback_uri: &'a Url,
}

impl fmt::Debug for Registration<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").finish_non_exhaustive()
    }
}

/// The mail in which the provider asks a registered user to confirm; in the provider's own words where they are absent. It may
/// address a person, so `Debug` shows nothing.
#[derive(Clone, Copy)]
pub struct ConfirmationMail<'a> {
    /// At most 255 characters.
    pub subject: Option<&'a str>,
    /// At most 65 535 characters.
    pub message: Option<&'a str>,
    /// Of the button that confirms, at most 255 characters.
    pub button_text: Option<&'a str>,
}

impl fmt::Debug for ConfirmationMail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfirmationMail").finish_non_exhaustive()
    }
}

/// A token the provider has just issued. Its type was checked to be `bearer`.
#[derive(Debug)]
pub struct IssuedToken {
    /// Whose it is: the answer's user, never the one we expected.
    pub subject: Subject,
    /// The token itself.
    pub access_token: AccessToken,
    /// How long it lives from now; `None`: until it is revoked.
    pub expires_in: Option<Duration>,
}

/// The provider's user behind a token. `Debug` leaves out what is personal.
pub struct User {
    /// The provider's id of the user.
    pub subject: Subject,
    /// The address that identifies the user; `None` if absent or not an address.
    pub email: Option<Email>,
    /// Whole name, at most 255 characters.
    pub user_name: Option<String>,
    /// `pending`, `registered` or `deleted`; other texts are possible (`docs/provider.md` §3).
    pub state: String,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("subject", &self.subject).field("state", &self.state).finish_non_exhaustive()
    }
}

/// Our app, as the provider sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppState {
    /// `active`, `disabled` or `deleted`.
    pub state: String,
    /// Review status, such as `approved`; not every API version sends it.
    pub status: Option<String>,
    /// The API version that calls without an `Api-Version` header get.
    pub api_version: Option<String>,
}

impl OneCall {
    /// Exchanges a code for a token. **Destructive**: it revokes every earlier token of that (user, app), also when the
    /// answer is lost (`docs/provider.md` §5). Sent at most once; bounded by [`Timing::mint_deadline`].
    /// `redirect_uri` must be the one of the authorize URL, `callback_uri` receives the provider's notices.
    ///
    /// # Errors
    /// [`CallError`]; [`mint_verdict`](super::mint_verdict) says what it means. Whatever bytes came back that are neither a valid token
    /// answer nor a clean refusal are in [`Unknown::salvage`](super::Unknown::salvage), since they may hold the only live token.
    pub async fn exchange_code(
        self,
        code: &AuthorizationCode,
        redirect_uri: &Url,
        callback_uri: Option<&Url>,
    ) -> Result<IssuedToken, CallError> {
        let parameters = self
            .client
            .credentials()
            .uri("redirect_uri", Some(redirect_uri))
            .text("code", code.expose(), TEXT_CHARS_MAX)
            .uri("callback_uri", callback_uri);
        self.perform(Call::new("/oauth2/token", Lane::Mint, parameters).keeping(Keep::Body), wire::token).await
    }

    /// Registers a user, who may exist at the provider already, and gets a temporary token. Always with all five scopes.
    /// Whether it revokes earlier tokens of that (user, app) is not known, so it counts as **destructive**; no mail is sent
    /// (`docs/provider.md` §7). Sent at most once; bounded by [`Timing::mint_deadline`].
    ///
    /// # Errors
    /// As of [`exchange_code`](Self::exchange_code).
    pub async fn register(self, wanted: &Registration<'_>) -> Result<IssuedToken, CallError> {
        let (ip, scope) = (wanted.original_ip.to_string(), SCOPES.join(","));
        let parameters = self
            .client
            .credentials()
            .text("email", wanted.email.as_str(), TEXT_CHARS_MAX)
            .text("scope", &scope, TEXT_CHARS_MAX)
            .text("first_name", wanted.first_name, PERSON_NAME_CHARS_MAX)
            .text("last_name", wanted.last_name, PERSON_NAME_CHARS_MAX)
            .text("original_ip", &ip, TEXT_CHARS_MAX)
            .text("original_device", wanted.original_device, TEXT_CHARS_MAX)
            .integer("tos_acceptance_time", wanted.terms_accepted_at.as_unix_seconds())
            .uri("redirect_uri", wanted.redirect_uri)
            .uri("callback_uri", Some(wanted.callback_uri));
        self.perform(Call::new("/user/register", Lane::Mint, parameters).keeping(Keep::Body), wire::token).await
    }

    /// Has the provider send the mail that asks the user behind a temporary token to confirm. Sent at most once: every call
    /// is another mail. Bounded by [`Timing::mint_deadline`].
    ///
    /// # Errors
    /// [`CallError`]; [`already_confirmed`](super::already_confirmed) tells a user who needs no mail any more from other refusals, [`mint_verdict`](super::mint_verdict)
    /// whether a mail may have gone out.
    pub async fn send_confirmation(self, token: &AccessToken, mail: &ConfirmationMail<'_>) -> Result<User, CallError> {
        let parameters = Parameters::default()
            .maybe("email_subject", mail.subject, TEXT_CHARS_MAX)
            .maybe("email_message", mail.message, LONG_TEXT_CHARS_MAX)
            .maybe("email_button_text", mail.button_text, TEXT_CHARS_MAX);
        self.perform(Call::new("/user/send_confirmation", Lane::Mint, parameters).bearing(token), wire::user).await
    }

    /// The user behind a token: the probe. Has no effect at the provider; bounded by [`Timing::probe_deadline`].
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::signal`] says what it means for the token.
    pub async fn user(self, token: &AccessToken) -> Result<User, CallError> {
        self.perform(Call::new("/user", Lane::Probe, Parameters::default()).bearing(token), wire::user).await
    }

    /// Our app, by client id and secret: a probe of another kind, which shows whether the provider answers sensibly
    /// while tokens seem dead. Has no effect; bounded by [`Timing::probe_deadline`].
    ///
    /// # Errors
    /// [`CallError`]; an answer about another app counts as malformed.
    pub async fn app(self) -> Result<AppState, CallError> {
        self.app_and_date().await.0
    }

    /// The same, and the provider's own time in whole seconds, if there was an answer that had it: also a refusal has it.
    pub async fn app_and_date(self) -> (Result<AppState, CallError>, Option<Timestamp>) {
        let client_id = self.client.client_id();
        let mut date = None;
        let call = Call::new("/app", Lane::Probe, self.client.credentials());
        let app = self.perform(call, |answer| {
            date = answer.date;
            wire::app(answer, client_id)
        });
        (app.await, date)
    }
}
