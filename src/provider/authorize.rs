//! The browser's way to the provider's consent page.
//!
//! Builds a URL and sends nothing. The crate `oauth2` joins scopes with spaces, as RFC 6749 §3.3 says; the provider
//! wants commas (`docs/provider.md` §4), so the whole list goes in as one scope.

use std::borrow::Cow;

use oauth2::basic::BasicClient;
use oauth2::{AuthUrl, ClientId, CsrfToken, RedirectUrl, Scope};
use url::Url;

/// The provider's five scopes. All of them are mandatory, so nothing can ask for fewer (`docs/provider.md` §4).
pub const SCOPES: [&str; 5] = ["manage_accounts", "collect_payments", "view_user", "preapprove_payments", "send_money"];

/// What varies between two journeys.
#[derive(Clone, Copy)]
pub struct AuthorizeRequest<'a> {
    /// Where the browser returns to; the exchange must name the same.
    pub redirect_uri: &'a Url,
    /// Opaque to the provider, echoed by it. Binds the journey to a browser, so `Debug` hides it.
    pub state: &'a str,
    /// Prefills the form; the merchant may change it.
    pub user_name: Option<&'a str>,
    /// Prefills the form; the merchant may change it.
    pub user_email: Option<&'a str>,
}

impl std::fmt::Debug for AuthorizeRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthorizeRequest").field("redirect_uri", &self.redirect_uri.as_str()).finish_non_exhaustive()
    }
}

pub(super) fn url(page: &Url, client_id: &str, request: &AuthorizeRequest<'_>) -> Url {
    let client = BasicClient::new(ClientId::new(client_id.to_owned())).set_auth_uri(AuthUrl::from_url(page.clone()));
    let redirect = RedirectUrl::from_url(request.redirect_uri.clone());
    let mut journey = client
        .authorize_url(|| CsrfToken::new(request.state.to_owned()))
        .add_scope(Scope::new(SCOPES.join(",")))
        .set_redirect_uri(Cow::Owned(redirect));
    for (name, value) in [("user_name", request.user_name), ("user_email", request.user_email)] {
        if let Some(value) = value {
            journey = journey.add_extra_param(name, value);
        }
    }
    journey.url().0
}
