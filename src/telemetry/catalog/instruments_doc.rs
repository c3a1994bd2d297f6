//! Renders the instrument table as `otel/instruments.md`; it adds no content.

use std::fmt::Write as _;

use crate::telemetry::catalog::{
    definition::{AllowedValues, InstrumentDef, InstrumentKind},
    instruments::INSTRUMENTS,
};

const HEAD: &str = "\
# Instruments

<!-- Generated from src/telemetry/catalog/instruments.rs. Do not edit: UPDATE_GOLDEN=1 cargo test --test telemetry -->

The same instruments feed the OTLP push and the Prometheus page. On the page dots in names and in attribute keys become
underscores. *Volatile* instruments move between two collections of a quiet operator. Every closed counter starts at 0.
A series beyond an instrument's limit is counted under `otel_metric_overflow=\"true\"`.
";

/// The document.
#[must_use]
pub fn render() -> String {
    let mut doc = String::from(HEAD);
    for row in INSTRUMENTS {
        section(&mut doc, row);
    }
    doc
}

fn section(doc: &mut String, row: &InstrumentDef) {
    let unit = if row.unit.is_empty() { "none".to_owned() } else { format!("`{}`", row.unit) };
    // Writing to a String never fails.
    let _ = write!(doc, "\n## `{}`\n\n{}.\n\n", row.name, row.description);
    let _ = writeln!(
        doc,
        "- {}, unit {unit}{}",
        kind_name(row.kind),
        if row.volatile { ", volatile" } else { "" }
    );
    let _ = writeln!(doc, "- On the Prometheus page: `{}`", row.prometheus_name);
    for attribute in row.attributes {
        let values = match attribute.values {
            AllowedValues::Closed(values) => {
                values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ")
            }
            AllowedValues::Described(by) => by.to_owned(),
        };
        let _ = writeln!(doc, "- Attribute `{}`: {values}", attribute.key);
    }
    if row.is_valid.is_some() {
        let _ = writeln!(doc, "- {} of the combinations can occur", row.combinations().len());
    }
    if !row.buckets.is_empty() {
        let bounds = row.buckets.iter().map(f64::to_string).collect::<Vec<_>>().join(", ");
        let _ = writeln!(doc, "- Buckets: {bounds}");
    }
    if row.exemplars {
        let _ = writeln!(doc, "- Exemplars: the last sampled span of each bucket (OpenMetrics)");
    }
    let _ = writeln!(doc, "- At most {} series", row.cardinality_limit);
}

fn kind_name(kind: InstrumentKind) -> &'static str {
    match kind {
        InstrumentKind::Counter | InstrumentKind::ObservableCounter => "Counter",
        InstrumentKind::UpDownCounter | InstrumentKind::ObservableUpDownCounter => "Up-down counter",
        InstrumentKind::ObservableGauge => "Gauge",
        InstrumentKind::Histogram => "Histogram",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sound() {
        let mut names = std::collections::HashSet::new();
        for row in INSTRUMENTS {
            assert!(names.insert(row.name), "{} twice", row.name);
            assert_eq!(
                row.kind == InstrumentKind::Histogram,
                !row.buckets.is_empty(),
                "{}: buckets",
                row.name
            );
            assert!(row.buckets.is_sorted(), "{}: buckets", row.name);
            assert!(
                row.combinations().len() < row.cardinality_limit,
                "{}: the limit is below its own closed sets",
                row.name
            );
            assert!(!row.exemplars || row.kind == InstrumentKind::Histogram, "{}: exemplars", row.name);
            let counter = matches!(row.kind, InstrumentKind::Counter | InstrumentKind::ObservableCounter);
            assert_eq!(row.prometheus_name.ends_with("_total"), counter, "{}", row.prometheus_name);
        }
    }

    #[test]
    fn reconcile_buckets_contain_those_of_prometheus_client() {
        for bound in [
            0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 0.001, 0.0025,
            30.0, 60.0,
        ] {
            assert!(
                crate::telemetry::catalog::instruments::RECONCILE_DURATION.buckets.contains(&bound),
                "{bound}"
            );
        }
    }
}
