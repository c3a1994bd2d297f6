//! Namespaces that enforce the Pod Security Standard `restricted`: the API server judges every pod that the
//! engines' controllers make.

use std::collections::BTreeMap;

use elpio_cluster::{Operator, eventually, progress::print, samples, suite::StepTimer};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    ResourceExt as _,
    api::{Api, ListParams, Patch, PatchParams},
};
use serde_json::json;

use crate::environment::{Environment, TIMEOUT, image, with};

const LABELS: [&str; 3] =
    ["app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/part-of"];

/// A namespace that enforces `restricted`, with an operator of its own.
async fn restricted(name: &str, pod_security: &str) -> (Environment, Operator) {
    let environment = Environment::new(name).await;
    environment.env.stop_operator();
    let label = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    let namespaces: Api<Namespace> = Api::all(environment.client.clone());
    namespaces.patch(&environment.namespace, &PatchParams::default(), &Patch::Merge(label)).await.unwrap();
    let variables = [("ELPIO_NAMESPACES", &*environment.namespace), ("ELPIO_POD_SECURITY", pod_security)];
    let operator = environment.env.spawn_operator(&variables).await;
    (environment, operator)
}

/// The pods of the namespace, by the object that they are for.
async fn pods(environment: &Environment) -> BTreeMap<String, usize> {
    let all: Api<Pod> = Api::namespaced(environment.client.clone(), &environment.namespace);
    let mut of_owner = BTreeMap::new();
    for pod in all.list(&ListParams::default()).await.unwrap().items {
        let owner = ["service", "function"]
            .into_iter()
            .find_map(|kind| Some(format!("{kind} {}", pod.labels().get(&format!("elpio.io/{kind}"))?)));
        let owner = owner.unwrap_or_else(|| panic!("{} has no owner's label", pod.name_any()));
        for label in LABELS {
            assert!(pod.labels().contains_key(label), "{owner}: {label} is not on its pod");
        }
        *of_owner.entry(owner).or_default() += 1;
    }
    of_owner
}

pub async fn enabled_runs_everything_where_restricted_is_enforced() {
    let (environment, _operator) = restricted("restricted", "enabled").await;
    let mut clock = StepTimer::start("restricted::enabled_runs_everything_where_restricted_is_enforced");
    let all = samples::read().unwrap();
    samples::apply(&environment.client, &environment.namespace, &all).await.unwrap();
    // The samples that scale to zero make no pod until somebody calls.
    let awake =
        with(&image("awake", "v1"), &json!({"engine": "keda", "port": 80, "scaling": {"minScale": 1}}));
    environment.apply("ElpioService", "awake", &awake).await;
    environment.apply("ElpioService", "low", &with(&image("low", "v1"), &json!({"port": 80}))).await;
    for name in samples::names(&all, "ElpioService").iter().map(String::as_str).chain(["awake", "low"]) {
        environment.ready(name).await;
    }
    clock.step("the services of both engines are ready");
    for name in samples::names(&all, "ElpioFunction") {
        eventually(&format!("{name} is ready"), TIMEOUT, async || {
            let status = environment.functions().get(&name).await.map_err(|error| error.to_string())?.status;
            if status.as_ref().is_some_and(|status| status.ready) {
                Ok(())
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await;
    }
    clock.step("the functions are built and ready");
    let found = pods(&environment).await;
    print(format_args!("  pods that were admitted: {found:?}"));
    for owner in [
        "service greeter",
        "service greeter-cpu",
        "service awake",
        "service low",
        "service greet-go",
        "function greet-go",
        "function greet-python",
    ] {
        assert!(found.contains_key(owner), "{owner} has no pod: {found:?}");
    }
}

pub async fn disabled_reports_the_refusal() {
    let (environment, _operator) = restricted("disabled", "disabled").await;
    let mut clock = StepTimer::start("restricted::disabled_reports_the_refusal");
    for engine in ["keda", "knative"] {
        let spec = with(&image("web", "v1"), &json!({"engine": engine, "scaling": {"minScale": 1}}));
        environment.apply("ElpioService", engine, &spec).await;
    }
    for engine in ["keda", "knative"] {
        let refused = |it: &elpio_operator::api::condition::Condition| {
            it.status == "False" && it.message.contains("violates PodSecurity \"restricted")
        };
        for kind in ["EngineReady", "Ready"] {
            let condition = environment.condition(engine, kind, refused).await;
            print(format_args!("  {engine}: {kind}=False/{}: {}", condition.reason, condition.message));
        }
        clock.step("the engine's refusal stands in the status");
    }
    assert_eq!(pods(&environment).await, BTreeMap::new(), "no pod was admitted");
}
