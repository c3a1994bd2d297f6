//! Two small servers: health (`/livez`, `/readyz`, `/version`) and, on a separate port, `/metrics`. They only
//! serve what other modules provide.

mod connections;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::{net::TcpListener, sync::watch};
use tower_http::{CompressionLevel, compression::CompressionLayer};

use crate::{config::ListenAddress, http::connections::serve, telemetry::PrometheusEndpoint};

/// Why a port or an address cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The port is in use or not permitted.
    #[error("cannot listen on port {port} for {purpose}: {source}; free it, or set {variable}")]
    Port {
        /// The port.
        port: u16,
        /// Its purpose.
        purpose: &'static str,
        /// The variable that configures it.
        variable: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The address does not belong to this machine, or the name has no address.
    #[error(
        "invalid value ELPIO_METRICS_ADDR={address:?}: {source}; expected an IP address or a host name of this machine"
    )]
    Address {
        /// The configured address.
        address: String,
        /// The cause.
        source: io::Error,
    },
}

/// The timeout for resolving a host name.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// The purpose of a port, which also determines its variable.
#[derive(Clone, Copy, Debug)]
pub enum Endpoint {
    /// Liveness, readiness, version.
    Health,
    /// The Prometheus page.
    Metrics,
}

/// Whether the operator is ready: `Ok` with a remark, or `Err` with the reason.
pub type ReadinessCheck = Arc<dyn Fn() -> Result<String, String> + Send + Sync>;

/// Binds a port, before anything else starts, so that a port in use ends the program.
///
/// # Errors
/// [`ListenError`].
pub async fn bind(
    address: Option<&ListenAddress>,
    port: u16,
    purpose: Endpoint,
) -> Result<TcpListener, ListenError> {
    let listen = |ip: IpAddr| TcpListener::bind(SocketAddr::new(ip, port));
    let bound = match address {
        Some(ListenAddress::Ip(ip)) => listen(*ip).await,
        Some(ListenAddress::Host(name)) => TcpListener::bind(&*resolve(name, port).await?).await,
        // Without IPv6, there is no [::].
        None => match listen(Ipv6Addr::UNSPECIFIED.into()).await {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                listen(Ipv4Addr::UNSPECIFIED.into()).await
            }
            bound => bound,
        },
    };
    let (purpose, variable) = match purpose {
        Endpoint::Health => ("health checks", "ELPIO_HEALTH_PORT"),
        Endpoint::Metrics => ("/metrics", "ELPIO_METRICS_PORT"),
    };
    bound.map_err(|source| match address {
        Some(address) if source.kind() == io::ErrorKind::AddrNotAvailable => {
            ListenError::Address { address: address.to_string(), source }
        }
        _ => ListenError::Port { port, purpose, variable, source },
    })
}

/// Resolves a name. Rejects wildcard addresses, whatever the resolver returns.
async fn resolve(name: &str, port: u16) -> Result<Vec<SocketAddr>, ListenError> {
    let failed = |source| ListenError::Address { address: name.to_owned(), source };
    let found = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((name, port)))
        .await
        .unwrap_or_else(|elapsed| Err(io::Error::other(elapsed)))
        .map_err(failed)?;
    let addresses: Vec<SocketAddr> = found.filter(|at| !at.ip().is_unspecified()).collect();
    if addresses.is_empty() {
        return Err(failed(io::Error::other("the name has no address")));
    }
    Ok(addresses)
}

/// Serves the Prometheus page until `stop` is true.
pub async fn metrics(listener: TcpListener, endpoint: PrometheusEndpoint, stop: watch::Receiver<bool>) {
    let scrape = async |State(endpoint): State<PrometheusEndpoint>, headers: HeaderMap| {
        // Several header lines form one list (RFC 9110, section 5.3).
        let lines: Vec<&str> =
            headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok()).collect();
        let (content_type, body) = endpoint.render(Some(&lines.join(",")));
        ([(header::CONTENT_TYPE, content_type)], body)
    };
    let router = Router::new().route("/metrics", get(scrape)).with_state(endpoint);
    // A twentieth of the size, for clients that accept gzip, as Prometheus does.
    serve(listener, router.layer(CompressionLayer::new().quality(CompressionLevel::Fastest)), stop).await;
}

/// Serves liveness, readiness and version until `stop` is true.
pub async fn health(
    listener: TcpListener,
    readiness: ReadinessCheck,
    version: &'static str,
    stop: watch::Receiver<bool>,
) {
    let ready = async |State(readiness): State<ReadinessCheck>| match readiness() {
        Ok(what) => (StatusCode::OK, format!("{what}\n")),
        Err(what) => (StatusCode::SERVICE_UNAVAILABLE, format!("{what}\n")),
    };
    let version = async move || ([(header::CONTENT_TYPE, "application/json")], version).into_response();
    let router = Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/version", get(version));
    serve(listener, router.with_state(readiness), stop).await;
}
