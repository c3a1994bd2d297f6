//! The faults, each real: injected where it would happen, seen through its alert, and healed. No metric is
//! written by a test.

use std::time::Duration;

use elpio_cluster::{Cluster, WatchBlackhole, Webhook, eventually, webhook::Rule};
use elpio_operator::api::ElpioFunction;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

use crate::{
    alerts::scenario::{Record, Scenario},
    live_env::{LiveEnv, TIMEOUT, image},
    permissions::User,
};

const KSVC: &str = "services.serving.knative.dev";
/// Less than the operator waits for an answer (12 s).
const SLOW_STATUS: Duration = Duration::from_secs(6);
const SLOW_CHILD: Duration = Duration::from_secs(4);

/// The operator is killed, and comes back.
pub async fn killed() -> Record {
    let mut scenario = Scenario::new("ElpioOperatorAbsent", &[]).await;
    scenario.serving("web").await;
    scenario.env.operator.kill();
    scenario.fires().await;
    scenario.env.restart().await;
    scenario.resolves().await;
    scenario.end().await
}

/// The Lease may not be written.
pub async fn no_lease() -> Record {
    let user = User::without("elpio-test-10", "coordination.k8s.io").await;
    let namespace = Cluster::shared().await.namespace("lease").await;
    let election = [("ELPIO_LEADER_ELECT", "on"), ("POD_NAMESPACE", namespace.as_str())];
    let mut scenario = Scenario::on("ElpioNoLeader", &user.kubeconfig().await, &election).await;
    scenario.fires().await;
    user.grant().await;
    scenario.resolves().await;
    scenario.serving("web").await;
    scenario.end().await
}

/// One permission is missing, and one object needs it.
pub async fn no_right() -> Record {
    let user = User::without("elpio-test-11", "serving.knative.dev").await;
    let mut scenario = Scenario::on("ElpioForbidden", &user.kubeconfig().await, &[]).await;
    scenario.env.apply("web", &image("v1")).await;
    scenario.fires().await;
    user.grant().await;
    // The object does not come back by itself for five minutes: an edit wakes it.
    scenario.env.apply("web", &image("v2")).await;
    scenario.env.ready("web").await;
    scenario.resolves().await;
    scenario.end().await
}

/// Somebody's admission webhook does not work.
pub async fn rejected() -> Record {
    let mut scenario = Scenario::new("ElpioReconcileErrors", &[]).await;
    let webhook = Webhook::start(scenario.env.client.clone(), &scenario.env.namespace).await;
    webhook.refuse(KSVC, 503, "not today");
    let names = apply_many(&scenario.env, 8).await;
    scenario.fires().await;
    webhook.clear();
    for name in &names {
        scenario.env.apply(name, &image("v2")).await;
    }
    all_ready(&scenario.env, &names).await;
    scenario.resolves().await;
    scenario.end().await
}

/// Statuses are written so slowly that those who come later wait for long.
pub async fn slow_status() -> Record {
    let mut scenario = Scenario::new("ElpioUnsettled", &[("ELPIO_CONCURRENCY", "1")]).await;
    let names = apply_many(&scenario.env, 20).await;
    all_ready(&scenario.env, &names).await;
    scenario.env.wait_until_idle().await;
    let webhook = Webhook::start(scenario.env.client.clone(), &scenario.env.namespace).await;
    webhook.add(Rule::delay("elpioservices/status", SLOW_STATUS));
    // An edit that changes no child: children that move would make the objects come again, and wait.
    let services = scenario.env.services();
    for name in &names {
        let edit = json!({"spec": {"ingress": {"issuer": {"name": "other"}}}});
        services.patch(name, &PatchParams::default(), &Patch::Merge(edit)).await.unwrap();
    }
    scenario.fires().await;
    webhook.clear();
    all_ready(&scenario.env, &names).await;
    scenario.resolves().await;
    scenario.end().await
}

/// Watches whose connection stays open and brings nothing.
pub async fn silent_watches() -> Record {
    let blackhole = WatchBlackhole::start(&Cluster::shared().await.kubeconfig()).await;
    let mut scenario = Scenario::on("ElpioWatchStale", &blackhole.kubeconfig(), &[]).await;
    scenario.serving("web").await;
    scenario.env.wait_until_idle().await;
    blackhole.block();
    scenario.fires().await;
    blackhole.unblock();
    scenario.resolves().await;
    scenario.env.apply("web", &image("v2")).await;
    scenario.env.ready("web").await;
    scenario.end().await
}

/// One slot, and children that take long to write: the objects are answered already, and lose their children.
/// A write gives its slot back after a second, so those at the end of forty wait for much longer than the alert asks.
pub async fn slow_children() -> Record {
    let mut scenario = Scenario::new("ElpioQueueSlow", &[("ELPIO_CONCURRENCY", "1")]).await;
    let names = apply_many(&scenario.env, 40).await;
    all_ready(&scenario.env, &names).await;
    scenario.env.wait_until_idle().await;
    let webhook = Webhook::start(scenario.env.client.clone(), &scenario.env.namespace).await;
    webhook.add(Rule { operation: "CREATE".to_owned(), ..Rule::delay(KSVC, SLOW_CHILD) });
    for name in &names {
        scenario.env.knative().delete(name, &DeleteParams::default()).await.unwrap();
    }
    scenario.fires().await;
    webhook.clear();
    all_ready(&scenario.env, &names).await;
    scenario.resolves().await;
    scenario.end().await
}

/// Sources that do not build.
pub async fn broken_build() -> Record {
    let mut scenario = Scenario::new("ElpioBuildsFailing", &[]).await;
    let names = ["one", "two", "three"];
    for name in names {
        build(&scenario.env, name, "v1", false).await;
    }
    scenario.fires().await;
    for name in names {
        build(&scenario.env, name, "v2", true).await;
    }
    scenario.resolves().await;
    scenario.end().await
}

/// The permission to write Events is missing.
pub async fn no_events() -> Record {
    let user = User::without("elpio-test-12", "events.k8s.io").await;
    let mut scenario = Scenario::on("ElpioEventsDropped", &user.kubeconfig().await, &[]).await;
    scenario.serving("web").await;
    scenario.fires().await;
    user.grant().await;
    scenario.env.apply("web", &image("v2")).await;
    scenario.env.ready("web").await;
    scenario.env.event("web", "Normal", "Ready").await;
    scenario.resolves().await;
    scenario.end().await
}

/// The collector is gone.
pub async fn no_collector() -> Record {
    // Metrics that cannot be pushed have an alert of their own.
    let environment = [("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"), ("OTEL_METRICS_EXPORTER", "none")];
    let mut scenario = Scenario::new("ElpioTelemetryDropped", &environment).await;
    scenario.serving("web").await;
    scenario.env.otlp.stop();
    scenario.env.apply("web", &image("v2")).await;
    scenario.fires().await;
    scenario.env.otlp.restart().await;
    scenario.env.otlp.clear();
    scenario.serving("other").await;
    scenario
        .env
        .otlp
        .wait_for_span("spans arrive again", TIMEOUT, |span| span.name == "rollout ElpioService")
        .await;
    scenario.resolves().await;
    scenario.end().await
}

/// So many services at once.
pub async fn apply_many(env: &LiveEnv, count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|index| format!("web-{index}")).collect();
    for name in &names {
        env.apply(name, &image("v1")).await;
    }
    names
}

pub async fn all_ready(env: &LiveEnv, names: &[String]) {
    for name in names {
        env.ready(name).await;
    }
}

/// A function's build of that revision, which Tekton says has ended so.
pub async fn build(env: &LiveEnv, name: &str, revision: &str, succeeds: bool) {
    let functions: Api<ElpioFunction> = Api::namespaced(env.client.clone(), &env.namespace);
    let runs = env.any("tekton.dev/v1", "PipelineRun", "pipelineruns");
    let object = json!({"apiVersion": "elpio.io/v1alpha1", "kind": "ElpioFunction", "metadata": {"name": name}, "spec": {
        "source": {"git": {"url": "https://example.com/code.git", "revision": revision}}, "runtime": "go", "image": format!("registry.local/{name}:latest")}});
    functions.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await.unwrap();
    let run = eventually("the run of these inputs", TIMEOUT, async || {
        let object = functions.get(name).await.map_err(|error| error.to_string())?;
        let status = object
            .status
            .filter(|s| s.observed_generation == object.metadata.generation)
            .ok_or("not observed")?;
        let name = status.build.ok_or("no build")?;
        runs.get_opt(&name)
            .await
            .map_err(|error| error.to_string())?
            .map(|_| name)
            .ok_or("not there".to_owned())
    })
    .await;
    let (succeeded, reason) = if succeeds { ("True", "Succeeded") } else { ("False", "Failed") };
    let status = json!({"status": {"startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:42Z",
        "conditions": [{"type": "Succeeded", "status": succeeded, "reason": reason, "message": "as the test says", "lastTransitionTime": "2026-01-01T00:00:42Z"}],
        "results": [{"name": "IMAGE_DIGEST", "value": format!("sha256:{}", "ab".repeat(32))}]}});
    runs.patch_status(&run, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}
