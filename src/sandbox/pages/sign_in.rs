//! The door to every page that needs to know the person: log in, register where that makes sense, and log out.

use askama::Template;
use axum::http::Method;

use super::people::{COUNTRIES, PASSWORD_MIN, log_in, register};
use super::visit::{Form, Visit};
use super::{AppShown, Layout};
use crate::sandbox::state::{App, User};
use crate::sandbox::world::Reply;

/// Before which page the door stands.
pub(super) struct Door<'a> {
    pub(super) layout: Layout,
    /// Where its forms go, and the person after them: that same page.
    pub(super) action: &'a str,
    /// The app on whose behalf the person came.
    pub(super) app: Option<&'a App>,
    /// What the person signs in for.
    pub(super) intro: &'a str,
    /// What is known of the person.
    pub(super) person: Person,
    /// Whether a new person may register.
    pub(super) may_register: bool,
    /// The forms of the page behind it.
    pub(super) forms: &'static [&'static str],
}

/// What stands in the fields at first.
#[derive(Clone, Default)]
pub(super) struct Person {
    pub(super) first_name: String,
    pub(super) last_name: String,
    pub(super) email: String,
    pub(super) country: String,
}

#[derive(Template)]
#[template(path = "sandbox/sign_in.html")]
struct SignIn<'a> {
    layout: Layout,
    action: &'a str,
    app: Option<AppShown<'a>>,
    intro: &'a str,
    csrf: String,
    email: String,
    login_problem: &'a str,
    registration: Option<Person>,
    register_problem: &'a str,
    countries: &'static [(&'static str, &'static str)],
    password_min: usize,
}

impl Door<'_> {
    /// Answers as the door for who is not signed in. For who is, `inside` answers: the page, or the form that was sent to it.
    pub(super) fn answer<'a>(
        &self,
        visit: &mut Visit<'a>,
        inside: impl FnOnce(&mut Visit<'a>, &'a User, Option<&Form>) -> Reply,
    ) -> Reply {
        let form = match visit.request.method {
            Method::GET => None,
            Method::POST => match visit.form() {
                Ok(form) => Some(form),
                Err(refusal) => return refusal,
            },
            _ => return Reply::wrong_method(),
        };
        if let Some(reply) = form.as_ref().and_then(|form| self.submit(visit, form)) {
            return reply;
        }
        match (visit.visitor.user, form) {
            (_, Some(form)) if !self.forms.contains(&form.field("form").as_str()) => Reply::unknown_form(),
            (Some(user), form) => inside(visit, user, form.as_ref()),
            (None, Some(_)) => Reply::see_other(self.action),
            (None, None) => self.show(visit),
        }
    }

    /// The page of the door.
    fn show(&self, visit: &Visit<'_>) -> Reply {
        self.show_with(visit, &self.person, "", "")
    }

    /// What the door's own forms do; none for all other forms.
    fn submit(&self, visit: &mut Visit<'_>, form: &Form) -> Option<Reply> {
        let entered = || Person {
            first_name: form.field("first_name"),
            last_name: form.field("last_name"),
            email: form.field("email"),
            country: form.field("country"),
        };
        match form.field("form").as_str() {
            "login" => Some(match log_in(visit.context, &form.field("email"), &form.field("password")) {
                Ok(user_id) => visit.open_session(user_id, self.action),
                Err(problem) => {
                    let person = Person { email: form.field("email"), ..self.person.clone() };
                    self.show_with(visit, &person, problem, "")
                }
            }),
            "register" if self.may_register => Some(match register(visit.context, form) {
                Ok((user_id, changes)) => {
                    visit.events.extend(changes);
                    visit.open_session(user_id, self.action)
                }
                Err(problem) => self.show_with(visit, &entered(), "", problem),
            }),
            "logout" => {
                visit.close_session();
                Some(Reply::see_other(self.action))
            }
            _ => None,
        }
    }

    fn show_with(&self, visit: &Visit<'_>, person: &Person, login_problem: &str, register_problem: &str) -> Reply {
        let layout = Layout { is_wide: self.may_register, ..self.layout.clone() };
        Reply::template(&SignIn {
            layout,
            action: self.action,
            app: self.app.map(AppShown::new),
            intro: self.intro,
            csrf: visit.visitor.csrf(),
            email: person.email.clone(),
            login_problem,
            registration: self.may_register.then(|| person.clone()),
            register_problem,
            countries: &COUNTRIES,
            password_min: PASSWORD_MIN,
        })
    }
}
