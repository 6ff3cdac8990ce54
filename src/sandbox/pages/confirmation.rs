//! The page behind the link of a confirmation mail: choose a password, accept the terms, grant the app access.

use askama::Template;
use axum::http::Method;

use super::forms::password_of;
use super::{Visitor, parameter, set_cookie};
use crate::sandbox::confirmation::{CALL, events, is_done, key};
use crate::sandbox::state::{Event, Mail, User, UserState};
use crate::sandbox::world::{Context, Facts, Outcome, Reply, Request};

#[derive(Template)]
#[template(path = "sandbox/confirm.html")]
struct Confirm<'a> {
    client_id: u64,
    action: String,
    csrf: String,
    problem: &'a str,
    user_name: String,
    email: &'a str,
    needs_password: bool,
}

/// Answers a request to the page.
pub(in crate::sandbox) fn answer(context: &Context<'_>, request: &Request) -> Outcome {
    let mut facts = Facts::default();
    let mut events = Vec::new();
    let Some((mail, user)) = opened(context, request) else {
        let reply = Reply::message(400, "This link cannot be used", "It is not one that was sent.");
        return Outcome { reply, facts, events };
    };
    (facts.client_id, facts.user_id) = (Some(mail.client_id), Some(user.user_id));
    let visitor = Visitor::read(context, request);
    let reply = match request.method {
        _ if user.state == UserState::Deleted => Reply::message(400, "This link cannot be used", "The user is gone."),
        Method::GET if is_done(context.state, user, mail.client_id, context.now) => {
            Reply::message(200, "Already confirmed", "There is nothing left to do here.")
        }
        Method::GET => show(request, mail, user, &visitor, ""),
        Method::POST => submit(context, request, mail, user, &visitor, &mut events),
        _ => Reply::message(405, "This cannot be done here", "The page answers GET and POST."),
    };
    Outcome { reply, facts, events }
}

/// The mail whose link this is, and to whom it went.
fn opened<'a>(context: &Context<'a>, request: &Request) -> Option<(&'a Mail, &'a User)> {
    let mail_id: u64 = parameter(&request.query, "mail")?.parse().ok()?;
    let mail = context.state.mail(mail_id)?;
    let app = context.state.app(mail.client_id)?;
    if parameter(&request.query, "key")? != key(app, mail) {
        return None;
    }
    Some((mail, context.state.user(mail.user_id)?))
}

fn show(request: &Request, mail: &Mail, user: &User, visitor: &Visitor<'_>, problem: &str) -> Reply {
    let mut reply = Reply::template(&Confirm {
        client_id: mail.client_id,
        action: format!("/v2{CALL}?{}", request.query),
        csrf: visitor.csrf(),
        problem,
        user_name: format!("{} {}", user.first_name, user.last_name),
        email: &user.email,
        needs_password: user.password.is_none(),
    });
    if visitor.is_new {
        reply.headers.push(set_cookie(&visitor.cookie));
    }
    reply
}

fn submit(
    context: &Context<'_>,
    request: &Request,
    mail: &Mail,
    user: &User,
    visitor: &Visitor<'_>,
    changes: &mut Vec<Event>,
) -> Reply {
    let body = String::from_utf8_lossy(&request.body);
    let field = |name: &str| parameter(&body, name).unwrap_or_default();
    if visitor.is_new || field("csrf") != visitor.csrf() {
        return Reply::message(403, "This form is too old", "Go back, reload the page and send the form again.");
    }
    if field("form") != "confirm" || field("decision") != "grant" {
        return Reply::message(400, "This form is unknown", "Go back and reload the page.");
    }
    if field("accept") != "yes" {
        return show(request, mail, user, visitor, "The terms must be accepted.");
    }
    let user_id = user.user_id;
    if user.password.is_none() {
        match password_of(context, &field("password")) {
            Ok(password) => changes.push(Event::PasswordSet { user_id, password }),
            Err(problem) => return show(request, mail, user, visitor, problem),
        }
    }
    if !is_done(context.state, user, mail.client_id, context.now) {
        changes.extend(events(context.state, user, &[mail.client_id], context.now));
    }
    match context.state.after_confirmation(user_id, mail.client_id) {
        Some(redirect_uri) => Reply::see_other(redirect_uri),
        None => Reply::message(200, "Thank you", "The registration is confirmed. You can close this page."),
    }
}
