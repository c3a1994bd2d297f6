//! The client to the API server: configuration, time-outs and the telemetry layer; it knows no kind.

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

/// Two bookmarks of a watch, and a little more.
const READ_TIMEOUT: Duration = Duration::from_secs(130);

/// How Elpio is known in audit logs, beside the identity that the API server authenticates.
const USER_AGENT: &str = concat!("elpio-operator/", env!("CARGO_PKG_VERSION"));

/// How long a start waits for an answer before it warns, and between its attempts.
const REACH_TIMEOUT: Duration = Duration::from_secs(5);
const REACH_INTERVAL: Duration = Duration::from_secs(1);
/// How often an attempt that fails again is logged.
const REACH_LOG_INTERVAL: Duration = Duration::from_mins(1);

/// No configuration of a client.
#[derive(Debug, thiserror::Error)]
pub enum KubeConfigError {
    /// Neither a kubeconfig nor a pod.
    #[error(
        "there is no cluster to connect to: set KUBECONFIG, or run in a pod with a service account ({0})"
    )]
    NoCluster(#[source] kube::config::InferConfigError),
    /// The kubeconfig or context that was named cannot be used.
    #[error("the kubeconfig cannot be used: {0}")]
    Kubeconfig(#[source] kube::config::KubeconfigError),
}

/// In-cluster configuration, else the kubeconfig that `kubectl` would use.
///
/// # Errors
/// When neither is there, or what is there cannot be read.
pub async fn config() -> Result<Config, KubeConfigError> {
    Ok(configured(Config::infer().await.map_err(KubeConfigError::NoCluster)?))
}

fn configured(mut config: Config) -> Config {
    config.connect_timeout = Some(Duration::from_secs(5));
    // A watch that brings nothing for so long is dead: bookmarks come every minute.
    config.read_timeout = Some(READ_TIMEOUT);
    // Retries are ours: the client's own would hide up to 15 of them in one call.
    config.default_retry = false;
    config.headers.push((http::header::USER_AGENT, http::HeaderValue::from_static(USER_AGENT)));
    config
}

/// A client whose calls are measured and traced, and whose writes are sent only by a leader.
///
/// # Errors
/// When the configuration names certificates or credentials that cannot be used.
pub fn client(mut config: Config, metrics: &Metrics, fence: &FenceLayer) -> kube::Result<Client> {
    let telemetry = metrics.client_layer().for_server(&config.cluster_url);
    let credentials = CredentialsLayer::take_from(&mut config.auth_info).map_err(kube::Error::Auth)?;
    // From the connection outwards: each attempt has a span of its own.
    let transport = transport::transport(&config)?.and_then(copy_retry_after);
    let builder = ClientBuilder::new(transport, config.default_namespace);
    Ok(builder.with_layer(&telemetry).with_layer(&credentials).with_layer(fence).build())
}

/// Waits until the API server answers, whatever it answers; names it while it does not. Returns false when
/// the program has to stop before.
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
            Err(_) => format!("no answer within {} s", REACH_TIMEOUT.as_secs()),
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
