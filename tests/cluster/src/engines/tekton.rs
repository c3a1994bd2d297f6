//! Tekton Pipelines: its controller and webhook from its module, its configuration as it ships it, and what
//! its simulated pods do.
//!
//! | annotation of a `PipelineRun` (Tekton copies them to pods) | effect |
//! |---|---|
//! | `kwok.elpio.io/fail: TASK` | that task fails |
//! | `kwok.elpio.io/step: STEP` | this step of it; else the first with `kwok-fail` in it, else the first |
//! | `kwok.elpio.io/cause: TEXT` | that step's result `CAUSE` |
//! | `kwok.elpio.io/hold: TASK` | that task runs until [`release`] says how it ends |
//! | `kwok.elpio.io/exit-code: "51"` | of a step that fails; else 1 |
//! | `kwok.elpio.io/results: '{"NAME": "value"}'` | results; else a digest for a name with `DIGEST` in it, and some text |

use std::path::Path;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Client,
    api::{Api, ListParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use super::{Host, START, admission::Admission};
use crate::{
    components::{Component, module_folder},
    manifest,
    process::{Process, free_port},
    wait::eventually,
};

const MODULE: (&str, &str) = ("github.com/tektoncd/pipeline", "v1.0.0");
pub(super) const MODULES: [(&str, &str); 1] = [MODULE];
pub(super) const COMPONENTS: [Component; 2] = [CONTROLLER, WEBHOOK];
const CONTROLLER: Component =
    Component::plain("tekton-controller", "tekton", "github.com/tektoncd/pipeline/cmd/controller");
const WEBHOOK: Component =
    Component::plain("tekton-webhook", "tekton", "github.com/tektoncd/pipeline/cmd/webhook");

const NAMESPACE: &str = "tekton-pipelines";
const SERVICE: &str = "tekton-pipelines-webhook";
const MUTATING: &str = "webhook.pipeline.tekton.dev";
const VALIDATING: &str = "validation.webhook.pipeline.tekton.dev";

/// A pod's own annotation goes before all, so that what is held can be released.
const END: &str = "kwok.elpio.io/end";
const OUTCOME: &str = r#"
    (.metadata.annotations // {}) as $said
    | (.metadata.labels["tekton.dev/pipelineTask"] // "-") as $task
    | ([.spec.containers[] | select(.name | startswith("step-")) | .image, .args[]?, .env[]?.value] | map(strings) | join(" ")) as $given
    | $said["kwok.elpio.io/end"] // (
        if $said["kwok.elpio.io/hold"] == $task or ($given | contains("kwok-hold")) then "hold"
        elif $said["kwok.elpio.io/fail"] == $task or ($given | contains("kwok-fail")) then "fail"
        else "succeed" end)"#;

/// How a held task ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All its steps succeed.
    Succeed,
    /// One of its steps fails.
    Fail,
}

/// Ends the held tasks among the pods with these labels; waits until there is one.
///
/// # Panics
/// When none comes, or the API server refuses.
pub async fn release(client: &Client, namespace: &str, labels: &str, end: End) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let value = if end == End::Succeed { "succeed" } else { "fail" };
    let patch = Patch::Merge(json!({"metadata": {"annotations": {END: value}}}));
    eventually(&format!("a pod with {labels} runs, to be released"), START, async || {
        let running =
            |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
        let held =
            pods.list(&ListParams::default().labels(labels)).await.map_err(|error| error.to_string())?;
        let names: Vec<String> = held
            .items
            .iter()
            .filter(|pod| running(pod))
            .filter_map(|pod| pod.metadata.name.clone())
            .collect();
        for name in &names {
            pods.patch(name, &PatchParams::default(), &patch).await.map_err(|error| error.to_string())?;
        }
        if names.is_empty() {
            Err(format!("{} pods, none of them running", held.items.len()))
        } else {
            Ok(())
        }
    })
    .await;
}

/// Makes the controller send its spans by OTLP over HTTP to this base URL, until it is told another; it
/// follows a moment later.
///
/// # Panics
/// When the API server refuses.
pub async fn trace_to(client: &Client, endpoint: &str) {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let patch =
        Patch::Merge(json!({"data": {"enabled": "true", "endpoint": format!("{endpoint}/v1/traces")}}));
    maps.patch("config-tracing", &PatchParams::default(), &patch)
        .await
        .unwrap_or_else(|error| panic!("config-tracing: {error}"));
}

pub(super) fn stages() -> String {
    let outcome = Value::from(OUTCOME.trim()).to_string();
    include_str!("../../stages/tekton.yaml").replace("{key: OUTCOME,", &format!("{{key: {outcome},"))
}

pub(super) async fn start(host: &Host<'_>) -> Vec<Process> {
    let module = module_folder(MODULE.0, MODULE.1).unwrap_or_else(|error| panic!("{error}"));
    let config = module.join("config");
    configure(&host.client, &config).await;
    let admission =
        Admission { client: &host.client, namespace: NAMESPACE, service: SERVICE, port: free_port() };
    admission.direct(manifest::read(&config.join("500-webhooks.yaml"))).await;
    host.probes_port().await;
    let mut webhook = spawn_webhook(host, admission.port);
    let mut controller = spawn_controller(host);
    eventually("Tekton's webhook answers", START, async || {
        webhook.assert_running();
        admission.ready(MUTATING, VALIDATING).await?;
        webhook_answers(&host.client).await
    })
    .await;
    eventually("Tekton's controller works", START, async || {
        controller.assert_running();
        if controller.log().contains("Started workers") { Ok(()) } else { Err(controller.log_end(5)) }
    })
    .await;
    vec![controller, webhook]
}

/// Its namespace, and its configuration as it ships it. No roles: it runs as the administrator.
async fn configure(client: &Client, config: &Path) {
    for object in manifest::read::<DynamicObject>(&config.join("100-namespace")) {
        manifest::apply(client, &object).await;
    }
    let objects = manifest::read::<DynamicObject>(config);
    let maps =
        objects.iter().filter(|object| object.types.as_ref().is_some_and(|types| types.kind == "ConfigMap"));
    futures::future::join_all(maps.map(|map| manifest::apply(client, map))).await;
}

/// Whether what it fills in is there.
async fn webhook_answers(client: &Client) -> Result<(), String> {
    let run = json!({
        "apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "metadata": {"name": "probe"}, "spec": {"pipelineRef": {"name": "none"}},
    });
    let url = "/apis/tekton.dev/v1/namespaces/default/pipelineruns?dryRun=All";
    let request = http::Request::post(url)
        .header("content-type", "application/json")
        .body(run.to_string().into_bytes());
    let answer: Value =
        client.request(request.expect("a request")).await.map_err(|error| error.to_string())?;
    if answer["spec"]["timeouts"].is_object() { Ok(()) } else { Err(answer.to_string()) }
}

/// What both programs are told by variables; ports of their own, as they would all be fixed.
fn variables(elections: &str) -> Vec<(&'static str, String)> {
    let fixed = [
        ("SYSTEM_NAMESPACE", NAMESPACE),
        ("KUBERNETES_MIN_VERSION", "v1.28.0"),
        ("CONFIG_DEFAULTS_NAME", "config-defaults"),
        ("CONFIG_LOGGING_NAME", "config-logging"),
        ("CONFIG_OBSERVABILITY_NAME", "config-observability"),
        ("CONFIG_FEATURE_FLAGS_NAME", "feature-flags"),
        ("CONFIG_SPIRE", "config-spire"),
        ("CONFIG_LEADERELECTION_NAME", elections),
        ("METRICS_DOMAIN", "tekton.dev/pipeline"),
    ];
    let ports = ["PROBES_PORT", "PROFILING_PORT", "METRICS_PROMETHEUS_PORT"]
        .map(|name| (name, free_port().to_string()));
    fixed.into_iter().map(|(name, value)| (name, value.to_owned())).chain(ports).collect()
}

fn spawn_webhook(host: &Host<'_>, port: u16) -> Process {
    let mut env = variables("config-leader-election-webhook");
    env.extend([
        ("WEBHOOK_SERVICE_NAME", SERVICE.to_owned()),
        ("WEBHOOK_SECRET_NAME", "webhook-certs".to_owned()),
        ("WEBHOOK_PORT", port.to_string()),
    ]);
    host.spawn(&WEBHOOK, vec![format!("-kubeconfig={}", host.kubeconfig()), "-disable-ha".to_owned()], &env)
}

fn spawn_controller(host: &Host<'_>) -> Process {
    let mut args = vec![
        format!("-kubeconfig={}", host.kubeconfig()),
        "-disable-ha".to_owned(),
        "-kube-api-qps=100".to_owned(),
        "-kube-api-burst=200".to_owned(),
    ];
    // Nothing is ever pulled: the names alone are wanted.
    for flag in [
        "entrypoint-image",
        "nop-image",
        "sidecarlogresults-image",
        "workingdirinit-image",
        "shell-image",
        "shell-image-win",
    ] {
        args.push(format!("-{flag}=registry.example/tekton/{flag}"));
    }
    host.spawn(&CONTROLLER, args, &variables("config-leader-election-controller"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_know_every_outcome() {
        let stages: Vec<Value> = manifest::parse(&stages()).unwrap();
        let mut outcomes = Vec::new();
        for stage in &stages {
            let conditions = stage["spec"]["selector"]["matchExpressions"].as_array().unwrap();
            let outcome = conditions.iter().find(|condition| condition["key"] == OUTCOME.trim()).unwrap();
            outcomes.push(outcome["values"][0].as_str().unwrap().to_owned());
        }
        assert_eq!(outcomes, ["succeed", "fail"]);
    }
}
