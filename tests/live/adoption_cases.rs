//! Functions and names that are taken, and runs that were restored or lost their labels.

use elpio_cluster::eventually;
use elpio_operator::api::ElpioFunction;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use crate::{
    apply_cases::{create, merge},
    live_env::{LiveEnv, TIMEOUT, version},
};

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

struct Functions {
    env: LiveEnv,
    api: Api<ElpioFunction>,
    runs: Api<DynamicObject>,
}

impl Functions {
    async fn new(name: &str) -> Self {
        let env = LiveEnv::new(name).await;
        let api = Api::namespaced(env.client.clone(), &env.namespace);
        let runs = env.any("tekton.dev/v1", "PipelineRun", "pipelineruns");
        Self { env, api, runs }
    }

    async fn apply(&self) {
        let spec = json!({"source": {"git": {"url": "https://example.com/hello.git", "revision": "v1"}}, "runtime": "go",
            "image": "registry.local/hello:v1"});
        let object = json!({"apiVersion": "elpio.io/v1alpha1", "kind": "ElpioFunction", "metadata": {"name": "hello"}, "spec": spec});
        self.api.patch("hello", &PatchParams::apply("test").force(), &Patch::Apply(object)).await.unwrap();
    }

    async fn run(&self) -> DynamicObject {
        eventually("a run", TIMEOUT, async || {
            let all = self.runs.list(&kube::api::ListParams::default()).await.map_err(|e| e.to_string())?;
            all.items.into_iter().next().ok_or_else(|| "none".to_owned())
        })
        .await
    }

    async fn succeed(&self, run: &str) {
        let status = json!({"status": {"startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:42Z",
            "conditions": [{"type": "Succeeded", "status": "True", "reason": "Succeeded", "lastTransitionTime": "2026-01-01T00:00:42Z"}],
            "results": [{"name": "IMAGE_DIGEST", "value": DIGEST}]}});
        self.runs.patch_status(run, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    }

    async fn condition(&self, kind: &str, status: &str, reason: &str) -> ElpioFunction {
        eventually(&format!("{kind}={status}/{reason}"), TIMEOUT, async || {
            let object = self.api.get("hello").await.map_err(|e| e.to_string())?;
            let conditions = object.status.as_ref().map(|s| s.conditions.clone()).unwrap_or_default();
            let is = conditions.iter().any(|c| c.type_ == kind && c.status == status && c.reason == reason);
            if is { Ok(object) } else { Err(format!("{conditions:#?}")) }
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_takes_over_no_service_of_a_user() {
    let f = Functions::new("adopt-service").await;
    f.env.apply("hello", &json!({"image": {"repository": "registry.local/hello", "tag": "v1"}})).await;
    f.env.ready("hello").await;
    f.apply().await;
    let run = f.run().await;
    f.succeed(&run.name_any()).await;
    f.condition("Reconciled", "False", "NameConflict").await;
    let service = f.env.services().get("hello").await.unwrap();
    assert!(service.owner_references().is_empty(), "{:?}", service.owner_references());
    assert_eq!(service.spec.image.digest, None);
}

/// What a backup tool restores: labels, annotations and spec, without owner and status.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_function_adopts_its_run() {
    let mut f = Functions::new("adopt-restored").await;
    f.env.operator.kill();
    f.apply().await;
    f.env.restart().await;
    let run = f.run().await;
    f.env.operator.kill();
    f.api.delete("hello", &DeleteParams::default()).await.unwrap();
    let spec: Value = run.data["spec"].clone();
    eventually("the run is collected", TIMEOUT, async || {
        match f.runs.get_opt(&run.name_any()).await.map_err(|e| e.to_string())? {
            None => Ok(()),
            Some(_) => Err("it is there".to_owned()),
        }
    })
    .await;
    let restored = json!({"apiVersion": "tekton.dev/v1", "kind": "PipelineRun",
        "metadata": {"name": run.name_any(), "labels": run.labels(), "annotations": run.annotations()}, "spec": spec});
    let restored = create(&f.runs, restored).await;
    f.apply().await;
    f.env.restart().await;
    let adopted =
        f.env.object(&f.runs, &run.name_any(), "is adopted", |o| !o.owner_references().is_empty()).await;
    assert_eq!(adopted.uid(), restored.uid());
    let owner = f.api.get("hello").await.unwrap();
    assert_eq!(Some(adopted.owner_references()[0].uid.clone()), owner.uid());
    assert_eq!(adopted.owner_references()[0].controller, Some(true));
    f.succeed(&run.name_any()).await;
    f.condition("Ready", "True", "Reconciled").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_gets_its_labels_back() {
    let f = Functions::new("adopt-label").await;
    f.apply().await;
    let run = f.run().await;
    f.condition("BuildReady", "False", "Building").await;
    let labels =
        json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null, "elpio.io/function": null}}});
    merge(&f.runs, &run.name_any(), labels).await;
    let labelled = f
        .env
        .object(&f.runs, &run.name_any(), "has its labels", |o| {
            o.labels().get("elpio.io/function").is_some_and(|name| name == "hello")
                && o.labels().get("app.kubernetes.io/managed-by").is_some_and(|by| by == "elpio")
        })
        .await;
    assert_eq!(labelled.uid(), run.uid());
    f.succeed(&run.name_any()).await;
    f.condition("Ready", "True", "Reconciled").await;
}

/// A run of that name that somebody else created stays theirs.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_our_label_is_left_alone() {
    let mut f = Functions::new("adopt-run").await;
    f.apply().await;
    let run = f.run().await;
    f.env.operator.kill();
    f.api.delete("hello", &DeleteParams::default()).await.unwrap();
    eventually("the run is collected", TIMEOUT, async || {
        match f.runs.get_opt(&run.name_any()).await.map_err(|e| e.to_string())? {
            None => Ok(()),
            Some(_) => Err("it is there".to_owned()),
        }
    })
    .await;
    let theirs = json!({"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "metadata": {"name": run.name_any()},
        "spec": run.data["spec"]});
    let theirs =
        f.runs.create(&PostParams::default(), &serde_json::from_value(theirs).unwrap()).await.unwrap();
    f.apply().await;
    f.env.restart().await;
    f.condition("Reconciled", "False", "NameConflict").await;
    assert_eq!(version(&f.runs.get(&run.name_any()).await.unwrap()), version(&theirs));
}
