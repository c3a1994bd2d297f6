//! Parses the spans of a trace from the responses of Jaeger's and Tempo's query APIs. Pure.

use serde_json::Value;

use crate::foreign::fields::{list, text};

/// The fields of a span that the timeline needs; times in microseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceSpan {
    /// 16 hexadecimal digits.
    pub id: String,
    /// The ID of its parent; empty if it has none.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// `service.name`.
    pub service: String,
    /// Whether it is an outgoing request (span kind client).
    pub is_call: bool,
    /// When it started.
    pub start: u64,
    /// When it ended.
    pub end: u64,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

/// Parses Jaeger's response from `/api/traces/ID`.
#[must_use]
pub fn of_jaeger(response: &Value) -> Vec<TraceSpan> {
    let mut spans = Vec::new();
    for trace in list(response, "/data") {
        for span in list(trace, "/spans") {
            let process = &trace["processes"][text(span, "/processID")];
            let tag = |key: &str| list(span, "/tags").find(|tag| tag["key"] == key).map(|tag| &tag["value"]);
            let word = |key: &str| tag(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let failed = tag("error").is_some_and(|value| *value == true || *value == "true")
                || word("otel.status_code") == "ERROR";
            let is_parent = |reference: &&Value| {
                reference["refType"] == "CHILD_OF" && reference["traceID"] == span["traceID"]
            };
            let start = span["startTime"].as_u64().unwrap_or_default();
            spans.push(TraceSpan {
                id: text(span, "/spanID").to_owned(),
                parent: list(span, "/references")
                    .find(is_parent)
                    .map_or("", |parent| text(parent, "/spanID"))
                    .to_owned(),
                name: text(span, "/operationName").to_owned(),
                service: text(process, "/serviceName").to_owned(),
                is_call: word("span.kind") == "client",
                start,
                end: start.saturating_add(span["duration"].as_u64().unwrap_or_default()),
                failure: failed.then(|| cause(&word("error.type"), &word("otel.status_description"))),
            });
        }
    }
    sorted(spans)
}

/// Parses Tempo's response from `/api/traces/ID` or `/api/v2/traces/ID`, or Jaeger's from
/// `/api/v3/traces/ID`: OTLP JSON, with IDs in hexadecimal or base64.
#[must_use]
pub fn of_otlp(response: &Value) -> Vec<TraceSpan> {
    let roots = ["/batches", "/resourceSpans", "/trace/resourceSpans", "/result/resourceSpans"];
    let mut spans = Vec::new();
    for of_resource in roots.iter().flat_map(|root| list(response, root)) {
        let service = attribute(&of_resource["resource"], "service.name");
        let scopes =
            list(of_resource, "/scopeSpans").chain(list(of_resource, "/instrumentationLibrarySpans"));
        for span in scopes.flat_map(|scope| list(scope, "/spans")) {
            let code = &span["status"]["code"];
            let failed = *code == 2 || *code == "STATUS_CODE_ERROR";
            spans.push(TraceSpan {
                id: hexadecimal(text(span, "/spanId")),
                parent: hexadecimal(text(span, "/parentSpanId")),
                name: text(span, "/name").to_owned(),
                service: service.clone(),
                is_call: span["kind"] == 3 || span["kind"] == "SPAN_KIND_CLIENT",
                start: micros(&span["startTimeUnixNano"]),
                end: micros(&span["endTimeUnixNano"]),
                failure: failed.then(|| cause(&attribute(span, "error.type"), text(span, "/status/message"))),
            });
        }
    }
    sorted(spans)
}

fn sorted(mut spans: Vec<TraceSpan>) -> Vec<TraceSpan> {
    spans.sort_by(|a, b| (a.start, &a.id).cmp(&(b.start, &b.id)));
    // A span may be stored twice: the rollout's root span is exported at least once.
    spans.dedup_by(|a, b| a.id == b.id);
    spans
}

fn cause(class: &str, message: &str) -> String {
    match (class, message) {
        ("", "") => "error".to_owned(),
        (class, "") => class.to_owned(),
        ("", message) => message.to_owned(),
        (class, message) => format!("{class}: {message}"),
    }
}

fn attribute(of: &Value, key: &str) -> String {
    let found = list(of, "/attributes").find(|attribute| attribute["key"] == key);
    found.map_or_else(String::new, |attribute| text(attribute, "/value/stringValue").to_owned())
}

/// Nanoseconds, as a string or a number.
fn micros(value: &Value) -> u64 {
    let nanos = value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
    nanos.unwrap_or_default() / 1000
}

/// An 8-byte ID: 16 hexadecimal digits unchanged, otherwise decoded from base64 (RFC 4648).
fn hexadecimal(id: &str) -> String {
    use std::fmt::Write as _;
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if id.len() == 16 && id.chars().all(|c| c.is_ascii_hexdigit()) {
        return id.to_ascii_lowercase();
    }
    let (mut bits, mut count, mut digits) = (0_u32, 0, String::new());
    for byte in id.trim_end_matches('=').bytes() {
        let Some(value) = ALPHABET.iter().position(|known| *known == byte) else { return id.to_owned() };
        bits = (bits << 6) | u32::try_from(value).unwrap_or_default();
        count += 6;
        if count >= 8 {
            count -= 8;
            let _ = write!(digits, "{:02x}", (bits >> count) & 0xff);
        }
    }
    digits
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_trace_in_three_formats() {
        let jaeger = json!({"data": [{
            "processes": {"p1": {"serviceName": "elpio-operator"}},
            "spans": [
                {"traceID": "t", "spanID": "00000000000000ff", "operationName": "PATCH", "processID": "p1",
                 "startTime": 1_000_000, "duration": 5, "references": [
                    {"refType": "CHILD_OF", "traceID": "t", "spanID": "00000000000000aa"},
                    {"refType": "FOLLOWS_FROM", "traceID": "u", "spanID": "00000000000000bb"}],
                 "tags": [{"key": "span.kind", "value": "client"}, {"key": "error", "value": true},
                    {"key": "error.type", "value": "403"}]},
                {"traceID": "t", "spanID": "00000000000000aa", "operationName": "root", "processID": "p1",
                 "startTime": 999_999, "duration": 10, "references": [], "tags": []},
            ],
        }]});
        let otlp = |ids: [&str; 3], kind: Value, code: Value| {
            json!([{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "elpio-operator"}}]},
            "scopeSpans": [{"spans": [
                {"spanId": ids[0], "name": "root", "startTimeUnixNano": "999999000", "endTimeUnixNano": "1000009000"},
                {"spanId": ids[1], "parentSpanId": ids[2], "name": "PATCH", "kind": kind, "status": {"code": code},
                 "startTimeUnixNano": "1000000000", "endTimeUnixNano": "1000005000",
                 "attributes": [{"key": "error.type", "value": {"stringValue": "403"}}]},
            ]}]}])
        };
        let (root, call) = ("00000000000000AA", "00000000000000FF");
        let hex = otlp([root, call, root], json!(3), json!(2));
        let (root, call) = ("AAAAAAAAAKo=", "AAAAAAAAAP8=");
        let base64 = otlp([root, call, root], json!("SPAN_KIND_CLIENT"), json!("STATUS_CODE_ERROR"));
        let expected = of_jaeger(&jaeger);
        assert_eq!(expected.len(), 2);
        assert_eq!(expected[1].parent, expected[0].id);
        assert_eq!((expected[1].is_call, expected[1].failure.as_deref()), (true, Some("403")));
        assert_eq!(of_otlp(&json!({"trace": {"resourceSpans": hex}})), expected);
        assert_eq!(of_otlp(&json!({"batches": base64})), expected);
        assert_eq!(of_otlp(&json!({"odd": 1})), []);
    }
}
