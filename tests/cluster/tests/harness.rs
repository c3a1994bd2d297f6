//! The harness itself: what the tests of the operator stand on has to be proven first.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what it finds by panicking")]

use elpio_cluster::{Cluster, Crds, Options, eventually};
use std::time::{Duration, Instant};

#[tokio::test]
async fn control_plane() {
    let start = Instant::now();
    let cluster = Cluster::start(Options::default()).await;
    eprintln!("plain {:?}", start.elapsed());
    drop(cluster);
    let start = Instant::now();
    let cluster = Cluster::start(Options { crds: Crds::ALL[..6].to_vec(), ..Options::full() }).await;
    eprintln!("full {:?}", start.elapsed());
    let namespace = cluster.namespace("x").await;
    eprintln!("ns {namespace}");
}
