//! The page of instruments and the page of variables.

use std::{cell::RefCell, collections::BTreeSet, path::Path};

use elpio_operator::{
    config::OperatorConfig,
    telemetry::{
        TelemetryConfig,
        catalog::{instruments_doc, registry},
    },
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_committed_page_is_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/otel/instruments.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, instruments_doc::render()).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == instruments_doc::render(),
        "otel/instruments.md is not the table: run with UPDATE_GOLDEN=1"
    );
}

#[test]
fn the_committed_registry_is_the_catalog() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/otel/registry");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(folder).unwrap();
    }
    let files = registry::render();
    for (name, text) in &files {
        let path = format!("{folder}/{name}");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(&committed == text, "otel/registry/{name} is not the catalog: run with UPDATE_GOLDEN=1");
        assert!(
            !text.contains("brief: \"\"") && !text.contains("examples: [\"\"]"),
            "{name}: a brief or an example is missing"
        );
    }
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), files.len(), "a file that is not generated");
}

/// Every variable that telemetry asks for, one signal standing for all.
fn asked_by_telemetry() -> BTreeSet<String> {
    let asked = RefCell::new(BTreeSet::new());
    // Answers that lead to all the others.
    let answer = |name: &str| {
        asked.borrow_mut().insert(name.to_owned());
        match name {
            "OTEL_TRACES_EXPORTER" | "OTEL_METRICS_EXPORTER" | "OTEL_LOGS_EXPORTER" => {
                Some("otlp".to_owned())
            }
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("c:4317".to_owned()),
            "OTEL_TRACES_SAMPLER" => Some("traceidratio".to_owned()),
            _ => None,
        }
    };
    let (_, warnings) = TelemetryConfig::from_env(&answer);
    assert!(warnings.is_empty(), "{warnings:?}");
    let general = |name: String| {
        if name.ends_with("_TEMPORALITY_PREFERENCE") || name.ends_with("_HISTOGRAM_AGGREGATION") {
            return name;
        }
        ["TRACES", "METRICS", "LOGS"]
            .iter()
            .fold(name, |name, signal| name.replace(&format!("_OTLP_{signal}_"), "_OTLP_<SIGNAL>_"))
    };
    asked.into_inner().into_iter().map(general).collect()
}

/// Every variable that the operator's own configuration asks for.
fn asked_by_the_configuration() -> BTreeSet<String> {
    let asked = RefCell::new(BTreeSet::new());
    let (_, warnings) = OperatorConfig::from_env(&|name| {
        asked.borrow_mut().insert(name.to_owned());
        None
    })
    .unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    asked.into_inner()
}

/// Every variable that says where the process runs: read by name, outside the two parsers.
fn asked_by_the_place() -> BTreeSet<String> {
    let source = std::fs::read_to_string(format!("{ROOT}/src/runtime_info.rs")).unwrap();
    source.split("env_var(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

/// The variables of the tables: the words in the first cells.
fn rows(page: &str) -> BTreeSet<String> {
    let cells =
        page.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split(" | ").next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// Sources that read the environment themselves.
fn readers(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            readers(&path, found);
        } else if std::fs::read_to_string(&path).unwrap().contains("env::var(") {
            found.insert(path.strip_prefix(ROOT).unwrap().display().to_string());
        }
    }
}

#[test]
fn the_page_of_variables_has_a_row_for_every_variable_that_is_read_and_no_other() {
    let page = std::fs::read_to_string(format!("{ROOT}/otel/README.md")).unwrap();
    let (own, _) = page.split_once("## When the collector is down").expect("the variables come first");
    let mut read = asked_by_telemetry();
    // `ELPIO_LOG` has a row, which names what stands in for it.
    read.extend(asked_by_the_configuration().into_iter().filter(|name| name != "RUST_LOG"));
    read.extend(asked_by_the_place());
    assert_eq!(rows(own), read);
    let named: BTreeSet<String> =
        page.split('`').filter(|word| word.starts_with("OTEL_")).map(str::to_owned).collect();
    let mut asked = asked_by_telemetry();
    asked.retain(|name| name.starts_with("OTEL_"));
    assert_eq!(named, asked, "words anywhere on the page");
}

#[test]
fn only_these_files_read_the_environment() {
    let mut found = BTreeSet::new();
    readers(Path::new(&format!("{ROOT}/src")), &mut found);
    // The parsers are handed it.
    let expected = ["src/config/process_env.rs", "src/runtime_info.rs"];
    assert_eq!(found, expected.map(str::to_owned).into());
}
