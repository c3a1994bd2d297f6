//! Upgrades: the objects, CRDs and children of each older version are golden files. This version accepts all of
//! them, and writes to children only what the changelog announces.

mod record;
mod replay;
mod stored;

use std::time::Duration;

use elpio_cluster::{Cluster, ClusterOptions, Crds, Operator, eventually};
use serde_json::{Value, json};

use crate::text;

/// What the tree itself renders. Whoever changes that announces it in the changelog, and records this anew.
const NEXT: &str = "next";

/// The versions with golden files, oldest first.
const VERSIONS: [&str; 2] = ["0.1.0", NEXT];

/// Those that can have been installed: Kubernetes 1.32 refuses the CRDs of 0.1.0, for what a rule of theirs costs.
fn versions() -> impl Iterator<Item = &'static str> {
    let is_oldest = std::env::var_os("ELPIO_OLDEST_KUBERNETES").is_some();
    VERSIONS.into_iter().filter(move |version| !(is_oldest && *version == "0.1.0"))
}

/// The namespace of the golden files.
const NAMESPACE: &str = "upgrade";

const TIMEOUT: Duration = Duration::from_mins(1);

fn golden(version: &str, file: &str) -> String {
    format!("tests/golden/upgrade/{version}/{file}")
}

/// The documents of a golden file.
fn documents(version: &str, file: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&text(golden(version, file))).unwrap()
}

/// The CRDs of a version; the tree's own are kept elsewhere.
fn crds(version: &str) -> Vec<Value> {
    if version != NEXT {
        return documents(version, "crds.yaml");
    }
    let names = ["functions", "services"].map(|name| format!("deploy/crds/elpio.io_elpio{name}.yaml"));
    names.iter().flat_map(|path| serde_saphyr::from_multiple::<Value>(&text(path)).unwrap()).collect()
}

async fn cluster() -> Cluster {
    let crds = Crds::ALL.into_iter().filter(|crds| *crds != Crds::ELPIO).collect();
    Cluster::start(ClusterOptions { crds, audit: true, ..ClusterOptions::default() }).await
}

/// Whether the changelog announces, after this version, that pods restart.
fn restarts_are_announced(version: &str) -> bool {
    if version == NEXT {
        return false;
    }
    let changelog = text("CHANGELOG.md");
    let newer = changelog.split(&format!("\n## {version}")).next().unwrap();
    newer.contains("restarts pods\n")
}

async fn reconciled(operator: &Operator, objects: usize) {
    eventually("every object is reconciled and the queues are empty", TIMEOUT, async || {
        let page = operator.metrics("text/plain").await;
        let sum = |name: &str| -> f64 {
            let lines = page.lines().filter(|line| line.starts_with(name));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        let (done, depth) = (sum("elpio_reconcile_total{"), sum("workqueue_depth{"));
        let busy = sum("workqueue_unfinished_work_seconds{");
        if done >= f64::from(u32::try_from(objects).unwrap()) && depth == 0.0 && busy == 0.0 {
            Ok(())
        } else {
            Err(format!("{done} reconciles of {objects} objects, depth {depth}, unfinished {busy} s"))
        }
    })
    .await;
}

/// An older version accepted these objects; so does the newest schema, also where they are written again.
#[tokio::test(flavor = "multi_thread")]
async fn the_schema_accepts_what_older_versions_stored() {
    let cluster = cluster().await;
    let client = cluster.client().await;
    let mut count = 0;
    for version in versions() {
        for crd in crds(version) {
            stored::apply(&client, &crd, "kubectl").await;
        }
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        stored::apply(&client, &namespace, "kubectl").await;
        let objects = documents(version, "objects.yaml");
        for object in &objects {
            stored::restore(&cluster, object).await;
        }
        cluster.apply_crds(&[Crds::ELPIO]).await;
        for object in &objects {
            // Somebody else's label: the whole object is validated, and what did not change is let through.
            let mut touched = object.clone();
            touched["metadata"] = json!({"name": object["metadata"]["name"], "namespace": NAMESPACE, "labels": {"touched": "true"}});
            touched.as_object_mut().unwrap().retain(|key, _| key != "spec" && key != "status");
            stored::apply(&client, &touched, "somebody").await;
            count += 1;
        }
    }
    println!("{count} stored objects of {VERSIONS:?} accepted, with their statuses");
}
