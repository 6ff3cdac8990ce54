//! Callers of the internal API, each with its own certificate and connection.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use strongroom::demo::DevJson;
use strongroom::domain::ambient::Timestamp;
use strongroom::v1::account_service_client::AccountServiceClient;
use strongroom::v1::admin_service_client::AdminServiceClient;
use strongroom::v1::audit_service_client::AuditServiceClient;
use strongroom::v1::get_access_token_request::Owner;
use strongroom::v1::onboarding_service_client::OnboardingServiceClient;
use strongroom::v1::token_service_client::TokenServiceClient;
use strongroom::v1::{GetAccessTokenRequest, GetAccessTokenResponse};
use time::OffsetDateTime;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Response, Status};
use tonic_types::StatusExt as _;

/// Longest wait for an answer: longer than the product's own longest call.
const ANSWER_MAX: Duration = Duration::from_secs(90);

/// One caller on one connection.
#[derive(Clone)]
pub(crate) struct Caller {
    /// Its SPIFFE id; empty without a certificate.
    pub(crate) id: String,
    channel: Channel,
}

impl Caller {
    /// One of `dev.json`, with a connection of its own.
    pub(crate) fn of_dev(dev: &DevJson, name: &str) -> Self {
        let files = &dev.callers[name];
        let identity = Identity::from_pem(fs::read(&files.cert).unwrap(), fs::read(&files.key).unwrap());
        Self { id: files.id.clone(), channel: connection(dev, Some(identity)) }
    }

    /// Somebody without a certificate.
    pub(crate) fn anonymous(dev: &DevJson) -> Self {
        Self { id: String::new(), channel: connection(dev, None) }
    }

    /// Its connection, for what is no service of ours.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(crate) fn tokens(&self) -> TokenServiceClient<Channel> {
        TokenServiceClient::new(self.channel.clone())
    }

    pub(crate) fn onboarding(&self) -> OnboardingServiceClient<Channel> {
        OnboardingServiceClient::new(self.channel.clone())
    }

    pub(crate) fn accounts(&self) -> AccountServiceClient<Channel> {
        AccountServiceClient::new(self.channel.clone())
    }

    pub(crate) fn audit(&self) -> AuditServiceClient<Channel> {
        AuditServiceClient::new(self.channel.clone())
    }

    pub(crate) fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel.clone())
    }

    /// Reads a merchant's token.
    pub(crate) async fn read(&self, external_id: &str) -> Result<GetAccessTokenResponse, Status> {
        let owner = Some(Owner::ExternalId(external_id.to_owned()));
        let request = GetAccessTokenRequest { owner, min_version: None };
        self.tokens().get_access_token(request).await.map(Response::into_inner)
    }
}

fn connection(dev: &DevJson, identity: Option<Identity>) -> Channel {
    let authority = Certificate::from_pem(fs::read(&dev.grpc.ca).unwrap());
    let tls = ClientTlsConfig::new().ca_certificate(authority).domain_name(dev.grpc.server_name.clone());
    let tls = match identity {
        Some(identity) => tls.identity(identity),
        None => tls,
    };
    let endpoint = Endpoint::from_shared(format!("https://{}", dev.grpc.address)).unwrap();
    endpoint.timeout(ANSWER_MAX).tls_config(tls).unwrap().connect_lazy()
}

/// An authority of the test's own.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A fresh one, added to a bundle of trusted ones.
    pub(crate) fn trusted_beside(bundle: &Path) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let both = format!("{}{}", fs::read_to_string(bundle).unwrap(), authority.pem());
        fs::write(bundle, both).unwrap();
        Self(authority)
    }

    /// A service with a certificate that ends then.
    pub(crate) fn caller(&self, dev: &DevJson, service: &str, until: Timestamp) -> Caller {
        let id = format!("spiffe://dev.strongroom/service/{service}");
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(id.as_str().try_into().unwrap())];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_after = OffsetDateTime::from_unix_timestamp(until.as_unix_seconds()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let identity = Identity::from_pem(certificate.pem(), key.serialize_pem());
        Caller { id, channel: connection(dev, Some(identity)) }
    }
}

/// What came of a call, in a word: `OK`, the code, or code and reason where they differ; `HANDSHAKE` when there was no connection.
pub(crate) fn outcome_of<T>(result: &Result<T, Status>) -> String {
    use std::error::Error as _;
    let status = match result {
        Ok(_) => return "OK".to_owned(),
        // A status that the client made itself has a source; one that the server sent has none.
        Err(status) if status.source().is_some() => return "HANDSHAKE".to_owned(),
        Err(status) => status,
    };
    let mut code = String::new();
    for (at, c) in format!("{:?}", status.code()).char_indices() {
        if c.is_ascii_uppercase() && at > 0 {
            code.push('_');
        }
        code.push(c.to_ascii_uppercase());
    }
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    if reason == code { code } else { format!("{code}:{reason}") }
}
