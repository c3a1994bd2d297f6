//! The encoding, compared with the messages that `opentelemetry-proto` creates from the same spans.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use opentelemetry::{
    StringValue,
    trace::{SpanContext, TraceFlags, TraceState},
};
use opentelemetry_proto::{
    tonic::collector::trace::v1::ExportTraceServiceRequest,
    transform::{
        common::tonic::ResourceAttributesWithSchema, trace::tonic::group_spans_by_resource_and_scope,
    },
};
use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};
use prost::Message as _;

use super::*;

fn context(span: u64, is_remote: bool, state: &[(&str, &str)]) -> SpanContext {
    let state = TraceState::from_key_value(state.iter().copied()).unwrap();
    SpanContext::new(TraceId::from(7 << 64 | 9), SpanId::from(span), TraceFlags::SAMPLED, is_remote, state)
}

fn scope(name: &'static str) -> InstrumentationScope {
    InstrumentationScope::builder(name).build()
}

/// A span without optional fields.
pub fn plain(name: &'static str) -> SpanData {
    SpanData {
        span_context: context(1, false, &[]),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: name.into(),
        start_time: UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789),
        end_time: UNIX_EPOCH,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: scope("elpio"),
    }
}

/// Every value type, including default values.
fn all_attributes() -> Vec<KeyValue> {
    let array = |array: Array| Value::Array(array);
    let strings = vec![StringValue::from("a"), StringValue::from("")];
    vec![
        KeyValue::new("text", "é"),
        KeyValue::new("empty", ""),
        KeyValue::new("long", "x".repeat(20_000)),
        KeyValue::new("yes", true),
        KeyValue::new("no", false),
        KeyValue::new("zero", 0_i64),
        KeyValue::new("negative", -1_i64),
        KeyValue::new("largest", i64::MAX),
        KeyValue::new("float", -0.5),
        KeyValue::new("infinite", f64::INFINITY),
        KeyValue::new("strings", array(Array::String(strings))),
        KeyValue::new("booleans", array(Array::Bool(vec![true, false]))),
        KeyValue::new("integers", array(Array::I64(vec![0, -3, 300]))),
        KeyValue::new("floats", array(Array::F64(vec![0.0, 1.5]))),
        KeyValue::new("none", array(Array::I64(Vec::new()))),
        KeyValue::new("", "no key"),
    ]
}

/// A span with all optional fields.
fn full() -> SpanData {
    let mut events = SpanEvents::default();
    events.events.push(Event::with_name("exception"));
    events.events.push(Event::new("late", UNIX_EPOCH - Duration::from_secs(1), all_attributes(), 3));
    events.dropped_count = 200;
    let mut links = SpanLinks::default();
    links.links.push(Link::new(context(5, true, &[("a", "1")]), all_attributes(), 4));
    links.links.push(Link::with_context(context(6, false, &[])));
    links.dropped_count = 1;
    SpanData {
        span_context: context(2, false, &[("vendor", "x"), ("other", "y")]),
        parent_span_id: SpanId::from(3),
        parent_span_is_remote: true,
        attributes: all_attributes(),
        dropped_attributes_count: 70_000,
        events,
        links,
        status: Status::error("it \"failed\""),
        ..plain("reconcile")
    }
}

fn request(batch: &[SpanData], resource: &EncodedResource) -> Vec<u8> {
    let mut spans = EncodedSpans::default();
    for span in batch {
        spans.push(span);
    }
    spans.into_request(resource).concat()
}

/// The request that `opentelemetry-otlp` would send.
fn expected(batch: &[SpanData], resource: &Resource) -> ExportTraceServiceRequest {
    let resource = ResourceAttributesWithSchema::from(resource);
    ExportTraceServiceRequest { resource_spans: group_spans_by_resource_and_scope(batch.to_vec(), &resource) }
}

#[test]
fn requests_equal_those_of_opentelemetry_otlp() {
    let kinds =
        [SpanKind::Internal, SpanKind::Server, SpanKind::Client, SpanKind::Producer, SpanKind::Consumer];
    let of_kinds = kinds.map(|span_kind| SpanData { span_kind, ..plain("kind") });
    let full_scope = InstrumentationScope::builder("other")
        .with_version("1.2")
        .with_schema_url("https://s/1")
        .with_attributes(all_attributes())
        .build();
    let resources = [
        Resource::builder_empty().build(),
        Resource::builder_empty().with_schema_url(all_attributes(), "https://s/2").build(),
    ];
    let batches = [
        ("no span", Vec::new()),
        ("a plain span", vec![plain("")]),
        ("a full span", vec![full()]),
        ("every kind", of_kinds.to_vec()),
        ("a status", vec![SpanData { status: Status::Ok, ..plain("ok") }]),
        ("an error without text", vec![SpanData { status: Status::error(""), ..plain("error") }]),
        (
            "two scopes",
            vec![plain("a"), full(), SpanData { instrumentation_scope: full_scope, ..plain("b") }],
        ),
        ("many spans", std::iter::repeat_n(full(), 100).collect()),
    ];
    for resource in &resources {
        for (what, batch) in &batches {
            let bytes = request(batch, &EncodedResource::new(resource));
            let decoded = ExportTraceServiceRequest::decode(bytes.as_slice()).unwrap();
            assert!(decoded == expected(batch, resource), "{what}: {decoded:#?}");
        }
    }
}

/// Consecutive spans with one scope form a group; when a scope recurs, its spans start a new one.
#[test]
fn no_span_of_scopes_that_alternate_is_lost() {
    let batch: Vec<SpanData> = (0..6)
        .map(|index| SpanData {
            span_context: context(index + 1, false, &[]),
            instrumentation_scope: scope(if index % 3 == 0 { "a" } else { "b" }),
            ..plain("x")
        })
        .collect();
    let bytes = request(&batch, &EncodedResource::default());
    let decoded = ExportTraceServiceRequest::decode(bytes.as_slice()).unwrap();
    let scopes = &decoded.resource_spans[0].scope_spans;
    let found: Vec<(String, u8)> = scopes
        .iter()
        .flat_map(|scope| {
            let name = scope.scope.as_ref().map(|scope| scope.name.clone()).unwrap_or_default();
            scope.spans.iter().map(move |span| (name.clone(), span.span_id[7]))
        })
        .collect();
    let expected = [("a", 1), ("b", 2), ("b", 3), ("a", 4), ("b", 5), ("b", 6)];
    assert_eq!(found, expected.map(|(scope, span)| (scope.to_owned(), span)));
}
