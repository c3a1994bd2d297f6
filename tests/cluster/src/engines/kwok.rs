//! A node whose pods KWOK simulates, and the real scheduler. It knows no engine: engines provide their own
//! KWOK Stages.

use std::{
    fs,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::Node;
use kube::{Api, core::DynamicObject};
use serde_json::{Value, json};

use super::{Host, START_TIMEOUT};
use crate::{
    components::{BuildError, Component, KUBE_SCHEDULER, module_dir},
    control_plane::manifest,
    eventually,
    process::{Process, free_port},
};

const KWOK: Component = Component::plain("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok");
pub(super) const COMPONENTS: [Component; 2] = [KUBE_SCHEDULER, KWOK];
const MODULE: (&str, &str) = ("sigs.k8s.io/kwok", "v0.8.0");

/// KWOK's configuration for pod metrics, taken from annotations (`kwok.x-k8s.io/usage-cpu: 90m`);
/// metrics-server scrapes them from [`METRICS_PATH`].
const METRICS: [&str; 2] = ["metrics/resource", "metrics/usage"];
const METRICS_PATH: &str = "/metrics/nodes/kwok-node/metrics/resource";
/// KWOK's built-in Stages without delays.
const BUILT_IN_STAGES: [&str; 4] = ["node/fast", "node/heartbeat-with-lease", "pod/fast", "volume/fast"];
const FAILING_STAGES: &str = include_str!("../../kwok_stages/failing.yaml");
/// Selects the pods of `failing.yaml`.
const IS_FAILING_POD: &str =
    r#"[.spec.containers[].image | contains("kwok-nopull") or contains("kwok-crash")] | any"#;

const NODE: &str = "kwok-node";
const NODE_ANNOTATION: &str = "kwok.x-k8s.io/node";

/// Builds and downloads everything needed.
pub(super) fn fetch() -> Result<(), BuildError> {
    COMPONENTS.iter().try_for_each(|component| component.binary().map(drop))?;
    module_dir(MODULE.0, MODULE.1).map(drop)
}

/// Starts the scheduler, and KWOK with one node and a storage class. The CRDs of all kinds in the Stages must
/// exist: KWOK discovers them once.
pub(super) async fn start(host: &Host<'_>, stages: &[String]) -> Vec<Process> {
    let kustomize = kustomize_dir();
    for object in manifest::read::<DynamicObject>(&kustomize.join("stage/volume/fast/storage-class.yaml")) {
        manifest::apply(&host.client, &object).await;
    }
    manifest::apply(&host.client, &node()).await;
    let stages = all_stages(&kustomize.join("stage"), stages);
    futures::future::join_all(stages.iter().map(|stage| wait_for_schema(host, stage))).await;
    let metrics = METRICS.iter().flat_map(|dir| manifest::read::<Value>(&kustomize.join(dir)));
    let text: Vec<String> = stages.into_iter().chain(metrics).map(|document| document.to_string()).collect();
    // JSON is YAML.
    fs::write(host.dir.join("kwok.yaml"), text.join("\n---\n")).expect("the directory is writable");
    let mut processes = vec![spawn_scheduler(host), spawn_kwok(host)];
    let nodes: Api<Node> = Api::all(host.client.clone());
    eventually("the simulated node is ready", START_TIMEOUT, async || {
        processes.iter_mut().for_each(Process::assert_running);
        let node = nodes.get(NODE).await.map_err(|error| error.to_string())?;
        let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
        let ready =
            conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
        if ready { Ok(()) } else { Err(format!("{conditions:?}")) }
    })
    .await;
    processes
}

fn kustomize_dir() -> PathBuf {
    let module = module_dir(MODULE.0, MODULE.1).unwrap_or_else(|error| panic!("{error}"));
    module.join("kustomize")
}

fn node() -> DynamicObject {
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": NODE,
            "annotations": {NODE_ANNOTATION: "fake", "metrics.k8s.io/resource-metrics-path": METRICS_PATH},
            "labels": {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"},
        },
    });
    serde_json::from_value(node).expect("an object")
}

/// Built-in, failing and engines' Stages.
fn all_stages(built_in: &Path, stages: &[String]) -> Vec<Value> {
    let extra = stages.iter().map(String::as_str).chain([FAILING_STAGES]);
    let extra = extra.flat_map(|text| {
        manifest::parse::<Value>(text).unwrap_or_else(|error| panic!("invalid Stage: {error}"))
    });
    let all = BUILT_IN_STAGES
        .iter()
        .flat_map(|dir| manifest::read::<Value>(&built_in.join(dir)))
        .map(exclude_failing_pods)
        .chain(extra);
    all.filter(|document| document["kind"] == "Stage").collect()
}

/// Waits until the `OpenAPI` schema has the Stage's group, shortly after the kind is served: without it KWOK
/// exits.
async fn wait_for_schema(host: &Host<'_>, stage: &Value) {
    let Some(version) =
        stage["spec"]["resourceRef"]["apiGroup"].as_str().filter(|version| version.contains('/'))
    else {
        return;
    };
    eventually(&format!("{version} has a schema"), START_TIMEOUT, async || {
        let request = http::Request::get("/openapi/v3").body(Vec::new()).expect("a request");
        let index: Value = host.client.request(request).await.map_err(|error| error.to_string())?;
        if index["paths"].get(format!("apis/{version}")).is_some() {
            Ok(())
        } else {
            Err("not in /openapi/v3".to_owned())
        }
    })
    .await;
}

/// Excludes the failing pods from KWOK's Stage that makes every pod ready: of two matching Stages KWOK picks
/// one at random.
fn exclude_failing_pods(mut stage: Value) -> Value {
    if stage["metadata"]["name"] == "pod-ready" {
        let conditions = stage["spec"]["selector"]["matchExpressions"]
            .as_array_mut()
            .expect("KWOK's Stage has match expressions");
        conditions.push(json!({"key": IS_FAILING_POD, "operator": "NotIn", "values": ["true"]}));
    }
    stage
}

fn spawn_scheduler(host: &Host<'_>) -> Process {
    let kubeconfig = host.kubeconfig();
    let args = vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        "--leader-elect=false".to_owned(),
        format!("--secure-port={}", free_port()),
        "--bind-address=127.0.0.1".to_owned(),
        "--cert-dir=scheduler".to_owned(),
        "--kube-api-qps=500".to_owned(),
        "--kube-api-burst=1000".to_owned(),
    ];
    host.spawn(&KUBE_SCHEDULER, args, &[])
}

fn spawn_kwok(host: &Host<'_>) -> Process {
    let port = free_port();
    let args = vec![
        format!("--kubeconfig={}", host.kubeconfig()),
        "--config=kwok.yaml".to_owned(),
        format!("--manage-nodes-with-annotation-selector={NODE_ANNOTATION}=fake"),
        // Pod addresses, all of which are on loopback (see `netns`).
        "--cidr=10.244.0.1/16".to_owned(),
        "--node-ip=127.0.0.1".to_owned(),
        format!("--node-port={port}"),
        format!("--server-address=127.0.0.1:{port}"),
        "--node-lease-duration-seconds=40".to_owned(),
    ];
    host.spawn(&KWOK, args, &[])
}
