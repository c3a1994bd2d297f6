//! The load: creates and edits all services at once, and records when each request was sent and answered.

use std::time::Instant;

use elpio_cluster::rbac::wait_for_permission;
use futures::{StreamExt as _, stream};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::{
    Client,
    api::{Api, Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::observations::Times;

/// Requests in flight. The client speaks HTTP/1.1, so this is its number of connections: enough to keep the
/// API server busy, and few enough that TLS handshakes do not dominate.
const MAX_IN_FLIGHT: usize = 50;

/// The image tag that an edit sets.
pub const EDITED_TAG: &str = "2";

pub struct Load {
    pub client: Client,
    pub namespace: String,
    pub services: usize,
}

impl Load {
    /// Creates all services; returns when each request was sent, and when answered.
    pub async fn create(&self) -> (Times, Times) {
        let api = self.api();
        self.for_each_service(async |name: &str| {
            let object = serde_json::from_value(service(name)).expect("an object");
            api.create(&PostParams::default(), &object).await.map(drop)
        })
        .await
    }

    /// Creates one service.
    pub async fn create_one(&self, name: &str) -> Instant {
        let object = serde_json::from_value(service(name)).expect("an object");
        let sent = Instant::now();
        self.api().create(&PostParams::default(), &object).await.expect("a service");
        sent
    }

    /// Edits all services; returns when each request was sent, and when answered.
    pub async fn edit(&self) -> (Times, Times) {
        self.edit_to(EDITED_TAG).await
    }

    /// Gives all services another image tag.
    pub async fn edit_to(&self, tag: &str) -> (Times, Times) {
        let api = self.api();
        let patch = Patch::Merge(json!({"spec": {"image": {"tag": tag}}}));
        self.for_each_service(async |name: &str| {
            api.patch(name, &PatchParams::default(), &patch).await.map(drop)
        })
        .await
    }

    async fn for_each_service(&self, request: impl AsyncFn(&str) -> kube::Result<()>) -> (Times, Times) {
        let request_for = async |number: usize| {
            let name = format!("service-{number}");
            let sent = Instant::now();
            request(&name).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, sent, Instant::now())
        };
        let done: Vec<_> =
            stream::iter((0..self.services).map(request_for)).buffer_unordered(MAX_IN_FLIGHT).collect().await;
        let sent = done.iter().map(|(name, sent, _)| (name.clone(), *sent)).collect();
        let answered = done.into_iter().map(|(name, _, answered)| (name, answered)).collect();
        (sent, answered)
    }

    pub fn api(&self) -> Api<DynamicObject> {
        api(&self.client, &self.namespace, "elpio.io", "v1alpha1", "ElpioService")
    }
}

pub fn api(client: &Client, namespace: &str, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(client.clone(), namespace, &resource)
}

pub async fn create(api: &Api<DynamicObject>, object: Value) {
    let object = serde_json::from_value(object).expect("an object");
    api.create(&PostParams::default(), &object).await.expect("the API server stores it");
}

/// The manifest of a service.
pub fn service(name: &str) -> Value {
    json!({
        "apiVersion": "elpio.io/v1alpha1",
        "kind": "ElpioService",
        "metadata": {"name": name},
        "spec": {
            "image": {"repository": "registry.example.com/app", "tag": "1"},
            "env": [{"name": "LEVEL", "value": "info"}],
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
            "scaling": {"maxScale": 10},
        },
    })
}

/// Binds the user to cluster-admin.
pub async fn bind_cluster_admin(client: &Client, user: &str) {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": user},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    });
    let binding: ClusterRoleBinding = serde_json::from_value(binding).expect("a binding");
    let api: Api<ClusterRoleBinding> = Api::all(client.clone());
    api.create(&PostParams::default(), &binding).await.expect("a binding");
    wait_for_permission(client, user, true, ["*", "*", "*"]).await;
}
