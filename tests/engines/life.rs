//! Functions under the operator and the real Tekton: their whole life, and restarts of the operator at any
//! moment of it.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher, Hasher, RandomState},
    path::Path,
    time::Duration,
};

use elpio_cluster::{
    Cluster, FakeEngineOptions, FakeEngines, Operator, OtlpReceiver, eventually, suite::StepTimer,
};
use elpio_operator::api::ElpioFunction;
use k8s_openapi::api::events::v1::Event;
use kube::{
    ResourceExt,
    api::{Api, ListParams, Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::run::{TIMEOUT, cluster};

struct Life {
    cluster: &'static Cluster,
    namespace: String,
    functions: Api<ElpioFunction>,
    runs: Api<DynamicObject>,
    events: Api<Event>,
    otlp: OtlpReceiver,
    operator: Operator,
    // What serves is not what this is about.
    _engine: FakeEngines,
}

fn start(cluster: &Cluster, namespace: &str, otlp: &OtlpReceiver) -> Operator {
    let endpoint = otlp.endpoint();
    let environment = [
        ("ELPIO_NAMESPACES", namespace),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ];
    Operator::spawn(Path::new(env!("CARGO_BIN_EXE_elpio-operator")), &cluster.kubeconfig(), &environment)
}

impl Life {
    async fn new(name: &str) -> Self {
        let cluster = cluster().await;
        let namespace = cluster.namespace(name).await;
        let client = cluster.client().await;
        let otlp = OtlpReceiver::start().await;
        let mut operator = start(cluster, &namespace, &otlp);
        operator.wait_ready().await;
        let runs = ApiResource::from_gvk(&GroupVersionKind::gvk("tekton.dev", "v1", "PipelineRun"));
        Self {
            functions: Api::namespaced(client.clone(), &namespace),
            runs: Api::namespaced_with(client.clone(), &namespace, &runs),
            events: Api::namespaced(client.clone(), &namespace),
            _engine: FakeEngines::start(
                client,
                FakeEngineOptions { namespace: Some(namespace.clone()), ..FakeEngineOptions::default() },
            ),
            cluster,
            namespace,
            otlp,
            operator,
        }
    }

    async fn apply(&self, name: &str, revision: &str, build: &Value) {
        let spec = json!({"source": {"git": {"url": "https://git.example/shop/cart.git", "revision": revision}},
            "runtime": "python", "image": format!("registry.example/shop/{name}"), "build": build});
        let object = json!({"apiVersion": "elpio.io/v1alpha1", "kind": "ElpioFunction", "metadata": {"name": name}, "spec": spec});
        self.functions.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await.unwrap();
    }

    async fn phase(&self, name: &str, phase: &str) -> ElpioFunction {
        eventually(&format!("{name} is {phase}"), TIMEOUT * 2, async || {
            let object = self.functions.get(name).await.map_err(|error| error.to_string())?;
            let status = object
                .status
                .as_ref()
                .filter(|status| status.observed_generation == object.metadata.generation);
            if status.and_then(|status| status.phase).is_some_and(|now| format!("{now:?}") == phase) {
                Ok(object)
            } else {
                Err(serde_json::to_string_pretty(&object.status).unwrap())
            }
        })
        .await
    }

    async fn digest(&self, name: &str) -> Option<String> {
        self.functions
            .get(name)
            .await
            .unwrap()
            .status
            .unwrap()
            .image
            .and_then(|image| image.split_once('@').map(|(_, digest)| digest.to_owned()))
    }

    async fn events_of(&self, name: &str) -> Vec<Event> {
        let all = self.events.list(&ListParams::default()).await.unwrap().items;
        let about = |event: &Event| {
            event.regarding.as_ref().is_some_and(|it| {
                it.name.as_deref() == Some(name) && it.kind.as_deref() == Some("ElpioFunction")
            })
        };
        all.into_iter().filter(about).collect()
    }
}

fn message(object: &ElpioFunction, kind: &str) -> String {
    object.status.as_ref().unwrap().conditions.iter().find(|it| it.type_ == kind).unwrap().message.clone()
}

pub async fn a_function_is_built_served_rebuilt_and_survives_a_failed_build() {
    let life = Life::new("life").await;
    let mut clock = StepTimer::start("a_function_is_built_served_rebuilt_and_survives_a_failed_build");
    life.apply("cart", "v1", &json!({})).await;
    life.phase("cart", "Building").await;
    let ready = life.phase("cart", "Ready").await;
    clock.step("built and served");
    let first = life.digest("cart").await.expect("by digest");
    assert!(first.starts_with("sha256:"), "{first}");
    // The whole of it is one trace, with Tekton's tasks at their true times.
    let trace = ready.status.unwrap().rollout.unwrap().trace_id.unwrap();
    let build = life
        .otlp
        .wait_for_span("the build", TIMEOUT, |span| span.name == "BUILD cart" && span.trace_id == trace)
        .await;
    let task =
        life.otlp.wait_for_span("its task", TIMEOUT, |s| s.name == "task build" && s.trace_id == trace).await;
    assert_eq!(task.parent_id, build.span_id);
    assert!(task.start >= build.start && task.end <= build.end, "the task lies within the build");
    life.otlp
        .wait_for_span("the service's apply", TIMEOUT, |span| {
            span.name == "apply KnativeService" && span.trace_id == trace
        })
        .await;

    life.apply("cart", "v2", &json!({})).await;
    life.phase("cart", "Building").await;
    assert_eq!(life.digest("cart").await.as_ref(), Some(&first), "the last good build serves meanwhile");
    life.phase("cart", "Ready").await;
    clock.step("rebuilt and rolled out");
    let second = life.digest("cart").await;
    assert_ne!(second.as_ref(), Some(&first));

    life.apply("cart", "kwok-fail", &json!({})).await;
    life.phase("cart", "BuildFailed").await;
    clock.step("a rebuild failed");
    // That its task has failed is told by another watch than that the run has.
    eventually("the task is named", TIMEOUT, async || {
        let reported = message(&life.functions.get("cart").await.unwrap(), "BuildReady");
        if reported.contains("step fetch: exit code 1") { Ok(()) } else { Err(reported) }
    })
    .await;
    assert_eq!(life.digest("cart").await, second, "and the last good build still serves");

    life.apply("cart", "kwok-hold", &json!({"timeout": "6s"})).await;
    eventually("the build times out", TIMEOUT, async || {
        let object = life.functions.get("cart").await.unwrap();
        let reported = message(&object, "BuildReady");
        if reported.contains("PipelineRunTimeout") { Ok(()) } else { Err(reported) }
    })
    .await;
    clock.step("a rebuild timed out");

    // A function of its own, since each build of one that is edited in quick succession begins later.
    life.apply("late", "kwok-hold", &json!({"timeout": "20m"})).await;
    life.phase("late", "Building").await;
    let held = life.functions.get("late").await.unwrap().status.unwrap().build.unwrap();
    life.apply("late", "v3", &json!({})).await;
    life.phase("late", "Ready").await;
    clock.step("newer inputs took the place of a running build");
    eventually("the older run is cancelled", TIMEOUT, async || {
        let run = life.runs.get(&held).await.map_err(|error| error.to_string())?;
        if run.data["status"]["conditions"][0]["reason"] == "Cancelled" {
            Ok(())
        } else {
            Err(run.data["status"].to_string())
        }
    })
    .await;
}

pub async fn twenty_restarts_at_random_moments_build_each_of_ten_functions_once() {
    const FUNCTIONS: usize = 10;
    const RESTARTS: usize = 20;
    let mut life = Life::new("restarts").await;
    let mut clock = StepTimer::start("twenty_restarts_at_random_moments_build_each_of_ten_functions_once");
    let mark = life.cluster.audit_offset();
    let names: Vec<String> = (0..FUNCTIONS).map(|n| format!("f{n}")).collect();
    let mut left = names.iter();
    for round in 0..RESTARTS {
        if round % 2 == 0
            && let Some(name) = left.next()
        {
            life.apply(name, "v1", &json!({})).await;
        }
        // No wait for a fact: the moment itself is what is tried.
        tokio::time::sleep(Duration::from_millis(50 + RandomState::new().build_hasher().finish() % 900))
            .await;
        life.operator.kill();
        life.operator = start(life.cluster, &life.namespace, &life.otlp);
    }
    life.operator.wait_ready().await;
    for name in &names {
        life.phase(name, "Ready").await;
    }
    clock.step("20 restarts, all ready");
    let runs: Vec<String> = life
        .runs
        .list(&ListParams::default())
        .await
        .unwrap()
        .items
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    assert_eq!(runs.len(), FUNCTIONS, "{runs:?}");
    // Their names follow from the inputs, so a second build would need a run that was deleted. (The audit
    // log's own count of creations does not tell: a process killed before its answer counts as a time-out,
    // whether its run was made or not.)
    let deleted =
        life.cluster.audit_since(mark).namespace(&life.namespace).resource("pipelineruns").verb("delete");
    assert!(deleted.is_empty(), "{:?}", deleted.count());
    for name in &names {
        let events = eventually("each Event is there once", TIMEOUT, async || {
            let events = life.events_of(name).await;
            let mut reported: Vec<String> =
                events.iter().map(|event| event.reason.clone().unwrap()).collect();
            reported.sort();
            // Whether there was anything to wait for between a build and its service depends on the moment.
            reported.retain(|reason| reason != "Progressing");
            if reported == ["BuildStarted", "BuildSucceeded", "Ready", "Reconciled"] {
                Ok(events)
            } else {
                Err(format!("{name}: {reported:?}"))
            }
        })
        .await;
        let traces: BTreeSet<String> =
            events.iter().map(|event| event.annotations()["elpio.io/trace-id"].clone()).collect();
        assert_eq!(traces.len(), 1, "{name}: one trace");
    }
    clock.step("each built once, each Event there, one trace each");
}
