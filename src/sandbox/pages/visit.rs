//! One request to a page: who looks, what they sent, and what comes of it.

use axum::http::{HeaderName, header};
use url::form_urlencoded;

use super::Layout;
use crate::sandbox::hash::{labelled, random_hex, sha256};
use crate::sandbox::protocol;
use crate::sandbox::state::{Event, User};
use crate::sandbox::world::{Context, Facts, Outcome, Reply, Request};

/// The cookie of the pages. Cookies know no ports, so its name must not be one that the product under test uses.
const COOKIE: &str = "wepay_sandbox_session";

/// Digits of a cookie's value: 32 random bytes.
const COOKIE_DIGITS: usize = 64;

/// Below which paths there are pages; the cookie goes nowhere else, because other servers share our host.
const COOKIE_PATHS: [&str; 2] = ["/v2", "/api"];

/// A request to a page, being answered.
pub(super) struct Visit<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) request: &'a Request,
    pub(super) visitor: Visitor<'a>,
    pub(super) facts: Facts,
    pub(super) events: Vec<Event>,
}

impl<'a> Visit<'a> {
    /// Reads who looks.
    pub(super) fn new(context: &'a Context<'a>, request: &'a Request) -> Self {
        let visitor = Visitor::read(context, request);
        let user_id = visitor.user.map(|user| user.user_id);
        Self { context, request, visitor, facts: Facts { user_id, ..Facts::default() }, events: Vec::new() }
    }

    /// A parameter of the address; empty counts as missing.
    pub(super) fn query(&self, name: &str) -> Option<String> {
        parameter(&self.request.query, name).filter(|value| !value.is_empty())
    }

    /// The form that was sent; a refusal when it is not one of ours.
    pub(super) fn form(&self) -> Result<Form, Reply> {
        let form = Form(String::from_utf8_lossy(&self.request.body).into_owned());
        if self.visitor.is_new || form.field("csrf") != self.visitor.csrf() {
            let text = "Go back, reload the page and send the form again. Cookies must be allowed.";
            return Err(Reply::problem(403, "This form is too old", text));
        }
        Ok(form)
    }

    /// What stands around the page.
    pub(super) fn layout(&self) -> Layout {
        Layout::new(self.context.environment)
    }

    /// Signs somebody in under a fresh cookie, so that one planted before is worth nothing, and goes on at `action`.
    pub(super) fn open_session(&mut self, user_id: u64, action: &str) -> Reply {
        self.facts.user_id = Some(user_id);
        let cookie = random_hex::<32>(self.context.entropy);
        let at_us = self.context.now.as_micros();
        self.events.push(Event::SessionOpened { sha256: sha256(&cookie), user_id, at_us });
        let mut reply = Reply::see_other(action);
        reply.headers.extend(self.cookies(&cookie));
        reply
    }

    /// Signs the visitor out.
    pub(super) fn close_session(&mut self) {
        self.events.push(Event::SessionClosed { sha256: sha256(&self.visitor.cookie) });
    }

    /// The reply with everything that came of it. Who saw a page without having a cookie gets one.
    pub(super) fn over(self, mut reply: Reply) -> Outcome {
        if self.visitor.is_new && reply.status == 200 {
            reply.headers.extend(self.cookies(&self.visitor.cookie));
        }
        Outcome { reply, facts: self.facts, events: self.events }
    }

    fn cookies(&self, value: &str) -> impl Iterator<Item = (HeaderName, String)> + use<> {
        let secure = if self.context.ui.starts_with("https:") { "; Secure" } else { "" };
        let rest = format!("{COOKIE}={value}; HttpOnly; SameSite=Lax{secure}; Path=");
        COOKIE_PATHS.into_iter().map(move |path| (header::SET_COOKIE, format!("{rest}{path}")))
    }
}

/// Who is looking at the page.
pub(super) struct Visitor<'a> {
    /// The cookie's value, or a fresh one.
    cookie: String,
    is_new: bool,
    /// Who is signed in.
    pub(super) user: Option<&'a User>,
}

impl<'a> Visitor<'a> {
    fn read(context: &Context<'a>, request: &Request) -> Self {
        let sent = request.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let ours = |pair: &str| pair.trim().strip_prefix(COOKIE)?.strip_prefix('=').map(str::to_owned);
        let is_well_formed =
            |value: &String| value.len() == COOKIE_DIGITS && value.bytes().all(|byte| byte.is_ascii_hexdigit());
        match sent.flat_map(|value| value.split(';')).find_map(ours).filter(is_well_formed) {
            Some(cookie) => {
                let since = context.now.minus(context.scaled(protocol::SESSION_LIFE));
                let user = context.state.session_user(&sha256(&cookie), since);
                Self { cookie, is_new: false, user }
            }
            None => Self { cookie: random_hex::<32>(context.entropy), is_new: true, user: None },
        }
    }

    /// The forms' token: only who can read the cookie or our page can know it.
    pub(super) fn csrf(&self) -> String {
        labelled("csrf", &[&self.cookie])
    }
}

/// The person who is signed in, as a page shows them.
pub(super) struct Session<'a> {
    pub(super) user_name: String,
    pub(super) email: &'a str,
    /// Where the page's forms go.
    pub(super) action: &'a str,
    /// The token of the page's forms.
    pub(super) csrf: String,
}

impl<'a> Session<'a> {
    /// A person on a page whose forms go to `action`.
    pub(super) fn new(user: &'a User, action: &'a str, csrf: String) -> Self {
        let user_name = format!("{} {}", user.first_name, user.last_name);
        Self { user_name, email: &user.email, action, csrf }
    }
}

/// The fields of a form.
pub(super) struct Form(String);

impl Form {
    /// A field; empty when it is missing.
    pub(super) fn field(&self, name: &str) -> String {
        parameter(&self.0, name).unwrap_or_default()
    }
}

/// A parameter; the first of its name counts. A plus sign and `%20` are spaces, and what an app did not encode (`:`, `/`, `,`)
/// stands for itself: WePay's Java and Ruby SDKs encode nothing.
pub(in crate::sandbox) fn parameter(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}
