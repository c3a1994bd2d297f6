//! Telemetry with in-memory exporters, and reconciles made up for tests.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{Arc, Mutex},
};

use elpio_operator::{
    foreign::ChildKind,
    telemetry::{
        ApplyOutcome, ErrorType, Failure, Identity, Kind, LogConfig, LogFormat, ObjectReference,
        ReconcileInfo, ReconcileOutcome, ReconcilePanicked, ReconcileReport, SpanParent, Telemetry,
        TelemetryBuilder, TelemetryConfig, Trigger,
    },
};
use opentelemetry::{Value, logs::AnyValue};
use opentelemetry_sdk::{
    logs::InMemoryLogExporter,
    metrics::InMemoryMetricExporter,
    trace::{InMemorySpanExporter, SpanData},
};
use tracing::{Dispatch, instrument::WithSubscriber};
use tracing_subscriber::fmt::MakeWriter;

use crate::span_rows;

pub struct TelemetryHarness {
    pub telemetry: Telemetry,
    pub dispatch: Dispatch,
    pub spans: InMemorySpanExporter,
    pub metrics: InMemoryMetricExporter,
    pub logs: InMemoryLogExporter,
    pub lines: Lines,
}

/// What was written to "stderr".
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    pub fn json(&self) -> Vec<serde_json::Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

pub fn config(variables: &[(&str, &str)]) -> TelemetryConfig {
    let all: HashMap<String, String> =
        variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let (config, warnings) = TelemetryConfig::from_env(&|name| all.get(name).cloned());
    assert!(warnings.is_empty(), "{warnings:?}");
    config
}

pub fn identity() -> Identity {
    Identity { version: "1.2.3", revision: "abc", rustc: "1.95", ..Identity::default() }
}

pub fn log(filter: &str) -> LogConfig {
    LogConfig { filter: filter.to_owned(), format: LogFormat::Json, ansi: false }
}

/// Everything is on.
pub fn harness() -> TelemetryHarness {
    harness_with(&[], "info")
}

pub fn harness_with(variables: &[(&str, &str)], filter: &str) -> TelemetryHarness {
    let (spans, metrics, logs) =
        (InMemorySpanExporter::default(), InMemoryMetricExporter::default(), InMemoryLogExporter::default());
    let builder = TelemetryBuilder::new(config(variables), identity()).with_metrics_endpoint(true);
    let builder = builder.spans(spans.clone()).metrics(metrics.clone()).records(logs.clone());
    let lines = Lines::default();
    let (telemetry, dispatch, warnings) = builder.build(&log(filter), lines.clone()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    TelemetryHarness { telemetry, dispatch, spans, metrics, logs, lines }
}

impl TelemetryHarness {
    /// Runs one reconcile.
    pub async fn reconcile<F: Future<Output = ReconcileReport>>(&self, parent: SpanParent, reconcile: F) {
        self.try_reconcile(parent, reconcile).await.expect("no panic");
    }

    /// Runs one reconcile that may panic.
    pub async fn try_reconcile<F: Future<Output = ReconcileReport>>(
        &self,
        parent: SpanParent,
        reconcile: F,
    ) -> Result<(), ReconcilePanicked> {
        self.telemetry
            .metrics()
            .reconcile(&self.telemetry.traces(), info(parent), reconcile)
            .with_subscriber(self.dispatch.clone())
            .await
            .map(drop)
    }

    /// The log records `exception` that the collector got: the span's id, and the attributes.
    pub fn exceptions(&self) -> Vec<(String, BTreeMap<String, String>)> {
        self.telemetry.flush();
        let records = self.logs.get_emitted_logs().unwrap();
        let exceptions = records.iter().filter(|log| log.record.event_name() == Some("exception"));
        exceptions
            .map(|log| {
                let span = log.record.trace_context().map(|ids| ids.span_id.to_string()).unwrap_or_default();
                let attributes = log.record.attributes_iter().filter_map(|(key, value)| match value {
                    AnyValue::String(text) => Some((key.to_string(), text.as_str().to_owned())),
                    _ => None,
                });
                (span, attributes.collect())
            })
            .collect()
    }

    /// What was exported, in order of the spans' ends; each is one of the table's.
    pub fn spans(&self) -> Vec<SpanData> {
        let spans = self.spans_as_cut();
        spans.iter().for_each(span_rows::is_of_its_row);
        spans
    }

    /// What was exported where limits cut values.
    pub fn spans_as_cut(&self) -> Vec<SpanData> {
        self.telemetry.flush();
        self.spans.get_finished_spans().unwrap()
    }

    pub fn page(&self) -> String {
        self.render(None)
    }

    pub fn openmetrics(&self) -> String {
        self.render(Some("application/openmetrics-text; version=1.0.0"))
    }

    fn render(&self, accept: Option<&str>) -> String {
        String::from_utf8(self.telemetry.metrics_endpoint().unwrap().render(accept).1).unwrap()
    }

    /// Value of one series of the page.
    pub fn value(&self, series: &str) -> Option<f64> {
        let page = self.page();
        page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }
}

/// The object of [`info`].
pub fn reference() -> ObjectReference {
    ObjectReference {
        kind: Kind::ElpioService,
        api_version: "elpio.io/v1alpha1",
        namespace: "shop".into(),
        name: "cart".into(),
        uid: "uid-1".into(),
    }
}

pub fn info(location: SpanParent) -> ReconcileInfo {
    ReconcileInfo {
        object: Arc::new(reference()),
        generation: 7,
        trigger: Trigger::Spec,
        attempt: 2,
        parent: location,
    }
}

pub fn settled() -> ReconcileReport {
    ReconcileReport {
        failure: None,
        engine: Some("knative"),
        outcome: ReconcileOutcome::Ready,
        applied: vec![],
        changed_anything: false,
        ..ReconcileReport::default()
    }
}

pub fn wrote() -> ReconcileReport {
    ReconcileReport {
        applied: vec![(ChildKind::KnativeService, ApplyOutcome::Changed)],
        outcome: ReconcileOutcome::Waiting,
        changed_anything: true,
        ..settled()
    }
}

pub fn failed(error_type: ErrorType) -> ReconcileReport {
    let failure = Failure { error_type, message: "apply Service: the API server said no: quota".into() };
    ReconcileReport { failure: Some(failure), outcome: ReconcileOutcome::Failed, ..settled() }
}

pub fn attributes(span: &SpanData) -> BTreeMap<String, Value> {
    span.attributes.iter().map(|kv| (kv.key.to_string(), kv.value.clone())).collect()
}

pub fn named<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    let names: Vec<_> = spans.iter().map(|span| &span.name).collect();
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name} in {names:?}"))
}
