//! What the items of a watch mean.
#![allow(clippy::unwrap_used)]

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::*;

#[allow(clippy::unnecessary_wraps)]
fn item(event: &Value) -> kube::Result<WatchEvent<ConfigMap>> {
    Ok(serde_json::from_value(event.clone()).unwrap())
}

fn error(code: u16, causes: &Value) -> Value {
    json!({"type": "ERROR", "object": {"status": "Failure", "message": "m", "reason": "r", "code": code,
        "details": {"causes": causes}}})
}

fn object(kind: &str, version: &str) -> Value {
    json!({"type": kind, "object": {"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "a", "resourceVersion": version}}})
}

#[test]
fn what_an_item_means() {
    let too_large = json!([{"reason": "ResourceVersionTooLarge", "message": "", "field": ""}]);
    let failed = |code| Err(WatchFailure::Failed(format!("{code} r: m"), None));
    let throttled = json!({"type": "ERROR", "object": {"message": "m", "reason": "r", "code": 429,
        "details": {"retryAfterSeconds": 4}}});
    for (event, expected, at) in [
        (object("ADDED", "11"), Ok("applied"), 11),
        (object("MODIFIED", "12"), Ok("applied"), 12),
        (object("DELETED", "13"), Ok("deleted"), 13),
        (object("BOOKMARK", "14"), Ok("bookmark"), 14),
        (object("BOOKMARK", "10"), Ok("bookmark"), 10),
        (object("MODIFIED", "9"), Err(WatchFailure::Expired), 10),
        (object("BOOKMARK", "9"), Err(WatchFailure::Expired), 10),
        (error(410, &json!([])), Err(WatchFailure::Expired), 10),
        (error(504, &too_large), Err(WatchFailure::Expired), 10),
        (error(504, &json!([])), failed(504), 10),
        (error(403, &json!([])), Err(WatchFailure::Forbidden("m".into())), 10),
        (error(404, &json!([])), Err(WatchFailure::Absent), 10),
        (error(500, &json!([])), failed(500), 10),
        (throttled, Err(WatchFailure::Failed("429 r: m".into(), Some(Duration::from_secs(4)))), 10),
    ] {
        let mut version = 10;
        let meaning = advance(item(&event), &mut version).map(|change| match change.unwrap() {
            WatchChange::Applied(_) => "applied",
            WatchChange::Deleted(_) => "deleted",
            WatchChange::Bookmark => "bookmark",
        });
        assert_eq!((meaning, version), (expected, at), "{event}");
    }
}
