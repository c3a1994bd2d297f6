//! The engines' own controllers as processes, with pods that KWOK plays. Only inside [`crate::netns`]; one
//! file for each project.
//!
//! What becomes of a simulated pod is said by words in what it runs, so that it can be said of objects which
//! the operator makes:
//!
//! | word | where | what happens |
//! |---|---|---|
//! | `kwok-nopull` | an image's name | the image cannot be pulled (Knative says so after its progress deadline of minutes) |
//! | `kwok-crash` | an image's name | the program ends at once, again and again |
//! | `kwok-fail` | an image, argument or environment variable of a Tekton step | the task fails |
//! | `kwok-hold` | the same | the steps run until [`tekton::release`] says how they end |
//!
//! The revision of a function's source reaches its task `fetch`, its image and its builder reach `build`. For
//! runs made by hand there are the annotations of [`tekton`]. What a pod uses, as metrics-server measures it,
//! is said by its annotation `kwok.x-k8s.io/usage-cpu`.

mod admission;
mod aggregated;
mod http_add_on;
mod keda;
mod knative;
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
    components::{BuildError, Component, module_folder},
    control_plane::Binaries,
    pki::{Authority, Identity},
    process::{Folder, Process, Spec, free_port},
    report::say,
};

/// How long a part of an engine may take to be ready, on a machine that builds something at the same time.
const START: Duration = Duration::from_mins(2);

/// The port that the controllers of Knative and Tekton open to be probed. They go on without it; Knative's
/// autoscaler, which has it for its statistics, ends, and says nothing: it has to be first.
const PROBES_PORT: u16 = 8080;

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
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Tekton, Self::Knative, Self::Keda, Self::MetricsServer];

    /// What its project is called.
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

    /// The modules whose manifests it is installed from.
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

    /// What KWOK has to play for it.
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

/// Builds and downloads everything that a cluster with these engines needs; blocks for minutes the first
/// time. For [`crate::netns::enter`]: inside there is no network to get anything from.
///
/// # Errors
/// See [`BuildError`].
pub fn fetch(engines: &[Engine]) -> Result<(), BuildError> {
    Binaries::get(true)?;
    Crds::ALL.iter().try_for_each(Crds::fetch)?;
    kwok::fetch()?;
    for engine in engines {
        engine.components().iter().try_for_each(|component| component.binary().map(drop))?;
        engine.modules().iter().try_for_each(|(path, version)| module_folder(path, version).map(drop))?;
        engine.crds().iter().try_for_each(Crds::fetch)?;
    }
    Ok(())
}

/// The programs that run for these engines, those that play the node among them.
#[must_use]
pub fn components(engines: &[Engine]) -> Vec<Component> {
    kwok::COMPONENTS.iter().chain(engines.iter().flat_map(|engine| engine.components())).copied().collect()
}

/// Running engines; they end when this is dropped, or when this process does.
#[derive(Debug)]
pub struct Engines {
    processes: Vec<Process>,
    interceptor_port: u16,
    _folder: Folder,
}

impl Engines {
    /// Starts the scheduler, KWOK with one node, and the engines, with their CRDs; all ready when this
    /// returns. The cluster needs its controller manager.
    ///
    /// # Panics
    /// When something cannot be started, or is not ready in time, with its log.
    pub async fn start(cluster: &Cluster, engines: &[Engine]) -> Self {
        assert!(cluster.has_controller_manager(), "the engines need the controller manager");
        let folder = Folder::new("engines");
        let host = Host {
            client: cluster.client().await,
            kubeconfig: cluster.kubeconfig(),
            folder: folder.path(),
            interceptor_port: free_port(),
            probes_port: watch::Sender::new(!engines.contains(&Engine::Knative)),
        };
        // Before KWOK, which looks once for the kinds that it plays.
        let crds: Vec<Crds> = engines.iter().flat_map(|engine| engine.crds()).copied().collect();
        cluster.apply_crds(&crds).await;
        let stages: Vec<String> = engines.iter().map(|engine| engine.stages()).collect();
        let nodes = timed("a node", kwok::start(&host, &stages));
        let started = engines.iter().map(|engine| timed(engine.name(), engine.start(&host)));
        let (mut processes, started) = futures::future::join(nodes, futures::future::join_all(started)).await;
        processes.extend(started.into_iter().flatten());
        Self { processes, interceptor_port: host.interceptor_port, _folder: folder }
    }

    /// Panics with the log of a process that has ended.
    ///
    /// # Panics
    /// See above.
    pub fn assert_running(&mut self) {
        self.processes.iter_mut().for_each(Process::assert_running);
    }

    /// Where the HTTP add-on's interceptor takes requests, on every address.
    #[must_use]
    pub fn interceptor_port(&self) -> u16 {
        self.interceptor_port
    }

    /// The log of one: `kwok`, `kube-scheduler`, `tekton-controller`, …
    ///
    /// # Panics
    /// When there is none of that name.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        self.processes
            .iter()
            .find(|process| process.name() == name)
            .unwrap_or_else(|| panic!("no process {name}"))
            .log()
    }
}

/// Where engines are started.
struct Host<'a> {
    client: kube::Client,
    /// The administrator's.
    kubeconfig: PathBuf,
    folder: &'a Path,
    interceptor_port: u16,
    /// Whether those that cannot do without the port [`PROBES_PORT`] have it.
    probes_port: watch::Sender<bool>,
}

impl Host<'_> {
    /// Returns when the port [`PROBES_PORT`] may be taken.
    async fn probes_port(&self) {
        // The sender lives as long as we do.
        let _ = self.probes_port.subscribe().wait_for(|taken| *taken).await;
    }

    /// Starts a program; its binary is there since [`fetch`].
    fn spawn(&self, component: &Component, args: Vec<String>, env: &[(&str, String)]) -> Process {
        let program = component.binary().unwrap_or_else(|error| panic!("{error}"));
        let spawned = Process::spawn(Spec {
            name: component.name,
            program: &program,
            args: args.into_iter().map(OsString::from).collect(),
            env: env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect(),
            env_removed: &["OTEL_", "ELPIO_"],
            folder: self.folder,
        });
        spawned.unwrap_or_else(|error| panic!("{}: {error}", component.name))
    }

    /// The kubeconfig as text.
    fn kubeconfig(&self) -> String {
        self.kubeconfig.display().to_string()
    }
}

/// Writes a certificate, its key and its authority as programs look for them in one folder.
fn write_identity(host: &Host<'_>, name: &str, authority: &Authority, identity: &Identity) -> PathBuf {
    let folder = host.folder.join(name);
    fs::create_dir_all(&folder).expect("the folder is writable");
    for (file, text) in [
        ("ca.crt", authority.certificate()),
        ("tls.crt", identity.certificate.clone()),
        ("tls.key", identity.key.clone()),
    ] {
        fs::write(folder.join(file), text).expect("the folder is writable");
    }
    folder
}

async fn timed<T>(what: &str, start: impl Future<Output = T>) -> T {
    let begin = Instant::now();
    let started = start.await;
    say(format_args!("     Started {what} in {:.1?}", begin.elapsed()));
    started
}
