//! The status that a real engine would write, by kind. Pure; the conditions, reasons and messages are those
//! of the projects named.

use kube::{ResourceExt as _, core::DynamicObject};
use serde_json::{Value, json};

/// What the engine says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Ready, at its current generation.
    Ready,
    /// Being worked on: `Unknown`, or not yet available.
    Pending,
    /// Failed for good.
    NotReady {
        /// The condition's reason.
        reason: String,
        /// The condition's message.
        message: String,
    },
    /// Nothing: the status stays as it is.
    Hold,
}

/// A kind whose engine is played.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) group: &'static str,
    /// The first that is served is watched.
    pub(crate) versions: &'static [&'static str],
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
    /// The status for a verdict other than `Hold`.
    pub(crate) status: fn(&DynamicObject, &Verdict) -> Value,
}

const DEPLOYMENT: Part = part("apps", &["v1"], "Deployment", "deployments", deployment);
const PIPELINE_RUN: Part = part("tekton.dev", &["v1"], "PipelineRun", "pipelineruns", pipeline_run);
const POD: Part = part("", &["v1"], "Pod", "pods", pod);
const ENGINES: [Part; 6] = [
    part("serving.knative.dev", &["v1"], "Service", "services", knative_service),
    part("serving.knative.dev", &["v1beta1"], "DomainMapping", "domainmappings", domain_mapping),
    part("cert-manager.io", &["v1"], "Certificate", "certificates", certificate),
    part("external-secrets.io", &["v1", "v1beta1"], "ExternalSecret", "externalsecrets", external_secret),
    part("http.keda.sh", &["v1alpha1"], "HTTPScaledObject", "httpscaledobjects", http_scaled_object),
    part("keda.sh", &["v1alpha1"], "ScaledObject", "scaledobjects", scaled_object),
];

const fn part(
    group: &'static str,
    versions: &'static [&'static str],
    kind: &'static str,
    plural: &'static str,
    status: fn(&DynamicObject, &Verdict) -> Value,
) -> Part {
    Part { group, versions, kind, plural, status }
}

/// All parts: the engines', the node's (`pods`) or the Deployment controller's, and Tekton's (`builds`).
pub(crate) fn parts(pods: bool, builds: bool) -> Vec<Part> {
    let mut parts = ENGINES.to_vec();
    parts.push(if pods { POD } else { DEPLOYMENT });
    parts.extend(builds.then_some(PIPELINE_RUN));
    parts
}

/// The parts of those projects that are no engines.
pub(crate) fn beside_engines() -> Vec<Part> {
    ENGINES
        .into_iter()
        .filter(|part| ["cert-manager.io", "external-secrets.io"].contains(&part.group))
        .collect()
}

/// An image that nobody can pull, which is what a user gets who mistypes it; and the words by which simulated
/// pods and builds fail, too.
pub(crate) fn of_image(object: &DynamicObject) -> Option<Verdict> {
    if object.types.as_ref().is_some_and(|types| types.kind == "PipelineRun") {
        let said = || "Tasks Completed: 1 (Failed: 1, Cancelled 0), Skipped: 1".to_owned();
        return object
            .data
            .to_string()
            .contains("kwok-fail")
            .then(|| Verdict::NotReady { reason: "Failed".to_owned(), message: said() });
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
                format!("Revision \"{}\" failed with message: Unable to fetch image \"{image}\": manifest unknown.", revision(object)),
            ),
        };
        Verdict::NotReady { reason: reason.to_owned(), message }
    })
}

/// Whether `live` already says `wanted`, times aside.
pub(crate) fn says(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, value)| key.ends_with("Time") || live.get(key).is_some_and(|live| says(live, value))),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| says(live, wanted))
        }
        _ => live == wanted,
    }
}

/// A condition's transition time moves only with its status.
pub(crate) fn keep_times(live: &Value, wanted: &mut Value) {
    let Some(conditions) = wanted["conditions"].as_array_mut() else {
        return;
    };
    for condition in conditions {
        let same = live["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|live| live["type"] == condition["type"] && live["status"] == condition["status"]);
        if let Some(time) = same.and_then(|same| same.get("lastTransitionTime")) {
            condition["lastTransitionTime"] = time.clone();
        }
    }
}

fn knative_service(object: &DynamicObject, verdict: &Verdict) -> Value {
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
            condition("ConfigurationsReady", verdict, ("", ""), pending),
            condition("Ready", verdict, ("", ""), pending),
            condition("RoutesReady", verdict, ("", ""), pending),
        ],
        "latestCreatedRevisionName": revision(object),
    });
    if *verdict == Verdict::Ready {
        status["latestReadyRevisionName"] = json!(revision(object));
        status["url"] = json!(url);
        status["address"] = json!({"url": inside});
        status["traffic"] =
            json!([{"latestRevision": true, "percent": 100, "revisionName": revision(object)}]);
    }
    status
}

fn domain_mapping(object: &DynamicObject, verdict: &Verdict) -> Value {
    let host = object.name_any();
    let scheme = if object.data.pointer("/spec/tls").is_some() { "https" } else { "http" };
    json!({
        "observedGeneration": object.metadata.generation,
        "conditions": [condition("Ready", verdict, ("", ""), ("IngressNotConfigured", "Ingress has not yet been reconciled."))],
        "url": format!("{scheme}://{host}"),
        "address": {"url": format!("{scheme}://{host}")},
    })
}

fn certificate(object: &DynamicObject, verdict: &Verdict) -> Value {
    let ready = ("Ready", "Certificate is up to date and has not expired");
    let pending = ("DoesNotExist", "Issuing certificate as Secret does not exist");
    let mut ready = condition("Ready", verdict, ready, pending);
    // cert-manager says False, not Unknown, while it issues.
    if *verdict == Verdict::Pending {
        ready["status"] = json!("False");
    }
    ready["observedGeneration"] = json!(object.metadata.generation);
    json!({"conditions": [ready]})
}

fn external_secret(_: &DynamicObject, verdict: &Verdict) -> Value {
    if *verdict == Verdict::Pending {
        // Nothing is written before the first attempt ends.
        return json!({});
    }
    let ready = condition("Ready", verdict, ("SecretSynced", "secret synced"), ("", ""));
    json!({"conditions": [ready], "refreshTime": now()})
}

fn http_scaled_object(object: &DynamicObject, verdict: &Verdict) -> Value {
    if *verdict == Verdict::Pending {
        return json!({});
    }
    let mut ready =
        condition("Ready", verdict, ("Reconciled", "ScaledObject created and configured"), ("", ""));
    ready["observedGeneration"] = json!(object.metadata.generation);
    json!({
        "conditions": [ready],
        "targetWorkload": object.data.pointer("/spec/scaleTargetRef/name"),
        "targetService": object.data.pointer("/spec/scaleTargetRef/service"),
    })
}

fn scaled_object(_: &DynamicObject, verdict: &Verdict) -> Value {
    let ready = ("ScaledObjectReady", "ScaledObject is defined correctly and is ready for scaling");
    // KEDA's conditions have no times.
    let plain = |mut condition: Value| {
        condition.as_object_mut().map(|fields| fields.remove("lastTransitionTime"));
        condition
    };
    json!({
        "conditions": [
            plain(condition("Ready", verdict, ready, ("", ""))),
            {"type": "Active", "status": "False", "reason": "ScalerNotActive", "message": "Scaling is not performed because triggers are not active"},
        ],
        "hpaName": "keda-hpa",
    })
}

fn deployment(object: &DynamicObject, verdict: &Verdict) -> Value {
    let replicas = object.data.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
    let available = if *verdict == Verdict::Ready { replicas } else { 0 };
    let ready = ("MinimumReplicasAvailable", "Deployment has minimum availability.");
    let not_ready = ("MinimumReplicasUnavailable", "Deployment does not have minimum availability.");
    let progressing = match verdict {
        Verdict::NotReady { .. } => condition("Progressing", verdict, ("", ""), ("", "")),
        _ => condition(
            "Progressing",
            &Verdict::Ready,
            ("NewReplicaSetAvailable", "ReplicaSet has successfully progressed."),
            ("", ""),
        ),
    };
    let mut is_available = condition("Available", verdict, ready, not_ready);
    if *verdict != Verdict::Ready {
        is_available = condition("Available", &Verdict::Pending, ready, not_ready);
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

/// Every build gives the same image; nothing is built.
fn pipeline_run(_: &DynamicObject, verdict: &Verdict) -> Value {
    let running = ("Running", "Tasks Completed: 0 (Failed: 0, Cancelled 0), Incomplete: 2, Skipped: 0");
    let done = ("Succeeded", "Tasks Completed: 2 (Failed: 0, Cancelled 0), Skipped: 0");
    let mut status =
        json!({"conditions": [condition("Succeeded", verdict, done, running)], "startTime": now()});
    if *verdict == Verdict::Ready {
        status["results"] = json!([{"name": "IMAGE_DIGEST", "value": format!("sha256:{}", "5e".repeat(32))}]);
    }
    if *verdict != Verdict::Pending {
        status["completionTime"] = json!(now());
    }
    status
}

fn pod(object: &DynamicObject, verdict: &Verdict) -> Value {
    let ready = *verdict == Verdict::Ready;
    let containers: Vec<Value> = object
        .data
        .pointer("/spec/containers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|container| {
            let state = match verdict {
                Verdict::Ready => json!({"running": {"startedAt": now()}}),
                Verdict::NotReady { reason, message } => json!({"waiting": {"reason": reason, "message": message}}),
                Verdict::Pending | Verdict::Hold => json!({"waiting": {"reason": "ContainerCreating"}}),
            };
            json!({
                "name": container["name"], "image": container["image"], "imageID": "", "ready": ready, "started": ready,
                "restartCount": 0, "state": state,
            })
        })
        .collect();
    let of = |kind: &str, met: bool| json!({"type": kind, "status": if met { "True" } else { "False" }, "lastTransitionTime": now()});
    json!({
        "phase": if ready { "Running" } else { "Pending" },
        "conditions": [of("PodScheduled", true), of("Initialized", true), of("ContainersReady", ready), of("Ready", ready)],
        "containerStatuses": containers,
    })
}

fn condition(kind: &str, verdict: &Verdict, ready: (&str, &str), pending: (&str, &str)) -> Value {
    let (status, (reason, message)) = match verdict {
        Verdict::Ready => ("True", ready),
        Verdict::Pending | Verdict::Hold => ("Unknown", pending),
        Verdict::NotReady { reason, message } => ("False", (reason.as_str(), message.as_str())),
    };
    let mut condition = json!({"type": kind, "status": status, "lastTransitionTime": now()});
    // Knative leaves both out when all is well.
    if !reason.is_empty() {
        condition["reason"] = json!(reason);
        condition["message"] = json!(message);
    }
    condition
}

fn revision(object: &DynamicObject) -> String {
    format!("{}-{:05}", object.name_any(), object.metadata.generation.unwrap_or(1))
}

/// RFC 3339, whole seconds, as the API machinery writes it.
fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
