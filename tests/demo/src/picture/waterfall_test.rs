//! Tests of the waterfall: its texts, its colours, and corrupt traces.

use super::*;
use elpio_cluster::otlp::SpanEvent;

fn span(id: &str, parent: &str, name: &str, start: u64, end: u64) -> Span {
    Span {
        span_id: id.to_owned(),
        parent_id: parent.to_owned(),
        name: name.to_owned(),
        kind: "internal",
        status: "unset",
        start: start * 1_000_000,
        end: end * 1_000_000,
        ..Span::default()
    }
}

fn texts(svg: &str) -> Vec<&str> {
    svg.split("<text").skip(1).filter_map(|text| Some(text.split(['>', '<']).nth(1)?.trim())).collect()
}

#[test]
fn every_span_is_drawn_and_errors_are_red() {
    let mut failed = span("3", "1", "apply <Service>", 20, 300);
    failed.status = "error";
    "refused & gone".clone_into(&mut failed.status_message);
    failed.events =
        vec![SpanEvent { name: "exception".to_owned(), time: 25_000_000, ..SpanEvent::default() }];
    let spans = [
        span("1", "", "rollout", 0, 1000),
        span("2", "1", "observe", 1, 2),
        span("5", "1", "render", 2, 3),
        failed,
        span("4", "3", "PATCH", 21, 290),
        span("9", "lost", "orphan", 400, 500),
    ];
    let svg = draw("A rollout", &spans);
    let texts = texts(&svg);
    for text in [
        "A rollout",
        "rollout",
        "observe, render",
        "apply &lt;Service&gt;",
        "PATCH",
        "orphan",
        "1 s",
        "280 ms  refused &amp; gone",
    ] {
        assert!(texts.contains(&text), "{text} is not among {texts:?}");
    }
    assert!(texts.iter().any(|text| text.contains("6 spans · 1 s · 1 with an error")), "{texts:?}");
    // In the legend, and the bar.
    assert_eq!(svg.matches("fill=\"#D0342C\" stroke=\"none\"").count(), 2, "{svg}");
    assert_eq!(svg.matches("<circle").count(), 1);
    assert!(svg.trim_end().ends_with("</svg>") && !svg.contains("NaN"), "{svg}");
}

#[test]
fn an_empty_trace_has_no_data_and_a_cycle_ends() {
    assert!(draw("t", &[]).contains("no data"));
    let cycle = [span("1", "2", "a", 0, 1), span("2", "1", "b", 0, 1), span("3", "", "c", 0, 0)];
    assert!(texts(&draw("t", &cycle)).contains(&"c"));
}
