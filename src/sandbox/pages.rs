//! The pages for people; here the authorize page: checks what the app asks, lets a person sign in or register, then grant or deny.
//!
//! A request whose app or redirect URI is wrong never redirects: the answer would go to whoever wrote the link.

pub(super) mod confirmation;
mod forms;

use askama::Template;
use axum::http::{HeaderName, Method, header};
use url::{Host, Url, form_urlencoded};

use super::hash::{labelled, random_hex, sha256};
use super::parameters::{is_full_uri, not_full};
use super::protocol;
use super::settings::Settings;
use super::state::User;
use super::world::{Context, Facts, Media, Outcome, Reply, Request};

pub(super) use forms::new_user;

/// Name of the page's call.
pub(super) const CALL: &str = "/oauth2/authorize";

/// The cookie of the pages. Cookies know no ports, so its name must not be one that the product under test uses.
const COOKIE: &str = "wepay_sandbox_session";

/// Digits of a cookie's value: 32 random bytes.
const COOKIE_DIGITS: usize = 64;

/// What the app asks for, checked.
struct Asked {
    client_id: u64,
    redirect_uri: Url,
    redirect_text: String,
    scopes: Vec<String>,
    state: Option<String>,
    name: String,
    email: String,
    /// Where the forms go: this same page.
    action: String,
}

/// Answers a request to the page.
pub(super) fn answer(context: &Context<'_>, request: &Request) -> Outcome {
    let mut facts = Facts { scope: parameter(&request.query, "scope"), ..Facts::default() };
    let mut events = Vec::new();
    let asked = match Asked::read(context, &request.query) {
        Ok(asked) => asked,
        Err(problem) => {
            let reply = Reply::message(400, "This link cannot be used", &problem);
            return Outcome { reply, facts, events };
        }
    };
    facts.client_id = Some(asked.client_id);
    let visitor = Visitor::read(context, request);
    facts.user_id = visitor.user.map(|user| user.user_id);
    let reply = match request.method {
        Method::GET => show(&asked, &visitor, ""),
        Method::POST => forms::submit(context, request, &asked, &visitor, &mut facts, &mut events),
        _ => Reply::message(405, "This cannot be done here", "The page answers GET and POST."),
    };
    Outcome { reply, facts, events }
}

impl Asked {
    fn read(context: &Context<'_>, query: &str) -> Result<Self, String> {
        let text = |name: &str| parameter(query, name).filter(|value| !value.is_empty());
        let required = |name: &str| text(name).ok_or_else(|| format!("The {name} parameter is required."));
        let client_id = required("client_id")?;
        let app = client_id.parse().ok().and_then(|client_id| context.state.app(client_id));
        let app = app.ok_or_else(|| "The client_id is not that of a known application.".to_owned())?;
        let redirect_text = required("redirect_uri")?;
        let redirect_uri = allowed_redirect(context.settings, &redirect_text)?;
        let scopes: Vec<String> = required("scope")?.split(',').map(|scope| scope.trim().to_owned()).collect();
        if let Some(unknown) = scopes.iter().find(|scope| !protocol::SCOPES.contains(&scope.as_str())) {
            return Err(format!("invalid_scope: there is no scope \"{unknown}\"."));
        }
        Ok(Self {
            client_id: app.client_id,
            redirect_uri,
            redirect_text,
            scopes,
            state: parameter(query, "state"),
            name: text("user_name").unwrap_or_default(),
            email: text("user_email").unwrap_or_default(),
            action: format!("/v2{CALL}?{query}"),
        })
    }

    /// Back to the app with these parameters and, if wanted, the state.
    fn redirect(&self, parameters: &[(&str, &str)], with_state: bool) -> Reply {
        let mut uri = self.redirect_uri.clone();
        let state = self.state.as_deref().filter(|_| with_state).map(|state| ("state", state));
        uri.query_pairs_mut().extend_pairs(parameters.iter().copied().chain(state));
        Reply::see_other(uri.as_str())
    }
}

/// A query parameter; the first of its name counts.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// The redirect URI must be full and on the app's registered domain; an underscore in the host breaks the match (WePay
/// API docs, oauth2 page). In lax mode a loopback address does too, as it did on stage.
fn allowed_redirect(settings: &Settings, text: &str) -> Result<Url, String> {
    if text.chars().count() > protocol::URI_MAX || !is_full_uri(text) {
        return Err(not_full("redirect_uri"));
    }
    let url = Url::parse(text).map_err(|_| not_full("redirect_uri"))?;
    if url.fragment().is_some() {
        return Err("The redirect_uri must not have a fragment.".to_owned());
    }
    let is_allowed = match url.host() {
        Some(Host::Ipv4(address)) => settings.lax_redirects && address.is_loopback(),
        Some(Host::Ipv6(address)) => settings.lax_redirects && address.is_loopback(),
        Some(Host::Domain(host)) => {
            let is_below = host.strip_suffix(&settings.registered_domain).is_some_and(|rest| rest.ends_with('.'));
            (settings.lax_redirects && host == "localhost")
                || host == settings.registered_domain
                || (is_below && !host.contains('_'))
        }
        None => false,
    };
    if is_allowed { Ok(url) } else { Err("The redirect_uri is not on the application's domain.".to_owned()) }
}

/// Who is looking at the page.
struct Visitor<'a> {
    /// The cookie's value, or a fresh one.
    cookie: String,
    is_new: bool,
    user: Option<&'a User>,
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
    fn csrf(&self) -> String {
        labelled("csrf", &[&self.cookie])
    }
}

fn set_cookie(value: &str) -> (HeaderName, String) {
    (header::SET_COOKIE, format!("{COOKIE}={value}; Path=/v2; HttpOnly; SameSite=Lax"))
}

#[derive(Template)]
#[template(path = "sandbox/sign_in.html")]
struct SignIn<'a> {
    client_id: u64,
    action: &'a str,
    csrf: String,
    problem: &'a str,
    first_name: &'a str,
    last_name: &'a str,
    email: &'a str,
}

#[derive(Template)]
#[template(path = "sandbox/consent.html")]
struct Consent<'a> {
    client_id: u64,
    action: &'a str,
    csrf: String,
    user_name: String,
    email: &'a str,
    scopes: &'a [String],
    redirect_uri: &'a str,
}

#[derive(Template)]
#[template(path = "sandbox/message.html")]
struct Message<'a> {
    title: &'a str,
    text: &'a str,
}

/// The page for this visitor: sign in first, then consent.
fn show(asked: &Asked, visitor: &Visitor<'_>, problem: &str) -> Reply {
    let mut reply = match visitor.user {
        Some(user) => Reply::template(&Consent {
            client_id: asked.client_id,
            action: &asked.action,
            csrf: visitor.csrf(),
            user_name: format!("{} {}", user.first_name, user.last_name),
            email: &user.email,
            scopes: &asked.scopes,
            redirect_uri: &asked.redirect_text,
        }),
        None => {
            let (first_name, last_name) = asked.name.trim().split_once(' ').unwrap_or((asked.name.trim(), ""));
            Reply::template(&SignIn {
                client_id: asked.client_id,
                action: &asked.action,
                csrf: visitor.csrf(),
                problem,
                first_name,
                last_name: last_name.trim(),
                email: &asked.email,
            })
        }
    };
    if visitor.is_new {
        reply.headers.push(set_cookie(&visitor.cookie));
    }
    reply
}

impl Reply {
    /// A page with one message.
    pub(super) fn message(status: u16, title: &str, text: &str) -> Self {
        Self { status, ..Self::template(&Message { title, text }) }
    }

    /// A bare page.
    pub(super) fn page(status: u16, text: &str) -> Self {
        Self::message(status, &format!("HTTP {status}"), text)
    }

    /// A redirect to be followed by GET.
    fn see_other(location: &str) -> Self {
        let mut reply = Self::html(String::new());
        reply.status = 303;
        reply.headers.push((header::LOCATION, location.to_owned()));
        reply
    }

    fn template(template: &impl Template) -> Self {
        match template.render() {
            Ok(body) => Self::html(body),
            Err(_) => Self { status: 500, ..Self::html("The page could not be made.".to_owned()) },
        }
    }

    fn html(body: String) -> Self {
        let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";
        let headers = vec![
            (header::CACHE_CONTROL, "no-store".to_owned()),
            (header::CONTENT_SECURITY_POLICY, policy.to_owned()),
            (header::REFERRER_POLICY, "no-referrer".to_owned()),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        ];
        Self { status: 200, media: Media::Html, headers, body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::settings::Throttle;

    #[test]
    fn redirects_stay_on_the_registered_domain_or_loopback() {
        let mut settings = Settings::new(true, false, Throttle::Off);
        settings.registered_domain = "shop.example".to_owned();
        for good in ["https://shop.example/cb", "https://a.shop.example/", "http://localhost:1/x", "http://127.0.0.1:9"]
        {
            assert!(allowed_redirect(&settings, good).is_ok(), "{good}");
        }
        let bad =
            ["/cb", "shop.example/cb", "https://evil.example/", "https://evilshop.example/", "ftp://shop.example/"];
        for bad in
            bad.into_iter().chain(["https://a_b.shop.example/", "https://shop.example/#x", "javascript:alert(1)"])
        {
            assert!(allowed_redirect(&settings, bad).is_err(), "{bad}");
        }
        settings.lax_redirects = false;
        assert!(allowed_redirect(&settings, "http://127.0.0.1:9/cb").is_err());
    }

    #[test]
    fn the_answer_keeps_the_query_that_the_redirect_uri_has() {
        let asked = Asked {
            client_id: 1,
            redirect_uri: Url::parse("http://127.0.0.1/cb?a=b").unwrap(),
            redirect_text: String::new(),
            scopes: Vec::new(),
            state: Some("x y".to_owned()),
            name: String::new(),
            email: String::new(),
            action: String::new(),
        };
        let location = |reply: Reply| reply.headers.into_iter().find(|(name, _)| name == header::LOCATION).unwrap().1;
        assert_eq!(location(asked.redirect(&[("code", "c")], true)), "http://127.0.0.1/cb?a=b&code=c&state=x+y");
        assert_eq!(location(asked.redirect(&[("code", "c")], false)), "http://127.0.0.1/cb?a=b&code=c");
    }
}
