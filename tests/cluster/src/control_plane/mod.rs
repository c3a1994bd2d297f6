//! A real control plane on this machine: etcd, kube-apiserver and, on request, kube-controller-manager. It
//! runs no nodes.

pub mod audit;
mod clients;
pub mod crds;
pub mod edit;
pub(crate) mod manifest;
pub mod pki;
pub(crate) mod processes;
pub mod rbac;
pub mod samples;

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use k8s_openapi::{
    ByteString,
    api::core::v1::{Namespace, ServiceAccount},
};
use kube::api::{Api, ObjectMeta, PostParams};
use nix::sys::signal::Signal;
use tokio::sync::OnceCell;

use crate::{
    Crds,
    control_plane::processes::{Binaries, ControlPlane},
    eventually,
    process::{self, Process, unique},
    progress::print,
    units,
};

/// Long enough for a machine that is building something else.
const START_TIMEOUT: Duration = Duration::from_mins(2);
/// A slower start is reported.
const SLOW_START: Duration = Duration::from_secs(10);

/// What a cluster consists of.
#[derive(Clone, Debug, Default)]
pub struct ClusterOptions {
    /// Run kube-controller-manager too: garbage collection, Deployments, service accounts, deletion of
    /// namespaces.
    pub controller_manager: bool,
    /// CRDs to apply before `start` returns.
    pub crds: Vec<Crds>,
    /// Additional flags for kube-apiserver, such as `--max-requests-inflight=1`.
    pub api_server_flags: Vec<String>,
    /// Log every request ([`Cluster::audit`]).
    pub audit: bool,
}

impl ClusterOptions {
    /// Everything, as in [`Cluster::shared`].
    #[must_use]
    pub fn full() -> Self {
        Self { controller_manager: true, crds: Crds::ALL.to_vec(), api_server_flags: Vec::new(), audit: true }
    }
}

/// A running control plane; it ends on drop, and with this process.
///
/// RBAC is on. There are no nodes: pods stay `Pending`.
pub struct Cluster {
    processes: Mutex<ControlPlane>,
    controller_manager: bool,
}

impl Cluster {
    /// Starts a control plane and waits until it is ready.
    ///
    /// # Panics
    /// If a component cannot be built or started, with the reason or its log.
    pub async fn start(options: ClusterOptions) -> Self {
        let controller_manager = options.controller_manager;
        let binaries = tokio::task::spawn_blocking(move || Binaries::get(controller_manager))
            .await
            .expect("not cancelled")
            .unwrap_or_else(|error| panic!("{error}"));
        let start = Instant::now();
        let cluster =
            Self { processes: Mutex::new(ControlPlane::start(binaries, &options)), controller_manager };
        cluster.wait_for_api_server().await;
        let ready = start.elapsed();
        cluster.apply_crds(&options.crds).await;
        let crds = start.elapsed().saturating_sub(ready);
        cluster.lock().start_controller_manager();
        cluster.wait_for_controller_manager().await;
        if start.elapsed() > SLOW_START {
            print(format_args!(
                "     Started a control plane in {} (API server {}, CRDs {})",
                units::duration(start.elapsed()),
                units::duration(ready),
                units::duration(crds)
            ));
        }
        cluster
    }

    /// One control plane per test process, with everything. Tests must not stop its parts, because other
    /// tests use it at the same time.
    ///
    /// # Panics
    /// As [`Cluster::start`].
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Cluster> = OnceCell::const_new();
        SHARED.get_or_init(|| Self::start(ClusterOptions::full())).await
    }

    /// Creates a namespace with a unique name that starts with `prefix`, with its default service account if
    /// the controller manager runs.
    ///
    /// # Panics
    /// If the API server rejects it.
    pub async fn namespace(&self, prefix: &str) -> String {
        let client = self.client().await;
        let name = format!("{prefix}-{}", unique());
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        let namespaces: Api<Namespace> = Api::all(client.clone());
        namespaces.create(&PostParams::default(), &namespace).await.expect("a namespace");
        if self.controller_manager {
            wait_for_default_service_account(client, &name).await;
        }
        name
    }

    /// Applies CRDs and waits until they are served.
    ///
    /// # Panics
    /// If the API server rejects one.
    pub async fn apply_crds(&self, crds: &[Crds]) {
        if crds.is_empty() {
            return;
        }
        let client = self.client().await;
        futures::future::join_all(crds.iter().map(|crds| crds.apply(&client))).await;
    }

    /// Shuts the API server down (SIGTERM); etcd keeps the data. Connections are closed, and then refused.
    ///
    /// # Panics
    /// If it is not running.
    pub async fn stop_api_server(&self) {
        let mut process = self.lock().api_server.take().expect("the API server is running");
        process.terminate(Duration::from_secs(5)).await;
    }

    /// Starts the API server again on the same port, and waits until it is ready.
    ///
    /// # Panics
    /// If it is running already, or ends.
    pub async fn start_api_server(&self) {
        assert!(self.lock().api_server.is_none(), "the API server is running already");
        self.lock().start_api_server();
        self.wait_for_api_server().await;
    }

    /// Restarts the API server with these flags instead of [`ClusterOptions::api_server_flags`].
    ///
    /// # Panics
    /// As [`Cluster::stop_api_server`] and [`Cluster::start_api_server`].
    pub async fn restart_api_server(&self, flags: &[&str]) {
        self.stop_api_server().await;
        self.lock().set_flags(flags.iter().map(|&flag| flag.to_owned()).collect());
        self.start_api_server().await;
    }

    /// Writes a value into etcd, as the API server would have stored it: JSON, which it reads for every kind.
    ///
    /// # Panics
    /// If etcd rejects it.
    pub async fn put_into_etcd(&self, key: &str, value: &str) {
        let port = self.lock().etcd_port;
        let base64 = |text: &str| serde_json::to_value(ByteString(text.as_bytes().to_vec())).expect("base64");
        let body = serde_json::json!({"key": base64(key), "value": base64(value)}).to_string();
        let answer = process::http::send_body(port, "POST", "/v3/kv/put", "application/json", &body).await;
        assert!(answer.as_ref().is_ok_and(|answer| answer.status == 200), "{key}: {answer:?}");
    }

    /// Takes a backup of etcd. The API server is stopped meanwhile.
    ///
    /// # Panics
    /// When the API server does not run, or the directory cannot be copied.
    pub async fn save_etcd(&self) {
        self.stop_api_server().await;
        self.lock().copy_etcd("etcd", "etcd-saved");
        self.start_api_server().await;
    }

    /// Restores that backup: resourceVersions go backwards.
    ///
    /// # Panics
    /// As [`Cluster::save_etcd`].
    pub async fn restore_etcd(&self) {
        self.stop_api_server().await;
        self.lock().copy_etcd("etcd-saved", "etcd");
        self.start_api_server().await;
    }

    /// Sends SIGSTOP to the API server: connections stay open, and requests are not answered.
    ///
    /// # Panics
    /// If it is not running.
    pub fn pause_api_server(&self) {
        self.signal_api_server(Signal::SIGSTOP);
    }

    /// Undoes [`Cluster::pause_api_server`].
    ///
    /// # Panics
    /// If it is not running.
    pub fn resume_api_server(&self) {
        self.signal_api_server(Signal::SIGCONT);
    }

    /// The API server's URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.lock().url()
    }

    /// Whether kube-controller-manager is running.
    #[must_use]
    pub fn has_controller_manager(&self) -> bool {
        self.controller_manager
    }

    /// The process ids of etcd, the API server and the controller manager.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        let processes = self.lock();
        [Some(&processes.etcd), processes.api_server.as_ref(), processes.controller_manager.as_ref()]
            .into_iter()
            .flatten()
            .map(Process::pid)
            .collect()
    }

    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, ControlPlane> {
        // A test that panicked while holding the lock has reported why.
        self.processes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn signal_api_server(&self, signal: Signal) {
        self.lock().api_server.as_ref().expect("the API server is running").signal(signal);
    }

    async fn wait_for_api_server(&self) {
        let client = self.client().await;
        eventually("the API server is ready", START_TIMEOUT, async || {
            {
                let mut processes = self.lock();
                processes.etcd.assert_running();
                processes.api_server.as_mut().expect("it has been started").assert_running();
            }
            let request = http::Request::get("/readyz").body(Vec::new()).expect("a request");
            client.request_text(request).await.map_err(|error| error.to_string())
        })
        .await;
    }

    async fn wait_for_controller_manager(&self) {
        if !self.controller_manager {
            return;
        }
        let client = self.client().await;
        let accounts: Api<ServiceAccount> = Api::namespaced(client, "default");
        eventually("the controller manager is running", START_TIMEOUT, async || {
            self.lock().controller_manager.as_mut().expect("it has been started").assert_running();
            accounts.get("default").await.map_err(|error| error.to_string())
        })
        .await;
    }
}

async fn wait_for_default_service_account(client: kube::Client, namespace: &str) {
    let accounts: Api<ServiceAccount> = Api::namespaced(client, namespace);
    let what = format!("{namespace} has a default service account");
    eventually(&what, START_TIMEOUT, async || {
        accounts.get("default").await.map_err(|error| error.to_string())
    })
    .await;
}
