//! The authorize page: checks what the app asks, lets a person sign in or register, then grant or deny.
//!
//! A request whose app or redirect URI is wrong never redirects: the answer would go to whoever wrote the link.

mod asked;

use askama::Template;

use self::asked::Asked;
use super::sign_in::{Door, Person};
use super::visit::{Session, Visit, parameter};
use super::{AppShown, Layout, UNUSABLE};
use crate::sandbox::confirmation;
use crate::sandbox::hash::{random_hex, sha256};
use crate::sandbox::state::{Code, Event, User};
use crate::sandbox::world::Reply;

pub(super) use self::asked::allowed_redirect;

/// Name of the page's call.
pub(super) const CALL: &str = "/oauth2/authorize";

/// The way through the page.
const STEPS: [&str; 2] = ["Sign in", "Grant access"];

/// What each scope lets an app do, in plain words (after the calls that need it: WePay API docs, permissions page; what the
/// historic ones meant is inferred from their names).
const SCOPES_IN_WORDS: [(&str, &str); 8] = [
    ("manage_accounts", "Open payment accounts for you and change them"),
    ("collect_payments", "Take payments on your behalf"),
    ("view_user", "See your name and your email address"),
    ("preapprove_payments", "Set up later and repeated payments to you"),
    ("send_money", "Move money out of your payment accounts"),
    ("manage_subscriptions", "Run subscriptions that you offer"),
    ("view_balance", "See the balances of your payment accounts"),
    ("refund_payments", "Give payments back"),
];

#[derive(Template)]
#[template(path = "sandbox/consent.html")]
struct Consent<'a> {
    layout: Layout,
    app: AppShown<'a>,
    session: Session<'a>,
    scopes: Vec<(&'a str, &'static str)>,
    redirect_uri: &'a str,
}

/// Answers a request to the page.
pub(super) fn answer(visit: &mut Visit<'_>) -> Reply {
    visit.facts.scope = parameter(&visit.request.query, "scope");
    let asked = match Asked::read(visit.context, &visit.request.query) {
        Ok(asked) => asked,
        Err(problem) => return Reply::problem(400, UNUSABLE, &problem),
    };
    visit.facts.client_id = Some(asked.app.client_id);
    let layout = Layout { is_compact: asked.is_popup, ..visit.layout() };
    let door = Door {
        layout: layout.clone().at_step(&STEPS, 0),
        action: &asked.action,
        app: Some(asked.app),
        intro: "The application asks for access to your WePay account.",
        person: Person {
            first_name: asked.first_name().to_owned(),
            last_name: asked.last_name().to_owned(),
            email: asked.email.clone(),
            country: asked.country.clone(),
        },
        may_register: true,
        forms: &["consent"],
    };
    door.answer(visit, |visit, user, form| match form {
        None => consent(visit, &asked, layout, user),
        Some(form) => decide(visit, &asked, user, &form.field("decision")),
    })
}

fn consent(visit: &Visit<'_>, asked: &Asked<'_>, layout: Layout, user: &User) -> Reply {
    let words = |scope: &str| SCOPES_IN_WORDS.iter().find(|(name, _)| *name == scope).map_or("", |(_, words)| words);
    Reply::template(&Consent {
        layout: layout.at_step(&STEPS, 1),
        app: AppShown::new(asked.app),
        session: Session::new(user, &asked.action, visit.visitor.csrf()),
        scopes: asked.scopes.iter().map(|scope| (scope.as_str(), words(scope))).collect(),
        redirect_uri: &asked.redirect_text,
    })
}

fn decide(visit: &mut Visit<'_>, asked: &Asked<'_>, user: &User, decision: &str) -> Reply {
    match decision {
        "grant" => grant(visit, asked, user),
        "deny" => deny(visit, asked),
        _ => Reply::problem(400, "Nothing was chosen", "Go back and choose Grant or Deny."),
    }
}

/// Issues a code: 50 lower-case hexadecimal digits (samples of the Java SDK and of a public PHP script).
fn grant(visit: &mut Visit<'_>, asked: &Asked<'_>, user: &User) -> Reply {
    let code = random_hex::<25>(visit.context.entropy);
    let client_id = asked.app.client_id;
    visit.events.push(Event::CodeIssued(Code {
        sha256: sha256(&code),
        client_id,
        user_id: user.user_id,
        redirect_uri: asked.redirect_text.clone(),
        scope: asked.scopes.clone(),
        issued_at_us: visit.context.now.as_micros(),
        is_used: false,
    }));
    visit.events.extend(confirmation::accounts_opened(visit.context.state, user.user_id, client_id));
    asked.redirect(&[("code", &code)], true)
}

/// The two parameters that django-wepay reads; the text and the echo of the state are inferred.
fn deny(visit: &Visit<'_>, asked: &Asked<'_>) -> Reply {
    let text = "the user denied your application access";
    asked.redirect(&[("error", "access_denied"), ("error_description", text)], visit.context.settings.state_on_denial)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::protocol::SCOPES;

    #[test]
    fn every_scope_has_plain_words() {
        assert_eq!(SCOPES_IN_WORDS.map(|(name, _)| name), SCOPES);
    }
}
