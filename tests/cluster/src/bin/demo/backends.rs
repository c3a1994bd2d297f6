//! Where the operator's telemetry goes: a real collector, Jaeger and Prometheus, or this program alone. It
//! shows nothing itself.

use std::time::Duration;

use elpio_cluster::{
    Cluster, Collector, Jaeger, Operator, OtlpReceiver, Prometheus,
    alerts::{self, Windows},
    collector::Surroundings,
    eventually,
    otlp::Span,
    prometheus::Exemplar,
};

use crate::ground::Outside;

/// Prometheus takes five seconds to follow its file.
const BOUND: Duration = Duration::from_mins(1);

/// The receiving end.
pub enum Backends {
    /// Nothing to build: spans are kept by this program.
    None(OtlpReceiver),
    /// The real ones.
    Real(Box<Real>),
}

/// What people run.
pub struct Real {
    jaeger: Jaeger,
    prometheus: Prometheus,
    collector: Collector,
}

impl Backends {
    /// Starts them, with the files of `otel/` and the alert rules with short windows.
    pub async fn start(cluster: &Cluster, real: bool) -> Self {
        if !real {
            return Self::None(OtlpReceiver::start().await);
        }
        let rules = alerts::rules(Windows::SHORT);
        let (jaeger, prometheus) = tokio::join!(Jaeger::start(), Prometheus::start_with(&[], &rules));
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
    pub fn remark(&self, outside: &Outside) -> String {
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        match self {
            Self::None(_) => format!("this program receives OTLP at {}", url(outside.otlp)),
            Self::Real(_) => {
                format!(
                    "collector {}, Jaeger {}, Prometheus {}",
                    url(outside.otlp),
                    url(outside.jaeger),
                    url(outside.prometheus)
                )
            }
        }
    }

    /// Jaeger's query API.
    pub fn jaeger_url(&self) -> Option<String> {
        match self {
            Self::None(_) => None,
            Self::Real(real) => Some(real.jaeger.url()),
        }
    }

    /// The real one.
    pub fn prometheus(&self) -> Option<&Prometheus> {
        match self {
            Self::None(_) => None,
            Self::Real(real) => Some(&real.prometheus),
        }
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        match self {
            Self::None(receiver) => receiver.endpoint(),
            Self::Real(real) => real.collector.endpoint(),
        }
    }

    /// The collector, by HTTP.
    pub fn http_endpoint(&self) -> Option<String> {
        match self {
            Self::None(_) => None,
            Self::Real(real) => Some(real.collector.http_endpoint()),
        }
    }

    /// Who answers, for a heading.
    pub fn reader(&self) -> &'static str {
        match self {
            Self::None(_) => "as it was received",
            Self::Real(_) => "read back from Jaeger",
        }
    }

    /// Lets Prometheus scrape the operator; returns after the first time, so that it sees every counter rise.
    pub async fn scrape(&self, operator: &Operator) {
        let Self::Real(real) = self else { return };
        real.prometheus.scrape(&[format!("127.0.0.1:{}", operator.metrics_port())]).await;
        let scraped = eventually("Prometheus scrapes the operator", BOUND, async || {
            match real.prometheus.query("elpio_build_info").await {
                Ok(series) if !series.is_empty() => Ok(()),
                other => Err(format!("{other:?}; {:?}", real.prometheus.targets().await)),
            }
        });
        scraped.await;
    }

    /// The spans of a trace, as they are there now.
    pub async fn trace(&self, id: &str) -> Vec<Span> {
        match self {
            Self::None(receiver) => receiver.trace(id),
            Self::Real(real) => real.jaeger.trace(id).await,
        }
    }

    /// The exemplar of the longest measurement of a histogram; `None` without Prometheus, or before the first
    /// scrape.
    pub async fn longest(&self, histogram: &str) -> Option<Exemplar> {
        let all = self.prometheus()?.query_exemplars(&format!("{histogram}_bucket")).await.ok()?;
        all.into_iter().max_by(|a, b| a.value.total_cmp(&b.value))
    }
}
