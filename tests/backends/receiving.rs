//! A collector that writes down what it receives, on doors of several kinds, and telemetry that pushes to it.
//! Judges nothing.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use elpio_cluster::{
    Cluster, Collector,
    collector::{CollectorTargets, FILE_EXPORTERS},
    eventually,
    pki::Authority,
    process::free_port,
};
use elpio_operator::telemetry::{RolloutSeed, SpanParent, Telemetry, TelemetryBuilder};
use serde_json::Value;
use tokio::sync::OnceCell;
use tracing::{Dispatch, instrument::WithSubscriber};

use crate::{
    backends::{attributes, list},
    harness::{Lines, config, identity, info, log, wrote},
    live_env::TIMEOUT,
};

pub const END: Duration = Duration::from_secs(30);

/// A collector that writes what it receives to files: on its usual ports, and on ports that want a
/// certificate or a token.
pub struct Receiving {
    collector: Collector,
    /// Who signed the certificates of both sides.
    pub authority: Authority,
    /// Ports of gRPC and HTTP that want a client's certificate.
    pub mutual: (u16, u16),
    /// Ports of gRPC and HTTP that want a token.
    pub token: (u16, u16),
}

impl Receiving {
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Receiving> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    pub async fn start() -> Self {
        let (mutual, token) = ((free_port(), free_port()), (free_port(), free_port()));
        let tls = "tls: {cert_file: server.crt, key_file: server.key, client_ca_file: ca.crt, client_ca_file_reload: true, reload_interval: 1s}";
        let auth = "auth: {authenticator: bearertokenauth}";
        let receiver = |(grpc, http): (u16, u16), more: &str| {
            format!(
                "{{protocols: {{grpc: {{endpoint: \"127.0.0.1:{grpc}\", {more}}}, http: {{endpoint: \"127.0.0.1:{http}\", {more}}}}}}}"
            )
        };
        let from = "receivers: [otlp, otlp/mutual, otlp/token]";
        let overlay = format!(
            "extensions: {{bearertokenauth: {{token: s3cret}}}}\nreceivers:\n  otlp/mutual: {}\n  otlp/token: {}\nservice:\n  extensions: \
             [health_check, bearertokenauth, k8s_leader_elector]\n  pipelines:\n    traces: {{{from}, exporters: [file/traces]}}\n    metrics: {{{from}, exporters: \
             [file/metrics]}}\n    logs: {{{from}, exporters: [file/logs]}}\n",
            receiver(mutual, tls),
            receiver(token, auth),
        );
        let kubeconfig = Cluster::shared().await.kubeconfig();
        let overlays = vec![FILE_EXPORTERS.to_owned(), overlay];
        let mut collector =
            Collector::prepare(CollectorTargets { kubeconfig, overlays, ..CollectorTargets::default() })
                .await;
        let authority = Authority::new("elpio-collector");
        let (server, client) = (authority.server(&["localhost", "127.0.0.1"]), authority.client("operator"));
        for (name, pem) in [
            ("ca.crt", &authority.certificate()),
            ("server.crt", &server.certificate),
            ("server.key", &server.key),
            ("client.crt", &client.certificate),
            ("client.key", &client.key),
        ] {
            collector.write(name, pem);
        }
        collector.restart().await;
        Self { collector, authority, mutual, token }
    }

    pub fn file(&self, name: &str) -> String {
        self.collector.dir().join(name).display().to_string()
    }

    /// Puts another text into a file of it.
    pub fn write(&self, name: &str, text: &str) {
        self.collector.write(name, text);
    }

    pub async fn restart(&mut self) {
        self.collector.restart().await;
    }

    pub fn endpoint(&self, protocol: &str) -> String {
        if protocol == "grpc" { self.collector.endpoint() } else { self.collector.http_endpoint() }
    }

    pub fn received(&self, case: &str) -> Received {
        let of = |signal: &str, container: &str| -> Vec<Value> {
            let all = self.collector.file(signal);
            let resources = all.iter().flat_map(|batch| list(&batch[container]));
            resources
                .filter(|part| {
                    attributes(&part["resource"]["attributes"]).get("case").is_some_and(|own| own == case)
                })
                .cloned()
                .collect()
        };
        Received {
            spans: of("traces", "resourceSpans"),
            metrics: of("metrics", "resourceMetrics"),
            logs: of("logs", "resourceLogs"),
        }
    }

    /// What arrives of one reconcile with these variables: when all of `signals` did, and whatever else did
    /// until then.
    pub async fn of(&self, variables: &[(&str, &str)], signals: &[&str]) -> Received {
        let case = case();
        let pushing = Pushing::new(&case, variables);
        pushing.reconcile(None, 1).await;
        let reported = pushing.telemetry.shutdown(END).await;
        assert!(reported.is_empty(), "{variables:?}: {reported:?}");
        self.wait_for(&case, signals).await
    }

    pub async fn wait_for(&self, case: &str, signals: &[&str]) -> Received {
        eventually(&format!("{signals:?} arrive"), TIMEOUT, async || {
            let received = self.received(case);
            let arrived = received.signals();
            if signals.iter().all(|signal| arrived.contains(signal)) {
                Ok(received)
            } else {
                Err(format!("{arrived:?}\n{}", self.collector.log_tail()))
            }
        })
        .await
    }

    /// Nothing of this arrives: the loss is said, and what is sent after it is all that is there.
    pub async fn refuses(&self, variables: &[(&str, &str)]) {
        let case = case();
        let pushing = Pushing::new(&case, &[variables, &[("OTEL_EXPORTER_OTLP_TIMEOUT", "1000")]].concat());
        pushing.reconcile(None, 1).await;
        let reported = pushing.telemetry.shutdown(END).await;
        assert!(reported.iter().any(|line| line.contains("traces")), "{variables:?}: {reported:?}");
        self.of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &self.endpoint("grpc"))], &ALL).await;
        assert_eq!(self.received(&case).signals(), [""; 0], "{variables:?}");
    }
}

pub const ALL: [&str; 3] = ["traces", "metrics", "logs"];

/// What arrived with the resource attribute `case`, as OTLP's JSON by resource.
pub struct Received {
    spans: Vec<Value>,
    metrics: Vec<Value>,
    logs: Vec<Value>,
}

impl Received {
    pub fn signals(&self) -> Vec<&'static str> {
        let all = [("traces", &self.spans), ("metrics", &self.metrics), ("logs", &self.logs)];
        all.into_iter().filter(|(_, parts)| !parts.is_empty()).map(|(signal, _)| signal).collect()
    }

    pub fn resource(&self) -> BTreeMap<String, String> {
        attributes(&self.spans[0]["resource"]["attributes"])
    }

    pub fn spans(&self) -> Vec<Value> {
        let scopes = self.spans.iter().flat_map(|part| list(&part["scopeSpans"]));
        scopes.flat_map(|scope| list(&scope["spans"])).cloned().collect()
    }

    pub fn records(&self) -> Vec<Value> {
        let scopes = self.logs.iter().flat_map(|part| list(&part["scopeLogs"]));
        scopes.flat_map(|scope| list(&scope["logRecords"])).cloned().collect()
    }

    pub fn temporality(&self, name: &str) -> Value {
        let scopes = self.metrics.iter().flat_map(|part| list(&part["scopeMetrics"]));
        let mut metrics = scopes.flat_map(|scope| list(&scope["metrics"]));
        let metric = metrics.find(|metric| metric["name"] == name).unwrap_or_else(|| panic!("no {name}"));
        ["sum", "histogram"]
            .iter()
            .find_map(|form| metric[form].get("aggregationTemporality"))
            .cloned()
            .unwrap_or_default()
    }
}

pub struct Pushing {
    pub telemetry: Telemetry,
    dispatch: Dispatch,
}

/// A name that no other case has.
pub fn case() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("case-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

impl Pushing {
    pub fn new(case: &str, variables: &[(&str, &str)]) -> Self {
        let given = variables
            .iter()
            .find(|(name, _)| *name == "OTEL_RESOURCE_ATTRIBUTES")
            .map_or("", |(_, value)| value);
        let resource = format!("case={case},{given}");
        let mut all: Vec<(&str, &str)> =
            variables.iter().filter(|(name, _)| *name != "OTEL_RESOURCE_ATTRIBUTES").copied().collect();
        all.push(("OTEL_RESOURCE_ATTRIBUTES", resource.trim_end_matches(',')));
        let builder = TelemetryBuilder::new(config(&all), identity())
            .with_metrics_endpoint(false)
            .with_configured_exporters();
        let (telemetry, dispatch, warnings) = builder.build(&log("info"), Lines::default()).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        Self { telemetry, dispatch }
    }

    /// One reconcile of a rollout of that generation, which a caller may have begun.
    pub async fn reconcile(&self, parent: Option<&str>, generation: i64) {
        let traces = self.telemetry.traces();
        let rollout = traces.begin_rollout(&RolloutSeed {
            uid: "uid-1",
            generation,
            rebuild: "",
            parent,
            tracestate: None,
        });
        let work = async { wrote() };
        self.telemetry
            .metrics()
            .reconcile(&traces, info(SpanParent::InRollout(rollout)), work)
            .with_subscriber(self.dispatch.clone())
            .await
            .expect("no panic");
    }
}
