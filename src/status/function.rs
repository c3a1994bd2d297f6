//! The status of an `ElpioFunction`, and the Events of its transitions. Pure.

use kube::{ResourceExt, core::DynamicObject};
use serde_json::Value;

use crate::{
    api::{
        ElpioFunctionStatus,
        condition::{Condition, kind, reason},
        event::{NewEvent, Related, action, event_type},
        function::Phase,
        url::redact_userinfo,
    },
    foreign::ChildKind,
    render::{
        ChildId, Owner, ValidFunction, WriteMode,
        applied::{Applied, ChildOutcome, LiveChildren},
        formats,
        function::{self, RunState, run_state},
    },
    status::{
        Observation, StatusInput, StatusUpdate, build, common_conditions,
        conditions::{ConditionStatus, NewCondition, find_condition, set_conditions},
        readiness::{self, Readiness},
        rollout,
        transitions::{Transitions, new_event},
    },
};

/// Assesses a function; `details` are the `TaskRun`s of its runs.
#[must_use]
pub fn compute(
    owner: &Owner<'_>,
    previous: Option<&ElpioFunctionStatus>,
    observation: Observation<'_, ValidFunction>,
    details: &LiveChildren,
    input: &StatusInput,
) -> StatusUpdate<ElpioFunctionStatus> {
    let mut status = previous.cloned().unwrap_or_default();
    let before = std::mem::take(&mut status.conditions);
    status.observed_generation = Some(input.generation);
    let new_conditions = match observation {
        Observation::Invalid(errors) => {
            common_conditions::invalid(&before, errors, &[kind::BUILD_READY, kind::SERVICE_READY])
        }
        Observation::Applied { valid, applied, live, .. } => {
            set_observed_fields(&mut status, valid, live);
            let reconciled = common_conditions::reconciled(
                applied,
                input.reconciled_message(reconciled_message(valid, live)),
            );
            let parts = [build_ready(valid, live, details), service_ready(owner.name, live)];
            let ready = ready(&reconciled, &parts, &status);
            status.phase = Some(phase(&ready, &parts));
            [ready, reconciled].into_iter().chain(parts).collect()
        }
    };
    status.conditions = set_conditions(&before, new_conditions, input.generation, input.now);
    status.ready = find_condition(&status.conditions, kind::READY).is_some_and(|c| c.status == "True");
    if matches!(observation, Observation::Invalid(_)) && status.phase.is_none() {
        status.phase = Some(Phase::Pending);
    }
    let advanced = rollout::advance(&input.rollout, status.ready, input.now, input.deadline);
    status.rollout = Some(advanced);
    let baseline = input.baseline(&before);
    let events =
        FunctionEvents { before: &baseline, previous, status: &status, input, details }.collect(observation);
    StatusUpdate { status, events }
}

fn run<'a>(valid: &ValidFunction, live: &'a LiveChildren) -> Option<&'a DynamicObject> {
    live.get(&ChildId::new(ChildKind::PipelineRun, valid.run_name())).map(|run| &**run)
}

fn string_at<'a>(object: &'a DynamicObject, pointer: &str) -> Option<&'a str> {
    object.data.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// What is there, beside conditions.
fn set_observed_fields(status: &mut ElpioFunctionStatus, valid: &ValidFunction, live: &LiveChildren) {
    let service = function::published_of(&valid.name, live);
    status.build = Some(valid.run_name());
    status.service_name = service.map(|service| service.name_any());
    status.url = service.and_then(|service| string_at(service, "/status/url")).map(str::to_owned);
    let image = service.and_then(|service| service.data.pointer("/spec/image"));
    let part = |name: &str, sign: &str| {
        image.and_then(|image| image[name].as_str()).map(|text| format!("{sign}{text}")).unwrap_or_default()
    };
    status.image =
        image.map(|_| format!("{}{}{}", part("repository", ""), part("tag", ":"), part("digest", "@")));
    let digest = run(valid, live)
        .filter(|run| run_state(run) == RunState::Succeeded)
        .and_then(function::digest)
        .map(str::trim);
    if let Some(digest) = digest.filter(|digest| formats::is_digest(digest)) {
        status.image_digest = Some(digest.to_owned());
    }
}

fn reconciled_message(valid: &ValidFunction, live: &LiveChildren) -> String {
    match function::published_of(&valid.name, live) {
        Some(_) => format!("run {} and ElpioService {}", valid.run_name(), valid.name),
        None => format!("run {}; the ElpioService follows when it has succeeded", valid.run_name()),
    }
}

/// The build of these inputs.
fn build_ready(valid: &ValidFunction, live: &LiveChildren, details: &LiveChildren) -> NewCondition {
    let name = valid.run_name();
    let new_condition = |condition_status, why, message: String| {
        NewCondition::new(kind::BUILD_READY, condition_status, why, message)
    };
    match run(valid, live).map(|run| (run, run_state(run))) {
        None if function::built_and_pruned(valid, live) => new_condition(
            ConditionStatus::True,
            reason::BUILD_SUCCEEDED,
            format!("{name} succeeded and was pruned"),
        ),
        // Not `Building`: nothing builds, and the Event that it began is still to come.
        None => {
            new_condition(ConditionStatus::False, reason::PROGRESSING, format!("{name} is not there yet"))
        }
        Some((run, RunState::Running)) => {
            let (why, message) = build::succeeded_condition(run);
            let text = if why.is_empty() {
                format!("{name} has not started yet")
            } else {
                format!("{name}: {why}: {message}")
            };
            new_condition(ConditionStatus::False, reason::BUILDING, text)
        }
        Some((_, RunState::Succeeded)) => {
            new_condition(ConditionStatus::True, reason::BUILD_SUCCEEDED, format!("{name} succeeded"))
        }
        Some((run, RunState::Failed)) => {
            let failure = build::failure_message(run, details).0;
            let what = format!(
                "{name}: {failure}; to build again edit the source, or set elpio.io/rebuild to another value"
            );
            new_condition(ConditionStatus::False, reason::BUILD_FAILED, what)
        }
    }
}

/// The published service's `Ready`, copied.
fn service_ready(name: &str, live: &LiveChildren) -> NewCondition {
    let new_condition = |condition_status, why: String, message: String| {
        NewCondition::new(kind::SERVICE_READY, condition_status, why, message)
    };
    let progressing =
        |message: String| new_condition(ConditionStatus::False, reason::PROGRESSING.to_owned(), message);
    let Some(service) = function::published_of(name, live) else {
        return progressing(format!("ElpioService {name} is not published yet"));
    };
    match readiness::child_readiness(ChildKind::ElpioService, service) {
        Readiness::Ready => new_condition(ConditionStatus::True, reason::READY.to_owned(), String::new()),
        Readiness::Waiting { message, .. } => progressing(format!("ElpioService {name}: {message}")),
        Readiness::Failed { reason: why, message } => {
            new_condition(ConditionStatus::False, why, format!("ElpioService {name}: {message}"))
        }
    }
}

fn ready(reconciled: &NewCondition, parts: &[NewCondition; 2], status: &ElpioFunctionStatus) -> NewCondition {
    let [build, _] = parts;
    if reconciled.status == ConditionStatus::True && build.reason == reason::BUILDING {
        return NewCondition { kind: kind::READY, reason: reason::PROGRESSING.to_owned(), ..build.clone() };
    }
    let place = status.url.as_ref().map(|url| format!(" at {url}")).unwrap_or_default();
    common_conditions::ready(reconciled, parts, || format!("serves{place}"))
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

/// What became different.
struct FunctionEvents<'a> {
    before: &'a [Condition],
    previous: Option<&'a ElpioFunctionStatus>,
    status: &'a ElpioFunctionStatus,
    input: &'a StatusInput,
    details: &'a LiveChildren,
}

impl FunctionEvents<'_> {
    /// The Events in the order in which their transitions happened.
    fn collect(&self, observation: Observation<'_, ValidFunction>) -> Vec<NewEvent> {
        let transitions =
            Transitions { before: self.before, after: &self.status.conditions, input: self.input };
        let Observation::Applied { valid, desired, applied, live } = observation else {
            return transitions.invalid_event().into_iter().collect();
        };
        let made = applied.outcomes.iter().any(|(id, step)| {
            id.kind == ChildKind::PipelineRun && id.name == valid.run_name() && *step == ChildOutcome::Changed
        });
        let (started, ended) = (self.started(valid, live, made), self.build_ended(valid, live));
        let published =
            self.published(valid, desired.children.iter().any(|c| c.mode == WriteMode::Apply), applied);
        let readiness = transitions
            .ready_event(|| self.ready_note(live, &valid.name))
            .or_else(|| Self::waiting_event(&transitions, applied));
        let all = [started, ended, published, transitions.failed_event(applied, desired), readiness];
        all.into_iter().flatten().collect()
    }

    fn previous_condition(&self, kind: &str) -> Option<&Condition> {
        find_condition(self.before, kind).filter(|_| self.same_run())
    }

    /// The status speaks of the same run already.
    fn same_run(&self) -> bool {
        self.previous.and_then(|p| p.build.as_ref()) == self.status.build.as_ref()
    }

    fn build_event(&self, type_: &'static str, why: &'static str, note: String) -> NewEvent {
        let name = self.status.build.clone().unwrap_or_default();
        let related = Related {
            api_version: ChildKind::PipelineRun.api_version(),
            kind: ChildKind::PipelineRun.kind().to_owned(),
            name,
        };
        NewEvent { related: Some(related), ..new_event(type_, why, action::BUILD, note) }
    }

    /// The run is not one that older inputs left behind: it was made since the rollout that the status still
    /// tells of began.
    fn is_of_this_rollout(&self, run: &DynamicObject) -> bool {
        let made = run.metadata.creation_timestamp.as_ref().map(|at| at.0.as_second());
        let told =
            self.previous.and_then(|p| p.rollout.as_ref()?.started_at.as_ref()).map(|at| at.0.as_second());
        told.is_none() || made >= told
    }

    /// A run of these inputs was created: the first, or one in the place of another that somebody deleted.
    fn started(&self, valid: &ValidFunction, live: &LiveChildren, made: bool) -> Option<NewEvent> {
        let run = run(valid, live)?;
        let was = self.previous_condition(kind::BUILD_READY).map(|c| c.reason.as_str());
        let now = find_condition(&self.status.conditions, kind::BUILD_READY).map(|c| c.reason.as_str());
        let again = was == Some(reason::BUILD_FAILED) && now == Some(reason::BUILDING);
        let known = was.is_some_and(|why| {
            [reason::BUILDING, reason::BUILD_FAILED, reason::BUILD_SUCCEEDED].contains(&why)
        });
        let source = match (&valid.inputs.git, &valid.inputs.archive) {
            (Some(git), _) => format!("{} at {}", redact_userinfo(&git.url), git.revision),
            (None, archive) => redact_userinfo(archive.as_deref().unwrap_or_default()),
        };
        let note = || format!("building {} from {source}", valid.inputs.image);
        (made || again || (!known && self.is_of_this_rollout(run)))
            .then(|| self.build_event(event_type::NORMAL, reason::BUILD_STARTED, note()))
    }

    fn build_ended(&self, valid: &ValidFunction, live: &LiveChildren) -> Option<NewEvent> {
        let run = run(valid, live)?;
        let state = run_state(run);
        let told = match state {
            RunState::Running => return None,
            RunState::Succeeded => {
                self.previous_condition(kind::BUILD_READY).is_some_and(|c| c.status == "True")
            }
            RunState::Failed => {
                self.previous_condition(kind::BUILD_READY).is_some_and(|c| c.reason == reason::BUILD_FAILED)
            }
        };
        // A run that is used again was told of when it ended.
        if told || (!self.same_run() && !self.is_of_this_rollout(run)) {
            return None;
        }
        let took = build::finished(run, self.details)
            .map(|end| format!(" after {} s", end.ended.duration_since(end.started).as_secs()))
            .unwrap_or_default();
        Some(if state == RunState::Succeeded {
            let digest = function::digest(run)
                .map_or_else(|| "an image without a digest".to_owned(), |digest| digest.trim().to_owned());
            self.build_event(event_type::NORMAL, reason::BUILD_SUCCEEDED, format!("built {digest}{took}"))
        } else {
            self.build_event(
                event_type::WARNING,
                reason::BUILD_FAILED,
                format!("{}{took}", build::failure_message(run, self.details).0),
            )
        })
    }

    /// The service was published or changed: told once for each image, and once for each generation.
    fn published(&self, valid: &ValidFunction, asked: bool, applied: &Applied) -> Option<NewEvent> {
        let id = ChildId::new(ChildKind::ElpioService, &valid.name);
        let done = applied.outcomes.iter().any(|(step_of, step)| {
            *step_of == id && matches!(step, ChildOutcome::Changed | ChildOutcome::Unchanged)
        });
        let news = self.input.first_observation
            || self.previous.and_then(|p| p.image.as_ref()) != self.status.image.as_ref();
        let image = self.status.image.clone().unwrap_or_default();
        let related =
            Related { api_version: id.kind.api_version(), kind: id.kind.kind().to_owned(), name: id.name };
        (asked && done && news).then(|| NewEvent {
            related: Some(related),
            ..new_event(
                event_type::NORMAL,
                reason::RECONCILED,
                action::APPLY,
                format!("ElpioService {} runs {image}", valid.name),
            )
        })
    }

    /// A build says for itself that it began and how it ended; what is left is the service.
    fn waiting_event(transitions: &Transitions<'_>, applied: &Applied) -> Option<NewEvent> {
        let built = transitions.current(kind::BUILD_READY).is_some_and(|c| c.status == "True");
        // Began to wait: the build was not done when it was last looked at.
        let began = transitions.previous(kind::BUILD_READY).is_none_or(|c| c.status != "True");
        let said = transitions.waiting_event(applied, None, true).filter(|_| built);
        match said {
            None if built && began && applied.is_complete() => {
                let now = transitions.current(kind::READY)?;
                let failing = now.reason != reason::PROGRESSING;
                let type_ = if failing { event_type::WARNING } else { event_type::NORMAL };
                (now.status != "True").then(|| {
                    new_event(
                        type_,
                        reason::PROGRESSING,
                        action::OBSERVE,
                        format!("waiting for {}", now.message),
                    )
                })
            }
            said => said,
        }
    }

    fn ready_note(&self, live: &LiveChildren, name: &str) -> String {
        let engine = function::published_of(name, live)
            .and_then(|service| string_at(service, "/status/engine"))
            .map(|engine| format!("engine {engine} "))
            .unwrap_or_default();
        let place = self.status.url.as_ref().map(|url| format!(" at {url}")).unwrap_or_default();
        format!("{engine}serves{place}{}", self.input.since_edit())
    }
}
