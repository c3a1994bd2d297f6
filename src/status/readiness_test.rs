//! The readiness of single children.
#![allow(clippy::unwrap_used)]
use serde_json::{Value, json};

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
    let synced = |version: &str, spec: &Value| json!({"spec": spec, "status": {"syncedResourceVersion": version, "conditions": [{"type": "Ready", "status": "True"}]}});
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
        (ChildKind::ExternalSecret, synced("1-abc", &json!({})), "waiting Progressing"),
        (ChildKind::ExternalSecret, synced("2-abc", &json!({})), "ready"),
        (ChildKind::ExternalSecret, synced("", &json!({})), "ready"),
        (ChildKind::ExternalSecret, synced("1-abc", &json!({"refreshPolicy": "CreatedOnce"})), "ready"),
        (
            ChildKind::ExternalSecret,
            synced("1-abc", &json!({"refreshPolicy": "Periodic"})),
            "waiting Progressing",
        ),
        (ChildKind::ExternalSecret, synced("1-abc", &json!({"target": {"immutable": true}})), "ready"),
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

/// A rolled out Deployment at generation 2 with `(desired, total, available)` replicas; if none is available,
/// since second 100.
fn scaled(desired: i64, total: i64, available: i64) -> Value {
    let progressing = json!({"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"});
    let unavailable = json!({"type": "Available", "status": if available == 0 { "False" } else { "True" },
        "reason": "MinimumReplicasUnavailable", "message": "m", "lastTransitionTime": "1970-01-01T00:01:40Z"});
    json!({
        "spec": {"replicas": desired, "progressDeadlineSeconds": 60},
        "status": {"observedGeneration": 2, "updatedReplicas": total, "replicas": total,
            "availableReplicas": available, "conditions": [progressing, unavailable]},
    })
}

#[test]
fn the_work_of_an_autoscaler_is_no_transition() {
    let with = |mut data: Value, pointer: &str, value: Value| {
        *data.pointer_mut(pointer).unwrap() = value;
        data
    };
    let of = |data: &Value, before: i64, second: i64| {
        let readiness = while_scaling(&object(2, data), before, Timestamp::from_second(second).unwrap());
        readiness.as_ref().map_or_else(|| "-".to_owned(), word)
    };
    for (what, data, before, second, expected) in [
        ("it grows", scaled(3, 3, 1), 1, 0, "ready"),
        ("it grows further", scaled(3, 3, 2), 1, 0, "ready"),
        ("it shrinks", scaled(1, 2, 1), 3, 0, "ready"),
        ("it shrinks to fewer than are available", scaled(2, 3, 1), 3, 0, "-"),
        ("it wakes", scaled(1, 0, 0), 0, 110, "ready"),
        ("it wakes, and the pod is there", scaled(1, 1, 0), 0, 160, "ready"),
        ("it wakes to more than one", scaled(3, 3, 1), 0, 900, "ready"),
        ("it does not wake in time", scaled(1, 1, 0), 0, 161, "failed MinimumReplicasUnavailable"),
        ("all that served is gone", scaled(1, 1, 0), 1, 0, "-"),
        ("one of three is gone", scaled(3, 3, 2), 3, 0, "-"),
        ("a new template", with(scaled(3, 3, 1), "/status/updatedReplicas", json!(1)), 1, 0, "-"),
        ("not observed", with(scaled(3, 3, 1), "/status/observedGeneration", json!(1)), 1, 0, "-"),
        (
            "not rolled out",
            with(scaled(3, 3, 1), "/status/conditions/0/reason", json!("ReplicaSetUpdated")),
            1,
            0,
            "-",
        ),
    ] {
        assert_eq!(of(&data, before, second), expected, "{what}");
    }
    assert_eq!(available(&object(2, &scaled(0, 1, 1))), 0, "what is to be taken away does not count");
}

#[test]
fn a_start_from_zero_is_too_late_at_its_deadline() {
    for (what, data, second, expected) in [
        ("under way", scaled(1, 1, 0), 110, Some(160)),
        ("at its last moment", scaled(1, 1, 0), 160, Some(160)),
        ("too late, which is known", scaled(1, 1, 0), 161, None),
        ("awake", scaled(1, 1, 1), 110, None),
        ("asleep", with_status(scaled(0, 0, 0), "True"), 110, None),
    ] {
        let at = start_deadline_at(&object(2, &data), Timestamp::from_second(second).unwrap());
        assert_eq!(at.map(Timestamp::as_second), expected, "{what}");
    }
}

fn with_status(mut data: Value, available: &str) -> Value {
    data["status"]["conditions"][1]["status"] = json!(available);
    data
}

#[test]
fn a_certificate_counts_by_its_validity_and_its_issuance() {
    let certificate = |ready: &str, issuing: Option<(&str, &str)>, last_failure: Option<&str>| {
        let issuing = issuing.map(|(status, reason)| {
            json!({"type": "Issuing", "status": status, "reason": reason, "message": "no challenge"})
        });
        let ready =
            json!({"type": "Ready", "status": ready, "reason": "DoesNotExist", "message": "no Secret"});
        let conditions: Vec<Value> = issuing.into_iter().chain([ready]).collect();
        json!({"status": {"conditions": conditions, "lastFailureTime": last_failure}})
    };
    let (renewing, issued) = (Some(("True", "Renewing")), Some(("False", "Issued")));
    let refused = Some(("False", "Failed"));
    let at = Some("2026-01-01T00:00:00Z");
    for (what, data, expected) in [
        ("valid", certificate("True", None, None), "ready"),
        ("renewed while it is valid", certificate("True", renewing, None), "ready"),
        ("valid, and the renewal failed", certificate("True", refused, at), "ready"),
        ("its first moment", certificate("False", None, None), "waiting DoesNotExist"),
        ("issued for the first time", certificate("False", renewing, None), "waiting Issuing"),
        ("tried again", certificate("False", renewing, at), "waiting Issuing"),
        ("the issuance failed", certificate("False", refused, at), "failed Failed"),
        ("it failed before", certificate("False", issued, at), "failed DoesNotExist"),
        ("nothing is reported", json!({}), "waiting Progressing"),
    ] {
        assert_eq!(word(&child_readiness(ChildKind::Certificate, &object(2, &data))), expected, "{what}");
    }
    let failed = child_readiness(ChildKind::Certificate, &object(2, &certificate("False", refused, at)));
    assert_eq!(failed, Readiness::Failed { reason: "Failed".into(), message: "no challenge".into() });
}
