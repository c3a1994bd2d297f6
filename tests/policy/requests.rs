//! Requests that the table does not have: other ways to write, other engines, what must never be judged. Stored
//! objects are real here, no dry runs.

use elpio_cluster::eventually;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use crate::{
    columns::{Kind, columns, merged},
    manifest,
    policy_env::{self, TIMEOUT, api, installed, object},
    row::Outcome,
    table::in_force,
    writers::{ELPIO_ONLY, Permission, Writer},
};

/// A namespace with the policies in force.
struct Tenant {
    namespace: String,
    admin: Client,
    client: Client,
}

impl Tenant {
    async fn new(name: &str) -> Self {
        let cluster = installed().await;
        let namespace = cluster.namespace(name).await;
        in_force(cluster, &columns(), &namespace).await;
        let client = policy_env::client(cluster, &ELPIO_ONLY, &namespace).await;
        Self { admin: cluster.client().await, client, namespace }
    }

    fn of(&self, client: &Client, kind: Kind) -> Api<DynamicObject> {
        api(client, kind, &self.namespace)
    }

    async fn stored(&self, kind: Kind, name: &str, more: &Value) -> DynamicObject {
        let object = object(kind, name, &merged(&kind.base(), more));
        self.of(&self.admin, kind).create(&PostParams::default(), &object).await.unwrap()
    }
}

fn refused(what: &str, answer: Result<DynamicObject, kube::Error>) {
    let outcome = Outcome::of(answer);
    assert!(matches!(outcome, Outcome::Forbidden(_)), "{what}: {outcome:?}");
}

/// However a request is spelled, and nothing of it is stored.
#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_write_is_judged_alike() {
    let tenant = Tenant::new("spelled").await;
    let lent = json!({"serviceAccount": "runner"});
    for kind in Kind::ALL {
        let stored = tenant.stored(kind, "stored", &json!({})).await;
        let user = tenant.of(&tenant.client, kind);
        let with = |name: &str| object(kind, name, &merged(&kind.base(), &lent));
        let apply = PatchParams::apply("gitops").force();
        let plain = PatchParams::default();
        refused("create", user.create(&PostParams::default(), &with("created")).await);
        let mut generated = with("");
        generated.metadata.name = None;
        generated.metadata.generate_name = Some("generated-".to_owned());
        refused("create with a generated name", user.create(&PostParams::default(), &generated).await);
        refused("apply that creates", user.patch("applied", &apply, &Patch::Apply(with("applied"))).await);
        refused("apply", user.patch("stored", &apply, &Patch::Apply(with("stored"))).await);
        let dry = PatchParams { dry_run: true, ..apply.clone() };
        refused("dry run", user.patch("stored", &dry, &Patch::Apply(with("stored"))).await);
        refused("merge patch", user.patch("stored", &plain, &Patch::Merge(json!({"spec": lent}))).await);
        let operation = json!([{"op": "add", "path": "/spec/serviceAccount", "value": "runner"}]);
        let json_patch = serde_json::from_value(operation).unwrap();
        refused("JSON patch", user.patch("stored", &plain, &Patch::Json::<()>(json_patch)).await);
        let mut replaced = stored.clone();
        replaced.data["spec"] = merged(&kind.base(), &lent);
        refused("replace", user.replace("stored", &PostParams::default(), &replaced).await);
        let all = tenant.of(&tenant.admin, kind).list(&kube::api::ListParams::default()).await.unwrap();
        let names: Vec<String> = all.iter().map(ResourceExt::name_any).collect();
        assert_eq!(
            (names, all.items[0].data["spec"].get("serviceAccount")),
            (vec!["stored".to_owned()], None)
        );
    }
}

/// Writers of the status, and of finalizers, add no field.
#[tokio::test(flavor = "multi_thread")]
async fn a_status_and_a_finalizer_are_not_judged() {
    let tenant = Tenant::new("finalizer").await;
    let lent = json!({"serviceAccount": "runner", "imagePullSecrets": ["s1"], "ingress": {"host": "a.example.com", "tls": true}});
    for kind in Kind::ALL {
        tenant.stored(kind, "held", &lent).await;
        let (admin, user) = (tenant.of(&tenant.admin, kind), tenant.of(&tenant.client, kind));
        let finalizers = |names: &[&str]| Patch::Merge(json!({"metadata": {"finalizers": names}}));
        user.patch("held", &PatchParams::default(), &finalizers(&["example.com/held"])).await.unwrap();
        admin.delete("held", &DeleteParams::default()).await.unwrap();
        let status = Patch::Merge(json!({"status": {"ready": true}}));
        admin.patch_status("held", &PatchParams::default(), &status).await.unwrap();
        assert!(user.get("held").await.unwrap().metadata.deletion_timestamp.is_some());
        user.patch("held", &PatchParams::default(), &finalizers(&[])).await.unwrap();
        assert!(admin.get_opt("held").await.unwrap().is_none());
    }
}

/// A part of what an object has may go, or move within the object, without any permission.
#[tokio::test(flavor = "multi_thread")]
async fn what_stays_of_an_older_object_is_not_judged() {
    let tenant = Tenant::new("part").await;
    let secret = |name: &str| json!({"name": name, "storeRef": "vault", "data": [{"secretKey": "k", "remoteKey": name}]});
    let key = |name: &str| json!({"name": name, "valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}});
    let before = json!({"externalSecrets": [secret("a"), secret("b")], "env": [key("s1"), key("s2")],
        "ingress": {"host": "a.example.com", "tls": true, "issuer": {"name": "ca"}}});
    let mut held = tenant.stored(Kind::Service, "held", &before).await;
    let user = tenant.of(&tenant.client, Kind::Service);
    for (what, change) in [
        ("one of two external secrets", json!({"externalSecrets": [secret("b")]})),
        ("another variable", json!({"env": [{"name": "PLAIN", "value": "1"}, key("s2"), key("s1")]})),
        ("a read Secret also pulls", json!({"imagePullSecrets": ["s1"]})),
        ("the same Secret as a whole", json!({"envFrom": [{"secretRef": {"name": "s1"}}]})),
        (
            "no more certificate",
            json!({"ingress": {"host": "a.example.com", "tls": false, "issuer": {"name": "ca"}}}),
        ),
        ("no more issuer", json!({"ingress": {"host": "a.example.com"}})),
    ] {
        for (field, value) in change.as_object().unwrap() {
            held.data["spec"][field] = value.clone();
        }
        let replaced = user.replace("held", &PostParams::default(), &held).await;
        held = replaced.unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    let issuer = Patch::Merge(json!({"spec": {"ingress": {"tls": true}}}));
    refused("the certificate again", user.patch("held", &PatchParams::default(), &issuer).await);
}

/// An object without an engine keeps the one in its status; nobody chooses another by writing a status.
#[tokio::test(flavor = "multi_thread")]
async fn the_engine_is_the_one_that_serves() {
    let tenant = Tenant::new("engine").await;
    let host = json!({"ingress": {"host": "a.example.com"}});
    let params = PatchParams::default();
    for kind in Kind::ALL {
        let (admin, user) = (tenant.of(&tenant.admin, kind), tenant.of(&tenant.client, kind));
        let serves = |engine: &str| Patch::Merge(json!({"status": {"ready": false, "engine": engine}}));
        let mut forged = object(kind, "forged", &merged(&kind.base(), &host));
        forged.data["status"] = json!({"ready": false, "engine": "keda"});
        refused("a status in a create", user.create(&PostParams::default(), &forged).await);
        tenant.stored(kind, "kept", &json!({})).await;
        let claim = Patch::Merge(json!({"status": {"engine": "keda"}, "spec": host}));
        refused("a status in an update", user.patch("kept", &params, &claim).await);
        admin.patch_status("kept", &params, &serves("keda")).await.unwrap();
        user.patch("kept", &params, &Patch::Merge(json!({"spec": host}))).await.unwrap();
        let knative = Patch::Merge(json!({"spec": {"engine": "knative"}}));
        refused("the host on Knative by a switch", user.patch("kept", &params, &knative).await);
        tenant.stored(kind, "switched", &merged(&json!({"engine": "keda"}), &host)).await;
        admin.patch_status("switched", &params, &serves("knative")).await.unwrap();
        let none = Patch::Merge(json!({"spec": {"engine": null}}));
        refused("the host on Knative by an absent engine", user.patch("switched", &params, &none).await);
    }
}

/// kube-controller-manager checks the types of the expressions.
#[tokio::test(flavor = "multi_thread")]
async fn the_policies_have_no_type_warnings() {
    let cluster = installed().await;
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(cluster.client().await);
    for kind in Kind::ALL {
        let name = manifest::installed_policy(kind);
        let checked = eventually(&format!("{name} is checked"), TIMEOUT, async || {
            let policy = policies.get(&name).await.map_err(|error| error.to_string())?;
            let status = policy.status.unwrap_or_default();
            let current = status.observed_generation == policy.metadata.generation;
            status.type_checking.clone().filter(|_| current).ok_or_else(|| format!("{status:?}"))
        })
        .await;
        assert_eq!(checked.expression_warnings, None);
    }
}

/// Several new Secrets at once need the permission to all; one at a time, each needs its own.
#[tokio::test(flavor = "multi_thread")]
async fn permissions_by_name_are_enough_for_one_secret_at_a_time() {
    let tenant = Tenant::new("names").await;
    let granted: &[Permission] = &[Permission::GetSecrets("s1"), Permission::GetSecrets("s2")];
    let writer =
        Writer { granted, held: granted, identity: crate::writers::Identity::User(20), ..ELPIO_ONLY };
    let client = policy_env::client(installed().await, &writer, &tenant.namespace).await;
    tenant.stored(Kind::Service, "held", &json!({})).await;
    let user = tenant.of(&client, Kind::Service);
    let pull = |names: &[&str]| Patch::Merge(json!({"spec": {"imagePullSecrets": names}}));
    refused("two at once", user.patch("held", &PatchParams::default(), &pull(&["s1", "s2"])).await);
    user.patch("held", &PatchParams::default(), &pull(&["s1"])).await.unwrap();
    user.patch("held", &PatchParams::default(), &pull(&["s1", "s2"])).await.unwrap();
    refused("a third", user.patch("held", &PatchParams::default(), &pull(&["s1", "s2", "s3"])).await);
}

/// `[Warn, Audit]` in place of `[Deny]`: the request passes, with a warning.
#[tokio::test(flavor = "multi_thread")]
async fn a_binding_may_warn_instead() {
    let cluster = installed().await;
    let namespace = cluster.namespace("warned").await;
    let client = policy_env::client(cluster, &ELPIO_ONLY, &namespace).await;
    let mut policy = manifest::policy("policies/hosts.yaml", "elpio-hosts");
    policy.set_actions(&["Warn", "Audit"]);
    cluster.apply_objects(&policy.only_in(&namespace).objects()).await;
    let spec =
        merged(&Kind::Service.base(), &json!({"engine": "keda", "ingress": {"host": "a.example.com"}}));
    let body = serde_json::to_vec(&object(Kind::Service, "warned", &spec)).unwrap();
    let uri = format!("/apis/elpio.io/v1alpha1/namespaces/{namespace}/elpioservices?dryRun=All");
    let warning = eventually("the answer has a warning", TIMEOUT, async || {
        let request = http::Request::post(&uri).header("content-type", "application/json");
        let request = request.body(kube::client::Body::from(body.clone())).unwrap();
        let answer = client.send(request).await.map_err(|error| error.to_string())?;
        assert_eq!(answer.status(), 201);
        let warning = answer.headers().get("warning").ok_or("no warning")?;
        Ok::<_, String>(warning.to_str().unwrap().to_owned())
    })
    .await;
    assert!(warning.contains("spec.ingress.host") && warning.contains(&namespace), "{warning}");
}
