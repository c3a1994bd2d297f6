//! The page of instruments and the page of variables.

use std::{cell::RefCell, collections::BTreeSet};

use elpio_operator::telemetry::{Settings, instruments_page};

#[test]
fn the_committed_page_is_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/otel/instruments.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, instruments_page::render()).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == instruments_page::render(), "otel/instruments.md is not the table: run with UPDATE_GOLDEN=1");
}

/// Every `OTEL_…` that is asked for, one signal standing for all.
fn asked() -> BTreeSet<String> {
    let asked = RefCell::new(BTreeSet::new());
    // Answers that lead to all the others.
    let answer = |name: &str| {
        asked.borrow_mut().insert(name.to_owned());
        match name {
            "OTEL_TRACES_EXPORTER" | "OTEL_METRICS_EXPORTER" | "OTEL_LOGS_EXPORTER" => Some("otlp".to_owned()),
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("c:4317".to_owned()),
            "OTEL_TRACES_SAMPLER" => Some("traceidratio".to_owned()),
            _ => None,
        }
    };
    let (_, warnings) = Settings::from_env(&answer);
    assert!(warnings.is_empty(), "{warnings:?}");
    let general = |name: String| {
        if name.ends_with("_TEMPORALITY_PREFERENCE") {
            return name;
        }
        ["TRACES", "METRICS", "LOGS"].iter().fold(name, |name, signal| name.replace(&format!("_OTLP_{signal}_"), "_OTLP_<SIGNAL>_"))
    };
    asked.into_inner().into_iter().map(general).collect()
}

#[test]
fn the_page_of_variables_names_every_variable_that_is_read_and_no_other() {
    let page = include_str!("../../otel/README.md");
    let named: BTreeSet<String> = page.split('`').filter(|word| word.starts_with("OTEL_")).map(str::to_owned).collect();
    assert_eq!(named, asked());
}
