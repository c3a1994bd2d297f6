//! A plain client for the commands that people run: to the cluster that they name, and known to answer. It has
//! no telemetry and no lease.

use std::path::PathBuf;

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::{
    cluster::client::{KubeConfigError, REACH_TIMEOUT, config, configured},
    telemetry::error_chain,
};

/// Which cluster; by default the pod's, else the kubeconfig's current context.
#[derive(Clone, Debug, Default)]
pub struct ClusterChoice {
    /// `--kubeconfig`.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`.
    pub context: Option<String>,
}

/// A cluster that answers.
pub struct OpenCluster {
    /// How it is reached.
    pub config: Config,
    /// A client to it.
    pub client: Client,
    /// Its version, such as `v1.35.4`; none where it does not tell it to this user.
    pub version: Option<String>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is not configured.
    #[error(transparent)]
    Config(#[from] KubeConfigError),
    /// The configuration holds certificates or credentials that cannot be used.
    #[error("the credentials for {address} cannot be used: {cause}")]
    Credentials {
        /// The server.
        address: String,
        /// Why.
        cause: String,
    },
    /// It answers, and serves nobody.
    #[error("the API server {address} answers with HTTP {code}: {cause}")]
    Unavailable {
        /// The server.
        address: String,
        /// The status code.
        code: u16,
        /// What it says.
        cause: String,
    },
    /// It does not answer.
    #[error("cannot reach the API server {address}: {cause}")]
    Unreachable {
        /// The server.
        address: String,
        /// Why.
        cause: String,
    },
}

/// Connects, and asks for the version, which everybody may read in most clusters.
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
        // Some clusters let nobody but administrators read it.
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
        Err(_) => Err(unreachable(format!("no answer within {} s", REACH_TIMEOUT.as_secs()))),
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
