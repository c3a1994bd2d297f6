//! `elpio-operator check` as the shipped service account: everything in order, each row in error by its own
//! fault, and one clear line where there is nothing to check.

use std::{
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

use elpio_cluster::{Cluster, ClusterOptions, Crds, OtlpReceiver, edit, eventually};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
    discovery::{Scope, pinned_kind},
};
use serde_json::{Value, json};

use crate::{
    check_faults::{Fault, faults},
    fault_proxy::{Fault as ProxyFault, FaultProxy},
    live_env::binary,
};

const TIMEOUT: Duration = Duration::from_mins(1);
const NAMESPACE: &str = "elpio-system";

/// What installs Elpio, but for its CRDs and its process.
pub fn shipped() -> Vec<Value> {
    let text = std::fs::read_to_string(elpio_cluster::repository_root().join("deploy/install.yaml")).unwrap();
    let all: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let is_right = |object: &Value| {
        let kind = object["kind"].as_str().unwrap_or_default();
        ["Namespace", "ServiceAccount"].contains(&kind) || kind.contains("Role")
    };
    all.into_iter().filter(is_right).collect()
}

async fn api_of(client: &Client, object: &DynamicObject) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::try_from(object.types.as_ref().unwrap()).unwrap();
    let (resource, capabilities) = pinned_kind(client, &gvk).await.unwrap();
    match (capabilities.scope, object.metadata.namespace.as_deref()) {
        (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client.clone(), namespace, &resource),
        _ => Api::all_with(client.clone(), &resource),
    }
}

async fn apply(client: &Client, object: Value) {
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    let name = object.metadata.name.clone().unwrap();
    let api = api_of(client, &object).await;
    api.patch(&name, &PatchParams::apply("kubectl").force(), &Patch::Apply(&object)).await.unwrap();
}

/// Runs it with these variables and no others that configure it.
async fn run(kubeconfig: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = tokio::process::Command::new(binary());
    command.args(arguments).env_clear().env("KUBECONFIG", kubeconfig).env("HOME", "/nonexistent");
    command.envs(environment.iter().copied()).output().await.unwrap()
}

struct Installed {
    cluster: Cluster,
    client: Client,
    kubeconfig: PathBuf,
    otlp: OtlpReceiver,
}

impl Installed {
    async fn new() -> Self {
        let cluster =
            Cluster::start(ClusterOptions { crds: Crds::ALL.to_vec(), ..ClusterOptions::default() }).await;
        let client = cluster.client().await;
        for object in shipped() {
            apply(&client, object).await;
        }
        // It outlives the test.
        let renewed = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
        let renewed = renewed.strftime("%Y-%m-%dT%H:%M:%S.000000Z").to_string();
        let spec = json!({"holderIdentity": "pod-1_a", "leaseDurationSeconds": 15, "renewTime": renewed});
        let metadata = json!({"name": "elpio-operator", "namespace": NAMESPACE});
        apply(
            &client,
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}),
        )
        .await;
        let kubeconfig = cluster.kubeconfig_for_service_account(NAMESPACE, "elpio-operator").await;
        Self { cluster, client, kubeconfig, otlp: OtlpReceiver::start().await }
    }

    async fn rows(&self, kubeconfig: &Path, more: &[(&str, &str)]) -> (i32, Vec<Value>, String) {
        let endpoint = self.otlp.endpoint();
        let environment = [&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())], more].concat();
        let output = run(kubeconfig, &["check", "--json"], &environment).await;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let rows = report["checks"].as_array().cloned().unwrap_or_default();
        (output.status.code().unwrap_or(-1), rows, errors)
    }

    /// Waits until exactly this row is in error, or none is.
    async fn expect(&self, kubeconfig: &Path, more: &[(&str, &str)], expected: Option<&str>) -> String {
        eventually(&format!("the row in error is {expected:?}"), TIMEOUT, async || {
            let (code, rows, errors) = self.rows(kubeconfig, more).await;
            let red: Vec<&Value> = rows.iter().filter(|row| row["state"] == "error").collect();
            let names: Vec<&str> = red.iter().filter_map(|row| row["check"].as_str()).collect();
            let has_action = red.iter().all(|row| row["action"].as_str().is_some_and(|text| text.len() > 10));
            let is_expected = names == expected.into_iter().collect::<Vec<_>>();
            let is_code = code == i32::from(expected.is_some());
            if is_expected && is_code && has_action && rows.len() >= 20 {
                let text = |row: &&Value| format!("{}  →  {}", row["found"], row["action"]);
                return Ok(red.first().map_or_else(|| format!("{} rows", rows.len()), text));
            }
            Err(format!("exit code {code}, {names:?} {errors}\n{rows:#?}"))
        })
        .await
    }

    async fn edit(&self, fault: &Fault, change: impl Fn(&mut Value)) -> Value {
        let (group, version) = fault.api_version.split_once('/').unwrap();
        let gvk = GroupVersionKind::gvk(group, version, fault.kind);
        let resource = ApiResource::from_gvk(&gvk);
        let api: Api<DynamicObject> = match fault.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        let before = api.get(fault.name).await.unwrap();
        edit(&api, fault.name, |object| {
            let mut after = serde_json::to_value(&object).unwrap();
            change(&mut after);
            *object = serde_json::from_value(after).unwrap();
        })
        .await;
        serde_json::to_value(before).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_has_one_row_in_error_for_each_fault() {
    let installed = Installed::new().await;
    let kubeconfig = &installed.kubeconfig;
    let fine = installed.expect(kubeconfig, &[], None).await;
    let mut seen = vec![format!("(nothing): {fine}")];
    for fault in faults() {
        let before = installed.edit(&fault, fault.change).await;
        let what = installed.expect(kubeconfig, &[], Some(fault.row)).await;
        seen.push(format!("{}: {what}", fault.row));
        installed
            .edit(&fault, |live| {
                for part in ["spec", "rules"] {
                    if !before[part].is_null() {
                        live[part] = before[part].clone();
                    }
                }
                live["metadata"]["labels"] = before["metadata"]["labels"].clone();
            })
            .await;
        installed.expect(kubeconfig, &[], None).await;
    }
    for signal in ["TRACES", "METRICS", "LOGS"] {
        let variable = format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT");
        let row = format!("OTLP {}", signal.to_lowercase());
        for endpoint in ["http://127.0.0.1:1", "http://127.0.0.1:1/v1/x"] {
            let what = installed.expect(kubeconfig, &[(&variable, endpoint)], Some(&row)).await;
            seen.push(format!("{row}: {what}"));
        }
    }
    let proxy = FaultProxy::start(kubeconfig, None).await;
    proxy.set(|parts| {
        let old = json!({"major": "1", "minor": "31", "gitVersion": "v1.31.2", "gitCommit": "", "gitTreeState": "",
            "buildDate": "", "goVersion": "", "compiler": "", "platform": ""});
        (parts.uri.path() == "/version").then(|| {
            let answer = axum::response::Response::builder().header("content-type", "application/json");
            ProxyFault::Answer(answer.body(old.to_string().into()).unwrap())
        })
    });
    let what = installed.expect(proxy.kubeconfig(), &[], Some("API server")).await;
    seen.push(format!("API server: {what}"));
    println!("{}", seen.join("\n"));
    assert!(seen.len() > 12, "{seen:#?}");
    policies_are_found(&installed).await;
    let table = run(kubeconfig, &["check", "--color", "always"], &[]).await;
    println!("{}", String::from_utf8_lossy(&table.stdout));
}

/// Only an administrator may list them; one kind is protected, the other is not.
async fn policies_are_found(installed: &Installed) {
    let state = async |kubeconfig: &Path, resource: &str| {
        let (_, rows, _) = installed.rows(kubeconfig, &[]).await;
        let row = rows.iter().find(|row| row["check"] == format!("policy for {resource}")).unwrap();
        (row["state"].as_str().unwrap().to_owned(), row["found"].to_string())
    };
    let admin = installed.cluster.kubeconfig();
    assert!(state(&installed.kubeconfig, "elpioservices").await.1.contains("unknown"));
    let (before, why) = state(&admin, "elpioservices").await;
    assert!(before == "warning" && why.contains("any ServiceAccount"), "{why}");
    let name = json!({"name": "elpio-lent-rights-services"});
    let rule = json!({"apiGroups": ["elpio.io"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["elpioservices"]});
    let group = "admissionregistration.k8s.io/v1";
    let spec =
        json!({"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": "true"}]});
    let policy =
        json!({"apiVersion": group, "kind": "ValidatingAdmissionPolicy", "metadata": name, "spec": spec});
    apply(&installed.client, policy).await;
    assert_eq!(state(&admin, "elpioservices").await.0, "warning", "a policy without a binding does nothing");
    for (actions, expected) in [(json!(["Warn"]), "warning"), (json!(["Deny"]), "ok")] {
        let spec = json!({"policyName": "elpio-lent-rights-services", "validationActions": actions});
        let kind = "ValidatingAdmissionPolicyBinding";
        apply(&installed.client, json!({"apiVersion": group, "kind": kind, "metadata": name, "spec": spec}))
            .await;
        assert_eq!(state(&admin, "elpioservices").await.0, expected, "{actions}");
    }
    assert_eq!(state(&admin, "elpiofunctions").await.0, "warning");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_reports_in_one_line_why_there_is_nothing_to_check() {
    let cluster = Cluster::shared().await;
    let stranger = cluster.kubeconfig_for("elpio-test-63");
    let unreachable = stranger.with_file_name("check-unreachable.kubeconfig");
    let text = std::fs::read_to_string(&stranger).unwrap();
    std::fs::write(&unreachable, text.replace(&cluster.url(), "https://127.0.0.1:1")).unwrap();
    let nothing = Path::new("/nonexistent/kubeconfig");
    for (kubeconfig, arguments, environment, expected) in [
        (nothing, &["check"][..], &[][..], "set KUBECONFIG"),
        (&*unreachable, &["check"], &[], "cannot reach the API server https://127.0.0.1:1"),
        (&*stranger, &["check", "--context", "no-such"], &[], "no-such"),
        (&*stranger, &["check"], &[("ELPIO_ENGINE", "fargate")], "ELPIO_ENGINE"),
    ] {
        let output = run(kubeconfig, arguments, environment).await;
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert!(line.lines().count() == 1 && line.contains(expected), "{expected}: {line}");
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_without_any_right_is_one_line() {
    let cluster = Cluster::start(ClusterOptions::default()).await;
    let client = cluster.client().await;
    apply(&client, json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody", "namespace": "default"}})).await;
    let kubeconfig = cluster.kubeconfig_for_service_account("default", "nobody").await;
    let output = run(&kubeconfig, &["check"], &[]).await;
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && line.lines().count() == 1, "{line}");
    let refused = "system:serviceaccount:default:nobody has none of the operator's permissions";
    assert!(line.contains(refused), "{line}");
}
