//! The status of an `ElpioService`, and the Events of its transitions. Pure.

use kube::core::DynamicObject;
use serde_json::Value;

use crate::{
    api::{
        ChildStatus, ElpioServiceStatus, Engine,
        condition::{Condition, kind, reason},
        event::{NewEvent, action, event_type},
        network::Metric,
    },
    foreign::ChildKind,
    render::{
        ChildId, Defaults, Desired, Owner, ValidService,
        applied::{Applied, ChildOutcome, LiveChildren},
    },
    status::{
        Observation, StatusInput, StatusUpdate, common_conditions,
        conditions::{ConditionStatus, NewCondition, find_condition, set_conditions},
        readiness::{self, Readiness},
        rollout,
        transitions::{self, Transitions, new_event},
    },
};

/// Assesses a service.
#[must_use]
pub fn compute(
    owner: &Owner<'_>,
    previous: Option<&ElpioServiceStatus>,
    observation: Observation<'_, ValidService>,
    input: &StatusInput,
    defaults: &Defaults,
) -> StatusUpdate<ElpioServiceStatus> {
    let (name, namespace) = (owner.name, owner.namespace);
    let mut status = previous.cloned().unwrap_or_default();
    let before = std::mem::take(&mut status.conditions);
    status.observed_generation = Some(input.generation);
    let new_conditions = match observation {
        Observation::Invalid(errors) => common_conditions::invalid(
            &before,
            errors,
            &[kind::ENGINE_READY, kind::DOMAIN_READY, kind::SECRETS_READY],
        ),
        Observation::Applied { valid, desired, applied, live } => {
            status.engine = Some(valid.engine);
            let says = ChildStates { live, applied, baseline_children: baseline_children(previous, input) };
            status.children = children(desired, &says);
            status.address = address(name, namespace, valid, live, defaults);
            let count = desired.children.len();
            let done = format!(
                "engine {}, {count} object{}",
                valid.engine.as_str(),
                if count == 1 { "" } else { "s" }
            );
            let reconciled = common_conditions::reconciled(applied, done);
            let parts: Vec<NewCondition> = condition_members(name, valid)
                .iter()
                .map(|(kind, ids)| part_condition(kind, ids, &says))
                .collect();
            status.url = url(name, valid, live, &parts);
            let ready = common_conditions::ready(&reconciled, &parts, || {
                ready_message(name, namespace, valid, &status)
            });
            [ready, reconciled].into_iter().chain(parts).collect()
        }
    };
    status.conditions = set_conditions(&before, new_conditions, input.generation, input.now);
    status.ready = find_condition(&status.conditions, kind::READY).is_some_and(|c| c.status == "True");
    if status.ready && is_rolled_out(observation) {
        status.build = owner.build.map(str::to_owned);
    }
    let advanced = rollout::advance(&input.rollout, status.ready, input.now, input.deadline);
    let ended = advanced.ended_at.is_some() && input.rollout.ended_at.is_none();
    status.rollout = Some(advanced);
    let occurrences = events(name, &before, baseline_children(previous, input), &status, observation, input);
    StatusUpdate { status, events: occurrences, ended, finished: None }
}

/// Every child is ready for its current spec by its own account, so that the annotations on the pods are those
/// of the owner too.
fn is_rolled_out(observation: Observation<'_, ValidService>) -> bool {
    let Observation::Applied { desired, live, .. } = observation else { return false };
    desired.children.iter().all(|child| {
        live.get(&child.id)
            .is_some_and(|live| readiness::child_readiness(child.id.kind, live) == Readiness::Ready)
    })
}

/// The children that each part speaks for, in the order in which they are asked.
fn condition_members(name: &str, valid: &ValidService) -> Vec<(&'static str, Vec<ChildId>)> {
    let engine: &[ChildKind] = match (valid.engine, valid.metric) {
        (Engine::Knative, _) => &[ChildKind::KnativeService],
        (Engine::Keda, Metric::Cpu) => &[ChildKind::ScaledObject, ChildKind::Deployment, ChildKind::Service],
        (Engine::Keda, Metric::Concurrency | Metric::Rps) => {
            &[ChildKind::HttpScaledObject, ChildKind::Deployment, ChildKind::Service]
        }
    };
    let mut parts = vec![(kind::ENGINE_READY, engine.iter().map(|kind| ChildId::new(*kind, name)).collect())];
    if let (Some(host), Engine::Knative) = (&valid.host, valid.engine) {
        let certificate = valid.tls.then(|| ChildId::new(ChildKind::Certificate, host));
        parts.push((
            kind::DOMAIN_READY,
            certificate.into_iter().chain([ChildId::new(ChildKind::DomainMapping, host)]).collect(),
        ));
    }
    if !valid.external_secrets.is_empty() {
        let ids =
            valid.external_secrets.iter().map(|name| ChildId::new(ChildKind::ExternalSecret, name)).collect();
        parts.push((kind::SECRETS_READY, ids));
    }
    parts
}

/// One part: the first child that failed speaks for it, else the first that is not done.
fn part_condition(kind: &'static str, ids: &[ChildId], says: &ChildStates<'_>) -> NewCondition {
    let mut said = Vec::new();
    for id in ids {
        let about = |message: &str| {
            let message = if message.is_empty() { "is not ready yet" } else { message };
            format!("{} {}: {message}", id.kind.display(), id.name)
        };
        match says.readiness(id) {
            Readiness::Ready => {}
            Readiness::Failed { reason, message } => said.push((0, reason, about(&message))),
            Readiness::Waiting { reason, message } => said.push((1, reason, about(&message))),
        }
    }
    said.sort_by_key(|(rank, ..)| *rank);
    match said.into_iter().next() {
        None => NewCondition::new(kind, ConditionStatus::True, reason::READY, ""),
        // What has not come to an end is ours to name: an engine's word for it differs with every engine.
        Some((1, why, message)) if why == reason::PROGRESSING => {
            NewCondition::new(kind, ConditionStatus::False, reason::PROGRESSING, message)
        }
        Some((1, why, message)) => {
            NewCondition::new(kind, ConditionStatus::False, reason::PROGRESSING, format!("{message} ({why})"))
        }
        Some((_, why, message)) => NewCondition::new(kind, ConditionStatus::False, why, message),
    }
}

/// The children that were ready when the rollout ended; none while one runs.
fn baseline_children<'a>(previous: Option<&'a ElpioServiceStatus>, input: &StatusInput) -> &'a [ChildStatus] {
    previous.filter(|_| input.rollout.ended_at.is_some()).map_or(&[], |status| &status.children)
}

/// What the children say.
struct ChildStates<'a> {
    live: &'a LiveChildren,
    applied: &'a Applied,
    baseline_children: &'a [ChildStatus],
}

impl ChildStates<'_> {
    fn readiness(&self, id: &ChildId) -> Readiness {
        let Some(child) = self.live.get(id) else {
            return Readiness::Waiting {
                reason: reason::PROGRESSING.to_owned(),
                message: "is not there yet".to_owned(),
            };
        };
        match readiness::child_readiness(id.kind, child) {
            Readiness::Waiting { .. } if id.kind == ChildKind::Deployment && self.is_scaled(id, child) => {
                Readiness::Ready
            }
            said => said,
        }
    }

    /// An autoscaler writes the replicas: a generation that is none of ours, and then replicas that start
    /// beside those that serve.
    fn is_scaled(&self, id: &ChildId, child: &DynamicObject) -> bool {
        let was_ready = |c: &&ChildStatus| c.ready && c.kind == id.kind.kind() && c.name == id.name;
        let Some(before) = self.baseline_children.iter().find(was_ready) else { return false };
        let ours =
            self.applied.outcomes.iter().any(|(other, step)| other == id && *step == ChildOutcome::Changed);
        (!ours && !readiness::is_observed(child))
            || before.available.is_some_and(|before| readiness::is_scaling_up(child, before))
    }
}

fn children(desired: &Desired, says: &ChildStates<'_>) -> Vec<ChildStatus> {
    let child = |id: &ChildId, version: &Value| {
        let (ready, reason) = match says.readiness(id) {
            Readiness::Ready => (true, None),
            Readiness::Waiting { reason, .. } | Readiness::Failed { reason, .. } => {
                (false, Some(reason).filter(|r| !r.is_empty()))
            }
        };
        let api_version = version.as_str().unwrap_or_default().to_owned();
        let available = says
            .live
            .get(id)
            .filter(|_| id.kind == ChildKind::Deployment)
            .map(|child| readiness::available(child));
        ChildStatus {
            api_version,
            kind: id.kind.kind().to_owned(),
            name: id.name.clone(),
            ready,
            reason,
            available,
        }
    };
    desired.children.iter().map(|c| child(&c.id, &c.body["apiVersion"])).collect()
}

fn string_at(live: &LiveChildren, id: &ChildId, pointer: &str) -> Option<String> {
    live.get(id)?.data.pointer(pointer)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// What a client outside calls.
fn url(name: &str, valid: &ValidService, live: &LiveChildren, parts: &[NewCondition]) -> Option<String> {
    if !valid.public {
        return None;
    }
    match (valid.engine, &valid.host) {
        (Engine::Keda, host) => host.as_ref().map(|host| format!("http://{host}")),
        (Engine::Knative, Some(host))
            if parts.iter().any(|p| p.kind == kind::DOMAIN_READY && p.status == ConditionStatus::True) =>
        {
            string_at(live, &ChildId::new(ChildKind::DomainMapping, host), "/status/url")
        }
        (Engine::Knative, _) => {
            string_at(live, &ChildId::new(ChildKind::KnativeService, name), "/status/url")
        }
    }
}

/// What a client inside calls.
fn address(
    name: &str,
    namespace: &str,
    valid: &ValidService,
    live: &LiveChildren,
    defaults: &Defaults,
) -> Option<String> {
    let service = ChildId::new(ChildKind::Service, name);
    match (valid.engine, valid.metric) {
        (Engine::Knative, _) => {
            string_at(live, &ChildId::new(ChildKind::KnativeService, name), "/status/address/url")
        }
        (Engine::Keda, Metric::Cpu) => {
            live.contains_key(&service).then(|| format!("http://{name}.{namespace}.svc.cluster.local"))
        }
        (Engine::Keda, _) => live.contains_key(&service).then(|| defaults.keda_interceptor.clone()),
    }
}

/// The message of `Ready` when it is so: how to call it.
fn ready_message(name: &str, namespace: &str, valid: &ValidService, status: &ElpioServiceStatus) -> String {
    let mut ways = Vec::new();
    ways.extend(status.url.as_ref().map(|url| format!("serves at {url}")));
    ways.extend(status.address.as_ref().map(|address| match (valid.engine, valid.metric) {
        (Engine::Keda, Metric::Concurrency | Metric::Rps) => {
            let host = valid.host.clone().unwrap_or_else(|| format!("{name}.{namespace}"));
            format!("inside the cluster call {address} with Host: {host}")
        }
        _ => format!("inside the cluster call {address}"),
    }));
    if ways.is_empty() { "serves".to_owned() } else { ways.join("; ") }
}

/// What is worth an Event, in the order in which it happened.
fn events(
    name: &str,
    before: &[Condition],
    settled: &[ChildStatus],
    status: &ElpioServiceStatus,
    observation: Observation<'_, ValidService>,
    input: &StatusInput,
) -> Vec<NewEvent> {
    let transitions = Transitions { before, after: &status.conditions, input };
    let Observation::Applied { valid, desired, applied, live } = observation else {
        return transitions.invalid_event().into_iter().collect();
    };
    let reconciled = transitions
        .reconciled_condition()
        .map(|c| new_event(event_type::NORMAL, reason::RECONCILED, action::APPLY, c.message.clone()));
    let says = ChildStates { live, applied, baseline_children: settled };
    let related = first_unready(name, valid, &says).and_then(|id| transitions::related(&id, desired));
    let readiness = transitions
        .ready_event(|| ready_note(valid, status, input))
        .or_else(|| transitions.waiting_event(applied, related));
    let all = [
        reconciled,
        input.first_observation.then(|| ignored_fields_event(valid, desired)).flatten(),
        transitions.failed_event(applied, desired),
        readiness,
    ];
    all.into_iter().flatten().collect()
}

fn ignored_fields_event(valid: &ValidService, desired: &Desired) -> Option<NewEvent> {
    let fields: Vec<String> = desired.ignored.iter().map(|i| format!("{}: {}", i.field, i.why)).collect();
    let note =
        format!("engine {} cannot do what these fields ask: {}", valid.engine.as_str(), fields.join("; "));
    (!fields.is_empty()).then(|| new_event(event_type::WARNING, reason::FIELD_IGNORED, action::APPLY, note))
}

fn ready_note(valid: &ValidService, status: &ElpioServiceStatus, input: &StatusInput) -> String {
    let place = status.url.as_ref().map(|url| format!(" at {url}")).unwrap_or_default();
    format!("engine {} serves{place}{}", valid.engine.as_str(), input.since_edit())
}

/// The child that speaks for what is not ready: the first that failed, else the first that is not done.
fn first_unready(name: &str, valid: &ValidService, says: &ChildStates<'_>) -> Option<ChildId> {
    let rank = |id: &ChildId| match says.readiness(id) {
        Readiness::Ready => None,
        Readiness::Failed { .. } => Some(0),
        Readiness::Waiting { .. } => Some(1),
    };
    let open = condition_members(name, valid)
        .into_iter()
        .flat_map(|(_, ids)| ids)
        .filter_map(|id| rank(&id).map(|rank| (rank, id)));
    open.min_by_key(|(rank, _)| *rank).map(|(_, id)| id)
}
