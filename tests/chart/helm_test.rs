//! `helm test` by both Helms: the pod that Helm creates runs as a kubelet would run it, and Helm's exit code
//! follows what `elpio-operator check` finds.

use std::{path::Path, sync::Arc};

use elpio_cluster::{
    components::{
        Component,
        clients::{HELM_3, HELM_4, Printed},
    },
    engines::kubelet::Kubelet,
};

use crate::{
    chart,
    site::{Site, TIMEOUT},
};

const NAMESPACE: &str = "elpio-system";
const CHECK: &str = "app.kubernetes.io/component=check";

/// Helm waits for the pod, so that it may not hold up the kubelet.
async fn helm_test(site: &Site) -> Printed {
    let helm = site.helm.clone();
    let args = ["test", "elpio", "-n", NAMESPACE, "--logs", "--timeout", "3m"];
    tokio::task::spawn_blocking(move || helm.run(&args, "")).await.unwrap()
}

async fn judged_by(helm: Component) {
    let site = Site::new(helm).await;
    let chart = chart().display().to_string();
    let installed = site.helm(&format!("install elpio {chart} -n {NAMESPACE} --create-namespace"));
    assert!(installed.contains("helm -n elpio-system test elpio"), "{installed}");
    let _ = site
        .kubectl("wait --for=condition=Established crd/elpioservices.elpio.io crd/elpiofunctions.elpio.io");
    let binary = Path::new(env!("CARGO_BIN_EXE_elpio-operator"));
    let _kubelet = Kubelet::start(Arc::clone(&site.cluster), NAMESPACE, CHECK, binary).await;
    let mut operator = site.operator(NAMESPACE, "elpio-elpio-operator", "").await;

    let passed = helm_test(&site).await;
    assert!(passed.success, "{passed:?}");
    let logs = &passed.stdout;
    assert!(logs.contains("POD LOGS") && logs.contains(" 0 errors"), "the check's rows: {passed:?}");

    // Without the permission to hold the Lease.
    let role = "rolebinding/elpio-elpio-operator-leader-election";
    let _ = site.kubectl(&format!("-n {NAMESPACE} delete {role}"));
    let failed = helm_test(&site).await;
    assert!(!failed.success, "{failed:?}");
    let logs = format!("{}{}", failed.stdout, failed.stderr);
    println!("{logs}");
    assert!(logs.contains("elpio-elpio-operator-check failed"), "{logs}");
    let kept = site.kubectl(&format!("-n {NAMESPACE} logs elpio-elpio-operator-check"));
    assert!(
        kept.contains("permissions: leader election")
            && kept.contains("cannot create leases.coordination.k8s.io"),
        "{kept}"
    );

    // An upgrade to what is installed restores it.
    let _ = site.helm(&format!("upgrade elpio {chart} -n {NAMESPACE} --reuse-values"));
    let restored = helm_test(&site).await;
    assert!(restored.success, "{restored:?}");
    operator.terminate(TIMEOUT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_3_test_passes_and_fails_with_the_installation() {
    judged_by(HELM_3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_4_test_passes_and_fails_with_the_installation() {
    judged_by(HELM_4).await;
}
