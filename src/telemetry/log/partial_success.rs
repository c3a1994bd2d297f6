//! Counts log records and metrics that a collector rejects from a partially accepted export:
//! `opentelemetry-otlp` reports them only in a log line. It shows no line.

use std::{fmt, sync::Arc};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

use crate::telemetry::{catalog::attributes::Signal, sources::export_stats::ExportStats};

/// Reads the log lines of `opentelemetry-otlp`.
pub(in crate::telemetry) struct PartialSuccessLayer(pub(in crate::telemetry) Arc<ExportStats>);

/// Whether `opentelemetry-otlp` logged the line.
pub(in crate::telemetry) fn is_of_exporters(meta: &Metadata<'_>) -> bool {
    meta.target() == "opentelemetry-otlp"
}

impl<S: Subscriber> Layer<S> for PartialSuccessLayer {
    fn on_event(&self, event: &Event<'_>, _ctx: Context<'_, S>) {
        let mut found = PartialSuccess::default();
        event.record(&mut found);
        if let Some((signal, items)) = found.rejected {
            self.0.record_rejected(signal, items, &found.message);
        }
    }
}

#[derive(Default)]
struct PartialSuccess {
    rejected: Option<(Signal, u64)>,
    message: String,
}

impl Visit for PartialSuccess {
    fn record_i64(&mut self, field: &Field, value: i64) {
        let signal = match field.name() {
            "rejected_data_points" => Signal::Metrics,
            "rejected_log_records" => Signal::Logs,
            _ => return,
        };
        self.rejected = u64::try_from(value).ok().map(|items| (signal, items));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "error_message" {
            value.clone_into(&mut self.message);
        }
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn fmt::Debug) {}
}
