//! Who is measured: Elpio's operator, the peer in Go, or a bare client that writes the same children and
//! nothing else. It measures nothing.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use elpio_cluster::{
    Cluster, Operator,
    components::clients::BENCH_PEER,
    eventually,
    process::{self, CommandSpec, Process, TempDir, stats},
};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::{
    Client, ResourceExt as _,
    api::{Api, Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::json;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{USER, compare::to_f64};

/// Long enough for 10,000 objects on a busy machine.
const READY_TIMEOUT: Duration = Duration::from_mins(3);
const COUNT_TIMEOUT: Duration = Duration::from_mins(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    Floor,
    Peer,
    Elpio,
}

impl Contender {
    pub const ALL: [Self; 3] = [Self::Floor, Self::Peer, Self::Elpio];

    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "bare client",
            Self::Peer => "controller-runtime",
            Self::Elpio => "Elpio",
        }
    }
}

/// A contender at work; it stops on drop.
pub enum Running {
    Floor(#[expect(dead_code, reason = "stops on drop")] JoinSet<()>),
    Peer(Process, #[expect(dead_code, reason = "removed on drop")] TempDir),
    Elpio(Operator),
}

/// Starts the operator, with these variables beside those of every measurement.
pub fn spawn_operator(binary: &Path, cluster: &Cluster, workers: usize, more: &[(&str, &str)]) -> Operator {
    let workers = workers.to_string();
    let env = [
        ("ELPIO_METRICS", "on"),
        ("ELPIO_METRICS_ADDR", "127.0.0.1"),
        ("ELPIO_ENGINE", "knative"),
        ("ELPIO_CONCURRENCY", workers.as_str()),
    ];
    Operator::spawn(binary, &cluster.kubeconfig_for(USER), &[&env[..], more].concat())
}

/// Waits until the operator's gauge counts so many objects with these labels.
pub async fn wait_for_count(operator: &Operator, labels: &[(&str, &str)], expected: usize) {
    eventually(&format!("{expected} objects of {labels:?}"), COUNT_TIMEOUT, async || {
        let found = operator.sample("elpio_resources", labels).await;
        let is_it = (found.unwrap_or_default() - to_f64(expected as u64)).abs() < 0.5;
        if is_it { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

impl Running {
    /// Starts it, and waits until it is ready; how long that took.
    pub async fn start(who: Contender, cluster: &Cluster, binary: &Path, workers: usize) -> (Self, Duration) {
        let started = Instant::now();
        let running = match who {
            Contender::Floor => Self::Floor(bare_client(cluster.client_as(USER).await, workers)),
            Contender::Peer => {
                let (process, dir, port) = spawn_peer(cluster, workers);
                wait_ready(async || process::http::get(port, "/readyz", "*/*").await.map(|a| a.status)).await;
                Self::Peer(process, dir)
            }
            Contender::Elpio => {
                let operator = spawn_operator(binary, cluster, workers, &[]);
                wait_ready(async || operator.get("/readyz").await.map(|answer| answer.0)).await;
                Self::Elpio(operator)
            }
        };
        (running, started.elapsed())
    }

    fn pid(&self) -> Option<u32> {
        match self {
            Self::Floor(_) => None,
            Self::Peer(process, _) => Some(process.pid()),
            Self::Elpio(operator) => Some(operator.pid()),
        }
    }

    /// Resident memory now and at its highest so far.
    pub fn memory(&self) -> Option<(u64, u64)> {
        self.pid().map(|pid| (stats::rss(pid), stats::peak_rss(pid)))
    }

    pub fn cpu(&self) -> Option<Duration> {
        self.pid().map(stats::cpu)
    }

    /// Bytes of a page of metrics, and how long it takes.
    pub async fn scrape(&self) -> Option<(usize, Duration)> {
        let Self::Elpio(operator) = self else { return None };
        let started = Instant::now();
        let page = operator.metrics("text/plain").await;
        Some((page.len(), started.elapsed()))
    }

    pub async fn stop(self) {
        match self {
            Self::Floor(_) => {}
            Self::Peer(mut process, _) => drop(process.terminate(Duration::from_secs(40)).await),
            Self::Elpio(mut operator) => drop(operator.terminate(Duration::from_secs(40)).await),
        }
    }
}

async fn wait_ready(status: impl AsyncFn() -> std::io::Result<u16>) {
    let started = Instant::now();
    while !matches!(status().await, Ok(200)) {
        assert!(started.elapsed() < READY_TIMEOUT, "it never became ready");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Builds the peer, so that it takes no time later.
pub fn build_peer() -> PathBuf {
    BENCH_PEER.binary().unwrap_or_else(|error| panic!("{error}"))
}

fn spawn_peer(cluster: &Cluster, workers: usize) -> (Process, TempDir, u16) {
    let (dir, port, binary) = (TempDir::new("bench-peer"), process::free_port(), build_peer());
    let env = [
        ("KUBECONFIG", OsString::from(cluster.kubeconfig_for(USER))),
        ("PEER_HEALTH_PORT", port.to_string().into()),
        ("PEER_WORKERS", workers.to_string().into()),
    ];
    let process = Process::spawn(CommandSpec {
        name: "bench-peer",
        program: &binary,
        args: Vec::new(),
        env: env.map(|(name, value)| (name.into(), value)).into(),
        env_removed: &["KUBE", "GO"],
        dir: dir.path(),
    })
    .unwrap_or_else(|error| panic!("the peer: {error}"));
    (process, dir, port)
}

/// Applies the child of each service that a watch reports, so many at once: no cache, no status, no Event.
fn bare_client(client: Client, workers: usize) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let kind = GroupVersionKind::gvk("elpio.io", "v1alpha1", "ElpioService");
        let services: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
        let (slots, mut applies) = (Arc::new(Semaphore::new(workers)), JoinSet::new());
        let mut changes = watcher(services, watcher::Config::default()).applied_objects().boxed();
        while let Ok(Some(service)) = changes.try_next().await {
            let (client, slots) = (client.clone(), slots.clone());
            applies.spawn(async move {
                let _slot = slots.acquire().await;
                apply_child(&client, &service).await;
            });
            while applies.try_join_next().is_some() {}
        }
    });
    tasks
}

async fn apply_child(client: &Client, service: &DynamicObject) {
    let kind = GroupVersionKind::gvk("serving.knative.dev", "v1", "Service");
    let namespace = service.namespace().expect("a namespace");
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), &namespace, &ApiResource::from_gvk(&kind));
    let child = child(service);
    let params = PatchParams::apply("bare-client").force();
    api.patch(&service.name_any(), &params, &Patch::Apply(child)).await.expect("a child");
}

/// The Knative Service as Elpio renders it.
fn child(service: &DynamicObject) -> serde_json::Value {
    let (name, spec) = (service.name_any(), &service.data["spec"]);
    let text =
        |path: &str| spec.pointer(path).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    let labels = json!({
        "app.kubernetes.io/instance": name, "app.kubernetes.io/managed-by": "bare-client",
        "app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "bare-client", "elpio.io/service": name,
    });
    json!({
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": {"bench.elpio.io/generation": service.metadata.generation.unwrap_or(0).to_string()},
            "ownerReferences": [{
                "apiVersion": "elpio.io/v1alpha1", "kind": "ElpioService", "name": name, "uid": service.uid(),
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "traffic": [{"latestRevision": true, "percent": 100}],
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": {
                        "autoscaling.knative.dev/class": "kpa.autoscaling.knative.dev",
                        "autoscaling.knative.dev/metric": "concurrency",
                        "autoscaling.knative.dev/target": "100",
                        "autoscaling.knative.dev/min-scale": "0",
                        "autoscaling.knative.dev/max-scale": "10",
                    },
                },
                "spec": {
                    "serviceAccountName": "default",
                    "containers": [{
                        "name": "user-container",
                        "image": format!("{}:{}", text("/image/repository"), text("/image/tag")),
                        "ports": [{"containerPort": 8080}],
                        "env": spec["env"],
                        "resources": spec["resources"],
                        "securityContext": {
                            "allowPrivilegeEscalation": false,
                            "capabilities": {"drop": ["ALL"]},
                            "seccompProfile": {"type": "RuntimeDefault"},
                        },
                    }],
                },
            },
        },
    })
}
