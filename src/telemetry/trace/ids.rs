//! The tracer's IDs: random, unless a rollout presets them. It samples nothing.

use std::cell::Cell;

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

thread_local! {
    static PRESET: Cell<Option<(TraceId, SpanId)>> = const { Cell::new(None) };
}

/// Returns the preset IDs inside [`with_preset`], random ones otherwise.
#[derive(Debug, Default)]
pub(in crate::telemetry) struct PresetIdGenerator(RandomIdGenerator);

impl IdGenerator for PresetIdGenerator {
    fn new_trace_id(&self) -> TraceId {
        PRESET.get().map_or_else(|| self.0.new_trace_id(), |(trace, _)| trace)
    }

    fn new_span_id(&self) -> SpanId {
        PRESET.get().map_or_else(|| self.0.new_span_id(), |(_, span)| span)
    }
}

/// Runs `start`, which starts one span on this thread, with these IDs: the SDK's span builder has no fields
/// for them.
pub(in crate::telemetry) fn with_preset<T>(trace: TraceId, span: SpanId, start: impl FnOnce() -> T) -> T {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            PRESET.set(None);
        }
    }
    PRESET.set(Some((trace, span)));
    let _reset = Reset;
    start()
}
