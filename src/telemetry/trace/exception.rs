//! An exception as a log record of its span (the semantic conventions have deprecated span events for it); it
//! sets no status.

/// Target of such records: the collector gets them whatever is logged, and stderr never does.
pub(in crate::telemetry) const EXCEPTION_TARGET: &str = concat!(env!("CARGO_CRATE_NAME"), "::exception");

/// Name of such records.
pub(in crate::telemetry) const EXCEPTION: &str = "exception";

/// Emits the record of an exception in the current span. The trace is exported then.
pub(in crate::telemetry) fn record_exception(error_type: &str, message: &str) {
    tracing::warn!(
        target: EXCEPTION_TARGET,
        { "exception.type" = error_type, "exception.message" = message },
        "{message}"
    );
}
