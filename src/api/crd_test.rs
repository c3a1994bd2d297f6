//! Tests of the definitions: committed, bounded, explained.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use super::*;

/// `UPDATE_GOLDEN=1 cargo test` writes the files anew.
#[test]
fn the_committed_definitions_are_the_generated_ones() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/crds");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut expected = Vec::new();
    for (name, crd) in crds() {
        let yaml = to_yaml(&crd).expect("a definition is YAML");
        if update {
            std::fs::write(folder.join(&name), &yaml).expect("the folder is writable");
        }
        let committed = std::fs::read_to_string(folder.join(&name)).unwrap_or_default();
        assert!(
            committed == yaml,
            "deploy/crds/{name} differs from the types; UPDATE_GOLDEN=1 writes it anew"
        );
        expected.push(name);
    }
    let mut present: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8"))
        .collect();
    present.sort();
    expected.sort();
    assert_eq!(present, expected, "deploy/crds holds one file for each kind and nothing else");
}

#[test]
fn yaml_holds_the_same_definition() {
    for (name, crd) in crds() {
        let read: CustomResourceDefinition =
            serde_saphyr::from_str(&to_yaml(&crd).expect("YAML")).expect("readable");
        assert_eq!(
            serde_json::to_value(&read).expect("JSON"),
            serde_json::to_value(&crd).expect("JSON"),
            "{name}"
        );
    }
}

/// Without a bound the API server's estimate of a rule's cost runs away, and a client may fill the store.
#[test]
fn every_list_and_map_of_a_spec_is_bounded() {
    fn walk(path: &str, schema: &JSONSchemaProps) {
        assert!(schema.nullable.is_none(), "{path} is nullable");
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
            assert!(schema.max_items.is_some(), "{path} has no maxItems");
            walk(&format!("{path}[]"), items);
        }
        if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
            assert!(schema.max_properties.is_some(), "{path} has no maxProperties");
            walk(&format!("{path}{{}}"), values);
        }
        for (name, property) in schema.properties.iter().flatten() {
            walk(&format!("{path}.{name}"), property);
        }
    }
    for (name, crd) in crds() {
        let root = crd.spec.versions[0]
            .schema
            .as_ref()
            .and_then(|schema| schema.open_api_v3_schema.as_ref())
            .expect("a schema");
        walk(&name, &root.properties.as_ref().expect("properties")["spec"]);
    }
}

#[test]
fn every_rule_has_a_message() {
    for (name, crd) in crds() {
        let text = serde_json::to_value(&crd).expect("JSON");
        let mut rules = Vec::new();
        collect(&text, &mut rules);
        assert!(!rules.is_empty(), "{name}");
        for rule in rules {
            assert!(rule["message"].as_str().is_some_and(|message| !message.is_empty()), "{name}: {rule}");
        }
    }
}

fn collect<'a>(value: &'a serde_json::Value, rules: &mut Vec<&'a serde_json::Value>) {
    match value {
        serde_json::Value::Object(map) => {
            rules.extend(
                map.get("x-kubernetes-validations").and_then(|found| found.as_array()).into_iter().flatten(),
            );
            map.values().for_each(|value| collect(value, rules));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|value| collect(value, rules)),
        _ => {}
    }
}
