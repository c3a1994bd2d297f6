//! What Tekton makes of the runs that Elpio renders.

use elpio_cluster::{
    engines::tekton::{TaskOutcome, export_traces_to, finish_task},
    eventually,
    otlp::{OtlpReceiver, Span},
    suite::StepTimer,
};
use elpio_operator::{
    api::{annotation, label},
    foreign::tekton::CANCELLED,
    render::{
        function::pipeline_run::{BUILD_TASK, IMAGE_DIGEST},
        served_build,
    },
};
use jiff::Timestamp;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::run::{Run, TIMEOUT, succeeded};

const STEPS: [&str; 7] = ["fetch", "analyze", "detect", "restore", "build", "export", "digest"];

pub async fn a_run_ends_with_the_digest_of_its_image() {
    crate::run::cluster().await;
    let mut clock = StepTimer::start("a_run_ends_with_the_digest_of_its_image");
    let run = Run::create(&json!({}), &json!({})).await;
    let status = run.ended().await;
    clock.step("the run succeeded");
    assert_eq!(
        (&succeeded(&status)["status"], &succeeded(&status)["reason"]),
        (&json!("True"), &json!("Succeeded")),
        "{status}"
    );

    let results = status["results"].as_array().unwrap();
    assert_eq!((results.len(), &results[0]["name"]), (1, &json!(IMAGE_DIGEST)), "{status}");
    let built = served_build(&run.function, &run.name, results[0]["value"].as_str());
    assert_eq!((&built.tag, &built.digest), (&None, &results[0]["value"].as_str().map(str::to_owned)));

    let task = run.task(BUILD_TASK).await.unwrap();
    assert_eq!(step_names(&task), STEPS);
    let of_function = ListParams::default().labels(&format!(
        "tekton.dev/taskRun,{}=cart,{}=python",
        label::FUNCTION,
        label::RUNTIME
    ));
    let pods = run.pods().list(&of_function).await.unwrap().items;
    assert_eq!(pods.len(), 1, "one pod carries the function's labels, and no other pod runs");
    // As the user wrote it: nothing has expanded it on the way.
    let environment: Vec<_> = pods
        .iter()
        .flat_map(|pod| &pod.spec.as_ref().unwrap().containers)
        .filter_map(|it| it.env.clone())
        .flatten()
        .collect();
    let entrypoint = environment.iter().find(|variable| variable.name == "ENTRYPOINT").unwrap();
    assert_eq!(entrypoint.value.as_deref(), run.function.inputs.entrypoint.as_deref());
}

pub async fn a_step_that_fails_is_named_with_its_reason() {
    crate::run::cluster().await;
    let mut clock = StepTimer::start("a_step_that_fails_is_named_with_its_reason");
    let changes = json!({"image": "registry.example/kwok-fail/cart"});
    let run = Run::create(&changes, &json!({"kwok.elpio.io/exit-code": "51"})).await;
    let status = run.ended().await;
    clock.step("the run failed");
    let ended = succeeded(&status);
    assert_eq!((&ended["status"], &ended["reason"]), (&json!("False"), &json!("Failed")), "{status}");
    assert!(ended["message"].as_str().unwrap().contains("Failed: 1"), "{ended}");
    assert_eq!(status["results"], Value::Null);
    let build = succeeded(&run.task(BUILD_TASK).await.unwrap());
    assert_eq!((&build["status"], &build["reason"]), (&json!("False"), &json!("Failed")));
    // The image is an argument of this step first.
    assert_eq!(build["message"], json!("\"step-analyze\" exited with code 51"));
}

pub async fn without_its_source_nothing_is_built() {
    crate::run::cluster().await;
    let mut clock = StepTimer::start("without_its_source_nothing_is_built");
    let changes =
        json!({"source": {"git": {"url": "https://git.example/cart.git", "revision": "kwok-fail"}}});
    let run = Run::create(&changes, &json!({"kwok.elpio.io/cause": "cannot reach git.example"})).await;
    let status = run.ended().await;
    clock.step("the run failed");
    assert_eq!(succeeded(&status)["reason"], "Failed", "{status}");
    let task = run.task(BUILD_TASK).await.unwrap();
    assert_eq!(succeeded(&task)["message"], json!("\"step-fetch\" exited with code 1"));
    let reasons: Vec<_> = steps(&task).iter().map(|step| step["terminationReason"].clone()).collect();
    assert!(reasons.iter().skip(1).all(|reason| *reason == "Skipped"), "{task}");
    let causes = json!([{"name": "CAUSE", "type": "string", "value": "cannot reach git.example"}]);
    assert_eq!(task["results"], causes, "{task}");
}

pub async fn a_builder_that_cannot_be_pulled_ends_the_run() {
    crate::run::cluster().await;
    let mut clock = StepTimer::start("a_builder_that_cannot_be_pulled_ends_the_run");
    let run = Run::create(&json!({"builder": "registry.example/kwok-nopull/builder"}), &json!({})).await;
    let status = run.ended().await;
    clock.step("the run failed");
    assert_eq!(succeeded(&status)["reason"], "Failed", "{status}");
    let build = succeeded(&run.task(BUILD_TASK).await.unwrap());
    assert_eq!(build["reason"], "TaskRunImagePullFailed", "{build}");
    assert!(build["message"].as_str().unwrap().contains("kwok-nopull"), "{build}");
}

pub async fn a_run_ends_when_its_time_is_over() {
    crate::run::cluster().await;
    let mut clock = StepTimer::start("a_run_ends_when_its_time_is_over");
    let run = Run::create(
        &json!({"image": "registry.example/kwok-hold/cart", "build": {"timeout": "6s"}}),
        &json!({}),
    )
    .await;
    let status = run.ended().await;
    clock.step("the run ended after its 6 s");
    let ended = succeeded(&status);
    assert_eq!(
        (&ended["status"], &ended["reason"]),
        (&json!("False"), &json!("PipelineRunTimeout")),
        "{status}"
    );
    assert!(ended["message"].as_str().unwrap().contains("within \"6s\""), "{ended}");
    let took = time(&status, "completionTime").duration_since(time(&status, "startTime"));
    assert!((6..30).contains(&took.as_secs()), "{took:?}");
}

pub async fn a_cancelled_run_leaves_nothing_behind() {
    crate::run::cluster().await;
    let mut clock = StepTimer::start("a_cancelled_run_leaves_nothing_behind");
    let run = Run::create(&json!({"image": "registry.example/kwok-hold/cart"}), &json!({})).await;
    run.runs(BUILD_TASK).await;
    clock.step("the build runs");
    run.set_status(CANCELLED).await;
    let status = run.ended().await;
    clock.step("the run was cancelled");
    let ended = succeeded(&status);
    assert_eq!((&ended["status"], &ended["reason"]), (&json!("False"), &json!("Cancelled")), "{status}");
    // Tekton says that the run has ended a moment before it says so of the task.
    eventually("the build is cancelled", TIMEOUT, async || {
        let build = succeeded(&run.task(BUILD_TASK).await.unwrap());
        if build["reason"] == "TaskRunCancelled" { Ok(()) } else { Err(build.to_string()) }
    })
    .await;
    let build = ListParams::default().labels(&run.labels(BUILD_TASK));
    eventually("the build's pod is gone", TIMEOUT, async || {
        let left = run.pods().list(&build).await.map_err(|error| error.to_string())?.items;
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    clock.step("its pod is gone");
}

pub async fn what_is_held_ends_as_asked() {
    crate::run::cluster().await;
    let mut clock = StepTimer::start("what_is_held_ends_as_it_is_told");
    let run = Run::create(
        &json!({"image": "registry.example/kwok-hold/cart"}),
        &json!({"kwok.elpio.io/step": "detect"}),
    )
    .await;
    finish_task(&run.client, &run.namespace, &run.labels(BUILD_TASK), TaskOutcome::Fail).await;
    let status = run.ended().await;
    clock.step("the run failed, as it was told");
    assert_eq!(succeeded(&status)["reason"], "Failed", "{status}");
    let task = run.task(BUILD_TASK).await.unwrap();
    assert_eq!(succeeded(&task)["message"], json!("\"step-detect\" exited with code 1"));
    let codes: Vec<_> = steps(&task).iter().map(|step| step["terminated"]["exitCode"].clone()).collect();
    assert_eq!(json!(codes), json!([0, 0, 1, 1, 1, 1, 1]));
}

pub async fn its_own_spans_join_the_trace() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";
    let client = crate::run::cluster().await.client().await;
    let receiver = OtlpReceiver::start().await;
    export_traces_to(&client, &receiver.http_endpoint()).await;
    let mut clock = StepTimer::start("its_own_spans_join_the_trace");
    // It follows its configuration when it has seen the change, so a first run may come too soon.
    let run = eventually("a run's spans arrive", TIMEOUT, async || {
        let carrier = json!({"traceparent": format!("00-{TRACE}-{PARENT}-01")}).to_string();
        let run = Run::create(&json!({}), &json!({annotation::TEKTON_SPAN_CONTEXT: carrier})).await;
        let status = run.ended().await;
        assert_eq!(succeeded(&status)["reason"], "Succeeded", "{status}");
        assert_eq!(
            status["spanContext"]["traceparent"],
            json!(format!("00-{TRACE}-{PARENT}-01")),
            "{status}"
        );
        if receiver.trace(TRACE).is_empty() {
            Err(format!("{} spans of other traces", receiver.spans().len()))
        } else {
            Ok(run)
        }
    })
    .await;
    let of_build = |span: &Span| span.trace_id == TRACE && span.name.starts_with("TaskRun");
    receiver.wait_for_span("the tasks' spans are there", TIMEOUT, of_build).await;
    clock.step("Tekton's spans are in the trace");
    let spans = receiver.trace(TRACE);
    assert!(
        spans.iter().any(|span| span.parent_id == PARENT && span.name.starts_with("PipelineRun")),
        "{spans:?}"
    );
    assert!(
        spans.iter().any(|span| span.attributes.get("pipelinerun").is_some_and(|name| *name == run.name)),
        "{spans:?}"
    );
}

fn time(status: &Value, field: &str) -> Timestamp {
    status[field].as_str().unwrap().parse().unwrap()
}

fn steps(status: &Value) -> &Vec<Value> {
    status["steps"].as_array().unwrap()
}

fn step_names(status: &Value) -> Vec<&str> {
    steps(status).iter().map(|step| step["name"].as_str().unwrap()).collect()
}
