//! `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`: the proxy for an endpoint. It opens no connection.

use std::{fmt, net::IpAddr};

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;

use crate::{api::url::redact_userinfo, telemetry::config::env::EnvReader};

/// A proxy. `Debug` shows no user name or password.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::telemetry) struct Proxy {
    /// The URI, without user name and password.
    pub(in crate::telemetry) uri: Uri,
    /// The value of `Proxy-Authorization`.
    pub(in crate::telemetry) authorization: Option<HeaderValue>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("uri", &self.uri).finish_non_exhaustive()
    }
}

/// The proxy for this endpoint, by its scheme. As in Go, loopback addresses use none.
pub(in crate::telemetry) fn proxy(env: &mut EnvReader<'_>, endpoint: &str) -> Option<Proxy> {
    let uri: Uri = endpoint.parse().ok()?;
    let of_https = env.first(&["HTTPS_PROXY", "https_proxy"]);
    let of_http = env.first(&["HTTP_PROXY", "http_proxy"]);
    let not = env.first(&["NO_PROXY", "no_proxy"]).map(|(_, list)| list).unwrap_or_default();
    let (variable, value) = if uri.scheme_str() == Some("https") { of_https } else { of_http }?;
    if is_loopback(uri.host()?) {
        return None;
    }
    let is_http = |uri: &Uri| uri.scheme_str() == Some("http");
    let found = Matcher::builder().all(value.clone()).build().intercept(&uri);
    let Some(found) = found.filter(|found| is_http(found.uri())) else {
        env.warn(
            variable,
            &redact_userinfo(&value),
            "not the URL of a proxy, as http://proxy:3128",
            "no proxy",
        );
        return None;
    };
    let is_excluded = Matcher::builder().all(value).no(not).build().intercept(&uri).is_none();
    let proxy = Proxy { uri: found.uri().clone(), authorization: found.basic_auth().cloned() };
    (!is_excluded).then_some(proxy)
}

/// Whether a URL's host is this machine.
pub(in crate::telemetry) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn found(variables: &[(&str, &str)], endpoint: &str) -> (Option<Proxy>, Vec<String>) {
        let all: HashMap<&str, &str> = variables.iter().copied().collect();
        let get = |name: &str| all.get(name).map(|value| (*value).to_owned());
        let mut env = EnvReader::new(&get);
        (proxy(&mut env, endpoint), env.into_warnings())
    }

    #[test]
    fn the_scheme_of_the_endpoint_decides_and_exclusions_win() {
        let (a, b) = (("HTTPS_PROXY", "http://a:3128"), ("http_proxy", "b:3128"));
        for (variables, endpoint, expected) in [
            (vec![a, b], "https://c.example:4317", Some("http://a:3128/")),
            (vec![a, b], "http://c.example:4317", Some("http://b:3128/")),
            (vec![a], "http://c.example:4317", None),
            (vec![], "https://c.example:4317", None),
            (vec![a, ("NO_PROXY", "example")], "https://c.example:4317", None),
            (vec![a, ("no_proxy", "10.0.0.0/8")], "https://10.1.2.3:4317", None),
            (vec![a, ("NO_PROXY", "*")], "https://c.example:4317", None),
            (vec![a, ("NO_PROXY", "other")], "https://c.example:4317", Some("http://a:3128/")),
            (vec![a], "https://localhost:4317", None),
            (vec![b], "http://[::1]:4317", None),
            (vec![b], "http://127.0.0.1:4318/v1/traces", None),
        ] {
            let (proxy, warnings) = found(&variables, endpoint);
            let uri = proxy.map(|proxy| proxy.uri.to_string());
            assert_eq!((uri.as_deref(), warnings.len()), (expected, 0), "{variables:?} {endpoint}");
        }
    }

    #[test]
    fn credentials_are_sent_and_not_shown() {
        let (proxy, _) = found(&[("HTTPS_PROXY", "http://me:s3cr3t@a:3128")], "https://c.example");
        assert!(!format!("{proxy:?}").contains("s3cr3t"), "{proxy:?}");
        let sent = proxy.and_then(|proxy| proxy.authorization);
        assert_eq!(sent.as_ref().and_then(|text| text.to_str().ok()), Some("Basic bWU6czNjcjN0"));
    }

    #[test]
    fn what_is_no_proxy_is_one_warning_without_its_password() {
        for value in ["socks5://me:s3cr3t@a:1080", "https://me:s3cr3t@a:3128", "not a url"] {
            let (proxy, warnings) = found(&[("HTTPS_PROXY", value)], "https://c.example");
            assert_eq!((proxy, warnings.len()), (None, 1), "{value}: {warnings:?}");
            assert!(warnings[0].contains("HTTPS_PROXY") && !warnings[0].contains("s3cr3t"), "{warnings:?}");
        }
    }
}
