//! The `OTEL_*` variables, each judged by what a real collector received: plain, with mutual TLS, with a token.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use elpio_cluster::{Cluster, Collector, collector::FILES, collector::Surroundings, eventually, pki::Authority, process::free_port};
use elpio_operator::telemetry::{Builder, Place, Report, Reported, RolloutSeed, Telemetry};
use serde_json::Value;
use tokio::sync::OnceCell;
use tracing::{Dispatch, instrument::WithSubscriber};

use crate::{
    backends::{attributes, list, text},
    rig::{Lines, identity, info, log, settings, wrote},
    stage::{SOON, Stage, image},
};

const END: Duration = Duration::from_secs(10);

/// A collector that writes what it receives to files: on its usual ports, and on ports that want a certificate or a token.
struct Receiving {
    collector: Collector,
    mutual: (u16, u16),
    token: (u16, u16),
}

impl Receiving {
    async fn shared() -> &'static Self {
        static SHARED: OnceCell<Receiving> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    async fn start() -> Self {
        let (mutual, token) = ((free_port(), free_port()), (free_port(), free_port()));
        let tls = "tls: {cert_file: server.crt, key_file: server.key, client_ca_file: ca.crt}";
        let auth = "auth: {authenticator: bearertokenauth}";
        let receiver = |(grpc, http): (u16, u16), more: &str| {
            format!("{{protocols: {{grpc: {{endpoint: \"127.0.0.1:{grpc}\", {more}}}, http: {{endpoint: \"127.0.0.1:{http}\", {more}}}}}}}")
        };
        let from = "receivers: [otlp, otlp/mutual, otlp/token]";
        let overlay = format!(
            "extensions: {{bearertokenauth: {{token: s3cret}}}}\nreceivers:\n  otlp/mutual: {}\n  otlp/token: {}\nservice:\n  extensions: \
             [health_check, bearertokenauth]\n  pipelines:\n    traces: {{{from}, exporters: [file/traces]}}\n    metrics: {{{from}, exporters: \
             [file/metrics]}}\n    logs: {{{from}, exporters: [file/logs]}}\n",
            receiver(mutual, tls),
            receiver(token, auth),
        );
        let kubeconfig = Cluster::shared().await.kubeconfig();
        let overlays = vec![FILES.to_owned(), overlay];
        let mut collector = Collector::prepare(Surroundings { kubeconfig, overlays, ..Surroundings::default() }).await;
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
        Self { collector, mutual, token }
    }

    fn file(&self, name: &str) -> String {
        self.collector.folder().join(name).display().to_string()
    }

    fn endpoint(&self, protocol: &str) -> String {
        if protocol == "grpc" { self.collector.endpoint() } else { self.collector.http_endpoint() }
    }

    fn received(&self, case: &str) -> Received {
        let of = |signal: &str, container: &str| -> Vec<Value> {
            let all = self.collector.file(signal);
            let resources = all.iter().flat_map(|batch| list(&batch[container]));
            resources
                .filter(|part| attributes(&part["resource"]["attributes"]).get("case").is_some_and(|own| own == case))
                .cloned()
                .collect()
        };
        Received { spans: of("traces", "resourceSpans"), metrics: of("metrics", "resourceMetrics"), logs: of("logs", "resourceLogs") }
    }

    /// What arrives of one reconcile with these variables: when all of `signals` did, and whatever else did until then.
    async fn of(&self, variables: &[(&str, &str)], signals: &[&str]) -> Received {
        let case = case();
        let pushing = Pushing::new(&case, variables);
        pushing.reconcile(None, 1).await;
        let said = pushing.telemetry.shutdown(END).await;
        assert!(said.is_empty(), "{variables:?}: {said:?}");
        self.wait_for(&case, signals).await
    }

    async fn wait_for(&self, case: &str, signals: &[&str]) -> Received {
        eventually(&format!("{signals:?} arrive"), SOON, async || {
            let received = self.received(case);
            let arrived = received.signals();
            if signals.iter().all(|signal| arrived.contains(signal)) {
                Ok(received)
            } else {
                Err(format!("{arrived:?}\n{}", self.collector.log_end()))
            }
        })
        .await
    }

    /// Nothing of this arrives: the loss is said, and what is sent after it is all that is there.
    async fn refuses(&self, variables: &[(&str, &str)]) {
        let case = case();
        let pushing = Pushing::new(&case, &[variables, &[("OTEL_EXPORTER_OTLP_TIMEOUT", "1000")]].concat());
        pushing.reconcile(None, 1).await;
        let said = pushing.telemetry.shutdown(END).await;
        assert!(said.iter().any(|line| line.contains("traces")), "{variables:?}: {said:?}");
        self.of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &self.endpoint("grpc"))], &ALL).await;
        assert_eq!(self.received(&case).signals(), [""; 0], "{variables:?}");
    }
}

const ALL: [&str; 3] = ["traces", "metrics", "logs"];

/// What arrived with the resource attribute `case`, as OTLP's JSON by resource.
struct Received {
    spans: Vec<Value>,
    metrics: Vec<Value>,
    logs: Vec<Value>,
}

impl Received {
    fn signals(&self) -> Vec<&'static str> {
        let all = [("traces", &self.spans), ("metrics", &self.metrics), ("logs", &self.logs)];
        all.into_iter().filter(|(_, parts)| !parts.is_empty()).map(|(signal, _)| signal).collect()
    }

    fn resource(&self) -> BTreeMap<String, String> {
        attributes(&self.spans[0]["resource"]["attributes"])
    }

    fn spans(&self) -> Vec<Value> {
        let scopes = self.spans.iter().flat_map(|part| list(&part["scopeSpans"]));
        scopes.flat_map(|scope| list(&scope["spans"])).cloned().collect()
    }

    fn temporality(&self, name: &str) -> Value {
        let scopes = self.metrics.iter().flat_map(|part| list(&part["scopeMetrics"]));
        let mut metrics = scopes.flat_map(|scope| list(&scope["metrics"]));
        let metric = metrics.find(|metric| metric["name"] == name).unwrap_or_else(|| panic!("no {name}"));
        ["sum", "histogram"].iter().find_map(|form| metric[form].get("aggregationTemporality")).cloned().unwrap_or_default()
    }
}

struct Pushing {
    telemetry: Telemetry,
    dispatch: Dispatch,
}

/// A name that no other case has.
fn case() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("case-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

struct Done;

impl Reported for Done {
    fn report(&self) -> Report {
        wrote()
    }
}

impl Pushing {
    fn new(case: &str, variables: &[(&str, &str)]) -> Self {
        let given = variables.iter().find(|(name, _)| *name == "OTEL_RESOURCE_ATTRIBUTES").map_or("", |(_, value)| value);
        let resource = format!("case={case},{given}");
        let mut all: Vec<(&str, &str)> = variables.iter().filter(|(name, _)| *name != "OTEL_RESOURCE_ATTRIBUTES").copied().collect();
        all.push(("OTEL_RESOURCE_ATTRIBUTES", resource.trim_end_matches(',')));
        let builder = Builder::new(settings(&all), identity()).with_page(false).exporting();
        let (telemetry, dispatch, warnings) = builder.build(&log("info"), Lines::default()).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        Self { telemetry, dispatch }
    }

    /// One reconcile of a rollout of that generation, which a caller may have begun.
    async fn reconcile(&self, parent: Option<&str>, generation: i64) {
        let traces = self.telemetry.traces();
        let rollout = traces.begin_rollout(&RolloutSeed { uid: "uid-1", generation, rebuild: "", parent });
        let work = async { Done };
        self.telemetry.metrics().reconcile(&traces, info(Place::InRollout(rollout)), work).with_subscriber(self.dispatch.clone()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn protocol_and_compression() {
    let receiving = Receiving::shared().await;
    for protocol in ["grpc", "http/protobuf"] {
        for compression in ["none", "gzip"] {
            let endpoint = receiving.endpoint(protocol);
            let variables = [
                ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
                ("OTEL_EXPORTER_OTLP_COMPRESSION", compression),
            ];
            let received = receiving.of(&variables, &ALL).await;
            assert_eq!(received.spans()[0]["name"], "reconcile ElpioService", "{protocol} {compression}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_open_a_door_and_a_signals_own_open_only_its() {
    let receiving = Receiving::shared().await;
    for (protocol, port) in [("grpc", receiving.token.0), ("http/protobuf", receiving.token.1)] {
        let endpoint = format!("http://127.0.0.1:{port}");
        let common = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)];
        let with = |more: &[(&'static str, &'static str)]| [common.as_slice(), more].concat();
        receiving.of(&with(&[("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20s3cret")]), &ALL).await;
        receiving.refuses(&with(&[("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20guessed")])).await;
        let own = with(&[
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20guessed"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=Bearer%20s3cret"),
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_LOGS_EXPORTER", "none"),
        ]);
        assert_eq!(receiving.of(&own, &["traces"]).await.signals(), ["traces"], "{protocol}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mutual_tls_with_an_authority_of_ones_own() {
    let receiving = Receiving::shared().await;
    let (ca, certificate, key) = (receiving.file("ca.crt"), receiving.file("client.crt"), receiving.file("client.key"));
    for (protocol, port) in [("grpc", receiving.mutual.0), ("http/protobuf", receiving.mutual.1)] {
        let endpoint = format!("https://localhost:{port}");
        let common = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)];
        let trusting = [("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.as_str())];
        let known = [("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate.as_str()), ("OTEL_EXPORTER_OTLP_CLIENT_KEY", key.as_str())];
        receiving.of(&[common.as_slice(), &trusting, &known].concat(), &ALL).await;
        // Without a certificate the collector refuses us, without its authority we refuse it.
        receiving.refuses(&[common.as_slice(), &trusting].concat()).await;
        receiving.refuses(&[common.as_slice(), &known].concat()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_and_a_protocol_for_each_signal_and_none_for_another() {
    let receiving = Receiving::shared().await;
    let (grpc, http) = (receiving.endpoint("grpc"), format!("{}/v1/metrics", receiving.endpoint("http/protobuf")));
    let split = [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", grpc.as_str()),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", http.as_str()),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf"),
    ];
    assert_eq!(receiving.of(&split, &["traces", "metrics"]).await.signals(), ["traces", "metrics"]);
    for (variable, left) in [
        ("OTEL_TRACES_EXPORTER", ["metrics", "logs"]),
        ("OTEL_METRICS_EXPORTER", ["traces", "logs"]),
        ("OTEL_LOGS_EXPORTER", ["traces", "metrics"]),
    ] {
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", grpc.as_str()), (variable, "none")];
        assert_eq!(receiving.of(&variables, &left).await.signals(), left, "{variable}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn samplers_and_a_parent_that_decides() {
    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let receiving = Receiving::shared().await;
    let endpoint = receiving.endpoint("grpc");
    for (sampler, argument, parent, expected) in [
        ("always_on", "", None, 20..=20),
        ("always_off", "", None, 0..=0),
        ("traceidratio", "0", None, 0..=0),
        ("traceidratio", "0.5", None, 3..=17),
        ("parentbased_traceidratio", "1", None, 20..=20),
        ("parentbased_always_off", "", Some(SAMPLED), 20..=20),
        ("parentbased_always_on", "", Some(UNSAMPLED), 0..=0),
        ("always_on", "", Some(UNSAMPLED), 20..=20),
        ("always_off", "", Some(SAMPLED), 0..=0),
    ] {
        let case = case();
        let pushing = Pushing::new(
            &case,
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", argument)],
        );
        for generation in 1..=20 {
            pushing.reconcile(parent, generation).await;
        }
        assert!(pushing.telemetry.shutdown(END).await.is_empty());
        // The collector has one queue for each signal: spans that were sent before a sampled one are there when that is.
        receiving.of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)], &ALL).await;
        let spans = receiving.received(&case).spans();
        assert!(expected.contains(&spans.len()), "{sampler} {argument} {parent:?}: {} of 20", spans.len());
        if parent.is_some() {
            assert!(spans.iter().all(|span| span["traceId"] == "0af7651916cd43dd8448eb211c80319c"), "{spans:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn temporality() {
    let receiving = Receiving::shared().await;
    let endpoint = receiving.endpoint("grpc");
    // OTLP: 1 is delta, 2 is cumulative. Up-down counters are cumulative in every case.
    for (preference, counter, histogram) in [("cumulative", 2, 2), ("delta", 1, 1), ("lowmemory", 1, 1)] {
        let variables =
            [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", preference)];
        let received = receiving.of(&variables, &["metrics"]).await;
        assert_eq!(received.temporality("elpio.reconcile"), counter, "{preference}");
        assert_eq!(received.temporality("elpio.reconcile.duration"), histogram, "{preference}");
        assert_eq!(received.temporality("elpio.reconcile.active"), 2, "{preference}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn resource_attributes_and_the_length_of_values() {
    let receiving = Receiving::shared().await;
    let endpoint = receiving.endpoint("grpc");
    let resource = receiving
        .of(
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
                ("OTEL_RESOURCE_ATTRIBUTES", "team=a%2Cb,service.name=list"),
                ("OTEL_SERVICE_NAME", "own"),
            ],
            &ALL,
        )
        .await
        .resource();
    assert_eq!((resource["team"].as_str(), resource["service.name"].as_str()), ("a,b", "own"));
    let short =
        receiving.of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "5")], &["traces"]).await.spans();
    let values = attributes(&short[0]["attributes"]);
    assert_eq!(values["k8s.object.kind"], "Elpio");
}

#[tokio::test(flavor = "multi_thread")]
async fn disabled_is_silent_and_none_is_none() {
    let receiving = Receiving::shared().await;
    let endpoint = receiving.endpoint("grpc");
    for variables in [
        vec![("OTEL_SDK_DISABLED", "true")],
        vec![("OTEL_TRACES_EXPORTER", "none"), ("OTEL_METRICS_EXPORTER", "none"), ("OTEL_LOGS_EXPORTER", "none")],
    ] {
        let case = case();
        let pushing = Pushing::new(&case, &[variables.as_slice(), &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]].concat());
        pushing.reconcile(None, 1).await;
        assert!(pushing.telemetry.shutdown(END).await.is_empty());
        receiving.of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)], &ALL).await;
        assert_eq!(receiving.received(&case).signals(), [""; 0], "{variables:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn console_shows_spans_and_wrong_values_are_one_warning_each() {
    let receiving = Receiving::shared().await;
    let endpoint = receiving.endpoint("grpc");
    let wrong = [
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "often"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip"),
        ("OTEL_PROPAGATORS", "smoke"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
    ];
    let mut variables = wrong.to_vec();
    variables.extend([
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_TRACES_EXPORTER", "otlp,console"),
        ("OTEL_RESOURCE_ATTRIBUTES", "case=wrong-values"),
    ]);
    let stage = Stage::with("wrong-values", &variables).await;
    stage.apply("web", &image("v1")).await;
    stage.ready("web").await;
    receiving.wait_for("wrong-values", &["traces", "logs"]).await;
    eventually("the console shows the rollout", SOON, async || {
        let log = stage.operator.log();
        if log.contains("rollout ElpioService") { Ok(()) } else { Err(stage.operator.log_end()) }
    })
    .await;
    let log = stage.operator.log();
    for (variable, value) in wrong {
        let lines: Vec<&str> = log.lines().filter(|line| text_of(line).contains(variable)).collect();
        assert_eq!(lines.len(), 1, "{variable}: {lines:?}");
        assert!(lines[0].contains("WARN") && lines[0].contains(value), "{}", lines[0]);
    }
}

fn text_of(line: &str) -> String {
    serde_json::from_str::<Value>(line).map_or_else(|_| String::new(), |line| text(&line["message"]))
}
