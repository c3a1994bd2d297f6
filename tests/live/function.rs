//! The life of a function on a real API server with Tekton's real definitions; the test itself decides what
//! becomes of the runs.

use elpio_cluster::eventually;
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    function_env::{DIGEST, Functions, OTHER, condition, spec},
    live_env::{TIMEOUT, reasons, summary},
    span_rows::are_of_the_table,
};

#[tokio::test(flavor = "multi_thread")]
async fn built_served_rebuilt_and_one_trace() {
    let f = Functions::new("fn-life").await;
    f.apply(&spec("v1"), &json!({})).await;
    let run = f.run().await;
    let building = f.phase("Building").await;
    let rollout = building.status.clone().unwrap().rollout.unwrap();
    let trace = rollout.trace_id.clone().unwrap();
    let carrier: Value =
        serde_json::from_str(&run.annotations()["tekton.dev/pipelinerunSpanContext"]).unwrap();
    assert_eq!(carrier["traceparent"], json!(rollout.traceparent));
    assert!(
        f.env.services().get_opt("hello").await.unwrap().is_none(),
        "no service before the build of these inputs has succeeded"
    );

    f.end(&run.name_any(), "True", "Succeeded", "", DIGEST).await;
    let ready = f.phase("Ready").await;
    let status = ready.status.clone().unwrap();
    assert_eq!(status.image.as_deref(), Some(format!("registry.local/hello@{DIGEST}").as_str()));
    assert_eq!(
        (status.image_digest.as_deref(), status.service_name.as_deref()),
        (Some(DIGEST), Some("hello"))
    );
    assert_eq!(status.url.as_deref(), Some(format!("http://hello.{}.example.com", f.env.namespace).as_str()));
    let service = f.env.services().get("hello").await.unwrap();
    assert_eq!(service.annotations()["elpio.io/build"], run.name_any());
    assert_eq!(service.annotations()["elpio.io/traceparent"], rollout.traceparent.clone().unwrap());

    // One id leads from the function's Events to the Knative Service's apply.
    let reported = [
        "Normal BuildStarted",
        "Normal BuildSucceeded",
        "Normal Reconciled",
        "Normal Progressing",
        "Normal Ready",
    ];
    f.env.expect_events("ElpioFunction", "hello", &reported).await;
    let events = f.env.events("hello").await;
    assert!(events.iter().all(|e| e.note.as_ref().unwrap().contains(&trace)), "{}", summary(&events));
    let root = f
        .env
        .otlp
        .wait_for_span("the function's root", TIMEOUT, |s| {
            s.name == "rollout ElpioFunction" && s.trace_id == trace
        })
        .await;
    let inner = f
        .env
        .otlp
        .wait_for_span("the service's root", TIMEOUT, |s| {
            s.name == "rollout ElpioService" && s.trace_id == trace
        })
        .await;
    assert_eq!(inner.parent_id, root.span_id);
    let build = f
        .env
        .otlp
        .wait_for_span("the build", TIMEOUT, |s| s.name == "BUILD hello" && s.trace_id == trace)
        .await;
    assert_eq!(
        (build.parent_id.as_str(), build.duration().as_secs(), build.attribute("cicd.pipeline.result")),
        (root.span_id.as_str(), 42, "success")
    );
    f.env
        .otlp
        .wait_for_span("the child's apply", TIMEOUT, |s| {
            s.name == "apply KnativeService" && s.trace_id == trace
        })
        .await;
    are_of_the_table(&f.env.otlp.spans());
    f.env.wait_for_metric("elpio_build_duration_seconds_count", &[("result", "success")], 1.0).await;

    // A new revision is built; meanwhile the old one serves.
    f.apply(&spec("v2"), &json!({})).await;
    let second = f.run().await;
    assert_ne!(second.name_any(), run.name_any());
    f.phase("Building").await;
    assert_eq!(f.env.services().get("hello").await.unwrap().spec.image.digest.as_deref(), Some(DIGEST));
    f.end(&second.name_any(), "True", "Succeeded", "", OTHER).await;
    f.phase("Ready").await;
    assert_eq!(f.env.services().get("hello").await.unwrap().spec.image.digest.as_deref(), Some(OTHER));

    // Env reaches the service at once, without a build.
    let mut more = spec("v2");
    more["env"] = json!([{"name": "A", "value": "1"}]);
    f.apply(&more, &json!({})).await;
    eventually("the service has the variable", TIMEOUT, async || {
        let variables = f.env.services().get("hello").await.unwrap().spec.env;
        if variables.len() == 1 { Ok(()) } else { Err(format!("{variables:?}")) }
    })
    .await;
    assert_eq!(f.all_runs().await.len(), 2);

    // A rebuild of the same inputs is a rollout of the same generation.
    let before = f.phase("Ready").await.status.unwrap().rollout.unwrap();
    f.apply(&more, &json!({"elpio.io/rebuild": "now"})).await;
    eventually("a third run", TIMEOUT, async || match f.all_runs().await.len() {
        3 => Ok(()),
        n => Err(format!("{n} runs")),
    })
    .await;
    let again = f.phase("Building").await;
    let after = again.status.unwrap().rollout.unwrap();
    assert_eq!((after.generation, after.rebuild.as_deref()), (before.generation, Some("now")));
    assert_ne!(after.trace_id, before.trace_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_build_names_the_cause_keeps_serving_and_stays_failed() {
    let f = Functions::new("fn-failed").await;
    f.apply(&spec("v1"), &json!({})).await;
    let first = f.run().await;
    f.end(&first.name_any(), "True", "Succeeded", "", DIGEST).await;
    f.phase("Ready").await;

    f.apply(&spec("bad"), &json!({})).await;
    let bad = f.run().await;
    // Its failing task, as Tekton makes it.
    let task = json!({"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "metadata": {"name": format!("{}-build", bad.name_any()), "labels": {
        "app.kubernetes.io/managed-by": "elpio", "elpio.io/function": "hello", "tekton.dev/pipelineTask": "build"},
        "ownerReferences": [{"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "name": bad.name_any(), "uid": bad.uid().unwrap(), "controller": true}]}, "spec": {}});
    let tasks = f.env.any("tekton.dev/v1", "TaskRun", "taskruns");
    let name = task["metadata"]["name"].as_str().unwrap().to_owned();
    tasks.create(&kube::api::PostParams::default(), &serde_json::from_value(task).unwrap()).await.unwrap();
    let status = json!({"status": {"podName": "hello-pod", "startTime": "2026-01-01T00:00:01Z", "completionTime": "2026-01-01T00:00:41Z",
        "conditions": [{"type": "Succeeded", "status": "False", "reason": "Failed", "message": "no buildpack groups passed detection"}]}});
    tasks.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    // Each kind has a watch of its own, and none waits for another.
    eventually("the operator has seen how the task ended", TIMEOUT, async || {
        let seen = f.env.counted("elpio_watch_events_total", &[("resource", "TaskRun")]).await;
        if seen >= 2.0 { Ok(()) } else { Err(format!("{seen} events")) }
    })
    .await;
    f.end(&bad.name_any(), "False", "Failed", "Tasks Completed: 2 (Failed: 1)", "").await;

    let failed = f.phase("BuildFailed").await;
    let (ready, build) = (condition(&failed, "Ready"), condition(&failed, "BuildReady"));
    assert_eq!(
        (ready.status.as_str(), ready.reason.as_str(), build.reason.as_str()),
        ("False", "BuildFailed", "BuildFailed")
    );
    for part in ["task build", "Failed", "no buildpack groups passed detection"] {
        assert!(build.message.contains(part), "{part}: {}", build.message);
    }
    assert_eq!(condition(&failed, "ServiceReady").status, "True", "the last good build serves");
    assert_eq!(f.env.services().get("hello").await.unwrap().spec.image.digest.as_deref(), Some(DIGEST));
    let event = f.env.event("hello", "Warning", "BuildFailed").await;
    assert!(event.note.unwrap().contains("no buildpack groups"));
    let span = f.env.otlp.wait_for_span("the failed task", TIMEOUT, |s| s.name == "task build").await;
    assert_eq!(span.status, "error");
    are_of_the_table(&f.env.otlp.spans());
    assert_eq!(
        f.env.counted("elpio_reconcile_total", &[("kind", "ElpioFunction"), ("result", "error")]).await,
        0.0,
        "a build that fails is no failed reconcile"
    );

    // Of a run and its tasks, which go together, either may be seen first.
    let seen = f.env.counted("elpio_watch_events_total", &[("resource", "TaskRun")]).await;
    tasks.delete(&name, &DeleteParams::default()).await.unwrap();
    f.env.wait_for_metric("elpio_watch_events_total", &[("resource", "TaskRun")], seen + 1.0).await;
    f.env.wait_until_idle().await;
    let still = f.phase("BuildFailed").await;
    assert!(condition(&still, "BuildReady").message.contains("no buildpack groups"), "{still:?}");

    // A failed build stays failed when its run is deleted or pruned: a pruner must not make it build for ever.
    f.runs.delete(&bad.name_any(), &DeleteParams::default()).await.unwrap();
    f.env.wait_until_deleted(&f.runs, &bad.name_any()).await;
    f.env.wait_until_idle().await;
    let still = f.phase("BuildFailed").await;
    assert!(condition(&still, "BuildReady").message.contains("no buildpack groups"), "it is remembered");
    assert_eq!(f.all_runs().await, [first.name_any()]);

    // Another value of the annotation asks for another build.
    f.apply(&spec("bad"), &json!({"elpio.io/rebuild": "1"})).await;
    let again = f.other_run(&[first.name_any()]).await;
    f.end(&again.name_any(), "True", "Succeeded", "", OTHER).await;
    f.phase("Ready").await;

    // A run that is pruned after its success is not built again.
    f.runs.delete(&again.name_any(), &DeleteParams::default()).await.unwrap();
    f.env.wait_until_deleted(&f.runs, &again.name_any()).await;
    // The watch tells the operator later than the API server the test.
    eventually("the operator has seen that the run is gone", TIMEOUT, async || {
        let message = condition(&f.phase("Ready").await, "BuildReady").message;
        if message.contains("pruned") { Ok(()) } else { Err(message) }
    })
    .await;
    f.env.wait_until_idle().await;
    assert_eq!(f.all_runs().await, [first.name_any()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_inputs_cancel_what_runs_and_history_is_kept_short() {
    let f = Functions::new("fn-history").await;
    let mut short = spec("v1");
    short["build"] = json!({"keep": 1});
    f.apply(&short, &json!({})).await;
    let first = f.run().await;
    short["source"]["git"]["revision"] = json!("v2");
    f.apply(&short, &json!({})).await;
    let second = f.run().await;
    let cancelled = f
        .env
        .object(&f.runs, &first.name_any(), "cancelled", |o| {
            o.data.pointer("/spec/status") == Some(&json!("Cancelled"))
        })
        .await;
    assert_eq!(cancelled.annotations()["elpio.io/superseded-by"], second.name_any());
    f.end(&first.name_any(), "False", "Cancelled", "cancelled", "").await;
    f.end(&second.name_any(), "True", "Succeeded", "", DIGEST).await;
    f.phase("Ready").await;
    f.env.wait_until_deleted(&f.runs, &first.name_any()).await;
    assert_eq!(f.all_runs().await, [second.name_any()]);

    // Back to the inputs whose run was cancelled and gone: they are built.
    short["source"]["git"]["revision"] = json!("v1");
    f.apply(&short, &json!({})).await;
    let again = f.run().await;
    assert_ne!(again.name_any(), first.name_any(), "it is another build");
    assert_eq!(again.annotations()["elpio.io/build-number"], "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_at_every_stage_build_once_and_publish_each_event_once() {
    let mut f = Functions::new("fn-restart").await;
    f.apply(&spec("v1"), &json!({})).await;
    f.env.operator.kill();
    f.env.restart().await;
    let run = f.run().await;
    f.phase("Building").await;
    f.env.operator.kill();
    f.env.engine.hold();
    f.end(&run.name_any(), "True", "Succeeded", "", DIGEST).await;
    f.env.restart().await;
    f.phase("Deploying").await;
    f.env.operator.kill();
    f.env.engine.release();
    f.env.restart().await;
    let ready = f.phase("Ready").await;
    assert_eq!(f.all_runs().await, [run.name_any()]);
    let expected = ["Normal BuildStarted", "Normal BuildSucceeded", "Normal Ready", "Normal Reconciled"];
    let events = eventually("each Event is there once", TIMEOUT, async || {
        let mut events = f.env.events("hello").await;
        events.retain(|e| e.regarding.as_ref().unwrap().kind.as_deref() == Some("ElpioFunction"));
        let mut reported = reasons(&events);
        reported.sort();
        // When the engine is faster than the operator's start, there was nothing to wait for.
        reported.retain(|s| s != "Normal Progressing");
        if reported == expected { Ok(events) } else { Err(summary(&events)) }
    })
    .await;
    assert!(events.iter().all(|e| e.series.is_none()), "{}", summary(&events));
    let trace = ready.status.unwrap().rollout.unwrap().trace_id.unwrap();
    assert!(events.iter().all(|e| e.metadata.annotations.as_ref().unwrap()["elpio.io/trace-id"] == trace));
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_functions_are_checked_by_the_operator_too() {
    let f = Functions::new("fn-invalid").await;
    let mut bad = spec("v1");
    bad["port"] = json!(8012);
    f.apply(&bad, &json!({})).await;
    let object = f.phase("Pending").await;
    let ready = condition(&object, "Ready");
    assert_eq!(ready.reason, "InvalidSpec");
    assert!(ready.message.contains("spec.port: "), "{}", ready.message);
    assert!(f.all_runs().await.is_empty());
}
