//! What a value or a file of the chart must not be able to do silently: be read as a number, leave a default in
//! place, or cut telemetry off.

use std::{fs, path::Path, process::Command};

use elpio_cluster::{
    components::clients::{ClientProgram, Printed},
    process::TempDir,
};
use serde_json::{Value, json};

use crate::{
    chart, documents, helms, rendered,
    values::{NAMESPACE, RELEASE},
    values_file,
};

/// Names that YAML reads as a number, a truth value or nothing.
const WORDS: [&str; 5] = ["123", "on", "1e3", "null", "0x1f"];

#[tokio::test(flavor = "multi_thread")]
async fn names_that_yaml_would_read_as_something_else_stay_names() {
    let kubectl = rendered::kubectl().await;
    for word in WORDS {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": word}});
        let _ = kubectl.output(&["apply", "--server-side", "-f", "-"], &namespace.to_string());
    }
    let secret = |name: &str| json!({"secretName": name});
    let values = json!({
        "namespaces": WORDS, "nameOverride": "1", "fullnameOverride": "null", "serviceAccount": {"name": "0"},
        "imagePullSecrets": [{"name": "1"}], "policies": {"hosts": "Deny"}, "image": {"tag": "1"},
        "otlp": {"endpoint": "https://c:4317", "headersSecret": {"secretName": "1", "key": "2"},
            "ca": {"secretName": "1", "key": "2"}, "clientCertificate": secret("on")},
        "podDisruptionBudget": {"enabled": true}, "replicas": 2, "networkPolicy": {"enabled": true},
        "podMonitor": {"enabled": true}, "prometheusRule": {"enabled": true},
        "dashboards": {"enabled": true, "namespace": "on"},
    });
    let (chart, file) = (chart(), values_file("words", &values));
    for helm in helms() {
        let args =
            ["template", "007", chart.to_str().unwrap(), "-n", "123", "--values", file.to_str().unwrap()];
        let text = helm.output(&args, "");
        // kubectl reads YAML as Helm and Kubernetes do.
        let dry_run = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"];
        let printed = kubectl.run(&dry_run, &text);
        // The test's Pod is refused only since its ServiceAccount is not there yet.
        let refused = printed.stderr.lines().filter(|line| !line.contains("serviceaccount \"0\" not found"));
        assert_eq!(refused.collect::<Vec<_>>(), Vec::<&str>::new(), "{}", printed.stdout);
        assert!(printed.stdout.lines().count() > 20, "{}", printed.stdout);
    }
}

/// Renders a copy of the chart in which a file is changed, or gone.
fn with_changed(helm: &ClientProgram, path: &str, change: impl Fn(String) -> Option<String>) -> Printed {
    let folder = TempDir::new("changed-chart");
    let copied = Command::new("cp").arg("-r").arg(chart()).arg(folder.path().join("chart")).status().unwrap();
    assert!(copied.success());
    let file = folder.path().join("chart").join(path);
    match change(fs::read_to_string(&file).unwrap()) {
        Some(text) => fs::write(&file, text).unwrap(),
        None => fs::remove_file(&file).unwrap(),
    }
    let values = json!({"policies": {"hosts": "Deny"}, "namespaces": ["team-a"], "prometheusRule": {"enabled": true}, "dashboards": {"enabled": true}});
    let values = values_file("all-files", &values);
    let chart = folder.path().join("chart");
    let args =
        ["template", RELEASE, chart.to_str().unwrap(), "-n", NAMESPACE, "--values", values.to_str().unwrap()];
    helm.run(&args, "")
}

#[test]
fn a_file_that_is_missing_or_has_nothing_to_replace_fails() {
    let changed = |path: &str, old: &'static str| (path.to_owned(), Some(old));
    let lent = "files/policies/lent-rights.yaml";
    let mut cases = vec![
        (lent.to_owned(), None),
        ("files/policies/hosts.yaml".to_owned(), None),
        ("files/crds/elpio.io_elpioservices.yaml".to_owned(), None),
        ("files/rules.yaml".to_owned(), None),
        changed("files/policies/hosts.yaml", "request.userInfo.username !="),
        changed("files/policies/hosts.yaml", "elpio-hosts"),
        changed("files/crds/elpio.io_elpiofunctions.yaml", "metadata:"),
        changed("files/rules.yaml", "runbook_url"),
    ];
    for old in [
        "request.userInfo.username !=",
        "expression: \"'knative'\"",
        "validationActions: [Deny]",
        "app.kubernetes.io/name",
        "elpio-lent-rights-services",
        "elpio-lent-rights-functions",
    ] {
        cases.push(changed(lent, old));
    }
    for helm in helms() {
        assert!(with_changed(&helm, lent, Some).success, "unchanged, it renders");
        for (path, old) in &cases {
            let printed = with_changed(&helm, path, |text| old.map(|old| text.replace(old, "other")));
            let expected = if old.is_some() { "is not there to be replaced" } else { "is missing" };
            let is_named = printed.stderr.contains(path.as_str()) && printed.stderr.contains(expected);
            assert!(!printed.success && is_named, "{path} {old:?}: {}", printed.stderr);
        }
    }
    let empty = |helm: &ClientProgram| {
        let folder = TempDir::new("no-dashboards");
        let to = folder.path().join("chart");
        assert!(Command::new("cp").arg("-r").arg(chart()).arg(&to).status().unwrap().success());
        fs::remove_dir_all(to.join("files/dashboards")).unwrap();
        helm.run(&["template", RELEASE, to.to_str().unwrap(), "--set", "dashboards.enabled=true"], "")
    };
    for helm in helms() {
        let printed = empty(&helm);
        assert!(!printed.success && printed.stderr.contains("dashboards is empty"), "{}", printed.stderr);
    }
}

/// The ports of each rule of egress; a rule without `to` is for any address.
fn egress(helm: &ClientProgram, endpoint: &str, extra: &Value) -> Vec<Vec<i64>> {
    let values = json!({"otlp": {"endpoint": endpoint}, "networkPolicy": {"enabled": true, "egress": {"enabled": true, "extra": extra}}});
    let (chart, file) = (chart(), values_file("egress", &values));
    let args: [&Path; 2] = [&chart, &file];
    let [chart, file] = args.map(|path| path.to_str().unwrap());
    let template = ["template", RELEASE, chart, "--values", file, "-s", "templates/networkpolicy.yaml"];
    let policy = documents(&helm.output(&template, "")).remove(0);
    let ports = |rule: &Value| {
        let ports = rule["ports"].as_array().unwrap().iter();
        ports.filter(|port| port["protocol"] == "TCP").map(|port| port["port"].as_i64().unwrap()).collect()
    };
    policy["spec"]["egress"].as_array().unwrap().iter().map(ports).collect()
}

#[test]
fn a_network_policy_lets_dns_the_api_server_and_telemetry_out() {
    let dns_and_api_server = vec![vec![53, 5353], vec![443, 6443]];
    for helm in helms() {
        assert_eq!(egress(&helm, "", &json!([])), dns_and_api_server);
        for (endpoint, port) in [
            ("http://collector.observability:4317", 4317),
            ("https://collector:4318/v1", 4318),
            ("collector:14317", 14317),
            ("http://collector", 80),
            ("https://collector/otlp", 443),
            ("https://[fd00::1]:4317", 4317),
            ("https://[fd00::1]", 443),
        ] {
            let expected = [&dns_and_api_server[..], &[vec![port]]].concat();
            assert_eq!(egress(&helm, endpoint, &json!([])), expected, "{endpoint}");
        }
        // What is named replaces it.
        let extra = json!([{"to": [{"podSelector": {}}], "ports": [{"port": 4317, "protocol": "TCP"}]}]);
        let expected = [&dns_and_api_server[..], &[vec![4317]]].concat();
        assert_eq!(egress(&helm, "http://collector:9999", &extra), expected);
    }
}
