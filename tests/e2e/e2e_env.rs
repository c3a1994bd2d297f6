//! What all tests share: the cluster, its engines, one operator, one receiver of its telemetry. It outlives
//! every test's own runtime.

use std::{
    path::Path,
    sync::{LazyLock, Mutex, PoisonError},
};

use elpio_cluster::{
    Cluster, ClusterOptions, Engine, Engines, FakeEngineOptions, FakeEngines, Operator, OtlpReceiver,
    engines::{pods::PodNetwork, tekton},
};
use tokio::{runtime::Runtime, sync::OnceCell};

pub struct E2eEnv {
    pub cluster: Cluster,
    _engines: Engines,
    pub otlp: OtlpReceiver,
    operator: Mutex<Option<Operator>>,
    /// The URL of the HTTP add-on's interceptor.
    pub interceptor: String,
    _network: PodNetwork,
    // No engine's part: its own controllers run nowhere here.
    _beside: FakeEngines,
}

/// Runs what the environment itself has to do between two tests.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

pub async fn env() -> &'static E2eEnv {
    static E2E_ENV: OnceCell<E2eEnv> = OnceCell::const_new();
    let start = || RUNTIME.block_on(E2eEnv::start());
    E2E_ENV
        .get_or_init(async || tokio::task::spawn_blocking(start).await.expect("the environment starts"))
        .await
}

impl E2eEnv {
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
        let env = Self {
            cluster,
            _engines: engines,
            otlp,
            operator: Mutex::default(),
            interceptor,
            _network: network,
            _beside: beside,
        };
        let operator = env.spawn_operator(&[]).await;
        *env.operator.lock().unwrap_or_else(PoisonError::into_inner) = Some(operator);
        env
    }

    /// Ends the operator that looks after all namespaces, so that others can look after one each.
    pub fn stop_operator(&self) {
        self.operator.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// One more operator, with these variables more.
    pub async fn spawn_operator(&self, more: &[(&str, &str)]) -> Operator {
        let endpoint = self.otlp.endpoint();
        let mut environment = vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_BSP_SCHEDULE_DELAY", "100"),
            ("ELPIO_KEDA_INTERCEPTOR", self.interceptor.as_str()),
            ("ELPIO_METRICS", "on"),
            ("ELPIO_METRICS_ADDR", "127.0.0.1"),
        ];
        environment.extend(more);
        let program = Path::new(env!("CARGO_BIN_EXE_elpio-operator"));
        let mut operator = Operator::spawn(program, &self.cluster.kubeconfig(), &environment);
        operator.wait_ready().await;
        operator
    }
}
