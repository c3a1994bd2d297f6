//! What promtool says of the rules: nothing to complain about, and every alert fires when it should and not
//! just below.

use std::collections::BTreeSet;

use elpio_cluster::{prometheus::promtool, repository_root};
use serde_json::{Value, json};

use elpio_support::alerting::read;

use crate::alerts::rules::{all_rules, names};

#[test]
fn promtool_has_no_complaint_about_either_file() {
    let object: Value = serde_saphyr::from_str(&read("prometheusrule.yaml")).unwrap();
    let groups = json!({"groups": object["spec"]["groups"]}).to_string();
    for (name, text) in [("rules.yaml", read("rules.yaml")), ("prometheusrule.yaml", groups)] {
        let (passed, reported) = promtool(&["check", "rules", "--lint=all", "--lint-fatal"], &text);
        assert!(
            passed && reported.contains(&format!("SUCCESS: {} rules found", all_rules())),
            "{name}: {reported}"
        );
    }
}

#[test]
fn the_alerts_fire_when_they_should_and_not_just_below() {
    let path = repository_root().join("dashboards/alerts/rules.test.yaml");
    let (passed, reported) = promtool(&["test", "rules", path.to_str().unwrap()], "");
    assert!(passed, "{reported}");
}

#[test]
fn every_alert_has_a_test_that_it_fires_and_one_that_it_does_not() {
    let yaml: Value = serde_saphyr::from_str(&read("rules.test.yaml")).unwrap();
    let all_cases =
        yaml["tests"].as_array().unwrap().iter().flat_map(|test| test["alert_rule_test"].as_array().unwrap());
    let (mut fire, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for case in all_cases {
        let expected = case["exp_alerts"].as_array().map_or(0, Vec::len);
        let name = case["alertname"].as_str().unwrap().to_owned();
        let _ = if expected > 0 { fire.insert(name) } else { silent.insert(name) };
    }
    let all: BTreeSet<String> = names().into_iter().collect();
    assert_eq!((&fire, &silent), (&all, &all));
}
