//! The tables of values: sets that the chart takes, and values that its schema refuses with their path. It
//! needs no cluster.

use serde_json::Value;

use crate::{chart, documents, helms, program, read, values_file};

pub(crate) const RELEASE: &str = "elpio-operator";
pub(crate) const NAMESPACE: &str = "elpio-system";

/// A named set of values that the chart takes.
pub(crate) fn accepted() -> Vec<(String, Value)> {
    let sets = documents(&read("tests/chart/values.yaml")).remove(0);
    let sets = sets.as_array().unwrap().iter();
    sets.map(|set| (set["name"].as_str().unwrap().to_owned(), set["values"].clone())).collect()
}

#[test]
fn forty_sets_of_values_are_linted_by_both_helms() {
    let sets = accepted();
    assert!(sets.len() >= 40, "{}", sets.len());
    let chart = chart();
    for helm in helms() {
        for (name, values) in &sets {
            let file = values_file(name, values);
            let printed = helm
                .run(&["lint", "--strict", chart.to_str().unwrap(), "--values", file.to_str().unwrap()], "");
            assert!(printed.success, "{name}: {}{}", printed.stdout, printed.stderr);
        }
    }
}

#[test]
fn wrong_values_are_refused_with_their_path() {
    let rows = documents(&read("tests/chart/refused.yaml")).remove(0);
    let chart = chart();
    for (index, row) in rows.as_array().unwrap().iter().enumerate() {
        let path = row["path"].as_str().unwrap();
        let file = values_file(&format!("refused-{index}"), &row["values"]);
        for helm in helms() {
            let args = ["template", RELEASE, chart.to_str().unwrap(), "--values", file.to_str().unwrap()];
            let printed = helm.run(&args, "");
            assert!(!printed.success, "{row} is accepted");
            // Below the schema's own path: "- at '/image': …".
            let named =
                printed.stderr.contains(&format!("'{path}")) || printed.stderr.contains(&format!("{path}:"));
            assert!(named, "{row}: {}", printed.stderr);
        }
    }
    println!("{} values refused by Helm 3 and 4", rows.as_array().unwrap().len());
}

#[test]
fn the_schema_is_closed_and_knows_every_value() {
    let schema: Value = serde_json::from_str(&read("deploy/chart/values.schema.json")).unwrap();
    closed("", &schema);
    let values = documents(&read("deploy/chart/values.yaml")).remove(0);
    known("", &values, &schema);
    for key in schema["properties"].as_object().unwrap().keys().filter(|key| *key != "global") {
        assert!(!values[key].is_null(), "values.yaml lacks {key}");
    }
}

/// Every object that lists its properties takes no others. Conditions (`if`, `then`) restrict only.
fn closed(path: &str, schema: &Value) {
    if schema["type"] == "object" && schema["properties"].is_object() {
        assert_eq!(schema["additionalProperties"], false, "{path}");
    }
    for part in ["properties", "$defs"] {
        for (name, inner) in schema[part].as_object().into_iter().flatten() {
            closed(&format!("{path}/{name}"), inner);
        }
    }
    if schema["items"].is_object() {
        closed(&format!("{path}/items"), &schema["items"]);
    }
}

fn known(path: &str, value: &Value, schema: &Value) {
    let (Some(value), Some(properties)) = (value.as_object(), schema["properties"].as_object()) else {
        return;
    };
    for (name, inner) in value {
        let of = properties.get(name).unwrap_or_else(|| panic!("the schema lacks {path}/{name}"));
        known(&format!("{path}/{name}"), inner, of);
    }
}

#[test]
fn the_charts_version_is_the_operators() {
    let chart = documents(&read("deploy/chart/Chart.yaml")).remove(0);
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    let printed = program(elpio_cluster::components::clients::HELM_3);
    assert!(printed.output(&["version", "--short"], "").starts_with("v3."));
}
