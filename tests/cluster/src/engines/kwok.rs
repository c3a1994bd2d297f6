//! A node whose pods KWOK plays, and the real scheduler that gives pods to it. Knows no engine: what is to be
//! played for one is handed in.

use std::{
    fs,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::Node;
use kube::{Api, core::DynamicObject};
use serde_json::{Value, json};

use super::{Host, START};
use crate::{
    components::{BuildError, Component, KUBE_SCHEDULER, module_folder},
    manifest,
    process::{Process, free_port},
    wait::eventually,
};

const KWOK: Component = Component::plain("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok");
pub(super) const COMPONENTS: [Component; 2] = [KUBE_SCHEDULER, KWOK];
const MODULE: (&str, &str) = ("sigs.k8s.io/kwok", "v0.8.0");

/// What the node says of its pods' use, by annotations of theirs (`kwok.x-k8s.io/usage-cpu: 90m`); where
/// metrics-server asks for it.
const METRICS: [&str; 2] = ["metrics/resource", "metrics/usage"];
const METRICS_PATH: &str = "/metrics/nodes/kwok-node/metrics/resource";
/// Of KWOK's own Stages those without a delay.
const OWN_STAGES: [&str; 4] = ["node/fast", "node/heartbeat-with-lease", "pod/fast", "volume/fast"];
const FAILING: &str = include_str!("../../stages/failing.yaml");
/// Whether a pod is one of those in `failing.yaml`.
const IS_FAILING: &str =
    r#"[.spec.containers[].image | contains("kwok-nopull") or contains("kwok-crash")] | any"#;

const NODE: &str = "kwok-node";
const NODE_MARK: &str = "kwok.x-k8s.io/node";

/// Builds and downloads what is needed.
pub(super) fn fetch() -> Result<(), BuildError> {
    COMPONENTS.iter().try_for_each(|component| component.binary().map(drop))?;
    module_folder(MODULE.0, MODULE.1).map(drop)
}

/// The scheduler, and KWOK with one node and a storage class. The CRDs of every kind that a Stage names have
/// to be there: KWOK looks once.
pub(super) async fn start(host: &Host<'_>, stages: &[String]) -> Vec<Process> {
    let own = own_folder();
    for object in manifest::read::<DynamicObject>(&own.join("stage/volume/fast/storage-class.yaml")) {
        manifest::apply(&host.client, &object).await;
    }
    manifest::apply(&host.client, &node()).await;
    let stages = stage_list(&own.join("stage"), stages);
    futures::future::join_all(stages.iter().map(|stage| described(host, stage))).await;
    let metrics = METRICS.iter().flat_map(|folder| manifest::read::<Value>(&own.join(folder)));
    let text: Vec<String> = stages.into_iter().chain(metrics).map(|document| document.to_string()).collect();
    // JSON is YAML.
    fs::write(host.folder.join("kwok.yaml"), text.join("\n---\n")).expect("the folder is writable");
    let mut processes = vec![spawn_scheduler(host), spawn_kwok(host)];
    let nodes: Api<Node> = Api::all(host.client.clone());
    eventually("the simulated node is ready", START, async || {
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

fn own_folder() -> PathBuf {
    let module = module_folder(MODULE.0, MODULE.1).unwrap_or_else(|error| panic!("{error}"));
    module.join("kustomize")
}

fn node() -> DynamicObject {
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": NODE,
            "annotations": {NODE_MARK: "fake", "metrics.k8s.io/resource-metrics-path": METRICS_PATH},
            "labels": {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"},
        },
    });
    serde_json::from_value(node).expect("an object")
}

/// Every Stage.
fn stage_list(own: &Path, stages: &[String]) -> Vec<Value> {
    let given = stages.iter().map(String::as_str).chain([FAILING]);
    let given = given.flat_map(|text| {
        manifest::parse::<Value>(text).unwrap_or_else(|error| panic!("a Stage of ours: {error}"))
    });
    let all = OWN_STAGES
        .iter()
        .flat_map(|folder| manifest::read::<Value>(&own.join(folder)))
        .map(leave_failing_pods)
        .chain(given);
    all.filter(|document| document["kind"] == "Stage").collect()
}

/// The schema of a Stage's kind, without which KWOK ends at once, is there a moment after the kind is served.
async fn described(host: &Host<'_>, stage: &Value) {
    let Some(version) =
        stage["spec"]["resourceRef"]["apiGroup"].as_str().filter(|version| version.contains('/'))
    else {
        return;
    };
    eventually(&format!("{version} has a schema"), START, async || {
        let request = http::Request::get("/openapi/v3").body(Vec::new()).expect("a request");
        let index: Value = host.client.request(request).await.map_err(|error| error.to_string())?;
        if index["paths"].get(format!("apis/{version}")).is_some() {
            Ok(())
        } else {
            Err("not among the paths".to_owned())
        }
    })
    .await;
}

/// KWOK's own Stage makes every pod ready; two that want the same pod would be drawn by lot.
fn leave_failing_pods(mut stage: Value) -> Value {
    if stage["metadata"]["name"] == "pod-ready" {
        let conditions = stage["spec"]["selector"]["matchExpressions"]
            .as_array_mut()
            .expect("KWOK's Stage has conditions");
        conditions.push(json!({"key": IS_FAILING, "operator": "NotIn", "values": ["true"]}));
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
        format!("--manage-nodes-with-annotation-selector={NODE_MARK}=fake"),
        // Addresses of pods: all of them are loopback's, see `netns`.
        "--cidr=10.244.0.1/16".to_owned(),
        "--node-ip=127.0.0.1".to_owned(),
        format!("--node-port={port}"),
        format!("--server-address=127.0.0.1:{port}"),
        "--node-lease-duration-seconds=40".to_owned(),
    ];
    host.spawn(&KWOK, args, &[])
}
