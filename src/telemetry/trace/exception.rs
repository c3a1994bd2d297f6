//! An exception as a log record of its span (the semantic conventions deprecate span events for it); it sets
//! no status.

/// The target of such records: the collector always receives them, whatever the log level; stderr never does.
pub(in crate::telemetry) const EXCEPTION_TARGET: &str = concat!(env!("CARGO_CRATE_NAME"), "::exception");

/// The event name of such records.
pub(in crate::telemetry) const EXCEPTION: &str = "exception";

/// Emits the record of an exception in the current span, and keeps the trace.
pub(in crate::telemetry) fn record_exception(error_type: &str, message: &str) {
    tracing::warn!(
        target: EXCEPTION_TARGET,
        { "exception.type" = error_type, "exception.message" = message },
        "{message}"
    );
}
