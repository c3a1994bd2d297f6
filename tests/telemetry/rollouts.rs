//! The trace of a rollout: ids that any replica derives, and a root span with true times.

use std::time::{Duration, SystemTime};

use elpio_operator::{
    api::{Engine, RolloutOutcome, RolloutStatus, policy::TraceParentPolicy},
    controller::{
        RolloutTelemetry,
        kinds::{Object, service::Service},
    },
    telemetry::{RolloutContext, RolloutSeed, RolloutSpan, SpanParent},
};
use jiff::Timestamp;
use opentelemetry::{Value, trace::Status};

use super::{
    calls::call_headers,
    harness::{TelemetryHarness, attributes, harness, harness_with, named, reference, settled},
};

const SEED: RolloutSeed<'_> =
    RolloutSeed { uid: "uid-1", generation: 7, rebuild: "", parent: None, tracestate: None };
const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const CALLER_UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

fn span(ctx: RolloutContext, outcome: RolloutOutcome) -> RolloutSpan {
    let started = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    RolloutSpan {
        ctx,
        object: reference(),
        generation: 7,
        engine: Some(Engine::Knative),
        started,
        ended: started + Duration::from_millis(4_250),
        outcome,
        error: (outcome == RolloutOutcome::TimedOut)
            .then(|| "EngineReady: the image cannot be pulled".into()),
        link: None,
    }
}

fn emit(harness: &TelemetryHarness, span: RolloutSpan) {
    harness.telemetry.traces().emit_rollout(span);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_has_exactly_the_ids_and_times_it_was_given() {
    let harness = harness();
    let ctx = harness.telemetry.traces().begin_rollout(&SEED);
    let ids = ctx.ids().unwrap();
    emit(&harness, span(ctx, RolloutOutcome::Ready));
    let spans = harness.spans();
    let root = named(&spans, "rollout ElpioService");
    assert_eq!(root.span_context.trace_id().to_string(), ids.trace_id());
    assert_eq!(root.span_context.span_id().to_string(), ids.span_id());
    assert_eq!(root.parent_span_id.to_string(), "0000000000000000");
    assert_eq!(root.end_time.duration_since(root.start_time).unwrap(), Duration::from_millis(4_250));
    assert_eq!(root.start_time, SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    assert_eq!(root.status, Status::Ok);
    let found = attributes(root);
    for (key, value) in [("elpio.outcome", "ready"), ("elpio.engine", "knative"), ("k8s.object.name", "cart")]
    {
        assert_eq!(found.get(key), Some(&Value::from(value)), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_rollout_decides_the_status() {
    let harness = harness();
    let ctx = harness.telemetry.traces().begin_rollout(&SEED);
    for outcome in [RolloutOutcome::Superseded, RolloutOutcome::Deleted, RolloutOutcome::TimedOut] {
        emit(&harness, span(ctx.clone(), outcome));
    }
    let statuses: Vec<_> = harness.spans().into_iter().map(|span| span.status).collect();
    assert_eq!(
        statuses,
        [Status::Unset, Status::Unset, Status::error("EngineReady: the image cannot be pulled")]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_replica_emits_the_same_root() {
    let (first, second) = (harness(), harness());
    let begun = first.telemetry.traces().begin_rollout(&SEED);
    assert_eq!(
        second.telemetry.traces().begin_rollout(&SEED),
        begun,
        "a crash before the first write loses nothing"
    );
    let traceparent = begun.traceparent().unwrap();
    let resumed = second.telemetry.traces().resume_rollout(Some(&traceparent), &SEED);
    assert_eq!(resumed, begun);
    emit(&first, span(begun, RolloutOutcome::Ready));
    emit(&second, span(resumed, RolloutOutcome::Ready));
    assert_eq!(first.spans(), second.spans(), "backends drop the second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_wins_and_becomes_the_parent() {
    let harness = harness();
    let seed = RolloutSeed { parent: Some(CALLER), ..SEED };
    let ctx = harness.telemetry.traces().begin_rollout(&seed);
    let ids = ctx.ids().unwrap();
    assert_eq!(ids.trace_id(), "0af7651916cd43dd8448eb211c80319c");
    let resumed = harness.telemetry.traces().resume_rollout(ctx.traceparent().as_deref(), &seed);
    assert_eq!(resumed, ctx);
    harness.reconcile(SpanParent::InRollout(ctx.clone()), async { settled() }).await;
    emit(
        &harness,
        RolloutSpan {
            link: Some("00-11111111111111111111111111111111-2222222222222222-01".into()),
            ..span(resumed, RolloutOutcome::Ready)
        },
    );
    let spans = harness.spans();
    let root = named(&spans, "rollout ElpioService");
    assert_eq!(root.parent_span_id.to_string(), "b7ad6b7169203331");
    assert!(root.parent_span_is_remote);
    assert_eq!(root.span_context.span_id().to_string(), ids.span_id());
    assert_eq!(root.links.links[0].span_context.span_id().to_string(), "2222222222222222");
    let reconcile = named(&spans, "reconcile ElpioService");
    assert_eq!(reconcile.parent_span_id, root.span_context.span_id());
    assert_eq!(reconcile.span_context.trace_id(), root.span_context.trace_id());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_caller_is_ignored() {
    let harness = harness();
    let traces = harness.telemetry.traces();
    let ctx = traces.begin_rollout(&RolloutSeed { parent: Some("00-junk-01"), ..SEED });
    assert_eq!(ctx, traces.begin_rollout(&SEED));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configured_sampler_is_asked_once_and_its_answer_kept() {
    for (sampler, arg, parent, sampled) in [
        ("always_on", "", None, true),
        ("always_off", "", None, false),
        ("traceidratio", "0", None, false),
        ("traceidratio", "1", None, true),
        ("parentbased_always_on", "", Some(CALLER), true),
        ("parentbased_always_on", "", Some(CALLER_UNSAMPLED), false),
        ("parentbased_always_off", "", Some(CALLER), true),
        ("always_on", "", Some(CALLER_UNSAMPLED), true),
        ("always_off", "", Some(CALLER), false),
    ] {
        let harness =
            harness_with(&[("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", arg)], "info");
        let seed = RolloutSeed { parent, ..SEED };
        let ctx = harness.telemetry.traces().begin_rollout(&seed);
        assert_eq!(ctx.ids().is_some(), sampled, "{sampler} {arg} {parent:?}");
        harness.reconcile(SpanParent::InRollout(ctx.clone()), async { settled() }).await;
        emit(&harness, span(ctx.clone(), RolloutOutcome::Ready));
        let spans = harness.spans();
        assert_eq!(spans.len(), if sampled { 2 } else { 0 }, "{sampler} {arg} {parent:?}");
        // None in the status says that it was not sampled, and nobody is asked again.
        let resumed = harness.telemetry.traces().resume_rollout(ctx.traceparent().as_deref(), &seed);
        assert_eq!(resumed, ctx, "{sampler} {arg} {parent:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_was_sampled_stays_so_when_the_sampler_is_changed() {
    let before = harness();
    let traceparent = before.telemetry.traces().begin_rollout(&SEED).traceparent();
    let after =
        harness_with(&[("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0")], "info");
    let ctx = after.telemetry.traces().resume_rollout(traceparent.as_deref(), &SEED);
    after.reconcile(SpanParent::InRollout(ctx.clone()), async { settled() }).await;
    emit(&after, span(ctx, RolloutOutcome::Ready));
    assert_eq!(after.spans().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_random_flag_and_tracestate_are_carried_on() {
    let harness = harness();
    let caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03";
    let seed = RolloutSeed { parent: Some(caller), tracestate: Some("ot=rv:1,vendor=x"), ..SEED };
    let ctx = harness.telemetry.traces().begin_rollout(&seed);
    let traceparent = ctx.traceparent().unwrap();
    assert!(traceparent.ends_with("-03"), "{traceparent}");
    let resumed = harness.telemetry.traces().resume_rollout(Some(&traceparent), &seed);
    assert_eq!(resumed, ctx);
    let mut sent = None;
    harness
        .reconcile(SpanParent::InRollout(resumed), async {
            sent = call_headers(&harness, "PATCH", "/api/v1/namespaces/shop/services/cart", Ok(200)).await;
            settled()
        })
        .await;
    let headers = sent.expect("a request");
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(text("tracestate").as_deref(), Some("ot=rv:1,vendor=x"));
    assert!(text("traceparent").is_some_and(|value| value.ends_with("-03")), "{headers:?}");
    let derived = harness.telemetry.traces().begin_rollout(&SEED).traceparent().unwrap();
    assert!(derived.ends_with("-01"), "an id that an author can choose is not random: {derived}");
    let malformed = RolloutSeed { tracestate: Some("=,=\u{7f}"), ..seed };
    assert!(harness.telemetry.traces().begin_rollout(&malformed).traceparent().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_is_equal_however_exact_the_clock_was() {
    let harness = harness();
    let ctx = harness.telemetry.traces().begin_rollout(&SEED);
    let exact = span(ctx.clone(), RolloutOutcome::Ready);
    let started = exact.started + Duration::from_nanos(123_456_789);
    let stored = exact.started + Duration::from_micros(123_456);
    emit(&harness, RolloutSpan { started, ..exact.clone() });
    emit(&harness, RolloutSpan { started: stored, ..exact });
    let spans = harness.spans();
    assert_eq!(spans[0], spans[1], "the API server keeps microseconds");
}

fn rollout_telemetry(harness: &TelemetryHarness, trace_parent: TraceParentPolicy) -> RolloutTelemetry {
    let (traces, metrics) = (harness.telemetry.traces(), harness.telemetry.metrics());
    RolloutTelemetry { traces, metrics, trace_parent }
}

fn service(caller: &str, status: &serde_json::Value) -> Object<Service> {
    serde_json::from_value(serde_json::json!({
        "apiVersion": "elpio.io/v1alpha1", "kind": "ElpioService",
        "metadata": {
            "name": "cart", "namespace": "shop", "uid": "uid-1", "generation": 7,
            "annotations": {"elpio.io/traceparent": caller},
        },
        "spec": {"image": {"repository": "registry.example.com/app"}},
        "status": status,
    }))
    .unwrap()
}

/// The rollout that an object is in: what the status is to hold, and its context.
fn current(rollouts: &RolloutTelemetry, object: &Object<Service>) -> (RolloutStatus, RolloutContext) {
    let state = rollouts.current::<Service>(object, Timestamp::from_second(1_700_000_000).unwrap());
    let SpanParent::InRollout(ctx) = state.telemetry else { panic!("{object:?}: the rollout goes on") };
    (state.status, ctx)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_joined_an_unsampled_caller_stays_in_its_trace() {
    let harness = harness_with(&[("OTEL_TRACES_SAMPLER", "parentbased_always_on")], "info");
    for (policy, joins) in [(TraceParentPolicy::Join, true), (TraceParentPolicy::Link, false)] {
        let rollouts = rollout_telemetry(&harness, policy);
        let (status, begun) = current(&rollouts, &service(CALLER_UNSAMPLED, &serde_json::Value::Null));
        let stored = service(CALLER_UNSAMPLED, &serde_json::json!({"rollout": status}));
        let (_, resumed) = current(&rollouts, &stored);
        assert_eq!(begun, resumed, "{policy:?}");
        let of_caller = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_string();
        let in_callers_trace = format!("{resumed:?}").contains(&of_caller);
        assert_eq!(in_callers_trace, joins, "{policy:?}: {resumed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_is_the_parent_only_in_its_own_trace() {
    const OWN: &str = "00-11111111111111111111111111111111-2222222222222222-01";
    let harness = harness();
    let rollouts = rollout_telemetry(&harness, TraceParentPolicy::Join);
    for (own, caller, is_parent) in [
        (OWN, None, false),
        (CALLER, Some(CALLER), true),
        // Kept so that the next generation knows it, yet not the parent of this one.
        (OWN, Some(CALLER), false),
    ] {
        let rollout = serde_json::json!({
            "generation": 7, "traceparent": own, "parent": caller, "startedAt": "2023-11-14T22:13:20.000000Z",
        });
        let (_, ctx) = current(&rollouts, &service(CALLER, &serde_json::json!({"rollout": rollout})));
        assert_eq!(format!("{ctx:?}").contains("parent: Some"), is_parent, "{own} {caller:?}: {ctx:?}");
    }
}
