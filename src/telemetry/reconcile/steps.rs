//! The spans of a reconcile's steps, and how to mark a span as failed. Outside a reconcile there are none.

use opentelemetry::trace::Status;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::telemetry::{
    catalog::attributes::{ChildKind, ChildStep, ErrorType, ReconcileStep},
    trace::{
        context::{SPAN_TARGET, current_reconcile},
        exception::record_exception,
    },
};

/// Sets the error status and class.
pub(in crate::telemetry) fn set_error(span: &Span, error_type: ErrorType, message: &str) {
    span.set_status(Status::error(message.to_owned()));
    span.set_attribute("error.type", error_type.as_str());
}

/// The span of a step; none outside a reconcile.
#[must_use]
pub fn step(step: ReconcileStep) -> Span {
    if current_reconcile().is_none() {
        return Span::none();
    }
    tracing::info_span!(target: SPAN_TARGET, "step", otel.name = step.as_str())
}

/// The span of a step for one child: `apply Service`; none outside a reconcile.
#[must_use]
pub fn step_for(step: ChildStep, child: ChildKind) -> Span {
    if current_reconcile().is_none() {
        return Span::none();
    }
    let child = child.label();
    tracing::info_span!(target: SPAN_TARGET, "step", otel.name = format!("{step} {child}"), elpio.child = child)
}

/// Marks a step as failed: status, `error.type`, and the exception's record.
pub fn fail_step(span: &Span, error_type: ErrorType, message: &str) {
    set_error(span, error_type, message);
    if !span.is_disabled() {
        span.in_scope(|| record_exception(error_type.as_str(), message));
    }
}
