//! What all tests share: the cluster, its engines, one operator, one receiver of its telemetry. It outlives
//! every test's own runtime.

use std::{path::Path, sync::LazyLock};

use elpio_cluster::{
    Cluster, ClusterOptions, Engine, Engines, FakeEngineOptions, FakeEngines, Operator, OtlpReceiver,
    engines::{pods::PodNetwork, tekton},
};
use tokio::{runtime::Runtime, sync::OnceCell};

pub struct World {
    pub cluster: Cluster,
    _engines: Engines,
    pub otlp: OtlpReceiver,
    /// The URL of the HTTP add-on's interceptor.
    pub interceptor: String,
    _operator: Operator,
    _network: PodNetwork,
    // No engine's part: its own controllers run nowhere here.
    _beside: FakeEngines,
}

/// Runs what the world itself has to do between two tests.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

pub async fn world() -> &'static World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    let start = || RUNTIME.block_on(World::start());
    WORLD.get_or_init(async || tokio::task::spawn_blocking(start).await.expect("the world starts")).await
}

impl World {
    async fn start() -> Self {
        let cluster = Cluster::start(ClusterOptions::full()).await;
        let engines = Engines::start(&cluster, &Engine::ALL).await;
        let client = cluster.client().await;
        let otlp = OtlpReceiver::start().await;
        tekton::export_traces_to(&client, &otlp.http_endpoint()).await;
        let network = PodNetwork::start().await.expect("the ports of DNS and HTTP");
        let beside = FakeEngines::start(
            client,
            FakeEngineOptions { third_party_only: true, ..FakeEngineOptions::default() },
        );
        let interceptor = format!("http://127.0.0.1:{}", engines.interceptor_port());
        let environment = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.endpoint()),
            ("OTEL_BSP_SCHEDULE_DELAY", "100".to_owned()),
            ("ELPIO_KEDA_INTERCEPTOR", interceptor.clone()),
            ("ELPIO_METRICS", "on".to_owned()),
            ("ELPIO_METRICS_ADDR", "127.0.0.1".to_owned()),
        ];
        let environment: Vec<(&str, &str)> =
            environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut operator = Operator::spawn(
            Path::new(env!("CARGO_BIN_EXE_elpio-operator")),
            &cluster.kubeconfig(),
            &environment,
        );
        operator.wait_ready().await;
        Self {
            cluster,
            _engines: engines,
            otlp,
            interceptor,
            _operator: operator,
            _network: network,
            _beside: beside,
        }
    }
}
