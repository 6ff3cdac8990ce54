//! What the page's forms do: log in, register, log out, grant, deny.

use super::{Asked, Visitor, parameter, set_cookie, show};
use crate::sandbox::confirmation;
use crate::sandbox::hash::{Password, random_hex, sha256};
use crate::sandbox::protocol::{NAME_MAX, TEXT_MAX};
use crate::sandbox::state::{Code, Event, User, UserState};
use crate::sandbox::world::{Context, Facts, Reply, Request};

/// Longest password taken: enough for any passphrase.
const PASSWORD_MAX: usize = 255;

/// A submitted form.
pub(super) fn submit(
    context: &Context<'_>,
    request: &Request,
    asked: &Asked,
    visitor: &Visitor<'_>,
    facts: &mut Facts,
    events: &mut Vec<Event>,
) -> Reply {
    let body = String::from_utf8_lossy(&request.body);
    let field = |name: &str| parameter(&body, name).unwrap_or_default();
    if visitor.is_new || field("csrf") != visitor.csrf() {
        return Reply::message(403, "This form is too old", "Go back, reload the page and send the form again.");
    }
    match (field("form").as_str(), visitor.user) {
        ("login", _) => match log_in(context, &field("email"), &field("password")) {
            Ok(user_id) => open_session(context, asked, user_id, facts, events),
            Err(problem) => show_signed_out(asked, visitor, problem),
        },
        ("register", _) => match register(context, &field) {
            Ok((user_id, changes)) => {
                events.extend(changes);
                open_session(context, asked, user_id, facts, events)
            }
            Err(problem) => show_signed_out(asked, visitor, problem),
        },
        ("logout", _) => {
            events.push(Event::SessionClosed { sha256: sha256(&visitor.cookie) });
            Reply::see_other(&asked.action)
        }
        ("consent", Some(user)) => match field("decision").as_str() {
            "grant" => grant(context, asked, user, events),
            "deny" => deny(context, asked),
            _ => Reply::message(400, "Nothing was chosen", "Choose Grant or Deny."),
        },
        ("consent", None) => Reply::see_other(&asked.action),
        _ => Reply::message(400, "This form is unknown", "Go back and reload the page."),
    }
}

fn show_signed_out(asked: &Asked, visitor: &Visitor<'_>, problem: &str) -> Reply {
    show(asked, &Visitor { cookie: visitor.cookie.clone(), is_new: visitor.is_new, user: None }, problem)
}

/// The user with this address and password. One text for every failure: the page does not tell who has an account.
fn log_in(context: &Context<'_>, email: &str, password: &str) -> Result<u64, &'static str> {
    let user = context.state.user_by_email(email).filter(|user| user.state == UserState::Registered);
    let is_right = |user: &&User| user.password.as_ref().is_some_and(|stored| stored.is(password));
    user.filter(is_right).map(|user| user.user_id).ok_or("The email or the password is not right.")
}

/// A new user, or the one whom an app registered under this address and who never confirmed: such a person completes the
/// registration here, which registers, but grants nothing yet (inferred).
fn register(context: &Context<'_>, field: &dyn Fn(&str) -> String) -> Result<(u64, Vec<Event>), &'static str> {
    let pending = context.state.user_by_email(&field("email")).filter(|user| user.state == UserState::Pending);
    if let Some(user) = pending {
        let password = password_of(context, &field("password"))?;
        let mut changes = vec![Event::PasswordSet { user_id: user.user_id, password }];
        changes.extend(confirmation::events(context.state, user, &[], context.now));
        return Ok((user.user_id, changes));
    }
    let user = new_user(context, &field("email"), &field("password"), &field("first_name"), &field("last_name"))?;
    Ok((user.user_id, vec![Event::UserMade(user)]))
}

/// A password as kept.
pub(super) fn password_of(context: &Context<'_>, password: &str) -> Result<Password, &'static str> {
    if password.is_empty() || password.chars().count() > PASSWORD_MAX {
        return Err("A password of 1 to 255 characters is needed.");
    }
    Ok(Password::new(password, context.entropy))
}

/// Checks a registration, from the page or from the control API.
pub(in crate::sandbox) fn new_user(
    context: &Context<'_>,
    email: &str,
    password: &str,
    first_name: &str,
    last_name: &str,
) -> Result<User, &'static str> {
    let (email, first_name, last_name) = (email.trim(), first_name.trim(), last_name.trim());
    let is_address = email.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    if !is_address || email.chars().count() > TEXT_MAX {
        return Err("That is not an email address.");
    }
    let is_name = |name: &str| !name.is_empty() && name.chars().count() <= NAME_MAX;
    if !is_name(first_name) || !is_name(last_name) {
        return Err("First and last name are needed, with at most 127 characters each.");
    }
    let password = password_of(context, password)?;
    if context.state.user_by_email(email).is_some() {
        return Err("There is a user with that email already.");
    }
    Ok(User {
        user_id: context.state.next_user_id(),
        email: email.to_owned(),
        first_name: first_name.to_owned(),
        last_name: last_name.to_owned(),
        state: UserState::Registered,
        password: Some(password),
    })
}

/// Signs the visitor in under a fresh cookie, so that one planted before is worth nothing, and shows the page again.
fn open_session(
    context: &Context<'_>,
    asked: &Asked,
    user_id: u64,
    facts: &mut Facts,
    events: &mut Vec<Event>,
) -> Reply {
    facts.user_id = Some(user_id);
    let cookie = random_hex::<32>(context.entropy);
    events.push(Event::SessionOpened { sha256: sha256(&cookie), user_id, at_us: context.now.as_micros() });
    let mut reply = Reply::see_other(&asked.action);
    reply.headers.push(set_cookie(&cookie));
    reply
}

/// Issues a code: 50 lower-case hexadecimal digits (samples of the Java SDK and of a public PHP script).
fn grant(context: &Context<'_>, asked: &Asked, user: &User, events: &mut Vec<Event>) -> Reply {
    let code = random_hex::<25>(context.entropy);
    events.push(Event::CodeIssued(Code {
        sha256: sha256(&code),
        client_id: asked.client_id,
        user_id: user.user_id,
        redirect_uri: asked.redirect_text.clone(),
        scope: asked.scopes.clone(),
        issued_at_us: context.now.as_micros(),
        is_used: false,
    }));
    events.extend(confirmation::accounts_opened(context.state, user.user_id, asked.client_id));
    asked.redirect(&[("code", &code)], true)
}

/// The two parameters that django-wepay reads; the text and the echo of the state are inferred.
fn deny(context: &Context<'_>, asked: &Asked) -> Reply {
    let text = "the user denied your application access";
    asked.redirect(&[("error", "access_denied"), ("error_description", text)], context.settings.state_on_denial)
}
