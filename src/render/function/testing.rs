//! Functions, runs and services for table tests.
#![allow(clippy::unwrap_used)]
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::{
    api::{BuildStatus, ElpioFunctionSpec, ElpioFunctionStatus},
    foreign::ChildKind,
    render::{ChildId, Defaults, ValidFunction, validate_function},
};

pub const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

pub fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

/// `seconds` after now.
pub fn at(seconds: i64) -> Time {
    Time(Timestamp::from_second(now().as_second() + seconds).unwrap())
}

pub fn function(revision: &str, keep: i32) -> ValidFunction {
    let spec: ElpioFunctionSpec = serde_json::from_value(json!({
        "source": {"git": {"url": "https://example.com/f.git", "revision": revision}},
        "runtime": "go", "image": "example.com/f:latest", "build": {"keep": keep},
    }))
    .unwrap();
    validate_function("f", &spec, None, &Defaults::default()).unwrap()
}

pub fn status(last_build: Option<BuildStatus>) -> ElpioFunctionStatus {
    ElpioFunctionStatus { last_build, ..ElpioFunctionStatus::default() }
}

/// A run of this age in seconds; the fields of `more` override its own.
pub fn run(name: &str, age: i64, succeeded: &str, more: &Value) -> (ChildId, Arc<DynamicObject>) {
    let labels = json!({"app.kubernetes.io/managed-by": "elpio", "elpio.io/function": "f"});
    let mut object = json!({"apiVersion": "tekton.dev/v1", "kind": "PipelineRun",
        "metadata": {"name": name, "creationTimestamp": at(-age), "labels": labels}, "spec": {},
        "status": {"conditions": [{"type": "Succeeded", "status": succeeded}],
            "results": [{"name": "IMAGE_DIGEST", "value": DIGEST}]}});
    for (key, value) in more.as_object().unwrap() {
        object[key].as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
    }
    let labels = object["metadata"]["labels"].as_object_mut().unwrap();
    labels.retain(|_, value| !value.is_null());
    (ChildId::new(ChildKind::PipelineRun, name), Arc::new(serde_json::from_value(object).unwrap()))
}

/// The published service, with an edited image.
pub fn serving(build: Option<&str>) -> (ChildId, Arc<DynamicObject>) {
    let annotations = build.map_or(json!({}), |build| json!({"elpio.io/build": build}));
    let object = json!({"apiVersion": "elpio.io/v1alpha1", "kind": "ElpioService",
        "metadata": {"name": "f", "annotations": annotations},
        "spec": {"image": {"repository": "example.com/f", "digest": "sha256:old"}}});
    (ChildId::new(ChildKind::ElpioService, "f"), Arc::new(serde_json::from_value(object).unwrap()))
}
