//! The wrapper round every reconcile: its span, its metrics, its one log line; it never changes what the
//! reconcile returns.

use std::{future::Future, sync::Arc, time::Duration};

use opentelemetry::{Context, KeyValue, trace::Status};
use tracing::{Instrument, Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::telemetry::{
    catalog::{
        attributes::{ApplyOutcome, ChildStep, ErrorType, Kind, ReconcileOutcome, ReconcileStep, Trigger},
        spans::RECONCILE,
    },
    metrics::{Instruments, Metrics},
    trace::{
        Traces,
        context::{CurrentReconcile, DeferredSampling, ReconciledObject, SPAN_TARGET, ids_of, reconciling},
        rollout_context::RolloutContext,
        rollout_parent,
        timing::Timing,
    },
};

/// What is known before a reconcile.
#[derive(Clone, Debug)]
pub struct ReconcileInfo {
    /// Kind of the object.
    pub kind: Kind,
    /// Its `apiVersion`.
    pub api_version: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its `metadata.generation`.
    pub generation: i64,
    /// What caused this run.
    pub trigger: Trigger,
    /// 0 for a first try.
    pub attempt: u32,
    /// Where its span belongs.
    pub place: SpanParent,
}

/// Where the span of a reconcile belongs.
#[derive(Clone, Debug)]
pub enum SpanParent {
    /// A child in the rollout's trace.
    InRollout(RolloutContext),
    /// A trace of its own with a link to the rollout; exported only if the run wrote or said something, or
    /// failed.
    AfterRollout(Option<RolloutContext>),
}

/// Why a reconcile failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its class.
    pub error_type: ErrorType,
    /// What users are told.
    pub short: String,
    /// The whole chain of causes, for the log.
    pub chain: String,
}

/// What a reconcile did.
#[derive(Clone, Debug)]
pub struct ReconcileReport {
    /// Set when the operator failed to do its work.
    pub failure: Option<Failure>,
    /// The engine, when it is known.
    pub engine: Option<&'static str>,
    /// What it came to.
    pub outcome: ReconcileOutcome,
    /// Child label and what applying it did.
    pub applied: Vec<(&'static str, ApplyOutcome)>,
    /// Something was written or said.
    pub changed_anything: bool,
}

/// Implemented by what a reconcile returns.
pub trait HasReport {
    /// What the run did.
    fn report(&self) -> ReconcileReport;
}

impl Metrics {
    /// Runs one reconcile inside its span and records it.
    pub async fn reconcile<T: HasReport, F: Future<Output = T>>(
        &self,
        traces: &Traces,
        info: ReconcileInfo,
        run: F,
    ) -> T {
        let active = InFlightGuard::begin(self.instruments.clone(), &info);
        let ((span, sampling), timing) = Timing::of(|| start_span(traces, &info));
        let result = run.instrument(span.clone()).await;
        let report = result.report();
        close_span(&span, sampling.as_ref(), &report);
        span.in_scope(|| log_result(&info, &report, timing.so_far()));
        active.record(timing, &span, sampling.as_ref(), &report);
        result
    }
}

/// Counts a run as active for as long as it lives, also when it is cancelled.
struct InFlightGuard {
    instruments: Option<Arc<Instruments>>,
    kind: &'static str,
}

impl InFlightGuard {
    fn begin(instruments: Option<Arc<Instruments>>, info: &ReconcileInfo) -> Self {
        let kind = info.kind.as_str();
        if let Some(on) = &instruments {
            on.reconcile_active.add(1, [kind]);
            on.reconcile_triggers.add(1, [kind, info.trigger.as_str()]);
        }
        Self { instruments, kind }
    }

    fn record(
        &self,
        timing: Timing,
        span: &Span,
        sampling: Option<&DeferredSampling>,
        report: &ReconcileReport,
    ) {
        // Also where nothing is recorded: it ends the span.
        let (took, sure) = timing.end(span);
        let Some(on) = &self.instruments else { return };
        let result = if report.failure.is_some() { "error" } else { "success" };
        on.reconcile.add(1, [self.kind, result]);
        if let Some(failure) = &report.failure {
            on.reconcile_errors.add(1, [self.kind, failure.error_type.as_str()]);
        }
        for (child, outcome) in &report.applied {
            on.apply.add(1, [self.kind, child, outcome.as_str()]);
        }
        let exported = sampling.is_none_or(DeferredSampling::is_kept);
        let ids = if exported && sure { ids_of(&span.context()) } else { None };
        on.reconcile_duration.record(took.as_secs_f64(), [self.kind], ids);
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        if let Some(on) = &self.instruments {
            on.reconcile_active.add(-1, [self.kind]);
        }
    }
}

/// Opens the span of a run. The parent must be set before the span is first entered.
fn start_span(traces: &Traces, info: &ReconcileInfo) -> (Span, Option<DeferredSampling>) {
    let subject = ReconciledObject {
        kind: info.kind.as_str(),
        api_version: info.api_version,
        namespace: info.namespace.clone(),
        name: info.name.clone(),
        uid: info.uid.clone(),
        generation: info.generation,
    };
    let span = tracing::info_span!(
        target: SPAN_TARGET,
        parent: None,
        "reconcile",
        otel.name = RECONCILE.name_for(info.kind.as_str()),
        k8s.namespace.name = info.namespace,
        k8s.object.kind = info.kind.as_str(),
        k8s.object.api_version = info.api_version,
        k8s.object.name = info.name,
        k8s.object.uid = info.uid,
        elpio.generation = info.generation,
        elpio.trigger = info.trigger.as_str(),
        elpio.attempt = i64::from(info.attempt),
        elpio.engine = Empty,
        elpio.outcome = Empty,
    );
    let (parent, sampling) = match &info.place {
        SpanParent::InRollout(ctx) => (rollout_parent(ctx.span_context()), None),
        SpanParent::AfterRollout(_) => (Context::new(), traces.inner.exports.then(DeferredSampling::open)),
    };
    let reconciling = CurrentReconcile { subject: Arc::new(subject), sampling: sampling.clone() };
    // Without a layer for spans there is nothing to set, which is no fault.
    let _ = span.set_parent(parent.with_value(reconciling));
    if let SpanParent::AfterRollout(Some(ctx)) = &info.place
        && ctx.is_sampled()
    {
        span.add_link(ctx.span_context());
    }
    (span, sampling)
}

fn close_span(span: &Span, sampling: Option<&DeferredSampling>, report: &ReconcileReport) {
    span.record("elpio.outcome", report.outcome.as_str());
    if let Some(engine) = report.engine {
        span.record("elpio.engine", engine);
    }
    if let Some(failure) = &report.failure {
        record_error(span, failure.error_type.as_str(), &failure.short, &failure.chain);
    }
    if let Some(sampling) = sampling {
        if report.changed_anything || report.failure.is_some() {
            sampling.keep()
        } else {
            sampling.drop_if_undecided()
        }
    }
}

/// One line for a run that changed something or failed; none for any other.
fn log_result(info: &ReconcileInfo, report: &ReconcileReport, took: Duration) {
    let (kind, namespace, name) = (info.kind.as_str(), info.namespace.as_str(), info.name.as_str());
    let (generation, outcome, trigger) = (info.generation, report.outcome.as_str(), info.trigger.as_str());
    let seconds = Duration::from_micros(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)).as_secs_f64();
    match &report.failure {
        // Ours to mend; the others are told to the user, and retried.
        Some(Failure { error_type: ErrorType::Internal, chain, .. }) => {
            tracing::error!(
                kind,
                namespace,
                name,
                generation,
                outcome,
                trigger,
                seconds,
                "error.type" = "internal",
                error = chain.as_str(),
                "reconcile failed"
            );
        }
        Some(Failure { error_type, chain, .. }) => {
            let class = error_type.as_str();
            tracing::warn!(
                kind,
                namespace,
                name,
                generation,
                outcome,
                trigger,
                seconds,
                "error.type" = class,
                error = chain.as_str(),
                "reconcile failed"
            );
        }
        None if report.changed_anything => {
            tracing::info!(kind, namespace, name, generation, outcome, trigger, seconds, "reconciled")
        }
        None => {}
    }
}

/// Error status, class and the exception event of the semantic conventions.
pub(super) fn record_error(span: &Span, error_type: &'static str, short: &str, chain: &str) {
    span.set_status(Status::error(short.to_owned()));
    span.set_attribute("error.type", error_type);
    let event = vec![
        KeyValue::new("exception.type", error_type),
        KeyValue::new("exception.message", chain.to_owned()),
    ];
    span.add_event("exception", event);
}

/// Span of a step. Outside a reconcile there is none.
#[must_use]
pub fn step(step: ReconcileStep) -> Span {
    if reconciling().is_none() {
        return Span::none();
    }
    tracing::info_span!(target: SPAN_TARGET, "step", otel.name = step.as_str())
}

/// Span of a step for one child: `apply Service`. Outside a reconcile there is none.
#[must_use]
pub fn step_for(step: ChildStep, child: &str) -> Span {
    if reconciling().is_none() {
        return Span::none();
    }
    tracing::info_span!(target: SPAN_TARGET, "step", otel.name = format!("{step} {child}"), elpio.child = child)
}

/// Marks a step as failed: status, `error.type`, exception event.
pub fn fail_step(span: &Span, error_type: ErrorType, message: &str) {
    record_error(span, error_type.as_str(), message, message);
}
