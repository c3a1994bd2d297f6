//! An environment with the verbs of functions; the test itself decides what becomes of the runs.

use elpio_cluster::eventually;
use elpio_operator::api::{ElpioFunction, ElpioService, condition::Condition};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use crate::live_env::{LiveEnv, TIMEOUT};

pub const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub const OTHER: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// An environment with the verbs of functions.
pub struct Functions {
    pub env: LiveEnv,
    pub api: Api<ElpioFunction>,
    pub runs: Api<DynamicObject>,
}

pub fn spec(revision: &str) -> Value {
    json!({"source": {"git": {"url": "https://example.com/hello.git", "revision": revision}}, "runtime": "go", "image": "registry.local/hello:latest"})
}

impl Functions {
    pub async fn new(name: &str) -> Self {
        Self::on(LiveEnv::new(name).await)
    }

    pub fn on(env: LiveEnv) -> Self {
        let api = Api::namespaced(env.client.clone(), &env.namespace);
        let runs = env.any("tekton.dev/v1", "PipelineRun", "pipelineruns");
        Self { env, api, runs }
    }

    pub async fn apply(&self, spec: &Value, annotations: &Value) {
        let object = json!({"apiVersion": "elpio.io/v1alpha1", "kind": "ElpioFunction", "metadata": {"name": "hello", "annotations": annotations}, "spec": spec});
        self.api.patch("hello", &PatchParams::apply("test").force(), &Patch::Apply(object)).await.unwrap();
    }

    pub async fn phase(&self, phase: &str) -> ElpioFunction {
        eventually(&format!("hello is {phase}"), TIMEOUT, async || {
            let object = self.api.get("hello").await.map_err(|e| e.to_string())?;
            let seen = object
                .status
                .as_ref()
                .filter(|s| s.observed_generation == object.metadata.generation)
                .and_then(|s| s.phase);
            if seen.is_some_and(|p| format!("{p:?}") == phase) {
                Ok(object)
            } else {
                Err(serde_json::to_string_pretty(&object.status).unwrap())
            }
        })
        .await
    }

    /// The run of the function's current inputs, once it is there.
    pub async fn run(&self) -> DynamicObject {
        eventually("the run of the current inputs", TIMEOUT, async || {
            let object = self.api.get("hello").await.map_err(|e| e.to_string())?;
            let status = object
                .status
                .filter(|s| s.observed_generation == object.metadata.generation)
                .ok_or("not observed")?;
            let name = status.build.ok_or("no build")?;
            self.runs.get_opt(&name).await.map_err(|e| e.to_string())?.ok_or(format!("{name} is not there"))
        })
        .await
    }

    /// A run beside these, once it is there.
    pub async fn other_run(&self, known: &[String]) -> DynamicObject {
        eventually(&format!("a run beside {known:?}"), TIMEOUT, async || {
            let runs = self.runs.list(&ListParams::default()).await.map_err(|e| e.to_string())?.items;
            let names: Vec<_> = runs.iter().map(ResourceExt::name_any).collect();
            runs.into_iter().find(|run| !known.contains(&run.name_any())).ok_or(format!("{names:?}"))
        })
        .await
    }

    /// The function with this value of `elpio.io/rebuild`, or without any.
    pub async fn rebuild(&self, value: Option<&str>) {
        let patch = json!({"metadata": {"annotations": {"elpio.io/rebuild": value}}});
        self.api.patch("hello", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// The image that the published service has, once it is this.
    pub async fn serves(&self, digest: &str) {
        let is = |o: &ElpioService| o.spec.image.digest.as_deref() == Some(digest);
        eventually(&format!("the image is {digest}"), TIMEOUT, async || {
            let function = self.api.get("hello").await.map_err(|e| e.to_string())?;
            match self.env.services().get_opt("hello").await.map_err(|e| e.to_string())? {
                Some(service) if is(&service) => Ok(()),
                _ => Err(serde_json::to_string_pretty(&function.status).unwrap()),
            }
        })
        .await;
    }

    /// What Tekton would write in the end.
    pub async fn end(&self, run: &str, succeeded: &str, reason: &str, message: &str, digest: &str) {
        let status = json!({"status": {"startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:42Z",
            "conditions": [{"type": "Succeeded", "status": succeeded, "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:00:42Z"}],
            "results": [{"name": "IMAGE_DIGEST", "value": digest}]}});
        self.runs.patch_status(run, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    }

    pub async fn all_runs(&self) -> Vec<String> {
        self.runs
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .iter()
            .map(ResourceExt::name_any)
            .collect()
    }
}

pub fn condition(object: &ElpioFunction, kind: &str) -> Condition {
    object
        .status
        .as_ref()
        .unwrap()
        .conditions
        .iter()
        .find(|c| c.type_ == kind)
        .cloned()
        .unwrap_or_else(|| panic!("no {kind}"))
}
