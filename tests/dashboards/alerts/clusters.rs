//! Several clusters and installations in one Prometheus: for each alert one is ill and the other is not, by promtool.

use elpio_cluster::{process::TempDir, prometheus::promtool};
use elpio_support::alerting::read;
use serde_json::{Value, json};

use crate::alerts::{GROUP_ORDER, rules::names};

/// Where the healthy one differs from the ill one.
const OTHERS: [(&str, &str); 3] = [
    (
        "another cluster, the same namespace and job",
        r#"cluster="b", namespace="elpio-system", job="elpio-operator""#,
    ),
    ("another namespace of this cluster", r#"cluster="a", namespace="elpio-two", job="elpio-operator""#),
    ("another cluster that pushes", r#"cluster="b", namespace="elpio-system", job="elpio/elpio-operator""#),
];

/// What a healthy operator shows: metric, labels, values for two hours.
const HEALTHY: &[(&str, &str, &str)] = &[
    ("elpio_build_info", r#"version="0.1.0""#, "1x120"),
    ("leader_election_master_status", r#"name="elpio-operator""#, "1x120"),
    ("process_uptime_seconds", "", "60+60x120"),
    ("elpio_reconcile_total", r#"kind="ElpioService", result="success""#, "0+100x120"),
    ("elpio_reconcile_total", r#"kind="ElpioFunction", result="success""#, "0+100x120"),
    ("elpio_reconcile_errors_total", r#"kind="ElpioService", error_type="forbidden""#, "0x120"),
    ("elpio_reconcile_errors_total", r#"kind="ElpioService", error_type="internal""#, "0x120"),
    ("elpio_reconcile_errors_total", r#"kind="ElpioFunction", error_type="timeout""#, "0x120"),
    ("elpio_reconcile_triggers_total", r#"kind="ElpioService", trigger="spec""#, "0+60x120"),
    ("elpio_resources_unsettled_age_seconds", r#"kind="ElpioService""#, "0x120"),
    ("elpio_resources", r#"kind="ElpioFunction", ready="false", reason="BuildFailed""#, "0x120"),
    ("elpio_watch_age_seconds", r#"resource="Deployment""#, "30x120"),
    ("workqueue_longest_running_processor_seconds", r#"name="ElpioService""#, "0x120"),
    ("workqueue_depth", r#"name="ElpioService""#, "0x120"),
    ("workqueue_adds_total", r#"name="ElpioService""#, "0+600x120"),
    ("workqueue_queue_duration_seconds_bucket", r#"name="ElpioService", le="1.0""#, "0+9000x120"),
    ("workqueue_queue_duration_seconds_bucket", r#"name="ElpioService", le="10.0""#, "0+9000x120"),
    ("workqueue_queue_duration_seconds_bucket", r#"name="ElpioService", le="+Inf""#, "0+9000x120"),
    ("elpio_rollouts_total", r#"kind="ElpioService", engine="knative", outcome="ready""#, "0+600x120"),
    ("elpio_rollouts_total", r#"kind="ElpioService", engine="knative", outcome="timed_out""#, "0x120"),
    ("elpio_builds_total", r#"result="success""#, "0+60x120"),
    ("elpio_builds_total", r#"result="error""#, "0x120"),
    ("elpio_apply_total", r#"kind="ElpioService", child="KnativeService", outcome="changed""#, "0+60x120"),
    ("elpio_events_total", r#"type="Normal", reason="Ready", outcome="failed""#, "0x120"),
    ("elpio_telemetry_dropped_total", r#"signal="traces", result="error""#, "0x120"),
    ("elpio_telemetry_exports_total", r#"signal="metrics", result="error""#, "0x120"),
    ("elpio_telemetry_exports_total", r#"signal="metrics", result="success""#, "0+1x120"),
    ("http_client_request_duration_seconds_count", r#"http_request_method="GET""#, "0+10x120"),
    ("kube_deployment_status_replicas_available", r#"deployment="elpio-operator""#, "2x120"),
    ("kube_deployment_spec_replicas", r#"deployment="elpio-operator""#, "2x120"),
];

fn healthy(labels: &str) -> Vec<Value> {
    let one = |(metric, own, values): &(&str, &str, &str)| {
        let comma = if own.is_empty() { "" } else { ", " };
        json!({"series": format!("{metric}{{{own}{comma}{labels}, instance=\"well\"}}"), "values": values})
    };
    HEALTHY.iter().map(one).collect()
}

/// The first test of the alert that fires with labels of an installation, and its case.
fn firing(alert: &str) -> (Value, Value) {
    let yaml: Value = serde_saphyr::from_str(&read("rules.test.yaml")).unwrap();
    for test in yaml["tests"].as_array().unwrap() {
        for case in test["alert_rule_test"].as_array().unwrap() {
            let first = &case["exp_alerts"][0]["exp_labels"];
            let same_job = test["input_series"].as_array().is_some_and(|all| !all.is_empty());
            if case["alertname"] == alert && first["namespace"].is_string() && same_job {
                return (test.clone(), case.clone());
            }
        }
    }
    panic!("no test of {alert} fires for an installation");
}

/// The series of the test, of cluster `a`.
fn ill(test: &Value) -> Vec<Value> {
    let of_cluster = |series: &Value| {
        let selector = series["series"].as_str().unwrap();
        let selector = selector.replacen('{', "{cluster=\"a\", ", 1);
        json!({"series": selector, "values": series["values"]})
    };
    test["input_series"].as_array().unwrap().iter().map(of_cluster).collect()
}

fn tests() -> Value {
    let mut all = Vec::new();
    for alert in names() {
        let (source, firing_case) = firing(&alert);
        let mut expected = firing_case["exp_alerts"].clone();
        for alert in expected.as_array_mut().unwrap() {
            alert["exp_labels"]["cluster"] = json!("a");
        }
        for (what, labels) in OTHERS {
            let series = [ill(&source), healthy(labels)].concat();
            let case =
                json!({"alertname": alert, "eval_time": firing_case["eval_time"], "exp_alerts": expected});
            all.push(json!({"name": format!("{alert}: {what}"), "interval": source["interval"], "input_series": series,
                "alert_rule_test": [case]}));
        }
    }
    json!(all)
}

fn run(rules: &str, tests: &Value) -> (bool, String) {
    let dir = TempDir::new("clusters");
    std::fs::write(dir.path().join("rules.yaml"), rules).unwrap();
    let file = dir.path().join("test.yaml");
    let text = json!({"rule_files": ["rules.yaml"], "group_eval_order": GROUP_ORDER, "evaluation_interval": "1m", "tests": tests});
    std::fs::write(&file, text.to_string()).unwrap();
    promtool(&["test", "rules", file.to_str().unwrap()], "")
}

#[test]
fn each_alert_fires_for_the_installation_that_is_ill_and_for_no_other() {
    let tests = tests();
    let (passed, reported) = run(&read("rules.yaml"), &tests);
    assert!(passed, "{reported}");
    let (alerts, cases) = (names().len(), tests.as_array().unwrap().len());
    assert_eq!(cases, alerts * OTHERS.len());
    eprintln!("Alerts × installations: {alerts} alerts × {} neighbours = {cases} tests pass", OTHERS.len());
}

/// Rules that know no clusters fail: what is tested here is no accident.
#[test]
fn rules_without_a_cluster_label_mix_what_is_ill_with_what_is_not() {
    let blind = read("rules.yaml").replace("cluster, namespace", "namespace");
    for test in tests().as_array().unwrap().iter().step_by(OTHERS.len()) {
        let (passed, _) = run(&blind, &json!([test]));
        assert!(!passed, "{} passes without a cluster label", test["name"]);
    }
}
