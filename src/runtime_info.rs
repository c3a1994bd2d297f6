//! The identity and location of this process: pod, node, namespace, cluster. Read once, from the downward
//! API's variables and the service account.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, Config, config::Kubeconfig};

use crate::telemetry::Identity;

/// The timeout for reading the cluster's uid.
const CLUSTER_UID_TIMEOUT: Duration = Duration::from_secs(2);

/// Where this process runs.
#[derive(Clone, Debug)]
pub struct RuntimeInfo {
    /// Whether it runs in a pod with a service account.
    pub in_cluster: bool,
    /// The pod's namespace, or outside a cluster the kubeconfig's.
    pub namespace: String,
}

fn env_var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Determines where this process runs, by the same rules as its client configuration.
pub fn runtime_info(config: &Config) -> RuntimeInfo {
    let in_cluster = env_var("KUBERNETES_SERVICE_HOST").is_some() && env_var("KUBECONFIG").is_none();
    RuntimeInfo {
        in_cluster,
        namespace: env_var("POD_NAMESPACE").unwrap_or_else(|| config.default_namespace.clone()),
    }
}

/// The pod's or host's name: the reporting instance of Events.
pub fn reporting_instance() -> String {
    env_var("POD_NAME")
        .or_else(|| env_var("HOSTNAME"))
        .or_else(hostname)
        .unwrap_or_else(|| "elpio-operator".to_owned())
}

fn hostname() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
}

/// The API server and the source of its address, for display.
#[derive(Clone, Debug)]
pub struct ServerInfo {
    address: String,
    source: String,
}

impl std::fmt::Display for ServerInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.address, self.source)
    }
}

impl RuntimeInfo {
    /// The API server of this configuration.
    #[must_use]
    pub fn server(&self, config: &Config) -> ServerInfo {
        let source = match Kubeconfig::read() {
            Err(_) => "the pod's service account".to_owned(),
            Ok(kubeconfig) => {
                let file = env_var("KUBECONFIG").unwrap_or_else(|| "~/.kube/config".to_owned());
                format!("context {} of {file}", kubeconfig.current_context.unwrap_or_default())
            }
        };
        ServerInfo { address: config.cluster_url.to_string().trim_end_matches('/').to_owned(), source }
    }

    /// A unique identity for leader election: two processes may share a host.
    #[must_use]
    pub fn lease_identity(&self) -> String {
        let unique = std::fs::read_to_string("/proc/sys/kernel/random/uuid")
            .map_or_else(|_| std::process::id().to_string(), |id| id.trim().to_owned());
        format!("{}_{unique}", reporting_instance())
    }

    /// The identity of this process for telemetry.
    #[must_use]
    pub fn telemetry_identity(&self, cluster_uid: Option<String>) -> Identity {
        Identity {
            version: env!("CARGO_PKG_VERSION"),
            revision: env!("ELPIO_REVISION"),
            rustc: env!("ELPIO_RUSTC"),
            namespace: self.in_cluster.then(|| self.namespace.clone()),
            pod_name: env_var("POD_NAME").or_else(|| self.in_cluster.then(hostname).flatten()),
            pod_uid: env_var("POD_UID"),
            node_name: env_var("NODE_NAME"),
            cluster_uid,
        }
    }
}

/// The uid of `kube-system`, which identifies the cluster. Uses a plain client, because telemetry does not
/// exist yet.
pub async fn cluster_uid(config: &Config) -> Option<String> {
    let client = Client::try_from(config.clone()).ok()?;
    let api: Api<Namespace> = Api::all(client);
    let found =
        tokio::time::timeout(CLUSTER_UID_TIMEOUT, api.get_metadata("kube-system")).await.ok()?.ok()?;
    found.metadata.uid
}
