//! Renders the span table as `otel/spans.md`, with the rules that apply to all spans; it adds no spans.

use std::fmt::Write as _;

use crate::telemetry::catalog::{
    definition::AllowedValues,
    span_definition::{Parent, SpanAttribute, SpanDef, SpanStatus, ValueType},
    spans::{EXCEPTION, SPANS},
};

const HEAD: &str = "\
# Spans

<!-- Generated from src/telemetry/catalog/spans.rs and spans_doc.rs. Do not edit: UPDATE_GOLDEN=1 cargo test --test telemetry -->

All spans have the scope `elpio-operator`. `RUST_LOG` and `ELPIO_LOG` never change them, and outside a reconcile there are none.
A failure is an error status, `error.type`, and a log record with `event_name` `exception` of the span; spans have no events.
A caller's `tracestate` (`elpio.io/tracestate` beside `elpio.io/traceparent`) and its random flag are carried on.
Capitalised words are placeholders.
";

const TAIL: &str = "
## What a restart may cost

Roots are sent again where they may be missing. Their ids and times are in the object, so the process that starts or takes over sends those again that
ended in the last minute, the superseded one included, and the builds of that minute. A leader that ends in order, without a failure or a loss in that minute,
exports its spans first and leaves the time on the Lease (`elpio.io/exported-until`): nothing before it is sent again. A span that is sent again is equal to the
nanosecond; some backends keep one of equal spans, Jaeger's memory storage shows both. Where the API server did not answer the write that ended a rollout, the span is sent once the object
shows the end, also after more attempts that failed. Lost are

- the roots of objects that were deleted while no replica led: nothing of them is left to read;
- roots that a killed process had not sent, when no replica led again within a minute of their end;
- the other spans that a killed process had not sent: the reconciles of its last `OTEL_BSP_SCHEDULE_DELAY`, longer where the collector did not take them.

Only spans are sent again. `elpio_rollout_duration_seconds` and `elpio_build_duration_seconds` count an end in the process that saw it: a process that
is killed before its metrics were read or sent takes its last counts with it.

## Log records

Every log line of a reconcile carries `trace_id` and `span_id` of a sampled span that is exported, and the object. A reconcile that changed
something or failed is one line, at WARN where it published a Warning Event, with `outcome`, `trigger` and how many `seconds` it took. Each occurrence
of an Event is a record with `event_name` `k8s.event`, `k8s.event.reason`, `k8s.event.action` and the object's attributes.
";

/// The document.
#[must_use]
pub fn render() -> String {
    let mut doc = String::from(HEAD);
    doc.push_str("\n| span | kind | parent |\n|---|---|---|\n");
    for row in SPANS {
        // Writing to a String never fails.
        let _ = writeln!(
            doc,
            "| [`{}`](#{}) | {} | {} |",
            row.name,
            row.name.to_lowercase().replace(' ', "-"),
            row.kind,
            parents(row)
        );
    }
    for row in SPANS {
        section(&mut doc, row);
    }
    doc + TAIL
}

fn section(doc: &mut String, row: &SpanDef) {
    let _ = write!(doc, "\n## `{}`\n\n{}.\n\n", row.name, row.what);
    for (location, values) in row.placeholders {
        let _ = writeln!(doc, "- `{location}`: {}", words(*values));
    }
    if let Some(link) = row.link {
        let _ = writeln!(doc, "- Link: {link}");
    }
    let statuses: Vec<_> =
        row.statuses.iter().map(|(state, when)| format!("{} {when}", name(*state))).collect();
    let _ = writeln!(doc, "- Status: {}", statuses.join("; "));
    if let Some(when) = row.exception {
        let [(first, of_first), (second, of_second)] = EXCEPTION;
        let _ = writeln!(
            doc,
            "- Log record `exception` of the span, when {when}: `{first}` ({of_first}), `{second}` ({of_second})"
        );
    }
    if !row.attributes.is_empty() {
        doc.push_str("\n| attribute | type | values | there when |\n|---|---|---|---|\n");
        row.attributes.iter().for_each(|attribute| attribute_row(doc, attribute));
    }
}

fn attribute_row(doc: &mut String, attribute: &SpanAttribute) {
    let form = match attribute.value_type {
        ValueType::Text => "string",
        ValueType::Number => "int",
    };
    let present = attribute.present_when.unwrap_or("always");
    let _ = writeln!(doc, "| `{}` | {form} | {} | {present} |", attribute.key, words(attribute.values));
}

fn words(values: AllowedValues) -> String {
    match values {
        AllowedValues::Closed(values) => {
            values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ")
        }
        AllowedValues::Described(by) => by.to_owned(),
    }
}

fn parents(row: &SpanDef) -> String {
    row.parents.iter().map(parent).collect::<Vec<_>>().join(", or ")
}

fn parent(parent: &Parent) -> String {
    match parent {
        Parent::None => "none".to_owned(),
        Parent::Caller => "the caller's span (`elpio.io/traceparent` on the object)".to_owned(),
        Parent::Of(name) => format!("`{name}`"),
    }
}

fn name(state: SpanStatus) -> &'static str {
    match state {
        SpanStatus::Unset => "unset",
        SpanStatus::Ok => "ok",
        SpanStatus::Error => "error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sound() {
        for row in SPANS {
            let named = SPANS.iter().filter(|other| other.name == row.name).count();
            assert_eq!(named, 1, "{}", row.name);
            for (location, _) in row.placeholders {
                assert!(row.name.split(' ').any(|word| word == *location), "{}: no {location}", row.name);
            }
            for parent in row.parents {
                let Parent::Of(name) = parent else { continue };
                assert!(SPANS.iter().any(|other| other.name == *name), "{}: no {name}", row.name);
            }
            let mut keys: Vec<_> = row.attributes.iter().map(|attribute| attribute.key).collect();
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(keys.len(), row.attributes.len(), "{}: a key twice", row.name);
        }
    }
}
