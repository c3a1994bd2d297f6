//! The status of an `ElpioFunction`. Pure; other files have its conditions and the Events of its transitions.

mod conditions;
mod events;

use kube::ResourceExt;

use crate::{
    api::{
        BuildStatus, ElpioFunctionStatus, Engine,
        condition::{kind, reason},
        function::Phase,
    },
    foreign::fields,
    render::{
        Owner, ValidFunction,
        applied::LiveChildren,
        function::{
            self,
            build_plan::{self, BuildPlan, BuildState, created, find_run},
        },
    },
    status::{
        CommonStatus, Observation, StatusInput, StatusUpdate, build, common_conditions,
        conditions::{ConditionStatus, NewCondition, find_condition},
        function::{conditions::FunctionParts, events::FunctionEvents},
    },
};

/// The status of a function after a reconcile; `grandchildren` are the `TaskRun`s of its runs.
#[must_use]
pub fn compute(
    owner: &Owner<'_>,
    previous: Option<&ElpioFunctionStatus>,
    observation: Observation<'_, ValidFunction>,
    grandchildren: &LiveChildren,
    input: &StatusInput,
) -> StatusUpdate<ElpioFunctionStatus> {
    let mut status = previous.cloned().unwrap_or_default();
    let before = std::mem::take(&mut status.conditions);
    status.observed_generation = Some(input.generation);
    let mut plan = None;
    let new_conditions = match observation {
        Observation::Invalid(errors) => {
            common_conditions::invalid(&before, errors, &[kind::BUILD_READY, kind::SERVICE_READY])
        }
        Observation::Applied { valid, desired, applied, live } => {
            let build =
                desired.build.clone().unwrap_or_else(|| build_plan::decide(valid, previous, live, input.now));
            set_observed_fields(&mut status, valid, &build, live);
            status.last_build = last_build(&build, live, grandchildren);
            status.served.clone_from(&build.served);
            let reconciled = common_conditions::reconciled(
                applied,
                input.reconciled_message(reconciled_message(valid, &build, live)),
            );
            let parts = FunctionParts { name: owner.name, plan: &build, live };
            let parts = [parts.build_ready(status.last_build.as_ref()), parts.service_ready()];
            let ready = ready(&reconciled, &parts, &status);
            status.phase = Some(phase(&ready, &parts));
            plan = Some(build);
            [ready, reconciled].into_iter().chain(parts).collect()
        }
    };
    let CommonStatus { conditions, ready, rollout } = CommonStatus::new(&before, new_conditions, input);
    (status.conditions, status.ready, status.rollout) = (conditions, ready, Some(rollout));
    if matches!(observation, Observation::Invalid(_)) && status.phase.is_none() {
        status.phase = Some(Phase::Pending);
    }
    let baseline = input.baseline(&before);
    let is_republished =
        |kind| find_condition(&before, kind).is_some() && find_condition(&baseline, kind).is_none();
    let previous = previous.filter(|_| !is_republished(kind::BUILD_READY));
    let events = FunctionEvents {
        before: &baseline,
        previous,
        status: &status,
        plan: plan.as_ref(),
        input,
        grandchildren,
    }
    .collect(observation);
    StatusUpdate { status, events, recheck_at: None }
}

/// The facts about the last build that later reconciles need.
fn last_build(plan: &BuildPlan, live: &LiveChildren, grandchildren: &LiveChildren) -> Option<BuildStatus> {
    let run = find_run(&plan.build.name, live);
    let begun = match plan.state {
        BuildState::Due => run.is_some(),
        BuildState::Delayed(_) => false,
        _ => true,
    };
    if !begun {
        return plan.fallback.clone();
    }
    let started_at = run.and_then(created).or_else(|| plan.build.started_at.clone());
    // The run of the last build still exists, but without Elpio's labels.
    let found =
        plan.fallback.as_ref().filter(|last| last.name == plan.build.name && last.started_at == started_at);
    let build = found.unwrap_or(&plan.build).clone();
    let message = match plan.state {
        // Its tasks may be deleted before the run: keep the cause that they reported.
        BuildState::Failed => run
            .filter(|run| function::run_state(run) == function::RunState::Failed)
            .filter(|run| build.message.is_none() || build::has_tasks(run, grandchildren))
            .map(|run| build::failure_message(run, grandchildren))
            .or_else(|| build.message.clone()),
        _ => None,
    };
    Some(BuildStatus { started_at, result: plan.build.result, message, ..build })
}

/// Sets the status fields, other than conditions, that the children determine.
fn set_observed_fields(
    status: &mut ElpioFunctionStatus,
    valid: &ValidFunction,
    plan: &BuildPlan,
    live: &LiveChildren,
) {
    let service = function::published_of(&valid.name, live);
    status.build = Some(plan.build.name.clone());
    status.service_name = service.map(|service| service.name_any());
    status.engine = service
        .and_then(|service| fields::non_empty_text(&service.data, "/status/engine"))
        .and_then(Engine::parse);
    status.url =
        service.and_then(|service| fields::non_empty_text(&service.data, "/status/url")).map(str::to_owned);
    let image = service.and_then(|service| service.data.pointer("/spec/image"));
    let part = |name: &str, sign: &str| {
        image.and_then(|image| image[name].as_str()).map(|text| format!("{sign}{text}")).unwrap_or_default()
    };
    status.image =
        image.map(|_| format!("{}{}{}", part("repository", ""), part("tag", ":"), part("digest", "@")));
    if let Some(served) = &plan.served {
        status.image_digest.clone_from(&served.digest);
    }
}

fn reconciled_message(valid: &ValidFunction, plan: &BuildPlan, live: &LiveChildren) -> String {
    let (name, run) = (&valid.name, &plan.build.name);
    match (function::published_of(name, live), plan.state) {
        (Some(_), BuildState::Delayed(_)) => {
            format!("ElpioService {name} applied; PipelineRun {run} is delayed")
        }
        (Some(_), _) => format!("PipelineRun {run} and ElpioService {name} applied"),
        (None, BuildState::Delayed(_)) => {
            format!("PipelineRun {run} is delayed; the ElpioService is created when it succeeds")
        }
        (None, _) => format!("PipelineRun {run} applied; the ElpioService is created when it succeeds"),
    }
}

fn ready(reconciled: &NewCondition, parts: &[NewCondition; 2], status: &ElpioFunctionStatus) -> NewCondition {
    let [build, _] = parts;
    if reconciled.status == ConditionStatus::True && build.reason == reason::BUILDING {
        return NewCondition { kind: kind::READY, reason: reason::PROGRESSING.to_owned(), ..build.clone() };
    }
    let location = status.url.as_ref().map(|url| format!(" at {url}")).unwrap_or_default();
    common_conditions::ready(reconciled, parts, || format!("available{location}"))
}

fn phase(ready: &NewCondition, [build, _]: &[NewCondition; 2]) -> Phase {
    match (ready.status, build.status, build.reason.as_str()) {
        (ConditionStatus::True, ..) => Phase::Ready,
        (_, ConditionStatus::True, _) => Phase::Deploying,
        (_, _, reason::BUILD_FAILED) => Phase::BuildFailed,
        _ if ready.reason == reason::PROGRESSING => Phase::Building,
        _ => Phase::Pending,
    }
}
