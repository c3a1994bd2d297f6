//! No secret that a user, an engine, the API server or the environment hands to the operator comes out of it:
//! Events, statuses, spans, log records, metrics and log lines are searched, at the most talkative log level.

use elpio_cluster::{Crds, FakeStatus, Webhook, eventually, open_schema, progress::print};
use elpio_operator::api::ElpioFunction;
use k8s_openapi::api::events::v1::Event;
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use crate::{
    live_env::{LiveEnv, TIMEOUT, image, with},
    store_cases::own,
};

/// What is searched for, and where it is put.
const CANARIES: [(&str, &str); 9] = [
    ("userinfo-c4f1", "user and password of a git URL, older than the schema"),
    ("query-c4f2", "query of an archive's URL"),
    ("plain-c4f3", "query of a URL that is refused, older than the schema"),
    ("header-c4f4", "header of the exporter"),
    ("env-c4f5", "value of a variable"),
    ("undecodable-c4f6", "value of a variable in an object that cannot be decoded"),
    ("engine-c4f7", "URL in the message of an engine"),
    ("webhook-c4f8", "URL in the answer of an admission webhook"),
    ("tekton-c4f9", "URLs in the messages and results of Tekton"),
];

/// What nobody hides: its absence would mean that nothing was searched.
const PLANTED: &str = "planted-5e1d";

/// The same in metrics, which name no object.
fn planted(kind: &str) -> &'static str {
    if ["metrics", "pages"].contains(&kind) { "ElpioFunction" } else { PLANTED }
}

fn function(source: &Value, image: &str) -> Value {
    json!({"source": source, "runtime": "go", "image": image, "env": [
        {"name": "AUTHORIZATION", "value": "Bearer env-c4f5"}, {"name": "TOKEN", "value": "env-c4f5"}]})
}

async fn create(env: &LiveEnv, kind: &str, name: &str, spec: &Value) {
    let api = env.any("elpio.io/v1alpha1", kind, &format!("{}s", kind.to_lowercase()));
    let object =
        json!({"apiVersion": "elpio.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    // The looser schema holds a moment after it was written.
    eventually(&format!("{kind} {name} is created"), TIMEOUT, async || {
        api.create(&PostParams::default(), &object).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

/// Waits until a condition of an object has this reason.
async fn wait_for(env: &LiveEnv, kind: &str, name: &str, condition: &str, reason: &str) {
    let api = env.any("elpio.io/v1alpha1", kind, &format!("{}s", kind.to_lowercase()));
    let is = |object: &DynamicObject| {
        let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array);
        conditions.into_iter().flatten().any(|it| it["type"] == condition && it["reason"] == reason)
    };
    env.object(&api, name, &format!("{condition}/{reason}"), is).await;
}

/// A build that fails as Tekton would report it, with the URL in each of its messages.
async fn fail_build(env: &LiveEnv, name: &str) {
    let functions: Api<ElpioFunction> = Api::namespaced(env.client.clone(), &env.namespace);
    let build = eventually("the build begins", TIMEOUT, async || {
        let status = functions.get(name).await.map_err(|error| error.to_string())?.status;
        status.and_then(|status| status.build).ok_or_else(|| "no build".to_owned())
    })
    .await;
    let (runs, tasks) = (
        env.any("tekton.dev/v1", "PipelineRun", "pipelineruns"),
        env.any("tekton.dev/v1", "TaskRun", "taskruns"),
    );
    let run = env.object(&runs, &build, "created", |_| true).await;
    let url = "unable to access 'https://tekton-c4f9:tekton-c4f9@git.example/x?token=tekton-c4f9/': 403";
    let ended = |results: Value, steps: Value| {
        json!({"status": {"podName": "pod", "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:42Z", "results": results, "steps": steps,
            "conditions": [{"type": "Succeeded", "status": "False", "reason": "Failed", "message": url, "lastTransitionTime": "2026-01-01T00:00:42Z"}]}})
    };
    let owner = json!([{"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "name": build, "uid": run.uid(), "controller": true}]);
    let labels = json!({"elpio.io/function": name, "app.kubernetes.io/managed-by": "elpio", "tekton.dev/pipelineTask": "build"});
    let task = json!({"apiVersion": "tekton.dev/v1", "kind": "TaskRun",
        "metadata": {"name": build, "labels": labels, "ownerReferences": owner}, "spec": {"taskRef": {"name": "build"}}});
    tasks.create(&PostParams::default(), &serde_json::from_value(task).unwrap()).await.unwrap();
    let step = json!([{"name": "fetch", "terminated": {"exitCode": 1, "reason": "Error", "message": url}}]);
    let cause = json!([{"name": "CAUSE", "type": "string", "value": url}]);
    for (api, status) in [(&tasks, ended(cause, step)), (&runs, ended(json!([]), json!([])))] {
        api.patch_status(&build, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    }
}

/// What the operator let out, by its kind.
async fn documents(env: &LiveEnv) -> Vec<(&'static str, Vec<String>)> {
    let all = ListParams::default();
    let events: Api<Event> = Api::namespaced(env.client.clone(), &env.namespace);
    let events = events.list(&all).await.unwrap().items;
    let mut statuses = Vec::new();
    for kind in ["ElpioService", "ElpioFunction"] {
        let api = env.any("elpio.io/v1alpha1", kind, &format!("{}s", kind.to_lowercase()));
        let objects = api.list(&all).await.unwrap().items;
        statuses
            .extend(objects.iter().map(|object| format!("{} {}", object.name_any(), object.data["status"])));
    }
    let mut pages = vec![env.operator.metrics("application/openmetrics-text").await];
    for path in ["/readyz", "/livez", "/version"] {
        pages.push(env.operator.get(path).await.unwrap().1);
    }
    vec![
        ("Events", events.iter().map(|event| serde_json::to_string(event).unwrap()).collect()),
        ("statuses", statuses),
        ("spans", env.otlp.spans().iter().map(|span| format!("{span:?}")).collect()),
        ("log records", env.otlp.logs().iter().map(|log| format!("{log:?}")).collect()),
        ("metrics", env.otlp.metrics().iter().map(|metrics| format!("{metrics:?}")).collect()),
        ("pages", pages),
        ("log lines", env.operator.log().lines().map(str::to_owned).collect()),
    ]
}

fn hits<'a>(documents: &'a [String], text: &str) -> Vec<&'a str> {
    documents.iter().map(String::as_str).filter(|document| document.contains(text)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_canary_comes_out() {
    let cluster = own(Crds::ALL.to_vec()).await;
    for name in ["elpioservices.elpio.io", "elpiofunctions.elpio.io"] {
        open_schema(&cluster.client().await, name).await;
    }
    let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20header-c4f4");
    let variables = [("ELPIO_LOG", "trace,kube_client::client=trace"), headers];
    let env = LiveEnv::on(cluster, PLANTED, &cluster.kubeconfig(), &variables).await;
    let webhook = Webhook::start(env.client.clone(), &env.namespace).await;
    let refusal = "refused by https://webhook-c4f8:webhook-c4f8@policy.example/?key=webhook-c4f8";
    webhook.refuse("domainmappings.serving.knative.dev", 422, refusal);
    let message =
        "cannot pull https://engine-c4f7:engine-c4f7@registry.example/v2/?sig=engine-c4f7".to_owned();
    let failed = FakeStatus::NotReady { reason: "RevisionFailed".into(), message };
    env.engine.set_status("Service", "failing", failed);

    let git = |url: &str| json!({"git": {"url": url}});
    let userinfo = git("https://userinfo-c4f1:userinfo-c4f1@git.example/x.git");
    create(&env, "ElpioFunction", "userinfo", &function(&userinfo, "registry.example/x")).await;
    let plain = json!({"archive": "http://files.example/x.zip?X-Amz-Signature=plain-c4f3"});
    create(
        &env,
        "ElpioFunction",
        "plain",
        &function(&plain, "https://plain-c4f3:plain-c4f3@registry.example/x"),
    )
    .await;
    let query = json!({"archive": "https://files.example/x.zip?X-Amz-Signature=query-c4f2#query-c4f2"});
    create(&env, "ElpioFunction", PLANTED, &function(&query, "registry.example/x")).await;
    let variables = json!({"env": [{"name": "TOKEN", "value": "env-c4f5"}]});
    create(&env, "ElpioService", "failing", &with(image("v1"), &variables)).await;
    let host = json!({"env": variables["env"], "ingress": {"host": "canary.apps.example.org"}});
    create(&env, "ElpioService", "refused", &with(image("v1"), &host)).await;
    let undecodable = json!({"port": "undecodable-c4f6", "env": [{"name": 7, "value": "undecodable-c4f6"}]});
    create(&env, "ElpioService", "undecodable", &with(image("v1"), &undecodable)).await;

    fail_build(&env, PLANTED).await;
    for (kind, name, condition, reason) in [
        ("ElpioFunction", "userinfo", "Reconciled", "InvalidSpec"),
        ("ElpioFunction", "plain", "Reconciled", "InvalidSpec"),
        ("ElpioFunction", PLANTED, "BuildReady", "BuildFailed"),
        ("ElpioService", "failing", "EngineReady", "RevisionFailed"),
        ("ElpioService", "refused", "Reconciled", "ApplyFailed"),
        ("ElpioService", "undecodable", "Reconciled", "InvalidSpec"),
    ] {
        wait_for(&env, kind, name, condition, reason).await;
    }
    let documents = eventually("everything has been exported", TIMEOUT, async || {
        let documents = documents(&env).await;
        let missing: Vec<_> = documents
            .iter()
            .filter(|(kind, all)| hits(all, planted(kind)).is_empty())
            .map(|(kind, _)| *kind)
            .collect();
        if missing.is_empty() { Ok(documents) } else { Err(format!("what is planted is not in {missing:?}")) }
    })
    .await;
    let mut leaks = Vec::new();
    for (kind, all) in &documents {
        let there = hits(all, planted(kind)).len();
        print(format_args!("  {:6} {kind}, {} in {there}, canaries in none", all.len(), planted(kind)));
        for (canary, what) in CANARIES {
            let found = hits(all, canary);
            leaks.extend(
                found.first().map(|first| format!("{what}: in {} {kind}, first {first:.1500}", found.len())),
            );
        }
    }
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
}
