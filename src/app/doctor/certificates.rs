//! The certificates of both listeners: do they fit their keys, for how long are they valid, and for whom.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::config::{Config, GrpcConfig};
use crate::domain::ambient::{Clock, Timestamp};
use crate::domain::finding::Finding;
use crate::grpc::listener::{CertificateFacts, Tls, TlsError, TlsFiles};

const GRPC: &str = "certificate of grpc";
const PUBLIC: &str = "certificate of public";
const CALLERS: &str = "authorities of callers";
/// A certificate that ends sooner is warned of: two weeks are time to get another, holidays included.
const END_NEAR: Duration = Duration::from_secs(14 * 24 * 60 * 60);

pub(super) fn examine(config: &Config, clock: &Arc<dyn Clock>) -> Vec<Finding> {
    let (grpc, public) = (&config.grpc, &config.public);
    let host = Url::parse(&config.public.base_url).ok();
    let host = host.as_ref().and_then(Url::host_str).unwrap_or_default();
    vec![
        listener(GRPC, &grpc.cert_file, &grpc.key_file, None, clock),
        authorities(grpc, clock),
        listener(PUBLIC, &public.cert_file, &public.key_file, Some(host), clock),
    ]
}

/// `host`: what browsers ask for.
fn listener(check: &'static str, cert: &Path, key: &Path, host: Option<&str>, clock: &Arc<dyn Clock>) -> Finding {
    let files = TlsFiles { cert: cert.into(), key: key.into(), client_ca: None };
    let chain = Tls::load(files, Arc::clone(clock)).and_then(|_| CertificateFacts::read(cert));
    let chain = match chain {
        Ok(chain) => chain,
        Err(error) => return unusable(check, &error),
    };
    if let Some(finding) = chain.iter().find_map(|certificate| out_of_date(check, cert, certificate, clock.now())) {
        return finding;
    }
    // Brackets are how a URL writes IPv6, not part of the name.
    let host = host.map(|host| host.trim_start_matches('[').trim_end_matches(']'));
    if let (Some(host), Some(leaf)) = (host, chain.first())
        && !leaf.is_for(host)
    {
        let what = format!("{} is not for {host}, the host of public.base_url", cert.display());
        return Finding::fail(check, what, "get one with that host among its alternative names, or correct the URL");
    }
    Finding::ok(check, format!("{} fits its key{}", cert.display(), until(&chain)))
}

fn authorities(grpc: &GrpcConfig, clock: &Arc<dyn Clock>) -> Finding {
    let path = &grpc.client_ca_file;
    let bundle = match CertificateFacts::read(path) {
        Ok(bundle) => bundle,
        Err(error) => return unusable(CALLERS, &error),
    };
    let files = TlsFiles { cert: grpc.cert_file.clone(), key: grpc.key_file.clone(), client_ca: Some(path.clone()) };
    // A fault of certificate or key is the listener's own finding.
    if let Err(error) = Tls::load(files, Arc::clone(clock))
        && error.path() == path
    {
        return unusable(CALLERS, &error);
    }
    match bundle.iter().find_map(|certificate| out_of_date(CALLERS, path, certificate, clock.now())) {
        Some(finding) => finding,
        None => Finding::ok(CALLERS, format!("{} names {}{}", path.display(), bundle.len(), until(&bundle))),
    }
}

fn out_of_date(check: &'static str, path: &Path, certificate: &CertificateFacts, now: Timestamp) -> Option<Finding> {
    let path = path.display();
    let end = certificate.not_after.to_rfc3339();
    if now < certificate.not_before {
        let what = format!("{path} is not valid before {}", certificate.not_before.to_rfc3339());
        Some(Finding::fail(check, what, "set this host's clock, or get a certificate that is valid now"))
    } else if now > certificate.not_after {
        Some(Finding::fail(check, format!("{path} has been invalid since {end}"), "replace it, then send SIGHUP"))
    } else if now.plus(END_NEAR) > certificate.not_after {
        Some(Finding::warn(check, format!("{path} is valid until {end} only"), "replace it in time, then send SIGHUP"))
    } else {
        None
    }
}

fn until(certificates: &[CertificateFacts]) -> String {
    let end = certificates.iter().map(|certificate| certificate.not_after).min();
    end.map(|end| format!(", valid until {}", end.to_rfc3339())).unwrap_or_default()
}

fn unusable(check: &'static str, error: &TlsError) -> Finding {
    Finding::fail(check, error.to_string(), "give a PEM chain, leaf first, and the private key of the leaf")
}
