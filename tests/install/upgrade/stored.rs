//! Puts the objects of the golden files into a cluster as they were stored: created, or applied by the manager
//! that owned them, with the status that they had.

use std::collections::BTreeMap;

use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    core::{DynamicObject, GroupVersionKind},
    discovery::{Scope, pinned_kind},
};
use serde_json::{Value, json};

use crate::upgrade::{SOON, managed_fields::owned};

/// New uids by the recorded ones.
pub type Uids = BTreeMap<String, String>;

pub async fn api(client: &Client, object: &Value) -> Api<DynamicObject> {
    let types = serde_json::from_value(object.clone()).unwrap();
    let gvk = GroupVersionKind::try_from(&types).unwrap();
    let (resource, capabilities) =
        elpio_cluster::eventually("the kind is served", SOON, async || pinned_kind(client, &gvk).await).await;
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

/// Creates an object as its author did, then writes its status.
pub async fn create(client: &Client, object: &Value, uids: &mut Uids) {
    let mut new = object.clone();
    let metadata = &object["metadata"];
    new["metadata"] = json!({"name": metadata["name"], "namespace": metadata["namespace"], "annotations": metadata["annotations"]});
    new.as_object_mut().unwrap().remove("status");
    let api = api(client, object).await;
    let created = api.create(&PostParams::default(), &serde_json::from_value(new).unwrap()).await.unwrap();
    uids.insert(metadata["uid"].as_str().unwrap().to_owned(), created.metadata.uid.unwrap());
    write_status(client, object).await;
}

/// Applies a child as the operator did, under its owner's new uid, then writes its status.
pub async fn apply_child(client: &Client, child: &Value, uids: &mut Uids) {
    let mut sent = owned(child, "elpio");
    assert!(!sent.is_null(), "{} {} was not applied by elpio", child["kind"], name(child));
    for reference in sent["metadata"]["ownerReferences"].as_array_mut().into_iter().flatten() {
        let recorded = reference["uid"].as_str().unwrap().to_owned();
        reference["uid"] = uids[&recorded].clone().into();
    }
    let stored = apply(client, &sent, "elpio").await;
    uids.insert(child["metadata"]["uid"].as_str().unwrap().to_owned(), stored.metadata.uid.unwrap());
    write_status(client, child).await;
}

/// Writes the recorded status, by another manager than the operator's where it was another's.
pub async fn write_status(client: &Client, object: &Value) {
    if object["status"].is_null() {
        return;
    }
    let body = json!({"status": object["status"]});
    let api = api(client, object).await;
    let written = api.patch_status(name(object), &PatchParams::default(), &Patch::Merge(&body)).await;
    written.unwrap_or_else(|error| panic!("{} {}: {error}", object["kind"], name(object)));
}
