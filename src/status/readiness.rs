//! The readiness that a single child reports for its current spec. Pure; `status::service` takes its earlier
//! state into account.

use jiff::{SignedDuration, Timestamp};
use kube::core::DynamicObject;
use serde_json::Value;

use crate::{
    api::{condition::reason, redaction::redact},
    foreign::{
        ChildKind, condition,
        fields::{integer, non_empty_text, text, time},
    },
};

/// The progress deadline of a Deployment that sets none.
const PROGRESS_DEADLINE: i64 = 600;

/// The readiness that a child reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Ready for its current spec.
    Ready,
    /// Still in progress.
    Waiting {
        /// The reason.
        reason: String,
        /// The message.
        message: String,
    },
    /// It reports a failure.
    Failed {
        /// The child's reason.
        reason: String,
        /// The child's message.
        message: String,
    },
}

/// The readiness of a child of this kind.
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
        ChildKind::Certificate => certificate(child),
        ChildKind::ExternalSecret => external_secret(child),
        ChildKind::HttpScaledObject | ChildKind::ScaledObject => by_condition(child, "Ready"),
    }
}

fn waiting(reason: &str, message: impl Into<String>) -> Readiness {
    Readiness::Waiting { reason: reason.to_owned(), message: message.into() }
}

/// A failure with the condition's own reason and message.
fn failed(condition: &Value) -> Readiness {
    Readiness::Failed { reason: text(condition, "/reason").to_owned(), message: message_of(condition) }
}

/// The condition, if it has this status.
fn condition_with<'a>(child: &'a DynamicObject, kind: &str, status: &str) -> Option<&'a Value> {
    condition(child, kind).filter(|c| text(c, "/status") == status)
}

/// A condition's message, redacted: it may repeat a URL from the spec.
fn message_of(condition: &Value) -> String {
    redact(text(condition, "/message")).into_owned()
}

fn number(child: &DynamicObject, pointer: &str) -> i64 {
    integer(&child.data, pointer).unwrap_or(0)
}

/// Waiting, until `status.observedGeneration` reaches the generation.
fn not_yet_observed(child: &DynamicObject) -> Option<Readiness> {
    let generation = child.metadata.generation.filter(|_| !is_observed(child))?;
    Some(waiting(reason::PROGRESSING, format!("has not observed generation {generation} yet")))
}

/// Whether the status describes the current generation.
#[must_use]
pub fn is_observed(child: &DynamicObject) -> bool {
    let observed = integer(&child.data, "/status/observedGeneration");
    child.metadata.generation.is_none_or(|generation| observed == Some(generation))
}

fn by_condition(child: &DynamicObject, name: &str) -> Readiness {
    let Some(condition) = condition(child, name) else {
        return waiting(reason::PROGRESSING, "has not reported readiness yet");
    };
    // Kinds that report the generation within the condition (cert-manager, the HTTP add-on) may still
    // describe an older spec.
    let stale = match (integer(condition, "/observedGeneration"), child.metadata.generation) {
        (Some(observed), Some(generation)) => observed < generation,
        _ => false,
    };
    let (why, message) = (text(condition, "/reason"), message_of(condition));
    match text(condition, "/status") {
        _ if stale => waiting(reason::PROGRESSING, "has not observed its latest generation yet"),
        "True" => Readiness::Ready,
        "False" => failed(condition),
        _ => waiting(if why.is_empty() { reason::PROGRESSING } else { why }, message),
    }
}

/// External Secrets keeps `Ready` as it was until it has synced an edit.
fn external_secret(child: &DynamicObject) -> Readiness {
    match by_condition(child, "Ready") {
        Readiness::Ready if !is_synced(child) => {
            waiting(reason::PROGRESSING, "has not synced its latest generation yet")
        }
        readiness => readiness,
    }
}

/// Its status names the generation that was synced, in front of a hash of labels and annotations. External Secrets
/// does not sync an edit of a Secret that is immutable or created once.
fn is_synced(child: &DynamicObject) -> bool {
    let version = text(&child.data, "/status/syncedResourceVersion");
    let synced = version.split('-').next().and_then(|generation| generation.parse::<i64>().ok());
    let is_synced_once = text(&child.data, "/spec/refreshPolicy") == "CreatedOnce"
        || child.data.pointer("/spec/target/immutable").is_some_and(|immutable| immutable == true);
    is_synced_once
        || synced.is_none_or(|synced| child.metadata.generation.is_none_or(|latest| synced >= latest))
}

/// Knative's `Ready` may say only that there is no ready Revision; the condition of its configuration has the
/// cause.
fn knative(child: &DynamicObject) -> Readiness {
    let ready = by_condition(child, "Ready");
    let cause =
        condition_with(child, "ConfigurationsReady", "False").filter(|c| !text(c, "/message").is_empty());
    match (ready, cause) {
        (Readiness::Failed { .. }, Some(cause)) => failed(cause),
        (ready, _) => ready,
    }
}

/// A renewal (`Issuing` True) of a valid certificate does not matter. A certificate that is not valid counts
/// as being issued until cert-manager reports a failure; only `Issuing` has the cause.
fn certificate(child: &DynamicObject) -> Readiness {
    let (why, message) = match by_condition(child, "Ready") {
        Readiness::Failed { reason, message } | Readiness::Waiting { reason, message } => (reason, message),
        Readiness::Ready => return Readiness::Ready,
    };
    if let Some(issuing) = condition_with(child, "Issuing", "True") {
        return waiting("Issuing", message_of(issuing));
    }
    let issuance = condition_with(child, "Issuing", "False").filter(|c| text(c, "/reason") == "Failed");
    let last_failure = non_empty_text(&child.data, "/status/lastFailureTime");
    match (issuance, last_failure) {
        (Some(issuance), _) => failed(issuance),
        (None, Some(at)) => {
            Readiness::Failed { reason: why, message: format!("{message} (the issuance failed at {at})") }
        }
        (None, None) => waiting(&why, message),
    }
}

/// How many available replicas a Deployment has, without those about to be removed.
#[must_use]
pub fn available(child: &DynamicObject) -> i64 {
    if is_scaled_to_zero(child) { 0 } else { number(child, "/status/availableReplicas") }
}

fn is_scaled_to_zero(child: &DynamicObject) -> bool {
    integer(&child.data, "/spec/replicas") == Some(0)
}

/// The readiness of a Deployment that was ready with `before` available replicas while an autoscaler changes
/// their number: ready while it keeps that number or the desired one, and while it starts from zero. `None`
/// if scaling does not explain the missing replicas.
#[must_use]
pub fn while_scaling(child: &DynamicObject, before: i64, now: Timestamp) -> Option<Readiness> {
    let rolled_out =
        condition(child, "Progressing").is_some_and(|c| text(c, "/reason") == "NewReplicaSetAvailable");
    let updated = number(child, "/status/updatedReplicas") == number(child, "/status/replicas");
    if !(is_observed(child) && rolled_out && updated) {
        return None;
    }
    let desired = integer(&child.data, "/spec/replicas").unwrap_or(1);
    match before {
        0 => Some(scaling_from_zero(child, now)),
        _ => (available(child) >= before.min(desired).max(1)).then_some(Readiness::Ready),
    }
}

fn scaling_from_zero(child: &DynamicObject, now: Timestamp) -> Readiness {
    match start_deadline(child) {
        Some((unavailable, at)) if now > at => failed(unavailable),
        _ => Readiness::Ready,
    }
}

/// The condition that reports a start from zero, and its deadline. A start gets the time of a rollout,
/// because the Deployment controller's own deadline applies only during a rollout.
fn start_deadline(child: &DynamicObject) -> Option<(&Value, Timestamp)> {
    let unavailable = condition_with(child, "Available", "False").filter(|_| available(child) == 0)?;
    let since = time(unavailable, "/lastTransitionTime")?;
    let deadline = integer(&child.data, "/spec/progressDeadlineSeconds");
    let deadline = SignedDuration::from_secs(deadline.unwrap_or(PROGRESS_DEADLINE));
    Some((unavailable, since.checked_add(deadline).ok()?))
}

/// The deadline of a start from zero in progress. The Deployment does not change when it passes.
#[must_use]
pub fn start_deadline_at(child: &DynamicObject, now: Timestamp) -> Option<Timestamp> {
    start_deadline(child).map(|(_, at)| at).filter(|at| now <= *at)
}

fn deployment(child: &DynamicObject) -> Readiness {
    if let Some(waiting) = not_yet_observed(child) {
        return waiting;
    }
    let late = condition(child, "Progressing").filter(|c| text(c, "/reason") == "ProgressDeadlineExceeded");
    if let Some(failure) = condition_with(child, "ReplicaFailure", "True").or(late) {
        return failed(failure);
    }
    let (updated, total, available) =
        (number(child, "/status/updatedReplicas"), number(child, "/status/replicas"), available(child));
    if is_scaled_to_zero(child) || (updated == total && total == available && available >= 1) {
        return Readiness::Ready;
    }
    waiting(
        reason::PROGRESSING,
        format!("{available} of {total} replicas are available, {updated} are up to date"),
    )
}

#[cfg(test)]
#[path = "readiness_test.rs"]
mod tests;
