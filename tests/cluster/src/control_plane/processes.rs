//! etcd, kube-apiserver and kube-controller-manager as processes, and their files. It sends no request to
//! them.

use std::{ffi::OsString, fmt::Write as _, fs, path::PathBuf};

use serde_json::json;

use crate::{
    components::{BuildError, ETCD, KUBE_APISERVER, KUBE_CONTROLLER_MANAGER},
    control_plane::{
        ClusterOptions, audit,
        pki::{Authority, signing_key},
    },
    process::{CommandSpec, Process, TempDir, free_port},
};

/// The administrator, a member of `system:masters`.
pub(crate) const ADMIN: &str = "admin";
/// The API server's user name when it proxies a request to an aggregated API.
const FRONT_PROXY: &str = "front-proxy";
/// The number of users without permissions: `elpio-test-0`, …
const TEST_USERS: usize = 64;

/// The binaries.
#[derive(Clone, Debug)]
pub(crate) struct Binaries {
    etcd: PathBuf,
    api_server: PathBuf,
    controller_manager: Option<PathBuf>,
}

impl Binaries {
    /// Builds those that are missing, which blocks.
    pub(crate) fn get(controller_manager: bool) -> Result<Self, BuildError> {
        Ok(Self {
            etcd: ETCD.binary()?,
            api_server: KUBE_APISERVER.binary()?,
            controller_manager: controller_manager.then(|| KUBE_CONTROLLER_MANAGER.binary()).transpose()?,
        })
    }
}

/// The processes. Fields are dropped in this order, the directory last.
pub(crate) struct ControlPlane {
    pub(crate) controller_manager: Option<Process>,
    pub(crate) api_server: Option<Process>,
    pub(crate) etcd: Process,
    binaries: Binaries,
    pub(crate) etcd_port: u16,
    port: u16,
    flags: Vec<String>,
    audit: bool,
    dir: TempDir,
}

impl ControlPlane {
    /// Starts etcd and the API server without waiting until they are ready.
    pub(crate) fn start(binaries: Binaries, options: &ClusterOptions) -> Self {
        let dir = TempDir::new("cluster");
        let (etcd_port, port) = (free_port(), free_port());
        let etcd = start_etcd(&binaries, &dir, etcd_port);
        let mut plane = Self {
            controller_manager: None,
            api_server: None,
            etcd,
            binaries,
            etcd_port,
            port,
            flags: options.api_server_flags.clone(),
            audit: options.audit,
            dir,
        };
        plane.write_files();
        plane.start_api_server();
        plane
    }

    /// The path of a file of the control plane.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The API server's address.
    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    pub(crate) fn set_flags(&mut self, flags: Vec<String>) {
        self.flags = flags;
    }

    fn write_files(&self) {
        let write = |name: &str, text: &str| {
            fs::write(self.file(name), text).expect("the cluster's directory is writable");
        };
        let authority = Authority::new("elpio-cluster");
        let server = authority.server(&["127.0.0.1", "localhost", "kubernetes.default.svc"]);
        write("ca.crt", &authority.certificate());
        write("server.crt", &server.certificate);
        write("server.key", &server.key);
        let front_proxy = Authority::new("elpio-front-proxy");
        let identity = front_proxy.client(FRONT_PROXY);
        write("front-proxy-ca.crt", &front_proxy.certificate());
        write("front-proxy.crt", &identity.certificate);
        write("front-proxy.key", &identity.key);
        let (private, public) = signing_key();
        write("sa.key", &private);
        write("sa.pub", &public);
        write("audit.yaml", audit::POLICY);

        let mut tokens = format!("token-{ADMIN},{ADMIN},{ADMIN},\"system:masters\"\n");
        for user in (0..TEST_USERS).map(test_user) {
            let _ = writeln!(tokens, "token-{user},{user},{user}");
        }
        write("tokens.csv", &tokens);
        for user in (0..TEST_USERS).map(test_user).chain([ADMIN.to_owned()]) {
            self.write_kubeconfig(&user, &format!("token-{user}"));
        }
    }

    /// Writes a kubeconfig with this token.
    pub(crate) fn write_kubeconfig(&self, user: &str, token: &str) -> PathBuf {
        let path = self.file(&format!("{}.kubeconfig", user.replace([':', '/'], "-")));
        // JSON is YAML: kubectl and every client library read it.
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "elpio", "cluster": {"server": self.url(), "certificate-authority": self.file("ca.crt")}}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "elpio", "context": {"cluster": "elpio", "user": user}}],
            "current-context": "elpio",
        });
        let text = serde_json::to_string_pretty(&config).expect("plain JSON");
        fs::write(&path, text).expect("the cluster's directory is writable");
        path
    }

    /// Stops etcd and puts one data folder in the place of another; `from` stays. The API server must not run.
    pub(crate) fn copy_etcd(&mut self, from: &str, to: &str) {
        self.etcd.kill();
        let (from, to) = (self.file(from), self.file(to));
        let _ = fs::remove_dir_all(&to);
        let copied = std::process::Command::new("cp").arg("-a").arg(&from).arg(&to).status();
        assert!(copied.is_ok_and(|status| status.success()), "{} can be copied", from.display());
        self.etcd = start_etcd(&self.binaries, &self.dir, self.etcd_port);
    }

    /// Starts the API server without waiting until it is ready.
    pub(crate) fn start_api_server(&mut self) {
        let mut args = vec![
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port),
            format!("--secure-port={}", self.port),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            "--tls-cert-file=server.crt".to_owned(),
            "--tls-private-key-file=server.key".to_owned(),
            "--cert-dir=api-server".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            "--service-account-key-file=sa.pub".to_owned(),
            "--service-account-signing-key-file=sa.key".to_owned(),
            "--token-auth-file=tokens.csv".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--allow-privileged".to_owned(),
            // Aggregated APIs authenticate the proxied user by these.
            "--proxy-client-cert-file=front-proxy.crt".to_owned(),
            "--proxy-client-key-file=front-proxy.key".to_owned(),
            "--requestheader-client-ca-file=front-proxy-ca.crt".to_owned(),
            format!("--requestheader-allowed-names={FRONT_PROXY}"),
            "--requestheader-username-headers=X-Remote-User".to_owned(),
            "--requestheader-group-headers=X-Remote-Group".to_owned(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        ];
        if self.audit {
            args.extend([
                "--audit-policy-file=audit.yaml".to_owned(),
                "--audit-log-path=audit.log".to_owned(),
            ]);
        }
        args.extend(self.flags.iter().cloned());
        self.api_server = Some(self.spawn("kube-apiserver", &self.binaries.api_server, args));
    }

    /// Starts the controller manager if requested; the API server must be ready.
    pub(crate) fn start_controller_manager(&mut self) {
        let Some(binary) = self.binaries.controller_manager.clone() else {
            return;
        };
        let kubeconfig = self.file(&format!("{ADMIN}.kubeconfig"));
        let kubeconfig = kubeconfig.display();
        let args = vec![
            format!("--kubeconfig={kubeconfig}"),
            format!("--authentication-kubeconfig={kubeconfig}"),
            format!("--authorization-kubeconfig={kubeconfig}"),
            "--service-account-private-key-file=sa.key".to_owned(),
            "--root-ca-file=ca.crt".to_owned(),
            "--use-service-account-credentials=false".to_owned(),
            "--leader-elect=false".to_owned(),
            format!("--secure-port={}", free_port()),
            "--bind-address=127.0.0.1".to_owned(),
            "--cert-dir=controller-manager".to_owned(),
            "--controllers=*".to_owned(),
            // A test that creates 200 objects must not be limited by client-side throttling.
            "--kube-api-qps=500".to_owned(),
            "--kube-api-burst=1000".to_owned(),
            // The CPU usage of a simulated pod is valid from its first second.
            "--horizontal-pod-autoscaler-sync-period=5s".to_owned(),
            "--horizontal-pod-autoscaler-initial-readiness-delay=1s".to_owned(),
            "--horizontal-pod-autoscaler-cpu-initialization-period=1s".to_owned(),
        ];
        self.controller_manager = Some(self.spawn("kube-controller-manager", &binary, args));
    }

    fn spawn(&self, name: &str, program: &std::path::Path, args: Vec<String>) -> Process {
        start(&self.dir, name, program, args)
    }
}

fn start_etcd(binaries: &Binaries, dir: &TempDir, port: u16) -> Process {
    let client = format!("http://127.0.0.1:{port}");
    let peer = format!("http://127.0.0.1:{}", free_port());
    let args = vec![
        "--data-dir=etcd".to_owned(),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        // The data is temporary.
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ];
    start(dir, "etcd", &binaries.etcd, args)
}

fn start(dir: &TempDir, name: &str, program: &std::path::Path, args: Vec<String>) -> Process {
    Process::spawn(CommandSpec {
        name,
        program,
        args: args.into_iter().map(OsString::from).collect(),
        env: Vec::new(),
        env_removed: &[],
        dir: dir.path(),
    })
    .expect("the component can be started")
}

fn test_user(number: usize) -> String {
    format!("elpio-test-{number}")
}
