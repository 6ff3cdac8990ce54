//! A certificate authority for development: made once, its key forgotten at once.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};

use super::files::write_private;
use super::site::SiteError;

/// The trust domain of development callers.
pub(super) const TRUST_DOMAIN: &str = "dev.strongroom";
/// Validity: a development clock may be moved years ahead.
const YEARS: (i32, i32) = (2020, 2099);

/// Makes an authority and certificates for server and callers below `dir`: `ca.pem`, `server.{pem,key}`, `NAME.{pem,key}`.
/// The authority's key is never written.
pub(super) fn establish(dir: &Path, callers: &[(&str, String)]) -> Result<(), SiteError> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Strongroom development CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid_for_long(&mut params);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let issue = |name: &str, params: CertificateParams| -> Result<(), SiteError> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &*authority)?;
        write_private(&dir.join(format!("{name}.key")), key.serialize_pem().as_bytes())?;
        write_private(&dir.join(format!("{name}.pem")), certificate.pem().as_bytes())
    };
    let mut server = CertificateParams::new(vec!["localhost".to_owned()])?;
    server.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    server.distinguished_name.push(DnType::CommonName, "Strongroom development server");
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    valid_for_long(&mut server);
    issue("server", server)?;
    for (name, id) in callers {
        let mut caller = CertificateParams::default();
        caller.subject_alt_names = vec![SanType::URI(id.as_str().try_into()?)];
        caller.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        caller.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        valid_for_long(&mut caller);
        issue(name, caller)?;
    }
    // Last: whoever finds it finds the rest as well.
    write_private(&dir.join("ca.pem"), authority.pem().as_bytes())
}

fn valid_for_long(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(YEARS.0, 1, 1);
    params.not_after = rcgen::date_time_ymd(YEARS.1, 1, 1);
}
