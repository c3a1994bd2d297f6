//! Decides whether a build is due, from the stored status and the live runs. Pure; it creates nothing.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{ResourceExt, core::DynamicObject};

use crate::{
    api::{
        BuildOutcome, BuildStatus, ElpioFunctionStatus, ServedBuild, annotation,
        condition::{kind, reason},
    },
    backoff::ExponentialBackoff,
    foreign::ChildKind,
    render::{
        ChildId, ValidFunction,
        applied::LiveChildren,
        function::{
            RunState,
            published::{built_by, served_by},
            published_of, run_state, runs,
        },
    },
};

/// The back-off between builds of a function; it doubles while builds follow in quick succession.
const BACKOFF: ExponentialBackoff = ExponentialBackoff::new(Duration::from_secs(10), Duration::from_mins(5));

/// The state of the build for the current inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildState {
    /// The build starts now.
    Due,
    /// The build starts at this time, because another one started shortly before.
    Delayed(Timestamp),
    /// Its run is being deleted before it finished; a new run follows once it is gone.
    Terminating,
    /// Its run is running.
    Running,
    /// Its run succeeded.
    Succeeded,
    /// Its run failed, timed out or was cancelled.
    Failed,
}

/// The decision about a function's builds.
#[derive(Clone, Debug, PartialEq)]
pub struct BuildPlan {
    /// The build for the current inputs.
    pub build: BuildStatus,
    /// The state of `build`.
    pub state: BuildState,
    /// The build to keep in the status while the run of `build` does not exist.
    pub fallback: Option<BuildStatus>,
    /// The build that is served.
    pub served: Option<ServedBuild>,
}

/// Decides about the builds of a function, given its stored status `previous`.
#[must_use]
pub fn decide(
    valid: &ValidFunction,
    previous: Option<&ElpioFunctionStatus>,
    live: &LiveChildren,
    now: Timestamp,
) -> BuildPlan {
    let last = last_build(valid, previous, live);
    let build = match &last {
        Some(last) if !is_due(valid, last, live) => last.clone(),
        _ => reusable(valid, last.as_ref(), live).unwrap_or_else(|| next_build(valid, last.as_ref())),
    };
    let is_new = last.as_ref().is_none_or(|last| last.name != build.name);
    let state = state(&build, last.as_ref(), live, now);
    let fallback = last.clone().map(|last| if is_new { superseded(last, live) } else { last });
    let burst = match state {
        BuildState::Due => last.as_ref().map(|last| next_burst(last, now)),
        _ => build.burst,
    };
    let result = match state {
        BuildState::Succeeded => Some(BuildOutcome::Succeeded),
        BuildState::Failed => Some(BuildOutcome::Failed),
        _ => None,
    };
    let candidates = [Some(&build), last.as_ref().filter(|last| is_unremembered(last, live))];
    let served = served(valid, &candidates, previous, live);
    BuildPlan { build: BuildStatus { burst, result, ..build }, state, fallback, served }
}

/// The run with this name, if it exists.
#[must_use]
pub fn find_run<'a>(name: &str, live: &'a LiveChildren) -> Option<&'a DynamicObject> {
    live.get(&ChildId::new(ChildKind::PipelineRun, name)).map(|run| &**run)
}

/// Whether `elpio.io/rebuild` has a value that the last build did not serve; removing the annotation requests
/// nothing.
fn is_rebuild_requested(valid: &ValidFunction, last: Option<&BuildStatus>) -> bool {
    valid.rebuild.is_some() && last.is_none_or(|last| last.rebuild != valid.rebuild)
}

/// Whether newer inputs superseded this run.
fn is_superseded(run: &DynamicObject) -> bool {
    run.annotations().contains_key(annotation::SUPERSEDED_BY)
}

/// Whether a build may have finished since the status was written.
fn is_unremembered(last: &BuildStatus, live: &LiveChildren) -> bool {
    last.result.is_none() && find_run(&last.name, live).is_some_and(|run| !is_superseded(run))
}

fn is_due(valid: &ValidFunction, last: &BuildStatus, live: &LiveChildren) -> bool {
    let marked = last.result.is_none() && find_run(&last.name, live).is_some_and(is_superseded);
    is_rebuild_requested(valid, Some(last))
        || last.inputs != valid.inputs.hash()
        || last.result == Some(BuildOutcome::Superseded)
        || marked
}

/// The build that follows the last one.
fn next_build(valid: &ValidFunction, last: Option<&BuildStatus>) -> BuildStatus {
    let number = last.map_or(0, |last| last.number).saturating_add(1);
    let rebuild = valid.rebuild.clone().or_else(|| last.and_then(|last| last.rebuild.clone()));
    BuildStatus {
        name: valid.run_name(number, rebuild.as_deref()),
        number,
        inputs: valid.inputs.hash(),
        rebuild,
        ..BuildStatus::default()
    }
}

/// An earlier build of the same content: a second build could only repeat it.
fn reusable(valid: &ValidFunction, last: Option<&BuildStatus>, live: &LiveChildren) -> Option<BuildStatus> {
    if is_rebuild_requested(valid, last) || !valid.inputs.is_content_addressed() {
        return None;
    }
    let hash = valid.inputs.hash();
    let first = valid.first_build().name;
    let same = |run: &&DynamicObject| {
        run.annotations()
            .get(annotation::BUILD_INPUTS)
            .map_or_else(|| run.name_any() == first, |inputs| *inputs == hash)
    };
    let run = runs(live)
        .into_iter()
        .map(|run| &**run)
        .filter(same)
        .find(|r| run_state(r) == RunState::Succeeded)?;
    let last = last.cloned().unwrap_or_else(|| valid.first_build());
    Some(BuildStatus { name: run.name_any(), inputs: hash, result: None, message: None, ..last })
}

fn state(build: &BuildStatus, last: Option<&BuildStatus>, live: &LiveChildren, now: Timestamp) -> BuildState {
    match (build.result, find_run(&build.name, live)) {
        (Some(BuildOutcome::Succeeded), _) => BuildState::Succeeded,
        (Some(_), _) => BuildState::Failed,
        (None, Some(run)) => match run_state(run) {
            RunState::Succeeded => BuildState::Succeeded,
            RunState::Failed => BuildState::Failed,
            RunState::Running if run.metadata.deletion_timestamp.is_some() => BuildState::Terminating,
            RunState::Running => BuildState::Running,
        },
        (None, None) => {
            last.and_then(|last| next_start(last, now)).map_or(BuildState::Due, BuildState::Delayed)
        }
    }
}

/// A build that another one supersedes.
fn superseded(last: BuildStatus, live: &LiveChildren) -> BuildStatus {
    let run = find_run(&last.name, live).map(run_state);
    let result = last.result.unwrap_or(match run {
        Some(RunState::Succeeded) => BuildOutcome::Succeeded,
        Some(RunState::Failed) => BuildOutcome::Failed,
        Some(RunState::Running) | None => BuildOutcome::Superseded,
    });
    BuildStatus { result: Some(result), ..last }
}

/// The last build that started: from the status, or a later one found from its run, because the operator may
/// have crashed before it wrote the status.
fn last_build(
    valid: &ValidFunction,
    previous: Option<&ElpioFunctionStatus>,
    live: &LiveChildren,
) -> Option<BuildStatus> {
    let stored =
        previous.and_then(|status| status.last_build.clone().or_else(|| migrated(valid, status, live)));
    let newest = runs(live).into_iter().filter_map(|run| from_run(run)).max_by_key(|build| build.number);
    match (stored, newest) {
        (Some(stored), Some(newest)) if newest.number > stored.number => {
            let burst = newest.started_at.as_ref().map(|at| next_burst(&stored, at.0));
            Some(BuildStatus { burst, ..newest })
        }
        (Some(stored), _) => Some(stored),
        (None, Some(newest)) => Some(newest),
        (None, None) => {
            let first = valid.first_build();
            find_run(&first.name, live).map(|run| BuildStatus { started_at: created(run), ..first })
        }
    }
}

/// The build that a run's annotations describe.
fn from_run(run: &DynamicObject) -> Option<BuildStatus> {
    let annotations = run.annotations();
    Some(BuildStatus {
        name: run.name_any(),
        number: annotations.get(annotation::BUILD_NUMBER)?.parse().ok()?,
        inputs: annotations.get(annotation::BUILD_INPUTS)?.clone(),
        rebuild: annotations.get(annotation::REBUILD).cloned(),
        started_at: created(run),
        ..BuildStatus::default()
    })
}

/// The last build, from the status of an older version that stored only the name of its run.
fn migrated(valid: &ValidFunction, status: &ElpioFunctionStatus, live: &LiveChildren) -> Option<BuildStatus> {
    let name = status.build.clone()?;
    let first = valid.first_build();
    let run = find_run(&name, live);
    let condition = status.conditions.iter().find(|condition| condition.type_ == kind::BUILD_READY);
    let began = [reason::BUILDING, reason::BUILD_SUCCEEDED, reason::BUILD_FAILED];
    if run.is_none() && condition.is_none_or(|condition| !began.contains(&condition.reason.as_str())) {
        return None;
    }
    let result = match condition {
        Some(condition) if run.is_none() && condition.status == "True" => Some(BuildOutcome::Succeeded),
        Some(condition) if run.is_none() && condition.reason == reason::BUILD_FAILED => {
            Some(BuildOutcome::Failed)
        }
        _ => None,
    };
    let started_at = run.and_then(created);
    Some(if name == first.name {
        BuildStatus { started_at, result, ..first }
    } else {
        // The run is for other inputs, which its name does not identify.
        let rebuild = status.rollout.as_ref().and_then(|rollout| rollout.rebuild.clone());
        BuildStatus { name, number: 1, rebuild, started_at, result, ..BuildStatus::default() }
    })
}

/// The build to serve: the first of these whose run succeeded, else the one in the status. The last build is
/// among them, even if its inputs were edited before the status showed its end.
fn served(
    valid: &ValidFunction,
    builds: &[Option<&BuildStatus>],
    previous: Option<&ElpioFunctionStatus>,
    live: &LiveChildren,
) -> Option<ServedBuild> {
    let last_served = previous.and_then(|status| status.served.as_ref());
    let succeeded = builds
        .iter()
        .flatten()
        .filter_map(|build| find_run(&build.name, live))
        .find(|run| run_state(run) == RunState::Succeeded)
        .filter(|run| last_served.is_none_or(|served| served.build != run.name_any()));
    succeeded
        .map(|run| built_by(valid, run))
        .or_else(|| last_served.cloned())
        .or_else(|| published_of(&valid.name, live).and_then(|service| served_by(service)))
}

/// When a run was created.
#[must_use]
pub fn created(run: &DynamicObject) -> Option<Time> {
    run.metadata.creation_timestamp.clone()
}

fn pause(build: &BuildStatus) -> SignedDuration {
    let earlier = build.burst.and_then(|burst| u32::try_from(burst - 1).ok()).unwrap_or_default();
    SignedDuration::try_from(BACKOFF.delay(earlier)).unwrap_or(SignedDuration::MAX)
}

/// When the next build may start, if that is in the future.
fn next_start(last: &BuildStatus, now: Timestamp) -> Option<Timestamp> {
    let pause = pause(last);
    let at = last.started_at.as_ref()?.0.saturating_add(pause).ok()?;
    // A build that started in the far future proves only that the clock was set back since; it must not delay
    // any build.
    let latest = now.saturating_add(pause * 2).ok()?;
    (at > now && at <= latest).then_some(at)
}

/// The number of builds in quick succession, if one starts at `now`.
fn next_burst(last: &BuildStatus, now: Timestamp) -> i32 {
    let has_paused = last.started_at.as_ref().is_none_or(|at| now.duration_since(at.0) >= pause(last) * 2);
    if has_paused { 1 } else { last.burst.unwrap_or(1).saturating_add(1) }
}

#[cfg(test)]
#[path = "build_plan_test.rs"]
mod tests;
