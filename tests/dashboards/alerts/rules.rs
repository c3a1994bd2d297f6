//! What can be said of the rules without running them.

use std::collections::BTreeMap;

use elpio_support::{
    alerting::read,
    objective::{OBJECTIVE_GROUP, Settings},
};
use serde::Deserialize;
use serde_json::Value;

use crate::alerts::{
    matrix::{FAULTS, PROMTOOL_ONLY},
    table,
};

/// An alert of `dashboards/alerts/rules.yaml`.
#[derive(Debug, Deserialize)]
pub struct Rule {
    /// Empty for a recording rule.
    #[serde(default)]
    pub alert: String,
    pub expr: String,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct File {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    name: String,
    rules: Vec<Rule>,
}

pub fn alerts() -> Vec<Rule> {
    let file: File = serde_saphyr::from_str(&read("rules.yaml")).unwrap();
    file.groups
        .into_iter()
        .filter(|group| group.name != OBJECTIVE_GROUP)
        .flat_map(|group| group.rules)
        .collect()
}

/// The names of all alerts, in the order of the file.
pub fn names() -> Vec<String> {
    let mut names: Vec<String> = alerts().into_iter().map(|rule| rule.alert).collect();
    names.dedup();
    names
}

/// How many rules there are, of both kinds.
pub fn all_rules() -> usize {
    alerts().len() + records().len()
}

/// The expressions of the recording rules.
fn records() -> Vec<(String, String)> {
    let yaml: Value = serde_saphyr::from_str(&read("rules.yaml")).unwrap();
    let rules = yaml["groups"][0]["rules"].as_array().unwrap();
    rules
        .iter()
        .map(|rule| [&rule["record"], &rule["expr"]].map(|text| text.as_str().unwrap().to_owned()).into())
        .collect()
}

#[test]
fn the_rules_name_instruments_and_labels_that_exist() {
    for (record, expr) in records() {
        table::check(&expr).unwrap_or_else(|wrong| panic!("{record}: {wrong}\n{expr}"));
    }
    for rule in alerts() {
        table::check(&rule.expr).unwrap_or_else(|wrong| panic!("{}: {wrong}\n{}", rule.alert, rule.expr));
        // Templates speak of labels that the expression leaves.
        let mut kept = table::grouped_by(&rule.expr);
        if rule.expr.contains("elpio:") {
            kept.extend(["namespace", "job", "kind", "engine"].map(str::to_owned));
        }
        for text in rule.annotations.values() {
            let named = text
                .split("$labels.")
                .skip(1)
                .map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap());
            named.for_each(|label| {
                assert!(kept.contains(label), "{}: {label} is not among {kept:?}", rule.alert);
            });
        }
    }
}

#[test]
fn each_rule_states_its_urgency_and_the_first_step() {
    for rule in alerts() {
        assert!(rule.alert.starts_with("Elpio"), "{}", rule.alert);
        let labels: Vec<&str> = rule.labels.keys().map(String::as_str).collect();
        assert!(labels == ["severity"] || labels == ["severity", "window"], "{}", rule.alert);
        assert!(["critical", "warning"].contains(&rule.labels["severity"].as_str()), "{}", rule.alert);
        assert!(rule.annotations["description"].contains("First: "), "{}", rule.alert);
        assert!(!rule.annotations["summary"].is_empty(), "{}", rule.alert);
    }
}

/// Every aggregation and every match of vectors keeps installations apart.
#[test]
fn no_rule_mixes_installations() {
    let installation = Settings::read().installation();
    let exprs = alerts().into_iter().map(|rule| (rule.alert, rule.expr)).chain(records());
    for (name, expr) in exprs {
        for word in ["by (", "on ("] {
            for rest in expr.split(&format!(" {word}")).skip(1) {
                let labels = rest.split(')').next().unwrap();
                let apart =
                    labels.starts_with(&installation) || labels.starts_with("cluster, namespace, deployment");
                // `on ()` asks whether there is any at all.
                assert!(apart || labels.is_empty(), "{name}: {word}{labels})");
            }
        }
        for function in ["sum(", "max(", "min(", "count(", "avg("] {
            assert!(!expr.contains(&format!(" {function}")), "{name}: {function}) without labels");
        }
    }
}

#[test]
fn every_alert_has_its_fault_in_the_matrix_or_a_reason_why_not() {
    let faults = FAULTS.iter().map(|fault| fault.alert);
    let mut listed: Vec<&str> = faults.chain(PROMTOOL_ONLY.iter().map(|(alert, _)| *alert)).collect();
    let mut names = names();
    let count = listed.len();
    names.sort();
    listed.sort_unstable();
    assert_eq!(names, listed);
    listed.dedup();
    assert_eq!(listed.len(), count, "each once");
    assert!(PROMTOOL_ONLY.iter().all(|(_, reason)| reason.len() > 20));
}

/// Alerts say whose they are to mend: what an author did wrong is in no alert's numbers.
#[test]
fn no_alert_counts_what_an_author_alone_can_mend() {
    for rule in alerts().into_iter().chain(records().into_iter().map(|(alert, expr)| Rule {
        alert,
        expr,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
    })) {
        let counts = |class: &str| {
            rule.expr.contains(&format!("error_type=\"{class}\""))
                || rule.expr.contains(&format!("outcome=\"{class}\""))
        };
        for class in ["invalid_spec", "name_conflict", "rejected", "author_error"] {
            assert!(!counts(class), "{}: {class}", rule.alert);
            let left_out = rule.expr.split("error_type!~\"").skip(1).all(|rest| rest.contains(class));
            assert!(left_out || class == "author_error", "{}: {class}", rule.alert);
        }
    }
}
