//! Encodes spans as an OTLP `ExportTraceServiceRequest`; it sends nothing.
//!
//! `opentelemetry-otlp` copies each batch, builds a second tree of messages from it and encodes that. This
//! file encodes the spans directly. Field numbers: `opentelemetry/proto/trace/v1/trace.proto` and
//! `common/v1/common.proto`, which no later version may change.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use opentelemetry::{
    Array, InstrumentationScope, KeyValue, SpanId, Value,
    trace::{Event, Link, SpanKind, Status, TraceId},
};
use opentelemetry_sdk::{Resource, trace::SpanData};

use super::protobuf::{MessageWriter, length_delimited_len, varint_len};

/// `SpanFlags`: `CONTEXT_HAS_IS_REMOTE` and `CONTEXT_IS_REMOTE`.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// The encoded resource of all spans: `ResourceSpans` without spans.
#[derive(Clone, Debug, Default)]
pub(super) struct EncodedResource(MessageWriter);

impl EncodedResource {
    pub(super) fn new(resource: &Resource) -> Self {
        let mut writer = MessageWriter::default();
        writer.message(1, |message| {
            for (key, value) in resource {
                attribute(message, 1, key.as_str(), value);
            }
        });
        text(&mut writer, 3, resource.schema_url().unwrap_or_default());
        Self(writer)
    }
}

/// Encoded spans, grouped by scope.
#[derive(Debug, Default)]
pub(in crate::telemetry) struct EncodedSpans {
    scopes: Vec<(InstrumentationScope, MessageWriter)>,
    len: usize,
    /// The initial capacity of the first scope, in bytes.
    capacity: usize,
}

impl EncodedSpans {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { capacity: bytes, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The size of the encoded spans, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.scopes.iter().map(|(_, spans)| spans.as_bytes().len()).sum()
    }

    pub(super) fn push(&mut self, span: &SpanData) {
        let scope = &span.instrumentation_scope;
        if self.scopes.last().is_none_or(|(last, _)| last != scope) {
            let capacity = std::mem::take(&mut self.capacity);
            self.scopes.push((scope.clone(), MessageWriter::with_capacity(capacity)));
        }
        if let Some((_, writer)) = self.scopes.last_mut() {
            writer.message(2, |message| encode_span(message, span));
            self.len += 1;
        }
    }

    /// The request for these spans, in parts, so that no span is copied.
    pub(super) fn into_request(self, resource: &EncodedResource) -> Vec<Bytes> {
        let mut parts = Vec::new();
        for (scope, spans) in self.scopes {
            let mut about = MessageWriter::default();
            about.message(1, |message| instrumentation_scope(message, &scope));
            text(&mut about, 3, scope.schema_url().unwrap_or_default());
            parts.push(head(2, &about, spans.as_bytes().len()));
            parts.push(spans.into_bytes().into());
        }
        parts.insert(0, head(1, &resource.0, parts.iter().map(Bytes::len).sum()));
        parts
    }
}

/// The head of a message with these fields and `others` more bytes, which follow.
fn head(field: u32, fields: &MessageWriter, others: usize) -> Bytes {
    let mut writer = MessageWriter::default();
    writer.begin_message(field, fields.as_bytes().len() + others);
    writer.fields(fields);
    writer.into_bytes().into()
}

fn instrumentation_scope(writer: &mut MessageWriter, scope: &InstrumentationScope) {
    text(writer, 1, scope.name());
    text(writer, 2, scope.version().unwrap_or_default());
    attributes(writer, 3, scope.attributes());
}

fn encode_span(writer: &mut MessageWriter, span: &SpanData) {
    let context = &span.span_context;
    ids(writer, context.trace_id(), context.span_id());
    text(writer, 3, &context.trace_state().header());
    if span.parent_span_id != SpanId::INVALID {
        writer.bytes(4, &span.parent_span_id.to_bytes());
    }
    text(writer, 5, &span.name);
    writer.varint(6, kind(&span.span_kind));
    writer.fixed64(7, unix_nanos(span.start_time));
    writer.fixed64(8, unix_nanos(span.end_time));
    attributes(writer, 9, &span.attributes);
    count(writer, 10, span.dropped_attributes_count);
    for event in span.events.iter() {
        writer.message(11, |message| encode_event(message, event));
    }
    count(writer, 12, span.events.dropped_count);
    for link in span.links.iter() {
        writer.message(13, |message| encode_link(message, link));
    }
    count(writer, 14, span.links.dropped_count);
    writer.message(15, |message| status(message, &span.status));
    writer.fixed32(16, flags(span.parent_span_is_remote, context.trace_flags().to_u8()));
}

fn encode_event(writer: &mut MessageWriter, event: &Event) {
    writer.fixed64(1, unix_nanos(event.timestamp));
    text(writer, 2, &event.name);
    attributes(writer, 3, &event.attributes);
    count(writer, 4, event.dropped_attributes_count);
}

fn encode_link(writer: &mut MessageWriter, link: &Link) {
    let context = &link.span_context;
    ids(writer, context.trace_id(), context.span_id());
    text(writer, 3, &context.trace_state().header());
    attributes(writer, 4, &link.attributes);
    count(writer, 5, link.dropped_attributes_count);
    writer.fixed32(6, flags(context.is_remote(), context.trace_flags().to_u8()));
}

fn ids(writer: &mut MessageWriter, trace: TraceId, span: SpanId) {
    writer.bytes(1, &trace.to_bytes());
    writer.bytes(2, &span.to_bytes());
}

fn kind(kind: &SpanKind) -> u64 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    }
}

fn status(writer: &mut MessageWriter, status: &Status) {
    match status {
        Status::Unset => {}
        Status::Ok => writer.varint(3, 1),
        Status::Error { description } => {
            text(writer, 2, description);
            writer.varint(3, 2);
        }
    }
}

fn flags(is_remote: bool, trace_flags: u8) -> u32 {
    u32::from(trace_flags) | HAS_IS_REMOTE | if is_remote { IS_REMOTE } else { 0 }
}

fn attributes<'a>(writer: &mut MessageWriter, field: u32, all: impl IntoIterator<Item = &'a KeyValue>) {
    for KeyValue { key, value, .. } in all {
        attribute(writer, field, key.as_str(), value);
    }
}

/// Most of a span is attributes: computes their lengths first, to avoid moving bytes.
fn attribute(writer: &mut MessageWriter, field: u32, key: &str, value: &Value) {
    let any_length = match value {
        Value::String(value) => length_delimited_len(value.as_str().len()),
        Value::Bool(_) => 2,
        Value::I64(value) => 1 + varint_len(value.cast_unsigned()),
        Value::F64(_) => 9,
        _ => {
            return writer.message(field, |message| {
                text(message, 1, key);
                message.message(2, |any| any_value(any, value));
            });
        }
    };
    let key_length = if key.is_empty() { 0 } else { length_delimited_len(key.len()) };
    writer.begin_message(field, key_length + length_delimited_len(any_length));
    text(writer, 1, key);
    writer.begin_message(2, any_length);
    any_value(writer, value);
}

/// A `oneof`: also writes `false`, 0 and "", because the field determines the type.
fn any_value(writer: &mut MessageWriter, value: &Value) {
    match value {
        Value::String(value) => writer.bytes(1, value.as_str().as_bytes()),
        Value::Bool(value) => writer.varint(2, u64::from(*value)),
        Value::I64(value) => writer.varint(3, value.cast_unsigned()),
        Value::F64(value) => writer.fixed64(4, value.to_bits()),
        Value::Array(array) => writer.message(5, |message| array_value(message, array)),
        // A type from a later version; without a field, the value is empty.
        _ => {}
    }
}

fn array_value(writer: &mut MessageWriter, array: &Array) {
    fn each<T: Clone + Into<Value>>(writer: &mut MessageWriter, values: &[T]) {
        for value in values {
            writer.message(1, |any| any_value(any, &value.clone().into()));
        }
    }
    match array {
        Array::Bool(values) => each(writer, values),
        Array::I64(values) => each(writer, values),
        Array::F64(values) => each(writer, values),
        Array::String(values) => each(writer, values),
        _ => {}
    }
}

/// A string; omitted if empty.
fn text(writer: &mut MessageWriter, field: u32, value: &str) {
    if !value.is_empty() {
        writer.bytes(field, value.as_bytes());
    }
}

/// A number; omitted if 0.
fn count(writer: &mut MessageWriter, field: u32, value: u32) {
    if value != 0 {
        writer.varint(field, u64::from(value));
    }
}

/// Nanoseconds since 1970; 0 for earlier times.
fn unix_nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "request_test.rs"]
pub(super) mod tests;
