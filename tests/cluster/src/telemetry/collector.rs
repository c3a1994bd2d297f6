//! A real OpenTelemetry Collector with `otel/collector.yaml`. It stores nothing itself: tests query the
//! backends, or the files of [`FILE_EXPORTERS`].

use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    components,
    process::{free_port, http, restartable::RestartableProcess},
    repository_root,
};

/// A configuration overlay with which tests can read what passes through: one file of JSON lines per signal,
/// and one for Events.
pub const FILE_EXPORTERS: &str = "
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

/// Where a collector sends telemetry, and what it watches.
#[derive(Clone, Debug, Default)]
pub struct CollectorTargets {
    /// For watching Events.
    pub kubeconfig: PathBuf,
    /// `host:port` of Jaeger's OTLP receiver; if empty, traces are lost.
    pub traces: String,
    /// URL of Prometheus; if empty, metrics are not pushed.
    pub prometheus: String,
    /// Configurations that are merged over the file in this order, such as [`FILE_EXPORTERS`].
    pub overlays: Vec<String>,
    /// More variables, which win.
    pub environment: Vec<(String, String)>,
}

/// A running collector; it ends on drop.
pub struct Collector {
    process: RestartableProcess,
    grpc_port: u16,
    http_port: u16,
    metrics_port: u16,
    health_port: u16,
}

impl Collector {
    /// Starts a collector and waits until it is ready.
    ///
    /// # Panics
    /// If it cannot be built or started, with its log.
    pub async fn start(targets: CollectorTargets) -> Self {
        let mut collector = Self::prepare(targets).await;
        collector.restart().await;
        collector
    }

    /// Prepares a collector without starting it: its addresses are known, and nothing listens there.
    ///
    /// # Panics
    /// If it cannot be built.
    pub async fn prepare(targets: CollectorTargets) -> Self {
        let binary = tokio::task::spawn_blocking(components::collector).await.expect("not cancelled");
        let binary = binary.unwrap_or_else(|error| panic!("{error}"));
        let (grpc_port, http_port, metrics_port, health_port) =
            (free_port(), free_port(), free_port(), free_port());
        let configuration =
            repository_root().join("otel/collector.yaml").canonicalize().expect("otel/collector.yaml exists");
        let mut args = vec![format!("--config={}", configuration.display())];
        args.extend((0..targets.overlays.len()).map(|number| format!("--config=overlay-{number}.yaml")));
        let env = [
            ("COLLECTOR_GRPC", format!("127.0.0.1:{grpc_port}")),
            ("COLLECTOR_HTTP", format!("127.0.0.1:{http_port}")),
            ("COLLECTOR_METRICS", format!("127.0.0.1:{metrics_port}")),
            ("COLLECTOR_HEALTH", format!("127.0.0.1:{health_port}")),
            ("COLLECTOR_OWN_METRICS_HOST", "127.0.0.1".to_owned()),
            ("COLLECTOR_OWN_METRICS_PORT", free_port().to_string()),
            ("COLLECTOR_KUBERNETES_AUTH", "kubeConfig".to_owned()),
            // Each collector reads Events, unless an overlay gives two one Lease.
            ("COLLECTOR_LEASE", format!("collector-{grpc_port}")),
            ("COLLECTOR_NAMESPACE", "default".to_owned()),
            // The Jaeger of the tests is of version 1.
            ("COLLECTOR_JAEGER_V1", "true".to_owned()),
            ("COLLECTOR_BATCH_TIMEOUT", "50ms".to_owned()),
            ("KUBECONFIG", targets.kubeconfig.display().to_string()),
            ("TRACES_ENDPOINT", or_unreachable(targets.traces, "127.0.0.1:9")),
            ("PROMETHEUS_URL", or_unreachable(targets.prometheus, "http://127.0.0.1:9")),
        ];
        let env = env.into_iter().map(|(key, value)| (key.to_owned(), value));
        let env = env.chain(targets.environment).collect();
        let process = RestartableProcess::new("otelcol", binary, args, env);
        for (number, overlay) in targets.overlays.iter().enumerate() {
            process.write(&format!("overlay-{number}.yaml"), overlay);
        }
        Self { process, grpc_port, http_port, metrics_port, health_port }
    }

    /// Starts it again on the same ports, and waits until it is ready.
    ///
    /// # Panics
    /// If it ends, with its log.
    pub async fn restart(&mut self) {
        self.process.kill();
        self.process.start();
        let health_port = self.health_port;
        self.process
            .wait_ready(async || match http::get(health_port, "/", "*/*").await {
                Ok(answer) if answer.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            })
            .await;
    }

    /// Sends SIGKILL: connections to its ports fail.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Sends SIGSTOP: its ports accept connections, and requests are not answered.
    pub fn pause(&self) {
        self.process.signal(Signal::SIGSTOP);
    }

    /// Undoes [`Collector::pause`].
    pub fn resume(&self) {
        self.process.signal(Signal::SIGCONT);
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc_port)
    }

    /// The same for `http/protobuf`.
    #[must_use]
    pub fn http_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.http_port)
    }

    /// Scrapes its `prometheus` exporter.
    ///
    /// # Panics
    /// If nothing listens there.
    pub async fn metrics(&self) -> String {
        http::get(self.metrics_port, "/metrics", "text/plain").await.expect("the collector's metrics").body
    }

    /// The contents of a file of [`FILE_EXPORTERS`] (`traces`, `metrics`, `logs`, `events`): one value per
    /// batch, in OTLP's JSON encoding.
    #[must_use]
    pub fn file(&self, signal: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.dir().join(format!("{signal}.json"))).unwrap_or_default();
        // The last line may be incomplete.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Its working directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.process.dir()
    }

    /// Writes a file, such as a certificate, into its working directory.
    pub fn write(&self, name: &str, text: &str) {
        self.process.write(name, text);
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }
}

/// Nothing listens on the discard port.
fn or_unreachable(address: String, unreachable: &str) -> String {
    if address.is_empty() { unreachable.to_owned() } else { address }
}
