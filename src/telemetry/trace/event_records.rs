//! Each occurrence of an Event as a log record, with the current IDs.

use opentelemetry::{
    Context,
    logs::{AnyValue, LogRecord as _, Logger as _, Severity},
};

use crate::{
    api::event::{NewEvent, event_type},
    telemetry::{
        object_reference::ObjectReference,
        trace::{Traces, context::ids_and_keep},
    },
};

impl Traces {
    /// Emits the log record of an object's Event with the current IDs, if logs are exported.
    pub fn emit_event(&self, object: &ObjectReference, event: &NewEvent) {
        let ids = ids_and_keep();
        let Some(logger) = &self.inner.logger else { return };
        let mut record = logger.create_log_record();
        record.set_event_name("k8s.event");
        let (number, text) = if event.type_ == event_type::WARNING {
            (Severity::Warn, "WARN")
        } else {
            (Severity::Info, "INFO")
        };
        record.set_severity_number(number);
        record.set_severity_text(text);
        record.set_timestamp(opentelemetry::time::now());
        record.set_body(AnyValue::from(event.note.clone()));
        record.add_attributes([
            ("k8s.event.reason", AnyValue::from(event.reason)),
            ("k8s.event.action", AnyValue::from(event.action)),
        ]);
        record.add_attributes(object.attributes::<AnyValue>());
        // The SDK would add the IDs of an unsampled span too.
        let _bare = ids.is_none().then(|| Context::new().attach());
        logger.emit(record);
    }
}
