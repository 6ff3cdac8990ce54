//! The public HTTP side: the pages a merchant sees on the way through the provider's authorize page, and the health probes.
//!
//! A handler reads the request, calls one method of [`Services`], and turns what it says into a page or a redirect. It decides
//! nothing and stores nothing. What comes with a request is never repeated on a page; what the provider says in its error
//! parameters is not even read.
//!
//! | module | holds |
//! |---|---|
//! | `connect` | the routes of a merchant's journey |
//! | `cookie` | the browser's binding |
//! | `headers` | limits before, and headers on, every answer |
//! | `notices` | what the provider sends when something of it changed |
//! | `ops` | `/livez` and `/readyz` |
//! | `pages` | every text a merchant can read, and the table of service errors |
//! | `query` | the parameters of a callback |

mod connect;
mod cookie;
mod headers;
mod notices;
mod ops;
mod pages;
mod query;
mod server;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use crate::domain::ambient::{Clock, Entropy};
use crate::domain::id::{AppId, CallId};
use crate::service::Services;

pub use ops::ops_router;
pub use server::serve;

/// What the public pages need to know beside the service.
#[derive(Clone)]
pub struct PublicSite {
    /// Our registration: the only `{app}` there are pages for.
    pub app: AppId,
    /// Origin of the provider's pages (scheme, host and port): where our form may lead, and the only `iss` a callback may name.
    pub provider_ui_origin: String,
    /// Origins that a posted form may lead to by redirects: the provider's, and those of `return_url`.
    pub form_targets: Vec<String>,
    /// The clock, for call ids.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for call ids.
    pub entropy: Arc<dyn Entropy>,
}

/// The other end of a connection, put into each request as an extension by whoever accepts connections. Absent: unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Peer(pub Option<SocketAddr>);

/// What every handler works with.
#[derive(Clone)]
struct Site {
    services: Services,
    site: Arc<PublicSite>,
}

/// The pages that merchants and the provider's redirects and notices reach. URLs below `/connect` and `/notices` live for ever: the
/// provider and merchants' mailboxes keep them.
///
/// The caller serves it over TLS only: without, browsers drop the cookie and no journey can end.
pub fn public_router(services: Services, site: PublicSite) -> Router {
    let policy = Arc::new(headers::content_security_policy(&site.form_targets));
    Router::new()
        .route("/connect/{app}/invitation/{token}", get(connect::show_invitation).post(connect::press))
        // A HEAD must not consume a state, so it does not reach the handler of GET.
        .route("/connect/{app}/callback", get(connect::callback).head(connect::callback_head))
        .route("/connect/{app}/status/{flow}", get(connect::status))
        .route(
            "/notices/{app}/{kind}/{tag}",
            post(notices::receive).layer(DefaultBodyLimit::max(notices::BODY_BYTES_MAX)),
        )
        .route("/assets/style.css", get(pages::stylesheet))
        .fallback(pages::not_found)
        .method_not_allowed_fallback(pages::method_not_allowed)
        .layer(DefaultBodyLimit::max(headers::BODY_BYTES_MAX))
        .layer(from_fn_with_state(policy, headers::around))
        .with_state(Site { services, site: Arc::new(site) })
}

impl Site {
    /// The id that the log, the trail and an error page of this call share.
    fn call(&self) -> CallId {
        CallId::generate(&*self.site.clock, &*self.site.entropy)
    }

    fn serves(&self, app: &str) -> bool {
        app.parse() == Ok(self.site.app)
    }
}
