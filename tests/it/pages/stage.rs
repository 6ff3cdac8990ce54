//! The pages on a real service: SQLite in a directory of its own, fresh keys, and a provider that only notes that it was called.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use strongroom::app::location;
use strongroom::domain::ambient::{AdjustableClock, Clock as _, SystemEntropy};
use strongroom::domain::app::{App, Environment};
use strongroom::domain::budget::Pace;
use strongroom::domain::id::CallId;
use strongroom::domain::name::{CallerId, DisplayName, ExternalId, RequestId};
use strongroom::domain::secret::ClientSecret;
use strongroom::domain::timing::Timing;
use strongroom::domain::token::Capabilities;
use strongroom::domain::trail::{Event, EventKind, cbor};
use strongroom::http::{Peer, PublicSite, ops_router, public_router};
use strongroom::policy::SharedPolicy;
use strongroom::provider::{CAPABILITIES, Client, Credentials, Endpoints};
use strongroom::service::{Auditor, AuthorizationRequest, Call, Confirmation, Health, Parts, Services, Settings};
use strongroom::store::{Migrations, Store, StoreKeys, TrailKind};
use strongroom::vault::{Keyring, Vault};
use tower::ServiceExt as _;
use url::Url;

use crate::support::database::Home;

const CALLER: &str = "spiffe://dev.strongroom/service/onboarding";
const POLICY: &str = r#"
[[grant]]
id = "onboard"
caller = "spiffe://dev.strongroom/service/onboarding"
actions = ["merchant.onboard", "merchant.read"]
merchants = "all"
purpose = "onboard merchants"
"#;

/// Largest page read; ours are a few KiB.
const PAGE_BYTES_MAX: usize = 64 * 1024;

pub(super) struct Stage {
    _home: Home,
    provider: TcpListener,
    router: Router,
    pub(super) app: App,
    pub(super) clock: Arc<AdjustableClock>,
    pub(super) store: Arc<Store>,
    pub(super) services: Services,
    /// Path of an invitation.
    pub(super) invitation: String,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Stage {
    pub(super) async fn new() -> Self {
        Self::returning_to("").await
    }

    /// With an invitation whose journey ends at this URL.
    pub(super) async fn returning_to(return_url: &str) -> Self {
        let home = Home::new().await;
        let clock = Arc::new(AdjustableClock::default());
        let entropy = Arc::new(SystemEntropy);
        let vault = Arc::new(Vault::new(Keyring::generate(&SystemEntropy, clock.now())));
        let keys = StoreKeys { signer: vault.clone(), mac: vault.clone(), check_value: vault.check_value() };
        let location = location(&home.database()).unwrap();
        let migrations = if home.schema().is_some() { Migrations::Refuse } else { Migrations::Apply };
        let store = Store::open_with(&location, migrations, keys, clock.clone(), entropy.clone()).await.unwrap();
        let store = Arc::new(store);
        let app = store.stamp("wepay", Environment::Stage, "4711").await.unwrap();
        let trail = store.open_read_trail("test").await.unwrap();
        let (auditor, _writer) = Auditor::start(store.clone(), trail);
        let policy = home.path().join("policy.toml");
        std::fs::write(&policy, POLICY).unwrap();

        let provider = TcpListener::bind("127.0.0.1:0").unwrap();
        provider.set_nonblocking(true).unwrap();
        let base = Url::parse(&format!("http://{}/v2", provider.local_addr().unwrap())).unwrap();
        let credentials =
            Credentials { client_id: "4711".to_owned(), client_secret: ClientSecret::new("5ec7e7".to_owned()) };
        let timing = Timing::default();
        let services = Services::new(Parts {
            store: store.clone(),
            vault,
            provider: Client::new(Endpoints::overridden(base.clone(), base).unwrap(), credentials, &timing).unwrap(),
            policy: Arc::new(SharedPolicy::load(&policy).unwrap()),
            clock: clock.clone(),
            entropy: entropy.clone(),
            timing,
            capabilities: Capabilities {
                code_life: timing.code_life,
                longest_call: timing.mint_deadline,
                ..CAPABILITIES
            },
            app: app.clone(),
            settings: Settings {
                public_base: Url::parse("https://connect.example").unwrap(),
                platform_name: "Example Shops".to_owned(),
                return_urls: vec![Url::parse("https://shop.example/done").unwrap()],
                confirmation: Confirmation::Always,
                has_app_owner: false,
            },
            auditor,
            pace: Pace::new(30, Duration::from_millis(30)),
        });
        let site = PublicSite {
            app: app.id,
            provider_ui_origin: "http://127.0.0.1:9".to_owned(),
            form_targets: vec!["http://127.0.0.1:9".to_owned(), "https://shop.example".to_owned()],
            clock: clock.clone(),
            entropy: entropy.clone(),
        };
        let router = public_router(services.clone(), site);
        let call = Call {
            id: CallId::generate(&*clock, &SystemEntropy),
            caller: CallerId::parse(CALLER).unwrap(),
            origin: None,
            deadline: None,
        };
        let wanted = AuthorizationRequest {
            request_id: RequestId::parse("request-1").unwrap(),
            external_id: ExternalId::parse("shop-1").unwrap(),
            display_name: Some(DisplayName::parse("Ann & <b>Sons").unwrap()),
            labels: Vec::new(),
            return_url: return_url.to_owned(),
            expected_email: None,
            user_name: None,
            upgrade_temporary: false,
        };
        let invited = services.start_authorization(&call, &wanted).await.unwrap();
        let invitation = invited.url.path().to_owned();
        Self { _home: home, provider, router, app, clock, store, services, invitation }
    }

    /// A path below our app.
    pub(super) fn connect(&self, below: &str) -> String {
        format!("/connect/{}{below}", self.app.id)
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Body::empty()).await
    }

    pub(super) async fn get_with(&self, path: &str, cookie: &str) -> Answer {
        self.send(Method::GET, path, &[("cookie", cookie)], Body::empty()).await
    }

    pub(super) async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Body) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let Ok(mut request) = request.body(body) else {
            // No HTTP parser hands such a request on.
            return Answer { status: StatusCode::BAD_REQUEST, headers: HeaderMap::new(), body: String::new() };
        };
        request.extensions_mut().insert(Peer(Some("192.0.2.7:4711".parse().unwrap())));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, PAGE_BYTES_MAX).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// What a prober is told after the next look.
    pub(super) async fn probe(&self, health: &Health, path: &str) -> (StatusCode, String) {
        self.services.look_at_health(health).await;
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let response = ops_router(health.watch()).oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), PAGE_BYTES_MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// The events of this run's read trail of this kind.
    pub(super) async fn reads(&self, kind: EventKind) -> Vec<Event> {
        let trails = self.store.trails().await.unwrap();
        let trail = trails.iter().find(|trail| trail.kind == TrailKind::Read).unwrap().head.trail;
        let records = self.store.trail_page(trail, 0, 1_000).await.unwrap();
        let events = records.iter().flat_map(|record| cbor::decode(&record.bytes).unwrap().events);
        events.filter(|event| event.kind == kind).collect()
    }

    /// No connection waits at the provider's address.
    pub(super) fn assert_provider_was_not_called(&self) {
        let waiting = self.provider.accept();
        assert_eq!(waiting.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }

    /// From here on nothing listens at the provider's address.
    pub(super) fn without_provider(self) -> Self {
        let dead = TcpListener::bind("127.0.0.1:0").unwrap();
        dead.set_nonblocking(true).unwrap();
        Self { provider: dead, ..self }
    }
}
