//! A real control plane on this machine: etcd, kube-apiserver and, when asked for, kube-controller-manager.
use crate::Crds;
use std::path::PathBuf;

/// What a cluster has.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Run kube-controller-manager too: garbage collection, Deployments, service accounts.
    pub controller_manager: bool,
    /// CRDs applied before `start` returns.
    pub crds: Vec<Crds>,
    /// More flags for kube-apiserver.
    pub api_server_flags: Vec<String>,
    /// Write an audit log of every request (`Cluster::audit`).
    pub audit: bool,
}

/// A running control plane; everything of it ends when this is dropped, or when this process does.
pub struct Cluster {}

/// One request that the API server answered.
#[derive(Clone, Debug)]
pub struct AuditEntry {
    pub id: String,
    pub user: String,
    pub user_agent: String,
    pub verb: String,
    pub uri: String,
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub code: u16,
}

/// A part of the audit log.
#[derive(Clone, Debug, Default)]
pub struct Audit(pub Vec<AuditEntry>);

impl Audit {
    pub fn user(self, user: &str) -> Self {
        todo!()
    }
    pub fn user_agent(self, prefix: &str) -> Self {
        todo!()
    }
    pub fn verb(self, verb: &str) -> Self {
        todo!()
    }
    pub fn namespace(self, namespace: &str) -> Self {
        todo!()
    }
    pub fn resource(self, resource: &str) -> Self {
        todo!()
    }
    /// Only requests that change something: create, update, patch, delete.
    pub fn writes(self) -> Self {
        todo!()
    }
    pub fn len(&self) -> usize {
        self.0.len()
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Cluster {
    pub async fn start(options: Options) -> Self {
        todo!()
    }
    /// One for each test process: controller manager, audit log and every project's CRDs. Never stop its parts.
    pub async fn shared() -> &'static Self {
        todo!()
    }
    /// A fresh client (connections of its own: each test has its own runtime) as the administrator.
    pub async fn client(&self) -> kube::Client {
        todo!()
    }
    /// A client as one of the users `elpio-test-0` … `elpio-test-63`, who have no rights until a test binds some.
    pub async fn client_as(&self, user: &str) -> kube::Client {
        todo!()
    }
    pub async fn client_for(&self, kubeconfig: &std::path::Path) -> kube::Client {
        todo!()
    }
    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        todo!()
    }
    pub fn kubeconfig_for(&self, user: &str) -> PathBuf {
        todo!()
    }
    /// A kubeconfig with a fresh token of that service account.
    pub async fn kubeconfig_for_service_account(&self, namespace: &str, name: &str) -> PathBuf {
        todo!()
    }
    /// Creates a namespace with a unique name that begins with `prefix`.
    pub async fn namespace(&self, prefix: &str) -> String {
        todo!()
    }
    pub async fn apply_crds(&self, crds: &[Crds]) {
        todo!()
    }
    pub async fn stop_api_server(&self) {
        todo!()
    }
    pub async fn start_api_server(&self) {
        todo!()
    }
    /// Stops and starts the API server with these flags in place of `Options::api_server_flags`.
    pub async fn restart_api_server(&self, flags: &[&str]) {
        todo!()
    }
    /// SIGSTOP to the API server: connections stay open and nothing answers.
    pub fn pause(&self) {
        todo!()
    }
    pub fn resume(&self) {
        todo!()
    }
    /// Everything answered so far.
    pub fn audit(&self) -> Audit {
        todo!()
    }
    /// A place in the audit log, for `audit_since`.
    pub fn audit_mark(&self) -> u64 {
        todo!()
    }
    pub fn audit_since(&self, mark: u64) -> Audit {
        todo!()
    }
}
