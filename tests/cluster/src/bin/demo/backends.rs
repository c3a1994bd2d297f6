//! Where the operator's telemetry goes: a real collector, Jaeger and Prometheus, or this program alone. It shows nothing itself.

use elpio_cluster::collector::Surroundings;
use elpio_cluster::otlp::Span;
use elpio_cluster::prometheus::Exemplar;
use elpio_cluster::{Cluster, Collector, Jaeger, Operator, OtlpReceiver, Prometheus};

/// The receiving end.
pub enum Backends {
    /// Nothing to build: spans are kept by this program.
    None(OtlpReceiver),
    /// The real ones.
    Real(Box<Real>),
}

/// What people run.
pub struct Real {
    pub jaeger: Jaeger,
    pub prometheus: Prometheus,
    collector: Collector,
}

impl Backends {
    /// Starts them, with the files of `otel/`.
    pub async fn start(cluster: &Cluster, real: bool) -> Self {
        if !real {
            return Self::None(OtlpReceiver::start().await);
        }
        let (jaeger, prometheus) = (Jaeger::start().await, Prometheus::start(&[]).await);
        let surroundings = Surroundings {
            kubeconfig: cluster.kubeconfig(),
            traces: jaeger.otlp(),
            prometheus: prometheus.url(),
            ..Surroundings::default()
        };
        let collector = Collector::start(surroundings).await;
        Self::Real(Box::new(Real { jaeger, prometheus, collector }))
    }

    /// For the terminal.
    pub fn remark(&self) -> String {
        match self {
            Self::None(receiver) => format!("this program receives OTLP at {}", receiver.endpoint()),
            Self::Real(real) => {
                format!("collector {}, Jaeger {}, Prometheus {}", real.collector.endpoint(), real.jaeger.url(), real.prometheus.url())
            }
        }
    }

    /// How to ask them, while they are kept.
    pub fn commands(&self, trace_id: &str) -> Vec<(&'static str, String)> {
        let Self::Real(real) = self else { return Vec::new() };
        vec![
            ("Jaeger", format!("curl {}/api/traces/{trace_id}", real.jaeger.url())),
            ("Prometheus", format!("curl '{}/api/v1/query?query=elpio_services_ready'", real.prometheus.url())),
        ]
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        match self {
            Self::None(receiver) => receiver.endpoint(),
            Self::Real(real) => real.collector.endpoint(),
        }
    }

    /// Who answers, for a heading.
    pub fn reader(&self) -> &'static str {
        match self {
            Self::None(_) => "as it was received",
            Self::Real(_) => "read back from Jaeger",
        }
    }

    /// Lets Prometheus scrape the operator.
    pub async fn scrape(&self, operator: &Operator) {
        if let Self::Real(real) = self {
            real.prometheus.scrape(&[format!("127.0.0.1:{}", operator.metrics_port())]).await;
        }
    }

    /// The spans of a trace, as they are there now.
    pub async fn trace(&self, id: &str) -> Vec<Span> {
        match self {
            Self::None(receiver) => receiver.trace(id),
            Self::Real(real) => real.jaeger.trace(id).await,
        }
    }

    /// A query's answer, a line for each series; `None` without Prometheus.
    pub async fn query(&self, query: &str) -> Option<Result<Vec<(String, f64)>, String>> {
        let Self::Real(real) = self else { return None };
        let answer = real.prometheus.query(query).await.map(|all| {
            let labels = |labels: &std::collections::BTreeMap<String, String>| {
                labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect::<Vec<_>>().join(", ")
            };
            all.iter().map(|series| (format!("{{{}}}", labels(&series.labels)), series.value)).collect()
        });
        Some(answer)
    }

    /// The exemplar of the longest measurement of a histogram; `None` without Prometheus, or before the first scrape.
    pub async fn longest(&self, histogram: &str) -> Option<Exemplar> {
        let Self::Real(real) = self else { return None };
        let all = real.prometheus.query_exemplars(&format!("{histogram}_bucket")).await.ok()?;
        all.into_iter().max_by(|a, b| a.value.total_cmp(&b.value))
    }
}
