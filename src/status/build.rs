//! One build, read from its `PipelineRun` and the `TaskRun`s of it. Pure.

use jiff::Timestamp;
use kube::{ResourceExt, core::DynamicObject};
use serde_json::Value;

use crate::{
    api::{BuildResult, redaction::redact},
    foreign::{self, ChildKind, fields},
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

/// The reason of a task that ended because its run timed out or was cancelled.
const TASK_CANCELLED: &str = "TaskRunCancelled";

/// The reason and message of the condition `Succeeded`.
#[must_use]
pub fn succeeded_condition(object: &DynamicObject) -> (String, String) {
    let condition = foreign::condition(object, "Succeeded").unwrap_or(&Value::Null);
    let field = |pointer: &str| redact(fields::text(condition, pointer)).into_owned();
    (field("/reason"), field("/message"))
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
    tasks.sort_by_key(|task| (fields::time(&task.data, "/status/startTime"), task.name_any()));
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
    // Tekton also sets an exit code for the steps after the failed one.
    let failed = fields::list(&task.data, "/status/steps")
        .find(|step| fields::integer(step, "/terminated/exitCode").is_some_and(|code| code != 0));
    let Some(step) = failed else {
        return format!("task {}: {reason}: {message}", task_name(task));
    };
    let name = fields::text(step, "/name");
    let code = fields::integer(step, "/terminated/exitCode").unwrap_or_default();
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
    let result = fields::named_value(&task.data, "/status/results", CAUSE);
    let message = fields::non_empty_text(step, "/terminated/message")
        .filter(|text| !text.trim_start().starts_with('['));
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
    let ended = fields::time(&run.data, "/status/completionTime")?;
    Some(FinishedBuild {
        run: run.name_any(),
        uid: run.uid()?,
        started: fields::time(&run.data, "/status/startTime")?,
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
        started: fields::time(&task.data, "/status/startTime")?,
        // Never later than the run, so that the span is always the same.
        ended: fields::time(&task.data, "/status/completionTime").map_or(ended, |own| own.min(ended)),
        result,
        failure_message: (state == RunState::Failed).then(|| format!("{reason}: {message}")),
    })
}

#[cfg(test)]
#[path = "build_test.rs"]
mod tests;
