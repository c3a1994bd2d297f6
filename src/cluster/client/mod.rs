//! The client for the API server: configuration, timeouts and the telemetry layer. It knows no kinds.

pub mod call;
mod credentials;
pub mod error_class;
pub mod fence;
mod health;
pub mod open;
mod retry_after;
mod transport;

use std::time::{Duration, Instant};

use kube::{Client, Config, client::ClientBuilder};
use tokio::sync::watch;
use tower::ServiceExt as _;

use crate::{
    cluster::client::{credentials::CredentialsLayer, fence::FenceLayer, retry_after::copy_retry_after},
    telemetry::{Metrics, error_chain},
};

/// Slightly more than two bookmark intervals of a watch.
const READ_TIMEOUT: Duration = Duration::from_secs(130);

/// Identifies Elpio in audit logs, beside the authenticated identity.
const USER_AGENT: &str = concat!("elpio-operator/", env!("CARGO_PKG_VERSION"));

/// How long startup waits for an answer before it warns, and the interval between its attempts.
const REACH_TIMEOUT: Duration = Duration::from_secs(5);
const REACH_INTERVAL: Duration = Duration::from_secs(1);
/// How often a repeated failure is logged.
const REACH_LOG_INTERVAL: Duration = Duration::from_mins(1);

/// Why there is no client configuration.
#[derive(Debug, thiserror::Error)]
pub enum KubeConfigError {
    /// Neither a kubeconfig nor an in-cluster configuration.
    #[error("no cluster is configured: set KUBECONFIG, or run in a pod with a service account ({0})")]
    NoCluster(#[source] kube::config::InferConfigError),
    /// The given kubeconfig or context cannot be used.
    #[error("the kubeconfig cannot be used: {0}")]
    Kubeconfig(#[source] kube::config::KubeconfigError),
}

/// The in-cluster configuration, or else the kubeconfig that `kubectl` would use.
///
/// # Errors
/// If neither exists, or the one found cannot be read.
pub async fn config() -> Result<Config, KubeConfigError> {
    Ok(configured(Config::infer().await.map_err(KubeConfigError::NoCluster)?))
}

fn configured(mut config: Config) -> Config {
    config.connect_timeout = Some(Duration::from_secs(5));
    // A watch without data for this long is dead: bookmarks arrive every minute.
    config.read_timeout = Some(READ_TIMEOUT);
    // Elpio retries itself: the client's default would hide up to 15 retries in one call.
    config.default_retry = false;
    config.headers.push((http::header::USER_AGENT, http::HeaderValue::from_static(USER_AGENT)));
    config
}

/// A client whose calls are measured and traced, and whose writes only the leader sends.
///
/// # Errors
/// If the certificates or credentials in the configuration cannot be used.
pub fn client(mut config: Config, metrics: &Metrics, fence: &FenceLayer) -> kube::Result<Client> {
    let telemetry = metrics.client_layer().for_server(&config.cluster_url);
    let credentials = CredentialsLayer::take_from(&mut config.auth_info).map_err(kube::Error::Auth)?;
    // From the connection outwards: each attempt has its own span.
    let transport = transport::transport(&config)?.and_then(copy_retry_after);
    let builder = ClientBuilder::new(transport, config.default_namespace);
    Ok(builder.with_layer(&telemetry).with_layer(&credentials).with_layer(fence).build())
}

/// Waits until the API server answers anything at all, and names it in the log until it does. Returns false
/// if the program must stop first.
pub async fn wait_until_reachable(
    client: &Client,
    server: &impl std::fmt::Display,
    mut stopping: watch::Receiver<bool>,
) -> bool {
    let mut logged: Option<Instant> = None;
    loop {
        let result = tokio::select! {
            result = tokio::time::timeout(REACH_TIMEOUT, client.apiserver_version()) => result,
            _ = stopping.wait_for(|stop| *stop) => return false,
        };
        let cause = match result {
            Ok(Ok(_) | Err(kube::Error::Api(_) | kube::Error::SerdeError(_))) => break,
            Ok(Err(error)) => error_chain(&error),
            Err(_) => format!("no response within {} s", REACH_TIMEOUT.as_secs()),
        };
        if logged.is_none_or(|at| at.elapsed() >= REACH_LOG_INTERVAL) {
            tracing::error!("cannot reach the API server {server}: {cause}; retrying");
            logged = Some(Instant::now());
        }
        let _ = tokio::time::timeout(REACH_INTERVAL, stopping.wait_for(|stop| *stop)).await;
    }
    if logged.is_some() {
        tracing::info!("connected to the API server");
    }
    true
}
