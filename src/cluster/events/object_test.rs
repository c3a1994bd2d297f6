//! Names and notes of Events.
use super::*;
use crate::{
    api::event::Related,
    cluster::events::testing::{event, regarding, regarding_uid},
};

#[test]
fn the_name_depends_on_what_happened_and_not_on_the_note() {
    let name = event_name(&regarding(), &event());
    assert!(name.starts_with("web.") && name.len() == 20, "{name}");
    assert_eq!(name, event_name(&regarding(), &NewEvent { note: "other".into(), ..event() }));
    for other in [
        event_name(&regarding_uid("v"), &event()),
        event_name(&Regarding { generation: 2, ..regarding() }, &event()),
        event_name(&Regarding { rebuild: "x".into(), ..regarding() }, &event()),
        event_name(&regarding(), &NewEvent { type_: "Warning", ..event() }),
        event_name(&regarding(), &NewEvent { reason: "Progressing", ..event() }),
        event_name(&regarding(), &NewEvent { action: "Apply", ..event() }),
        event_name(&regarding(), &NewEvent { cause: "QuotaExceeded".into(), ..event() }),
        event_name(
            &regarding(),
            &NewEvent {
                related: Some(Related {
                    api_version: "v1".into(),
                    kind: "Service".into(),
                    name: "web".into(),
                }),
                ..event()
            },
        ),
    ] {
        assert_ne!(name, other);
    }
}

#[test]
fn a_note_keeps_its_trace_and_its_limit() {
    let trace = "0af7651916cd43dd8448eb211c80319c";
    assert_eq!(event_note("fine", None), "fine");
    assert_eq!(event_note("fine", Some(trace)), format!("fine (trace {trace})"));
    for text in ["x".repeat(2000), "ä".repeat(1000), "…".repeat(700)] {
        for ids in [None, Some(trace)] {
            let note = event_note(&text, ids);
            assert!(note.len() <= NOTE_LIMIT && note.len() > NOTE_LIMIT - 8, "{}", note.len());
            assert!(ids.is_none_or(|id| note.ends_with(&format!(" (trace {id})"))), "{note}");
        }
    }
}

#[test]
fn an_event_is_ours_by_its_controller_and_its_object() {
    let [first, last] = [1, 2].map(|second| Timestamp::from_second(second).unwrap_or_default());
    let counted = EventCount { count: 3, first, last, instance: "pod" };
    let own = build_event(&regarding(), &event(), "web.1", None, &counted);
    assert_eq!(
        found_event(&own, &regarding()),
        FoundEvent::Own { count: 3, first: Some(first), last: Some(last) }
    );
    let once = build_event(&regarding(), &event(), "web.1", None, &EventCount { count: 1, ..counted });
    assert_eq!(
        found_event(&once, &regarding()),
        FoundEvent::Own { count: 1, first: Some(first), last: Some(first) }
    );
    let of_another = Event { reporting_controller: Some("else".into()), ..own.clone() };
    assert_eq!(found_event(&of_another, &regarding()), FoundEvent::Foreign);
    assert_eq!(found_event(&own, &regarding_uid("v")), FoundEvent::Foreign);
    assert_eq!(found_event(&Event { regarding: None, ..own }, &regarding()), FoundEvent::Foreign);
}

#[test]
fn other_names_are_names() {
    let name = event_name(&regarding(), &event());
    assert_eq!(alternative_name(&name, 0), name);
    assert_eq!(alternative_name(&name, 2), format!("{name}-2"));
}
