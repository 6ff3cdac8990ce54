//! What each value must be. Each check gets the text and says what is wrong and how to mend it, never what the text
//! was.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::{Host, Url};

use super::read::Complaint;
use super::{Confirmation, LogFormat, TIME_SCALE_MAX};
use crate::domain::app::Environment;
use crate::domain::budget::CALLS_MAX;
use crate::domain::name::{CallerId, DisplayName, ProviderAccountId, SUBJECT_BYTES_MAX, URI_BYTES_MAX};

/// Longest filter of the log.
const LOG_FILTER_BYTES_MAX: usize = 1024;
/// Permission bits of everybody but the owner.
const MODE_OTHERS: u32 = 0o077;

pub(super) type Checked<T> = Result<T, Complaint>;

pub(super) fn complain<T>(rule: impl Into<String>, mend: impl Into<String>) -> Checked<T> {
    Err((rule.into(), mend.into()))
}

pub(super) fn environment(text: &str) -> Checked<Environment> {
    Environment::parse(text).or_else(|error| complain(error.rule, "choose one of the two"))
}

pub(super) fn client_id(text: &str) -> Checked<String> {
    if text.is_empty() || text.len() > SUBJECT_BYTES_MAX || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return complain("must be 1 to 64 visible ASCII characters", "copy it from the provider's app page");
    }
    Ok(text.to_owned())
}

pub(super) fn provider_id(text: &str) -> Checked<String> {
    match ProviderAccountId::parse(text) {
        Ok(id) => Ok(id.to_string()),
        Err(fault) => complain(fault.rule, "copy it from the provider's account page"),
    }
}

pub(super) fn platform_name(text: &str) -> Checked<String> {
    match DisplayName::parse(text) {
        Ok(name) => Ok(name.to_string()),
        Err(fault) => complain(fault.rule, "write the name that merchants know the platform by"),
    }
}

pub(super) fn trust_domain(text: &str) -> Checked<String> {
    match CallerId::parse(&format!("spiffe://{text}/x")) {
        Ok(id) if id.trust_domain() == text => Ok(text.to_owned()),
        _ => complain("is no SPIFFE trust domain", "write only the name, in lower case, like \"prod.example\""),
    }
}

pub(super) fn address(text: &str) -> Checked<SocketAddr> {
    text.parse().or_else(|_| complain("must be an IP address and a port", "write for example \"127.0.0.1:7443\""))
}

pub(super) fn confirmation(text: &str) -> Checked<Confirmation> {
    match text {
        "always" => Ok(Confirmation::Always),
        "email_match" => Ok(Confirmation::EmailMatch),
        _ => complain("must be \"always\" or \"email_match\"", "choose one of the two"),
    }
}

pub(super) fn log_format(text: &str) -> Checked<LogFormat> {
    match text {
        "json" => Ok(LogFormat::Json),
        "text" => Ok(LogFormat::Text),
        _ => complain("must be \"json\" or \"text\"", "choose one of the two"),
    }
}

pub(super) fn log_filter(text: &str) -> Checked<String> {
    if text.trim().is_empty() || text.len() > LOG_FILTER_BYTES_MAX {
        return complain("must be 1 to 1024 bytes", "write a level like \"info\"");
    }
    Ok(text.to_owned())
}

pub(super) fn time_scale(text: &str) -> Checked<u32> {
    match text.parse() {
        Ok(scale) if (1..=TIME_SCALE_MAX).contains(&scale) => Ok(scale),
        _ => complain(format!("must be a whole number from 1 to {TIME_SCALE_MAX}"), "write for example 60"),
    }
}

/// Of the calls that the provider lets the app make, how many we may.
pub(super) fn share(text: &str) -> Checked<u32> {
    match text.parse() {
        Ok(share) if (1..=CALLS_MAX).contains(&share) => Ok(share),
        _ => complain(
            format!("must be a whole number from 1 to {CALLS_MAX}"),
            "leave some to who else calls for the app",
        ),
    }
}

pub(super) fn duration(text: &str, least: Duration, most: Duration) -> Checked<Duration> {
    match parse_duration(text) {
        None => complain("must be a duration", "write a whole number and ms, s, m, h or d, like \"90s\""),
        Some(found) if found < least => {
            complain(format!("must be at least {}s", least.as_secs()), "smaller is unsafe or of no use: raise it")
        }
        Some(found) if found > most => complain(format!("must be at most {}s", most.as_secs()), "lower it"),
        Some(found) => Ok(found),
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.find(|c: char| !c.is_ascii_digit())?)?;
    let number: u64 = digits.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(60 * 60).map(Duration::from_secs),
        "d" => number.checked_mul(24 * 60 * 60).map(Duration::from_secs),
        _ => None,
    }
}

/// A file that holds a secret: nobody but its owner may read it.
pub(super) fn secret_file(text: &str) -> Checked<PathBuf> {
    let path = plain_file(text)?;
    let mode = std::fs::metadata(&path).map(|metadata| metadata.permissions().mode());
    match mode {
        Ok(mode) if mode & MODE_OTHERS == 0 => Ok(path),
        Ok(_) => complain("is a secret that others than its owner may read", "chmod 600 the file"),
        Err(error) => complain(format!("cannot be looked at: {error}"), "make it readable to this process"),
    }
}

/// A file that is there.
pub(super) fn plain_file(text: &str) -> Checked<PathBuf> {
    let path = Path::new(text);
    if !path.is_absolute() {
        return complain("must be an absolute path", "write the path from the root on");
    }
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(path.to_owned()),
        Ok(_) => complain("is not a file", "name the file itself"),
        Err(error) => complain(format!("cannot be looked at: {}", error.kind()), "create the file or correct the path"),
    }
}

/// The origin that the provider and browsers see (exact, and without an underscore, as the provider demands).
pub(super) fn origin(text: &str) -> Checked<String> {
    let mend = "write for example \"https://connect.example\"";
    let Some(url) = parse_url(text) else { return complain("must be a URL", mend) };
    if url.scheme() != "https" {
        return complain("must begin with https://", mend);
    }
    if url.host_str().is_some_and(|host| host.contains('_')) {
        return complain(
            "must not have an underscore in its host",
            "the provider refuses such redirect URLs: rename it",
        );
    }
    if url.origin().ascii_serialization() != text {
        return complain("must be an origin: no path, no slash at the end, lower case, no default port", mend);
    }
    Ok(text.to_owned())
}

pub(super) fn return_url(text: &str) -> Checked<String> {
    let mend = "write an origin like \"https://shop.example\" or a prefix like \"https://shop.example/onboarding/\"";
    let Some(url) = parse_url(text) else { return complain("must be a URL", mend) };
    if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) {
        return complain("must begin with https://", mend);
    }
    // Serialised it must be what was written: no dot segments, user info, odd case.
    if url.as_str().trim_end_matches('/') != text.trim_end_matches('/') || !is_bare(&url) {
        return complain("must be written plainly: no user, query, fragment, dot segments or default port", mend);
    }
    if !url.path().ends_with('/') {
        return complain("is a prefix that does not end in a slash", mend);
    }
    Ok(url.into())
}

/// Base URL of a sandbox. Literal addresses only: a name could point elsewhere tomorrow.
pub(super) fn loopback_url(text: &str) -> Checked<String> {
    let mend = "write for example \"http://127.0.0.1:9000/v2\"";
    let Some(url) = parse_url(text) else { return complain("must be a URL", mend) };
    if !matches!(url.scheme(), "http" | "https") || !is_loopback(&url) {
        return complain("must be http or https to a loopback address", mend);
    }
    if url.as_str() != text || url.path() != "/v2" || !is_bare(&url) {
        return complain("must end in /v2, without user, query and fragment", mend);
    }
    Ok(text.to_owned())
}

pub(super) fn parse_url(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| text.len() <= URI_BYTES_MAX && url.host().is_some())
}

fn is_bare(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        _ => false,
    }
}
