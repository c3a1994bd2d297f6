//! Everything that runs (control plane, engines or fakes, backends, operator), and its addresses outside the
//! network namespace. It prints steps only.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use elpio_cluster::{
    Cluster, ClusterOptions, Crds, Engine, Engines, FakeEngineOptions, FakeEngines, Operator, Prometheus,
    engines::tekton, port_forward::PortForwards, samples,
};
use kube::core::DynamicObject;

use crate::{backends::Backends, options::Options, terminal::Terminal};

/// How long each object of a fake engine stays in progress: long enough to be visible.
const FAKE_ENGINE_DELAY: Duration = Duration::from_millis(1500);
/// The demo's own objects.
pub const OBJECTS_DIR: &str = "tests/demo/objects/";

/// The running processes; they end on drop, in this order.
pub struct Environment {
    pub operator: Operator,
    pub backends: Backends,
    _fake_engines: FakeEngines,
    _engines: Option<Engines>,
    pub cluster: Cluster,
    pub addresses: Addresses,
    /// When the first process was started.
    pub started: Instant,
    /// When the operator was started.
    pub operator_started: Instant,
    _forwards: PortForwards,
}

/// Ports on the machine's 127.0.0.1, and a kubeconfig for the API server's.
#[derive(Default)]
pub struct Addresses {
    pub kubeconfig: PathBuf,
    pub metrics: u16,
    pub health: u16,
    pub jaeger: u16,
    pub prometheus: u16,
    pub otlp: u16,
}

impl Environment {
    pub async fn start(
        terminal: &Terminal,
        options: &Options,
        engines: &[Engine],
        mut forwards: PortForwards,
        operator: &Path,
    ) -> Result<Self, String> {
        let started = Instant::now();
        let mut addresses = Addresses::default();
        let cluster =
            terminal.step("control plane", start_control_plane(&mut forwards, &mut addresses)).await?;
        let real_engines = if engines.is_empty() {
            None
        } else {
            Some(terminal.step("engines", start_engines(&cluster, engines)).await?)
        };
        let fake_engines = FakeEngines::start(cluster.client().await, fake_engine_options(engines));
        let backends = terminal
            .step("backends", start_backends(&cluster, options.backends, &mut forwards, &mut addresses))
            .await?;
        if let Some(endpoint) = backends.http_endpoint().filter(|_| engines.contains(&Engine::Tekton)) {
            // Tekton's spans become part of the rollouts' traces.
            tekton::export_traces_to(&cluster.client().await, &endpoint).await;
        }
        let operator_started = Instant::now();
        let operator = terminal
            .step(
                "operator ready",
                start_operator(operator, &cluster, &backends, &mut forwards, &mut addresses),
            )
            .await?;
        Ok(Self {
            operator,
            backends,
            _fake_engines: fake_engines,
            _engines: real_engines,
            cluster,
            addresses,
            started,
            operator_started,
            _forwards: forwards,
        })
    }
}

/// The samples, and the objects that fail.
pub fn read_objects() -> Result<(Vec<DynamicObject>, Vec<DynamicObject>), String> {
    Ok((samples::read()?, samples::read_from(OBJECTS_DIR)?))
}

async fn start_control_plane(
    forwards: &mut PortForwards,
    addresses: &mut Addresses,
) -> Result<(String, Cluster), String> {
    let cluster = Cluster::start(ClusterOptions { audit: false, ..ClusterOptions::full() }).await;
    let (inner_url, config) = (cluster.url(), cluster.kubeconfig());
    let port = port_of(&inner_url).ok_or("the API server's URL has no port")?;
    let url = format!("https://127.0.0.1:{}", open(forwards, port).await?);
    // The certificate is valid for the address with any port.
    let text = std::fs::read_to_string(&config).map_err(|error| error.to_string())?;
    addresses.kubeconfig = config.with_file_name("kubeconfig");
    std::fs::write(&addresses.kubeconfig, text.replace(&inner_url, &url))
        .map_err(|error| error.to_string())?;
    let projects = Crds::ALL.len();
    let text =
        format!("etcd, kube-apiserver, kube-controller-manager, the CRDs of {projects} projects; {url}");
    Ok((text, cluster))
}

async fn start_engines(cluster: &Cluster, engines: &[Engine]) -> Result<(String, Engines), String> {
    let names: Vec<&str> = engines.iter().map(|engine| engine.name()).collect();
    let text = format!("{}; KWOK simulates the pods", names.join(", "));
    Ok((text, Engines::start(cluster, engines).await))
}

async fn start_backends(
    cluster: &Cluster,
    real: bool,
    forwards: &mut PortForwards,
    addresses: &mut Addresses,
) -> Result<(String, Backends), String> {
    let backends = Backends::start(cluster, real).await;
    for (url, outer) in [
        (backends.jaeger_url(), &mut addresses.jaeger),
        (backends.prometheus().map(Prometheus::url), &mut addresses.prometheus),
        (Some(backends.endpoint()), &mut addresses.otlp),
    ] {
        *outer = match url.and_then(|url| port_of(&url)) {
            Some(port) => open(forwards, port).await?,
            None => 0,
        };
    }
    Ok((backends.describe(addresses), backends))
}

async fn start_operator(
    binary: &Path,
    cluster: &Cluster,
    backends: &Backends,
    forwards: &mut PortForwards,
    addresses: &mut Addresses,
) -> Result<(String, Operator), String> {
    let endpoint = backends.endpoint();
    let env = [
        ("ELPIO_METRICS", "on"),
        ("ELPIO_METRICS_ADDR", "127.0.0.1"),
        ("ELPIO_LOG_FORMAT", "pretty"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        // Prometheus scrapes the metrics; if they were pushed too, every series would be duplicated.
        ("OTEL_METRICS_EXPORTER", "none"),
        // Traces are shown as soon as they are complete.
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
    ];
    let mut operator = Operator::spawn(binary, &cluster.kubeconfig(), &env);
    operator.wait_ready().await;
    backends.scrape(&operator).await;
    addresses.metrics = open(forwards, operator.metrics_port()).await?;
    addresses.health = open(forwards, operator.health_port()).await?;
    Ok((format!("pid {}, http://127.0.0.1:{}/metrics", operator.pid(), addresses.metrics), operator))
}

fn port_of(url: &str) -> Option<u16> {
    url.rsplit(':').next()?.parse().ok()
}

async fn open(forwards: &mut PortForwards, port: u16) -> Result<u16, String> {
    forwards.open(port).await.map_err(|error| format!("port {port} cannot be opened: {error}"))
}

/// Fakes everything for which no real controller runs.
fn fake_engine_options(engines: &[Engine]) -> FakeEngineOptions {
    FakeEngineOptions {
        delay: FAKE_ENGINE_DELAY,
        pods: true,
        side_effects: true,
        builds: true,
        third_party_only: !engines.is_empty(),
        ..FakeEngineOptions::default()
    }
}
