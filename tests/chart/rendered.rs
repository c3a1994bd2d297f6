//! What the chart renders for the tables' values: every set is dry-run on a real API server with strict field
//! validation, its pods under Pod Security `restricted`.

use std::collections::{BTreeMap, BTreeSet};

use elpio_cluster::{
    Cluster,
    components::clients::{ClientProgram, KUBECTL},
    components::module_dir,
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::{
    chart, documents, helms, identity, program,
    values::{NAMESPACE, RELEASE, accepted},
    values_file,
};

/// The two kinds of the Prometheus Operator that the chart renders.
const PROMETHEUS_OPERATOR: (&str, &str) = ("github.com/prometheus-operator/prometheus-operator", "v0.83.0");

pub(crate) fn render(helm: &ClientProgram, values: &Value, name: &str) -> Vec<Value> {
    let (chart, file) = (chart(), values_file(name, values));
    let (chart, file) = (chart.to_str().unwrap(), file.to_str().unwrap());
    documents(&helm.output(&["template", RELEASE, chart, "--namespace", NAMESPACE, "--values", file], ""))
}

/// kubectl on the suite's cluster, which has the namespaces and kinds that the tables' values need.
pub(crate) async fn kubectl() -> &'static ClientProgram {
    static KUBECTL_ON_CLUSTER: OnceCell<ClientProgram> = OnceCell::const_new();
    KUBECTL_ON_CLUSTER
        .get_or_init(|| async {
            let cluster = Cluster::shared().await;
            let kubectl = program(KUBECTL).with_kubeconfig(&cluster.kubeconfig());
            let (module, version) = PROMETHEUS_OPERATOR;
            let crds = module_dir(module, version).unwrap().join("example/prometheus-operator-crd");
            for plural in ["podmonitors", "prometheusrules"] {
                let file = crds.join(format!("monitoring.coreos.com_{plural}.yaml"));
                let _ = kubectl.output(&["apply", "--server-side", "-f", file.to_str().unwrap()], "");
                let name = format!("crd/{plural}.monitoring.coreos.com");
                let _ = kubectl.output(&["wait", "--for=condition=Established", &name], "");
            }
            for name in [NAMESPACE, "team-a", "team-b"] {
                let _ = kubectl.output(&["apply", "--server-side", "-f", "-"], &namespace(name).to_string());
            }
            kubectl
        })
        .await
}

fn namespace(name: &str) -> Value {
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

/// The pods among the objects: those of Deployments, and the test's.
fn pods(objects: &[Value]) -> Vec<Value> {
    let mut pods = Vec::new();
    for object in objects {
        if object["kind"] == "Deployment" {
            let template = &object["spec"]["template"];
            let labels = &template["metadata"]["labels"];
            let metadata =
                json!({"name": "admitted", "namespace": object["metadata"]["namespace"], "labels": labels});
            // Its account need not exist for a dry run.
            let mut spec = template["spec"].clone();
            spec.as_object_mut().unwrap().remove("serviceAccountName");
            spec.as_object_mut().unwrap().remove("priorityClassName");
            pods.push(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}));
        }
    }
    pods
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_sets_of_values_are_dry_run_under_restricted_pod_security() {
    let kubectl = kubectl().await;
    let dry_run = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"];
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let (mut sent, mut kinds) = (0, BTreeSet::new());
    for (name, values) in accepted() {
        for helm in helms() {
            let mut objects = render(&helm, &values, &name);
            let identities: BTreeSet<String> = objects.iter().map(identity).collect();
            assert_eq!(identities.len(), objects.len(), "{name}: an object is rendered twice");
            objects.extend(pods(&objects));
            // Most objects are the same in all sets.
            objects.retain(|object| {
                let text = object.to_string().replace("\"serviceAccountName\":\"elpio-operator\",", "");
                seen.entry(identity(object)).or_default().insert(text)
            });
            for pod in objects.iter_mut().filter(|object| object["kind"] == "Pod") {
                pod["spec"].as_object_mut().unwrap().remove("serviceAccountName");
            }
            kinds.extend(objects.iter().map(|object| object["kind"].as_str().unwrap().to_owned()));
            sent += objects.len();
            let text = objects.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n");
            if !objects.is_empty() {
                let printed = kubectl.run(&[&dry_run[..], &["-f", "-"]].concat(), &text);
                let quiet = !printed.stderr.contains("would violate");
                assert!(printed.success && quiet, "{name}: {}", printed.stderr);
            }
        }
    }
    println!(
        "{} sets × 2 Helms: {sent} objects dry-run, of {} kinds: {kinds:?}",
        accepted().len(),
        kinds.len()
    );
    assert!(kinds.len() >= 15, "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_careless_pod_would_be_refused() {
    let [helm, _] = helms();
    let mut pod = pods(&render(&helm, &json!({}), "careless")).remove(0);
    pod["spec"]["containers"][0]["securityContext"] = json!({});
    let printed = kubectl().await.run(&["create", "--dry-run=server", "-f", "-"], &pod.to_string());
    assert!(!printed.success && printed.stderr.contains("violates PodSecurity"), "{}", printed.stderr);
}

#[test]
fn two_installations_share_no_name_and_no_pod() {
    let [helm, _] = helms();
    let chart = chart();
    let release = |name: &str, namespace: &str| {
        let args = [
            "template",
            name,
            chart.to_str().unwrap(),
            "--namespace",
            namespace,
            "--set",
            "crds.enabled=false",
        ];
        documents(&helm.output(&args, ""))
    };
    let first = release("elpio-operator", "elpio-system");
    let names = |objects: &[Value]| objects.iter().map(identity).collect::<BTreeSet<_>>();
    for (name, namespace) in
        [("second", "elpio-system"), ("elpio-operator", "other"), ("elpio-operator-b", "other")]
    {
        let second = release(name, namespace);
        let common: Vec<String> = names(&first).intersection(&names(&second)).cloned().collect();
        assert!(common.is_empty(), "{name} in {namespace}: {common:?}");
    }
    let deployment = |objects: &[Value]| objects.iter().find(|o| o["kind"] == "Deployment").unwrap().clone();
    let selector = deployment(&release("second", "elpio-system"))["spec"]["selector"]["matchLabels"].clone();
    let labels = deployment(&first)["spec"]["template"]["metadata"]["labels"].clone();
    let selected = selector.as_object().unwrap().iter().all(|(key, value)| labels[key] == *value);
    assert!(!selected, "{selector} selects the pods of {labels}");
}
