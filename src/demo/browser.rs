//! A browser without a screen: cookies, redirects one hop at a time, and forms as a person fills them in.
//!
//! It does what the security of the flow leans on as browsers do it: `Secure` and `__Host-` cookies stay on https, `SameSite` is
//! kept (sites differ when their schemes do), cookies know no ports, and a page that sends no referrer posts with `Origin: null`.

mod cookies;
mod html;

use std::path::Path;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, COOKIE, HeaderMap, LOCATION, ORIGIN, REFERRER_POLICY, SET_COOKIE};
use reqwest::{Certificate, Client, Method, redirect};
use url::{Url, form_urlencoded};

use self::cookies::{Jar, Navigation};
pub use self::html::Form;

/// Longest wait for one answer: far above what a loaded machine needs, so that a hang fails instead of blocking.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Most redirects in a row, as browsers allow.
const HOPS_MAX: usize = 20;

/// Why the browser does not get on.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// The trusted authority cannot be used.
    #[error("the certificate authority {file} cannot be used: {why}")]
    Authority {
        /// The file.
        file: String,
        /// What is wrong.
        why: String,
    },
    /// No answer.
    #[error("no answer from {host}{path}: {why}")]
    NoAnswer {
        /// From whom.
        host: String,
        /// Which page; without its query and the key behind a dot, which are secret.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// A redirect to nowhere, or without end.
    #[error("a redirect leads nowhere")]
    Redirect,
    /// The page has no such form, field or button.
    #[error("the page \"{title}\" has no {what}")]
    Missing {
        /// Its title.
        title: String,
        /// What was looked for.
        what: String,
    },
}

/// A page that was loaded.
#[derive(Clone, Default)]
pub struct Page {
    /// Its address; none before the first.
    pub url: Option<Url>,
    /// HTTP status.
    pub status: u16,
    /// What it says.
    pub html: String,
    /// Where it says to go by itself.
    pub refresh: Option<String>,
    sends_no_referrer: bool,
}

impl Page {
    /// Its title.
    pub fn title(&self) -> String {
        html::title(&self.html)
    }

    /// Its forms.
    pub fn forms(&self) -> Vec<Form> {
        html::forms(&self.html)
    }

    /// Where its links and its refresh lead.
    pub fn links(&self) -> Vec<Url> {
        let refresh = self.refresh.iter().filter_map(|value| html::refresh_target(value));
        let found = html::links(&self.html).into_iter().chain(refresh);
        found.filter_map(|href| self.url.as_ref().and_then(|url| url.join(&href).ok())).collect()
    }

    fn missing(&self, what: impl Into<String>) -> BrowserError {
        BrowserError::Missing { title: self.title(), what: what.into() }
    }
}

/// Where a navigation ended.
pub enum Arrival {
    /// At a page.
    Page,
    /// Before a page that the browser was told not to load.
    Stopped(Url),
}

/// One person's browser.
pub struct Browser {
    http: Client,
    jar: Jar,
    page: Page,
    hops: Vec<Url>,
    answers: Vec<(Url, HeaderMap)>,
    stops: Vec<String>,
}

impl Browser {
    /// A fresh one that trusts this authority (PEM file) and no other.
    ///
    /// # Errors
    /// [`BrowserError::Authority`].
    pub fn new(authority: &Path) -> Result<Self, BrowserError> {
        let broken = |why: String| BrowserError::Authority { file: authority.display().to_string(), why };
        let pem = std::fs::read(authority).map_err(|error| broken(error.to_string()))?;
        let trusted = Certificate::from_pem_bundle(&pem).map_err(|error| broken(error.to_string()))?;
        let http = Client::builder()
            .no_proxy()
            .referer(false)
            .redirect(redirect::Policy::none())
            .timeout(ANSWER_MAX)
            .tls_certs_only(trusted)
            .build()
            .map_err(|error| broken(error.to_string()))?;
        Ok(Self {
            http,
            jar: Jar::default(),
            page: Page::default(),
            hops: Vec::new(),
            answers: Vec::new(),
            stops: Vec::new(),
        })
    }

    /// From now on stops before loading an address that begins like this.
    pub fn stop_before(&mut self, address: impl Into<String>) {
        self.stops.push(address.into());
    }

    /// Forgets where it was last told to stop.
    pub fn stop_there_no_more(&mut self) {
        self.stops.pop();
    }

    /// The page that is shown.
    pub const fn page(&self) -> &Page {
        &self.page
    }

    /// Every address it was sent to, in order, loaded or not.
    pub fn hops(&self) -> &[Url] {
        &self.hops
    }

    /// The headers of every answer, with the address that it came from, in order.
    pub fn answers(&self) -> &[(Url, HeaderMap)] {
        &self.answers
    }

    /// The values of all cookies it was given.
    pub fn cookie_values(&self) -> impl Iterator<Item = &str> {
        self.jar.values()
    }

    /// Goes to an address that was typed in or clicked in an e-mail.
    ///
    /// # Errors
    /// No answer, or a redirect that leads nowhere.
    pub async fn open(&mut self, url: Url) -> Result<Arrival, BrowserError> {
        self.page = Page::default();
        self.go(Method::GET, url, None).await
    }

    /// Loads the page once more.
    ///
    /// # Errors
    /// As [`Browser::open`]; before the first page there is none.
    pub async fn reload(&mut self) -> Result<Arrival, BrowserError> {
        let url = self.page.url.clone().ok_or_else(|| self.page.missing("address"))?;
        self.go(Method::GET, url, None).await
    }

    /// Follows a link of the page.
    ///
    /// # Errors
    /// As [`Browser::open`].
    pub async fn follow(&mut self, url: Url) -> Result<Arrival, BrowserError> {
        self.go(Method::GET, url, None).await
    }

    /// Fills in a form of the page and presses the button with this value (the first one when empty).
    ///
    /// # Errors
    /// [`BrowserError::Missing`] for a field or button that the form does not have; else as [`Browser::open`].
    pub async fn submit(&mut self, form: &Form, typed: &[(&str, &str)], button: &str) -> Result<Arrival, BrowserError> {
        let fields = form.filled_in(typed, button).map_err(|what| self.page.missing(what))?;
        let page = self.page.url.clone().ok_or_else(|| self.page.missing("address"))?;
        let mut url = page.join(&form.action).map_err(|_| BrowserError::Redirect)?;
        let body: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        if form.is_post {
            return self.go(Method::POST, url, Some(body)).await;
        }
        url.set_query(Some(&body));
        self.go(Method::GET, url, None).await
    }

    async fn go(&mut self, method: Method, url: Url, body: Option<String>) -> Result<Arrival, BrowserError> {
        let from = self.page.url.clone();
        let (mut method, mut url, mut body) = (method, url, body);
        let mut is_cross_site = from.as_ref().is_some_and(|from| !cookies::is_same_site(from, &url));
        for _ in 0..HOPS_MAX {
            url.set_fragment(None);
            self.hops.push(url.clone());
            if method == Method::GET && self.stops.iter().any(|stop| url.as_str().starts_with(stop)) {
                return Ok(Arrival::Stopped(url));
            }
            let navigation = Navigation { is_cross_site, is_get: method == Method::GET };
            let (page, location) = self.load(&method, &url, body.as_deref(), navigation).await?;
            let Some(location) = location else {
                self.page = page;
                return Ok(Arrival::Page);
            };
            let next = url.join(&location).map_err(|_| BrowserError::Redirect)?;
            // After 307 and 308 a browser posts again; every other redirect is a GET.
            if !matches!(page.status, 307 | 308) {
                (method, body) = (Method::GET, None);
            }
            is_cross_site = is_cross_site || !cookies::is_same_site(&url, &next);
            url = next;
        }
        Err(BrowserError::Redirect)
    }

    async fn load(
        &mut self,
        method: &Method,
        url: &Url,
        body: Option<&str>,
        navigation: Navigation,
    ) -> Result<(Page, Option<String>), BrowserError> {
        let no_answer = |error: reqwest::Error| BrowserError::NoAnswer {
            host: url.host_str().unwrap_or_default().to_owned(),
            path: public_path(url),
            why: causes(&error.without_url()),
        };
        let mut request = self.http.request(method.clone(), url.clone());
        if let Some(cookies) = self.jar.header(url, navigation) {
            request = request.header(COOKIE, cookies);
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body.to_owned());
            request = request.header(ORIGIN, self.origin());
        }
        let response = request.send().await.map_err(no_answer)?;
        for cookie in response.headers().get_all(SET_COOKIE) {
            self.jar.keep(url, cookie.to_str().unwrap_or_default());
        }
        self.answers.push((url.clone(), response.headers().clone()));
        let status = response.status();
        let location = status.is_redirection().then(|| text(response.headers(), LOCATION.as_str())).flatten();
        let refresh = text(response.headers(), "refresh");
        let policy = text(response.headers(), REFERRER_POLICY.as_str());
        let html = response.text().await.map_err(no_answer)?;
        let refresh = refresh.or_else(|| html::meta_refresh(&html));
        let sends_no_referrer = policy.is_some_and(|policy| policy == "no-referrer");
        Ok((Page { url: Some(url.clone()), status: status.as_u16(), html, refresh, sends_no_referrer }, location))
    }

    /// What the header says about the page that posts (Fetch standard, "append a request Origin header").
    fn origin(&self) -> String {
        match &self.page.url {
            Some(url) if !self.page.sends_no_referrer => url.origin().ascii_serialization(),
            _ => "null".to_owned(),
        }
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// The path up to the first dot: behind it our links carry their key.
pub fn public_path(url: &Url) -> String {
    url.path().split('.').next().unwrap_or_default().to_owned()
}

/// An error with what caused it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
