//! Events as a test compares and prints them.

use k8s_openapi::api::events::v1::Event;

/// `type reason ×count: note`, a line each.
pub fn summary(events: &[Event]) -> String {
    let line = |e: &Event| {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        format!(
            "{} {} ×{}: {}",
            text(&e.type_),
            text(&e.reason),
            e.series.as_ref().map_or(1, |s| s.count),
            text(&e.note)
        )
    };
    events.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// `type reason`, for a comparison.
pub fn reasons(events: &[Event]) -> Vec<String> {
    events
        .iter()
        .map(|e| format!("{} {}", e.type_.clone().unwrap_or_default(), e.reason.clone().unwrap_or_default()))
        .collect()
}
