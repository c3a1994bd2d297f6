//! Log lines and log records.

use std::collections::BTreeMap;

use elpio_operator::{
    api::event::NewEvent,
    telemetry::{
        ErrorType, LogConfig, LogFormat, ObjectReference, RolloutSeed, SpanParent, TelemetryBuilder,
    },
};
use opentelemetry::logs::AnyValue;
use opentelemetry_sdk::logs::{InMemoryLogExporter, SdkLogRecord};

use super::harness::{
    Lines, config, failed, harness, harness_with, identity, log, named, reference, settled, wrote,
};

const SEED: RolloutSeed<'_> =
    RolloutSeed { uid: "uid-1", generation: 7, rebuild: "", parent: None, tracestate: None };

#[tokio::test(flavor = "multi_thread")]
async fn one_line_for_what_changed_something_and_none_for_what_did_not() {
    let harness = harness();
    let rollout = harness.telemetry.traces().begin_rollout(&SEED);
    harness.reconcile(SpanParent::InRollout(rollout.clone()), async { settled() }).await;
    assert_eq!(harness.lines.text(), "");
    harness.reconcile(SpanParent::InRollout(rollout.clone()), async { wrote() }).await;
    harness.reconcile(SpanParent::InRollout(rollout.clone()), async { failed(ErrorType::Throttled) }).await;
    harness.reconcile(SpanParent::InRollout(rollout.clone()), async { failed(ErrorType::Internal) }).await;
    let lines = harness.lines.json();
    let levels: Vec<_> = lines.iter().map(|line| line["level"].as_str().unwrap()).collect();
    assert_eq!(levels, ["INFO", "WARN", "ERROR"]);
    for line in &lines {
        assert_eq!(
            (&line["kind"], &line["namespace"], &line["name"]),
            (&"ElpioService".into(), &"shop".into(), &"cart".into()),
            "{line}"
        );
        assert_eq!(line["generation"], 7);
        assert!(line["seconds"].as_f64().unwrap() > 0.0, "{line}");
        assert_eq!(line["trace_id"], rollout.ids().unwrap().trace_id());
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }
    assert_eq!(lines[1]["error"], "apply Service: the API server said no: quota", "the whole chain");
    assert_eq!(lines[1]["error.type"], "throttled");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_in_a_reconcile_names_its_object() {
    let harness = harness_with(&[], "warn,elpio=debug,telemetry=debug");
    let rollout = harness.telemetry.traces().begin_rollout(&SEED);
    harness
        .reconcile(SpanParent::InRollout(rollout), async {
            tracing::debug!(target: "elpio::x", attempt = 3, name = "its own", "deep \"inside\"\n");
            tracing::info!(target: "somebody", "not shown");
            settled()
        })
        .await;
    let lines = harness.lines.json();
    assert_eq!(lines.len(), 1, "{}", harness.lines.text());
    assert_eq!(lines[0]["message"], "deep \"inside\"\n");
    assert_eq!((&lines[0]["attempt"], &lines[0]["namespace"]), (&3.into(), &"shop".into()));
    assert_eq!(lines[0]["name"], "its own", "an event's own field wins");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_go_to_the_collector_with_the_object_and_the_ids() {
    let harness = harness();
    let rollout = harness.telemetry.traces().begin_rollout(&SEED);
    harness.reconcile(SpanParent::InRollout(rollout), async { wrote() }).await;
    let spans = harness.spans();
    let records = harness.logs.get_emitted_logs().unwrap();
    assert_eq!(records.len(), 1);
    let record = &records[0].record;
    let context = record.trace_context().unwrap();
    assert_eq!(context.trace_id, named(&spans, "reconcile ElpioService").span_context.trace_id());
    assert!(record.attributes_iter().any(|(key, _)| key.as_str() == "k8s.object.uid"));
    assert_eq!(record.event_name(), Some(""), "not the path of a source file");
    assert_eq!(format!("{:?}", record.body().unwrap()), "String(Owned(\"reconciled\"))");
}

/// A record's attributes, its body, and what else it was given.
fn shown(record: &SdkLogRecord) -> (BTreeMap<String, String>, String) {
    let text = |value: &AnyValue| match value {
        AnyValue::String(text) => text.as_str().to_owned(),
        other => format!("{other:?}"),
    };
    let attributes = record.attributes_iter().map(|(key, value)| (key.to_string(), text(value))).collect();
    (attributes, record.body().map(text).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn long_attributes_of_records_are_cut_where_asked_and_nothing_else_is() {
    for (variable, limit) in
        [("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", 4), ("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", 3)]
    {
        let harness = harness_with(&[(variable, &limit.to_string())], "info,elpio=info");
        let rollout = harness.telemetry.traces().begin_rollout(&SEED);
        let traces = harness.telemetry.traces();
        harness
            .reconcile(SpanParent::InRollout(rollout), async {
                tracing::info!(target: "elpio::x", cause = "äöüäöü", attempts = 70_000, "a long message");
                let event = NewEvent {
                    type_: "Normal",
                    reason: "Reconciled",
                    action: "Apply",
                    note: "a long note".into(),
                    ..NewEvent::default()
                };
                traces.emit_event(&ObjectReference { name: "cart-cart".into(), ..reference() }, &event);
                settled()
            })
            .await;
        harness.telemetry.flush();
        let records = harness.logs.get_emitted_logs().unwrap();
        assert_eq!(records.len(), 2, "{records:?}");
        let cut = |text: &str| text.chars().take(limit).collect::<String>();
        let (line, event) = (&records[0].record, &records[1].record);
        let (attributes, body) = shown(line);
        assert_eq!(
            (&attributes["cause"], &attributes["attempts"]),
            (&cut("äöüäöü"), &"Int(70000)".to_owned()),
            "{variable}"
        );
        assert_eq!(
            (attributes["k8s.object.kind"].clone(), body.as_str()),
            (cut("ElpioService"), "a long message"),
            "{variable}"
        );
        assert!(
            line.trace_context().is_some()
                && line.timestamp().is_none()
                && line.observed_timestamp().is_some(),
            "{line:?}"
        );
        assert_eq!((line.severity_text(), line.target().unwrap().as_ref()), (Some("INFO"), "elpio::x"));
        let (attributes, body) = shown(event);
        assert_eq!(
            (attributes["k8s.object.name"].clone(), body.as_str()),
            (cut("cart-cart"), "a long note"),
            "{variable}"
        );
        assert_eq!((event.event_name(), event.timestamp().is_some()), (Some("k8s.event"), true));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_carries_records_makes_none_and_the_sdk_is_silent() {
    let harness = harness_with(&[], "trace");
    tracing::dispatcher::with_default(&harness.dispatch, || {
        for_each_target();
    });
    harness.telemetry.flush();
    let records = harness.logs.get_emitted_logs().unwrap();
    assert_eq!(records.len(), 1, "{records:?}");
    let targets: Vec<_> =
        harness.lines.json().iter().map(|line| line["target"].as_str().unwrap().to_owned()).collect();
    assert_eq!(
        targets,
        ["h2::client", "tonic", "elpio::x"],
        "stderr may show them, but for the SDK's own words"
    );
}

/// The transport has hundreds of such events, some of them for each frame.
#[test]
fn the_fields_of_an_event_that_nothing_wants_are_not_evaluated() {
    let builder = TelemetryBuilder::new(config(&[]), identity()).records(InMemoryLogExporter::default());
    let (_telemetry, dispatch, _) = builder.build(&log("info"), Lines::default()).unwrap();
    let evaluated = std::cell::Cell::new(0);
    let count = || evaluated.replace(evaluated.get() + 1);
    tracing::dispatcher::with_default(&dispatch, || {
        tracing::trace!(target: "h2::client", n = count(), "x");
        tracing::debug!(target: "elpio_operator", n = count(), "x");
        assert_eq!(evaluated.get(), 0, "unwanted");
        tracing::info!(target: "elpio_operator", n = count(), "x");
        assert_eq!(evaluated.get(), 1, "wanted");
    });
}

fn for_each_target() {
    tracing::error!(target: "opentelemetry_sdk", "x");
    tracing::error!(target: "opentelemetry-otlp", "x");
    tracing::error!(target: "h2::client", "x");
    tracing::error!(target: "tonic", "x");
    tracing::error!(target: "elpio::x", "x");
}

#[test]
fn a_broken_filter_is_one_warning_and_info() {
    let lines = Lines::default();
    let builder = TelemetryBuilder::new(config(&[]), identity()).records(InMemoryLogExporter::default());
    let (_telemetry, dispatch, warnings) = builder.build(&log("elpio=loud"), lines.clone()).unwrap();
    assert!(
        warnings.len() == 1 && warnings[0].contains("ELPIO_LOG") && warnings[0].contains("elpio=loud"),
        "{warnings:?}"
    );
    tracing::dispatcher::with_default(&dispatch, || {
        tracing::info!("shown");
        tracing::debug!("not shown");
    });
    assert_eq!(lines.json().len(), 1);
}

#[test]
fn a_person_gets_one_readable_line_without_control_characters() {
    for ansi in [false, true] {
        let lines = Lines::default();
        let pretty = LogConfig { filter: "info".into(), format: LogFormat::Pretty, ansi };
        let (_telemetry, dispatch, _) =
            TelemetryBuilder::new(config(&[]), identity()).build(&pretty, lines.clone()).unwrap();
        tracing::dispatcher::with_default(&dispatch, || tracing::info!(user = "a\x1b[31m", "hello\nworld"));
        let text = lines.text();
        assert_eq!(text.lines().count(), 1, "{text:?}");
        assert!(text.contains("hello\\nworld user=a\\u{1b}[31m"), "{text:?}");
        assert_eq!(text.contains("\x1b["), ansi, "{text:?}");
    }
}
