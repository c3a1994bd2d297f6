//! The client to the API server: configuration, time-outs and the telemetry layer; it knows no kind.

pub mod call;
mod credentials;
pub mod error_class;
mod health;
mod retry_after;

use std::time::Duration;

use kube::{Client, Config, client::ClientBuilder};

use crate::{
    cluster::client::{credentials::CredentialsLayer, retry_after::RetryAfterLayer},
    telemetry::Metrics,
};

/// How we are known in audit logs, beside the identity that the API server authenticates.
const USER_AGENT: &str = concat!("elpio-operator/", env!("CARGO_PKG_VERSION"));

/// In-cluster configuration, else the kubeconfig that `kubectl` would use.
///
/// # Errors
/// When neither is there, or what is there cannot be read.
pub async fn config() -> Result<Config, kube::config::InferConfigError> {
    let mut config = Config::infer().await?;
    config.connect_timeout = Some(Duration::from_secs(5));
    // A watch that says nothing for so long has stalled: bookmarks come every minute, and the API server ends
    // it after 290 s.
    config.read_timeout = Some(Duration::from_mins(5));
    // Retries are ours: the client's own would hide up to 15 of them in one call.
    config.default_retry = false;
    config.headers.push((http::header::USER_AGENT, http::HeaderValue::from_static(USER_AGENT)));
    Ok(config)
}

/// A client whose calls are measured and traced.
///
/// # Errors
/// When the configuration names certificates or credentials that cannot be used.
pub fn client(mut config: Config, metrics: &Metrics) -> kube::Result<Client> {
    let telemetry = metrics.client_layer().for_server(&config.cluster_url);
    let credentials = CredentialsLayer::take_from(&mut config.auth_info).map_err(kube::Error::Auth)?;
    // From the connection outwards: each attempt has a span of its own.
    let builder = ClientBuilder::try_from(config)?.with_layer(&RetryAfterLayer);
    Ok(builder.with_layer(&telemetry).with_layer(&credentials).build())
}
