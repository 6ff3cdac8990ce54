//! Cookies as RFC 6265bis has them, as far as a journey of one day needs them: no expiry but deletion.

use url::Url;

/// How a request came about, as far as cookies care.
#[derive(Clone, Copy)]
pub(super) struct Navigation {
    /// Whether another site led here.
    pub(super) is_cross_site: bool,
    /// Whether it is a GET.
    pub(super) is_get: bool,
}

/// Whether the two are one site: same scheme and host. Ports do not count.
pub(super) fn is_same_site(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme() && one.host() == other.host()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SameSite {
    /// Browsers take a cookie that does not say as `Lax`.
    Lax,
    Strict,
    None,
}

struct Cookie {
    host: String,
    path: String,
    name: String,
    value: String,
    is_secure: bool,
    same_site: SameSite,
}

/// The cookies of one browser.
#[derive(Default)]
pub(super) struct Jar {
    cookies: Vec<Cookie>,
    values: Vec<String>,
}

impl Jar {
    /// Every value that was ever kept.
    pub(super) fn values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(String::as_str)
    }

    /// Keeps what a `Set-Cookie` header says, unless a browser would not.
    pub(super) fn keep(&mut self, url: &Url, header: &str) {
        let mut parts = header.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { return };
        let (mut path, mut domain, mut is_secure, mut same_site, mut is_gone) =
            (None, None, false, SameSite::Lax, false);
        for attribute in parts {
            let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
            match key.to_ascii_lowercase().as_str() {
                "path" => path = Some(value.to_owned()),
                "domain" => domain = Some(value.to_owned()),
                "secure" => is_secure = true,
                "max-age" => is_gone = value.parse::<i64>().is_ok_and(|seconds| seconds <= 0),
                "samesite" if value.eq_ignore_ascii_case("strict") => same_site = SameSite::Strict,
                "samesite" if value.eq_ignore_ascii_case("none") => same_site = SameSite::None,
                _ => {}
            }
        }
        let is_https = url.scheme() == "https";
        let is_host_bound = is_https && is_secure && domain.is_none() && path.as_deref() == Some("/");
        let host = url.host_str().unwrap_or_default().to_owned();
        let is_for_others = domain.is_some_and(|domain| domain.trim_start_matches('.') != host);
        let is_host_broken = name.starts_with("__Host-") && !is_host_bound;
        let is_secure_broken = name.starts_with("__Secure-") && !is_secure;
        if is_host_broken || is_secure_broken || (is_secure && !is_https) || is_for_others {
            return;
        }
        let path = path.filter(|path| path.starts_with('/')).unwrap_or_else(|| default_path(url));
        self.cookies.retain(|kept| (&kept.host, &kept.path, kept.name.as_str()) != (&host, &path, name));
        if !is_gone {
            self.values.push(value.to_owned());
            let (name, value) = (name.to_owned(), value.to_owned());
            self.cookies.push(Cookie { host, path, name, value, is_secure, same_site });
        }
    }

    /// The `Cookie` header of a request.
    pub(super) fn header(&self, url: &Url, navigation: Navigation) -> Option<String> {
        let sent = self.cookies.iter().filter(|cookie| cookie.goes_to(url, navigation));
        let pairs: Vec<String> = sent.map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

impl Cookie {
    fn goes_to(&self, url: &Url, navigation: Navigation) -> bool {
        let rest = url.path().strip_prefix(&self.path);
        let is_below = rest.is_some_and(|rest| rest.is_empty() || self.path.ends_with('/') || rest.starts_with('/'));
        let is_site_right = match self.same_site {
            SameSite::None => true,
            SameSite::Lax => !navigation.is_cross_site || navigation.is_get,
            SameSite::Strict => !navigation.is_cross_site,
        };
        url.host_str() == Some(&self.host) && is_below && is_site_right && (!self.is_secure || url.scheme() == "https")
    }
}

fn default_path(url: &Url) -> String {
    match url.path().rsplit_once('/') {
        Some((folder, _)) if !folder.is_empty() => folder.to_owned(),
        _ => "/".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPED: Navigation = Navigation { is_cross_site: false, is_get: true };
    const CROSS: Navigation = Navigation { is_cross_site: true, is_get: true };
    const CROSS_POST: Navigation = Navigation { is_cross_site: true, is_get: false };

    fn sent(set: &str, at: &str, to: &str, navigation: Navigation) -> Option<String> {
        let mut jar = Jar::default();
        jar.keep(&at.parse().unwrap(), set);
        jar.header(&to.parse().unwrap(), navigation)
    }

    #[test]
    fn a_host_cookie_is_kept_from_https_only_and_sent_to_https_only() {
        let set = "__Host-b=1; Path=/; Secure; HttpOnly; SameSite=Lax";
        let (https, http) = ("https://localhost:1/a", "http://localhost:2/a");
        assert_eq!(sent(set, https, https, TYPED).as_deref(), Some("__Host-b=1"));
        assert_eq!(sent(set, https, http, TYPED), None);
        assert_eq!(sent(set, http, https, TYPED), None);
        assert_eq!(sent("__Host-b=1; Path=/", https, https, TYPED), None);
        assert_eq!(sent("__Host-b=1; Path=/connect; Secure", https, https, TYPED), None);
        assert_eq!(sent("__Host-b=1; Path=/; Secure; Domain=localhost", https, https, TYPED), None);
    }

    #[test]
    fn same_site_is_kept() {
        let at = "https://localhost/";
        for (set, cross, cross_post) in [
            ("a=1; SameSite=Strict", false, false),
            ("a=1; SameSite=Lax", true, false),
            ("a=1", true, false),
            ("a=1; SameSite=None", true, true),
        ] {
            assert!(sent(set, at, at, TYPED).is_some(), "{set}");
            assert_eq!(sent(set, at, at, CROSS).is_some(), cross, "{set}");
            assert_eq!(sent(set, at, at, CROSS_POST).is_some(), cross_post, "{set}");
        }
        assert!(!is_same_site(&"http://localhost:1/".parse().unwrap(), &"https://localhost:1/".parse().unwrap()));
        assert!(is_same_site(&"http://localhost:1/".parse().unwrap(), &"http://localhost:2/".parse().unwrap()));
    }

    #[test]
    fn paths_hosts_and_deletion_count() {
        assert!(sent("a=1; Path=/x", "http://h/x", "http://h:9/x/y", TYPED).is_some());
        assert_eq!(sent("a=1; Path=/x", "http://h/x", "http://h/xy", TYPED), None);
        assert_eq!(sent("a=1; Path=/", "http://h/", "http://other/", TYPED), None);
        assert_eq!(sent("a=1; Path=/; Domain=other", "http://h/", "http://h/", TYPED), None);
        let mut jar = Jar::default();
        let url = "http://h/".parse().unwrap();
        jar.keep(&url, "a=1; Path=/");
        jar.keep(&url, "a=2; Path=/");
        assert_eq!(jar.header(&url, TYPED).as_deref(), Some("a=2"));
        jar.keep(&url, "a=; Path=/; Max-Age=0");
        assert_eq!(jar.header(&url, TYPED), None);
        assert_eq!(jar.values().collect::<Vec<_>>(), ["1", "2"]);
    }
}
