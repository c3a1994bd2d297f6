//! A service and an Event for tests.

use crate::{
    api::event::NewEvent,
    cluster::events::recorder::Regarding,
    telemetry::{Kind, ObjectReference},
};

pub fn regarding() -> Regarding {
    regarding_uid("u")
}

pub fn regarding_uid(uid: &str) -> Regarding {
    let object = ObjectReference {
        kind: Kind::ElpioService,
        api_version: "elpio.io/v1alpha1",
        namespace: "ns".into(),
        name: "web".into(),
        uid: uid.into(),
    };
    Regarding { object: object.into(), generation: 1, rebuild: String::new(), since: None, ids: None }
}

pub fn event() -> NewEvent {
    NewEvent { type_: "Normal", reason: "Ready", action: "Observe", note: "n".into(), ..NewEvent::default() }
}
