//! One build as its `PipelineRun` and the `TaskRun`s of it tell it. Pure.

use jiff::Timestamp;
use kube::{ResourceExt, core::DynamicObject};
use serde_json::Value;

use crate::{
    api::BuildResult,
    foreign::ChildKind,
    render::{
        applied::LiveChildren,
        function::{RunState, run_state},
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
    /// When it ended; with its run, where Tekton has not said when.
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

/// Why a run failed: its failing task's reason and message, or the run's own where none is known.
#[must_use]
pub fn failure_message(run: &DynamicObject, details: &LiveChildren) -> (String, Option<String>) {
    let failed = tasks(run, details).into_iter().find(|task| run_state(task) == RunState::Failed);
    let (reason, message) = succeeded_condition(failed.unwrap_or(run));
    let name = failed.map(task_name);
    let place = name.as_ref().map(|name| format!("task {name}: ")).unwrap_or_default();
    (format!("{place}{reason}: {message}"), name)
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
            failure_message(run, details).0
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

/// The end of a task; of one whose run ended first (Tekton says so of the run a moment before it says so of
/// its tasks), with the run's.
fn finished_task(
    task: &DynamicObject,
    (run, said): (RunState, &(String, String)),
    ended: Timestamp,
) -> Option<FinishedTask> {
    let (state, (reason, message)) = match run_state(task) {
        RunState::Running => (run, said.clone()),
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
            let tasks = [
                object("TaskRun", "fetch", &status(1, Some(9), "True", "Succeeded")),
                object("TaskRun", "build", &status(10, None, "Unknown", "Running")),
                object("TaskRun", "late", &status(11, Some(32), "False", "TaskRunCancelled")),
                object("TaskRun", "never", &json!({})),
            ];
            let details: LiveChildren = tasks
                .into_iter()
                .map(|task| (ChildId::new(ChildKind::TaskRun, task.name_any()), Arc::new(task)))
                .collect();
            let end = finished(&run, &details).unwrap();
            assert_eq!(end.result, result);
            let told: Vec<_> = end
                .tasks
                .iter()
                .map(|t| (t.task.as_str(), t.ended.duration_since(t.started).as_secs(), t.result))
                .collect();
            assert_eq!(
                told,
                [
                    ("fetch", 8, BuildResult::Success),
                    ("build", 20, result),
                    ("late", 19, BuildResult::Cancelled)
                ]
            );
            assert_eq!(end.tasks[1].failure_message, Some(format!("{reason}: m")));
        }
    }
}
