//! The status that each real engine writes, with that project's conditions, reasons and messages. Pure.

use kube::{ResourceExt as _, core::DynamicObject};
use serde_json::{Value, json};

use crate::engines::fake::FakeStatus;

pub(super) fn knative_service(object: &DynamicObject, state: &FakeStatus) -> Value {
    let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
    let local = object
        .labels()
        .get("networking.knative.dev/visibility")
        .is_some_and(|value| value == "cluster-local");
    let inside = format!("http://{name}.{namespace}.svc.cluster.local");
    let url = if local { inside.clone() } else { format!("http://{name}.{namespace}.example.com") };
    let pending = ("Deploying", "Waiting for the revision's pods to become ready.");
    let mut status = json!({
        "observedGeneration": object.metadata.generation,
        "conditions": [
            condition("ConfigurationsReady", state, ("", ""), pending),
            condition("Ready", state, ("", ""), pending),
            condition("RoutesReady", state, ("", ""), pending),
        ],
        "latestCreatedRevisionName": revision(object),
    });
    if *state == FakeStatus::Ready {
        status["latestReadyRevisionName"] = json!(revision(object));
        status["url"] = json!(url);
        status["address"] = json!({"url": inside});
        status["traffic"] =
            json!([{"latestRevision": true, "percent": 100, "revisionName": revision(object)}]);
    }
    status
}

pub(super) fn domain_mapping(object: &DynamicObject, state: &FakeStatus) -> Value {
    let host = object.name_any();
    let scheme = if object.data.pointer("/spec/tls").is_some() { "https" } else { "http" };
    json!({
        "observedGeneration": object.metadata.generation,
        "conditions": [condition("Ready", state, ("", ""), ("IngressNotConfigured", "Ingress has not yet been reconciled."))],
        "url": format!("{scheme}://{host}"),
        "address": {"url": format!("{scheme}://{host}")},
    })
}

pub(super) fn certificate(object: &DynamicObject, state: &FakeStatus) -> Value {
    let ready = ("Ready", "Certificate is up to date and has not expired");
    let pending = ("DoesNotExist", "Issuing certificate as Secret does not exist");
    let mut ready = condition("Ready", state, ready, pending);
    // cert-manager reports False, not Unknown, while it issues a certificate.
    if *state == FakeStatus::Pending {
        ready["status"] = json!("False");
    }
    ready["observedGeneration"] = json!(object.metadata.generation);
    json!({"conditions": [ready]})
}

pub(super) fn external_secret(object: &DynamicObject, state: &FakeStatus) -> Value {
    if *state == FakeStatus::Pending {
        // External Secrets writes no status before its first attempt has ended.
        return json!({});
    }
    let ready = condition("Ready", state, ("SecretSynced", "secret synced"), ("", ""));
    let generation = object.metadata.generation.unwrap_or_default();
    json!({"conditions": [ready], "refreshTime": now(), "syncedResourceVersion": format!("{generation}-0")})
}

pub(super) fn http_scaled_object(object: &DynamicObject, state: &FakeStatus) -> Value {
    if *state == FakeStatus::Pending {
        return json!({});
    }
    let mut ready =
        condition("Ready", state, ("Reconciled", "ScaledObject created and configured"), ("", ""));
    ready["observedGeneration"] = json!(object.metadata.generation);
    json!({
        "conditions": [ready],
        "targetWorkload": object.data.pointer("/spec/scaleTargetRef/name"),
        "targetService": object.data.pointer("/spec/scaleTargetRef/service"),
    })
}

pub(super) fn scaled_object(_: &DynamicObject, state: &FakeStatus) -> Value {
    let ready = ("ScaledObjectReady", "ScaledObject is defined correctly and is ready for scaling");
    // KEDA's conditions have no transition times.
    let plain = |mut condition: Value| {
        condition.as_object_mut().map(|fields| fields.remove("lastTransitionTime"));
        condition
    };
    json!({
        "conditions": [
            plain(condition("Ready", state, ready, ("", ""))),
            {"type": "Active", "status": "False", "reason": "ScalerNotActive", "message": "Scaling is not performed because triggers are not active"},
        ],
        "hpaName": "keda-hpa",
    })
}

pub(super) fn deployment(object: &DynamicObject, state: &FakeStatus) -> Value {
    let replicas = object.data.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
    let available = if *state == FakeStatus::Ready { replicas } else { 0 };
    let ready = ("MinimumReplicasAvailable", "Deployment has minimum availability.");
    let not_ready = ("MinimumReplicasUnavailable", "Deployment does not have minimum availability.");
    let progressing = match state {
        FakeStatus::NotReady { .. } => condition("Progressing", state, ("", ""), ("", "")),
        _ => condition(
            "Progressing",
            &FakeStatus::Ready,
            ("NewReplicaSetAvailable", "ReplicaSet has successfully progressed."),
            ("", ""),
        ),
    };
    let mut is_available = condition("Available", state, ready, not_ready);
    if *state != FakeStatus::Ready {
        is_available = condition("Available", &FakeStatus::Pending, ready, not_ready);
        is_available["status"] = json!("False");
    }
    json!({
        "observedGeneration": object.metadata.generation,
        "replicas": replicas,
        "updatedReplicas": replicas,
        "readyReplicas": available,
        "availableReplicas": available,
        "unavailableReplicas": replicas - available,
        "conditions": [is_available, progressing],
    })
}

/// Every build yields the same image; nothing is built.
pub(super) fn pipeline_run(_: &DynamicObject, state: &FakeStatus) -> Value {
    let running = ("Running", "Tasks Completed: 0 (Failed: 0, Cancelled 0), Incomplete: 2, Skipped: 0");
    let done = ("Succeeded", "Tasks Completed: 2 (Failed: 0, Cancelled 0), Skipped: 0");
    let mut status =
        json!({"conditions": [condition("Succeeded", state, done, running)], "startTime": now()});
    if *state == FakeStatus::Ready {
        status["results"] = json!([{"name": "IMAGE_DIGEST", "value": format!("sha256:{}", "5e".repeat(32))}]);
    }
    if *state != FakeStatus::Pending {
        status["completionTime"] = json!(now());
    }
    status
}

pub(super) fn pod(object: &DynamicObject, state: &FakeStatus) -> Value {
    let ready = *state == FakeStatus::Ready;
    let containers: Vec<Value> = object
        .data
        .pointer("/spec/containers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|container| {
            let state = match state {
                FakeStatus::Ready => json!({"running": {"startedAt": now()}}),
                FakeStatus::NotReady { reason, message } => json!({"waiting": {"reason": reason, "message": message}}),
                FakeStatus::Pending | FakeStatus::Unchanged => json!({"waiting": {"reason": "ContainerCreating"}}),
            };
            json!({
                "name": container["name"], "image": container["image"], "imageID": "", "ready": ready, "started": ready,
                "restartCount": 0, "state": state,
            })
        })
        .collect();
    let condition = |kind: &str, met: bool| json!({"type": kind, "status": if met { "True" } else { "False" }, "lastTransitionTime": now()});
    json!({
        "phase": if ready { "Running" } else { "Pending" },
        "conditions": [condition("PodScheduled", true), condition("Initialized", true), condition("ContainersReady", ready), condition("Ready", ready)],
        "containerStatuses": containers,
    })
}

fn condition(kind: &str, state: &FakeStatus, ready: (&str, &str), pending: (&str, &str)) -> Value {
    let (status, (reason, message)) = match state {
        FakeStatus::Ready => ("True", ready),
        FakeStatus::Pending | FakeStatus::Unchanged => ("Unknown", pending),
        FakeStatus::NotReady { reason, message } => ("False", (reason.as_str(), message.as_str())),
    };
    let mut condition = json!({"type": kind, "status": status, "lastTransitionTime": now()});
    // Knative omits both when the condition is true.
    if !reason.is_empty() {
        condition["reason"] = json!(reason);
        condition["message"] = json!(message);
    }
    condition
}

pub(super) fn revision(object: &DynamicObject) -> String {
    format!("{}-{:05}", object.name_any(), object.metadata.generation.unwrap_or(1))
}

/// RFC 3339 with whole seconds, as apimachinery writes it.
fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
