//! `--hostile`: one tenant writes objects as large as the API server allows; whether the operator lives within its
//! limit, and whether another namespace notices.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use comfy_table::{Table, presets::NOTHING};
use elpio_cluster::{
    Cluster, ClusterOptions, FakeEngineOptions, FakeEngines, Operator, eventually, process::stats,
};
use futures::{StreamExt as _, stream};
use kube::Client;
use serde_json::{Value, json};

use crate::{
    USER, crds,
    load::{self, api, create},
    results::nearest_rank,
};

/// Of each kind.
const OBJECTS: usize = 400;
/// Creations that are measured in the other namespace.
const SAMPLES: usize = 100;
/// The shipped limit is 256 MiB.
const MAX_RSS: u64 = 128 << 20;
const MAX_RATIO: f64 = 2.0;
const SOON: Duration = Duration::from_mins(5);

/// Prints what was measured; whether all is within its bounds.
pub async fn measure(binary: &Path) -> bool {
    let cluster = Cluster::start(ClusterOptions { crds: crds(), ..ClusterOptions::default() }).await;
    let client = cluster.client().await;
    load::bind_cluster_admin(&client, USER).await;
    let (hostile, other) = (cluster.namespace("hostile").await, cluster.namespace("other").await);
    let mut operator = start(binary, &cluster).await;
    let _engine = FakeEngines::start(
        client.clone(),
        FakeEngineOptions { namespace: Some(other.clone()), ..FakeEngineOptions::default() },
    );
    let services = api(&client, &hostile, "elpio.io", "v1alpha1", "ElpioService");
    let deployments = api(&client, &hostile, "apps", "v1", "Deployment");

    eprintln!("creating {SAMPLES} services, one after another …");
    let undisturbed = create_and_wait(&client, &other, "before").await;
    eprintln!("creating {OBJECTS} services and {OBJECTS} foreign Deployments of 1 MiB …");
    stream::iter(0..OBJECTS)
        .for_each_concurrent(4, async |n| {
            create(&services, service(&format!("big-{n}"))).await;
            create(&deployments, foreign(&format!("foreign-{n}"))).await;
        })
        .await;
    wait_until_invalid(&operator).await;
    let disturbed = create_and_wait(&client, &other, "beside").await;
    let running = (operator.is_running(), stats::peak_rss(operator.pid()));
    eprintln!("starting another operator, which lists them …");
    drop(operator);
    let mut operator = start(binary, &cluster).await;
    let restarted = create_and_wait(&client, &other, "after").await;
    let again = (operator.is_running(), stats::peak_rss(operator.pid()));

    let ratio = |times: &[Duration]| {
        nearest_rank(times, 99).as_secs_f64() / nearest_rank(&undisturbed, 99).as_secs_f64()
    };
    let mut table = Table::new();
    table.load_style(NOTHING).set_header([
        "",
        "create → child p50",
        "p99",
        "p99, times undisturbed",
        "peak memory",
    ]);
    for (what, times, rss) in [
        ("undisturbed", &undisturbed, None),
        ("beside the large objects", &disturbed, Some(running.1)),
        ("after a start among them", &restarted, Some(again.1)),
    ] {
        table.add_row([
            what.to_owned(),
            format!("{} ms", nearest_rank(times, 50).as_millis()),
            format!("{} ms", nearest_rank(times, 99).as_millis()),
            format!("{:.2}", ratio(times)),
            rss.map_or_else(String::new, |bytes| format!("{} MiB", bytes >> 20)),
        ]);
    }
    println!("\n{table}");
    let lives = running.0 && again.0;
    lives && running.1.max(again.1) < MAX_RSS && ratio(&disturbed).max(ratio(&restarted)) < MAX_RATIO
}

async fn start(binary: &Path, cluster: &Cluster) -> Operator {
    let env = [("ELPIO_METRICS", "on"), ("ELPIO_METRICS_ADDR", "127.0.0.1"), ("ELPIO_ENGINE", "knative")];
    let mut operator = Operator::spawn(binary, &cluster.kubeconfig_for(USER), &env);
    operator.wait_ready().await;
    operator
}

/// How long each of these services waits for its child, created one after another.
async fn create_and_wait(client: &Client, namespace: &str, prefix: &str) -> Vec<Duration> {
    let services = api(client, namespace, "elpio.io", "v1alpha1", "ElpioService");
    let children = api(client, namespace, "serving.knative.dev", "v1", "Service");
    let mut times = Vec::new();
    for n in 0..SAMPLES {
        let name = format!("{prefix}-{n}");
        let sent = Instant::now();
        create(&services, load::service(&name)).await;
        eventually("the child", SOON, async || {
            children.get_opt(&name).await.map_err(|e| e.to_string())?.ok_or_else(|| "absent".to_owned())
        })
        .await;
        times.push(sent.elapsed());
    }
    times.sort_unstable();
    times
}

async fn wait_until_invalid(operator: &Operator) {
    eventually("every large service is invalid", SOON, async || {
        let count = operator.sample("elpio_resources", &[("reason", "InvalidSpec")]).await;
        if count == Some(400.0) { Ok(()) } else { Err(format!("{count:?} of {OBJECTS}")) }
    })
    .await;
}

/// Nearly 1 MiB, which the schema allows.
fn env() -> Value {
    (0..31).map(|n| json!({"name": format!("V{n}"), "value": "x".repeat(32_768)})).collect()
}

fn service(name: &str) -> Value {
    let mut service = load::service(name);
    service["spec"]["env"] = env();
    service
}

/// Somebody else's, with the label of a child.
fn foreign(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": {"elpio.io/service": name}},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}},
            "spec": {"containers": [{"name": "c", "image": "registry.local/x", "env": env()}]}}}})
}
