//! `--cycles N`: what creating and deleting services leaves in the operator's memory. Two rounds of N are made, each
//! followed by a rest in which what is kept for a time is forgotten; the second may add nothing.

use std::{path::Path, time::Duration};

use elpio_cluster::{Cluster, ClusterOptions, FakeEngineOptions, FakeEngines, Operator, process::stats};
use kube::{
    Client,
    api::{DeleteParams, ListParams},
};

use crate::{
    USER,
    compare::mebibytes,
    contender::{spawn_operator, wait_for_count},
    crds,
    load::{Load, api, bind_cluster_admin},
    results::table,
};

/// Services that exist at once.
const BATCH: usize = 200;
/// Series of Events are forgotten ten minutes after their last occurrence, within a minute.
const REST: Duration = Duration::from_mins(12);
/// What the second round may add, as a share of what was there.
const MAX_GROWTH: f64 = 0.05;

/// Prints what was measured; whether the second round added nothing.
pub async fn measure(binary: &Path, cycles: usize, workers: usize) -> bool {
    let cluster = Cluster::start(ClusterOptions { crds: crds(), ..ClusterOptions::default() }).await;
    let client = cluster.client().await;
    bind_cluster_admin(&client, USER).await;
    let namespace = cluster.namespace("bench").await;
    let mut operator = spawn_operator(binary, &cluster, workers, &[]);
    operator.wait_ready().await;
    let options = FakeEngineOptions { namespace: Some(namespace.clone()), ..FakeEngineOptions::default() };
    let _engines = FakeEngines::start(client.clone(), options);
    let load = Load { client: client.clone(), namespace, services: BATCH };
    let mut table = table(&["", "memory", "peak"]);
    let mut row = |what: &str, rss: u64, peak: u64| {
        let show = |bytes| format!("{:.1} MiB", mebibytes(bytes));
        table.add_row([what.to_owned(), show(rss), show(peak)]);
    };
    row("before", operator.rss(), stats::peak_rss(operator.pid()));
    let mut rested = Vec::new();
    for round in ["first", "second"] {
        for number in 0..cycles.div_ceil(BATCH) {
            eprintln!("{round} round: {} of {cycles} …", number * BATCH);
            cycle(&load, &client, &operator).await;
        }
        row(&format!("after the {round} round"), operator.rss(), stats::peak_rss(operator.pid()));
        eprintln!("resting for {} min …", REST.as_secs() / 60);
        tokio::time::sleep(REST).await;
        rested.push(operator.rss());
        row("at rest", operator.rss(), stats::peak_rss(operator.pid()));
    }
    let growth = mebibytes(rested[1]) / mebibytes(rested[0]) - 1.0;
    println!("\n{cycles} services a round, {BATCH} at once: created, ready, deleted\n{table}");
    println!("the second round added {:.1} % (allowed: {:.0} %)", growth * 1e2, MAX_GROWTH * 1e2);
    growth <= MAX_GROWTH && operator.is_running()
}

/// Creates a batch, waits until all are ready, and deletes it with its children, as the garbage collector does.
async fn cycle(load: &Load, client: &Client, operator: &Operator) {
    load.create().await;
    wait_for_count(operator, &[("kind", "ElpioService"), ("ready", "true")], load.services).await;
    let all = (DeleteParams::default(), ListParams::default());
    let of_engine = api(client, &load.namespace, "serving.knative.dev", "v1", "Service");
    for objects in [load.api(), of_engine] {
        objects.delete_collection(&all.0, &all.1).await.expect("they are deleted");
    }
    wait_for_count(operator, &[("kind", "ElpioService")], 0).await;
}
