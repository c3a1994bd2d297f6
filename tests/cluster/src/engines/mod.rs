//! The engines' own controllers as processes, with pods that KWOK simulates; [`fake`] replaces them where
//! they cannot run. They may run inside [`crate::netns`] only.
//!
//! Words in a simulated pod's spec decide what happens to it, so that they work for objects that the operator
//! creates:
//!
//! | word | where | effect |
//! |---|---|---|
//! | `kwok-nopull` | an image's name | the image cannot be pulled (Knative reports it after its progress deadline of minutes) |
//! | `kwok-crash` | an image's name | the container exits immediately and repeatedly |
//! | `kwok-fail` | an image, argument or environment variable of a Tekton step | the task fails |
//! | `kwok-hold` | an image, argument or environment variable of a Tekton step | the task runs until [`tekton::finish_task`] |
//!
//! A function's source revision is passed to its task `fetch`, its image and builder to `build`. For a
//! `PipelineRun` that a test creates, see the annotations in [`tekton`]. The annotation
//! `kwok.x-k8s.io/usage-cpu` sets a pod's CPU usage.

mod admission;
mod aggregated;
pub mod fake;
mod http_add_on;
mod keda;
mod knative;
pub mod kubelet;
mod kwok;
mod metrics_server;
pub mod pods;
pub mod tekton;

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{
    Cluster, Crds,
    components::{BuildError, Component, module_dir},
    control_plane::{
        pki::{Authority, Identity},
        processes::Binaries,
    },
    process::{CommandSpec, Process, TempDir, free_port},
    progress::print,
    units,
};

/// How long a component may take to become ready on a busy machine.
const START_TIMEOUT: Duration = Duration::from_mins(2);

/// The port on which the controllers of Knative and Tekton serve probes. They run without it, but Knative's
/// autoscaler, which uses it for statistics, exits silently if it is taken: the autoscaler must start first.
const PROBE_PORT: u16 = 8080;

/// A project whose real controllers can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Tekton Pipelines: controller and webhook.
    Tekton,
    /// Knative Serving: controller, autoscaler and webhook.
    Knative,
    /// KEDA: operator and metrics adapter; its HTTP add-on: operator, scaler and interceptor.
    Keda,
    /// metrics-server: what KEDA's cpu trigger scales by.
    MetricsServer,
}

impl Engine {
    /// All engines.
    pub const ALL: [Self; 4] = [Self::Tekton, Self::Knative, Self::Keda, Self::MetricsServer];

    /// The name of its project.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tekton => "Tekton Pipelines",
            Self::Knative => "Knative Serving",
            Self::Keda => "KEDA with its HTTP add-on",
            Self::MetricsServer => "metrics-server",
        }
    }

    fn components(self) -> &'static [Component] {
        match self {
            Self::Tekton => &tekton::COMPONENTS,
            Self::Knative => &knative::COMPONENTS,
            Self::Keda => &keda::COMPONENTS,
            Self::MetricsServer => &metrics_server::COMPONENTS,
        }
    }

    /// The modules with its manifests.
    fn modules(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Tekton => &tekton::MODULES,
            Self::Knative => &knative::MODULES,
            Self::Keda | Self::MetricsServer => &[],
        }
    }

    fn crds(self) -> &'static [Crds] {
        match self {
            Self::Tekton => &[Crds::TEKTON],
            Self::Knative => &[Crds::KNATIVE, Crds::KNATIVE_NETWORKING, Crds::KNATIVE_CACHING],
            Self::Keda => &[Crds::KEDA, Crds::HTTP_ADD_ON],
            Self::MetricsServer => &[],
        }
    }

    /// Its KWOK Stages.
    fn stages(self) -> String {
        match self {
            Self::Tekton => tekton::stages(),
            Self::Knative => knative::STAGES.to_owned(),
            Self::Keda | Self::MetricsServer => String::new(),
        }
    }

    async fn start(self, host: &Host<'_>) -> Vec<Process> {
        match self {
            Self::Tekton => tekton::start(host).await,
            Self::Knative => knative::start(host).await,
            Self::Keda => keda::start(host).await,
            Self::MetricsServer => metrics_server::start(host).await,
        }
    }
}

/// Builds and downloads everything that a cluster with these engines needs, which takes minutes the first
/// time. Call it before [`crate::netns::enter`]: there is no network inside.
///
/// # Errors
/// See [`BuildError`].
pub fn fetch(engines: &[Engine]) -> Result<(), BuildError> {
    Binaries::get(true)?;
    Crds::ALL.iter().try_for_each(Crds::fetch)?;
    kwok::fetch()?;
    for engine in engines {
        engine.components().iter().try_for_each(|component| component.binary().map(drop))?;
        engine.modules().iter().try_for_each(|(path, version)| module_dir(path, version).map(drop))?;
        engine.crds().iter().try_for_each(Crds::fetch)?;
    }
    Ok(())
}

/// The programs of these engines, including those that simulate the node.
#[must_use]
pub fn components(engines: &[Engine]) -> Vec<Component> {
    kwok::COMPONENTS.iter().chain(engines.iter().flat_map(|engine| engine.components())).copied().collect()
}

/// Running engines; they end on drop, and with this process.
#[derive(Debug)]
pub struct Engines {
    processes: Vec<Process>,
    interceptor_port: u16,
    _dir: TempDir,
}

impl Engines {
    /// Starts the scheduler, KWOK with one node, and the engines with their CRDs, and waits until all are
    /// ready. The cluster needs its controller manager.
    ///
    /// # Panics
    /// If a component cannot be started, or is not ready in time, with its log.
    pub async fn start(cluster: &Cluster, engines: &[Engine]) -> Self {
        assert!(cluster.has_controller_manager(), "the engines need the controller manager");
        let dir = TempDir::new("engines");
        let host = Host {
            client: cluster.client().await,
            kubeconfig: cluster.kubeconfig(),
            dir: dir.path(),
            interceptor_port: free_port(),
            probe_port: watch::Sender::new(!engines.contains(&Engine::Knative)),
        };
        // Before KWOK, which discovers the kinds of its Stages once.
        let crds: Vec<Crds> = engines.iter().flat_map(|engine| engine.crds()).copied().collect();
        cluster.apply_crds(&crds).await;
        let stages: Vec<String> = engines.iter().map(|engine| engine.stages()).collect();
        let nodes = timed("a node", kwok::start(&host, &stages));
        let started = engines.iter().map(|engine| timed(engine.name(), engine.start(&host)));
        let (mut processes, started) = futures::future::join(nodes, futures::future::join_all(started)).await;
        processes.extend(started.into_iter().flatten());
        Self { processes, interceptor_port: host.interceptor_port, _dir: dir }
    }

    /// Checks that no process has ended.
    ///
    /// # Panics
    /// If one has, with its log.
    pub fn assert_running(&mut self) {
        self.processes.iter_mut().for_each(Process::assert_running);
    }

    /// The port of the HTTP add-on's interceptor, on all addresses.
    #[must_use]
    pub fn interceptor_port(&self) -> u16 {
        self.interceptor_port
    }

    /// The log of a process: `kwok`, `kube-scheduler`, `tekton-controller`, …
    ///
    /// # Panics
    /// If there is no process of this name.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        self.processes
            .iter()
            .find(|process| process.name() == name)
            .unwrap_or_else(|| panic!("no process {name}"))
            .log()
    }
}

/// What all engines need to start.
struct Host<'a> {
    client: kube::Client,
    /// The administrator's kubeconfig.
    kubeconfig: PathBuf,
    dir: &'a Path,
    interceptor_port: u16,
    /// Whether [`PROBE_PORT`] may be taken by any process.
    probe_port: watch::Sender<bool>,
}

impl Host<'_> {
    /// Waits until [`PROBE_PORT`] may be taken.
    async fn wait_for_probe_port(&self) {
        // The sender outlives this wait.
        let _ = self.probe_port.subscribe().wait_for(|taken| *taken).await;
    }

    /// Starts a program whose binary [`fetch`] has built.
    fn spawn(&self, component: &Component, args: Vec<String>, env: &[(&str, String)]) -> Process {
        let program = component.binary().unwrap_or_else(|error| panic!("{error}"));
        let spawned = Process::spawn(CommandSpec {
            name: component.name,
            program: &program,
            args: args.into_iter().map(OsString::from).collect(),
            env: env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect(),
            env_removed: &["OTEL_", "ELPIO_"],
            dir: self.dir,
        });
        spawned.unwrap_or_else(|error| panic!("{}: {error}", component.name))
    }

    /// The kubeconfig as text.
    fn kubeconfig(&self) -> String {
        self.kubeconfig.display().to_string()
    }
}

/// Writes a certificate, its key and its CA into a directory, under the usual file names.
fn write_identity(host: &Host<'_>, name: &str, authority: &Authority, identity: &Identity) -> PathBuf {
    let dir = host.dir.join(name);
    fs::create_dir_all(&dir).expect("the directory is writable");
    for (file, text) in [
        ("ca.crt", authority.certificate()),
        ("tls.crt", identity.certificate.clone()),
        ("tls.key", identity.key.clone()),
    ] {
        fs::write(dir.join(file), text).expect("the directory is writable");
    }
    dir
}

async fn timed<T>(what: &str, start: impl Future<Output = T>) -> T {
    let begin = Instant::now();
    let started = start.await;
    print(format_args!("     Started {what} in {}", units::duration(begin.elapsed())));
    started
}
