//! The page behind the link of a confirmation mail: choose a password, accept the terms, grant the app access.

use askama::Template;
use axum::http::Method;

use super::people::{PASSWORD_MIN, chosen};
use super::visit::Visit;
use super::{AppShown, Layout, Message, UNUSABLE};
use crate::sandbox::confirmation::{CALL, events, is_done, key};
use crate::sandbox::state::{App, Event, Mail, User, UserState};
use crate::sandbox::world::Reply;

/// The way that such a person goes; the first part happened at the app.
const STEPS: [&str; 2] = ["Register", "Confirm"];

#[derive(Template)]
#[template(path = "sandbox/confirm.html")]
struct Confirm<'a> {
    layout: Layout,
    app: AppShown<'a>,
    action: String,
    csrf: String,
    problem: &'a str,
    user_name: String,
    email: &'a str,
    needs_password: bool,
    password_min: usize,
}

/// What a link leads to.
#[derive(Clone, Copy)]
struct Opened<'a> {
    mail: &'a Mail,
    app: &'a App,
    user: &'a User,
}

/// Answers a request to the page.
pub(super) fn answer(visit: &mut Visit<'_>) -> Reply {
    let Some(opened) = Opened::read(visit) else {
        return Reply::problem(400, UNUSABLE, "It is not one that was sent. Ask the application for a new mail.");
    };
    let Opened { mail, user, .. } = opened;
    (visit.facts.client_id, visit.facts.user_id) = (Some(mail.client_id), Some(user.user_id));
    if user.state == UserState::Deleted {
        return Reply::problem(400, UNUSABLE, "The WePay account that it was sent for is closed.");
    }
    match visit.request.method {
        Method::GET if is_done(visit.context.state, user, mail.client_id, visit.context.now) => {
            let text = "There is nothing left to do here. You can close this page.";
            let layout = visit.layout().at_step(&STEPS, STEPS.len());
            Reply::template(&Message { layout, title: "Already confirmed", text, ..Message::default() })
        }
        Method::GET => opened.show(visit, ""),
        Method::POST => submit(visit, opened),
        _ => Reply::wrong_method(),
    }
}

impl<'a> Opened<'a> {
    /// The mail whose link this is, by which app, and to whom it went.
    fn read(visit: &Visit<'a>) -> Option<Self> {
        let state = visit.context.state;
        let mail_id: u64 = visit.query("mail")?.parse().ok()?;
        let mail = state.mail(mail_id)?;
        let app = state.app(mail.client_id)?;
        if visit.query("key")? != key(app, mail) {
            return None;
        }
        Some(Self { mail, app, user: state.user(mail.user_id)? })
    }

    fn show(self, visit: &Visit<'_>, problem: &str) -> Reply {
        let Self { app, user, .. } = self;
        Reply::template(&Confirm {
            layout: visit.layout().at_step(&STEPS, 1),
            app: AppShown::new(app),
            action: format!("/v2{CALL}?{}", visit.request.query),
            csrf: visit.visitor.csrf(),
            problem,
            user_name: format!("{} {}", user.first_name, user.last_name),
            email: &user.email,
            needs_password: user.password.is_none(),
            password_min: PASSWORD_MIN,
        })
    }
}

fn submit(visit: &mut Visit<'_>, opened: Opened<'_>) -> Reply {
    let form = match visit.form() {
        Ok(form) => form,
        Err(refusal) => return refusal,
    };
    let Opened { mail, user, .. } = opened;
    if form.field("form") != "confirm" || form.field("decision") != "grant" {
        return Reply::unknown_form();
    }
    if form.field("accept") != "yes" {
        return opened.show(visit, "The terms must be accepted.");
    }
    let (context, user_id) = (visit.context, user.user_id);
    if user.password.is_none() {
        match chosen(context, &form.field("password")) {
            Ok(password) => visit.events.push(Event::PasswordSet { user_id, password }),
            Err(problem) => return opened.show(visit, problem),
        }
    }
    if !is_done(context.state, user, mail.client_id, context.now) {
        visit.events.extend(events(context.state, user, &[mail.client_id], context.now));
    }
    match context.state.after_confirmation(user_id, mail.client_id) {
        Some(redirect_uri) => Reply::see_other(redirect_uri),
        None => {
            let text = "The registration is confirmed. You can close this page.";
            let layout = visit.layout().at_step(&STEPS, STEPS.len());
            Reply::template(&Message { layout, title: "Thank you", text, ..Message::default() })
        }
    }
}
