//! The Events of a function's transitions. Pure.

use kube::core::DynamicObject;

use crate::{
    api::{
        BuildStatus, ElpioFunctionStatus,
        condition::{Condition, kind, reason},
        event::{NewEvent, Related, action, event_type},
        url::public_url,
    },
    foreign::{ChildKind, fields},
    render::{
        ChildId, ValidFunction, WriteMode,
        applied::{Applied, ChildOutcome, LiveChildren},
        function::{
            self,
            build_plan::{BuildPlan, BuildState, find_run},
        },
    },
    status::{
        Observation, StatusInput, build,
        conditions::{find_condition, is_failing},
        transitions::{Transitions, new_event, not_ready_event},
    },
};

/// Two consecutive statuses of a function.
pub(super) struct FunctionEvents<'a> {
    pub before: &'a [Condition],
    pub previous: Option<&'a ElpioFunctionStatus>,
    pub status: &'a ElpioFunctionStatus,
    pub plan: Option<&'a BuildPlan>,
    pub input: &'a StatusInput,
    pub grandchildren: &'a LiveChildren,
}

impl FunctionEvents<'_> {
    /// The Events, in the order of the transitions.
    pub fn collect(&self, observation: Observation<'_, ValidFunction>) -> Vec<NewEvent> {
        let transitions =
            Transitions { before: self.before, after: &self.status.conditions, input: self.input };
        let timed_out = transitions.timed_out_event(self.status.rollout.as_ref());
        let Observation::Applied { valid, desired, applied, live } = observation else {
            return transitions.invalid_event().into_iter().chain(timed_out).collect();
        };
        let (started, ended) = (self.started(valid), self.build_ended(live));
        let published =
            self.published(valid, desired.children.iter().any(|c| c.mode == WriteMode::Apply), applied);
        let readiness = transitions
            .ready_event(|| self.ready_note(live, &valid.name))
            .or_else(|| Self::waiting_event(&transitions, applied));
        let all =
            [started, ended, published, transitions.failed_event(applied, desired), readiness, timed_out];
        all.into_iter().flatten().collect()
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

    /// The last builds in the previous and the new status.
    fn builds(&self) -> (Option<&BuildStatus>, Option<&BuildStatus>) {
        (self.previous.and_then(|status| status.last_build.as_ref()), self.status.last_build.as_ref())
    }

    /// Whether the previous status is from a version that stored only the run's name, and the run had started.
    fn is_migrated(&self) -> bool {
        let (before, now) = self.builds();
        let name = self.previous.and_then(|status| status.build.as_deref());
        let began = [reason::BUILDING, reason::BUILD_SUCCEEDED, reason::BUILD_FAILED];
        before.is_none()
            && now.is_some_and(|now| Some(now.name.as_str()) == name)
            && find_condition(self.before, kind::BUILD_READY)
                .is_some_and(|condition| began.contains(&condition.reason.as_str()))
    }

    /// The Event for a created run.
    fn started(&self, valid: &ValidFunction) -> Option<NewEvent> {
        let (before, now) = self.builds();
        let now = now.filter(|now| self.status.build.as_ref() == Some(&now.name) && !self.is_migrated())?;
        let known = before.is_some_and(|before| {
            before.number > now.number || (before.number == now.number && before.started_at == now.started_at)
        });
        let source = match (&valid.inputs.git, &valid.inputs.archive) {
            (Some(git), _) => format!("{} at {}", public_url(&git.url), git.revision),
            (None, archive) => public_url(archive.as_deref().unwrap_or_default()),
        };
        let note = || format!("building {} from {source}{}", valid.inputs.image, exposed_account(valid));
        (!known).then(|| self.build_event(event_type::NORMAL, reason::BUILD_STARTED, note()))
    }

    /// The Event for the end of the last build. A reused build ended earlier.
    fn build_ended(&self, live: &LiveChildren) -> Option<NewEvent> {
        let (before, now) = self.builds();
        let (plan, now) = (self.plan?, now?);
        let succeeded = match plan.state {
            BuildState::Succeeded => true,
            BuildState::Failed => false,
            _ => return None,
        };
        let known = match before {
            Some(before) if before.name == now.name => before.result.is_some(),
            Some(before) => before.number >= now.number,
            None => self.is_migrated() && self.was_ended(succeeded),
        };
        let run = find_run(&now.name, live).filter(|_| !known)?;
        let took = build::finished(run, self.grandchildren)
            .map(|end| format!(" after {} s", end.ended.duration_since(end.started).as_secs()))
            .unwrap_or_default();
        Some(if succeeded {
            self.build_event(
                event_type::NORMAL,
                reason::BUILD_SUCCEEDED,
                format!("built {}{took}", digest(run)),
            )
        } else {
            let failure = build::failure_message(run, self.grandchildren);
            self.build_event(
                event_type::WARNING,
                reason::BUILD_FAILED,
                format!("build failed{took}: {failure}"),
            )
        })
    }

    /// Whether `BuildReady` already showed that a build ended with this result.
    fn was_ended(&self, succeeded: bool) -> bool {
        let why = if succeeded { reason::BUILD_SUCCEEDED } else { reason::BUILD_FAILED };
        find_condition(self.before, kind::BUILD_READY).is_some_and(|condition| condition.reason == why)
    }

    /// The Event for a published or changed service: one per image and per generation.
    fn published(&self, valid: &ValidFunction, asked: bool, applied: &Applied) -> Option<NewEvent> {
        let id = ChildId::new(ChildKind::ElpioService, &valid.name);
        let done = applied.outcomes.iter().any(|(child, outcome)| {
            *child == id && matches!(outcome, ChildOutcome::Changed | ChildOutcome::Unchanged)
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

    /// The Event for a wait. A build has separate Events for its start and end, so this covers only the service.
    fn waiting_event(transitions: &Transitions<'_>, applied: &Applied) -> Option<NewEvent> {
        let built = transitions.current(kind::BUILD_READY).is_some_and(|c| c.status == "True");
        // Starts to wait: the build had not ended at the last reconcile.
        let began = transitions.previous(kind::BUILD_READY).is_none_or(|c| c.status != "True");
        match transitions.waiting_event(applied, None, true).filter(|_| built) {
            None if built && began && applied.is_complete() => {
                let now = transitions.current(kind::READY)?;
                let type_ = if is_failing(now) { event_type::WARNING } else { event_type::NORMAL };
                (now.status != "True").then(|| not_ready_event(type_, now))
            }
            event => event,
        }
    }

    fn ready_note(&self, live: &LiveChildren, name: &str) -> String {
        let engine = function::published_of(name, live)
            .and_then(|service| fields::non_empty_text(&service.data, "/status/engine"))
            .map(|engine| format!(" on engine {engine}"))
            .unwrap_or_default();
        let location = self.status.url.as_ref().map(|url| format!(" at {url}")).unwrap_or_default();
        format!("ready{location}{engine}{}", self.input.since_edit())
    }
}

/// Tekton copies a service account's credentials into every step.
fn exposed_account(valid: &ValidFunction) -> String {
    let account = valid.inputs.service_account.as_ref().filter(|_| valid.inputs.push_secret.is_none());
    account
        .map(|name| {
            format!(
                "; the build can read the credentials of service account {name}: use build.pushSecret instead"
            )
        })
        .unwrap_or_default()
}

/// The digest that a run reports.
fn digest(run: &DynamicObject) -> String {
    function::digest(run)
        .map_or_else(|| "an image without a digest".to_owned(), |digest| digest.trim().to_owned())
}
