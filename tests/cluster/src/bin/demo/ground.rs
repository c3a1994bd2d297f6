//! Everything that runs: control plane, engines or stand-in, backends, operator; and where it is reached from
//! outside. Shows only steps.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use elpio_cluster::{
    Cluster, Crds, Engine, Engines, Operator, Options as ClusterOptions, StandInEngine, engines::tekton,
    forward::Doors, samples, standin::Play,
};
use kube::core::DynamicObject;

use crate::{backends::Backends, options::Options, terminal::Terminal};

/// How long the stand-in takes for each step of each object: long enough to read, short enough to wait for.
const STAND_IN_DELAY: Duration = Duration::from_millis(1500);
/// The demo's own objects.
pub const OBJECTS: &str = "tests/cluster/src/bin/demo/objects/";

/// All of it ends when this is dropped, in this order.
pub struct Ground {
    pub operator: Operator,
    pub backends: Backends,
    _stand_in: StandInEngine,
    _engines: Option<Engines>,
    pub cluster: Cluster,
    pub outside: Outside,
    /// When the first process was started, and the operator.
    pub begin: Instant,
    pub since: Instant,
    _doors: Doors,
}

/// Ports of 127.0.0.1 where a person is, and a kubeconfig with one of them.
#[derive(Default)]
pub struct Outside {
    pub kubeconfig: PathBuf,
    pub metrics: u16,
    pub health: u16,
    pub jaeger: u16,
    pub prometheus: u16,
    pub otlp: u16,
}

impl Ground {
    pub async fn start(
        terminal: &Terminal,
        options: &Options,
        engines: &[Engine],
        mut doors: Doors,
        operator: &Path,
    ) -> Result<Self, String> {
        let begin = Instant::now();
        let mut outside = Outside::default();
        let cluster = terminal.step("control plane", control_plane(&mut doors, &mut outside)).await?;
        let running = if engines.is_empty() {
            None
        } else {
            Some(terminal.step("engines", start_engines(&cluster, engines)).await?)
        };
        let stand_in = StandInEngine::start(cluster.client().await, play(engines));
        let backends = terminal
            .step("backends", start_backends(&cluster, options.backends, &mut doors, &mut outside))
            .await?;
        if let Some(endpoint) = backends.http_endpoint().filter(|_| engines.contains(&Engine::Tekton)) {
            // Its spans join the operator's.
            tekton::trace_to(&cluster.client().await, &endpoint).await;
        }
        let since = Instant::now();
        let operator = terminal
            .step("operator ready", start_operator(operator, &cluster, &backends, &mut doors, &mut outside))
            .await?;
        Ok(Self {
            operator,
            backends,
            _stand_in: stand_in,
            _engines: running,
            cluster,
            outside,
            begin,
            since,
            _doors: doors,
        })
    }
}

/// The samples with what they need, and the two that fail.
pub fn objects() -> Result<(Vec<DynamicObject>, Vec<DynamicObject>), String> {
    Ok((samples::read()?, samples::read_from(OBJECTS)?))
}

async fn control_plane(doors: &mut Doors, outside: &mut Outside) -> Result<(String, Cluster), String> {
    let cluster = Cluster::start(ClusterOptions { audit: false, ..ClusterOptions::full() }).await;
    let (inner, config) = (cluster.url(), cluster.kubeconfig());
    let port =
        inner.rsplit(':').next().and_then(|port| port.parse().ok()).ok_or("the API server has a port")?;
    let url = format!("https://127.0.0.1:{}", open(doors, port).await?);
    // The certificate is for the address, whatever the port.
    let text = std::fs::read_to_string(&config).map_err(|error| error.to_string())?;
    outside.kubeconfig = config.with_file_name("kubeconfig");
    std::fs::write(&outside.kubeconfig, text.replace(&inner, &url)).map_err(|error| error.to_string())?;
    Ok((
        format!(
            "etcd, kube-apiserver, kube-controller-manager, the CRDs of {} projects; {url}",
            Crds::ALL.len()
        ),
        cluster,
    ))
}

async fn start_engines(cluster: &Cluster, engines: &[Engine]) -> Result<(String, Engines), String> {
    let names: Vec<&str> = engines.iter().map(|engine| engine.name()).collect();
    let remark = format!("{}; pods are played by KWOK", names.join(", "));
    Ok((remark, Engines::start(cluster, engines).await))
}

async fn start_backends(
    cluster: &Cluster,
    real: bool,
    doors: &mut Doors,
    outside: &mut Outside,
) -> Result<(String, Backends), String> {
    let backends = Backends::start(cluster, real).await;
    for (inner, outer) in [
        (backends.jaeger_url(), &mut outside.jaeger),
        (backends.prometheus().map(elpio_cluster::Prometheus::url), &mut outside.prometheus),
        (Some(backends.endpoint()), &mut outside.otlp),
    ] {
        let port = inner.and_then(|url| url.rsplit(':').next()?.parse().ok());
        *outer = match port {
            Some(port) => open(doors, port).await?,
            None => 0,
        };
    }
    Ok((backends.remark(outside), backends))
}

async fn start_operator(
    binary: &Path,
    cluster: &Cluster,
    backends: &Backends,
    doors: &mut Doors,
    outside: &mut Outside,
) -> Result<(String, Operator), String> {
    let endpoint = backends.endpoint();
    let env = [
        ("ELPIO_METRICS", "on"),
        ("ELPIO_METRICS_ADDR", "127.0.0.1"),
        ("ELPIO_LOG_FORMAT", "pretty"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        // Prometheus scrapes them here; pushed too, each would be there twice.
        ("OTEL_METRICS_EXPORTER", "none"),
        // The trace is to be shown at once.
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
    ];
    let mut operator = Operator::spawn(binary, &cluster.kubeconfig(), &env);
    operator.wait_ready().await;
    backends.scrape(&operator).await;
    outside.metrics = open(doors, operator.metrics_port()).await?;
    outside.health = open(doors, operator.health_port()).await?;
    Ok((format!("pid {}, http://127.0.0.1:{}/metrics", operator.pid(), outside.metrics), operator))
}

async fn open(doors: &mut Doors, port: u16) -> Result<u16, String> {
    doors.open(port).await.map_err(|error| format!("port {port} cannot be opened: {error}"))
}

/// What no engine runs for. With engines, KWOK plays the pods.
fn play(engines: &[Engine]) -> Play {
    Play {
        delay: STAND_IN_DELAY,
        pods: true,
        companions: true,
        builds: true,
        beside_engines: !engines.is_empty(),
        ..Play::default()
    }
}
