//! What an app asks for on the authorize page, checked, and where the answer goes.

use url::{Host, Url};

use crate::sandbox::pages::people::COUNTRIES;
use crate::sandbox::pages::visit::parameter;
use crate::sandbox::parameters::{is_full_uri, not_full};
use crate::sandbox::protocol;
use crate::sandbox::settings::Settings;
use crate::sandbox::state::{App, AppState};
use crate::sandbox::world::{Context, Reply};

/// What the app asks for. `response_type`, `grant_type` and `display` are ignored, as WePay ignored them (omniauth-wepay sends
/// the first).
pub(super) struct Asked<'a> {
    pub(super) app: &'a App,
    pub(super) redirect_uri: Url,
    /// As it came: the exchange must repeat it.
    pub(super) redirect_text: String,
    pub(super) scopes: Vec<String>,
    state: Option<String>,
    name: String,
    pub(super) email: String,
    /// A country of the form's list.
    pub(super) country: String,
    /// WePay's browser library opened the page in a small window (wepay.v2.js).
    pub(super) is_popup: bool,
    /// Where the forms go: this same page.
    pub(super) action: String,
}

impl<'a> Asked<'a> {
    /// Reads the query of the page; what is wrong with it, for the person.
    pub(super) fn read(context: &Context<'a>, query: &str) -> Result<Self, String> {
        let text = |name: &str| parameter(query, name).filter(|value| !value.is_empty());
        // The text is known from wepay.v2.js.
        let required = |name: &str| text(name).ok_or_else(|| format!("The {name} parameter is required."));
        let is_popup = text("popup").as_deref() == Some("1");
        let client_id = required("client_id")?;
        let app = client_id.parse().ok().and_then(|client_id| context.state.app(client_id));
        let app = app.ok_or_else(|| "The client_id is not that of a known application.".to_owned())?;
        if app.state != AppState::Active {
            return Err("The application is disabled.".to_owned());
        }
        let redirect_text = required("redirect_uri").map_err(|missing| match is_popup {
            // wepay.v2.js then hands the answer to the page that opened the window, which takes a script.
            true => format!("{missing} This sandbox answers by redirect alone, in a popup window too."),
            false => missing,
        })?;
        let redirect_uri = allowed_redirect(context.settings, app, &redirect_text)?;
        let scopes: Vec<String> = required("scope")?.split(',').map(|scope| scope.trim().to_owned()).collect();
        if let Some(unknown) = scopes.iter().find(|scope| !protocol::SCOPES.contains(&scope.as_str())) {
            return Err(format!("invalid_scope: there is no scope \"{unknown}\"."));
        }
        let country = text("user_country").map(|country| country.to_ascii_uppercase()).unwrap_or_default();
        let known = COUNTRIES.iter().find(|(code, _)| *code == country).or(COUNTRIES.first());
        Ok(Self {
            app,
            redirect_uri,
            redirect_text,
            scopes,
            state: parameter(query, "state"),
            name: text("user_name").unwrap_or_default().trim().to_owned(),
            email: text("user_email").unwrap_or_default(),
            country: known.map(|(code, _)| (*code).to_owned()).unwrap_or_default(),
            is_popup,
            action: format!("/v2{}?{query}", super::CALL),
        })
    }

    /// The person's first name, as far as the app says.
    pub(super) fn first_name(&self) -> &str {
        self.name.split_once(' ').map_or(self.name.as_str(), |(first, _)| first)
    }

    /// The rest of the name.
    pub(super) fn last_name(&self) -> &str {
        self.name.split_once(' ').map_or("", |(_, last)| last.trim())
    }

    /// Back to the app with these parameters and, if wanted, the state.
    pub(super) fn redirect(&self, parameters: &[(&str, &str)], with_state: bool) -> Reply {
        let mut uri = self.redirect_uri.clone();
        let state = self.state.as_deref().filter(|_| with_state).map(|state| ("state", state));
        uri.query_pairs_mut().extend_pairs(parameters.iter().copied().chain(state));
        Reply::see_other(uri.as_str())
    }
}

/// The redirect URI must be full and on the app's registered domain; an underscore in the host breaks the match (WePay
/// API docs, oauth2 page). In lax mode a loopback address does too, as it did on stage.
pub(in crate::sandbox::pages) fn allowed_redirect(settings: &Settings, app: &App, text: &str) -> Result<Url, String> {
    if text.chars().count() > protocol::URI_MAX || !is_full_uri(text) {
        return Err(not_full("redirect_uri"));
    }
    let url = Url::parse(text).map_err(|_| not_full("redirect_uri"))?;
    if url.fragment().is_some() {
        return Err("The redirect_uri must not have a fragment.".to_owned());
    }
    let domain = app.registered_domain.as_deref().unwrap_or(&settings.registered_domain);
    let is_allowed = match url.host() {
        Some(Host::Ipv4(address)) => settings.lax_redirects && address.is_loopback(),
        Some(Host::Ipv6(address)) => settings.lax_redirects && address.is_loopback(),
        Some(Host::Domain(host)) => {
            let is_below = host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
            (settings.lax_redirects && host == "localhost") || host == domain || (is_below && !host.contains('_'))
        }
        None => false,
    };
    if is_allowed { Ok(url) } else { Err("The redirect_uri is not on the application's domain.".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ambient::SystemEntropy;
    use crate::sandbox::fresh_app;
    use crate::sandbox::settings::Throttle;

    fn app() -> App {
        fresh_app(&SystemEntropy, 1, 1)
    }

    #[test]
    fn redirects_stay_on_the_registered_domain_or_loopback() {
        let mut settings = Settings::new(true, false, Throttle::Off);
        let mut app = app();
        settings.registered_domain = "shop.example".to_owned();
        for good in ["https://shop.example/cb", "https://a.shop.example/", "http://localhost:1/x", "http://127.0.0.1:9"]
        {
            assert!(allowed_redirect(&settings, &app, good).is_ok(), "{good}");
        }
        let bad =
            ["/cb", "shop.example/cb", "https://evil.example/", "https://evilshop.example/", "ftp://shop.example/"];
        for bad in
            bad.into_iter().chain(["https://a_b.shop.example/", "https://shop.example/#x", "javascript:alert(1)"])
        {
            assert!(allowed_redirect(&settings, &app, bad).is_err(), "{bad}");
        }
        app.registered_domain = Some("own.example".to_owned());
        assert!(allowed_redirect(&settings, &app, "https://own.example/cb").is_ok());
        assert!(allowed_redirect(&settings, &app, "https://shop.example/cb").is_err(), "its own domain counts alone");
        settings.lax_redirects = false;
        assert!(allowed_redirect(&settings, &app, "http://127.0.0.1:9/cb").is_err());
    }

    #[test]
    fn the_answer_keeps_the_query_that_the_redirect_uri_has() {
        let app = app();
        let asked = Asked {
            app: &app,
            redirect_uri: Url::parse("http://127.0.0.1/cb?a=b").unwrap(),
            redirect_text: String::new(),
            scopes: Vec::new(),
            state: Some("x y".to_owned()),
            name: "Ada B. Low".to_owned(),
            email: String::new(),
            country: String::new(),
            is_popup: false,
            action: String::new(),
        };
        let location =
            |reply: Reply| reply.headers.into_iter().find(|(name, _)| name == axum::http::header::LOCATION).unwrap().1;
        assert_eq!(location(asked.redirect(&[("code", "c")], true)), "http://127.0.0.1/cb?a=b&code=c&state=x+y");
        assert_eq!(location(asked.redirect(&[("code", "c")], false)), "http://127.0.0.1/cb?a=b&code=c");
        assert_eq!((asked.first_name(), asked.last_name()), ("Ada", "B. Low"));
    }
}
