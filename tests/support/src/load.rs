//! A scripted load that meets every part of the operator: successes, failures of several classes, builds.

use elpio_cluster::{Webhook, eventually, webhook::Rule};
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::live_env::{LiveEnv, TIMEOUT, image, with};

const KSVC: &str = "services.serving.knative.dev";

/// Becoming ready, an edit, a failure of each of three classes and its end, a spec that only the operator can
/// refuse, a build of each fate.
pub async fn load(env: &LiveEnv) {
    let webhook = Webhook::start(env.client.clone(), &env.namespace).await;
    for name in ["one", "two", "three"] {
        env.apply(name, &image("v1")).await;
        env.ready(name).await;
    }
    env.apply("one", &image("v2")).await;
    env.ready("one").await;
    for (name, code) in [("four", 422), ("five", 503), ("six", 404)] {
        webhook.add(Rule::refuse(KSVC, code, "not today"));
        env.apply(name, &image("v1")).await;
        env.event(name, "Warning", "ReconcileFailed").await;
        webhook.clear();
        env.ready(name).await;
    }
    env.apply("seven", &with(image("v1"), &json!({"port": 8012, "env": [{"name": "PORT", "value": "1"}]})))
        .await;
    env.event("seven", "Warning", "ReconcileFailed").await;
    build(env, "built", "True").await;
    env.event("built", "Normal", "Ready").await;
    build(env, "unbuilt", "False").await;
    env.event("unbuilt", "Warning", "BuildFailed").await;
    for name in ["one", "two", "three", "four", "five", "six"] {
        env.event(name, "Normal", "Ready").await;
    }
    env.wait_until_idle().await;
}

/// A function whose build takes 42 s and ends so, as Tekton would write it.
async fn build(env: &LiveEnv, name: &str, succeeded: &str) {
    let run = begin_build(env, name).await;
    end_build(env, &run, succeeded).await;
}

/// A function, and the name of the run that builds it.
pub async fn begin_build(env: &LiveEnv, name: &str) -> String {
    let functions = env.any("elpio.io/v1alpha1", "ElpioFunction", "elpiofunctions");
    let runs = env.any("tekton.dev/v1", "PipelineRun", "pipelineruns");
    let spec = json!({"source": {"git": {"url": "https://example.com/hello.git", "revision": "v1"}}, "runtime": "go",
        "image": format!("registry.local/{name}:latest")});
    let object = json!({"apiVersion": "elpio.io/v1alpha1", "kind": "ElpioFunction", "metadata": {"name": name}, "spec": spec});
    functions.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await.unwrap();
    let run = eventually(&format!("the build of {name} is begun"), TIMEOUT, async || {
        let function = functions.get(name).await.map_err(|e| e.to_string())?;
        let run =
            function.data["status"]["build"].as_str().ok_or_else(|| function.data["status"].to_string())?;
        runs.get_opt(run).await.map_err(|e| e.to_string())?.ok_or(format!("{run} is not there"))
    })
    .await;
    run.name_any()
}

/// What Tekton would write at its end.
pub async fn end_build(env: &LiveEnv, run: &str, succeeded: &str) {
    let runs = env.any("tekton.dev/v1", "PipelineRun", "pipelineruns");
    let digest = format!("sha256:{}", "a".repeat(64));
    let reason = if succeeded == "True" { "Succeeded" } else { "Failed" };
    let status = json!({"status": {"startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:42Z",
        "conditions": [{"type": "Succeeded", "status": succeeded, "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:42Z"}],
        "results": [{"name": "IMAGE_DIGEST", "value": digest}]}});
    runs.patch_status(run, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}
