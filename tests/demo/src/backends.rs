//! The receivers of the operator's telemetry: collector, Jaeger and Prometheus, or this program alone. It
//! prints nothing.

use std::time::Duration;

use elpio_cluster::{
    Cluster, Collector, Jaeger, Operator, OtlpReceiver, Prometheus,
    alerts::{self, Windows},
    collector::CollectorTargets,
    eventually,
    otlp::Span,
    prometheus::Exemplar,
};

use crate::environment::Addresses;

/// Prometheus reloads its targets every five seconds.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Where telemetry is received.
pub enum Backends {
    /// In this program: only spans are used.
    Receiver(OtlpReceiver),
    /// In real backends.
    Real(Box<RealBackends>),
}

pub struct RealBackends {
    jaeger: Jaeger,
    prometheus: Prometheus,
    collector: Collector,
}

impl Backends {
    /// Starts them, with the configurations in `otel/` and the alert rules with short windows.
    pub async fn start(cluster: &Cluster, real: bool) -> Self {
        if !real {
            return Self::Receiver(OtlpReceiver::start().await);
        }
        let rules = alerts::rules(Windows::SHORT);
        let (jaeger, prometheus) = tokio::join!(Jaeger::start(), Prometheus::start_with_rules(&[], &rules));
        let targets = CollectorTargets {
            kubeconfig: cluster.kubeconfig(),
            traces: jaeger.otlp(),
            prometheus: prometheus.url(),
            ..CollectorTargets::default()
        };
        let collector = Collector::start(targets).await;
        Self::Real(Box::new(RealBackends { jaeger, prometheus, collector }))
    }

    /// Their addresses, for the terminal.
    pub fn describe(&self, addresses: &Addresses) -> String {
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        match self {
            Self::Receiver(_) => format!("this program receives OTLP at {}", url(addresses.otlp)),
            Self::Real(_) => {
                format!(
                    "collector {}, Jaeger {}, Prometheus {}",
                    url(addresses.otlp),
                    url(addresses.jaeger),
                    url(addresses.prometheus)
                )
            }
        }
    }

    /// Jaeger's query API.
    pub fn jaeger_url(&self) -> Option<String> {
        match self {
            Self::Receiver(_) => None,
            Self::Real(real) => Some(real.jaeger.url()),
        }
    }

    pub fn prometheus(&self) -> Option<&Prometheus> {
        match self {
            Self::Receiver(_) => None,
            Self::Real(real) => Some(&real.prometheus),
        }
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        match self {
            Self::Receiver(receiver) => receiver.endpoint(),
            Self::Real(real) => real.collector.endpoint(),
        }
    }

    /// The collector's OTLP endpoint for HTTP.
    pub fn http_endpoint(&self) -> Option<String> {
        match self {
            Self::Receiver(_) => None,
            Self::Real(real) => Some(real.collector.http_endpoint()),
        }
    }

    /// Where a trace was read, for a heading.
    pub fn trace_source(&self) -> &'static str {
        match self {
            Self::Receiver(_) => "as this program received it",
            Self::Real(_) => "read from Jaeger",
        }
    }

    /// Makes Prometheus scrape the operator, and waits for the first scrape: a rate needs the counters'
    /// initial values.
    pub async fn scrape(&self, operator: &Operator) {
        let Self::Real(real) = self else { return };
        real.prometheus.set_scrape_targets(&[format!("127.0.0.1:{}", operator.metrics_port())]).await;
        let scraped = eventually("Prometheus scrapes the operator", TIMEOUT, async || {
            match real.prometheus.query("elpio_build_info").await {
                Ok(series) if !series.is_empty() => Ok(()),
                other => Err(format!("{other:?}; {:?}", real.prometheus.targets().await)),
            }
        });
        scraped.await;
    }

    /// The spans of a trace that have been received.
    pub async fn trace(&self, id: &str) -> Vec<Span> {
        match self {
            Self::Receiver(receiver) => receiver.trace(id),
            Self::Real(real) => real.jaeger.trace(id).await,
        }
    }

    /// The exemplar with a histogram's highest value; `None` without Prometheus, or before the first scrape.
    pub async fn highest_exemplar(&self, histogram: &str) -> Option<Exemplar> {
        let all = self.prometheus()?.query_exemplars(&format!("{histogram}_bucket")).await.ok()?;
        all.into_iter().max_by(|a, b| a.value.total_cmp(&b.value))
    }
}
