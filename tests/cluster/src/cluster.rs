//! A real control plane on this machine: etcd, kube-apiserver and, when asked for, kube-controller-manager.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{Namespace, ServiceAccount},
};
use kube::{
    api::{Api, ObjectMeta, PostParams},
    config::{Config, KubeConfigOptions, Kubeconfig},
};
use nix::sys::signal::Signal;
use tokio::sync::OnceCell;

use crate::{
    Crds,
    control_plane::{ADMIN, Binaries, ControlPlane},
    process::{Process, unique},
    report::say,
    wait::eventually,
};

pub use crate::audit::{Audit, AuditEntry};

/// Long enough for a machine that builds something else at the same time.
const START: Duration = Duration::from_mins(2);
/// A start slower than this is told.
const SLOW: Duration = Duration::from_secs(10);

/// What a cluster has.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Run kube-controller-manager too: garbage collection, Deployments, service accounts, the end of
    /// namespaces.
    pub controller_manager: bool,
    /// CRDs applied before `start` returns.
    pub crds: Vec<Crds>,
    /// More flags for kube-apiserver, such as `--max-requests-inflight=1`.
    pub api_server_flags: Vec<String>,
    /// Write an audit log of every request ([`Cluster::audit`]).
    pub audit: bool,
}

impl Options {
    /// Everything: what [`Cluster::shared`] has.
    #[must_use]
    pub fn full() -> Self {
        Self { controller_manager: true, crds: Crds::ALL.to_vec(), api_server_flags: Vec::new(), audit: true }
    }
}

/// A running control plane; everything of it ends when this is dropped, or when this process does.
///
/// RBAC is on. Nobody plays the node: pods stay `Pending`.
pub struct Cluster {
    plane: Mutex<ControlPlane>,
    controller_manager: bool,
}

impl Cluster {
    /// Starts one; ready for use when this returns.
    ///
    /// # Panics
    /// When a component cannot be built or started, with the reason or its log.
    pub async fn start(options: Options) -> Self {
        let controller_manager = options.controller_manager;
        let binaries = tokio::task::spawn_blocking(move || Binaries::get(controller_manager))
            .await
            .expect("not cancelled")
            .unwrap_or_else(|error| panic!("{error}"));
        let start = Instant::now();
        let cluster = Self { plane: Mutex::new(ControlPlane::start(binaries, &options)), controller_manager };
        cluster.wait_for_api_server().await;
        let ready = start.elapsed();
        cluster.apply_crds(&options.crds).await;
        let crds = start.elapsed().saturating_sub(ready);
        cluster.plane().start_controller_manager();
        cluster.wait_for_controller_manager().await;
        if start.elapsed() > SLOW {
            say(format_args!(
                "     Started a control plane in {:.1?} (API server {ready:.1?}, CRDs {crds:.1?})",
                start.elapsed()
            ));
        }
        cluster
    }

    /// One for each test process, with everything. Its parts must not be stopped: other tests use it at the
    /// same time.
    ///
    /// # Panics
    /// As [`Cluster::start`].
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Cluster> = OnceCell::const_new();
        SHARED.get_or_init(|| Self::start(Options::full())).await
    }

    /// A fresh client as the administrator. It has connections of its own, as each test has its own runtime.
    ///
    /// # Panics
    /// When the kubeconfig has gone.
    pub async fn client(&self) -> kube::Client {
        self.client_for(&self.kubeconfig()).await
    }

    /// A client as one of the users `elpio-test-0` … `elpio-test-63`, who have no rights until a test binds
    /// some.
    ///
    /// # Panics
    /// When there is no such user.
    pub async fn client_as(&self, user: &str) -> kube::Client {
        self.client_for(&self.kubeconfig_for(user)).await
    }

    /// A client of that kubeconfig, which answers the API server's errors at once (kube's own retries are
    /// off).
    ///
    /// # Panics
    /// When it cannot be read.
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
    /// When there is no such user.
    #[must_use]
    pub fn kubeconfig_for(&self, user: &str) -> PathBuf {
        let path = self.plane().file(&format!("{user}.kubeconfig"));
        assert!(path.is_file(), "no user {user}: there are admin and elpio-test-0 to elpio-test-63");
        path
    }

    /// A kubeconfig with a fresh token of that service account, which has to be there.
    ///
    /// # Panics
    /// When it is not.
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
        self.plane().write_kubeconfig(&format!("system:serviceaccount:{namespace}:{name}"), &token)
    }

    /// Creates a namespace with a unique name that begins with `prefix`; ready for pods when the controller
    /// manager runs.
    ///
    /// # Panics
    /// When the API server refuses.
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
    /// When the API server refuses one.
    pub async fn apply_crds(&self, crds: &[Crds]) {
        if crds.is_empty() {
            return;
        }
        let client = self.client().await;
        futures::future::join_all(crds.iter().map(|crds| crds.apply(&client))).await;
    }

    /// Ends the API server in order (SIGTERM); etcd keeps the data. Connections are closed, and refused after
    /// that.
    ///
    /// # Panics
    /// When it does not run.
    pub async fn stop_api_server(&self) {
        let mut process = self.plane().api_server.take().expect("the API server runs");
        process.terminate(Duration::from_secs(5)).await;
    }

    /// Starts it again on the same port, and waits until it is ready.
    ///
    /// # Panics
    /// When it runs already, or dies.
    pub async fn start_api_server(&self) {
        assert!(self.plane().api_server.is_none(), "the API server runs already");
        self.plane().start_api_server();
        self.wait_for_api_server().await;
    }

    /// Stops and starts the API server with these flags in place of [`Options::api_server_flags`].
    ///
    /// # Panics
    /// As the two.
    pub async fn restart_api_server(&self, flags: &[&str]) {
        self.stop_api_server().await;
        self.plane().set_flags(flags.iter().map(|&flag| flag.to_owned()).collect());
        self.start_api_server().await;
    }

    /// Takes a backup of etcd. The API server is away meanwhile.
    ///
    /// # Panics
    /// When it does not run, or the folder cannot be copied.
    pub async fn save_etcd(&self) {
        self.stop_api_server().await;
        self.plane().copy_etcd("etcd", "etcd-saved");
        self.start_api_server().await;
    }

    /// Restores that backup: resourceVersions go backwards.
    ///
    /// # Panics
    /// As [`Cluster::save_etcd`].
    pub async fn restore_etcd(&self) {
        self.stop_api_server().await;
        self.plane().copy_etcd("etcd-saved", "etcd");
        self.start_api_server().await;
    }

    /// SIGSTOP to the API server: connections stay open and nothing answers.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pause(&self) {
        self.signal_api_server(Signal::SIGSTOP);
    }

    /// The end of [`Cluster::pause`].
    ///
    /// # Panics
    /// When it does not run.
    pub fn resume(&self) {
        self.signal_api_server(Signal::SIGCONT);
    }

    /// Everything answered so far.
    ///
    /// # Panics
    /// Without [`Options::audit`].
    #[must_use]
    pub fn audit(&self) -> Audit {
        self.audit_since(0)
    }

    /// A place in the audit log, for [`Cluster::audit_since`].
    ///
    /// # Panics
    /// Without [`Options::audit`].
    #[must_use]
    pub fn audit_mark(&self) -> u64 {
        let path = self.plane().file("audit.log");
        path.metadata().expect("the audit log is on").len()
    }

    /// What was answered since then.
    ///
    /// # Panics
    /// Without [`Options::audit`].
    #[must_use]
    pub fn audit_since(&self, mark: u64) -> Audit {
        let path = self.plane().file("audit.log");
        Audit::read(&path, mark)
    }

    /// The API server's address.
    #[must_use]
    pub fn url(&self) -> String {
        self.plane().url()
    }

    /// Whether kube-controller-manager runs.
    #[must_use]
    pub fn has_controller_manager(&self) -> bool {
        self.controller_manager
    }

    /// The API server's own log.
    #[must_use]
    pub fn api_server_log(&self) -> String {
        self.plane().api_server.as_ref().map(Process::log).unwrap_or_default()
    }

    /// The processes' ids: etcd, the API server, the controller manager.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        let plane = self.plane();
        [Some(&plane.etcd), plane.api_server.as_ref(), plane.controller_manager.as_ref()]
            .into_iter()
            .flatten()
            .map(Process::pid)
            .collect()
    }

    fn plane(&self) -> std::sync::MutexGuard<'_, ControlPlane> {
        // A test that panicked with the lock held has said why.
        self.plane.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn signal_api_server(&self, signal: Signal) {
        self.plane().api_server.as_ref().expect("the API server runs").signal(signal);
    }

    async fn wait_for_api_server(&self) {
        let client = self.client().await;
        eventually("the API server is ready", START, async || {
            {
                let mut plane = self.plane();
                plane.etcd.assert_running();
                plane.api_server.as_mut().expect("just started").assert_running();
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
        eventually("the controller manager works", START, async || {
            self.plane().controller_manager.as_mut().expect("just started").assert_running();
            accounts.get("default").await.map_err(|error| error.to_string())
        })
        .await;
    }
}

async fn wait_for_default_service_account(client: kube::Client, namespace: &str) {
    let accounts: Api<ServiceAccount> = Api::namespaced(client, namespace);
    let what = format!("{namespace} has a default service account");
    eventually(&what, START, async || accounts.get("default").await.map_err(|error| error.to_string())).await;
}
