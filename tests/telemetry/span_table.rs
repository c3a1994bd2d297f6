//! The table of spans, held to what is emitted, and what is emitted held to it.

use std::{
    collections::BTreeSet,
    io,
    time::{Duration, SystemTime},
};

use elpio_operator::{
    api::{BuildResult, RolloutOutcome},
    foreign::ChildKind,
    telemetry::{
        BuildSpan, CallingReconcile, ChildStep, ErrorType, Kind, ObjectReference, ReconcileReport,
        ReconcileStep, RolloutContext, RolloutSeed, RolloutSpan, SpanParent, TaskSpan,
        catalog::{
            spans::{Parent, SPANS, find},
            spans_doc,
        },
        fail_step, step, step_for,
    },
};
use opentelemetry::SpanId;
use opentelemetry_sdk::trace::SpanData;
use tracing::{Instrument, instrument::WithSubscriber};

use super::{
    calls::call,
    harness::{TelemetryHarness, attributes, failed, harness, reference, wrote},
    span_rows::{row, state},
};

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const OBJECT: &str = "/apis/serving.knative.dev/v1/namespaces/shop/services/cart";

/// What the parent of a span is, among all the spans of a test.
fn parent(span: &SpanData, all: &[SpanData]) -> Parent {
    let id = span.parent_span_id;
    if id == SpanId::INVALID {
        return Parent::None;
    }
    if CALLER.contains(&id.to_string()) {
        return Parent::Caller;
    }
    let above = all.iter().find(|other| {
        other.span_context.span_id() == id && other.span_context.trace_id() == span.span_context.trace_id()
    });
    Parent::Of(row(above.unwrap_or_else(|| panic!("{}: its parent {id} was not emitted", span.name))).name)
}

/// Everything that the table says can be.
fn stated() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for row in SPANS {
        all.extend(
            row.attributes.iter().map(|attribute| format!("{}: attribute {}", row.name, attribute.key)),
        );
        let optional = row.attributes.iter().filter(|attribute| attribute.present_when.is_some());
        all.extend(optional.map(|attribute| format!("{}: without attribute {}", row.name, attribute.key)));
        all.extend(row.parents.iter().map(|parent| format!("{}: parent {parent:?}", row.name)));
        all.extend(row.statuses.iter().map(|(state, _)| format!("{}: status {state:?}", row.name)));
        all.extend(row.link.map(|_| format!("{}: link", row.name)));
        all.extend(row.exception.map(|_| format!("{}: exception", row.name)));
    }
    all
}

/// What these spans were.
fn emitted(spans: &[SpanData], exceptions: &[String]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for span in spans {
        let (row, found) = (row(span), attributes(span));
        for attribute in row.attributes {
            let missing = if found.contains_key(attribute.key) { "" } else { "without " };
            all.insert(format!("{}: {missing}attribute {}", row.name, attribute.key));
        }
        all.insert(format!("{}: parent {:?}", row.name, parent(span, spans)));
        all.insert(format!("{}: status {:?}", row.name, state(&span.status)));
        all.extend(span.links.links.first().map(|_| format!("{}: link", row.name)));
        let has_exception = exceptions.contains(&span.span_context.span_id().to_string());
        all.extend(has_exception.then(|| format!("{}: exception", row.name)));
    }
    all
}

/// A reconcile with all its steps and a call in each, and one call outside of them.
async fn full_reconcile(harness: &TelemetryHarness, location: SpanParent) {
    harness
        .reconcile(location, async {
            for next in ReconcileStep::ALL {
                call(harness, "GET", OBJECT, Ok(404)).instrument(step(next)).await;
            }
            for next in ChildStep::ALL {
                call(harness, "PATCH", OBJECT, Ok(200))
                    .instrument(step_for(next, ChildKind::KnativeService))
                    .await;
            }
            let refused = step_for(ChildStep::Apply, ChildKind::Deployment);
            call(harness, "PATCH", OBJECT, Ok(403)).instrument(refused.clone()).await;
            fail_step(&refused, ErrorType::Forbidden, "no");
            call(harness, "GET", OBJECT, Err(io::ErrorKind::ConnectionRefused)).await;
            call(harness, "PURGE", OBJECT, Ok(405)).await;
            wrote()
        })
        .await;
}

fn end(harness: &TelemetryHarness, ctx: RolloutContext, outcome: RolloutOutcome, link: Option<&str>) {
    let now = SystemTime::now();
    let error = (outcome == RolloutOutcome::TimedOut)
        .then(|| "EngineNotReady: the image cannot be pulled".to_owned());
    harness.telemetry.traces().emit_rollout(RolloutSpan {
        ctx,
        object: ObjectReference { kind: Kind::ElpioFunction, ..reference() },
        generation: 7,
        engine: None,
        started: now - Duration::from_secs(9),
        ended: now,
        outcome,
        error,
        link: link.map(str::to_owned),
    });
}

/// A build of one task, which ends as the build does.
fn build(ctx: &RolloutContext, result: BuildResult) -> BuildSpan {
    let (ended, error) =
        (SystemTime::now(), (result != BuildResult::Success).then(|| "out of memory".to_owned()));
    let started = ended - Duration::from_secs(5);
    let task = TaskSpan {
        name: "fetch".into(),
        run: format!("{result}-fetch"),
        uid: format!("{result}-2"),
        started,
        ended,
        result,
        error,
    };
    BuildSpan {
        ctx: ctx.clone(),
        pipeline: "cart".into(),
        namespace: "shop".into(),
        run: format!("cart-{result}"),
        uid: format!("{result}-1"),
        started,
        ended,
        result,
        error: task.error.clone(),
        tasks: vec![task],
    }
}

/// An Event that is written after its reconcile.
async fn late(harness: &TelemetryHarness, location: SpanParent) {
    let mut caller = None;
    let published = async {
        let publish = async { caller = CallingReconcile::current() };
        publish.instrument(step(ReconcileStep::Event)).await;
        wrote()
    };
    harness.reconcile(location, published).await;
    let write = async { call(harness, "POST", OBJECT, Ok(201)).await };
    CallingReconcile::run(caller.as_ref(), write).with_subscriber(harness.dispatch.clone()).await;
}

/// Emits all there is.
async fn all(harness: &TelemetryHarness) {
    let traces = harness.telemetry.traces();
    let begin = |generation, parent: Option<&str>| {
        traces.begin_rollout(&RolloutSeed { uid: "uid-1", generation, rebuild: "", parent, tracestate: None })
    };
    let first = begin(1, Some(CALLER));
    full_reconcile(harness, SpanParent::InRollout(first.clone())).await;
    late(harness, SpanParent::InRollout(first.clone())).await;
    end(harness, first.clone(), RolloutOutcome::Superseded, None);
    let second = begin(2, None);
    let nothing_yet = async { ReconcileReport { engine: None, ..failed(ErrorType::InvalidSpec) } };
    harness.reconcile(SpanParent::InRollout(second.clone()), nothing_yet).await;
    let not_ready = async {
        ReconcileReport {
            ready_reason: Some("EngineNotReady".into()),
            ready_message: Some("the image cannot be pulled".into()),
            warning_event: Some("Progressing"),
            ..wrote()
        }
    };
    harness.reconcile(SpanParent::InRollout(second.clone()), not_ready).await;
    for result in BuildResult::ALL {
        traces.emit_build(&build(&second, result));
    }
    end(harness, second.clone(), RolloutOutcome::Ready, Some(CALLER));
    // As a function calls its service.
    let caller = second.traceparent();
    end(harness, begin(3, caller.as_deref()), RolloutOutcome::TimedOut, None);
    full_reconcile(harness, SpanParent::AfterRollout(Some(second))).await;
    // One that is cut short in a rollout.
    let fourth = begin(4, None);
    let mut cut = Box::pin(harness.reconcile(SpanParent::InRollout(fourth.clone()), std::future::pending()));
    assert!(futures::poll!(cut.as_mut()).is_pending());
    drop(cut);
    end(harness, fourth, RolloutOutcome::Deleted, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_of_the_table_are_emitted_and_no_others() {
    let harness = harness();
    all(&harness).await;
    let spans = harness.spans();
    let exceptions: Vec<String> = harness.exceptions().into_iter().map(|(span, _)| span).collect();
    let (stated, emitted) = (stated(), emitted(&spans, &exceptions));
    let (never, beyond): (Vec<_>, Vec<_>) =
        (stated.difference(&emitted).collect(), emitted.difference(&stated).collect());
    assert!(
        never.is_empty() && beyond.is_empty(),
        "in the table and not emitted: {never:#?}\nemitted and not in the table: {beyond:#?}"
    );
}

#[test]
fn the_committed_page_is_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/otel/spans.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, spans_doc::render()).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == spans_doc::render(), "otel/spans.md is not the table: run with UPDATE_GOLDEN=1");
}

#[test]
fn a_name_belongs_to_one_row() {
    for (name, expected) in [
        ("rollout ElpioService", Some("rollout KIND")),
        ("rollout Deployment", None),
        ("observe", Some("STEP")),
        ("observe Service", None),
        ("apply Service", Some("STEP CHILD")),
        ("GET /version", Some("METHOD TEMPLATE")),
        ("HTTP /version", Some("METHOD TEMPLATE")),
        ("BUILD apply Service", Some("BUILD NAME")),
        ("task fetch", Some("task NAME")),
        ("somebody's span", None),
    ] {
        assert_eq!(find(name).map(|row| row.name), expected, "{name}");
    }
}
