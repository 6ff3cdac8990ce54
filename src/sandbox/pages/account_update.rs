//! The account update page, to which `/account/get_update_uri` leads: the owner signs in and gives what the account still needs.
//!
//! The address is no secret: whoever has it must sign in as the owner, and learns nothing before.

mod details;
mod prefill;

use askama::Template;

use self::details::{Group, Need};
use super::authorize::allowed_redirect;
use super::sign_in::{Door, Person};
use super::visit::{Form, Session, Visit};
use super::{AppShown, Layout, Message, UNUSABLE};
use crate::sandbox::lifecycle;
use crate::sandbox::settings::Settings;
use crate::sandbox::state::{Account, AccountState, App, Bank, Change, Event, Frequency, KycState, Settlement, User};
use crate::sandbox::world::{Context, Reply};

/// Beginning of the page's path; the account's id follows (recorded on stage, B-Sides/wepay-api).
pub(super) const BELOW: &str = "/api/account_update/";

/// The way through the page.
const STEPS: [&str; 3] = ["Sign in", "Your details", "Done"];

#[derive(Template)]
#[template(path = "sandbox/update.html")]
struct Update<'a> {
    layout: Layout,
    app: AppShown<'a>,
    session: Session<'a>,
    account_id: u64,
    account_name: &'a str,
    kind: &'a str,
    needs: Vec<&'static str>,
    has_problem: bool,
    groups: Vec<Group>,
    redirect_uri: Option<&'a str>,
}

/// What the request is about.
struct Asked<'a> {
    /// The account, if there is one of that id.
    account: Option<&'a Account>,
    /// The app that made it.
    app: Option<&'a App>,
    /// Where the forms go: this same page.
    action: String,
    redirect_uri: Option<String>,
    /// What stands around it.
    layout: Layout,
}

/// Whether the account waits for what this page takes.
pub(super) fn is_open(account: &Account) -> bool {
    !Need::of(account).is_empty()
}

/// Answers a request to the page.
pub(super) fn answer(visit: &mut Visit<'_>) -> Reply {
    let asked = Asked::read(visit);
    visit.facts.account_id = asked.account.map(|account| account.account_id);
    visit.facts.client_id = asked.app.map(|app| app.client_id);
    let reply = asked.answer(visit);
    match asked.layout.is_framed {
        true => reply.framed_by(&framing_origins(visit.context.settings, asked.app)),
        false => reply,
    }
}

impl<'a> Asked<'a> {
    fn read(visit: &Visit<'a>) -> Self {
        let id = visit.request.call.strip_prefix(BELOW).unwrap_or_default();
        let id = id.strip_suffix('/').unwrap_or(id);
        let state = visit.context.state;
        let account = id.parse().ok().and_then(|account_id| state.account(account_id));
        let is_framed = visit.query("iframe").as_deref() == Some("1");
        let query = &visit.request.query;
        let mark = if query.is_empty() { "" } else { "?" };
        Self {
            account,
            app: account.and_then(|account| state.app(account.client_id)),
            action: format!("{BELOW}{id}{mark}{query}"),
            redirect_uri: visit.query("redirect_uri"),
            layout: Layout { is_framed, is_compact: is_framed, ..visit.layout() },
        }
    }

    fn answer(&self, visit: &mut Visit<'a>) -> Reply {
        let door = Door {
            layout: self.layout.clone().at_step(&STEPS, 0),
            action: &self.action,
            app: None,
            intro: "See what your payment account still needs.",
            person: Person::default(),
            may_register: false,
            forms: &["update"],
        };
        door.answer(visit, |visit, user, form| self.show(visit, user, form))
    }

    /// The page for the person who signed in; with a form, after doing what it says.
    fn show(&self, visit: &mut Visit<'a>, user: &'a User, form: Option<&Form>) -> Reply {
        let say = |how, title, text| self.say(visit, user, how, title, text);
        let account = self.account.filter(|account| account.owner_user_id == user.user_id);
        let (Some(account), Some(app)) = (account, self.app) else {
            // The same for an account of somebody else and one that is not there.
            return say(
                Said::Refusal(403),
                "This is not your account",
                "Sign in as the person whose payment account this is.",
            );
        };
        if let Some(redirect_uri) = &self.redirect_uri
            && let Err(problem) = allowed_redirect(visit.context.settings, app, redirect_uri)
        {
            return say(Said::Refusal(400), UNUSABLE, &problem);
        }
        let needs = Need::of(account);
        match account.state {
            AccountState::Pending => say(
                Said::Obstacle,
                "Confirm your registration first",
                "Follow the link in the confirmation mail. After that you can complete the account here.",
            ),
            AccountState::Deleted => say(Said::Obstacle, "This account is closed", "Nothing can be changed any more."),
            AccountState::Disabled if needs.is_empty() => {
                say(Said::Obstacle, "This account is disabled", "Nothing that you could give here would change that.")
            }
            AccountState::ActionRequired | AccountState::Active | AccountState::Disabled if needs.is_empty() => {
                say(Said::Success, "Nothing is missing", "Your payment account has all it needs.")
            }
            AccountState::ActionRequired | AccountState::Active | AccountState::Disabled => {
                self.take(visit, (user, account, app), &needs, form)
            }
        }
    }

    /// Takes what the form gives, or shows it with what is wrong.
    fn take(
        &self,
        visit: &mut Visit<'a>,
        (user, account, app): (&'a User, &'a Account, &'a App),
        needs: &[Need],
        form: Option<&Form>,
    ) -> Reply {
        let groups = details::groups(account, needs, visit.context.now, form);
        let has_problem = groups.iter().any(Group::has_problem);
        if let Some(form) = form.filter(|_| !has_problem) {
            visit.events.extend(changes(visit.context, account, needs, form));
            return match &self.redirect_uri {
                Some(redirect_uri) => Reply::see_other(redirect_uri),
                None => self.say(visit, user, Said::Success, "Thank you", "Your payment account has all it needs now."),
            };
        }
        Reply::template(&Update {
            layout: self.layout.clone().at_step(&STEPS, 1),
            app: AppShown::new(app),
            session: Session::new(user, &self.action, visit.visitor.csrf()),
            account_id: account.account_id,
            account_name: account.details.name.as_deref().unwrap_or_default(),
            kind: &account.kind,
            needs: needs.iter().map(|need| need.in_words()).collect(),
            has_problem,
            groups,
            redirect_uri: self.redirect_uri.as_deref(),
        })
    }

    /// A message to the person who signed in.
    fn say(&self, visit: &Visit<'_>, user: &User, how: Said, title: &str, text: &str) -> Reply {
        let (status, layout) = match how {
            Said::Refusal(status) => (status, self.layout.clone()),
            Said::Obstacle => (200, self.layout.clone()),
            Said::Success => (200, self.layout.clone().at_step(&STEPS, 2)),
        };
        let is_problem = status != 200;
        let session = Session::new(user, &self.action, visit.visitor.csrf());
        // Only an address that passed the check is one to go to.
        let link = self.redirect_uri.as_deref().filter(|_| !is_problem).map(|uri| (uri, "Back to the application"));
        let page = Message { layout, title, text, is_problem, session: Some(session), link };
        Reply { status, ..Reply::template(&page) }
    }
}

/// How a message is meant.
#[derive(Clone, Copy)]
enum Said {
    /// Not for this person, or not like this; the status of the answer.
    Refusal(u16),
    /// Nothing can be done here now.
    Obstacle,
    /// Nothing is left to do.
    Success,
}

/// Identity and bank account are there, as far as they were asked for, and with them the account is active. Nobody looks at
/// invented people: an identity is good as soon as it is given.
fn changes(context: &Context<'_>, account: &Account, needs: &[Need], form: &Form) -> Vec<Event> {
    let given = needs.iter().map(|need| match need {
        Need::Identity => Change::Kyc { state: KycState::Verified },
        Need::Bank => {
            let name = details::masked(&form.field("bank_name"), &form.field("account_number"));
            let scaled = |duration| context.scaled(duration);
            Change::Bank { bank: Some(Bank::of(Settlement::Ach, &name, Frequency::Weekly, context.now, scaled)) }
        }
    });
    lifecycle::after(account, given.collect())
}

/// Which pages may show this one within them: those of the app's domain, in lax mode those of this machine too. A domain that
/// would not be one in a header counts as none.
fn framing_origins(settings: &Settings, app: Option<&App>) -> String {
    let own = app.and_then(|app| app.registered_domain.as_deref());
    let domain = own.unwrap_or(&settings.registered_domain);
    let is_domain = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
    };
    let mut origins: Vec<String> = Vec::new();
    if is_domain(domain) {
        origins.extend(
            ["http", "https"]
                .iter()
                .flat_map(|scheme| [format!("{scheme}://{domain}:*"), format!("{scheme}://*.{domain}:*")]),
        );
    }
    if settings.lax_redirects {
        for host in ["localhost", "127.0.0.1"] {
            origins.extend([format!("http://{host}:*"), format!("https://{host}:*")]);
        }
    }
    if origins.is_empty() { "'none'".to_owned() } else { origins.join(" ") }
}
