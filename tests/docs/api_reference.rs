//! `docs/api.md`, generated from the CRDs' schemas.

use std::{collections::BTreeSet, fmt::Write as _, fs};

use elpio_operator::api;
use serde_json::Value;

use crate::top;

const HEADER: &str = "# API reference\n\n\
    Group `elpio.io`, version `v1alpha1`. Generated from the CRDs by `UPDATE_GOLDEN=1 cargo test --test docs api_reference`; `kubectl explain` shows the\n\
    same. **Bold** fields are required if their parent is set. The API server rejects objects that violate a rule. It enforces\n\
    an engine's rule only if the spec names that engine; otherwise the operator checks it, and reports `InvalidSpec`.\n";

/// One row a field; `[]` is an item of a list, `{}` a value of a map.
fn fields(path: &str, schema: &Value, required: bool, rows: &mut String, rules: &mut BTreeSet<String>) {
    let validations = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    rules.extend(validations.filter_map(|rule| rule["message"].as_str()).map(str::to_owned));
    if path.contains('.') {
        let name = if required { format!("**`{path}`**") } else { format!("`{path}`") };
        let text = |value: &Value| match value {
            Value::Null => String::new(),
            value => format!("`{}`", cell(&value.to_string())),
        };
        let about = cell(schema["description"].as_str().unwrap_or_default());
        writeln!(rows, "| {name} | {} | {} | {about} |", kind(schema), text(&schema["default"])).unwrap();
    }
    let must: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        fields(&format!("{path}.{name}"), inner, must.contains(&name.as_str()), rows, rules);
    }
    if schema["items"]["properties"].is_object() {
        let items = &schema["items"];
        let must: Vec<&str> =
            items["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let validations = items["x-kubernetes-validations"].as_array().into_iter().flatten();
        rules.extend(validations.filter_map(|rule| rule["message"].as_str()).map(str::to_owned));
        for (name, inner) in items["properties"].as_object().unwrap() {
            fields(&format!("{path}[].{name}"), inner, must.contains(&name.as_str()), rows, rules);
        }
    }
}

/// Type and bounds.
fn kind(schema: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> =
            values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`")).collect();
        return values.join(", ");
    }
    let base = match schema["type"].as_str() {
        Some("array") => format!("list of {}", kind(&schema["items"])),
        Some("object") if schema["additionalProperties"].is_object() => {
            format!("map of {}", kind(&schema["additionalProperties"]))
        }
        Some(name) => name.to_owned(),
        None if schema["x-kubernetes-int-or-string"] == true => "integer or string".to_owned(),
        None => "any".to_owned(),
    };
    let bounds = [
        ("minimum", "≥ "),
        ("maximum", "≤ "),
        ("maxLength", "length ≤ "),
        ("maxItems", "at most "),
        ("maxProperties", "at most "),
    ];
    let bounds: Vec<String> = bounds
        .iter()
        .filter_map(|(key, sign)| Some(format!("{sign}{}", schema[*key].as_number()?)))
        .collect();
    [vec![base], bounds].concat().join(", ")
}

fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn reference() -> String {
    let mut page = HEADER.to_owned();
    for (_, crd) in api::crds().into_iter().rev() {
        let crd = serde_json::to_value(crd).unwrap();
        let (names, version) = (&crd["spec"]["names"], &crd["spec"]["versions"][0]);
        let schema = &version["schema"]["openAPIV3Schema"];
        let kind = names["kind"].as_str().unwrap();
        let short = names["shortNames"][0].as_str().unwrap();
        writeln!(
            page,
            "\n## {kind}\n\nShort name `{short}`. {}",
            cell(schema["description"].as_str().unwrap())
        )
        .unwrap();
        let mut rules = BTreeSet::new();
        let validations = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
        rules.extend(validations.filter_map(|rule| rule["message"].as_str()).map(str::to_owned));
        for part in ["spec", "status"] {
            let mut rows = String::new();
            fields(part, &schema["properties"][part], true, &mut rows, &mut rules);
            let table = "| field | type | default | |\n|---|---|---|---|\n";
            writeln!(page, "\n### {kind} {part}\n\n{table}{}", rows.trim_end()).unwrap();
        }
        writeln!(page, "\n### Rules of {kind}\n").unwrap();
        for rule in rules {
            writeln!(page, "- {}", cell(&rule)).unwrap();
        }
    }
    page.replace(".0,", ",").replace(".0 |", " |")
}

#[test]
fn the_api_reference_matches_the_crds() {
    let (path, wanted) = (top().join("docs/api.md"), reference());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "docs/api.md differs: UPDATE_GOLDEN=1 cargo test --test docs api_reference");
    for (_, crd) in api::crds() {
        let names = crd.spec.names;
        assert!(found.contains(&format!("## {}\n", names.kind)));
    }
    let undescribed: Vec<&str> = found.lines().filter(|line| line.ends_with("|  |")).collect();
    assert!(undescribed.is_empty(), "{undescribed:#?}");
}
