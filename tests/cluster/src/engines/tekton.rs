//! Tekton Pipelines: controller and webhook, with the configuration that its module ships, and KWOK Stages
//! that simulate the pods of tasks. No image is ever pulled.
//!
//! | annotation of a `PipelineRun` (Tekton copies it to pods) | effect |
//! |---|---|
//! | `kwok.elpio.io/fail: TASK` | that task fails |
//! | `kwok.elpio.io/step: STEP` | this step of it; else the first with `kwok-fail` in it, else the first |
//! | `kwok.elpio.io/cause: TEXT` | that step's result `CAUSE` |
//! | `kwok.elpio.io/hold: TASK` | that task runs until [`finish_task`] ends it |
//! | `kwok.elpio.io/exit-code: "51"` | exit code of a step that fails (default 1) |
//! | `kwok.elpio.io/results: '{"NAME": "value"}'` | the task's results (default: a digest for a name with `DIGEST` in it, otherwise some text) |

use std::path::Path;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Client,
    api::{Api, ListParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use super::{Host, START_TIMEOUT, admission::Admission};
use crate::{
    components::{Component, module_dir},
    control_plane::manifest,
    eventually,
    process::{Process, free_port},
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

/// The annotation that ends a held task; it takes precedence over all others.
const OUTCOME_ANNOTATION: &str = "kwok.elpio.io/end";
/// The jq expression for a pod's outcome: `succeed`, `fail` or `hold`.
const OUTCOME: &str = r#"
    (.metadata.annotations // {}) as $annotations
    | (.metadata.labels["tekton.dev/pipelineTask"] // "-") as $task
    | ([.spec.containers[] | select(.name | startswith("step-")) | .image, .args[]?, .env[]?.value] | map(strings) | join(" ")) as $inputs
    | $annotations["kwok.elpio.io/end"] // (
        if $annotations["kwok.elpio.io/hold"] == $task or ($inputs | contains("kwok-hold")) then "hold"
        elif $annotations["kwok.elpio.io/fail"] == $task or ($inputs | contains("kwok-fail")) then "fail"
        else "succeed" end)"#;

/// How a held task ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskOutcome {
    /// All its steps succeed.
    Succeed,
    /// One of its steps fails.
    Fail,
}

/// Ends the held tasks whose pods have these labels; waits until there is at least one.
///
/// # Panics
/// If there is none in time, or the API server rejects it.
pub async fn finish_task(client: &Client, namespace: &str, labels: &str, outcome: TaskOutcome) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let value = if outcome == TaskOutcome::Succeed { "succeed" } else { "fail" };
    let patch = Patch::Merge(json!({"metadata": {"annotations": {OUTCOME_ANNOTATION: value}}}));
    eventually(&format!("a pod with labels {labels} is running"), START_TIMEOUT, async || {
        let running =
            |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
        let found =
            pods.list(&ListParams::default().labels(labels)).await.map_err(|error| error.to_string())?;
        let names: Vec<String> = found
            .items
            .iter()
            .filter(|pod| running(pod))
            .filter_map(|pod| pod.metadata.name.clone())
            .collect();
        for name in &names {
            pods.patch(name, &PatchParams::default(), &patch).await.map_err(|error| error.to_string())?;
        }
        if names.is_empty() { Err(format!("{} pods, none running", found.items.len())) } else { Ok(()) }
    })
    .await;
}

/// Makes the controller export its spans by OTLP over HTTP to this base URL; the change takes effect shortly
/// after.
///
/// # Panics
/// If the API server rejects it.
pub async fn export_traces_to(client: &Client, endpoint: &str) {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let patch =
        Patch::Merge(json!({"data": {"enabled": "true", "endpoint": format!("{endpoint}/v1/traces")}}));
    maps.patch("config-tracing", &PatchParams::default(), &patch)
        .await
        .unwrap_or_else(|error| panic!("config-tracing: {error}"));
}

pub(super) fn stages() -> String {
    let outcome = Value::from(OUTCOME.trim()).to_string();
    include_str!("../../kwok_stages/tekton.yaml").replace("{key: OUTCOME,", &format!("{{key: {outcome},"))
}

pub(super) async fn start(host: &Host<'_>) -> Vec<Process> {
    let module = module_dir(MODULE.0, MODULE.1).unwrap_or_else(|error| panic!("{error}"));
    let config = module.join("config");
    configure(&host.client, &config).await;
    let admission =
        Admission { client: &host.client, namespace: NAMESPACE, service: SERVICE, port: free_port() };
    admission.configure(manifest::read(&config.join("500-webhooks.yaml"))).await;
    host.wait_for_probe_port().await;
    let mut webhook = spawn_webhook(host, admission.port);
    let mut controller = spawn_controller(host);
    eventually("Tekton's webhook answers", START_TIMEOUT, async || {
        webhook.assert_running();
        admission.ready(MUTATING, VALIDATING).await?;
        webhook_answers(&host.client).await
    })
    .await;
    eventually("Tekton's controller is running", START_TIMEOUT, async || {
        controller.assert_running();
        if controller.log().contains("Started workers") { Ok(()) } else { Err(controller.log_tail(5)) }
    })
    .await;
    vec![controller, webhook]
}

/// Applies its namespace and its configuration. It needs no roles, because it runs as the administrator.
async fn configure(client: &Client, config: &Path) {
    for object in manifest::read::<DynamicObject>(&config.join("100-namespace")) {
        manifest::apply(client, &object).await;
    }
    let mut objects = manifest::read::<DynamicObject>(config);
    objects.retain(|object| object.types.as_ref().is_some_and(|types| types.kind == "ConfigMap"));
    for object in &mut objects {
        harden(object);
    }
    futures::future::join_all(objects.iter().map(|map| manifest::apply(client, map))).await;
}

/// What an administrator sets for namespaces with Pod Security `restricted` and with a quota: Tekton's own
/// init containers have neither a security context nor resources by default.
fn harden(map: &mut DynamicObject) {
    let amounts = "{requests: {cpu: 10m, memory: 32Mi}, limits: {cpu: 100m, memory: 64Mi}}";
    let resources =
        format!("prepare: {amounts}\nplace-scripts: {amounts}\nworking-dir-initializer: {amounts}\n");
    match map.metadata.name.as_deref() {
        Some("feature-flags") => map.data["data"]["set-security-context"] = json!("true"),
        Some("config-defaults") => {
            map.data["data"]["default-container-resource-requirements"] = json!(resources);
        }
        _ => {}
    }
}

/// Whether the webhook sets defaults.
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

/// Environment variables of both programs, including free ports instead of the fixed defaults.
fn variables(leader_election_config: &str) -> Vec<(&'static str, String)> {
    let fixed = [
        ("SYSTEM_NAMESPACE", NAMESPACE),
        ("KUBERNETES_MIN_VERSION", "v1.28.0"),
        ("CONFIG_DEFAULTS_NAME", "config-defaults"),
        ("CONFIG_LOGGING_NAME", "config-logging"),
        ("CONFIG_OBSERVABILITY_NAME", "config-observability"),
        ("CONFIG_FEATURE_FLAGS_NAME", "feature-flags"),
        ("CONFIG_SPIRE", "config-spire"),
        ("CONFIG_LEADERELECTION_NAME", leader_election_config),
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
    // The images are never pulled, but the flags are required.
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
    fn the_stages_cover_every_outcome() {
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
