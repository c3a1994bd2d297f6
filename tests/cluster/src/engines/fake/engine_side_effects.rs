//! The objects that engines create in addition to those they are given, often with the same name, which an
//! operator that switches engines must handle. It writes no status. kube-controller-manager garbage-collects
//! them with their owners.

use std::collections::BTreeMap;

use kube::{
    Client, ResourceExt as _,
    api::{Api, Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

/// Applies what the engine would create for `object`; called again on every change, as engines do.
pub(crate) async fn apply_for(client: Client, kind: &'static str, object: DynamicObject) {
    if object.metadata.deletion_timestamp.is_some() {
        return;
    }
    match kind {
        "Service" => knative(client, &object).await,
        "HTTPScaledObject" => http_add_on(client, &object).await,
        _ => (),
    }
}

/// Knative: a Route that the Service controls, and a placeholder Service that the Route controls.
async fn knative(client: Client, service: &DynamicObject) {
    let gvk = GroupVersionKind::gvk("serving.knative.dev", "v1", "Route");
    let traffic = json!({"traffic": [{"latestRevision": true, "percent": 100, "configurationName": service.name_any()}]});
    let route = ApiResource::from_gvk_with_plural(&gvk, "routes");
    let Some(route) = apply(&client, &route, service, service.labels(), traffic).await else {
        return;
    };
    let gvk = GroupVersionKind::gvk("", "v1", "Service");
    let namespace = service.namespace().unwrap_or_default();
    // Knative copies the Route's labels.
    let mut labels = route.labels().clone();
    labels.insert("serving.knative.dev/route".to_owned(), service.name_any());
    let spec = json!({
        "type": "ExternalName",
        "externalName": format!("{}.{namespace}.example.com", service.name_any()),
        "sessionAffinity": "None",
        "ports": [{"name": "http2", "port": 80, "targetPort": 80, "appProtocol": "kubernetes.io/h2c"}],
    });
    let placeholder = ApiResource::from_gvk_with_plural(&gvk, "services");
    apply(&client, &placeholder, &route, &labels, spec).await;
}

/// The HTTP add-on: a `ScaledObject` with the labels and annotations of its owner.
async fn http_add_on(client: Client, http: &DynamicObject) {
    let gvk = GroupVersionKind::gvk("keda.sh", "v1alpha1", "ScaledObject");
    let scaled_object = ApiResource::from_gvk_with_plural(&gvk, "scaledobjects");
    let target = http.data.pointer("/spec/scaleTargetRef/name");
    let spec = json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
        "minReplicaCount": http.data.pointer("/spec/replicas/min"),
        "maxReplicaCount": http.data.pointer("/spec/replicas/max"),
        "triggers": [{"type": "external-push", "metadata": {
            "httpScaledObject": http.name_any(),
            "scalerAddress": "keda-add-ons-http-external-scaler.keda:9090",
        }}],
    });
    apply(&client, &scaled_object, http, http.labels(), spec).await;
}

async fn apply(
    client: &Client,
    resource: &ApiResource,
    owner: &DynamicObject,
    labels: &BTreeMap<String, String>,
    spec: Value,
) -> Option<DynamicObject> {
    let name = owner.name_any();
    let types = owner.types.as_ref()?;
    let annotations: serde_json::Map<String, Value> =
        owner.annotations().iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    let object = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [{
                "apiVersion": types.api_version, "kind": types.kind, "name": name, "uid": owner.uid(),
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": spec,
    });
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &owner.namespace()?, resource);
    let params = PatchParams::apply("fake-engine").force();
    // A rejected apply (another owner has the name, or the owner is being deleted) is ignored: engines log it
    // too.
    api.patch(&name, &params, &Patch::Apply(object)).await.ok()
}
