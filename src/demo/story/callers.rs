//! The internal services and people of `dev.json`, each with its own certificate, over the generated client.

use std::error::Error as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use super::{Checked, Unmet, ensure};
use crate::demo::dev_json::DevJson;
use crate::v1::account_service_client::AccountServiceClient;
use crate::v1::audit_service_client::AuditServiceClient;
use crate::v1::get_access_token_request::Owner;
use crate::v1::onboarding_service_client::OnboardingServiceClient;
use crate::v1::token_service_client::TokenServiceClient;
use crate::v1::{GetAccessTokenRequest, GetAccessTokenResponse};

/// Longest wait for an answer: far above what a loaded machine needs, so that a hang fails instead of blocking.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// One caller.
#[derive(Clone)]
pub(super) struct Caller {
    /// Its SPIFFE id.
    pub(super) id: String,
    channel: Channel,
}

impl Caller {
    /// TokenService as this caller.
    pub(super) fn tokens(&self) -> TokenServiceClient<Channel> {
        TokenServiceClient::new(self.channel.clone())
    }

    /// OnboardingService as this caller.
    pub(super) fn onboarding(&self) -> OnboardingServiceClient<Channel> {
        OnboardingServiceClient::new(self.channel.clone())
    }

    /// AccountService as this caller.
    pub(super) fn accounts(&self) -> AccountServiceClient<Channel> {
        AccountServiceClient::new(self.channel.clone())
    }

    /// AuditService as this caller.
    pub(super) fn audit(&self) -> AuditServiceClient<Channel> {
        AuditServiceClient::new(self.channel.clone())
    }

    /// Reads a merchant's token.
    pub(super) async fn read(&self, external_id: &str) -> Result<GetAccessTokenResponse, Status> {
        self.read_of(Owner::ExternalId(external_id.to_owned())).await
    }

    /// Reads a token by whatever leads to it.
    pub(super) async fn read_of(&self, owner: Owner) -> Result<GetAccessTokenResponse, Status> {
        let request = GetAccessTokenRequest { owner: Some(owner), min_version: None };
        self.tokens().get_access_token(request).await.map(Response::into_inner)
    }
}

/// All callers of the story.
pub(super) struct Callers {
    /// May read tokens.
    pub(super) payments: Caller,
    /// May onboard and confirm.
    pub(super) onboarding: Caller,
    /// May read the audit.
    pub(super) auditor: Caller,
    /// May decide about held links.
    pub(super) admin: Caller,
    /// May nothing.
    pub(super) stranger: Caller,
    nobody: Endpoint,
    requests: u32,
}

impl Callers {
    /// Prepares a connection for each; they connect with their first call.
    pub(super) fn new(dev: &DevJson) -> Checked<Self> {
        let tls = || -> Checked<ClientTlsConfig> {
            let authority = Certificate::from_pem(read(&dev.grpc.ca)?);
            Ok(ClientTlsConfig::new().ca_certificate(authority).domain_name(dev.grpc.server_name.clone()))
        };
        let endpoint = |tls: ClientTlsConfig| {
            let endpoint = Endpoint::from_shared(format!("https://{}", dev.grpc.address));
            let endpoint = endpoint.and_then(|endpoint| endpoint.timeout(ANSWER_MAX).tls_config(tls));
            endpoint.map_err(|error| Unmet::new("a usable address and certificates in dev.json", error.to_string()))
        };
        let caller = |name: &str| -> Checked<Caller> {
            let of_name = dev.callers.get(name);
            let named = of_name.ok_or_else(|| Unmet::new(format!("a caller {name} in dev.json"), "none"))?;
            let identity = Identity::from_pem(read(&named.cert)?, read(&named.key)?);
            let channel = endpoint(tls()?.identity(identity))?.connect_lazy();
            Ok(Caller { id: named.id.clone(), channel })
        };
        Ok(Self {
            payments: caller("payments")?,
            onboarding: caller("onboarding")?,
            auditor: caller("auditor")?,
            admin: caller("admin")?,
            stranger: caller("stranger")?,
            nobody: endpoint(tls()?)?,
            requests: 0,
        })
    }

    /// A request id that was not used before.
    pub(super) fn next_request(&mut self) -> String {
        self.requests += 1;
        format!("demo-{}", self.requests)
    }

    /// Tries to read without a certificate. Holds when the connection ends before anything on the other side answers.
    pub(super) async fn nobody_is_turned_away(&self, external_id: &str) -> Checked<()> {
        const EXPECTED: &str = "a client without certificate to be turned away in the handshake";
        let Ok(channel) = self.nobody.connect().await else { return Ok(()) };
        let id = String::new();
        match (Caller { id, channel }).read(external_id).await {
            Ok(_) => Err(Unmet::new(EXPECTED, "a token")),
            // A status that the client made itself has a source; one that the server sent has none.
            Err(status) => ensure(status.source().is_some(), EXPECTED, || told(&status)),
        }
    }
}

fn read(path: &Path) -> Checked<Vec<u8>> {
    fs::read(path).map_err(|error| Unmet::new(format!("to read {}", path.display()), error.to_string()))
}

/// The answer, or what came instead.
pub(super) fn answered<T>(what: &str, result: Result<Response<T>, Status>) -> Checked<T> {
    result.map(Response::into_inner).map_err(|status| Unmet::new(what, told(&status)))
}

/// The refusal with this code and this reason, and its metadata; anything else does not hold.
pub(super) fn refused<T>(
    what: &str,
    result: Result<T, Status>,
    wanted: &[(Code, &str)],
) -> Checked<std::collections::HashMap<String, String>> {
    let wanted_text = wanted.iter().map(|(code, reason)| format!("{code:?} {reason}")).collect::<Vec<_>>().join(" or ");
    let expected = || format!("{what} to be refused with {wanted_text}");
    let status = match result {
        Ok(_) => return Err(Unmet::new(expected(), "it was allowed")),
        Err(status) => status,
    };
    let info = status.get_details_error_info();
    match info {
        Some(info) if info.domain == "strongroom" && wanted.contains(&(status.code(), info.reason.as_str())) => {
            Ok(info.metadata)
        }
        _ => Err(Unmet::new(expected(), told(&status))),
    }
}

/// A status for people.
pub(super) fn told(status: &Status) -> String {
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    let source = status.source().map(|source| format!(": {source}")).unwrap_or_default();
    format!("{:?} {reason} ({}{source})", status.code(), status.message())
}
