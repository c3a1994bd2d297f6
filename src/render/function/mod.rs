//! What a function needs next: a build, a cancellation, a service. Decided from the valid spec, the status
//! and the children. Pure.

pub mod build_plan;
pub mod inputs;
pub mod pipeline_run;
pub mod published;
mod steps;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::{ResourceExt, core::DynamicObject};
use serde_json::{Value, json};

use crate::{
    api::{ElpioFunctionStatus, annotation, label},
    foreign::{
        self, ChildKind, fields,
        tekton::{CANCELLED, STOPPING},
    },
    render::{
        Child, ChildId, Defaults, Desired, Owner, ValidFunction, WriteMode,
        applied::LiveChildren,
        function::{
            build_plan::{BuildPlan, BuildState},
            pipeline_run::IMAGE_DIGEST,
        },
        pipeline_run, published_service,
    },
};

/// How soon a created or adopted run is checked again.
const ADOPTION_CHECK: SignedDuration = SignedDuration::from_secs(1);

/// The state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// The run has not finished.
    Running,
    /// The run succeeded.
    Succeeded,
    /// The run failed, timed out or was cancelled.
    Failed,
}

/// The state of a run, by its condition `Succeeded`.
#[must_use]
pub fn run_state(run: &DynamicObject) -> RunState {
    match foreign::condition(run, "Succeeded").map(|condition| fields::text(condition, "/status")) {
        Some("True") => RunState::Succeeded,
        Some("False") => RunState::Failed,
        _ => RunState::Running,
    }
}

/// The digest in a run's results.
#[must_use]
pub fn digest(run: &DynamicObject) -> Option<&str> {
    fields::named_value(&run.data, "/status/results", IMAGE_DIGEST)
}

/// The runs among the children, newest first.
#[must_use]
pub fn runs(live: &LiveChildren) -> Vec<&Arc<DynamicObject>> {
    let mut runs: Vec<_> =
        live.iter().filter(|(id, _)| id.kind == ChildKind::PipelineRun).map(|(_, run)| run).collect();
    runs.sort_by_key(|run| {
        std::cmp::Reverse((run.metadata.creation_timestamp.clone().map(|at| at.0), run.name_any()))
    });
    runs
}

/// The published service, if it exists.
#[must_use]
pub fn published_of<'a>(name: &str, live: &'a LiveChildren) -> Option<&'a Arc<DynamicObject>> {
    live.get(&ChildId::new(ChildKind::ElpioService, name))
}

/// The desired children of a function. `previous` is the stored status, `traceparent` its rollout's.
#[must_use]
pub fn plan(
    owner: &Owner<'_>,
    valid: &ValidFunction,
    previous: Option<&ElpioFunctionStatus>,
    live: &LiveChildren,
    traceparent: Option<&str>,
    defaults: &Defaults,
    now: Timestamp,
) -> Desired {
    let build = build_plan::decide(valid, previous, live, now);
    let mut children = existing_runs(owner, valid, &build, live);
    if build.state == BuildState::Due {
        let carrier = traceparent.map(|parent| {
            (annotation::TEKTON_SPAN_CONTEXT.to_owned(), json!({"traceparent": parent}).to_string())
        });
        let mut run = pipeline_run(owner, valid, &build.build, defaults);
        run.mode = WriteMode::CreateOnly;
        run.unhashed_annotations.extend(carrier);
        children.push(run);
    }
    if let Some(served) = &build.served {
        let carried = traceparent.map(|parent| (annotation::TRACEPARENT.to_owned(), parent.to_owned()));
        let mut service = published_service(owner, valid, served);
        service.unhashed_annotations.extend(carried);
        children.push(service);
    } else if published_of(&valid.name, live).is_some() {
        // Its annotation was removed before the status recorded a build. It serves requests, so it stays.
        children.push(Child::existing(ChildId::new(ChildKind::ElpioService, &valid.name), WriteMode::Retain));
    }
    let due_at = match build.state {
        BuildState::Delayed(at) => Some(at),
        // An adopted run may have finished earlier; the response to a write triggers no event that would show it.
        BuildState::Due => now.checked_add(ADOPTION_CHECK).ok(),
        _ => None,
    };
    Desired { children, build: Some(build), due_at, ..Desired::default() }
}

/// The runs to keep: the current one, those to cancel, and the last finished ones. All others are deleted.
fn existing_runs(
    owner: &Owner<'_>,
    valid: &ValidFunction,
    plan: &BuildPlan,
    live: &LiveChildren,
) -> Vec<Child> {
    let current = &plan.build.name;
    let current_ended =
        build_plan::find_run(current, live).is_some_and(|run| run_state(run) != RunState::Running);
    let mut finished = 0;
    let mut children = Vec::new();
    for run in runs(live) {
        let (name, state) = (run.name_any(), run_state(run));
        let is_old = name != *current && state != RunState::Running;
        finished += usize::from(is_old);
        if is_old && (finished > valid.keep || (finished == valid.keep && current_ended)) {
            continue;
        }
        let cancel = name != *current && state == RunState::Running && !is_stopping(run);
        let changes = [labels(owner, run), cancel.then(|| self::cancel(current))].into_iter().flatten();
        let patch = changes.reduce(merge);
        let mode = patch.map_or(WriteMode::Retain, WriteMode::Patch);
        children.push(Child::existing(ChildId::new(ChildKind::PipelineRun, name), mode));
    }
    children
}

/// Whether the run was cancelled or is being deleted. A pending run (`PipelineRunPending`), which a queue
/// holds back, is about to start.
fn is_stopping(run: &DynamicObject) -> bool {
    let status = fields::text(&run.data, "/spec/status");
    run.metadata.deletion_timestamp.is_some() || STOPPING.contains(&status)
}

/// A patch that restores Elpio's labels if one was removed or changed.
fn labels(owner: &Owner<'_>, run: &DynamicObject) -> Option<Value> {
    let labels = owner.labels();
    // Only the labels that the watch selects by: a run of an older version has no others.
    let selecting = [label::MANAGED_BY, owner.label.0];
    let complete = selecting.iter().all(|name| run.labels().get(*name) == labels.get(*name));
    (!complete && run.metadata.deletion_timestamp.is_none()).then(|| json!({"metadata": {"labels": labels}}))
}

/// Merges two merge patches that share no field but `metadata`.
fn merge(mut one: Value, other: Value) -> Value {
    if let (Some(one), Value::Object(other)) = (one.as_object_mut(), other) {
        for (key, value) in other {
            match (one.get_mut(&key).and_then(Value::as_object_mut), value) {
                (Some(fields), Value::Object(more)) => fields.extend(more),
                (_, value) => {
                    one.insert(key, value);
                }
            }
        }
    }
    one
}

fn cancel(by: &str) -> Value {
    json!({"metadata": {"annotations": {annotation::SUPERSEDED_BY: by}}, "spec": {"status": CANCELLED}})
}

#[cfg(test)]
#[path = "plan_test.rs"]
mod tests;
