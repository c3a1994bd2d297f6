//! A real OpenTelemetry Collector that runs `otel/collector.yaml`. What it receives is asked of the backends,
//! or of its files.

use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{components, crds::repository, page, process::free_port, program::Program};

/// Laid over `otel/collector.yaml`, so that a test can read what went through: one file of JSON lines for
/// each signal, Events apart.
pub const FILES: &str = "
exporters:
  file/traces: {path: traces.json, flush_interval: 100ms}
  file/metrics: {path: metrics.json, flush_interval: 100ms}
  file/logs: {path: logs.json, flush_interval: 100ms}
  file/events: {path: events.json, flush_interval: 100ms}
service:
  pipelines:
    traces: {exporters: [otlp/traces, file/traces]}
    metrics: {exporters: [otlphttp/prometheus, prometheus, file/metrics]}
    logs: {exporters: [debug, file/logs]}
    logs/events: {exporters: [debug, file/events]}
";

/// What a collector is given.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// For the Events.
    pub kubeconfig: PathBuf,
    /// `host:port` of Jaeger's OTLP receiver; nobody's when empty.
    pub traces: String,
    /// URL of Prometheus; nobody's when empty.
    pub prometheus: String,
    /// YAML laid over the file, in this order, such as [`FILES`].
    pub overlays: Vec<String>,
}

/// A running collector; ends with the value.
pub struct Collector {
    program: Program,
    grpc: u16,
    http: u16,
    page: u16,
    health: u16,
}

impl Collector {
    /// Starts one, ready when this returns.
    ///
    /// # Panics
    /// When it cannot be built or started, with its log.
    pub async fn start(surroundings: Surroundings) -> Self {
        let mut collector = Self::prepare(surroundings).await;
        collector.restart().await;
        collector
    }

    /// Everything but the start: its addresses are known, and nobody listens there.
    ///
    /// # Panics
    /// When it cannot be built.
    pub async fn prepare(surroundings: Surroundings) -> Self {
        let binary = tokio::task::spawn_blocking(components::collector).await.expect("not cancelled");
        let binary = binary.unwrap_or_else(|error| panic!("{error}"));
        let (grpc, http, page, health) = (free_port(), free_port(), free_port(), free_port());
        let configuration =
            repository().join("otel/collector.yaml").canonicalize().expect("the file that users take");
        let mut args = vec![format!("--config={}", configuration.display())];
        args.extend((0..surroundings.overlays.len()).map(|number| format!("--config=overlay-{number}.yaml")));
        let env = [
            ("COLLECTOR_GRPC", format!("127.0.0.1:{grpc}")),
            ("COLLECTOR_HTTP", format!("127.0.0.1:{http}")),
            ("COLLECTOR_METRICS", format!("127.0.0.1:{page}")),
            ("COLLECTOR_HEALTH", format!("127.0.0.1:{health}")),
            ("COLLECTOR_OWN_METRICS_HOST", "127.0.0.1".to_owned()),
            ("COLLECTOR_OWN_METRICS_PORT", free_port().to_string()),
            ("COLLECTOR_KUBERNETES_AUTH", "kubeConfig".to_owned()),
            ("COLLECTOR_BATCH_TIMEOUT", "50ms".to_owned()),
            ("KUBECONFIG", surroundings.kubeconfig.display().to_string()),
            ("TRACES_ENDPOINT", or_nobody(surroundings.traces, "127.0.0.1:9")),
            ("PROMETHEUS_URL", or_nobody(surroundings.prometheus, "http://127.0.0.1:9")),
        ];
        let env = env.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let program = Program::new("otelcol", binary, args, env);
        for (number, overlay) in surroundings.overlays.iter().enumerate() {
            program.write(&format!("overlay-{number}.yaml"), overlay);
        }
        Self { program, grpc, http, page, health }
    }

    /// Starts it, also again after [`Collector::kill`], on the same ports.
    ///
    /// # Panics
    /// When it dies, with its log.
    pub async fn restart(&mut self) {
        self.program.kill();
        self.program.start();
        let health = self.health;
        self.program
            .wait_ready(async || match page::get(health, "/", "*/*").await {
                Ok(answer) if answer.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            })
            .await;
    }

    /// SIGKILL: its ports refuse.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// SIGSTOP: its ports accept, and nothing answers.
    pub fn pause(&self) {
        self.program.signal(Signal::SIGSTOP);
    }

    /// The end of [`Collector::pause`].
    pub fn resume(&self) {
        self.program.signal(Signal::SIGCONT);
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc)
    }

    /// The same for `http/protobuf`.
    #[must_use]
    pub fn http_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// What its `prometheus` exporter shows.
    ///
    /// # Panics
    /// When nothing listens there.
    pub async fn metrics(&self) -> String {
        page::get(self.page, "/metrics", "text/plain").await.expect("the collector's metrics").body
    }

    /// Everything that went to a file of [`FILES`]: `traces`, `metrics`, `logs`, `events`; each value is one
    /// batch as OTLP's JSON.
    #[must_use]
    pub fn file(&self, signal: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder().join(format!("{signal}.json"))).unwrap_or_default();
        // The last line may be half written.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Where its files lie.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.program.folder()
    }

    /// Writes a file where its configuration can name it, such as a certificate.
    pub fn write(&self, name: &str, text: &str) {
        self.program.write(name, text);
    }

    /// Its own log.
    #[must_use]
    pub fn log(&self) -> String {
        self.program.log()
    }

    /// The end of it.
    #[must_use]
    pub fn log_end(&self) -> String {
        self.program.log_end()
    }
}

fn or_nobody(given: String, nobody: &str) -> String {
    if given.is_empty() { nobody.to_owned() } else { given }
}
