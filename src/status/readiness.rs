//! What a child says of itself, for its current spec. Pure.

use kube::core::DynamicObject;
use serde_json::Value;

use crate::{api::condition::reason, foreign::ChildKind};

/// What a child says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It is ready for its current spec.
    Ready,
    /// It has not come to an end yet.
    Waiting {
        /// Why, in a word.
        reason: String,
        /// Why, for people.
        message: String,
    },
    /// It says that it is not ready.
    Failed {
        /// Its own reason.
        reason: String,
        /// Its own message.
        message: String,
    },
}

/// What a child of this kind says.
#[must_use]
pub fn child_readiness(kind: ChildKind, child: &DynamicObject) -> Readiness {
    match kind {
        ChildKind::Service => Readiness::Ready,
        ChildKind::Deployment => deployment(child),
        ChildKind::KnativeService => not_yet_observed(child).unwrap_or_else(|| knative(child)),
        ChildKind::DomainMapping | ChildKind::ElpioService => {
            not_yet_observed(child).unwrap_or_else(|| by_condition(child, "Ready"))
        }
        ChildKind::PipelineRun | ChildKind::TaskRun => by_condition(child, "Succeeded"),
        ChildKind::Certificate
            if condition(child, "Issuing").is_some_and(|c| text(c, "status") == "True") =>
        {
            let said = condition(child, "Issuing").map_or("", |c| text(c, "message"));
            waiting("Issuing", said)
        }
        ChildKind::Certificate
        | ChildKind::ExternalSecret
        | ChildKind::HttpScaledObject
        | ChildKind::ScaledObject => by_condition(child, "Ready"),
    }
}

fn waiting(reason: &str, message: impl Into<String>) -> Readiness {
    Readiness::Waiting { reason: reason.to_owned(), message: message.into() }
}

fn condition<'a>(child: &'a DynamicObject, kind: &str) -> Option<&'a Value> {
    child.data.pointer("/status/conditions")?.as_array()?.iter().find(|c| text(c, "type") == kind)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or("")
}

fn number(child: &DynamicObject, pointer: &str) -> i64 {
    child.data.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

/// Waits for `status.observedGeneration` to reach the generation.
fn not_yet_observed(child: &DynamicObject) -> Option<Readiness> {
    let generation = child.metadata.generation.filter(|_| !is_observed(child))?;
    Some(waiting(reason::PROGRESSING, format!("has not seen generation {generation} yet")))
}

/// Its status speaks of its current generation.
#[must_use]
pub fn is_observed(child: &DynamicObject) -> bool {
    let observation = child.data.pointer("/status/observedGeneration").and_then(Value::as_i64);
    child.metadata.generation.is_none_or(|generation| observation == Some(generation))
}

fn by_condition(child: &DynamicObject, name: &str) -> Readiness {
    let Some(condition) = condition(child, name) else {
        return waiting(reason::PROGRESSING, "does not say yet whether it is ready");
    };
    // Kinds that report a generation with the condition (cert-manager, the HTTP add-on) may still speak of an
    // older spec.
    let stale = match (condition.get("observedGeneration").and_then(Value::as_i64), child.metadata.generation)
    {
        (Some(observation), Some(generation)) => observation < generation,
        _ => false,
    };
    let (why, message) = (text(condition, "reason"), text(condition, "message"));
    match text(condition, "status") {
        _ if stale => waiting(reason::PROGRESSING, "has not seen its latest generation yet"),
        "True" => Readiness::Ready,
        "False" => Readiness::Failed { reason: why.to_owned(), message: message.to_owned() },
        _ => waiting(if why.is_empty() { reason::PROGRESSING } else { why }, message),
    }
}

/// Knative's `Ready` may say only that there is no ready Revision; why stands in the condition of its
/// configuration.
fn knative(child: &DynamicObject) -> Readiness {
    let said = by_condition(child, "Ready");
    let cause = condition(child, "ConfigurationsReady")
        .filter(|c| text(c, "status") == "False" && !text(c, "message").is_empty());
    match (said, cause) {
        (Readiness::Failed { .. }, Some(cause)) => Readiness::Failed {
            reason: text(cause, "reason").to_owned(),
            message: text(cause, "message").to_owned(),
        },
        (said, _) => said,
    }
}

/// How many of a Deployment's replicas are available.
#[must_use]
pub fn available(child: &DynamicObject) -> i64 {
    number(child, "/status/availableReplicas")
}

/// A Deployment that was ready with so many replicas has them still, and gets more: nothing is rolled out,
/// nobody is without an answer.
#[must_use]
pub fn is_scaling_up(child: &DynamicObject, before: i64) -> bool {
    let rolled_out =
        condition(child, "Progressing").is_some_and(|c| text(c, "reason") == "NewReplicaSetAvailable");
    let updated = number(child, "/status/updatedReplicas") == number(child, "/status/replicas");
    is_observed(child) && rolled_out && updated && available(child) >= before.max(1)
}

fn deployment(child: &DynamicObject) -> Readiness {
    if let Some(waiting) = not_yet_observed(child) {
        return waiting;
    }
    let failed = |condition: &Value| Readiness::Failed {
        reason: text(condition, "reason").to_owned(),
        message: text(condition, "message").to_owned(),
    };
    if let Some(failure) = condition(child, "ReplicaFailure").filter(|c| text(c, "status") == "True") {
        return failed(failure);
    }
    if let Some(progress) =
        condition(child, "Progressing").filter(|c| text(c, "reason") == "ProgressDeadlineExceeded")
    {
        return failed(progress);
    }
    let (updated, total, available) =
        (number(child, "/status/updatedReplicas"), number(child, "/status/replicas"), available(child));
    let to_zero = child.data.pointer("/spec/replicas").and_then(Value::as_i64) == Some(0);
    if to_zero || (updated == total && total == available && available >= 1) {
        return Readiness::Ready;
    }
    waiting(
        reason::PROGRESSING,
        format!("{available} of {total} replicas are available, {updated} are up to date"),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn object(generation: i64, data: &Value) -> DynamicObject {
        let mut whole =
            json!({"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "web", "generation": generation}});
        whole.as_object_mut().unwrap().extend(data.as_object().unwrap().clone());
        serde_json::from_value(whole).unwrap()
    }

    fn word(readiness: &Readiness) -> String {
        match readiness {
            Readiness::Ready => "ready".into(),
            Readiness::Waiting { reason, .. } => format!("waiting {reason}"),
            Readiness::Failed { reason, .. } => format!("failed {reason}"),
        }
    }

    #[test]
    fn every_kind() {
        let ready = |status: &str| json!({"status": {"conditions": [{"type": "Ready", "status": status, "reason": "R", "message": "m"}]}});
        let observation = |at: i64, status: &str| json!({"status": {"observedGeneration": at, "conditions": [{"type": "Ready", "status": status, "reason": "R"}]}});
        let conditioned = |at: i64| json!({"status": {"conditions": [{"type": "Ready", "status": "True", "observedGeneration": at}]}});
        let deploy = |at: i64, replicas: i64, updated: i64, total: i64, available: i64| json!({"spec": {"replicas": replicas}, "status": {"observedGeneration": at, "updatedReplicas": updated, "replicas": total, "availableReplicas": available}});
        let failing = |kind: &str, status: &str, reason: &str| json!({"status": {"observedGeneration": 2, "conditions": [{"type": kind, "status": status, "reason": reason}]}});
        for (kind, data, expected) in [
            (ChildKind::Service, json!({}), "ready"),
            (ChildKind::KnativeService, json!({}), "waiting Progressing"),
            (ChildKind::KnativeService, observation(1, "True"), "waiting Progressing"),
            (ChildKind::KnativeService, observation(1, "False"), "waiting Progressing"),
            (ChildKind::KnativeService, observation(2, "Unknown"), "waiting R"),
            (ChildKind::KnativeService, observation(2, "False"), "failed R"),
            (ChildKind::KnativeService, observation(2, "True"), "ready"),
            (
                ChildKind::KnativeService,
                json!({"status": {"observedGeneration": 2, "conditions": [
                    {"type": "Ready", "status": "False", "reason": "RevisionMissing", "message": "does not have any ready Revision"},
                    {"type": "ConfigurationsReady", "status": "False", "reason": "RevisionFailed", "message": "exit code 1"}]}}),
                "failed RevisionFailed",
            ),
            (ChildKind::DomainMapping, observation(2, "True"), "ready"),
            (ChildKind::ExternalSecret, ready("True"), "ready"),
            (ChildKind::ExternalSecret, ready("False"), "failed R"),
            (ChildKind::ExternalSecret, json!({}), "waiting Progressing"),
            (ChildKind::ScaledObject, ready("True"), "ready"),
            (ChildKind::ScaledObject, ready("Unknown"), "waiting R"),
            (ChildKind::HttpScaledObject, conditioned(1), "waiting Progressing"),
            (ChildKind::HttpScaledObject, conditioned(2), "ready"),
            (ChildKind::Certificate, conditioned(2), "ready"),
            (
                ChildKind::Certificate,
                json!({"status": {"conditions": [{"type": "Ready", "status": "False"}, {"type": "Issuing", "status": "True"}]}}),
                "waiting Issuing",
            ),
            (ChildKind::Deployment, deploy(1, 1, 1, 1, 1), "waiting Progressing"),
            (ChildKind::Deployment, deploy(2, 1, 1, 1, 1), "ready"),
            (ChildKind::Deployment, deploy(2, 1, 0, 1, 1), "waiting Progressing"),
            (ChildKind::Deployment, deploy(2, 2, 2, 3, 2), "waiting Progressing"),
            (ChildKind::Deployment, deploy(2, 0, 0, 0, 0), "ready"),
            (ChildKind::Deployment, deploy(2, 1, 0, 0, 0), "waiting Progressing"),
            (ChildKind::Deployment, deploy(2, 3, 3, 3, 1), "waiting Progressing"),
            (ChildKind::Deployment, failing("ReplicaFailure", "True", "FailedCreate"), "failed FailedCreate"),
            (
                ChildKind::Deployment,
                failing("Progressing", "False", "ProgressDeadlineExceeded"),
                "failed ProgressDeadlineExceeded",
            ),
        ] {
            assert_eq!(word(&child_readiness(kind, &object(2, &data))), expected, "{kind:?} {data}");
        }
    }

    #[test]
    fn what_grows_was_rolled_out_and_lost_nothing() {
        let deployment = |at: i64, updated: i64, available: i64, reason: &str| {
            let conditions = [json!({"type": "Progressing", "status": "True", "reason": reason})];
            let count = json!({"observedGeneration": at, "updatedReplicas": updated, "replicas": 3, "availableReplicas": available});
            let mut data = json!({"status": count});
            data["status"]["conditions"] = json!(conditions);
            object(2, &data)
        };
        let complete = "NewReplicaSetAvailable";
        for (child, before, expected) in [
            (deployment(2, 3, 1, complete), 1, true),
            (deployment(2, 3, 2, complete), 1, true),
            (deployment(2, 3, 1, complete), 0, true),
            (deployment(2, 3, 0, complete), 0, false),
            (deployment(2, 3, 1, complete), 3, false),
            (deployment(2, 1, 1, complete), 1, false),
            (deployment(1, 3, 1, complete), 1, false),
            (deployment(2, 3, 1, "ReplicaSetUpdated"), 1, false),
        ] {
            assert_eq!(is_scaling_up(&child, before), expected, "{before} {:?}", child.data);
        }
    }
}
