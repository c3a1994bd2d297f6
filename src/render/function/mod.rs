//! What a function needs next: a build, a cancellation, a service. Decided from the valid spec and the
//! children alone. Pure.

pub mod pipeline_run;
pub mod published;

use std::sync::Arc;

use kube::{ResourceExt, core::DynamicObject};
use serde_json::{Value, json};

use crate::{
    api::annotation,
    foreign::ChildKind,
    render::{
        BuiltImage, Child, ChildId, Defaults, Desired, Owner, ValidFunction, WriteMode,
        applied::LiveChildren, function::pipeline_run::IMAGE_DIGEST, pipeline_run, published_service,
    },
};

/// What became of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// It has not come to an end.
    Running,
    /// It succeeded.
    Succeeded,
    /// It failed, timed out or was cancelled.
    Failed,
}

/// What became of a run, by its condition `Succeeded`.
#[must_use]
pub fn run_state(run: &DynamicObject) -> RunState {
    let conditions = run.data.pointer("/status/conditions").and_then(Value::as_array);
    let status = conditions
        .and_then(|all| all.iter().find(|c| c["type"] == "Succeeded"))
        .and_then(|c| c["status"].as_str());
    match status {
        Some("True") => RunState::Succeeded,
        Some("False") => RunState::Failed,
        _ => RunState::Running,
    }
}

/// The digest that a run reported.
#[must_use]
pub fn digest(run: &DynamicObject) -> Option<&str> {
    let results = run.data.pointer("/status/results")?.as_array()?;
    results.iter().find(|result| result["name"] == IMAGE_DIGEST)?["value"].as_str()
}

/// The runs among the children, the newest first.
#[must_use]
pub fn runs(live: &LiveChildren) -> Vec<&Arc<DynamicObject>> {
    let mut runs: Vec<_> =
        live.iter().filter(|(id, _)| id.kind == ChildKind::PipelineRun).map(|(_, run)| run).collect();
    runs.sort_by_key(|run| {
        std::cmp::Reverse((run.metadata.creation_timestamp.clone().map(|at| at.0), run.name_any()))
    });
    runs
}

/// The service that was published, if it is there.
#[must_use]
pub fn published_of<'a>(name: &str, live: &'a LiveChildren) -> Option<&'a Arc<DynamicObject>> {
    live.get(&ChildId::new(ChildKind::ElpioService, name))
}

/// The image to serve: of the current inputs if their build succeeded, else of the last good build.
#[must_use]
pub fn image_to_serve(valid: &ValidFunction, live: &LiveChildren) -> Option<BuiltImage> {
    let name = valid.run_name();
    let run = live
        .get(&ChildId::new(ChildKind::PipelineRun, &name))
        .filter(|run| run_state(run) == RunState::Succeeded);
    run.map(|run| BuiltImage::from_run(valid, &name, digest(run)))
        .or_else(|| published_of(&valid.name, live).and_then(|service| BuiltImage::from_service(service)))
}

/// Whether these inputs were built and the run is no longer there: a pruner took it after its success.
#[must_use]
pub fn built_and_pruned(valid: &ValidFunction, live: &LiveChildren) -> bool {
    let name = valid.run_name();
    let serves = published_of(&valid.name, live)
        .and_then(|service| service.annotations().get(annotation::BUILD))
        == Some(&name);
    serves && !live.contains_key(&ChildId::new(ChildKind::PipelineRun, name))
}

/// We cancelled this run because newer inputs came; when its inputs come back, that says nothing about them.
fn cancelled_by_us(run: &DynamicObject) -> bool {
    run.annotations().contains_key(annotation::SUPERSEDED_BY)
}

/// Everything that a function asks for now. `traceparent` is its rollout's, for what is written.
#[must_use]
pub fn plan(
    owner: &Owner<'_>,
    valid: &ValidFunction,
    live: &LiveChildren,
    traceparent: Option<&str>,
    defaults: &Defaults,
) -> Desired {
    let current = valid.run_name();
    let mut children = Vec::new();
    let mut finished = 0;
    for run in runs(live) {
        let (name, state) = (run.name_any(), run_state(run));
        let id = ChildId::new(ChildKind::PipelineRun, &name);
        if name == current {
            // Left out, it is deleted, and made anew when it is gone.
            if !cancelled_by_us(run) {
                children.push(Child::existing(id, WriteMode::Retain));
            }
            continue;
        }
        finished += usize::from(state != RunState::Running);
        if state == RunState::Running {
            let asked = run.data.pointer("/spec/status").is_some();
            children.push(Child::existing(
                id,
                if asked { WriteMode::Retain } else { WriteMode::Patch(cancel(&current)) },
            ));
        } else if finished < valid.keep || (finished == valid.keep && !ended(&current, live)) {
            children.push(Child::existing(id, WriteMode::Retain));
        }
    }
    let there = live.contains_key(&ChildId::new(ChildKind::PipelineRun, &current));
    if !there && !built_and_pruned(valid, live) {
        let carrier = traceparent.map(|parent| {
            (annotation::TEKTON_SPAN_CONTEXT.to_owned(), json!({"traceparent": parent}).to_string())
        });
        children.push(Child {
            mode: WriteMode::CreateOnly,
            unhashed_annotations: carrier.into_iter().collect(),
            ..pipeline_run(owner, valid, defaults)
        });
    }
    if let Some(built) = image_to_serve(valid, live) {
        let carried = traceparent.map(|parent| (annotation::TRACEPARENT.to_owned(), parent.to_owned()));
        children.push(Child {
            unhashed_annotations: carried.into_iter().collect(),
            ..published_service(owner, valid, &built)
        });
    } else if published_of(&valid.name, live).is_some() {
        // Somebody took its annotation away. It serves, so it stays.
        children.push(Child::existing(ChildId::new(ChildKind::ElpioService, &valid.name), WriteMode::Retain));
    }
    Desired { children, ignored: Vec::new() }
}

/// Whether the run of the current inputs is among the finished ones that are counted.
fn ended(current: &str, live: &LiveChildren) -> bool {
    live.get(&ChildId::new(ChildKind::PipelineRun, current))
        .is_some_and(|run| run_state(run) != RunState::Running)
}

fn cancel(by: &str) -> Value {
    json!({"metadata": {"annotations": {annotation::SUPERSEDED_BY: by}}, "spec": {"status": "Cancelled"}})
}

#[cfg(test)]
#[path = "plan_test.rs"]
mod tests;
