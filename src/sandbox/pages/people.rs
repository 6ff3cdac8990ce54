//! What makes a person: names, address, password, and whether a log-in is right.

use crate::sandbox::confirmation;
use crate::sandbox::hash::Password;
use crate::sandbox::parameters::is_address;
use crate::sandbox::protocol::{NAME_MAX, TEXT_MAX};
use crate::sandbox::state::{Event, User, UserState};
use crate::sandbox::world::Context;

use super::visit::Form;

/// Shortest password that a page takes: what NIST SP 800-63B asks for; WePay's own rule is not known.
pub(super) const PASSWORD_MIN: usize = 8;

/// Longest password taken: enough for any passphrase.
const PASSWORD_MAX: usize = 255;

/// Where WePay's users live (WePay API docs, oauth2 page): code and name, the default first. Great Britain went in 2018.
pub(super) const COUNTRIES: [(&str, &str); 2] = [("US", "United States"), ("CA", "Canada")];

/// The user with this address and password. One text for every failure, except that a person whose registration waits for a
/// confirmation is told how to go on.
pub(super) fn log_in(context: &Context<'_>, email: &str, password: &str) -> Result<u64, &'static str> {
    let user = context.state.user_by_email(email);
    if user.is_some_and(|user| user.state == UserState::Pending) {
        return Err("This registration is not confirmed yet. Follow the link in the confirmation mail; \
                    or, where an application asks for access, register with the same email.");
    }
    let is_right = |user: &&User| user.password.as_ref().is_some_and(|stored| stored.is(password));
    user.filter(is_right).map(|user| user.user_id).ok_or("The email or the password is not right.")
}

/// A new user, or the one whom an app registered under this address and who never confirmed: such a person completes the
/// registration here, which registers, but grants nothing yet (inferred).
pub(super) fn register(context: &Context<'_>, form: &Form) -> Result<(u64, Vec<Event>), &'static str> {
    let (email, password) = (form.field("email"), form.field("password"));
    let country = form.field("country");
    // Shown, because the real page asks; not kept, because no call answers it.
    if !country.is_empty() && !COUNTRIES.iter().any(|(code, _)| *code == country) {
        return Err("WePay is not there for people in that country.");
    }
    let pending = context.state.user_by_email(&email).filter(|user| user.state == UserState::Pending);
    if let Some(user) = pending {
        let mut changes = vec![Event::PasswordSet { user_id: user.user_id, password: chosen(context, &password)? }];
        changes.extend(confirmation::events(context.state, user, &[], context.now));
        return Ok((user.user_id, changes));
    }
    let user = new_user(context, &email, &password, &form.field("first_name"), &form.field("last_name"))?;
    chosen(context, &password)?;
    Ok((user.user_id, vec![Event::UserMade(user)]))
}

/// A password that somebody chose on a page, as kept.
pub(super) fn chosen(context: &Context<'_>, password: &str) -> Result<Password, &'static str> {
    if !(PASSWORD_MIN..=PASSWORD_MAX).contains(&password.chars().count()) {
        return Err("A password of 8 to 255 characters is needed.");
    }
    Ok(Password::new(password, context.entropy))
}

/// Checks a registration, from the page or from the control API, which takes short passwords too.
pub(in crate::sandbox) fn new_user(
    context: &Context<'_>,
    email: &str,
    password: &str,
    first_name: &str,
    last_name: &str,
) -> Result<User, &'static str> {
    if !is_address(email) || email.chars().count() > TEXT_MAX {
        return Err("That is not an email address.");
    }
    let is_name = |name: &str| !name.is_empty() && name.chars().count() <= NAME_MAX;
    if !is_name(first_name) || !is_name(last_name) {
        return Err("First and last name are needed, with at most 127 characters each.");
    }
    if password.is_empty() || password.chars().count() > PASSWORD_MAX {
        return Err("A password of 1 to 255 characters is needed.");
    }
    if context.state.user_by_email(email).is_some() {
        return Err("There is a user with that email already.");
    }
    Ok(User {
        user_id: context.state.next_user_id(),
        email: email.to_owned(),
        first_name: first_name.to_owned(),
        last_name: last_name.to_owned(),
        state: UserState::Registered,
        password: Some(Password::new(password, context.entropy)),
    })
}
