//! `--functions N`: what functions cost, with their runs and tasks. Tekton is played: every build succeeds. A task of the
//! size that Tekton writes is added to each run.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use elpio_cluster::{
    Cluster, ClusterOptions, Crds, FakeEngineOptions, FakeEngines, Operator, process::stats,
};
use futures::{StreamExt as _, stream};
use kube::{
    Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use crate::{
    USER,
    compare::{mebibytes, to_f64},
    contender::{spawn_operator, wait_for_count},
    crds,
    load::{api, bind_cluster_admin, create},
    results::table,
};

const MAX_IN_FLIGHT: usize = 16;
/// Between two looks at memory that are to agree.
const PAUSE: Duration = Duration::from_secs(3);
/// Each function with its run, its task, its service and that one's child.
const MAX_BYTES: u64 = 16 << 10;

/// Prints what was measured; whether memory is within its bound.
pub async fn measure(binary: &Path, functions: usize, workers: usize) -> bool {
    let crds = [crds(), vec![Crds::TEKTON]].concat();
    let cluster = Cluster::start(ClusterOptions { crds, ..ClusterOptions::default() }).await;
    let client = cluster.client().await;
    bind_cluster_admin(&client, USER).await;
    let namespace = cluster.namespace("bench").await;
    let operator = start(binary, &cluster, workers).await;
    let empty = resting(&operator).await;
    let options = FakeEngineOptions {
        namespace: Some(namespace.clone()),
        builds: true,
        ..FakeEngineOptions::default()
    };
    let engines = FakeEngines::start(client.clone(), options);

    eprintln!("creating {functions} functions …");
    let (begun, cpu) = (Instant::now(), operator.cpu());
    let api = api(&client, &namespace, "elpio.io", "v1alpha1", "ElpioFunction");
    for_each(functions, async |n| create(&api, function(&format!("function-{n}"))).await).await;
    wait_until_ready(&operator, functions).await;
    let (ready, cpu) = (begun.elapsed(), operator.cpu().saturating_sub(cpu));
    eprintln!("adding a task to each run …");
    add_tasks(&client, &namespace).await;
    let (worked, peak) = (resting(&operator).await, stats::peak_rss(operator.pid()));
    drop((operator, engines));

    eprintln!("starting another operator …");
    let begun = Instant::now();
    let operator = start(binary, &cluster, workers).await;
    let started = begun.elapsed();
    wait_until_ready(&operator, functions).await;
    let (restarted, restart_peak) = (resting(&operator).await, stats::peak_rss(operator.pid()));

    let each = |bytes: u64| bytes.saturating_sub(empty) / functions.max(1) as u64;
    let mut table = table(&["", "memory", "peak", "each function"]);
    for (what, bytes, peak) in [
        ("no functions", empty, empty),
        ("created and built", worked, peak),
        ("another operator, settled", restarted, restart_peak),
    ] {
        table.add_row([
            what.to_owned(),
            format!("{:.0} MiB", mebibytes(bytes)),
            format!("{:.0} MiB", mebibytes(peak)),
            format!("{} KiB", each(bytes) >> 10),
        ]);
    }
    println!("\n{functions} functions, {workers} workers");
    println!(
        "all ready after {:.1} s; CPU {:.2} ms each",
        ready.as_secs_f64(),
        cpu.as_secs_f64() * 1e3 / to_f64(functions as u64)
    );
    println!("another operator is ready after {:.2} s\n{table}", started.as_secs_f64());
    each(restarted) <= MAX_BYTES
}

async fn start(binary: &Path, cluster: &Cluster, workers: usize) -> Operator {
    let mut operator = spawn_operator(binary, cluster, workers, &[]);
    operator.wait_ready().await;
    operator
}

/// Memory once it changes no more.
async fn resting(operator: &Operator) -> u64 {
    let mut before = 0;
    loop {
        tokio::time::sleep(PAUSE).await;
        let now = operator.rss();
        if now.abs_diff(before) < now / 100 {
            return now;
        }
        before = now;
    }
}

async fn for_each(count: usize, request: impl AsyncFn(usize)) {
    stream::iter(0..count).for_each_concurrent(MAX_IN_FLIGHT, async |n| request(n).await).await;
}

async fn wait_until_ready(operator: &Operator, functions: usize) {
    wait_for_count(operator, &[("kind", "ElpioFunction"), ("ready", "true")], functions).await;
}

/// A task for each run, which its run refers to.
async fn add_tasks(client: &Client, namespace: &str) {
    let runs = api(client, namespace, "tekton.dev", "v1", "PipelineRun");
    let tasks = api(client, namespace, "tekton.dev", "v1", "TaskRun");
    let all = runs.list(&ListParams::default()).await.expect("the runs").items;
    for_each(all.len(), async |n| {
        let run = &all[n];
        let name = format!("{}-build", run.name_any());
        create(&tasks, task(&name, run)).await;
        let status = Patch::Merge(json!({"status": task_status(&name)}));
        tasks.patch_status(&name, &PatchParams::default(), &status).await.expect("a status");
    })
    .await;
}

fn function(name: &str) -> Value {
    json!({"apiVersion": "elpio.io/v1alpha1", "kind": "ElpioFunction", "metadata": {"name": name}, "spec": {
        "runtime": "python", "source": {"git": {"url": "https://git.example.com/team/app.git", "revision": "main"}},
        "image": format!("registry.example.com/{name}:latest")}})
}

fn task(name: &str, run: &DynamicObject) -> Value {
    let labels = ["tekton.dev/pipelineRun", "elpio.io/function"]
        .map(|key| (key.to_owned(), run.labels().get(key).cloned().unwrap_or_else(|| run.name_any())));
    json!({"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "metadata": {"name": name,
            "labels": std::collections::BTreeMap::from(labels),
            "ownerReferences": [{"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "name": run.name_any(),
                "uid": run.uid(), "controller": true}]},
        "spec": {"taskSpec": {"steps": steps()}}})
}

fn steps() -> Value {
    (0..7)
        .map(|n| json!({"name": format!("step-{n}"), "image": "registry.example.com/builder", "script": "#".repeat(900)}))
        .collect()
}

fn task_status(name: &str) -> Value {
    let now = "2026-01-01T00:00:00Z";
    let ended: Value = (0..7)
        .map(|n| json!({"name": format!("step-{n}"), "container": format!("step-{n}"), "imageID": "x".repeat(120),
            "terminated": {"exitCode": 0, "reason": "Completed", "containerID": "x".repeat(80), "startedAt": now, "finishedAt": now}}))
        .collect();
    json!({"conditions": [{"type": "Succeeded", "status": "True", "reason": "Succeeded", "lastTransitionTime": now}],
        "startTime": now, "completionTime": now, "podName": format!("{name}-pod"), "steps": ended,
        "taskSpec": {"steps": steps()}})
}
