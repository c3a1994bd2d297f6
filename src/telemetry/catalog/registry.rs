//! Renders the catalog as a semantic convention registry in the format of OpenTelemetry Weaver
//! (`otel/registry/`); it adds no names.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::telemetry::catalog::{
    attributes::{EventReason, Kind},
    definition::{AllowedValues, InstrumentDef, InstrumentKind},
    instruments::INSTRUMENTS,
    registry_notes::{CONVENTIONS, EXAMPLES, NOTES, RESOURCE, STABLE},
    span_definition::{SpanAttribute, SpanDef, ValueType},
    spans::{EXCEPTION, SPANS},
};

const HEAD: &str =
    "# Generated from src/telemetry/catalog. Do not edit: UPDATE_GOLDEN=1 cargo test --test telemetry\n";

/// The attributes of the log record `k8s.event`.
const EVENT: [SpanAttribute; 7] = {
    const fn of(key: &'static str, values: AllowedValues) -> SpanAttribute {
        SpanAttribute { key, value_type: ValueType::Text, values, present_when: None }
    }
    [
        of("k8s.event.reason", AllowedValues::Closed(EventReason::VALUES)),
        of("k8s.event.action", AllowedValues::Described("what was done, as the Event has it")),
        of("k8s.namespace.name", AllowedValues::Described("the object's namespace")),
        of("k8s.object.kind", AllowedValues::Closed(Kind::VALUES)),
        of("k8s.object.api_version", AllowedValues::Described("the object's API version")),
        of("k8s.object.name", AllowedValues::Described("the object's name")),
        of("k8s.object.uid", AllowedValues::Described("the object's uid")),
    ]
};

/// The files of the registry: names and contents.
#[must_use]
pub fn render() -> Vec<(&'static str, String)> {
    vec![
        ("registry_manifest.yaml", manifest()),
        ("attributes.yaml", attributes()),
        ("metrics.yaml", metrics()),
        ("spans.yaml", spans()),
        ("events.yaml", events()),
        ("resource.yaml", resource()),
    ]
}

/// Whether OpenTelemetry's own conventions define this attribute.
#[must_use]
pub fn is_of_conventions(key: &str) -> bool {
    CONVENTIONS.contains(&key)
}

fn manifest() -> String {
    format!(
        "{HEAD}name: elpio\ndescription: What the Elpio operator emits.\nsemconv_version: {}\nschema_base_url: https://elpio.io/schemas/\n\
         dependencies:\n  - name: otel\n    registry_path: https://github.com/open-telemetry/semantic-conventions/archive/refs/tags/v1.44.0.zip[model]\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// A YAML string: every JSON string is one.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// One attribute, merged from all its uses.
#[derive(Default)]
struct Merged {
    is_number: bool,
    /// `None` once one use is an open set.
    words: Option<Vec<&'static str>>,
    notes: Vec<&'static str>,
    uses: usize,
}

impl Merged {
    fn merge(&mut self, values: AllowedValues, is_number: bool) {
        self.is_number |= is_number;
        self.uses += 1;
        match values {
            AllowedValues::Closed(words) if self.uses == 1 || self.words.is_some() => {
                let all = self.words.get_or_insert_default();
                all.extend(words.iter().filter(|word| !all.contains(word)).copied().collect::<Vec<_>>());
            }
            AllowedValues::Closed(_) => {}
            AllowedValues::Described(by) => {
                self.words = None;
                if !self.notes.contains(&by) {
                    self.notes.push(by);
                }
            }
        }
    }
}

fn merged() -> BTreeMap<&'static str, Merged> {
    let mut all: BTreeMap<&'static str, Merged> = BTreeMap::new();
    for attribute in INSTRUMENTS.iter().flat_map(|row| row.attributes) {
        all.entry(attribute.key).or_default().merge(attribute.values, false);
    }
    for attribute in SPANS.iter().flat_map(|row| row.attributes).chain(&EVENT) {
        let is_number = attribute.value_type == ValueType::Number;
        all.entry(attribute.key).or_default().merge(attribute.values, is_number);
    }
    all.retain(|key, _| !CONVENTIONS.contains(key));
    all
}

fn attributes() -> String {
    let mut text = format!(
        "{HEAD}groups:\n  - id: registry.elpio\n    type: attribute_group\n    stability: development\n    \
         brief: Attributes of the Elpio operator's own.\n    attributes:\n"
    );
    for (key, attribute) in merged() {
        let brief = NOTES.iter().find(|(name, _)| *name == key).map_or("", |(_, brief)| brief);
        let _ = writeln!(
            text,
            "      - id: {key}\n        stability: development\n        brief: {}",
            quoted(brief)
        );
        match (&attribute.words, attribute.is_number) {
            (Some(words), _) => {
                text.push_str("        type:\n          members:\n");
                for word in words {
                    let id = word.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
                    let _ = writeln!(
                        text,
                        "            - {{id: {}, value: {}, stability: development}}",
                        quoted(&id),
                        quoted(word)
                    );
                }
            }
            (None, true) => text.push_str("        type: int\n        examples: [1]\n"),
            (None, false) => {
                let example =
                    EXAMPLES.iter().find(|(name, _)| *name == key).map_or("", |(_, example)| example);
                let _ = writeln!(text, "        type: string\n        examples: [{}]", quoted(example));
            }
        }
        if !attribute.notes.is_empty() {
            let _ = writeln!(text, "        note: {}", quoted(&attribute.notes.join("; ")));
        }
    }
    text
}

fn metrics() -> String {
    let mut text = format!("{HEAD}groups:\n");
    for row in INSTRUMENTS {
        let stability = if STABLE.contains(&row.name) { "stable" } else { "development" };
        let unit = if row.unit.is_empty() { "1" } else { row.unit };
        let _ = writeln!(
            text,
            "  - id: metric.{}\n    type: metric\n    metric_name: {}\n    instrument: {}\n    unit: {}\n    stability: {stability}\n    \
             brief: {}\n    annotations:\n      elpio: {{prometheus: {}, sent_unit: {}}}",
            row.name,
            row.name,
            instrument(row.kind),
            quoted(unit),
            quoted(row.description),
            row.prometheus_name,
            quoted(row.unit)
        );
        attributes_of_metric(&mut text, row);
    }
    text
}

fn attributes_of_metric(text: &mut String, row: &InstrumentDef) {
    if row.attributes.is_empty() {
        return;
    }
    text.push_str("    attributes:\n");
    for attribute in row.attributes {
        let (level, note) = match attribute.values {
            AllowedValues::Closed(words) => ("required".to_owned(), format!("One of {}.", words.join(", "))),
            AllowedValues::Described(by) if by.contains("absent") => {
                (format!("{{conditionally_required: {}}}", quoted(by)), by.to_owned())
            }
            AllowedValues::Described(by) => ("required".to_owned(), by.to_owned()),
        };
        let _ = writeln!(
            text,
            "      - ref: {}\n        requirement_level: {level}\n        note: {}",
            attribute.key,
            quoted(&note)
        );
    }
}

fn instrument(kind: InstrumentKind) -> &'static str {
    match kind {
        InstrumentKind::Counter | InstrumentKind::ObservableCounter => "counter",
        InstrumentKind::UpDownCounter | InstrumentKind::ObservableUpDownCounter => "updowncounter",
        InstrumentKind::ObservableGauge => "gauge",
        InstrumentKind::Histogram => "histogram",
    }
}

/// The ID of a span: its name without placeholders.
fn span_id(row: &SpanDef) -> String {
    row.name.to_lowercase().replace(' ', ".")
}

fn spans() -> String {
    let mut text = format!("{HEAD}groups:\n");
    for row in SPANS {
        let _ = writeln!(
            text,
            "  - id: span.elpio.{}\n    type: span\n    span_kind: {}\n    stability: development\n    brief: {}\n    \
             annotations:\n      elpio:\n        name: {}\n        placeholders:",
            span_id(row),
            row.kind,
            quoted(row.what),
            quoted(row.name)
        );
        for (word, values) in row.placeholders {
            let values = match values {
                AllowedValues::Closed(words) => serde_json::json!(words).to_string(),
                AllowedValues::Described(by) => quoted(by),
            };
            let _ = writeln!(text, "          {word}: {values}");
        }
        if row.attributes.is_empty() {
            continue;
        }
        text.push_str("    attributes:\n");
        for attribute in row.attributes {
            attribute_of_span(&mut text, attribute);
        }
    }
    text
}

fn attribute_of_span(text: &mut String, attribute: &SpanAttribute) {
    let level = attribute.present_when.map_or("required".to_owned(), |when| {
        format!("{{conditionally_required: {}}}", quoted(&format!("when {when}")))
    });
    let note = match attribute.values {
        AllowedValues::Closed(words) => format!("One of {}.", words.join(", ")),
        AllowedValues::Described(by) => by.to_owned(),
    };
    let _ = writeln!(
        text,
        "      - ref: {}\n        requirement_level: {level}\n        note: {}",
        attribute.key,
        quoted(&note)
    );
}

fn events() -> String {
    let mut text = format!(
        "{HEAD}groups:\n  - id: event.k8s.event\n    type: event\n    name: k8s.event\n    stability: development\n    \
         brief: One occurrence of an Event of the Kubernetes API; the body is its note.\n    attributes:\n"
    );
    for attribute in &EVENT {
        attribute_of_span(&mut text, attribute);
    }
    text.push_str(
        "  - id: event.exception\n    type: event\n    name: exception\n    stability: development\n    \
         brief: Why a span of the operator failed.\n    attributes:\n",
    );
    for (key, note) in EXCEPTION {
        let _ = writeln!(
            text,
            "      - ref: {key}\n        requirement_level: required\n        note: {}",
            quoted(note)
        );
    }
    text
}

fn resource() -> String {
    let mut text = format!(
        "{HEAD}groups:\n  - id: entity.elpio.operator\n    type: entity\n    name: elpio.operator\n    stability: development\n    \
         brief: The process that emits all of this.\n    attributes:\n"
    );
    for (key, when) in RESOURCE {
        let level = when
            .map_or("required".to_owned(), |when| format!("{{conditionally_required: {}}}", quoted(when)));
        let role = if key.starts_with("service.") { "identifying" } else { "descriptive" };
        let _ =
            writeln!(text, "      - ref: {key}\n        role: {role}\n        requirement_level: {level}");
    }
    text
}
