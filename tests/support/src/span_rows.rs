//! Whether a span is what its row of the table says.

use elpio_operator::telemetry::catalog::spans::{SPANS, SpanDef, SpanStatus, ValueType};
use opentelemetry::{Value, trace::Status};
use opentelemetry_sdk::trace::SpanData;

use crate::telemetry_harness::attributes;

/// The row of a span.
pub fn row(span: &SpanData) -> &'static SpanDef {
    let rows: Vec<_> = SPANS.iter().filter(|row| row.matches(&span.name)).collect();
    assert_eq!(rows.len(), 1, "rows for {:?} in the table", span.name);
    rows[0]
}

/// Its status.
pub fn state(status: &Status) -> SpanStatus {
    match status {
        Status::Unset => SpanStatus::Unset,
        Status::Ok => SpanStatus::Ok,
        Status::Error { .. } => SpanStatus::Error,
    }
}

/// A span is what its row says. Parents are not looked at: a test may have made a part of a trace only.
pub fn is_of_its_row(span: &SpanData) {
    let row = row(span);
    let name = &span.name;
    assert_eq!(format!("{:?}", span.span_kind).to_lowercase(), row.kind, "{name}");
    let found = attributes(span);
    for (key, value) in &found {
        let stated = row.attributes.iter().find(|attribute| attribute.key == key);
        let stated = stated.unwrap_or_else(|| panic!("{name}: {key} is not in the table"));
        let fits = match (stated.value_type, value) {
            (ValueType::Text, Value::String(text)) => stated.values.allow(text.as_str()),
            (ValueType::Number, Value::I64(_)) => true,
            _ => false,
        };
        assert!(fits, "{name}: {key} is {value:?}, and the table says {stated:?}");
    }
    for attribute in row.attributes.iter().filter(|attribute| attribute.present_when.is_none()) {
        assert!(found.contains_key(attribute.key), "{name}: no {}", attribute.key);
    }
    assert!(
        row.statuses.iter().any(|(stated, _)| *stated == state(&span.status)),
        "{name}: {:?}",
        span.status
    );
    assert!(span.links.links.is_empty() || row.link.is_some(), "{name}: a link");
    assert!(span.events.events.is_empty(), "{name}: exceptions are log records");
}
