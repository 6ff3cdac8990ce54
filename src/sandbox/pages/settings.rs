//! A person's own page: which apps have access and how to take it back, which payment accounts there are, and the end of it all.
//!
//! That merchants can revoke in their settings is WePay's FAQ; address and looks are our own.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;

use super::account_update;
use super::sign_in::{Door, Person};
use super::visit::{Form, Session, Visit};
use super::{AppShown, Layout, Message};
use crate::domain::ambient::Timestamp;
use crate::sandbox::lifecycle;
use crate::sandbox::state::{Event, Token, TokenKind, User, UserState};
use crate::sandbox::world::{Context, Reply};

/// Name of the page's call.
pub(super) const CALL: &str = "/settings";

/// Where the forms go.
const ACTION: &str = "/v2/settings";

/// Where a person stands who has just taken an access back.
const ACTION_REVOKED: &str = "/v2/settings?done=revoked";

/// Digits of a date at the beginning of a time.
const DATE_DIGITS: usize = 10;

#[derive(Template)]
#[template(path = "sandbox/settings.html")]
struct Settings<'a> {
    layout: Layout,
    session: Session<'a>,
    done: &'static str,
    problem: &'a str,
    apps: Vec<Granted<'a>>,
    accounts: Vec<AccountShown<'a>>,
}

/// An app that has access.
struct Granted<'a> {
    app: AppShown<'a>,
    /// Since when, until when.
    how: String,
    scopes: BTreeSet<&'a str>,
}

/// A payment account of the person.
struct AccountShown<'a> {
    name: &'a str,
    account_id: u64,
    state: &'static str,
    /// Its owner has something to do.
    is_open: bool,
}

/// Answers a request to the page.
pub(super) fn answer(visit: &mut Visit<'_>) -> Reply {
    let door = Door {
        layout: visit.layout(),
        action: ACTION,
        app: None,
        intro: "See which applications have access to your WePay account, and take it back.",
        person: Person::default(),
        may_register: false,
        forms: &["revoke", "close"],
    };
    door.answer(visit, |visit, user, form| {
        let Some(form) = form else { return show(visit, user, "") };
        match form.field("form").as_str() {
            "revoke" => revoke(visit, user, form),
            _ => close(visit, user, form),
        }
    })
}

fn show(visit: &Visit<'_>, user: &User, problem: &str) -> Reply {
    let done = match visit.query("done").as_deref() {
        Some("revoked") if problem.is_empty() => "The access was taken back.",
        _ => "",
    };
    let accounts = visit.context.state.accounts_of(user.user_id).map(|account| AccountShown {
        name: account.details.name.as_deref().unwrap_or_default(),
        account_id: account.account_id,
        state: account.state.as_str(),
        is_open: account_update::is_open(account),
    });
    Reply::template(&Settings {
        layout: visit.layout(),
        session: Session::new(user, ACTION, visit.visitor.csrf()),
        done,
        problem,
        apps: granted(visit.context, user.user_id),
        accounts: accounts.collect(),
    })
}

/// The apps that the person approved, or that have a token that lives.
fn granted<'a>(context: &Context<'a>, user_id: u64) -> Vec<Granted<'a>> {
    let mut tokens: BTreeMap<u64, Vec<&Token>> =
        context.state.approved_apps(user_id).map(|client_id| (client_id, Vec::new())).collect();
    for token in context.state.tokens_of(user_id).filter(|token| token.is_live(context.now)) {
        tokens.entry(token.client_id).or_default().push(token);
    }
    let one = |(client_id, tokens): (u64, Vec<&'a Token>)| {
        let app = AppShown::new(context.state.app(client_id)?);
        let is_approved = context.state.is_approved(user_id, client_id);
        let scopes = tokens.iter().flat_map(|token| &token.scope).map(String::as_str).collect();
        let how = match (tokens.first(), tokens.last()) {
            (Some(first), _) if is_approved && first.kind == TokenKind::Permanent => {
                format!("Since {}", date(first.issued_at_us))
            }
            (_, Some(last)) => match last.expires_at_us {
                Some(at) => format!("Until {} unless you confirm it", date(at)),
                None => format!("Since {}", date(last.issued_at_us)),
            },
            _ => "Approved, but it holds no access token".to_owned(),
        };
        Some(Granted { app, how, scopes })
    };
    tokens.into_iter().filter_map(one).collect()
}

/// The day of a time, in UTC.
fn date(at_us: i64) -> String {
    Timestamp::from_micros(at_us).to_rfc3339().chars().take(DATE_DIGITS).collect()
}

/// Takes an app's access back; codes that it has not used stay valid, as with the control API. Twice is once.
fn revoke(visit: &mut Visit<'_>, user: &User, form: &Form) -> Reply {
    let app = form.field("client_id").parse().ok().and_then(|client_id| visit.context.state.app(client_id));
    let Some(app) = app else {
        return show(visit, user, "There is no such application.");
    };
    let (user_id, client_id) = (user.user_id, app.client_id);
    visit.facts.client_id = Some(client_id);
    let sha256 = visit.context.state.unrevoked(user_id, client_id);
    if !sha256.is_empty() {
        visit.events.push(Event::TokensRevoked { sha256, at_us: visit.context.now.as_micros() });
    }
    visit.events.push(Event::ApprovalWithdrawn { user_id, client_id });
    Reply::see_other(ACTION_REVOKED)
}

/// Deletes the user, after the password: a page left open must not be enough.
fn close(visit: &mut Visit<'_>, user: &User, form: &Form) -> Reply {
    if !user.password.as_ref().is_some_and(|password| password.is(&form.field("password"))) {
        return show(visit, user, "The password is not right.");
    }
    if form.field("accept") != "yes" {
        return show(visit, user, "Say that you want to close it for good.");
    }
    visit.close_session();
    visit.events.push(Event::UserChanged { user_id: user.user_id, state: UserState::Deleted });
    visit.events.extend(lifecycle::user_deleted(visit.context.state, user.user_id));
    let text = "Your WePay account is closed, and no application has access to it any more.";
    Reply::template(&Message { layout: visit.layout(), title: "Good-bye", text, ..Message::default() })
}
