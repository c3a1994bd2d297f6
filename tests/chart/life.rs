//! The life of an installation on a real API server, by both Helms: installed, upgraded, rolled back, removed;
//! and a second one beside it. The operator runs as a process with the permissions that the chart gives.

use elpio_cluster::{
    FakeEngineOptions, FakeEngines,
    components::{
        Component,
        clients::{HELM_3, HELM_4},
    },
    eventually,
};
use serde_json::json;

use crate::{
    chart,
    site::{Site, TIMEOUT},
    values_file,
};

async fn life(helm: Component) {
    let site = Site::new(helm).await;
    let chart = chart().display().to_string();
    let installed = site.helm(&format!("install elpio {chart} -n elpio-system --create-namespace"));
    assert!(installed.contains("cluster-admin in effect"), "{installed}");
    let _ = site
        .kubectl("wait --for=condition=Established crd/elpioservices.elpio.io crd/elpiofunctions.elpio.io");
    let namespace = site.cluster.namespace("life").await;
    let options = FakeEngineOptions { pods: true, ..FakeEngineOptions::in_namespace(&namespace) };
    let _engine = FakeEngines::start(site.cluster.client().await, options);
    let operator = site.operator("elpio-system", "elpio-elpio-operator", "").await;
    site.apply(&namespace, "kept");
    site.ready(&namespace, "kept").await;

    let replicas =
        || site.kubectl("-n elpio-system get deployment elpio-elpio-operator -o jsonpath={.spec.replicas}");
    let values = values_file("upgrade", &json!({"replicas": 2, "podDisruptionBudget": {"enabled": true}}));
    let _ = site.helm(&format!("upgrade elpio {chart} -n elpio-system --values {}", values.display()));
    assert_eq!(replicas(), "2");
    let _ = site.kubectl("-n elpio-system get pdb elpio-elpio-operator");
    let _ = site.helm("rollback elpio 1 -n elpio-system");
    assert_eq!(replicas(), "1");
    assert!(site.kubectl("-n elpio-system get pdb -o name").is_empty());
    // Three times the same: nothing is changed by an upgrade to what is there.
    let generation = || {
        site.kubectl("-n elpio-system get deployment elpio-elpio-operator -o jsonpath={.metadata.generation}")
    };
    let before = generation();
    let _ = site.helm(&format!("upgrade elpio {chart} -n elpio-system"));
    assert_eq!(generation(), before);

    drop(operator);
    let _ = site.helm("uninstall elpio -n elpio-system");
    let left = site.kubectl("get clusterrole,clusterrolebinding,validatingadmissionpolicy -o name -l app.kubernetes.io/part-of=elpio");
    assert!(left.is_empty(), "{left}");
    let kept =
        site.kubectl(&format!("-n {namespace} get crd/elpioservices.elpio.io esvc/kept ksvc/kept -o name"));
    assert_eq!(kept.lines().count(), 3, "{kept}");

    // Installed again over what it left; everything goes in the order of docs/uninstall.md.
    let _ = site.helm(&format!("install elpio {chart} -n elpio-system --set crds.keep=false"));
    let _ = site.kubectl(&format!("-n {namespace} delete esvc kept --cascade=foreground"));
    assert_eq!(site.kubectl(&format!("-n {namespace} get ksvc -o name")), "");
    let _ = site.helm("uninstall elpio -n elpio-system");
    eventually("the CRDs are gone", TIMEOUT, async || {
        let crds = site.kubectl("get crd -o name");
        if crds.contains(".elpio.io") { Err(crds) } else { Ok(()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_3_installs_upgrades_rolls_back_and_uninstalls() {
    life(HELM_3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_4_installs_upgrades_rolls_back_and_uninstalls() {
    life(HELM_4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_installation_works_beside_the_first() {
    let site = Site::new(HELM_4).await;
    let chart = chart().display().to_string();
    let (a, b) = (site.cluster.namespace("first").await, site.cluster.namespace("second").await);
    let install = |name: &str, namespace: &str, more: &str| {
        let values = format!("--set namespaces={{{namespace}}} {more}");
        site.helm(&format!("install {name} {chart} -n elpio-system --create-namespace {}", values.trim()))
    };
    let _ = install("one", &a, "");
    // Nothing of the cluster, and of the engines one.
    let few = "--set crds.enabled=false,rbac.cluster=false,rbac.people=false,engines.keda=false,engines.tekton=false";
    let _ = install("two", &b, few);
    let _ = site
        .kubectl("wait --for=condition=Established crd/elpioservices.elpio.io crd/elpiofunctions.elpio.io");
    let client = site.cluster.client().await;
    let _engines = [&a, &b].map(|namespace| {
        let options = FakeEngineOptions { pods: true, ..FakeEngineOptions::in_namespace(namespace) };
        FakeEngines::start(client.clone(), options)
    });
    let _first = site.operator("elpio-system", "one-elpio-operator", &a).await;
    let _second = site.operator("elpio-system", "two-elpio-operator", &b).await;
    for namespace in [&a, &b] {
        site.apply(namespace, "greeter");
        site.ready(namespace, "greeter").await;
    }
    let leases = site.kubectl("-n elpio-system get lease -o name");
    assert_eq!(leases.lines().count(), 2, "{leases}");
    let writers = |namespace: &str| {
        let audit = site.cluster.audit().namespace(namespace).resource("elpioservices/status").writes();
        audit.0.into_iter().map(|entry| entry.user).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(
        writers(&a).into_iter().collect::<Vec<_>>(),
        ["system:serviceaccount:elpio-system:one-elpio-operator"]
    );
    assert_eq!(
        writers(&b).into_iter().collect::<Vec<_>>(),
        ["system:serviceaccount:elpio-system:two-elpio-operator"]
    );
}
