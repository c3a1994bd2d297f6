//! The wrapper around every reconcile: its span, its metrics, its log line. It never changes the result of a
//! reconcile; one that panics has no result and counts as failed in every signal.

pub mod late_calls;
pub mod report;
pub mod steps;

use std::{
    borrow::Borrow,
    future::Future,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt;
use opentelemetry::{Context, trace::Status};
use tracing::{Instrument, Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::telemetry::{
    catalog::{
        attributes::{ErrorType, ExportResult, Kind},
        spans::RECONCILE,
    },
    metrics::{Instruments, Metrics},
    reconcile::{
        report::{Failure, ReconcileInfo, ReconcilePanicked, ReconcileReport, SpanParent},
        steps::set_error,
    },
    trace::{
        Traces,
        context::{CurrentReconcile, DeferredSampling, SPAN_TARGET, ids_of},
        rollout_parent,
    },
};

impl Metrics {
    /// Runs one reconcile inside its span and records the report in its result.
    ///
    /// # Errors
    /// If it panics.
    pub async fn reconcile<T: Borrow<ReconcileReport>, F: Future<Output = T>>(
        &self,
        traces: &Traces,
        info: ReconcileInfo,
        reconcile: F,
    ) -> Result<T, ReconcilePanicked> {
        let active = InFlightGuard::begin(self.instruments.clone(), &info);
        let started = Instant::now();
        let (span, sampling) = start_span(traces, &info);
        // A panicking reconcile leaves no state that others read: it owns everything that it changes.
        let result = AssertUnwindSafe(reconcile).catch_unwind().instrument(span.clone()).await;
        let result = result.map_err(|payload| ReconcilePanicked::from_payload(&*payload));
        let report = match &result {
            Ok(done) => done.borrow(),
            Err(panicked) => &panicked.report(),
        };
        close_span(&span, sampling.as_ref(), report);
        // The span ends at its last exit (tracing-opentelemetry 0.34).
        span.in_scope(|| log_result(&info, report, started.elapsed()));
        active.record(started.elapsed(), &span, sampling.as_ref(), report);
        result
    }
}

/// Counts a reconcile as in flight until dropped, even if it is cancelled.
struct InFlightGuard {
    instruments: Option<Arc<Instruments>>,
    kind: Kind,
}

impl InFlightGuard {
    fn begin(instruments: Option<Arc<Instruments>>, info: &ReconcileInfo) -> Self {
        let kind = info.object.kind;
        if let Some(on) = &instruments {
            on.reconcile_active.add(1, [kind.into()]);
            on.reconcile_triggers.add(1, [kind.into(), info.trigger.into()]);
        }
        Self { instruments, kind }
    }

    fn record(
        &self,
        took: Duration,
        span: &Span,
        sampling: Option<&DeferredSampling>,
        report: &ReconcileReport,
    ) {
        let Some(on) = &self.instruments else { return };
        let kind = self.kind.into();
        let result = if report.failure.is_some() { ExportResult::Error } else { ExportResult::Success };
        on.reconcile.add(1, [kind, result.into()]);
        if let Some(failure) = &report.failure {
            on.reconcile_errors.add(1, [kind, failure.error_type.into()]);
        }
        for (child, outcome) in &report.applied {
            on.apply.add(1, [kind, (*child).into(), (*outcome).into()]);
        }
        let is_exported = sampling.is_none_or(DeferredSampling::is_kept);
        let ids = if is_exported { ids_of(&span.context()) } else { None };
        on.reconcile_duration.record(took.as_secs_f64(), [kind], ids);
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        if let Some(on) = &self.instruments {
            on.reconcile_active.add(-1, [self.kind.into()]);
        }
    }
}

/// Opens the span of a reconcile. The parent must be set before the span is first entered.
fn start_span(traces: &Traces, info: &ReconcileInfo) -> (Span, Option<DeferredSampling>) {
    let object = &*info.object;
    let span = tracing::info_span!(
        target: SPAN_TARGET,
        parent: None,
        "reconcile",
        otel.name = RECONCILE.name_for(object.kind.as_str()),
        k8s.namespace.name = object.namespace,
        k8s.object.kind = object.kind.as_str(),
        k8s.object.api_version = object.api_version,
        k8s.object.name = object.name,
        k8s.object.uid = object.uid,
        elpio.generation = info.generation,
        elpio.trigger = info.trigger.as_str(),
        elpio.attempt = i64::from(info.attempt),
        elpio.engine = Empty,
        elpio.outcome = Empty,
        elpio.ready.reason = Empty,
        elpio.ready.message = Empty,
    );
    let (parent, sampling) = match &info.parent {
        SpanParent::InRollout(ctx) => (rollout_parent(ctx.span_context()), None),
        SpanParent::AfterRollout(_) => (Context::new(), traces.inner.exports.then(DeferredSampling::open)),
    };
    let is_random = matches!(&info.parent, SpanParent::InRollout(ctx) if ctx.is_random());
    let reconcile = CurrentReconcile {
        object: info.object.clone(),
        generation: info.generation,
        sampling: sampling.clone(),
        is_random,
        tracer: traces.inner.exports.then(|| traces.inner.tracer.clone()),
    };
    // Without a span layer, there is nothing to set; that is not an error.
    let _ = span.set_parent(parent.with_value(reconcile));
    if let SpanParent::AfterRollout(Some(ctx)) = &info.parent
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
    if let Some(reason) = &report.ready_reason {
        span.record("elpio.ready.reason", reason.as_str());
    }
    if let Some(message) = &report.ready_message {
        span.record("elpio.ready.message", message.as_str());
    }
    match &report.failure {
        Some(failure) => set_error(span, failure.error_type, &failure.message),
        None if report.warning_event.is_some() => {
            span.set_status(Status::error(report.not_ready().unwrap_or_default()));
        }
        None => {}
    }
    if let Some(sampling) = sampling {
        if report.changed_anything || report.failure.is_some() {
            sampling.keep();
        } else {
            sampling.drop_if_undecided();
        }
    }
}

/// Logs one line for a reconcile that changed something or failed. A failure's line is also the record of its
/// exception.
fn log_result(info: &ReconcileInfo, report: &ReconcileReport, took: Duration) {
    macro_rules! line {
        ($level:ident, $text:literal $(, $key:literal = $value:expr)*) => {
            tracing::$level!(
                kind = info.object.kind.as_str(),
                namespace = info.object.namespace.as_str(),
                name = info.object.name.as_str(),
                generation = info.generation,
                outcome = report.outcome.as_str(),
                trigger = info.trigger.as_str(),
                seconds = Duration::from_micros(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)).as_secs_f64(),
                $($key = $value,)*
                $text
            )
        };
    }
    match &report.failure {
        // A bug in the operator; all other failures are shown to the object's author and retried.
        Some(Failure { error_type: ErrorType::Internal, message }) => {
            line!(error, "reconcile failed", "error.type" = "internal", "error" = message.as_str());
        }
        Some(Failure { error_type, message }) => {
            line!(warn, "reconcile failed", "error.type" = error_type.as_str(), "error" = message.as_str());
        }
        None if report.warning_event.is_some() => {
            let event = report.warning_event.unwrap_or_default();
            let reason = report.ready_reason.as_deref().unwrap_or_default();
            let why = report.ready_message.as_deref().unwrap_or_default();
            line!(warn, "reconciled, but not ready", "event" = event, "reason" = reason, "error" = why);
        }
        None if report.changed_anything => line!(info, "reconciled"),
        None => {}
    }
}
