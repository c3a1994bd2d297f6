//! Names and notes of Events.
use super::*;
use crate::{api::event::Related, telemetry::Kind};

fn regarding() -> Regarding {
    Regarding {
        kind: Kind::ElpioService,
        api_version: "elpio.io/v1alpha1",
        namespace: "ns".into(),
        name: "web".into(),
        uid: "u".into(),
        generation: 1,
        rebuild: String::new(),
        since: None,
    }
}

fn occurrence() -> NewEvent {
    NewEvent { type_: "Normal", reason: "Ready", action: "Observe", note: "n".into(), related: None }
}

#[test]
fn the_name_depends_on_what_happened_and_not_on_the_note() {
    let name = name_of(&regarding(), &occurrence());
    assert!(name.starts_with("web.") && name.len() == 20, "{name}");
    assert_eq!(name, name_of(&regarding(), &NewEvent { note: "other".into(), ..occurrence() }));
    for other in [
        name_of(&Regarding { uid: "v".into(), ..regarding() }, &occurrence()),
        name_of(&Regarding { generation: 2, ..regarding() }, &occurrence()),
        name_of(&Regarding { rebuild: "x".into(), ..regarding() }, &occurrence()),
        name_of(&regarding(), &NewEvent { type_: "Warning", ..occurrence() }),
        name_of(&regarding(), &NewEvent { reason: "Progressing", ..occurrence() }),
        name_of(&regarding(), &NewEvent { action: "Apply", ..occurrence() }),
        name_of(
            &regarding(),
            &NewEvent {
                related: Some(Related {
                    api_version: "v1".into(),
                    kind: "Service".into(),
                    name: "web".into(),
                }),
                ..occurrence()
            },
        ),
    ] {
        assert_ne!(name, other);
    }
}

#[test]
fn a_note_keeps_its_trace_and_its_limit() {
    let trace = "0af7651916cd43dd8448eb211c80319c";
    assert_eq!(note_of("fine", None), "fine");
    assert_eq!(note_of("fine", Some(trace)), format!("fine (trace {trace})"));
    for text in ["x".repeat(2000), "ä".repeat(1000), "…".repeat(700)] {
        for ids in [None, Some(trace)] {
            let note = note_of(&text, ids);
            assert!(note.len() <= NOTE_LIMIT && note.len() > NOTE_LIMIT - 8, "{}", note.len());
            assert!(ids.is_none_or(|id| note.ends_with(&format!(" (trace {id})"))), "{note}");
        }
    }
}
