//! One build, read from its `PipelineRun` and the `TaskRun`s of it. Pure.

use jiff::Timestamp;
use kube::{ResourceExt, core::DynamicObject};
use serde_json::Value;

use crate::{
    api::{BuildResult, redaction::redact},
    foreign::{self, ChildKind},
    render::{
        applied::LiveChildren,
        function::{RunState, pipeline_run::CAUSE, run_state},
    },
    status::lifecycle::exit_code_meaning,
};

/// The label with the name of a task in its pipeline.
const PIPELINE_TASK_LABEL: &str = "tekton.dev/pipelineTask";

/// A run that finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedBuild {
    /// The `PipelineRun`.
    pub run: String,
    /// Its uid.
    pub uid: String,
    /// When it started.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Its result.
    pub result: BuildResult,
    /// Why it failed; empty if it did not.
    pub failure_message: String,
    /// Its tasks, by start time.
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
    /// When it started.
    pub started: Timestamp,
    /// When it ended; the run's end if Tekton has not reported the task's.
    pub ended: Timestamp,
    /// Its result.
    pub result: BuildResult,
    /// Why it failed; `None` if it did not.
    pub failure_message: Option<String>,
}

fn text<'a>(object: &'a DynamicObject, pointer: &str) -> Option<&'a str> {
    object.data.pointer(pointer)?.as_str()
}

/// The reason of a task that ended because its run timed out or was cancelled.
const TASK_CANCELLED: &str = "TaskRunCancelled";

fn time(object: &DynamicObject, pointer: &str) -> Option<Timestamp> {
    text(object, pointer)?.parse().ok()
}

/// The reason and message of the condition `Succeeded`.
#[must_use]
pub fn succeeded_condition(object: &DynamicObject) -> (String, String) {
    let condition = foreign::condition(object, "Succeeded");
    let field =
        |name: &str| redact(condition.and_then(|c| c[name].as_str()).unwrap_or_default()).into_owned();
    (field("reason"), field("message"))
}

/// The `TaskRun`s of a run, by start time.
fn tasks<'a>(run: &DynamicObject, grandchildren: &'a LiveChildren) -> Vec<&'a DynamicObject> {
    let of_run = |task: &&DynamicObject| {
        task.owner_references().iter().any(|owner| Some(&owner.uid) == run.metadata.uid.as_ref())
    };
    let mut tasks: Vec<_> = grandchildren
        .iter()
        .filter(|(id, _)| id.kind == ChildKind::TaskRun)
        .map(|(_, task)| &**task)
        .filter(of_run)
        .collect();
    tasks.sort_by_key(|task| (time(task, "/status/startTime"), task.name_any()));
    tasks
}

/// Whether the store has tasks of a run.
#[must_use]
pub fn has_tasks(run: &DynamicObject, grandchildren: &LiveChildren) -> bool {
    !tasks(run, grandchildren).is_empty()
}

fn task_name(task: &DynamicObject) -> String {
    task.labels().get(PIPELINE_TASK_LABEL).cloned().unwrap_or_else(|| task.name_any())
}

/// Why a run failed: the failed step of its failed task with the first cause; or the run's own reason and
/// message, if no task is in the store or its tasks only ended because the run did.
#[must_use]
pub fn failure_message(run: &DynamicObject, grandchildren: &LiveChildren) -> String {
    let is_cause = |task: &&DynamicObject| {
        run_state(task) == RunState::Failed && succeeded_condition(task).0 != TASK_CANCELLED
    };
    let failed = tasks(run, grandchildren).into_iter().find(is_cause);
    failed.map_or_else(
        || {
            let (reason, message) = succeeded_condition(run);
            format!("{reason}: {message}")
        },
        task_failure,
    )
}

/// Why a task failed: `step detect: exit code 100: ...` if one of its steps did.
fn task_failure(task: &DynamicObject) -> String {
    let (reason, message) = succeeded_condition(task);
    let steps = task.data.pointer("/status/steps").and_then(Value::as_array);
    // Tekton also sets an exit code for the steps after the failed one.
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
    let meaning = || exit_code_meaning(name, code).map(str::to_owned);
    let cause = cause(task, step).or_else(meaning).or(Some(message).filter(|text| !echo && !text.is_empty()));
    let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
    // The task's reason distinguishes a timeout from a failure.
    let why = if reason == "Failed" { String::new() } else { format!("{reason}: ") };
    format!("step {name}: {why}exit code {code}{cause}")
}

/// The first cause that the step reported: the result that its script writes, or else its termination
/// message, unless that is Tekton's JSON list.
fn cause(task: &DynamicObject, step: &Value) -> Option<String> {
    let results = task.data.pointer("/status/results").and_then(Value::as_array);
    let result = results
        .and_then(|results| results.iter().find(|result| result["name"] == CAUSE))
        .and_then(|result| result["value"].as_str());
    let message = step["terminated"]["message"].as_str().filter(|text| !text.trim_start().starts_with('['));
    let text = result.or(message).map(str::trim).filter(|text| !text.is_empty())?;
    Some(redact(text).into_owned())
}

/// The finished build, if the run has ended and its times are known.
#[must_use]
pub fn finished(run: &DynamicObject, grandchildren: &LiveChildren) -> Option<FinishedBuild> {
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
            failure_message(run, grandchildren)
        } else {
            String::new()
        },
        tasks: tasks(run, grandchildren)
            .into_iter()
            .filter_map(|task| finished_task(task, (state, &succeeded_condition(run)), ended))
            .collect(),
    })
}

/// The result of a failed run or task, by Tekton's reason: `Cancelled…`, `PipelineRunTimeout`,
/// `TaskRunCancelled`, `TaskRunTimeout`.
fn failure_result(reason: &str) -> BuildResult {
    if reason.contains("Cancelled") {
        BuildResult::Cancelled
    } else if reason.contains("Timeout") {
        BuildResult::Timeout
    } else {
        BuildResult::Error
    }
}

/// A finished task. It ends with its run if the run ended first: Tekton reports a run slightly before its
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
        // Never later than the run, so that the span is always the same.
        ended: time(task, "/status/completionTime").map_or(ended, |own| own.min(ended)),
        result,
        failure_message: (state == RunState::Failed).then(|| format!("{reason}: {message}")),
    })
}

#[cfg(test)]
#[path = "build_test.rs"]
mod tests;
