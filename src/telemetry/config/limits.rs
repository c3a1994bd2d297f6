//! The variables that limit batches, spans and log records; it enforces no limit itself.

use std::time::Duration;

use crate::telemetry::config::env::{EnvReader, NO_LIMIT};

/// The meaning of a delay of 0: without any pause, exports would spin.
const NO_DELAY: Duration = Duration::from_millis(1);

/// The limits of a batch processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::telemetry) struct BatchConfig {
    pub(in crate::telemetry) delay: Duration,
    pub(in crate::telemetry) queue: usize,
    pub(in crate::telemetry) export: usize,
    pub(in crate::telemetry) timeout: Duration,
}

/// The limits of spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::telemetry) struct SpanLimits {
    pub(in crate::telemetry) value_length: Option<usize>,
    pub(in crate::telemetry) attributes: Option<usize>,
    pub(in crate::telemetry) events: Option<usize>,
    pub(in crate::telemetry) links: Option<usize>,
}

/// The limits of log records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::telemetry) struct RecordLimits {
    pub(in crate::telemetry) value_length: Option<usize>,
    pub(in crate::telemetry) attributes: Option<usize>,
}

pub(in crate::telemetry) fn batch(env: &mut EnvReader<'_>, prefix: &str, delay: Duration) -> BatchConfig {
    let queue = env.number(&format!("{prefix}_MAX_QUEUE_SIZE"), 1).unwrap_or(2048);
    let name = format!("{prefix}_MAX_EXPORT_BATCH_SIZE");
    let mut export = env.number(&name, 1).unwrap_or_else(|| queue.min(512));
    if export > queue {
        env.warn(&name, &export.to_string(), "more than the queue holds", &queue.to_string());
        export = queue;
    }
    BatchConfig {
        delay: env.millis(&format!("{prefix}_SCHEDULE_DELAY"), delay, Some(NO_DELAY)),
        queue,
        export,
        timeout: env.millis(&format!("{prefix}_EXPORT_TIMEOUT"), Duration::from_secs(30), Some(NO_LIMIT)),
    }
}

pub(in crate::telemetry) fn span_limits(env: &mut EnvReader<'_>) -> SpanLimits {
    let common = env.number("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", 0);
    let common_count = env.number("OTEL_ATTRIBUTE_COUNT_LIMIT", 0);
    SpanLimits {
        value_length: env.number("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", 0).or(common),
        attributes: env.number("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", 0).or(common_count),
        events: env.number("OTEL_SPAN_EVENT_COUNT_LIMIT", 0),
        links: env.number("OTEL_SPAN_LINK_COUNT_LIMIT", 0),
    }
}

pub(in crate::telemetry) fn record_limits(env: &mut EnvReader<'_>) -> RecordLimits {
    let (length, count) =
        (env.number("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", 0), env.number("OTEL_ATTRIBUTE_COUNT_LIMIT", 0));
    RecordLimits {
        value_length: env.number("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", 0).or(length),
        // The default in the specification.
        attributes: env.number("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", 0).or(count).or(Some(128)),
    }
}
