//! What a `callback_uri` means on the wire.
//!
//! Only this machine is ever reached, and no name is looked up: the sandbox's people are invented, and what it sends must not
//! reach anybody. WePay refuses loopback addresses instead; a sandbox for clients on the same machine cannot.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::http::uri::PathAndQuery;
use tokio_rustls::rustls::pki_types::ServerName;
use url::{Host, Url};

/// Why a notice is not sent: its receiver is elsewhere.
const ELSEWHERE: &str = "callback_uri does not lead to a loopback address; the sandbox serves this machine only";

/// Why a notice is not sent: nobody could.
const UNREADABLE: &str = "callback_uri is no http or https URI";

/// Where a notice goes.
#[derive(Debug)]
pub(super) struct Target {
    /// The name to be proved by the receiver's certificate; none where there is no TLS.
    pub(super) tls_name: Option<ServerName<'static>>,
    /// Where it may listen, in the order to try.
    pub(super) addresses: Vec<SocketAddr>,
    /// Host and port, as the `Host` header has them.
    pub(super) authority: String,
    /// Path and query.
    pub(super) path_and_query: PathAndQuery,
}

impl Target {
    /// Reads a `callback_uri`; the error says why nothing is sent there.
    pub(super) fn parse(uri: &str) -> Result<Self, &'static str> {
        let url = Url::parse(uri).map_err(|_| UNREADABLE)?;
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else { return Err(UNREADABLE) };
        let is_tls = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(UNREADABLE),
        };
        let (addresses, name) = match host {
            Host::Ipv4(ip) if ip.is_loopback() => (vec![IpAddr::V4(ip)], ServerName::from(IpAddr::V4(ip))),
            Host::Ipv6(ip) if ip.is_loopback() => (vec![IpAddr::V6(ip)], ServerName::from(IpAddr::V6(ip))),
            Host::Domain("localhost") => {
                let name = ServerName::try_from("localhost").map_err(|_| UNREADABLE)?;
                (vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()], name)
            }
            _ => return Err(ELSEWHERE),
        };
        let host = host.to_string();
        Ok(Self {
            tls_name: is_tls.then_some(name),
            addresses: addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect(),
            authority: url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}")),
            path_and_query: path_and_query(uri, &url).ok_or(UNREADABLE)?,
        })
    }
}

/// Path and query byte for byte as they were given (WePay FAQ: parameters of the URI are preserved); what cannot stand in a
/// request, such as a space, as a browser would write it.
fn path_and_query(uri: &str, url: &Url) -> Option<PathAndQuery> {
    let as_given = uri.split_once("://").map_or("", |(_, rest)| rest);
    let begin = as_given.find(['/', '?', '#', '\\']).unwrap_or(as_given.len());
    let as_given = as_given.get(begin..).unwrap_or_default();
    let as_given = as_given.split_once('#').map_or(as_given, |(before, _)| before);
    let as_given = if as_given.starts_with('/') { as_given.to_owned() } else { format!("/{as_given}") };
    let is_plain = as_given.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let given = is_plain.then(|| PathAndQuery::try_from(as_given).ok()).flatten();
    given.or_else(|| {
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        PathAndQuery::try_from(format!("{}{query}", url.path())).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_and_query_stay_byte_for_byte() {
        for (given, sent) in [
            ("http://127.0.0.1:9/a?a=b&c=%20&d", "/a?a=b&c=%20&d"),
            ("http://127.0.0.1:9?x", "/?x"),
            ("http://127.0.0.1:9", "/"),
            ("http://127.0.0.1:9/?", "/?"),
            (
                "HTTP://LocalHost:9/A/../b/%2e%2E//?q='%c3%A9'|{}&&=&a[]=1&a=1+2;x#part?no",
                "/A/../b/%2e%2E//?q='%c3%A9'|{}&&=&a[]=1&a=1+2;x",
            ),
            ("http://127.0.0.1:9?next=http://x/y?z", "/?next=http://x/y?z"),
            // Not to be said in a request as they are.
            ("http://127.0.0.1:9/a b?c=\u{e9} <", "/a%20b?c=%C3%A9%20%3C"),
            ("http://127.0.0.1:9\\a?b\r\nHost: x", "/a?bHost:%20x"),
        ] {
            assert_eq!(Target::parse(given).unwrap().path_and_query.as_str(), sent, "{given}");
        }
    }

    #[test]
    fn only_this_machine_is_reached_and_no_name_is_looked_up() {
        for uri in
            ["http://127.0.0.1/", "https://127.8.9.1:99/x", "http://[::1]:80/", "http://LOCALHOST:1/", "http://0x7f.1/"]
        {
            let target = Target::parse(uri).unwrap();
            assert!(target.addresses.iter().all(|address| address.ip().is_loopback()), "{uri}");
        }
        for uri in [
            "http://example.com/",
            "http://127.0.0.1.example/",
            "http://localhost.example/",
            "http://a.localhost/",
            "http://10.0.0.1/",
            "http://0.0.0.0/",
            "http://[::]/",
            "http://[::ffff:127.0.0.1]/",
            "http://127.0.0.1@example.com/",
        ] {
            assert_eq!(Target::parse(uri).unwrap_err(), ELSEWHERE, "{uri}");
        }
        for uri in ["", "/relative", "ftp://127.0.0.1/", "mailto:a@localhost"] {
            assert_eq!(Target::parse(uri).unwrap_err(), UNREADABLE, "{uri}");
        }
    }

    #[test]
    fn host_and_name_are_those_of_the_uri() {
        let target = |uri| Target::parse(uri).unwrap();
        let (plain, tls) = (target("http://u:hush@127.0.0.1:8080/"), target("https://localhost/x"));
        assert_eq!((plain.authority.as_str(), plain.tls_name), ("127.0.0.1:8080", None));
        assert_eq!((tls.authority.as_str(), tls.tls_name.unwrap().to_str().as_ref()), ("localhost", "localhost"));
        assert_eq!(tls.addresses, ["127.0.0.1:443".parse().unwrap(), "[::1]:443".parse().unwrap()]);
        assert_eq!(target("http://[::1]:81/").authority, "[::1]:81");
    }
}
