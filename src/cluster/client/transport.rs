//! The connections to the API server: direct or through a proxy, with TLS, credentials and timeouts. Reads no
//! request and knows no layer above.
//!
//! Like the transport of kube's `ClientBuilder`, but with bounded buffers, with `TCP_NODELAY`, and without
//! kube's spans and log lines, as Elpio has its own.

use http::{Request, Response, Uri};
use hyper::{
    body::Incoming,
    rt::{Read, Write},
};
use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::{
        legacy::{
            Builder,
            connect::{Connection, HttpConnector, proxy::Tunnel},
        },
        proxy::matcher::{Intercept, Matcher},
    },
    rt::TokioExecutor,
};
use kube::{
    Config,
    client::{Body, ConfigExt as _},
};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt as _, util::BoxService};

use crate::api::url::redact_userinfo;

/// Per connection. Without a limit, a list grows the buffer to a megabyte, which the connection then keeps
/// for the lifetime of a watch.
const MAX_BUFFER_BYTES: usize = 64 << 10;

/// Any https URL will do: reading the kubeconfig already decided whether to use a proxy.
const ANY_SERVER: &str = "https://kubernetes";

pub(super) type Transport = BoxService<Request<Body>, Response<Incoming>, BoxError>;

/// The transport for this configuration.
///
/// # Errors
/// If the certificates, the credentials or the proxy cannot be used.
pub(super) fn transport(config: &Config) -> kube::Result<Transport> {
    let mut tcp = HttpConnector::new();
    // A layer above adds TLS.
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let Some(url) = &config.proxy_url else { return over(tcp, config) };
    // A proxy without a scheme is http, as in Go's `HTTPS_PROXY`.
    let proxy = Matcher::builder().all(url.to_string()).build().intercept(&Uri::from_static(ANY_SERVER));
    match proxy.as_ref().and_then(|proxy| Some((proxy.uri().scheme_str()?, proxy))) {
        Some(("http", proxy)) => over(tunnel(proxy, tcp), config),
        Some(("https", proxy)) => {
            over(tunnel(proxy, config.rustls_https_connector_with_connector(tcp)?), config)
        }
        _ => {
            let shown = redact_userinfo(&url.to_string()).parse().unwrap_or_default();
            Err(kube::Error::ProxyProtocolUnsupported { proxy_url: Box::new(shown) })
        }
    }
}

fn tunnel<C>(proxy: &Intercept, connector: C) -> Tunnel<C> {
    let tunnel = Tunnel::new(proxy.uri().clone(), connector);
    match proxy.basic_auth() {
        Some(authorization) => tunnel.with_auth(authorization.clone()),
        None => tunnel,
    }
}

/// The transport over the connections that `connector` opens.
fn over<C>(connector: C, config: &Config) -> kube::Result<Transport>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Connection + Read + Write + Send + Unpin + 'static,
    C::Future: Send + 'static,
    C::Error: std::error::Error + Send + Sync + 'static,
{
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(connector)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let client =
        Builder::new(TokioExecutor::new()).http1_max_buf_size(MAX_BUFFER_BYTES).build::<_, Body>(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client);
    Ok(service.map_err(Into::into).boxed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(proxy: &str) -> Config {
        let mut config = Config::new(Uri::from_static("https://127.0.0.1:6443"));
        config.proxy_url = proxy.parse().ok();
        assert!(config.proxy_url.is_some(), "{proxy}");
        config
    }

    #[tokio::test]
    async fn http_and_https_proxies_are_accepted_and_others_refused_without_their_password() {
        for proxy in ["http://p:3128", "https://me:s3cret@p", "p:3128", "http://me@[::1]:3128"] {
            let made = transport(&config(proxy)).map(drop);
            assert!(made.is_ok(), "{proxy}: {made:?}");
        }
        for proxy in ["socks5://me:s3cret@p:1080", "ftp://me:s3cret@p"] {
            let refused = transport(&config(proxy)).map(drop).map_err(|error| format!("{error} {error:?}"));
            let is_right = |text: &String| text.contains("://p") && !text.contains("s3cret");
            assert!(refused.as_ref().is_err_and(is_right), "{proxy}: {refused:?}");
        }
    }
}
