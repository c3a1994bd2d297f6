//! This version takes over what an older one left: it builds nothing, deletes nothing, and writes to children
//! only where the changelog announces it.

use std::{collections::BTreeMap, path::Path};

use elpio_cluster::{Audit, Crds, Operator};
use serde_json::json;

use crate::upgrade::{
    NAMESPACE, TIMEOUT, cluster, crds, documents, reconciled, restarts_are_announced, stored, versions,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_writes_to_children_only_what_the_changelog_announces() {
    for version in versions() {
        let written = replay(version).await;
        println!("{version}: {} writes to children: {:#?}", written.len(), written.count());
        if restarts_are_announced(version) {
            let mut each: BTreeMap<String, usize> = BTreeMap::new();
            for entry in &written.0 {
                *each.entry(format!("{} {}", entry.summary(), entry.name)).or_default() += 1;
            }
            assert!(each.values().all(|count| *count == 1), "{each:#?}");
            assert!(each.keys().all(|write| write.starts_with("patch ")), "{each:#?}");
        } else {
            assert!(
                written.is_empty(),
                "over {version}: restarts pods, without a word in CHANGELOG.md: {:#?} (tests/README.md: record it anew)",
                written.count()
            );
        }
    }
}

/// The writes to children in the first minutes of this version, over the objects of that one.
async fn replay(version: &str) -> Audit {
    let cluster = cluster().await;
    let client = cluster.client().await;
    for crd in crds(version) {
        stored::apply(&client, &crd, "kubectl").await;
    }
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    stored::apply(&client, &namespace, "kubectl").await;
    let (objects, children) = (documents(version, "objects.yaml"), documents(version, "children.yaml"));
    for object in objects.iter().chain(&children) {
        stored::restore(&cluster, object).await;
    }
    cluster.apply_crds(&[Crds::ELPIO]).await;

    let offset = cluster.audit_offset();
    let env = [("ELPIO_NAMESPACES", NAMESPACE), ("ELPIO_METRICS", "on")];
    let binary = Path::new(env!("CARGO_BIN_EXE_elpio-operator"));
    let mut operator = Operator::spawn(binary, &cluster.kubeconfig(), &env);
    operator.wait_ready().await;
    let published = children.iter().filter(|child| child["kind"] == "ElpioService").count();
    reconciled(&operator, objects.len() + published).await;
    operator.terminate(TIMEOUT).await;
    let own = |resource: &str| matches!(resource, "events" | "leases");
    let by_operator = cluster.audit_since(offset).user_agent("elpio-operator").namespace(NAMESPACE).writes();
    by_operator.filter(|entry| {
        !own(&entry.resource) && entry.subresource != "status" && !entry.uri.contains("dryRun")
    })
}
