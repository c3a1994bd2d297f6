//! A user who may do everything but what a test withholds, until it is granted.

use elpio_cluster::{Cluster, rbac::wait_for_permission};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

/// Every group that the operator writes to.
const WRITTEN: &[&str] = &[
    "",
    "apps",
    "elpio.io",
    "serving.knative.dev",
    "http.keda.sh",
    "keda.sh",
    "cert-manager.io",
    "external-secrets.io",
    "tekton.dev",
    "events.k8s.io",
    "coordination.k8s.io",
];

pub struct User {
    name: &'static str,
    withheld: &'static str,
}

impl User {
    /// `name` is one of the cluster's users without permissions; it may see everything, and write to all groups
    /// but `withheld`.
    pub async fn without(name: &'static str, withheld: &'static str) -> Self {
        let groups: Vec<&str> = WRITTEN.iter().copied().filter(|group| *group != withheld).collect();
        allow(name, "most", &groups).await;
        wait_for_permission(&Cluster::shared().await.client().await, name, false, ["create", withheld, "*"])
            .await;
        Self { name, withheld }
    }

    pub async fn kubeconfig(&self) -> std::path::PathBuf {
        Cluster::shared().await.kubeconfig_for(self.name)
    }

    /// Grants what was withheld; when it returns, the API server knows.
    pub async fn grant(&self) {
        allow(self.name, "rest", &[self.withheld]).await;
    }

    /// Withholds again what was granted; when it returns, the API server knows.
    pub async fn revoke(&self) {
        let (client, name) = (Cluster::shared().await.client().await, format!("{}-rest", self.name));
        let params = DeleteParams::default();
        Api::<ClusterRoleBinding>::all(client.clone()).delete(&name, &params).await.unwrap();
        Api::<ClusterRole>::all(client.clone()).delete(&name, &params).await.unwrap();
        wait_for_permission(&client, self.name, false, ["update", self.withheld, "*"]).await;
    }
}

/// Every verb for these groups, in force.
async fn allow(user: &str, what: &str, groups: &[&str]) {
    let client = Cluster::shared().await.client().await;
    let name = format!("{user}-{what}");
    let role = json!({"metadata": {"name": name}, "rules": [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": groups, "resources": ["*"], "verbs": ["*"]}]});
    let role: ClusterRole = serde_json::from_value(role).unwrap();
    let binding = json!({"metadata": {"name": name}, "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}});
    let binding: ClusterRoleBinding = serde_json::from_value(binding).unwrap();
    Api::<ClusterRole>::all(client.clone()).create(&PostParams::default(), &role).await.unwrap();
    Api::<ClusterRoleBinding>::all(client.clone()).create(&PostParams::default(), &binding).await.unwrap();
    for group in groups {
        wait_for_permission(&client, user, true, ["*", group, "*"]).await;
    }
}
