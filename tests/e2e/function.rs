//! Functions: built by Tekton's own controllers, served by Knative's, in one trace.

use std::collections::BTreeSet;

use elpio_cluster::{eventually, suite::StepTimer, trace_tree};
use elpio_operator::api::{ElpioFunction, condition::Condition};
use serde_json::{Value, json};

use crate::environment::{Environment, TIMEOUT};

fn git(name: &str, revision: &str) -> Value {
    json!({"source": {"git": {"url": "https://git.example/shop/cart.git", "revision": revision}}, "runtime": "python",
        "image": format!("registry.example/shop/{name}")})
}

async fn phase(environment: &Environment, name: &str, phase: &str) -> ElpioFunction {
    eventually(&format!("{name} is {phase}"), TIMEOUT, async || {
        let object = environment.functions().get(name).await.map_err(|error| error.to_string())?;
        let status =
            object.status.as_ref().filter(|status| status.observed_generation == object.metadata.generation);
        if status.and_then(|status| status.phase).is_some_and(|now| format!("{now:?}") == phase) {
            Ok(object)
        } else {
            Err(serde_json::to_string_pretty(&object.status).unwrap())
        }
    })
    .await
}

fn condition(object: &ElpioFunction, kind: &str) -> Condition {
    object.status.as_ref().unwrap().conditions.iter().find(|it| it.type_ == kind).unwrap().clone()
}

/// The image by digest that Knative serves.
async fn served(environment: &Environment, name: &str) -> String {
    let service = environment.knative().get(name).await.unwrap();
    service.data.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str).unwrap().to_owned()
}

pub async fn built_served_rebuilt_and_one_trace() {
    let environment = Environment::new("build").await;
    let mut clock = StepTimer::start("function::built_served_rebuilt_and_one_trace");
    environment.apply("ElpioFunction", "cart", &git("cart", "v1")).await;
    let archive = json!({"source": {"archive": "https://files.example/cart.tar.gz"}, "runtime": "go", "image": "registry.example/shop/archive"});
    environment.apply("ElpioFunction", "archive", &archive).await;
    let ready = phase(&environment, "cart", "Ready").await;
    clock.step("built from git by Tekton, served by Knative");
    let first = served(&environment, "cart").await;
    let status = ready.status.unwrap();
    assert_eq!((status.image.as_deref(), first.contains("@sha256:")), (Some(first.as_str()), true));
    assert_eq!(
        status.url,
        Some(format!("http://cart.{}.apps.example.com", environment.namespace)),
        "the engine's own"
    );
    phase(&environment, "archive", "Ready").await;
    clock.step("built from an archive");
    let once = ["BuildStarted", "BuildSucceeded", "Reconciled", "Progressing", "Ready"]
        .map(|reason| format!("Normal {reason}"));
    let once: Vec<(&str, i32)> = once.iter().map(|reported| (reported.as_str(), 1)).collect();
    environment.expect_events("ElpioFunction", "cart", &once).await;
    one_tree(&environment, &status.rollout.unwrap().trace_id.unwrap()).await;
    clock.step("its spans are one tree");

    environment.apply("ElpioFunction", "cart", &git("cart", "v2")).await;
    phase(&environment, "cart", "Building").await;
    assert_eq!(served(&environment, "cart").await, first, "the last good build serves meanwhile");
    phase(&environment, "cart", "Ready").await;
    clock.step("rebuilt and rolled out");
    assert_ne!(served(&environment, "cart").await, first);
}

/// Every span but the root has its parent among them.
async fn one_tree(environment: &Environment, trace: &str) {
    let otlp = &environment.env.otlp;
    for name in
        ["rollout ElpioFunction", "BUILD cart", "task build", "rollout ElpioService", "apply KnativeService"]
    {
        otlp.wait_for_span(name, TIMEOUT, |span| span.trace_id == trace && span.name == name).await;
    }
    // Those of Tekton follow their parents' ends.
    let loose =
        eventually("every span has its parent, and Tekton's own are among them", TIMEOUT, async || {
            let spans = otlp.trace(trace);
            let ids: BTreeSet<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
            let loose: Vec<_> = spans
                .iter()
                .filter(|span| !ids.contains(span.parent_id.as_str()))
                .map(|span| span.name.clone())
                .collect();
            // Tekton exports its own spans in batches.
            let is_tekton = |name: &str| name.starts_with("PipelineRun") || name.starts_with("TaskRun");
            if loose.len() == 1 && spans.iter().any(|span| is_tekton(&span.name)) {
                Ok(loose)
            } else {
                Err(format!("{loose:?} in\n{}", trace_tree::render(&spans, false)))
            }
        })
        .await;
    assert_eq!(loose, ["rollout ElpioFunction"]);
}

pub async fn a_build_that_fails_is_named() {
    let environment = Environment::new("fail").await;
    let mut clock = StepTimer::start("function::a_build_that_fails_is_named");
    environment.apply("ElpioFunction", "cart", &git("cart", "kwok-fail")).await;
    let failed = phase(&environment, "cart", "BuildFailed").await;
    clock.step("the build failed");
    let reported = condition(&failed, "BuildReady");
    assert_eq!((reported.status.as_str(), reported.reason.as_str()), ("False", "BuildFailed"));
    // Word for word what Tekton says of the task.
    assert!(reported.message.contains("step fetch: exit code 1"), "{reported:?}");
    environment
        .expect_events("ElpioFunction", "cart", &[("Normal BuildStarted", 1), ("Warning BuildFailed", 1)])
        .await;

    environment.apply("ElpioFunction", "cart", &git("cart", "v1")).await;
    phase(&environment, "cart", "Ready").await;
    clock.step("mended, built and served");
    let good = served(&environment, "cart").await;
    environment.apply("ElpioFunction", "cart", &git("cart", "kwok-fail")).await;
    phase(&environment, "cart", "BuildFailed").await;
    clock.step("broken again");
    assert_eq!(served(&environment, "cart").await, good, "the last good build still serves");
}
