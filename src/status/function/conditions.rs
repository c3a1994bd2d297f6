//! The conditions `BuildReady` and `ServiceReady` of a function. Pure.

use kube::{ResourceExt, core::DynamicObject};

use crate::{
    api::{
        BuildStatus,
        condition::{kind, reason},
    },
    foreign::{ChildKind, fields},
    render::{
        applied::LiveChildren,
        function::{
            build_plan::{BuildPlan, BuildState, find_run},
            published_of,
        },
    },
    status::{
        build,
        conditions::{ConditionStatus, NewCondition},
        readiness::{Readiness, child_readiness},
    },
};

/// How to retry a build, for messages.
const RETRY_HINT: &str = "to retry, change the source or the annotation elpio.io/rebuild";

/// The inputs for a function's conditions.
pub(super) struct FunctionParts<'a> {
    pub name: &'a str,
    pub plan: &'a BuildPlan,
    pub live: &'a LiveChildren,
}

impl FunctionParts<'_> {
    /// The state of the build for the current inputs; `last` is the build in the status.
    pub fn build_ready(&self, last: Option<&BuildStatus>) -> NewCondition {
        let name = &self.plan.build.name;
        let run = find_run(name, self.live);
        let (status, reason, message) = match (self.plan.state, run) {
            // Not `Building`: no build runs, and the Event for its start is still to come.
            (BuildState::Due, None) => {
                (ConditionStatus::False, reason::PROGRESSING, format!("{name} is not created yet"))
            }
            (BuildState::Delayed(at), _) => (
                ConditionStatus::False,
                reason::PROGRESSING,
                format!("{name} is delayed until {at} because another build started recently"),
            ),
            (BuildState::Terminating, Some(run)) => (
                ConditionStatus::False,
                reason::PROGRESSING,
                format!("{}; a new PipelineRun is created once it is deleted", deletion(name, run)),
            ),
            (BuildState::Succeeded, Some(_)) => {
                (ConditionStatus::True, reason::BUILD_SUCCEEDED, format!("{name} succeeded"))
            }
            (BuildState::Succeeded, None) => {
                (ConditionStatus::True, reason::BUILD_SUCCEEDED, format!("{name} succeeded and was pruned"))
            }
            (BuildState::Failed, run) => {
                (ConditionStatus::False, reason::BUILD_FAILED, failure(name, run, last))
            }
            (_, run) => (ConditionStatus::False, reason::BUILDING, progress(name, run)),
        };
        NewCondition::new(kind::BUILD_READY, status, reason, message)
    }

    /// A copy of the published service's `Ready`.
    pub fn service_ready(&self) -> NewCondition {
        let name = self.name;
        let new_condition = |status, why: String, message: String| {
            NewCondition::new(kind::SERVICE_READY, status, why, message)
        };
        let progressing =
            |message: String| new_condition(ConditionStatus::False, reason::PROGRESSING.to_owned(), message);
        let Some(service) = published_of(name, self.live) else {
            return progressing(format!("ElpioService {name}: not published yet"));
        };
        match child_readiness(ChildKind::ElpioService, service) {
            Readiness::Ready => match self.not_rolled_out(service) {
                Some(build) => progressing(format!("ElpioService {name}: {build} not rolled out yet")),
                None => new_condition(ConditionStatus::True, reason::READY.to_owned(), String::new()),
            },
            Readiness::Waiting { message, .. } => progressing(format!("ElpioService {name}: {message}")),
            Readiness::Failed { reason: why, message } => {
                new_condition(ConditionStatus::False, why, format!("ElpioService {name}: {message}"))
            }
        }
    }

    /// The build that the service is to serve, while it still serves another one. With an image by tag, a new
    /// build creates no new generation, so the service's status names the build.
    fn not_rolled_out(&self, service: &DynamicObject) -> Option<&str> {
        let served = self.plan.served.as_ref().filter(|served| served.digest.is_none())?;
        let now = fields::non_empty_text(&service.data, "/status/build")?;
        (now != served.build).then_some(served.build.as_str())
    }
}

/// Why the last build failed, from the status.
fn failure(name: &str, run: Option<&DynamicObject>, last: Option<&BuildStatus>) -> String {
    let cause = last.and_then(|last| last.message.as_deref()).unwrap_or("failed");
    let deleting = run.filter(|run| run.metadata.deletion_timestamp.is_some());
    let deletion = deleting.map(|run| format!("; {}", deletion("its PipelineRun", run))).unwrap_or_default();
    format!("{name}: {cause}{deletion}; {RETRY_HINT}")
}

/// The progress of a run.
fn progress(name: &str, run: Option<&DynamicObject>) -> String {
    let (reason, message) = run.map(build::succeeded_condition).unwrap_or_default();
    if reason.is_empty() {
        format!("{name} has not started yet")
    } else {
        format!("{name}: {reason}: {message}")
    }
}

/// That a run is being deleted, and the finalizers it waits for.
fn deletion(name: &str, run: &DynamicObject) -> String {
    let finalizers = run.finalizers().join(", ");
    if finalizers.is_empty() {
        format!("{name} is being deleted")
    } else {
        format!("{name} is being deleted and waits for its finalizers ({finalizers})")
    }
}
