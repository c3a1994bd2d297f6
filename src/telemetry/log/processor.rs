//! The first log processor: adds the object to each record and enforces the attribute limits; it exports
//! nothing itself.

use std::time::Duration;

use opentelemetry::{
    InstrumentationScope,
    logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _},
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    logs::{LogProcessor, SdkLogRecord, SdkLogger, SdkLoggerProvider},
};

use crate::telemetry::{
    config::limits::RecordLimits,
    trace::{
        context::current_reconcile,
        exception::{EXCEPTION, EXCEPTION_TARGET},
    },
};

/// See the module.
#[derive(Debug)]
pub(in crate::telemetry) struct ObjectLogProcessor {
    next: Vec<Box<dyn LogProcessor>>,
    limits: RecordLimits,
    /// Creates empty records: a record's attribute cannot be changed, so truncating one requires a new
    /// record.
    blank: SdkLogger,
}

impl ObjectLogProcessor {
    pub(in crate::telemetry) fn new(next: Vec<Box<dyn LogProcessor>>, limits: RecordLimits) -> Self {
        Self { next, limits, blank: SdkLoggerProvider::builder().build().logger("") }
    }

    /// The record with the attribute limits applied (OpenTelemetry specification: the body has none); `None`
    /// if it already obeys them.
    fn within_limits(&self, record: &SdkLogRecord) -> Option<SdkLogRecord> {
        let most = self.limits.attributes.unwrap_or(usize::MAX);
        let limit = self.limits.value_length.unwrap_or(usize::MAX);
        let within = record.attributes_iter().count() <= most
            && record.attributes_iter().all(|(_, value)| fits(value, limit));
        (!within).then(|| {
            let mut other = self.blank.create_log_record();
            record.event_name().into_iter().for_each(|name| other.set_event_name(name));
            record.target().into_iter().for_each(|target| other.set_target(target.clone()));
            record.timestamp().into_iter().for_each(|at| other.set_timestamp(at));
            record.observed_timestamp().into_iter().for_each(|at| other.set_observed_timestamp(at));
            record.severity_text().into_iter().for_each(|text| other.set_severity_text(text));
            record.severity_number().into_iter().for_each(|number| other.set_severity_number(number));
            record.body().into_iter().for_each(|body| other.set_body(body.clone()));
            record
                .trace_context()
                .into_iter()
                .for_each(|ids| other.set_trace_context(ids.trace_id, ids.span_id, ids.trace_flags));
            other.add_attributes(
                record
                    .attributes_iter()
                    .take(most)
                    .map(|(key, value)| (key.clone(), truncated(value, limit))),
            );
            other
        })
    }
}

impl LogProcessor for ObjectLogProcessor {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        // The bridge sets the source line as the event name; a log line is not an event and must have no
        // name.
        if record.event_name().is_some_and(|name| name.starts_with("event ")) {
            let is_exception = record.target().is_some_and(|target| target == EXCEPTION_TARGET);
            record.set_event_name(if is_exception { EXCEPTION } else { "" });
        }
        if let Some((class, message)) = failure_of(record) {
            record.set_event_name(EXCEPTION);
            record.add_attributes([("exception.type", class), ("exception.message", message)]);
        }
        if let Some(reconcile) = current_reconcile().filter(|_| record.event_name() != Some("k8s.event")) {
            record.add_attributes(reconcile.object.attributes::<AnyValue>());
            record.add_attribute("elpio.generation", reconcile.generation);
        }
        if let Some(limited) = self.within_limits(record) {
            *record = limited;
        }
        self.next.iter().for_each(|next| next.emit(record, scope));
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.iter().map(|next| next.force_flush()).fold(Ok(()), OTelSdkResult::and)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.iter().map(|next| next.shutdown_with_timeout(timeout)).fold(Ok(()), OTelSdkResult::and)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.iter_mut().for_each(|next| next.set_resource(resource));
    }
}

/// The class and message in the line of a failed reconcile, which is also the record of its exception.
fn failure_of(record: &SdkLogRecord) -> Option<(AnyValue, AnyValue)> {
    let value = |name: &str| {
        record.attributes_iter().find(|(key, _)| key.as_str() == name).map(|(_, value)| value.clone())
    };
    value("error.type").zip(value("error"))
}

fn fits(value: &AnyValue, limit: usize) -> bool {
    match value {
        AnyValue::String(text) => text.as_str().len() <= limit || text.as_str().chars().nth(limit).is_none(),
        AnyValue::ListAny(all) => all.iter().all(|value| fits(value, limit)),
        AnyValue::Map(all) => all.values().all(|value| fits(value, limit)),
        _ => true,
    }
}

/// Limits count characters, and apply to strings, including those in lists and maps.
fn truncated(value: &AnyValue, limit: usize) -> AnyValue {
    match value {
        AnyValue::String(text) => AnyValue::from(text.as_str().chars().take(limit).collect::<String>()),
        AnyValue::ListAny(all) => {
            AnyValue::ListAny(Box::new(all.iter().map(|value| truncated(value, limit)).collect()))
        }
        AnyValue::Map(all) => AnyValue::Map(Box::new(
            all.iter().map(|(key, value)| (key.clone(), truncated(value, limit))).collect(),
        )),
        other => other.clone(),
    }
}
