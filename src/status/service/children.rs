//! The readiness of a service's children, and the conditions derived from it. Pure; `status::readiness` reads
//! a single child.

use jiff::Timestamp;
use kube::core::DynamicObject;
use serde_json::Value;

use crate::{
    api::{
        ChildStatus, Engine,
        condition::{kind, reason},
        network::Metric,
    },
    foreign::ChildKind,
    render::{
        ChildId, Desired, ValidService,
        applied::{Applied, ChildOutcome, LiveChildren},
    },
    status::{
        conditions::{ConditionStatus, NewCondition},
        readiness::{self, Readiness},
    },
};

/// The live children, with their earlier state.
pub(super) struct ChildStates<'a> {
    /// The live children.
    pub live: &'a LiveChildren,
    /// The result of this reconcile's apply step.
    pub applied: &'a Applied,
    /// The children in the status since the rollout ended; empty during a rollout.
    pub baseline: &'a [ChildStatus],
    /// The current time.
    pub now: Timestamp,
}

impl ChildStates<'_> {
    /// The readiness of a child, ignoring an autoscaler's changes.
    pub(super) fn readiness(&self, id: &ChildId) -> Readiness {
        let Some(child) = self.live.get(id) else {
            return Readiness::Waiting {
                reason: reason::PROGRESSING.to_owned(),
                message: "not created yet".to_owned(),
            };
        };
        match readiness::child_readiness(id.kind, child) {
            waiting @ Readiness::Waiting { .. } if id.kind == ChildKind::Deployment => {
                self.while_scaling(id, child).unwrap_or(waiting)
            }
            readiness => readiness,
        }
    }

    /// The readiness of a Deployment that was ready, while an autoscaler changes its replicas: first there is
    /// a generation that is not Elpio's, then replicas start.
    fn while_scaling(&self, id: &ChildId, child: &DynamicObject) -> Option<Readiness> {
        let before =
            self.baseline.iter().find(|c| c.ready && c.kind == id.kind.kind() && c.name == id.name)?;
        let changed = (id.clone(), ChildOutcome::Changed);
        if !readiness::is_observed(child) {
            return (!self.applied.outcomes.contains(&changed)).then_some(Readiness::Ready);
        }
        readiness::while_scaling(child, before.available?, self.now)
    }

    /// The deadline of a Deployment's start from zero.
    pub(super) fn recheck_at(&self) -> Option<Timestamp> {
        let asleep = self.baseline.iter().filter(|c| c.ready && c.available == Some(0));
        let live = asleep.filter_map(|c| self.live.get(&ChildId::new(ChildKind::Deployment, &c.name)));
        live.filter_map(|child| readiness::start_deadline_at(child, self.now)).min()
    }

    /// The child that makes the service unready, and whether it failed: the first that failed, else the first
    /// that is not ready.
    pub(super) fn first_unready(&self, name: &str, valid: &ValidService) -> Option<(ChildId, bool)> {
        let ids = dependent_conditions(name, valid).into_iter().flat_map(|(_, ids)| ids);
        let open = ids.filter_map(|id| match self.readiness(&id) {
            Readiness::Ready => None,
            Readiness::Failed { .. } => Some((id, true)),
            Readiness::Waiting { .. } => Some((id, false)),
        });
        open.min_by_key(|(_, failed)| !failed)
    }

    /// The children for the status.
    pub(super) fn statuses(&self, desired: &Desired) -> Vec<ChildStatus> {
        desired.children.iter().map(|child| self.status(&child.id, &child.body()["apiVersion"])).collect()
    }

    fn status(&self, id: &ChildId, api_version: &Value) -> ChildStatus {
        let (ready, reason) = match self.readiness(id) {
            Readiness::Ready => (true, None),
            Readiness::Waiting { reason, .. } | Readiness::Failed { reason, .. } => (false, Some(reason)),
        };
        let deployment = self.live.get(id).filter(|_| id.kind == ChildKind::Deployment);
        ChildStatus {
            api_version: api_version.as_str().unwrap_or_default().to_owned(),
            kind: id.kind.kind().to_owned(),
            name: id.name.clone(),
            ready,
            reason: reason.filter(|reason| !reason.is_empty()),
            available: deployment.map(|child| readiness::available(child)),
        }
    }
}

/// The conditions other than `Ready` and `Reconciled`, each with the children that determine it, by
/// precedence.
pub(super) fn dependent_conditions(name: &str, valid: &ValidService) -> Vec<(&'static str, Vec<ChildId>)> {
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
        let mapping = ChildId::new(ChildKind::DomainMapping, host);
        parts.push((kind::DOMAIN_READY, certificate.into_iter().chain([mapping]).collect()));
    }
    if !valid.secrets.is_empty() {
        let id = |name: &String| ChildId::new(ChildKind::ExternalSecret, name);
        parts.push((kind::SECRETS_READY, valid.secrets.iter().map(|secret| id(&secret.name)).collect()));
    }
    parts
}

/// One condition: of the first child that failed, else of the first that is not ready.
pub(super) fn dependent_condition(
    kind: &'static str,
    ids: &[ChildId],
    states: &ChildStates<'_>,
) -> NewCondition {
    let mut open = Vec::new();
    for id in ids {
        let (failed, reason, message) = match states.readiness(id) {
            Readiness::Ready => continue,
            Readiness::Failed { reason, message } => (true, reason, message),
            Readiness::Waiting { reason, message } => (false, reason, message),
        };
        let message = if message.is_empty() { "not ready" } else { &message };
        open.push((failed, reason, format!("{id}: {message}")));
    }
    match open.into_iter().min_by_key(|(failed, ..)| !failed) {
        None => NewCondition::new(kind, ConditionStatus::True, reason::READY, ""),
        Some((true, why, message)) => NewCondition::new(kind, ConditionStatus::False, why, message),
        // A child in progress gets Elpio's reason, as each engine's differs.
        Some((false, why, message)) => {
            let message = if why == reason::PROGRESSING { message } else { format!("{message} ({why})") };
            NewCondition::new(kind, ConditionStatus::False, reason::PROGRESSING, message)
        }
    }
}
