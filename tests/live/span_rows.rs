//! What the operator sent, held to the table of spans.

use elpio_cluster::otlp::Span;
use elpio_operator::telemetry::catalog::spans::{Parent, SpanDef, SpanStatus, find};

fn row(span: &Span) -> &'static SpanDef {
    find(&span.name).unwrap_or_else(|| panic!("{} is not in the table of spans", span.name))
}

/// Each is what its row says; so is its parent, where it has come.
pub fn are_of_the_table(spans: &[Span]) {
    for span in spans {
        let (row, name) = (row(span), &span.name);
        assert_eq!(span.kind, row.kind, "{name}");
        for (key, value) in &span.attributes {
            let stated = row.attributes.iter().find(|attribute| attribute.key == key);
            assert!(
                stated.is_some_and(|stated| stated.values.allow(value)),
                "{name}: {key}={value} is not in the table: {stated:?}"
            );
        }
        for attribute in row.attributes.iter().filter(|attribute| attribute.present_when.is_none()) {
            assert!(span.attributes.contains_key(attribute.key), "{name}: no {}", attribute.key);
        }
        let status = match span.status {
            "ok" => SpanStatus::Ok,
            "error" => SpanStatus::Error,
            _ => SpanStatus::Unset,
        };
        assert!(row.statuses.iter().any(|(stated, _)| *stated == status), "{name}: {status:?}");
        assert!(span.links.is_empty() || row.link.is_some(), "{name}: {:?}", span.links);
        assert!(span.events.is_empty(), "{name}: {:?}", span.events);
        parent_is_of_the_table(span, row, spans);
    }
}

fn parent_is_of_the_table(span: &Span, below: &SpanDef, spans: &[Span]) {
    if span.parent_id.is_empty() {
        assert!(below.parents.contains(&Parent::None), "{}: a root", span.name);
    } else if let Some(above) =
        spans.iter().find(|other| other.span_id == span.parent_id && other.trace_id == span.trace_id)
    {
        let parent = Parent::Of(row(above).name);
        assert!(below.parents.contains(&parent), "{}: a child of {}", span.name, above.name);
    }
}
