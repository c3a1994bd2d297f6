//! How tests reach a cluster: kubeconfigs and clients of its users, and the audit log of what they requested.
//! It changes nothing in the cluster.

use std::path::{Path, PathBuf};

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{
    api::{Api, PostParams},
    config::{Config, KubeConfigOptions, Kubeconfig},
};

use crate::control_plane::{Cluster, audit::Audit, processes::ADMIN};

impl Cluster {
    /// A new client for the administrator. It has its own connections, because each test has its own runtime.
    ///
    /// # Panics
    /// If the kubeconfig cannot be read.
    pub async fn client(&self) -> kube::Client {
        self.client_for(&self.kubeconfig()).await
    }

    /// A client for one of the users `elpio-test-0` … `elpio-test-63`, who have no permissions until a test
    /// binds some.
    ///
    /// # Panics
    /// If there is no such user.
    pub async fn client_as(&self, user: &str) -> kube::Client {
        self.client_for(&self.kubeconfig_for(user)).await
    }

    /// A client for this kubeconfig that returns the API server's errors at once (kube's retries are off).
    ///
    /// # Panics
    /// If it cannot be read.
    pub async fn client_for(&self, kubeconfig: &Path) -> kube::Client {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .expect("a complete kubeconfig");
        config.default_retry = false;
        kube::Client::try_from(config).expect("a client")
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig_for(ADMIN)
    }

    /// The kubeconfig of a user, see [`Cluster::client_as`].
    ///
    /// # Panics
    /// If there is no such user.
    #[must_use]
    pub fn kubeconfig_for(&self, user: &str) -> PathBuf {
        let path = self.lock().file(&format!("{user}.kubeconfig"));
        assert!(path.is_file(), "no user {user}: there are admin and elpio-test-0 to elpio-test-63");
        path
    }

    /// A kubeconfig with a new token for this service account.
    ///
    /// # Panics
    /// If the service account does not exist.
    pub async fn kubeconfig_for_service_account(&self, namespace: &str, name: &str) -> PathBuf {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await, namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(86_400), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .unwrap_or_else(|error| panic!("a token for {namespace}/{name}: {error}"));
        let token = answer.status.expect("a token").token;
        self.lock().write_kubeconfig(&format!("system:serviceaccount:{namespace}:{name}"), &token)
    }

    /// All requests answered so far.
    ///
    /// # Panics
    /// Without [`ClusterOptions::audit`].
    #[must_use]
    pub fn audit(&self) -> Audit {
        self.audit_since(0)
    }

    /// The current end of the audit log, for [`Cluster::audit_since`].
    ///
    /// # Panics
    /// Without [`ClusterOptions::audit`].
    #[must_use]
    pub fn audit_offset(&self) -> u64 {
        let path = self.lock().file("audit.log");
        path.metadata().expect("the audit log is on").len()
    }

    /// The requests answered since that offset.
    ///
    /// # Panics
    /// Without [`ClusterOptions::audit`].
    #[must_use]
    pub fn audit_since(&self, offset: u64) -> Audit {
        let path = self.lock().file("audit.log");
        Audit::read(&path, offset)
    }
}
