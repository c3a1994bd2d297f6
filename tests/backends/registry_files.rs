//! The files of `otel/registry/` as they are read, and their form. It starts nothing.

use std::collections::{BTreeMap, BTreeSet};

use elpio_operator::telemetry::catalog::registry::is_of_conventions;
use serde_json::Value;

/// What the registry declares.
pub struct Registry {
    /// Own attributes, with their members where they are closed.
    pub attributes: BTreeMap<String, Option<BTreeSet<String>>>,
    pub groups: Vec<Value>,
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

impl Registry {
    pub fn read() -> Self {
        let mut groups = Vec::new();
        for file in ["attributes", "metrics", "spans", "events", "resource"] {
            let path = elpio_cluster::repository_root().join(format!("otel/registry/{file}.yaml"));
            let yaml: Value = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
            groups.extend(list(&yaml["groups"]));
        }
        let own = groups.iter().filter(|group| group["type"] == "attribute_group");
        let attributes = own
            .flat_map(|group| list(&group["attributes"]))
            .map(|attribute| {
                let members = attribute["type"]["members"].as_array();
                let values = members.map(|all| all.iter().map(|member| text(&member["value"])).collect());
                (text(&attribute["id"]), values)
            })
            .collect();
        Self { attributes, groups }
    }

    pub fn of(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.groups.iter().filter(move |group| group["type"] == kind)
    }

    /// The span whose name's pattern a name has.
    pub fn span(&self, name: &str) -> Option<&Value> {
        self.of("span").find(|group| {
            let own = &group["annotations"]["elpio"];
            let pattern = text(&own["name"]);
            let words: Vec<&str> = pattern.split(' ').collect();
            let given: Vec<&str> = name.splitn(words.len(), ' ').collect();
            let fits = |(word, given): (&&str, &&str)| match &own["placeholders"][*word] {
                Value::Array(all) => all.iter().any(|value| value == given),
                Value::String(_) => true,
                _ => word == given,
            };
            words.len() == given.len() && words.iter().zip(&given).all(fits)
        })
    }

    /// Whether a group declares an attribute with this value.
    pub fn allows(&self, group: &Value, key: &str, value: &str) -> bool {
        let declared = list(&group["attributes"]).iter().any(|attribute| attribute["ref"] == key);
        let members = self.attributes.get(key).and_then(Option::as_ref);
        declared && members.is_none_or(|members| members.contains(value))
    }

    /// Everything that can be seen, as [`Seen`] names it.
    pub fn declared(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for group in &self.groups {
            let refs = list(&group["attributes"]).into_iter().map(|attribute| text(&attribute["ref"]));
            match group["type"].as_str().unwrap() {
                "metric" => {
                    let name = text(&group["metric_name"]);
                    all.extend(refs.map(|key| format!("metric.attribute {name} {key}")));
                    all.insert(format!("metric {name}"));
                }
                "span" => {
                    all.insert(format!("span {}", text(&group["annotations"]["elpio"]["name"])));
                    all.extend(refs.map(|key| format!("span.attribute {key}")));
                }
                "event" => {
                    let name = text(&group["name"]);
                    all.extend(refs.map(|key| format!("event.attribute {name} {key}")));
                    all.insert(format!("event {name}"));
                }
                "entity" => all.extend(refs.map(|key| format!("resource {key}"))),
                _ => {}
            }
        }
        all
    }
}

/// The form of Weaver's files, as far as its documentation states it: the tool itself is not at hand.
#[test]
fn the_files_have_the_form_that_weaver_documents() {
    let registry = Registry::read();
    let (mut ids, mut defined) = (BTreeSet::new(), BTreeSet::new());
    for group in &registry.groups {
        let id = text(&group["id"]);
        assert!(ids.insert(id.clone()), "{id} twice");
        assert!(["stable", "development"].contains(&group["stability"].as_str().unwrap_or_default()), "{id}");
        assert!(!text(&group["brief"]).is_empty(), "{id}: a brief");
        let wanted: &[&str] = match group["type"].as_str().unwrap() {
            "metric" => &["metric_name", "instrument", "unit"],
            "span" => &["span_kind"],
            "event" | "entity" => &["name"],
            "attribute_group" => &[],
            other => panic!("{id}: type {other}"),
        };
        assert!(wanted.iter().all(|key| !text(&group[*key]).is_empty()), "{id}: {wanted:?}");
        for attribute in list(&group["attributes"]) {
            if group["type"] == "attribute_group" {
                let key = text(&attribute["id"]);
                let complete = !text(&attribute["brief"]).is_empty() && attribute["stability"].is_string();
                let typed = attribute["type"]["members"].is_array()
                    || (attribute["type"].is_string()
                        && !attribute["examples"][0].is_null()
                        && attribute["examples"][0] != "");
                assert!(complete && typed, "{attribute}");
                assert!(defined.insert(key.clone()), "{key} twice");
                continue;
            }
            let key = text(&attribute["ref"]);
            let level = &attribute["requirement_level"];
            assert!(
                level == "required" || !text(&level["conditionally_required"]).is_empty(),
                "{id}: {attribute}"
            );
            let of_otel = is_of_conventions(&key);
            assert!(defined.contains(&key) || of_otel, "{id}: {key} is defined nowhere");
        }
    }
}
