//! Puts the objects of the golden files into a cluster as they were stored.

use elpio_cluster::{Cluster, eventually};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, TypeMeta},
    core::{DynamicObject, GroupVersionKind},
    discovery::{Scope, pinned_kind},
};
use serde_json::Value;

use crate::upgrade::TIMEOUT;

pub async fn api(client: &Client, object: &Value) -> Api<DynamicObject> {
    let types = serde_json::from_value(object.clone()).unwrap();
    let gvk = GroupVersionKind::try_from(&types).unwrap();
    let (resource, capabilities) =
        elpio_cluster::eventually("the kind is served", TIMEOUT, async || pinned_kind(client, &gvk).await)
            .await;
    match (capabilities.scope, object["metadata"]["namespace"].as_str()) {
        (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client.clone(), namespace, &resource),
        _ => Api::all_with(client.clone(), &resource),
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

pub async fn apply(client: &Client, object: &Value, manager: &str) -> DynamicObject {
    let params = PatchParams::apply(manager).force();
    let result = api(client, object).await.patch(name(object), &params, &Patch::Apply(object)).await;
    result.unwrap_or_else(|error| panic!("{} {}: {error}", object["kind"], name(object)))
}

/// Puts the object into etcd as it was stored there, with its uid, its managed fields and its status: what
/// the operator wrote is compared by all of them.
pub async fn restore(cluster: &Cluster, object: &Value) {
    let types: TypeMeta = serde_json::from_value(object.clone()).unwrap();
    let (group, _) = types.api_version.split_once('/').unwrap_or(("", &types.api_version));
    let resource = match (group, types.kind.as_str()) {
        ("", "Service") => "services/specs".to_owned(),
        ("apps", "Deployment") => "deployments".to_owned(),
        (group, kind) => format!("{group}/{}s", kind.to_lowercase()),
    };
    let namespace = object["metadata"]["namespace"].as_str().unwrap();
    let key = format!("/registry/{resource}/{namespace}/{}", name(object));
    cluster.put_into_etcd(&key, &object.to_string()).await;
    let api = api(&cluster.client().await, object).await;
    eventually("the API server has it", TIMEOUT, async || api.get(name(object)).await).await;
}
