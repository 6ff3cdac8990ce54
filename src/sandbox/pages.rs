//! The pages for people, and what they share: which request is for which page, the frame around each, the headers.
//!
//! They work without a script and load nothing. Each page is a function from a [`Visit`] to a reply; what it changes, it leaves
//! in the visit as events.

mod account_update;
mod authorize;
mod confirmation;
mod people;
mod settings;
mod sign_in;
mod visit;

use askama::Template;
use axum::http::{HeaderName, header};

use self::visit::{Session, Visit};
use super::environment::Environment;
use super::state::App;
use super::world::{Context, Media, Outcome, Reply, Request};

pub(super) use self::people::new_user;
pub(super) use self::visit::parameter;

/// What answers a page: the reply; events and what the log says stand in the visit.
type Page = fn(&mut Visit<'_>) -> Reply;

/// The pages below `/v2`, by their paths.
const PAGES: [(&str, Page); 3] = [
    (authorize::CALL, authorize::answer),
    (super::confirmation::CALL, confirmation::answer),
    (settings::CALL, settings::answer),
];

/// The refusal of a link that was not made for this, whatever is wrong with it.
const UNUSABLE: &str = "This link cannot be used";

/// Answers a request if it is for a page.
pub(super) fn answer(context: &Context<'_>, request: &Request) -> Option<Outcome> {
    let page = page_of(&request.call)?;
    let mut visit = Visit::new(context, request);
    let reply = page(&mut visit);
    Some(visit.over(reply))
}

/// The paths of the pages below `/v2`.
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    PAGES.iter().map(|(path, _)| *path)
}

/// Whether a call's name is that of a page.
pub(super) fn is_page(call: &str) -> bool {
    page_of(call).is_some()
}

fn page_of(call: &str) -> Option<Page> {
    match PAGES.iter().find(|(name, _)| *name == call) {
        Some((_, page)) => Some(*page),
        None => call.starts_with(account_update::BELOW).then_some(account_update::answer),
    }
}

/// Whether a path that is not below `/v2/` is nevertheless that of a page (the address of the account update page is recorded on
/// stage, B-Sides/wepay-api).
pub(super) fn is_outside(path: &str) -> bool {
    path.starts_with(account_update::BELOW)
}

/// What stands around the content of a page.
#[derive(Clone, Default)]
struct Layout {
    /// Which of the two providers is played; empty where nobody knows.
    environment: &'static str,
    /// Made for a small window.
    is_compact: bool,
    /// Stands within another page.
    is_framed: bool,
    /// Has two columns where there is room.
    is_wide: bool,
    /// The way through what the person came for.
    steps: Vec<Step>,
}

impl Layout {
    fn new(environment: Environment) -> Self {
        Self { environment: environment.as_str(), ..Self::default() }
    }

    /// With a way of these steps, of which this one (counted from 0) is being done.
    fn at_step(mut self, names: &[&'static str], current: usize) -> Self {
        let state = |at: usize| match at.cmp(&current) {
            std::cmp::Ordering::Less => StepState::Done,
            std::cmp::Ordering::Equal => StepState::Current,
            std::cmp::Ordering::Greater => StepState::Open,
        };
        self.steps = names.iter().enumerate().map(|(at, name)| Step { name, state: state(at) }).collect();
        self
    }
}

/// One of the things that a person does one after the other.
#[derive(Clone)]
struct Step {
    name: &'static str,
    state: StepState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum StepState {
    Done,
    Current,
    Open,
}

impl StepState {
    /// The class that the style knows.
    const fn class(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Current => "current",
            Self::Open => "open",
        }
    }

    const fn is_done(self) -> bool {
        matches!(self, Self::Done)
    }

    const fn is_current(self) -> bool {
        matches!(self, Self::Current)
    }
}

/// An app as people see it.
struct AppShown<'a> {
    name: &'a str,
    client_id: u64,
    /// What stands for a picture of it.
    initial: String,
}

impl<'a> AppShown<'a> {
    fn new(app: &'a App) -> Self {
        let initial = app.name.chars().next().map(|first| first.to_uppercase().collect()).unwrap_or_default();
        Self { name: &app.name, client_id: app.client_id, initial }
    }
}

/// A page with one message.
#[derive(Template, Default)]
#[template(path = "sandbox/message.html")]
struct Message<'a> {
    layout: Layout,
    title: &'a str,
    text: &'a str,
    is_problem: bool,
    session: Option<Session<'a>>,
    /// Where it goes on: address and words.
    link: Option<(&'a str, &'a str)>,
}

impl Reply {
    /// A bare page of a server that cannot answer.
    pub(super) fn page(status: u16, text: &str) -> Self {
        Self::problem(status, &format!("HTTP {status}"), text)
    }

    /// A page that says what is wrong.
    fn problem(status: u16, title: &str, text: &str) -> Self {
        Self { status, ..Self::template(&Message { title, text, is_problem: true, ..Message::default() }) }
    }

    /// The answer to a method that no page knows.
    fn wrong_method() -> Self {
        Self::problem(405, "This cannot be done here", "The page answers GET and POST.")
    }

    /// The answer to a form that the page does not have.
    fn unknown_form() -> Self {
        Self::problem(400, "This form is unknown", "Go back and reload the page.")
    }

    /// A redirect to be followed by GET. What a header cannot carry is percent-encoded, as browsers do.
    fn see_other(location: &str) -> Self {
        let mut reply = Self::html(String::new());
        reply.status = 303;
        let encoded = |byte: u8| match byte.is_ascii_graphic() {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        };
        reply.headers.push((header::LOCATION, location.bytes().map(encoded).collect()));
        reply
    }

    fn template(template: &impl Template) -> Self {
        match template.render() {
            Ok(body) => Self::html(body),
            Err(_) => Self { status: 500, ..Self::html("The page could not be made.".to_owned()) },
        }
    }

    fn html(body: String) -> Self {
        let headers = vec![
            (header::CACHE_CONTROL, "no-store".to_owned()),
            content_policy("'none'"),
            (header::REFERRER_POLICY, "no-referrer".to_owned()),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        ];
        Self { status: 200, media: Media::Html, headers, body }
    }

    /// Lets pages of these origins show this one within them.
    fn framed_by(mut self, origins: &str) -> Self {
        self.headers.retain(|(name, _)| name != header::CONTENT_SECURITY_POLICY);
        self.headers.push(content_policy(origins));
        self
    }
}

/// Nothing is loaded, nothing runs, and only `ancestors` may frame the page.
fn content_policy(ancestors: &str) -> (HeaderName, String) {
    let rest = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'";
    (header::CONTENT_SECURITY_POLICY, format!("{rest}; frame-ancestors {ancestors}"))
}
