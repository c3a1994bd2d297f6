//! The ends of builds, and the causes of failures.
#![allow(clippy::unwrap_used)]
use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::render::ChildId;

fn object(kind: &str, name: &str, status: &Value) -> DynamicObject {
    let owner = json!([{"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "name": "run", "uid": "run", "controller": true}]);
    let metadata =
        json!({"name": name, "uid": name, "ownerReferences": owner, "labels": {PIPELINE_TASK_LABEL: name}});
    serde_json::from_value(
        json!({"apiVersion": "tekton.dev/v1", "kind": kind, "metadata": metadata, "status": status}),
    )
    .unwrap()
}

fn status(from: u32, to: Option<u32>, succeeded: &str, reason: &str) -> Value {
    let at = |second: u32| format!("2026-01-01T00:00:{second:02}Z");
    let condition = json!({"type": "Succeeded", "status": succeeded, "reason": reason, "message": "m"});
    json!({"startTime": at(from), "completionTime": to.map(at), "conditions": [condition]})
}

#[test]
fn a_task_that_has_not_ended_ends_with_its_run() {
    for (reason, result) in [
        ("Cancelled", BuildResult::Cancelled),
        ("PipelineRunTimeout", BuildResult::Timeout),
        ("Failed", BuildResult::Error),
    ] {
        let run = object("PipelineRun", "run", &status(0, Some(30), "False", reason));
        let objects = [
            object("TaskRun", "fetch", &status(1, Some(9), "True", "Succeeded")),
            object("TaskRun", "build", &status(10, None, "Unknown", "Running")),
            object("TaskRun", "late", &status(11, Some(32), "False", "TaskRunCancelled")),
            object("TaskRun", "never", &json!({})),
        ];
        let grandchildren: LiveChildren = objects
            .into_iter()
            .map(|task| (ChildId::new(ChildKind::TaskRun, task.name_any()), Arc::new(task)))
            .collect();
        let end = finished(&run, &grandchildren).unwrap();
        assert_eq!(end.result, result);
        let tasks: Vec<_> = end
            .tasks
            .iter()
            .map(|t| (t.task.as_str(), t.ended.duration_since(t.started).as_secs(), t.result))
            .collect();
        assert_eq!(
            tasks,
            [("fetch", 8, BuildResult::Success), ("build", 20, result), ("late", 19, BuildResult::Cancelled)]
        );
        assert_eq!(end.tasks[1].failure_message, Some(format!("{reason}: m")));
    }
}

#[test]
fn the_failing_step_is_named_with_the_first_cause() {
    let run = object("PipelineRun", "run", &status(0, Some(30), "False", "Failed"));
    let step = |name: &str, code: i64, message: &str| json!({"name": name, "terminated": {"exitCode": code, "reason": "Error", "message": message}});
    let own = r#"[{"key": "StartedAt", "value": "now", "type": 3}]"#;
    let (fetch, detect) = (step("fetch", 0, own), step("detect", 100, own));
    let because = json!([{"name": CAUSE, "value": "cannot reach git.example: no route to host\n"}]);
    for (steps, results, reason, expected) in [
        (json!([fetch, detect, step("build", 1, own)]), json!([]), "Failed", "step detect: exit code 100: m"),
        (
            json!([fetch, step("build", 51, "out of space")]),
            json!([]),
            "Failed",
            "step build: exit code 51: out of space",
        ),
        (
            json!([fetch, step("build", 51, own)]),
            json!([]),
            "Failed",
            "step build: exit code 51: a buildpack failed to build the source: the step's log has its error",
        ),
        (
            json!([step("analyze", 32, "at https://u:p@r.test/v2/?token=c: 401")]),
            json!([]),
            "Failed",
            "step analyze: exit code 32: at https://r.test/v2/: 401",
        ),
        (
            json!([step("fetch", 1, own), step("detect", 1, own)]),
            because,
            "Failed",
            "step fetch: exit code 1: cannot reach git.example: no route to host",
        ),
        (
            json!([step("fetch", 137, own)]),
            json!([]),
            "TaskRunTimeout",
            "step fetch: TaskRunTimeout: exit code 137: m",
        ),
        (json!([step("fetch", 1, "terminated with its pod")]), json!(null), "TaskRunCancelled", "Failed: m"),
        (json!(null), json!(null), "TaskRunImagePullFailed", "task t: TaskRunImagePullFailed: m"),
    ] {
        let mut ended = status(1, Some(9), "False", reason);
        (ended["steps"], ended["results"]) = (steps, results);
        let task = object("TaskRun", "t", &ended);
        let grandchildren = LiveChildren::from([(ChildId::new(ChildKind::TaskRun, "t"), Arc::new(task))]);
        assert_eq!(failure_message(&run, &grandchildren), expected);
    }
    assert_eq!(failure_message(&run, &LiveChildren::new()), "Failed: m");
}
