//! The client to the API server: configuration, time-outs and the telemetry layer; it knows no kind.

pub mod call;
pub mod fence;

use std::time::Duration;

use kube::{Client, Config, client::ClientBuilder};

use crate::{cluster::client::fence::FenceLayer, telemetry::Metrics};

/// Two bookmarks of a watch, and a little more.
const READ_TIMEOUT: Duration = Duration::from_secs(130);

/// How Elpio is known in audit logs, beside the identity that the API server authenticates.
const USER_AGENT: &str = concat!("elpio-operator/", env!("CARGO_PKG_VERSION"));

/// In-cluster configuration, else the kubeconfig that `kubectl` would use.
///
/// # Errors
/// When neither is there, or what is there cannot be read.
pub async fn config() -> Result<Config, kube::config::InferConfigError> {
    let mut config = Config::infer().await?;
    config.connect_timeout = Some(Duration::from_secs(5));
    // A watch that brings nothing for so long is dead: bookmarks come every minute.
    config.read_timeout = Some(READ_TIMEOUT);
    // Retries are ours: the client's own would hide up to 15 of them in one call.
    config.default_retry = false;
    config.headers.push((http::header::USER_AGENT, http::HeaderValue::from_static(USER_AGENT)));
    Ok(config)
}

/// A client whose calls are measured and traced, and whose writes are sent only by a leader.
///
/// # Errors
/// When the configuration names certificates or credentials that cannot be used.
pub fn client(config: Config, metrics: &Metrics, fence: &FenceLayer) -> kube::Result<Client> {
    let layer = metrics.client_layer().for_server(&config.cluster_url);
    Ok(ClientBuilder::try_from(config)?.with_layer(&layer).with_layer(fence).build())
}
