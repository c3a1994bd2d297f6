//! One build as its `PipelineRun` and the `TaskRun`s of it tell it. Pure.

use jiff::Timestamp;
use kube::{ResourceExt, core::DynamicObject};
use serde_json::Value;

use crate::{
    foreign::ChildKind,
    render::{
        applied::Live,
        plan::{RunState, run_state},
    },
};

/// The label by which Tekton names a task of a pipeline.
const TASK: &str = "tekton.dev/pipelineTask";

/// A run that has come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildEnd {
    /// The `PipelineRun`.
    pub run: String,
    /// Its uid.
    pub uid: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// `success`, `error` or `cancelled`.
    pub result: &'static str,
    /// Why it failed; empty when it did not.
    pub failure: String,
    /// Its tasks, in the order in which they began.
    pub tasks: Vec<TaskEnd>,
}

/// A task of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskEnd {
    /// Its name in the pipeline.
    pub task: String,
    /// The `TaskRun`.
    pub run: String,
    /// Its uid.
    pub uid: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Why it failed; `None` when it did not.
    pub failure: Option<String>,
}

fn text<'a>(object: &'a DynamicObject, pointer: &str) -> Option<&'a str> {
    object.data.pointer(pointer)?.as_str()
}

fn time(object: &DynamicObject, pointer: &str) -> Option<Timestamp> {
    text(object, pointer)?.parse().ok()
}

/// The condition `Succeeded` as (reason, message).
#[must_use]
pub fn verdict(object: &DynamicObject) -> (String, String) {
    let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array);
    let condition = conditions.and_then(|all| all.iter().find(|c| c["type"] == "Succeeded"));
    let field = |name: &str| condition.and_then(|c| c[name].as_str()).unwrap_or_default().to_owned();
    (field("reason"), field("message"))
}

/// The `TaskRun`s of a run, in the order in which they began.
fn tasks<'a>(run: &DynamicObject, details: &'a Live) -> Vec<&'a DynamicObject> {
    let of_run = |task: &&DynamicObject| task.owner_references().iter().any(|owner| Some(&owner.uid) == run.metadata.uid.as_ref());
    let mut tasks: Vec<_> =
        details.iter().filter(|(id, _)| id.kind == ChildKind::TaskRun).map(|(_, task)| &**task).filter(of_run).collect();
    tasks.sort_by_key(|task| (time(task, "/status/startTime"), task.name_any()));
    tasks
}

fn task_name(task: &DynamicObject) -> String {
    task.labels().get(TASK).cloned().unwrap_or_else(|| task.name_any())
}

/// Why a run failed: its failing task's reason and message, or the run's own where none is known.
#[must_use]
pub fn failure(run: &DynamicObject, details: &Live) -> (String, Option<String>) {
    let failed = tasks(run, details).into_iter().find(|task| run_state(task) == RunState::Failed);
    let (reason, message) = verdict(failed.unwrap_or(run));
    let name = failed.map(task_name);
    let place = name.as_ref().map(|name| format!("task {name}: ")).unwrap_or_default();
    (format!("{place}{reason}: {message}"), name)
}

/// The run's end, when it has come and its times are known.
#[must_use]
pub fn end(run: &DynamicObject, details: &Live) -> Option<BuildEnd> {
    let state = run_state(run);
    if state == RunState::Running {
        return None;
    }
    let (reason, _) = verdict(run);
    let result = match state {
        RunState::Succeeded => "success",
        _ if reason.starts_with("Cancelled") => "cancelled",
        _ => "error",
    };
    let task = |task: &DynamicObject| {
        let failed = run_state(task) == RunState::Failed;
        let (reason, message) = verdict(task);
        Some(TaskEnd {
            task: task_name(task),
            run: task.name_any(),
            uid: task.uid()?,
            started: time(task, "/status/startTime")?,
            ended: time(task, "/status/completionTime")?,
            failure: failed.then(|| format!("{reason}: {message}")),
        })
    };
    Some(BuildEnd {
        run: run.name_any(),
        uid: run.uid()?,
        started: time(run, "/status/startTime")?,
        ended: time(run, "/status/completionTime")?,
        result,
        failure: if state == RunState::Failed { failure(run, details).0 } else { String::new() },
        tasks: tasks(run, details).into_iter().filter_map(task).collect(),
    })
}
