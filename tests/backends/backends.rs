//! The backends of a test process, started once: collector → Jaeger and Prometheus, which also scrapes each
//! operator.

use std::{collections::BTreeMap, path::Path};

use elpio_cluster::{
    Cluster, Collector, Jaeger, Operator, Prometheus,
    collector::{CollectorTargets, FILE_EXPORTERS},
};
use serde_json::Value;
use tokio::sync::{Mutex, OnceCell};

use crate::live_env::LiveEnv;

/// What is gone shall be gone while a test looks on; users push every minute, and their files say five.
const SHORT: &str = "exporters: {prometheus: {metric_expiration: 2s}}";

pub struct Backends {
    pub jaeger: Jaeger,
    pub prometheus: Prometheus,
    pub collector: Collector,
    targets: Mutex<Vec<String>>,
}

impl Backends {
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Backends> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    async fn start() -> Self {
        let cluster = Cluster::shared().await;
        let jaeger = Jaeger::start().await;
        let prometheus = Prometheus::start(&[]).await;
        let collector = Collector::start(CollectorTargets {
            kubeconfig: cluster.kubeconfig(),
            traces: jaeger.otlp(),
            prometheus: prometheus.url(),
            overlays: vec![FILE_EXPORTERS.to_owned(), SHORT.to_owned()],
            ..CollectorTargets::default()
        });
        Self { jaeger, prometheus, collector: collector.await, targets: Mutex::default() }
    }

    /// An operator that pushes to the collector every fifth of a second and is scraped; `name` is its
    /// `service.instance.id` too.
    pub async fn env(&self, name: &str, extra: &[(&str, &str)]) -> LiveEnv {
        self.stage_as(name, &Cluster::shared().await.kubeconfig(), extra).await
    }

    /// The same as another user.
    pub async fn stage_as(&self, name: &str, kubeconfig: &Path, extra: &[(&str, &str)]) -> LiveEnv {
        let (endpoint, instance) = (self.collector.endpoint(), format!("service.instance.id={name}"));
        let mut environment = vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_RESOURCE_ATTRIBUTES", instance.as_str()),
            ("OTEL_METRIC_EXPORT_INTERVAL", "200"),
        ];
        environment.extend(extra);
        let env = LiveEnv::on(Cluster::shared().await, name, kubeconfig, &environment).await;
        self.scrape(&env.operator).await;
        env
    }

    /// From now on Prometheus scrapes this operator too.
    pub async fn scrape(&self, operator: &Operator) {
        let mut targets = self.targets.lock().await;
        targets.push(target(operator));
        self.prometheus.set_scrape_targets(&targets).await;
    }

    /// Log records that the collector wrote to that file, of OTLP's form.
    pub fn records(&self, file: &str) -> Vec<Record> {
        records(&self.collector, file)
    }
}

/// Log records that a collector wrote to that file, of OTLP's form.
pub fn records(collector: &Collector, file: &str) -> Vec<Record> {
    let mut all = Vec::new();
    for batch in collector.file(file) {
        for of_resource in list(&batch["resourceLogs"]) {
            let resource = attributes(&of_resource["resource"]["attributes"]);
            for of_scope in list(&of_resource["scopeLogs"]) {
                all.extend(list(&of_scope["logRecords"]).iter().map(|record| Record {
                    trace_id: text(&record["traceId"]),
                    span_id: text(&record["spanId"]),
                    event_name: text(&record["eventName"]),
                    time: text(&record["timeUnixNano"]).parse().unwrap_or_default(),
                    severity: text(&record["severityText"]),
                    attributes: attributes(&record["attributes"]),
                    body: plain(&record["body"]),
                    resource: resource.clone(),
                }));
            }
        }
    }
    all
}

/// One log record.
#[derive(Clone, Debug)]
pub struct Record {
    pub trace_id: String,
    pub span_id: String,
    pub event_name: String,
    /// Nanoseconds since the epoch; 0 where it has none.
    pub time: i128,
    pub severity: String,
    pub attributes: BTreeMap<String, String>,
    pub body: Value,
    pub resource: BTreeMap<String, String>,
}

impl Record {
    pub fn attribute(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }
}

/// Where Prometheus scrapes this operator.
pub fn target(operator: &Operator) -> String {
    format!("127.0.0.1:{}", operator.metrics_port())
}

pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub fn attributes(pairs: &Value) -> BTreeMap<String, String> {
    let shown = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    list(pairs).iter().map(|pair| (text(&pair["key"]), shown(plain(&pair["value"])))).collect()
}

/// OTLP's JSON of a value as a plain value.
fn plain(value: &Value) -> Value {
    let Some((kind, held)) = value.as_object().and_then(|object| object.iter().next()) else {
        return Value::Null;
    };
    match kind.as_str() {
        "arrayValue" => list(&held["values"]).iter().map(plain).collect(),
        "kvlistValue" => {
            list(&held["values"]).iter().map(|pair| (text(&pair["key"]), plain(&pair["value"]))).collect()
        }
        _ => held.clone(),
    }
}
