//! Knative Serving: controller, autoscaler and webhook, with the configuration that its module ships. KWOK
//! simulates the ingress; there is no activator, so requests always go to pods directly.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Client,
    api::{Api, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use super::{Host, PROBE_PORT, START_TIMEOUT, admission::Admission};
use crate::{
    components::{Component, module_dir},
    control_plane::manifest,
    eventually,
    process::{Process, free_port, stats},
};

const SERVING: (&str, &str) = ("knative.dev/serving", "v0.48.0");
const NETWORKING: (&str, &str) = ("knative.dev/networking", "v0.0.0-20260120131110-a7cdca238a0d");
pub(super) const MODULES: [(&str, &str); 2] = [SERVING, NETWORKING];
pub(super) const COMPONENTS: [Component; 3] = [AUTOSCALER, CONTROLLER, WEBHOOK];
const AUTOSCALER: Component =
    Component::plain("knative-autoscaler", "knative", "knative.dev/serving/cmd/autoscaler");
const CONTROLLER: Component =
    Component::plain("knative-controller", "knative", "knative.dev/serving/cmd/controller");
const WEBHOOK: Component = Component::plain("knative-webhook", "knative", "knative.dev/serving/cmd/webhook");
pub(super) const STAGES: &str = include_str!("../../kwok_stages/knative.yaml");

const NAMESPACE: &str = "knative-serving";
const MUTATING: &str = "webhook.serving.knative.dev";
const VALIDATING: &str = "validation.webhook.serving.knative.dev";

pub(super) async fn start(host: &Host<'_>) -> Vec<Process> {
    configure(&host.client).await;
    let admission =
        Admission { client: &host.client, namespace: NAMESPACE, service: "webhook", port: free_port() };
    admission.configure(read(SERVING, "config/core/webhooks")).await;
    let mut webhook = spawn(
        host,
        &WEBHOOK,
        &[("WEBHOOK_NAME", "webhook".to_owned()), ("WEBHOOK_PORT", admission.port.to_string())],
    );
    // An unused address in the range of simulated pods.
    let mut autoscaler = spawn(host, &AUTOSCALER, &[("POD_IP", "10.244.255.250".to_owned())]);
    eventually("Knative's autoscaler listens", START_TIMEOUT, async || {
        autoscaler.assert_running();
        if stats::listening_ports(autoscaler.pid()).contains(&PROBE_PORT) {
            Ok(())
        } else {
            Err(autoscaler.log_tail(5))
        }
    })
    .await;
    host.probe_port.send_replace(true);
    let mut controller = spawn(host, &CONTROLLER, &[]);
    eventually("Knative's webhook answers", START_TIMEOUT, async || {
        webhook.assert_running();
        admission.ready(MUTATING, VALIDATING).await?;
        webhook_answers(&host.client).await
    })
    .await;
    for (process, log_line) in
        [(&mut autoscaler, "successfully acquired lease"), (&mut controller, "Started workers")]
    {
        eventually(&format!("{} is running", process.name()), START_TIMEOUT, async || {
            process.assert_running();
            if process.log().contains(log_line) { Ok(()) } else { Err(process.log_tail(5)) }
        })
        .await;
    }
    vec![autoscaler, controller, webhook]
}

fn read(module: (&str, &str), path: &str) -> Vec<DynamicObject> {
    let dir: PathBuf = module_dir(module.0, module.1).unwrap_or_else(|error| panic!("{error}"));
    manifest::read(&dir.join(path))
}

async fn configure(client: &Client) {
    for object in read(SERVING, "config/core/100-namespace.yaml") {
        manifest::apply(client, &object).await;
    }
    let activator = read(SERVING, "config/core/deployments/activator.yaml");
    let service = activator
        .into_iter()
        .filter(|object| object.types.as_ref().is_some_and(|types| types.kind == "Service"));
    let mut objects = read(SERVING, "config/core/configmaps");
    objects.extend(read(NETWORKING, "config/config-network.yaml"));
    objects.extend(service);
    futures::future::join_all(objects.iter().map(|object| manifest::apply(client, object))).await;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    for (name, data) in [
        // No registry can resolve a tag to a digest.
        (
            "config-deployment",
            json!({
                "queue-sidecar-image": "registry.example/knative/queue",
                "registries-skipping-tag-resolving": "registry.example,index.docker.io,docker.io,ghcr.io,gcr.io,quay.io",
            }),
        ),
        ("config-domain", json!({"apps.example.com": ""})),
        // Every namespace may use every domain.
        ("config-network", json!({"autocreate-cluster-domain-claims": "true"})),
    ] {
        let patched = maps.patch(name, &PatchParams::default(), &Patch::Merge(json!({"data": data}))).await;
        patched.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

async fn webhook_answers(client: &Client) -> Result<(), String> {
    let service = json!({
        "apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "probe"},
        "spec": {"template": {"spec": {"containers": [{"image": "registry.example/probe"}]}}},
    });
    let url = "/apis/serving.knative.dev/v1/namespaces/default/services?dryRun=All";
    let request = http::Request::post(url)
        .header("content-type", "application/json")
        .body(service.to_string().into_bytes());
    let answer: Value =
        client.request(request.expect("a request")).await.map_err(|error| error.to_string())?;
    if answer["spec"]["traffic"].is_array() { Ok(()) } else { Err(answer.to_string()) }
}

fn spawn(host: &Host<'_>, component: &Component, extra: &[(&str, String)]) -> Process {
    let fixed = [
        ("SYSTEM_NAMESPACE", NAMESPACE),
        ("CONFIG_LOGGING_NAME", "config-logging"),
        ("CONFIG_OBSERVABILITY_NAME", "config-observability"),
        ("KUBERNETES_MIN_VERSION", "v1.30.0"),
        ("POD_NAME", component.name),
    ];
    let mut env: Vec<(&str, String)> =
        fixed.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
    env.push(("PROFILING_PORT", free_port().to_string()));
    env.extend_from_slice(extra);
    host.spawn(component, vec![format!("-kubeconfig={}", host.kubeconfig())], &env)
}
