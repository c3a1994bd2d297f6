//! One build, read from its `PipelineRun` and the `TaskRun`s of it. Pure.

use jiff::Timestamp;
use kube::{ResourceExt, core::DynamicObject};
use serde_json::Value;

use crate::{
    api::BuildResult,
    foreign::ChildKind,
    render::{
        applied::LiveChildren,
        function::{RunState, pipeline_run::CAUSE, run_state},
    },
};

/// The label by which Tekton names a task of a pipeline.
const PIPELINE_TASK_LABEL: &str = "tekton.dev/pipelineTask";

/// A run that has come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedBuild {
    /// The `PipelineRun`.
    pub run: String,
    /// Its uid.
    pub uid: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// How it ended.
    pub result: BuildResult,
    /// Why it failed; empty when it did not.
    pub failure_message: String,
    /// Its tasks, in the order in which they began.
    pub tasks: Vec<FinishedTask>,
}

/// A task of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedTask {
    /// Its name in the pipeline.
    pub task: String,
    /// The `TaskRun`.
    pub run: String,
    /// Its uid.
    pub uid: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended; with its run, where Tekton has not reported when.
    pub ended: Timestamp,
    /// How it ended.
    pub result: BuildResult,
    /// Why it failed; `None` when it did not.
    pub failure_message: Option<String>,
}

fn text<'a>(object: &'a DynamicObject, pointer: &str) -> Option<&'a str> {
    object.data.pointer(pointer)?.as_str()
}

fn time(object: &DynamicObject, pointer: &str) -> Option<Timestamp> {
    text(object, pointer)?.parse().ok()
}

/// The condition `Succeeded` as (reason, message).
#[must_use]
pub fn succeeded_condition(object: &DynamicObject) -> (String, String) {
    let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array);
    let condition = conditions.and_then(|all| all.iter().find(|c| c["type"] == "Succeeded"));
    let field = |name: &str| condition.and_then(|c| c[name].as_str()).unwrap_or_default().to_owned();
    (field("reason"), field("message"))
}

/// The `TaskRun`s of a run, in the order in which they began.
fn tasks<'a>(run: &DynamicObject, details: &'a LiveChildren) -> Vec<&'a DynamicObject> {
    let of_run = |task: &&DynamicObject| {
        task.owner_references().iter().any(|owner| Some(&owner.uid) == run.metadata.uid.as_ref())
    };
    let mut tasks: Vec<_> = details
        .iter()
        .filter(|(id, _)| id.kind == ChildKind::TaskRun)
        .map(|(_, task)| &**task)
        .filter(of_run)
        .collect();
    tasks.sort_by_key(|task| (time(task, "/status/startTime"), task.name_any()));
    tasks
}

fn task_name(task: &DynamicObject) -> String {
    task.labels().get(PIPELINE_TASK_LABEL).cloned().unwrap_or_else(|| task.name_any())
}

/// Why a run failed: the failing step of its failing task with the first cause, or the run's own reason and
/// message where no task is known.
#[must_use]
pub fn failure_message(run: &DynamicObject, details: &LiveChildren) -> String {
    let failed = tasks(run, details).into_iter().find(|task| run_state(task) == RunState::Failed);
    failed.map_or_else(
        || {
            let (reason, message) = succeeded_condition(run);
            format!("{reason}: {message}")
        },
        task_failure,
    )
}

/// Why a task failed: `step detect: exit code 100: ...` where a step of it did.
fn task_failure(task: &DynamicObject) -> String {
    let (reason, message) = succeeded_condition(task);
    let steps = task.data.pointer("/status/steps").and_then(Value::as_array);
    // Tekton gives the steps behind the one that failed an exit code too.
    let failed = steps.and_then(|steps| {
        steps.iter().find(|step| step["terminated"]["exitCode"].as_i64().is_some_and(|code| code != 0))
    });
    let Some(step) = failed else {
        return format!("task {}: {reason}: {message}", task_name(task));
    };
    let name = step["name"].as_str().unwrap_or_default();
    let code = step["terminated"]["exitCode"].as_i64().unwrap_or_default();
    // Tekton's own message repeats the step and its exit code.
    let echo = message.starts_with(&format!("\"step-{name}\" exited with code"));
    let cause = cause(task, step).or(Some(message).filter(|text| !echo && !text.is_empty()));
    let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
    // The task's reason tells a time-out from a failure.
    let why = if reason == "Failed" { String::new() } else { format!("{reason}: ") };
    format!("step {name}: {why}exit code {code}{cause}")
}

/// The first cause as the step left it: the result of the step that fetches the source, or its termination
/// message where that is text for people. Tekton's own is a JSON list.
fn cause(task: &DynamicObject, step: &Value) -> Option<String> {
    let results = task.data.pointer("/status/results").and_then(Value::as_array);
    let result = results
        .and_then(|results| results.iter().find(|result| result["name"] == CAUSE))
        .and_then(|result| result["value"].as_str());
    let message = step["terminated"]["message"].as_str().filter(|text| !text.trim_start().starts_with('['));
    let text = result.or(message).map(str::trim).filter(|text| !text.is_empty())?;
    Some(text.to_owned())
}

/// The run's end, when it has come and its times are known.
#[must_use]
pub fn finished(run: &DynamicObject, details: &LiveChildren) -> Option<FinishedBuild> {
    let state = run_state(run);
    if state == RunState::Running {
        return None;
    }
    let (reason, _) = succeeded_condition(run);
    let result = match state {
        RunState::Succeeded | RunState::Running => BuildResult::Success,
        RunState::Failed => failure_result(&reason),
    };
    let ended = time(run, "/status/completionTime")?;
    Some(FinishedBuild {
        run: run.name_any(),
        uid: run.uid()?,
        started: time(run, "/status/startTime")?,
        ended,
        result,
        failure_message: if state == RunState::Failed {
            failure_message(run, details)
        } else {
            String::new()
        },
        tasks: tasks(run, details)
            .into_iter()
            .filter_map(|task| finished_task(task, (state, &succeeded_condition(run)), ended))
            .collect(),
    })
}

/// How a run or a task failed, by Tekton's reason: `Cancelled…`, `PipelineRunTimeout`, `TaskRunCancelled`,
/// `TaskRunTimeout`.
fn failure_result(reason: &str) -> BuildResult {
    if reason.contains("Cancelled") {
        BuildResult::Cancelled
    } else if reason.contains("Timeout") {
        BuildResult::Timeout
    } else {
        BuildResult::Error
    }
}

/// The end of a task; with its run's where the run ended first: Tekton reports a run a little earlier than its
/// tasks.
fn finished_task(
    task: &DynamicObject,
    (run, of_run): (RunState, &(String, String)),
    ended: Timestamp,
) -> Option<FinishedTask> {
    let (state, (reason, message)) = match run_state(task) {
        RunState::Running => (run, of_run.clone()),
        state => (state, succeeded_condition(task)),
    };
    let result = match state {
        RunState::Succeeded | RunState::Running => BuildResult::Success,
        RunState::Failed => failure_result(&reason),
    };
    Some(FinishedTask {
        task: task_name(task),
        run: task.name_any(),
        uid: task.uid()?,
        started: time(task, "/status/startTime")?,
        // Never later than the run, so that the span is the same whenever it is sent.
        ended: time(task, "/status/completionTime").map_or(ended, |own| own.min(ended)),
        result,
        failure_message: (state == RunState::Failed).then(|| format!("{reason}: {message}")),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::render::ChildId;

    fn object(kind: &str, name: &str, status: &Value) -> DynamicObject {
        let owner = json!([{"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "name": "run", "uid": "run", "controller": true}]);
        let metadata = json!({"name": name, "uid": name, "ownerReferences": owner, "labels": {PIPELINE_TASK_LABEL: name}});
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
            let details: LiveChildren = objects
                .into_iter()
                .map(|task| (ChildId::new(ChildKind::TaskRun, task.name_any()), Arc::new(task)))
                .collect();
            let end = finished(&run, &details).unwrap();
            assert_eq!(end.result, result);
            let tasks: Vec<_> = end
                .tasks
                .iter()
                .map(|t| (t.task.as_str(), t.ended.duration_since(t.started).as_secs(), t.result))
                .collect();
            assert_eq!(
                tasks,
                [
                    ("fetch", 8, BuildResult::Success),
                    ("build", 20, result),
                    ("late", 19, BuildResult::Cancelled)
                ]
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
            (
                json!([fetch, detect, step("build", 1, own)]),
                json!([]),
                "Failed",
                "step detect: exit code 100: m",
            ),
            (
                json!([fetch, step("build", 51, "out of space")]),
                json!([]),
                "Failed",
                "step build: exit code 51: out of space",
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
            (json!(null), json!(null), "TaskRunImagePullFailed", "task t: TaskRunImagePullFailed: m"),
        ] {
            let mut ended = status(1, Some(9), "False", reason);
            (ended["steps"], ended["results"]) = (steps, results);
            let task = object("TaskRun", "t", &ended);
            let details = LiveChildren::from([(ChildId::new(ChildKind::TaskRun, "t"), Arc::new(task))]);
            assert_eq!(failure_message(&run, &details), expected);
        }
        assert_eq!(failure_message(&run, &LiveChildren::new()), "Failed: m");
    }
}
