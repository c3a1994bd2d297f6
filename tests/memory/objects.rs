//! Objects as the API server sends them: with managed fields, what kubectl adds, and the status of the engines.

use serde_json::{Value, json};

/// The uid of the object of this number.
pub fn uid(kind: &str, n: usize) -> String {
    format!("{n:08}-0000-4000-8000-{:0>12}", kind.len())
}

fn metadata(kind: &str, name: &str, n: usize, owner: Option<(&str, &str, String)>) -> Value {
    let fields = json!({"f:metadata": {"f:annotations": {"f:elpio.io/applied": {}}, "f:labels": {"f:elpio.io/service": {}}},
        "f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"user-container\"}": {".": {}, "f:image": {}, "f:env": {}}}}}}});
    let entry = |manager: &str, operation: &str| {
        json!({"apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields,
        "manager": manager, "operation": operation, "time": "2026-01-01T00:00:00Z"})
    };
    let mut metadata = json!({
        "name": name, "namespace": "a-namespace", "uid": uid(kind, n), "resourceVersion": (100_000 + n).to_string(),
        "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z",
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "x".repeat(600)},
        "managedFields": [entry("elpio", "Apply"), {"apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:status": {"f:url": {}}},
            "manager": "controller", "operation": "Update", "subresource": "status", "time": "2026-01-01T00:00:00Z"}],
    });
    if let Some((api_version, kind, uid)) = owner {
        metadata["ownerReferences"] = json!([{"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": true,
            "blockOwnerDeletion": true}]);
        metadata["labels"] = json!({"app.kubernetes.io/managed-by": "elpio", "app.kubernetes.io/part-of": "elpio",
            "app.kubernetes.io/name": name, "app.kubernetes.io/instance": name, "elpio.io/service": name,
            "tekton.dev/pipelineTask": "build"});
        metadata["annotations"]["elpio.io/applied"] = "0123456789abcdef".into();
    }
    metadata
}

fn conditions(kinds: &[&str]) -> Value {
    let condition = |kind: &&str| {
        json!({"type": kind, "status": "True", "reason": "Reconciled", "observedGeneration": 1,
        "message": "available at http://service.a-namespace.example.com", "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    kinds.iter().map(condition).collect()
}

fn rollout() -> Value {
    json!({"generation": 1, "traceId": "0123456789abcdef0123456789abcdef",
        "traceparent": "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01", "startedAt": "2026-01-01T00:00:00.000001Z",
        "endedAt": "2026-01-01T00:00:01.000001Z", "outcome": "Ready"})
}

pub fn service(n: usize) -> String {
    let name = format!("service-{n}");
    json!({
        "apiVersion": "elpio.io/v1alpha1", "kind": "ElpioService", "metadata": metadata("service", &name, n, None),
        "spec": {"image": {"repository": "registry.example.com/app", "tag": "1"}, "port": 8080,
            "env": [{"name": "LEVEL", "value": "info"}], "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
            "scaling": {"minScale": 0, "maxScale": 10, "target": 100, "metric": "concurrency"},
            "ingress": {"enabled": true, "visibility": "external", "tls": false}},
        "status": {"observedGeneration": 1, "ready": true, "engine": "knative",
            "url": format!("http://{name}.a-namespace.example.com"),
            "address": format!("http://{name}.a-namespace.svc.cluster.local"),
            "children": [{"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": name, "ready": true}],
            "rollout": rollout(), "conditions": conditions(&["Ready", "Reconciled", "EngineReady"])},
    })
    .to_string()
}

pub fn knative_service(n: usize) -> String {
    let name = format!("service-{n}");
    let owner = ("elpio.io/v1alpha1", "ElpioService", uid("service", n));
    let labels = json!({"app.kubernetes.io/managed-by": "elpio", "app.kubernetes.io/name": name, "elpio.io/service": name});
    json!({
        "apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": metadata("child", &name, n, Some(owner)),
        "spec": {
            "template": {
                "metadata": {"labels": labels, "annotations": {"autoscaling.knative.dev/class": "kpa.autoscaling.knative.dev",
                    "autoscaling.knative.dev/metric": "concurrency", "autoscaling.knative.dev/target": "100",
                    "autoscaling.knative.dev/min-scale": "0", "autoscaling.knative.dev/max-scale": "10"}},
                "spec": {"containers": [{"name": "user-container", "image": "registry.example.com/app:1",
                    "ports": [{"containerPort": 8080}], "env": [{"name": "LEVEL", "value": "info"}],
                    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
                    "serviceAccountName": "default"}},
            "traffic": [{"latestRevision": true, "percent": 100}]},
        "status": {"observedGeneration": 1, "url": format!("http://{name}.a-namespace.example.com"),
            "address": {"url": format!("http://{name}.a-namespace.svc.cluster.local")},
            "conditions": conditions(&["Ready", "ConfigurationsReady", "RoutesReady"])},
    })
    .to_string()
}

pub fn function(n: usize) -> String {
    let name = format!("function-{n}");
    json!({
        "apiVersion": "elpio.io/v1alpha1", "kind": "ElpioFunction", "metadata": metadata("function", &name, n, None),
        "spec": {"source": {"git": {"url": "https://git.example.com/team/function.git", "revision": "main"}}, "runtime": "go",
            "image": "registry.example.com/team/function:latest"},
        "status": {"observedGeneration": 1, "ready": true, "phase": "Ready", "image": "registry.example.com/team/function:latest",
            "imageDigest": format!("sha256:{}", "a".repeat(64)), "build": format!("{name}-build-0123456789"), "serviceName": name,
            "url": format!("http://{name}.a-namespace.example.com"), "rollout": rollout(),
            "conditions": conditions(&["Ready", "Reconciled", "BuildReady", "ServiceReady"])},
    })
    .to_string()
}

/// A script of a step, as long as they are.
fn steps() -> Value {
    (0..7)
        .map(|n| json!({"name": format!("step-{n}"), "image": "builder", "script": "x".repeat(900)}))
        .collect()
}

pub fn pipeline_run(n: usize) -> String {
    let name = format!("function-{n}-build-0123456789");
    let owner = ("elpio.io/v1alpha1", "ElpioFunction", uid("function", n));
    let params: Value = (0..8)
        .map(|n| json!({"name": format!("PARAM_{n}"), "value": "registry.example.com/value"}))
        .collect();
    let pipeline = json!({"tasks": [{"name": "build", "taskSpec": {"steps": steps()}}], "params": params});
    json!({
        "apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "metadata": metadata("run", &name, n, Some(owner)),
        "spec": {"params": params, "pipelineSpec": pipeline, "timeouts": {"pipeline": "30m0s"}},
        "status": {"conditions": conditions(&["Succeeded"]), "startTime": "2026-01-01T00:00:00Z",
            "completionTime": "2026-01-01T00:01:00Z", "pipelineSpec": pipeline,
            "results": [{"name": "IMAGE_DIGEST", "value": format!("sha256:{}", "a".repeat(64))}],
            "childReferences": [{"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "name": format!("{name}-build")}]},
    })
    .to_string()
}

pub fn task_run(n: usize) -> String {
    let name = format!("function-{n}-build-0123456789-build");
    let owner = ("tekton.dev/v1", "PipelineRun", uid("run", n));
    let ended: Value = (0..7)
        .map(|n| json!({"name": format!("step-{n}"), "container": format!("step-{n}"), "imageID": "x".repeat(120),
            "terminated": {"exitCode": 0, "reason": "Completed", "containerID": "x".repeat(80), "startedAt": "2026-01-01T00:00:00Z"}}))
        .collect();
    json!({
        "apiVersion": "tekton.dev/v1", "kind": "TaskRun", "metadata": metadata("task", &name, n, Some(owner)),
        "spec": {"taskSpec": {"steps": steps()}},
        "status": {"conditions": conditions(&["Succeeded"]), "startTime": "2026-01-01T00:00:00Z",
            "completionTime": "2026-01-01T00:01:00Z", "podName": format!("{name}-pod"), "steps": ended, "taskSpec": {"steps": steps()}},
    })
    .to_string()
}
