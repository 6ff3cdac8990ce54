//! Who calls: from a verified TLS peer to a [`Caller`], once per connection. Nothing else may build a `Caller`.
//!
//! rustls has checked the chain, the dates and the signature before this is asked; this adds the rules of the SPIFFE
//! X509-SVID specification for leaf certificates (§4 and §5.2) and our own list of trust domains. It decides who
//! somebody is, never what they may do.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio_rustls::rustls::ServerConnection;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::listener::{Admission, ClientChain, Handshake};
use crate::domain::ambient::Timestamp;
use crate::domain::name::CallerId;

/// A verified caller on a live connection. Cheap to clone; every request of the connection carries it.
#[derive(Clone, Debug)]
pub struct Caller(Arc<Peer>);

#[derive(Debug)]
struct Peer {
    id: CallerId,
    addr: SocketAddr,
    not_after: Timestamp,
    generation: u64,
    chain: ClientChain,
}

impl Caller {
    /// The SPIFFE id.
    pub fn id(&self) -> &CallerId {
        &self.0.id
    }

    /// Where the connection comes from.
    pub fn addr(&self) -> SocketAddr {
        self.0.addr
    }

    /// Where the connection comes from, as the audit records it.
    pub fn origin(&self) -> String {
        self.0.addr.to_string()
    }

    /// When the certificate ends; its last second included.
    pub fn not_after(&self) -> Timestamp {
        self.0.not_after
    }

    /// Which loading of the listener's certificates the handshake was made under.
    pub fn generation(&self) -> u64 {
        self.0.generation
    }

    /// Whether the identity still holds: the certificate has not ended, and the certificate authorities loaded since
    /// the handshake, if any, still vouch for it.
    ///
    /// # Errors
    /// [`CallerError::Expired`], [`CallerError::Untrusted`].
    pub fn still_valid(&self, now: Timestamp) -> Result<(), CallerError> {
        if now.as_unix_seconds() > self.0.not_after.as_unix_seconds() {
            return Err(CallerError::Expired);
        }
        if self.0.chain.is_trusted() { Ok(()) } else { Err(CallerError::Untrusted) }
    }
}

/// Why a request has no caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CallerError {
    /// The connection was not accepted by the listener of this crate.
    #[error("the connection carries no verified caller")]
    Unidentified,
    /// The certificate ended while the connection lived.
    #[error("the caller's certificate has ended")]
    Expired,
    /// The authority behind the certificate was removed while the connection lived.
    #[error("the caller's certificate authority is no longer trusted")]
    Untrusted,
}

impl CallerError {
    /// A stable code, for the audit.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unidentified => "unidentified",
            Self::Expired => "certificate_expired",
            Self::Untrusted => "unknown_issuer",
        }
    }
}

/// Takes the caller of a request, checked against `now`.
///
/// # Errors
/// [`CallerError`]; the request must then be answered as unauthenticated.
pub fn caller<T>(request: &tonic::Request<T>, now: Timestamp) -> Result<Caller, CallerError> {
    let caller = request.extensions().get::<Caller>().ok_or(CallerError::Unidentified)?;
    caller.still_valid(now)?;
    Ok(caller.clone())
}

/// Which rule of an X509-SVID a certificate breaks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum IdentityFault {
    /// There is none.
    #[error("no client certificate")]
    NoCertificate,
    /// It cannot be parsed, or repeats an extension.
    #[error("malformed certificate")]
    Malformed,
    /// It is a certificate authority's.
    #[error("certificate of a certificate authority")]
    CertificateAuthority,
    /// Its key may sign certificates or revocation lists.
    #[error("key usage permits signing certificates or revocation lists")]
    SigningKey,
    /// Its key may not sign handshakes.
    #[error("key usage lacks digitalSignature")]
    NoDigitalSignature,
    /// It has an extended key usage without client authentication.
    #[error("extended key usage lacks clientAuth")]
    NotForClients,
    /// It names nobody.
    #[error("no URI in the subject alternative names")]
    NoUri,
    /// It names several.
    #[error("several URIs in the subject alternative names")]
    SeveralUris,
    /// Its URI is no SPIFFE id with a path.
    #[error("the URI is not a SPIFFE id of a workload")]
    NotSpiffe,
    /// Its trust domain is not ours.
    #[error("foreign trust domain")]
    ForeignTrustDomain,
}

impl IdentityFault {
    /// A stable code, for the audit.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::Malformed => "malformed_certificate",
            Self::CertificateAuthority => "ca_certificate",
            Self::SigningKey => "signing_key_usage",
            Self::NoDigitalSignature => "no_digital_signature",
            Self::NotForClients => "not_for_clients",
            Self::NoUri => "no_uri",
            Self::SeveralUris => "several_uris",
            Self::NotSpiffe => "not_spiffe",
            Self::ForeignTrustDomain => "foreign_trust_domain",
        }
    }
}

/// Admits callers with an X509-SVID of one of these trust domains.
#[derive(Clone, Debug)]
pub struct SpiffeCallers {
    trust_domains: BTreeSet<String>,
}

impl SpiffeCallers {
    /// Admits callers of these trust domains, compared exactly. With none, nobody is admitted.
    pub fn new<T: Into<String>>(trust_domains: impl IntoIterator<Item = T>) -> Self {
        Self { trust_domains: trust_domains.into_iter().map(Into::into).collect() }
    }
}

impl Admission for SpiffeCallers {
    type Info = Caller;

    fn admit(&self, tls: &ServerConnection, handshake: &Handshake) -> Result<Caller, IdentityFault> {
        let chain = tls.peer_certificates().unwrap_or_default();
        let leaf = chain.first().ok_or(IdentityFault::NoCertificate)?;
        let (id, not_after) = identify(leaf, &self.trust_domains)?;
        Ok(Caller(Arc::new(Peer {
            id,
            addr: handshake.addr(),
            not_after,
            generation: handshake.generation(),
            chain: handshake.chain(chain),
        })))
    }
}

/// The SPIFFE id of a leaf certificate in DER and when the certificate ends.
fn identify(der: &[u8], trust_domains: &BTreeSet<String>) -> Result<(CallerId, Timestamp), IdentityFault> {
    let (rest, leaf) = X509Certificate::from_der(der).map_err(|_| IdentityFault::Malformed)?;
    if !rest.is_empty() {
        return Err(IdentityFault::Malformed);
    }
    check_usage(&leaf)?;
    let id = CallerId::parse(only_uri(&leaf)?).map_err(|_| IdentityFault::NotSpiffe)?;
    if !trust_domains.contains(id.trust_domain()) {
        return Err(IdentityFault::ForeignTrustDomain);
    }
    Ok((id, Timestamp::from_unix_seconds(leaf.validity().not_after.timestamp())))
}

fn check_usage(leaf: &X509Certificate<'_>) -> Result<(), IdentityFault> {
    let constraints = leaf.basic_constraints().map_err(|_| IdentityFault::Malformed)?;
    if constraints.is_some_and(|constraints| constraints.value.ca) {
        return Err(IdentityFault::CertificateAuthority);
    }
    // Absent key usage permits everything (RFC 5280 §4.2.1.3), so an X509-SVID must have it.
    let usage = leaf.key_usage().map_err(|_| IdentityFault::Malformed)?.ok_or(IdentityFault::NoDigitalSignature)?;
    if usage.value.key_cert_sign() || usage.value.crl_sign() {
        return Err(IdentityFault::SigningKey);
    }
    if !usage.value.digital_signature() {
        return Err(IdentityFault::NoDigitalSignature);
    }
    let extended = leaf.extended_key_usage().map_err(|_| IdentityFault::Malformed)?;
    if extended.is_some_and(|extended| !extended.value.client_auth) {
        return Err(IdentityFault::NotForClients);
    }
    Ok(())
}

fn only_uri<'c>(leaf: &'c X509Certificate<'_>) -> Result<&'c str, IdentityFault> {
    let names = leaf.subject_alternative_name().map_err(|_| IdentityFault::Malformed)?.ok_or(IdentityFault::NoUri)?;
    let mut only = None;
    for name in &names.value.general_names {
        match name {
            GeneralName::URI(_) if only.is_some() => return Err(IdentityFault::SeveralUris),
            GeneralName::URI(uri) => only = Some(*uri),
            // What cannot be read could be a second URI.
            GeneralName::Invalid(..) => return Err(IdentityFault::Malformed),
            _ => {}
        }
    }
    only.ok_or(IdentityFault::NoUri)
}

#[cfg(all(test, feature = "sandbox"))]
mod tests {
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose as Eku, IsCa, KeyPair, KeyUsagePurpose as Usage, SanType};

    use super::*;

    #[expect(clippy::unwrap_used, reason = "test support")]
    fn certificate(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI("spiffe://dev.strongroom/service/a".try_into().unwrap())];
        params.key_usages = vec![Usage::DigitalSignature];
        params.extended_key_usages = vec![Eku::ClientAuth, Eku::ServerAuth];
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[expect(clippy::unwrap_used, reason = "test support")]
    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn judge(der: &[u8]) -> Result<String, IdentityFault> {
        let ours = BTreeSet::from(["dev.strongroom".to_owned()]);
        identify(der, &ours).map(|(id, _)| id.as_str().to_owned())
    }

    #[test]
    fn an_svid_names_its_caller_and_when_it_ends() {
        let der = certificate(|params| params.not_after = rcgen::date_time_ymd(2031, 2, 3));
        let ours = BTreeSet::from(["dev.strongroom".to_owned()]);
        let (id, not_after) = identify(&der, &ours).unwrap();
        assert_eq!(id.as_str(), "spiffe://dev.strongroom/service/a");
        assert_eq!(not_after.to_rfc3339(), "2031-02-03T00:00:00Z");
        // Names of other kinds beside the URI, and no extended key usage at all, are no fault.
        let der = certificate(|params| {
            params.subject_alt_names.push(SanType::DnsName("a.example".try_into().unwrap()));
            params.extended_key_usages.clear();
        });
        assert!(judge(&der).is_ok());
    }

    #[test]
    fn every_rule_of_an_svid_is_checked() {
        use IdentityFault as F;
        let long = format!("spiffe://dev.strongroom/{}", "x".repeat(2048));
        let cases: Vec<(&str, Vec<u8>, IdentityFault)> = vec![
            ("no der", b"certificate".to_vec(), F::Malformed),
            ("trailing byte", [certificate(|_| {}), vec![0]].concat(), F::Malformed),
            (
                "ca",
                certificate(|p| p.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained)),
                F::CertificateAuthority,
            ),
            ("no key usage", certificate(|p| p.key_usages.clear()), F::NoDigitalSignature),
            ("key agreement", certificate(|p| p.key_usages = vec![Usage::KeyAgreement]), F::NoDigitalSignature),
            ("certificates", certificate(|p| p.key_usages.push(Usage::KeyCertSign)), F::SigningKey),
            ("revocation lists", certificate(|p| p.key_usages.push(Usage::CrlSign)), F::SigningKey),
            ("servers", certificate(|p| p.extended_key_usages = vec![Eku::ServerAuth]), F::NotForClients),
            ("no name", certificate(|p| p.subject_alt_names.clear()), F::NoUri),
            (
                "dns name",
                certificate(|p| p.subject_alt_names = vec![SanType::DnsName("a.b".try_into().unwrap())]),
                F::NoUri,
            ),
            ("two names", certificate(|p| p.subject_alt_names.push(uri("spiffe://dev.strongroom/b"))), F::SeveralUris),
            ("long", certificate(|p| p.subject_alt_names = vec![uri(&long)]), F::NotSpiffe),
        ];
        for (what, der, fault) in cases {
            assert_eq!(judge(&der), Err(fault), "{what}");
        }
    }

    #[test]
    fn only_a_strict_spiffe_id_of_our_trust_domain_is_an_identity() {
        use IdentityFault as F;
        for (text, fault) in [
            ("spiffe://prod.strongroom/a", F::ForeignTrustDomain),
            ("spiffe://x.dev.strongroom/a", F::ForeignTrustDomain),
            ("spiffe://dev.strongroom", F::NotSpiffe),
            ("spiffe://dev.strongroom/", F::NotSpiffe),
            ("spiffe://DEV.strongroom/a", F::NotSpiffe),
            ("spiffe://dev.strongroom/a%2fb", F::NotSpiffe),
            ("spiffe://dev.strongroom//a", F::NotSpiffe),
            ("spiffe://dev.strongroom/./a", F::NotSpiffe),
            ("spiffe://dev.strongroom/../a", F::NotSpiffe),
            ("spiffe://dev.strongroom/a/", F::NotSpiffe),
            ("https://dev.strongroom/a", F::NotSpiffe),
        ] {
            let der = certificate(|params| params.subject_alt_names = vec![uri(text)]);
            assert_eq!(judge(&der), Err(fault), "{text}");
        }
    }

    #[test]
    fn a_request_from_elsewhere_has_no_caller() {
        let request = tonic::Request::new(());
        assert_eq!(caller(&request, Timestamp::default()).unwrap_err(), CallerError::Unidentified);
    }
}
