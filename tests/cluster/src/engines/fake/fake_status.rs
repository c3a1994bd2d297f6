//! The states that fake engines report, and the kinds they report them for. Pure; `statuses` has each kind's
//! JSON.

use kube::{ResourceExt as _, core::DynamicObject};
use serde_json::Value;

use crate::engines::fake::statuses;

/// The state that a fake engine reports for an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FakeStatus {
    /// Ready, at its current generation.
    Ready,
    /// In progress: `Unknown`, or not yet available.
    Pending,
    /// Failed permanently.
    NotReady {
        /// The condition's reason.
        reason: String,
        /// The condition's message.
        message: String,
    },
    /// The status is left unchanged.
    Unchanged,
}

/// A kind whose controller is faked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FakedKind {
    pub(crate) group: &'static str,
    /// The first version that is served is watched.
    pub(crate) versions: &'static [&'static str],
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
    /// Computes the status to write; never called with [`FakeStatus::Unchanged`].
    pub(crate) status: fn(&DynamicObject, &FakeStatus) -> Value,
}

const DEPLOYMENT: FakedKind = kind("apps", &["v1"], "Deployment", "deployments", statuses::deployment);
const PIPELINE_RUN: FakedKind =
    kind("tekton.dev", &["v1"], "PipelineRun", "pipelineruns", statuses::pipeline_run);
const POD: FakedKind = kind("", &["v1"], "Pod", "pods", statuses::pod);
const ENGINE_KINDS: [FakedKind; 6] = [
    kind("serving.knative.dev", &["v1"], "Service", "services", statuses::knative_service),
    kind("serving.knative.dev", &["v1beta1"], "DomainMapping", "domainmappings", statuses::domain_mapping),
    kind("cert-manager.io", &["v1"], "Certificate", "certificates", statuses::certificate),
    kind(
        "external-secrets.io",
        &["v1", "v1beta1"],
        "ExternalSecret",
        "externalsecrets",
        statuses::external_secret,
    ),
    kind(
        "http.keda.sh",
        &["v1alpha1"],
        "HTTPScaledObject",
        "httpscaledobjects",
        statuses::http_scaled_object,
    ),
    kind("keda.sh", &["v1alpha1"], "ScaledObject", "scaledobjects", statuses::scaled_object),
];

const fn kind(
    group: &'static str,
    versions: &'static [&'static str],
    kind: &'static str,
    plural: &'static str,
    status: fn(&DynamicObject, &FakeStatus) -> Value,
) -> FakedKind {
    FakedKind { group, versions, kind, plural, status }
}

/// The kinds of all engines, of the kubelet (`pods`) or else the Deployment controller, and of Tekton
/// (`builds`).
pub(crate) fn kinds(pods: bool, builds: bool) -> Vec<FakedKind> {
    let mut kinds = ENGINE_KINDS.to_vec();
    kinds.push(if pods { POD } else { DEPLOYMENT });
    kinds.extend(builds.then_some(PIPELINE_RUN));
    kinds
}

/// The kinds of cert-manager and External Secrets.
pub(crate) fn third_party_kinds() -> Vec<FakedKind> {
    ENGINE_KINDS
        .into_iter()
        .filter(|kind| ["cert-manager.io", "external-secrets.io"].contains(&kind.group))
        .collect()
}

/// The failure of an object whose image cannot be pulled (`broken`), and of pods and builds whose image or
/// arguments contain the words that make KWOK fail them.
pub(crate) fn image_failure(object: &DynamicObject) -> Option<FakeStatus> {
    if object.types.as_ref().is_some_and(|types| types.kind == "PipelineRun") {
        let message = || "Tasks Completed: 1 (Failed: 1, Cancelled 0), Skipped: 1".to_owned();
        return object
            .data
            .to_string()
            .contains("kwok-fail")
            .then(|| FakeStatus::NotReady { reason: "Failed".to_owned(), message: message() });
    }
    let image = ["/spec/template/spec/containers/0/image", "/spec/containers/0/image"]
        .iter()
        .find_map(|path| object.data.pointer(path)?.as_str())?;
    (image.contains("broken") || image.contains("kwok-crash")).then(|| {
        let (reason, message) = match object.types.as_ref().map(|types| types.kind.as_str()) {
            Some("Deployment") => {
                ("ProgressDeadlineExceeded", format!("ReplicaSet \"{}-5d4c\" has timed out progressing.", object.name_any()))
            }
            Some("Pod") => ("ImagePullBackOff", format!("Back-off pulling image \"{image}\"")),
            _ => (
                "RevisionFailed",
                format!("Revision \"{}\" failed with message: Unable to fetch image \"{image}\": manifest unknown.", statuses::revision(object)),
            ),
        };
        FakeStatus::NotReady { reason: reason.to_owned(), message }
    })
}

/// Whether `live` already has everything in `desired`, ignoring times.
pub(crate) fn has_status(live: &Value, desired: &Value) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => desired.iter().all(|(key, value)| {
            key.ends_with("Time") || live.get(key).is_some_and(|live| has_status(live, value))
        }),
        (Value::Array(live), Value::Array(desired)) => {
            live.len() == desired.len()
                && live.iter().zip(desired).all(|(live, desired)| has_status(live, desired))
        }
        _ => live == desired,
    }
}

/// Keeps the transition time of every condition whose status is unchanged.
pub(crate) fn retain_transition_times(live: &Value, desired: &mut Value) {
    let Some(conditions) = desired["conditions"].as_array_mut() else {
        return;
    };
    for condition in conditions {
        let unchanged = live["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|live| live["type"] == condition["type"] && live["status"] == condition["status"]);
        if let Some(time) = unchanged.and_then(|unchanged| unchanged.get("lastTransitionTime")) {
            condition["lastTransitionTime"] = time.clone();
        }
    }
}
