//! What can be said of the rules without running them.

use std::collections::{BTreeMap, BTreeSet};

use elpio_cluster::repository_root;
use serde::Deserialize;
use serde_json::Value;

use crate::{matrix::FAULTS, table};

/// An alert of `dashboards/alerts/rules.yaml`.
#[derive(Debug, Deserialize)]
pub struct Rule {
    pub alert: String,
    pub expr: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct File {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

pub fn read(name: &str) -> String {
    std::fs::read_to_string(repository_root().join("dashboards/alerts").join(name)).unwrap_or_default()
}

pub fn alerts() -> Vec<Rule> {
    let file: File = serde_saphyr::from_str(&read("rules.yaml")).unwrap();
    file.groups.into_iter().flat_map(|group| group.rules).collect()
}

/// The same rules for the Prometheus Operator.
fn prometheus_rule() -> String {
    let rules = read("rules.yaml");
    let (_, groups) = rules.split_once("\ngroups:\n").unwrap();
    let indented: String = groups
        .lines()
        .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") })
        .collect();
    format!(
        "# rules.yaml for clusters with the Prometheus Operator; generated: UPDATE_GOLDEN=1 cargo test --test alerts rules\n\
         apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: elpio-operator\n  namespace: elpio-system\n  labels:\n    \
         app.kubernetes.io/name: elpio-operator\nspec:\n  groups:\n{indented}"
    )
}

#[test]
fn the_prometheus_rule_has_the_same_groups() {
    let path = repository_root().join("dashboards/alerts/prometheusrule.yaml");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, prometheus_rule()).unwrap();
    }
    let committed = read("prometheusrule.yaml");
    assert!(
        committed == prometheus_rule(),
        "dashboards/alerts/prometheusrule.yaml is not rules.yaml: run with UPDATE_GOLDEN=1"
    );
    let (object, file): (Value, Value) =
        (serde_saphyr::from_str(&committed).unwrap(), serde_saphyr::from_str(&read("rules.yaml")).unwrap());
    assert_eq!(object["spec"]["groups"], file["groups"]);
}

#[test]
fn the_rules_name_instruments_and_labels_that_exist() {
    for rule in alerts() {
        table::check(&rule.expr).unwrap_or_else(|wrong| panic!("{}: {wrong}\n{}", rule.alert, rule.expr));
        // Templates speak of labels that the expression leaves.
        let kept = table::grouped_by(&rule.expr);
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
        assert_eq!(rule.labels.keys().collect::<Vec<_>>(), ["severity"], "{}", rule.alert);
        assert!(["critical", "warning"].contains(&rule.labels["severity"].as_str()), "{}", rule.alert);
        assert!(rule.annotations["description"].contains("First: "), "{}", rule.alert);
        assert!(!rule.annotations["summary"].is_empty(), "{}", rule.alert);
    }
}

#[test]
fn every_alert_has_its_fault_in_the_matrix() {
    let alerts: Vec<String> = alerts().into_iter().map(|rule| rule.alert).collect();
    let faults: Vec<&str> = FAULTS.iter().map(|fault| fault.alert).collect();
    assert_eq!(alerts, faults);
    assert_eq!(alerts.iter().collect::<BTreeSet<_>>().len(), alerts.len(), "each once");
}
