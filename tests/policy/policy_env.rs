//! A control plane with Elpio installed as `deploy/install.yaml` does it, and clients of the writers. It judges
//! nothing.

use std::time::Duration;

use elpio_cluster::{Cluster, ClusterOptions, Crds, eventually};
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    core::v1::ServiceAccount,
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::{
    columns::Kind,
    manifest,
    writers::{ADD_ONS_EDIT, ELPIO_EDIT, Identity, Permission, Writer},
};

pub const TIMEOUT: Duration = Duration::from_mins(2);

/// The control plane of all tests but those that change the policy.
pub async fn installed() -> &'static Cluster {
    static INSTALLED: OnceCell<Cluster> = OnceCell::const_new();
    let start = async || {
        let crds = vec![Crds::ELPIO, Crds::TEKTON];
        let options = ClusterOptions { controller_manager: true, crds, ..ClusterOptions::default() };
        let cluster = Cluster::start(options).await;
        cluster.apply_objects(&manifest::read("install.yaml")).await;
        add_ons_role(&cluster.client().await).await;
        cluster
    };
    INSTALLED.get_or_init(start).await
}

/// What the `edit` roles of the add-ons grant. Their charts label them so that `edit` gets it by aggregation;
/// here it stays apart, so that `edit` is judged without it, too.
async fn add_ons_role(client: &Client) {
    let permissions =
        [Permission::CreateExternalSecrets, Permission::CreateCertificates, Permission::CreateDomainMappings];
    let rules: Vec<_> = permissions.map(Permission::rule).to_vec();
    let role = ClusterRole { rules: Some(rules), ..ClusterRole::default() };
    apply(&Api::<ClusterRole>::all(client.clone()), ADD_ONS_EDIT, &role).await;
}

async fn apply<K>(api: &Api<K>, name: &str, object: &K)
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + serde::Serialize
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
{
    let mut value = serde_json::to_value(object).unwrap();
    value["apiVersion"] = json!(K::api_version(&()));
    value["kind"] = json!(K::kind(&()));
    value["metadata"] = json!({"name": name});
    api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&value)).await.unwrap();
}

pub fn api(client: &Client, kind: Kind, namespace: &str) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk("elpio.io", "v1alpha1", kind.name());
    let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural());
    Api::namespaced_with(client.clone(), namespace, &resource)
}

pub fn object(kind: Kind, name: &str, spec: &Value) -> DynamicObject {
    let value = json!({"apiVersion": "elpio.io/v1alpha1", "kind": kind.name(),
        "metadata": {"name": name}, "spec": spec});
    serde_json::from_value(value).unwrap()
}

/// A writer's client, once the API server knows what the writer may do in the namespace, and may not.
pub async fn client(cluster: &Cluster, writer: &Writer, namespace: &str) -> Client {
    bind(cluster, writer, namespace).await;
    let client = match writer.identity {
        Identity::User(number) => cluster.client_as(&format!("elpio-test-{number}")).await,
        Identity::ServiceAccount(name) => {
            cluster.client_for(&cluster.kubeconfig_for_service_account(namespace, name).await).await
        }
        Identity::Operator => {
            let account = cluster.kubeconfig_for_service_account("elpio-system", "elpio-operator").await;
            cluster.client_for(&account).await
        }
        Identity::Masters => cluster.client().await,
    };
    wait_for_permissions(&client, writer, namespace).await;
    client
}

async fn bind(cluster: &Cluster, writer: &Writer, namespace: &str) {
    let admin = cluster.client().await;
    let subject = match writer.identity {
        Identity::User(number) => json!({"kind": "User", "name": format!("elpio-test-{number}")}),
        Identity::ServiceAccount(name) => {
            let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), namespace);
            apply(&accounts, name, &ServiceAccount::default()).await;
            json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
        }
        Identity::Operator => {
            json!({"kind": "ServiceAccount", "name": "elpio-operator", "namespace": "elpio-system"})
        }
        Identity::Masters => return,
    };
    let id = subject["name"].as_str().unwrap();
    let binding = |kind: &str, role: &str| -> RoleBinding {
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role});
        serde_json::from_value(json!({"metadata": {}, "roleRef": role, "subjects": [subject]})).unwrap()
    };
    let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), namespace);
    let elpio_edit = manifest::elpio_edit();
    for role in writer.cluster_roles {
        let role = if *role == ELPIO_EDIT { elpio_edit.as_str() } else { role };
        apply(&bindings, &format!("{id}-{role}"), &binding("ClusterRole", role)).await;
    }
    if !writer.granted.is_empty() {
        let rules = writer.granted.iter().map(|permission| permission.rule()).collect();
        let role = Role { rules: Some(rules), ..Role::default() };
        apply(&Api::namespaced(admin.clone(), namespace), id, &role).await;
        apply(&bindings, id, &binding("Role", id)).await;
    }
    for role in writer.elsewhere {
        let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), "default");
        apply(&bindings, &format!("{id}-{role}"), &binding("ClusterRole", role)).await;
    }
}

/// The authorizer learns of roles and bindings by a watch, and `edit` is aggregated by a controller.
async fn wait_for_permissions(client: &Client, writer: &Writer, namespace: &str) {
    let elpio = Kind::ALL.map(|kind| ["create", "elpio.io", kind.plural(), ""]);
    let held = writer.held.iter().map(|permission| {
        let [verb, group, resource] = permission.parts();
        [verb, group, resource, permission.object_name()]
    });
    // The operator is let through for who it is, not for what it holds.
    let held = held.filter(|_| writer.identity != Identity::Operator);
    for permission in elpio.into_iter().chain(held) {
        eventually(&format!("{} may {permission:?}", writer.name), TIMEOUT, async || {
            if allowed(client, permission, namespace).await { Ok(()) } else { Err("denied") }
        })
        .await;
    }
}

async fn allowed(client: &Client, [verb, group, resource, name]: [&str; 4], namespace: &str) -> bool {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let attributes = ResourceAttributes {
        verb: text(verb),
        group: text(group),
        resource: text(resource),
        name: text(name),
        namespace: text(namespace),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let reviews = Api::<SelfSubjectAccessReview>::all(client.clone());
    reviews.create(&kube::api::PostParams::default(), &review).await.unwrap().status.unwrap().allowed
}

/// Lets a user write Elpio's kinds in every namespace, and nothing else.
pub async fn bind_everywhere(cluster: &Cluster, user: &str) -> Client {
    bind_cluster_role(cluster, user, json!({"kind": "User", "name": user})).await;
    cluster.client_as(user).await
}

/// The same for the operator's account.
pub async fn bind_operator_everywhere(cluster: &Cluster) -> Client {
    let [namespace, name] = ["elpio-system", "elpio-operator"];
    let subject = json!({"kind": "ServiceAccount", "name": name, "namespace": namespace});
    bind_cluster_role(cluster, name, subject).await;
    cluster.client_for(&cluster.kubeconfig_for_service_account(namespace, name).await).await
}

async fn bind_cluster_role(cluster: &Cluster, name: &str, subject: Value) {
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": manifest::elpio_edit()});
    let binding = json!({"metadata": {}, "roleRef": role, "subjects": [subject]});
    let binding: ClusterRoleBinding = serde_json::from_value(binding).unwrap();
    apply(&Api::all(cluster.client().await), &format!("test-{name}"), &binding).await;
}
