//! The status of an `ElpioService`, and the Events of its transitions. Pure.

mod children;
mod endpoints;

use crate::{
    api::{
        ChildStatus, ElpioServiceStatus,
        condition::{Condition, kind, reason},
        event::{NewEvent, action, event_type},
    },
    foreign::ChildKind,
    render::{Defaults, Desired, Owner, ValidService},
    status::{
        CommonStatus, Observation, StatusInput, StatusUpdate, common_conditions,
        conditions::NewCondition,
        readiness::{self, Readiness},
        service::children::{ChildStates, dependent_condition, dependent_conditions},
        transitions::{self, Transitions, new_event},
    },
};

/// The status of a service after a reconcile.
#[must_use]
pub fn compute(
    owner: &Owner<'_>,
    previous: Option<&ElpioServiceStatus>,
    observation: Observation<'_, ValidService>,
    input: &StatusInput,
    defaults: &Defaults,
) -> StatusUpdate<ElpioServiceStatus> {
    let mut status = previous.cloned().unwrap_or_default();
    let before = std::mem::take(&mut status.conditions);
    status.observed_generation = Some(input.generation);
    let mut recheck_at = None;
    let new_conditions = match observation {
        Observation::Invalid(errors) => common_conditions::invalid(
            &before,
            errors,
            &[kind::ENGINE_READY, kind::DOMAIN_READY, kind::SECRETS_READY],
        ),
        Observation::Applied { valid, desired, applied, live } => {
            let baseline = baseline_children(previous, input);
            let observed = ChildStates { live, applied, baseline, now: input.now };
            recheck_at = observed.recheck_at();
            status.engine = Some(valid.engine);
            status.children = observed.statuses(desired);
            status.address = endpoints::address(owner, valid, live, defaults);
            let reconciled = common_conditions::reconciled(
                applied,
                input.reconciled_message(reconciled_message(valid, desired)),
            );
            let parts: Vec<NewCondition> = dependent_conditions(owner.name, valid)
                .iter()
                .map(|(kind, ids)| dependent_condition(kind, ids, &observed))
                .collect();
            status.url = endpoints::url(owner.name, valid, (live, applied), &parts);
            let ready = common_conditions::ready(&reconciled, &parts, || {
                endpoints::ready_message(owner, valid, &status)
            });
            [ready, reconciled].into_iter().chain(parts).collect()
        }
    };
    let CommonStatus { conditions, ready, rollout } = CommonStatus::new(&before, new_conditions, input);
    (status.conditions, status.ready, status.rollout) = (conditions, ready, Some(rollout));
    if status.ready && is_rolled_out(observation) {
        status.build = owner.build.map(str::to_owned);
    }
    let baseline = input.baseline(&before);
    let events =
        events(owner.name, &baseline, baseline_children(previous, input), &status, observation, input);
    StatusUpdate { status, events, recheck_at }
}

/// Whether every child reports ready for its current spec, so that the pods have the owner's current
/// annotations too.
fn is_rolled_out(observation: Observation<'_, ValidService>) -> bool {
    let Observation::Applied { desired, live, .. } = observation else { return false };
    desired.children.iter().all(|child| {
        live.get(&child.id)
            .is_some_and(|live| readiness::child_readiness(child.id.kind, live) == Readiness::Ready)
    })
}

/// The children in the status since the rollout ended; empty during a rollout.
fn baseline_children<'a>(previous: Option<&'a ElpioServiceStatus>, input: &StatusInput) -> &'a [ChildStatus] {
    previous.filter(|_| input.rollout.ended_at.is_some()).map_or(&[], |status| &status.children)
}

/// The message of `Reconciled` when it is `True`. It names unsupported fields for as long as the spec has
/// them.
fn reconciled_message(valid: &ValidService, desired: &Desired) -> String {
    let ignored = ignored_fields(valid, desired).map(|fields| format!("; {fields}")).unwrap_or_default();
    format!("{}{ignored}", applied_objects(valid, desired))
}

fn applied_objects(valid: &ValidService, desired: &Desired) -> String {
    let count = desired.children.len();
    format!("engine {}, {count} object{}", valid.engine.as_str(), if count == 1 { "" } else { "s" })
}

fn ignored_fields(valid: &ValidService, desired: &Desired) -> Option<String> {
    let fields: Vec<String> = desired.ignored.iter().map(|i| format!("{}: {}", i.field, i.why)).collect();
    (!fields.is_empty())
        .then(|| format!("not supported by engine {}: {}", valid.engine.as_str(), fields.join("; ")))
}

/// The Events for this status, in the order of the transitions.
fn events(
    name: &str,
    before: &[Condition],
    baseline: &[ChildStatus],
    status: &ElpioServiceStatus,
    observation: Observation<'_, ValidService>,
    input: &StatusInput,
) -> Vec<NewEvent> {
    let transitions = Transitions { before, after: &status.conditions, input };
    let timed_out = transitions.timed_out_event(status.rollout.as_ref());
    let Observation::Applied { valid, desired, applied, live } = observation else {
        return transitions.invalid_event().into_iter().chain(timed_out).collect();
    };
    let reconciled = transitions.reconciled_condition().map(|_| {
        let note = applied_objects(valid, desired);
        new_event(event_type::NORMAL, reason::RECONCILED, action::APPLY, note)
    });
    let ignored = || {
        let note = ignored_fields(valid, desired)?;
        Some(new_event(event_type::WARNING, reason::FIELD_IGNORED, action::APPLY, note))
    };
    let unready = ChildStates { live, applied, baseline, now: input.now }.first_unready(name, valid);
    let related = unready.as_ref().and_then(|(id, _)| transitions::related(id, desired));
    let is_final = unready.is_some_and(|(id, failed)| failed && is_engine(id.kind));
    let readiness = transitions
        .ready_event(|| ready_note(valid, status, input))
        .or_else(|| transitions.waiting_event(applied, related, is_final));
    let all = [
        reconciled,
        input.first_observation.then(ignored).flatten(),
        transitions.failed_event(applied, desired),
        readiness,
        timed_out,
    ];
    all.into_iter().flatten().collect()
}

/// The kinds whose `False` ends a rollout. Others may report a failure at first that resolves itself: an
/// autoscaler without metrics, a domain without its certificate.
fn is_engine(kind: ChildKind) -> bool {
    matches!(kind, ChildKind::KnativeService | ChildKind::Deployment)
}

fn ready_note(valid: &ValidService, status: &ElpioServiceStatus, input: &StatusInput) -> String {
    let url = status.url.as_ref().map(|url| format!(" at {url}")).unwrap_or_default();
    format!("ready{url} on engine {}{}", valid.engine.as_str(), input.since_edit())
}
