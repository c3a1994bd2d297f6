//! Objects that are being deleted, and definitions that are older than the operator.

use elpio_cluster::{Crds, edit, eventually};
use elpio_operator::api::ElpioService;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    live_env::{LiveEnv, TIMEOUT, image},
    store_cases::{keda, own},
};

const CRD: &str = "elpioservices.elpio.io";
const UNSETTLED: &str = "elpio_resources_unsettled_age_seconds";

/// To the millisecond, since a wait that has just begun is one.
async fn nothing_waits(env: &LiveEnv) {
    let age = env.counted(UNSETTLED, &[("kind", "ElpioService")]).await;
    assert!(age < 0.001, "an object waits for {age} s for its status");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_a_finalizer_holds_waits_for_no_status() {
    let mut env = LiveEnv::new("held").await;
    env.apply("held", &image("v1")).await;
    env.ready("held").await;
    let finalizers = |list: Value| Patch::Merge(json!({"metadata": {"finalizers": list}}));
    let params = PatchParams::default();
    env.services().patch("held", &params, &finalizers(json!(["example.com/backup"]))).await.unwrap();
    env.services().delete("held", &DeleteParams::default()).await.unwrap();
    let held = env.services().get("held").await.unwrap();
    let observed = held.status.as_ref().and_then(|status| status.observed_generation);
    assert!(held.metadata.generation > observed, "the API server counts the deletion as a generation");
    env.wait_until_idle().await;
    nothing_waits(&env).await;
    env.restart().await;
    env.wait_until_idle().await;
    nothing_waits(&env).await;
    env.services().patch("held", &params, &finalizers(Value::Null)).await.unwrap();
    eventually("held is deleted", TIMEOUT, async || match env.services().get_opt("held").await.unwrap() {
        None => Ok(()),
        Some(object) => Err(format!("{:?}", object.finalizers())),
    })
    .await;
}

/// Takes one field out of the schema of the CRD, and waits until the API server drops it.
async fn forget(env: &LiveEnv, path: &[&str], field: &str) -> CustomResourceDefinition {
    let crds: Api<CustomResourceDefinition> = Api::all(env.client.clone());
    let known = crds.get(CRD).await.unwrap();
    edit(&crds, CRD, |crd| {
        let mut older = serde_json::to_value(&crd.spec).unwrap();
        let schema = &mut older["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        let properties = path.iter().fold(schema, |at, name| &mut at[*name]);
        assert!(properties.as_object_mut().unwrap().remove(field).is_some(), "{path:?} has no {field}");
        crd.spec = serde_json::from_value(older).unwrap();
    })
    .await;
    known
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_crd_causes_one_warning_and_no_write_loop() {
    let cluster = own(Crds::ALL.to_vec()).await;
    let mut env = LiveEnv::on(cluster, "old-crd", &cluster.kubeconfig(), &[]).await;
    env.apply("web", &keda("v1")).await;
    let ready = env.ready("web").await;
    env.wait_until_idle().await;
    let known = forget(&env, &["status", "properties", "children", "items", "properties"], "available").await;
    let available = |object: &ElpioService| {
        object.status.as_ref().is_some_and(|status| status.children.iter().any(|c| c.available.is_some()))
    };
    assert!(available(&ready));
    eventually("the API server drops what the older definition lacks", TIMEOUT, async || {
        let now = env.services().get("web").await.unwrap();
        if available(&now) { Err("it is still served") } else { Ok(()) }
    })
    .await;

    for start in 0..2 {
        if start > 0 {
            env.restart().await;
        }
        env.wait_until_idle().await;
        let mark = env.cluster.audit_offset();
        for n in 0..10 {
            let patch = json!({"metadata": {"annotations": {"x": format!("{start}-{n}")}}});
            let before = env.operator.sample("elpio_reconcile_total", &[]).await;
            env.deployments().patch("web", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
            eventually("the Deployment's change is reconciled", TIMEOUT, async || {
                let now = env.operator.sample("elpio_reconcile_total", &[]).await;
                if now > before { Ok(()) } else { Err(format!("{now:?}")) }
            })
            .await;
        }
        env.wait_until_idle().await;
        let writes = env.requests_since(mark).writes().resource("elpioservices.elpio.io/status");
        let count: usize = writes.count().values().sum();
        assert!(
            count <= 3,
            "one for a start and two after the definition changed, not one a reconcile: {:?}",
            writes.count()
        );
    }
    let log = env.operator.log();
    let warnings = log.lines().filter(|line| line.contains("older than the operator")).count();
    assert_eq!(warnings, 1, "{}", env.operator.log_tail());
    assert!(log.contains("deploy/crds"), "what to do");

    let crds: Api<CustomResourceDefinition> = Api::all(env.client.clone());
    edit(&crds, CRD, |crd| crd.spec = known.spec.clone()).await;
    eventually("what was dropped is stored without a restart and without an edit", TIMEOUT, async || {
        let now = env.services().get("web").await.unwrap();
        if available(&now) { Ok(()) } else { Err(format!("{:?}", now.status)) }
    })
    .await;
    env.restart().await;
    let mark = env.cluster.audit_offset();
    env.ready("web").await;
    env.wait_until_idle().await;
    let _ = env.requests_since(mark);
    assert!(!env.operator.log().contains("older than the operator"));
}
