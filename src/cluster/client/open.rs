//! A plain client for the interactive commands: connects to the chosen cluster and checks that it answers. No
//! telemetry, no Lease.

use std::path::PathBuf;

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::{
    cluster::client::{KubeConfigError, REACH_TIMEOUT, config, configured},
    telemetry::error_chain,
};

/// The chosen cluster: by default in-cluster, else the kubeconfig's current context.
#[derive(Clone, Debug, Default)]
pub struct ClusterChoice {
    /// `--kubeconfig`.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`.
    pub context: Option<String>,
}

/// A cluster that answered.
pub struct OpenCluster {
    /// The client configuration.
    pub config: Config,
    /// The client.
    pub client: Client,
    /// The server version, such as `v1.35.4`; `None` if this user may not read it.
    pub version: Option<String>,
}

/// Why the cluster cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No cluster is configured.
    #[error(transparent)]
    Config(#[from] KubeConfigError),
    /// The configuration holds certificates or credentials that cannot be used.
    #[error("the credentials for {address} cannot be used: {cause}")]
    Credentials {
        /// The server's address.
        address: String,
        /// The cause.
        cause: String,
    },
    /// The server answers with an error.
    #[error("the API server {address} answers with HTTP {code}: {cause}")]
    Unavailable {
        /// The server's address.
        address: String,
        /// The status code.
        code: u16,
        /// The server's message.
        cause: String,
    },
    /// The server does not answer.
    #[error("cannot reach the API server {address}: {cause}")]
    Unreachable {
        /// The server's address.
        address: String,
        /// The cause.
        cause: String,
    },
}

/// Connects and reads the version, which most clusters let everybody read.
///
/// # Errors
/// [`OpenError`].
pub async fn open(choice: &ClusterChoice) -> Result<OpenCluster, OpenError> {
    let config = chosen(choice).await?;
    let address = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    let credentials =
        |error: kube::Error| OpenError::Credentials { address: address.clone(), cause: error_chain(&error) };
    let client = Client::try_from(config.clone()).map_err(credentials)?;
    let unreachable = |cause: String| OpenError::Unreachable { address: address.clone(), cause };
    match tokio::time::timeout(REACH_TIMEOUT, client.apiserver_version()).await {
        Ok(Ok(info)) => Ok(OpenCluster { config, client, version: Some(info.git_version) }),
        // Some clusters let only administrators read it.
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
            Ok(OpenCluster { config, client, version: None })
        }
        Ok(Err(kube::Error::Api(status))) if status.code == 401 => Err(OpenError::Credentials {
            address: address.clone(),
            cause: "unauthorized: the API server rejects them".to_owned(),
        }),
        Ok(Err(kube::Error::Api(status))) => Err(OpenError::Unavailable {
            address: address.clone(),
            code: status.code,
            cause: status.message.clone(),
        }),
        Ok(Err(error)) => Err(unreachable(error_chain(&error))),
        Err(_) => Err(unreachable(format!("no response within {} s", REACH_TIMEOUT.as_secs()))),
    }
}

async fn chosen(choice: &ClusterChoice) -> Result<Config, KubeConfigError> {
    if choice.kubeconfig.is_none() && choice.context.is_none() {
        return config().await;
    }
    let read = choice.kubeconfig.as_ref().map_or_else(Kubeconfig::read, Kubeconfig::read_from);
    let options = KubeConfigOptions { context: choice.context.clone(), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(read.map_err(KubeConfigError::Kubeconfig)?, &options).await;
    Ok(configured(config.map_err(KubeConfigError::Kubeconfig)?))
}
