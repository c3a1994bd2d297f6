//! Names that belong to others, owners that are deleted, and two owners that desire one child.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use elpio_cluster::{Cluster, WatchBlackhole, Webhook, eventually, webhook::Rule};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PropagationPolicy},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::{
    apply_cases::{create, host, merge, on},
    fault_proxy::{Fault, FaultProxy},
    live_env::{LiveEnv, TIMEOUT, find, image, with},
};

fn secret(name: &str) -> Value {
    json!({"externalSecrets": [{"name": name, "storeRef": "vault", "data": [{"secretKey": "a", "remoteKey": "a"}]}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_with_equal_fields_is_not_taken_over() {
    let env = LiveEnv::new("owner-equal").await;
    let alias = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"type": "ExternalName", "externalName": "legacy.example.org"}});
    let alias = create(&env.core_services(), alias).await;
    let certificate = json!({"apiVersion": "cert-manager.io/v1", "kind": "Certificate",
        "metadata": {"name": "x.apps.example.org"},
        "spec": {"secretName": "site-tls", "dnsNames": ["x.apps.example.org"],
            "issuerRef": {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "letsencrypt"}}});
    let certificates = env.any("cert-manager.io/v1", "Certificate", "certificates");
    let certificate = create(&certificates, certificate).await;

    env.apply("web", &on("keda")).await;
    let condition = env.condition("web", "Reconciled", "False", "NameConflict").await;
    assert!(condition.message.contains("Service web"), "{}", condition.message);
    env.apply("site", &with(on("knative"), &host("x.apps.example.org", true))).await;
    env.condition("site", "Reconciled", "False", "NameConflict").await;
    env.wait_until_idle().await;
    // Their statuses may be written by others.
    let own = |object: &DynamicObject| {
        let owners = object.owner_references().to_vec();
        (object.uid(), object.metadata.labels.clone(), owners, object.data["spec"].clone())
    };
    assert_eq!(own(&env.core_services().get("web").await.unwrap()), own(&alias));
    assert_eq!(own(&certificates.get("x.apps.example.org").await.unwrap()), own(&certificate));
    env.services().delete("site", &DeleteParams::default()).await.unwrap();
    env.core_services().delete("web", &DeleteParams::default()).await.unwrap();
    env.ready("web").await;
}

/// Holds matching requests for as long as the first semaphore has no permit; each that arrives adds one to the second.
pub fn hold(
    proxy: &FaultProxy,
    matches: impl Fn(&http::request::Parts) -> bool + Send + 'static,
) -> (Arc<Semaphore>, Arc<Semaphore>) {
    let (gate, arrived) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (held, arrival) = (Arc::clone(&gate), Arc::clone(&arrived));
    proxy.set(move |parts| {
        matches(parts).then(|| {
            arrival.add_permits(1);
            Fault::Hold(Arc::clone(&held))
        })
    });
    (gate, arrived)
}

pub async fn arrives(arrived: &Semaphore, what: &str) {
    tokio::time::timeout(TIMEOUT, arrived.acquire()).await.expect(what).unwrap().forget();
}

/// The removal of a dropped field that another manager holds too meets a newer object.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_field_is_removed_though_its_object_is_written_meanwhile() {
    let cluster = Cluster::shared().await;
    let proxy = FaultProxy::start(&cluster.kubeconfig(), None).await;
    let env = LiveEnv::on(cluster, "apply-dropped", proxy.kubeconfig(), &[("ELPIO_ENGINE", "keda")]).await;
    let variables =
        |names: &[&str]| -> Value { names.iter().map(|n| json!({"name": n, "value": "1"})).collect() };
    env.apply("web", &with(image("v1"), &json!({"env": variables(&["A", "B"])}))).await;
    env.ready("web").await;
    let (deployments, mut theirs) = (env.deployments(), variables(&["A", "B", "ZZ"]));
    theirs[0]["value"] = "2".into();
    let theirs = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"template": {"spec": {"containers": [{"name": "web", "env": theirs}]}}}});
    deployments.patch("web", &PatchParams::apply("kubectl").force(), &Patch::Apply(theirs)).await.unwrap();
    let env_of = |object: &DynamicObject| -> Vec<Value> {
        object.data.pointer("/spec/template/spec/containers/0/env").unwrap().as_array().unwrap().clone()
    };
    env.object(&deployments, "web", "what it corrects, it has seen", |object| {
        env_of(object).iter().any(|variable| variable["name"] == "A" && variable["value"] == "1")
    })
    .await;
    env.wait_until_idle().await;

    let (gate, arrived) = hold(&proxy, |parts| {
        parts.headers.get("content-type").is_some_and(|value| value == "application/json-patch+json")
    });
    env.apply("web", &with(image("v1"), &json!({"env": variables(&["A"])}))).await;
    arrives(&arrived, "it removes the field").await;
    merge(&deployments, "web", json!({"metadata": {"annotations": {"example.org/x": "1"}}})).await;
    gate.add_permits(1000);
    env.object(&deployments, "web", "B is gone, the other's ZZ stays", |object| {
        let all = env_of(object);
        let names = all.iter().map(|variable| variable["name"].as_str().unwrap());
        names.filter(|name| *name != "PORT").eq(["A", "ZZ"])
    })
    .await;
}

/// While the apply is on its way.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_created_in_between_and_agrees_stays_its_creators() {
    let cluster = Cluster::shared().await;
    let proxy = FaultProxy::start(&cluster.kubeconfig(), None).await;
    let env = LiveEnv::on(cluster, "apply-between", proxy.kubeconfig(), &[]).await;
    let (gate, arrived) = hold(&proxy, |parts| {
        parts.method == http::Method::PATCH && parts.uri.path().contains("/cert-manager.io/")
    });
    env.apply("site", &with(on("knative"), &host("y.apps.example.org", true))).await;
    arrives(&arrived, "it applies the certificate").await;
    let certificate = json!({"apiVersion": "cert-manager.io/v1", "kind": "Certificate",
        "metadata": {"name": "y.apps.example.org"},
        "spec": {"secretName": "site-tls", "dnsNames": ["y.apps.example.org"],
            "issuerRef": {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "letsencrypt"}}});
    let certificates = env.any("cert-manager.io/v1", "Certificate", "certificates");
    let certificate = create(&certificates, certificate).await;
    gate.add_permits(1000);
    let condition = env.condition("site", "Reconciled", "False", "NameConflict").await;
    assert!(condition.message.contains("Certificate y.apps.example.org"), "{}", condition.message);
    env.wait_until_idle().await;
    let now = certificates.get("y.apps.example.org").await.unwrap();
    assert_eq!(now.data["spec"], certificate.data["spec"]);
    assert_eq!((now.labels(), now.annotations()), (certificate.labels(), certificate.annotations()));
    assert!(now.owner_references().is_empty(), "{:?}", now.owner_references());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_owners_of_one_child_one_wins_and_the_other_reports_it() {
    let env = LiveEnv::new("owner-two").await;
    // Long enough for both to have begun.
    let webhook = Webhook::start(env.client.clone(), &env.namespace).await;
    webhook.add(Rule::delay("externalsecrets.external-secrets.io", Duration::from_millis(300)));
    webhook.add(Rule::delay("domainmappings.serving.knative.dev", Duration::from_millis(300)));
    let pairs: Vec<(String, String)> = (0..16).map(|n| (format!("a{n}"), format!("b{n}"))).collect();
    let spec = |n: usize| match n % 2 {
        0 => with(image("v1"), &secret(&format!("shared{n}"))),
        _ => with(image("v1"), &host(&format!("shared{n}.apps.example.org"), false)),
    };
    let specs: Vec<Value> = (0..pairs.len()).map(spec).collect();
    let both = pairs.iter().zip(&specs).flat_map(|((a, b), spec)| [env.apply(a, spec), env.apply(b, spec)]);
    futures::future::join_all(both).await;
    for (a, b) in &pairs {
        eventually(&format!("one of {a} and {b} is reconciled, the other conflicts"), TIMEOUT, async || {
            let mut reasons = BTreeMap::new();
            for name in [a, b] {
                let object = env.services().get(name).await.map_err(|e| e.to_string())?;
                let reason = find(&object, "Reconciled").map_or_else(String::new, |c| c.reason);
                reasons.insert(reason, name.clone());
            }
            let known: Vec<&str> = reasons.keys().map(String::as_str).collect();
            if known == ["NameConflict", "Reconciled"] { Ok(()) } else { Err(format!("{reasons:?}")) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_created_or_adopted_for_a_deleted_owner() {
    let cluster = Cluster::shared().await;
    let blackhole = WatchBlackhole::start(&cluster.kubeconfig()).await;
    let env = LiveEnv::on(cluster, "owner-gone", &blackhole.kubeconfig(), &[]).await;
    let webhook = Webhook::start(env.client.clone(), &env.namespace).await;
    webhook.refuse("httpscaledobjects.http.keda.sh", 422, "not yet");
    for name in ["deleted", "orphaned"] {
        env.apply(name, &on("keda")).await;
        env.condition(name, "Reconciled", "False", "ApplyFailed").await;
    }
    blackhole.block();
    // A retry that is due may ask before the webhook is cleared.
    let before = env.cluster.audit_offset();
    env.services().delete("deleted", &DeleteParams::default()).await.unwrap();
    let orphan =
        DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
    env.services().delete("orphaned", &orphan).await.unwrap();
    let deleted = "their owners are deleted";
    eventually(deleted, TIMEOUT, async || {
        for name in ["deleted", "orphaned"] {
            if env.services().get_opt(name).await.map_err(|e| e.to_string())?.is_some() {
                return Err(format!("{name} is there"));
            }
        }
        Ok(())
    })
    .await;
    // A watch that brought something within the last second is believed.
    eventually("the watch is silent for two seconds", TIMEOUT, async || {
        let age = env.counted("elpio_watch_age_seconds", &[("resource", "ElpioService")]).await;
        if age > 2.0 { Ok(()) } else { Err(age) }
    })
    .await;
    let mark = env.cluster.audit_offset();
    webhook.clear();
    eventually("the operator has found that both owners are deleted", TIMEOUT, async || {
        // Until its finalizer is removed, an owner is still found, and is being deleted.
        let requests = env.cluster.audit_since(before).namespace(&env.namespace).resource("elpioservices");
        let has_found = |name: &str| {
            let of_owner = requests.0.iter().filter(|entry| entry.name == name);
            let mut after = of_owner.skip_while(|entry| entry.verb != "delete");
            after.any(|entry| entry.verb == "get" && entry.user_agent.starts_with("elpio-operator"))
        };
        let names = ["deleted", "orphaned"].into_iter().filter(|name| has_found(name)).collect::<Vec<_>>();
        if names.len() == 2 { Ok(()) } else { Err(format!("{names:?}")) }
    })
    .await;
    let writes = env.requests_since(mark).writes();
    assert!(writes.is_empty(), "{:?}", writes.count());
    assert_eq!(env.http_scaled_objects().get_opt("orphaned").await.unwrap(), None);
    let orphan = env.deployments().get("orphaned").await.unwrap();
    assert!(orphan.owner_references().is_empty(), "{:?}", orphan.owner_references());
    blackhole.unblock();

    // A service of that name takes the orphans over.
    env.apply("orphaned", &on("keda")).await;
    env.ready("orphaned").await;
    assert_eq!(env.deployments().get("orphaned").await.unwrap().uid(), orphan.uid(), "it is adopted");
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_of_unknown_kinds_add_no_series_and_no_request() {
    let env = LiveEnv::with("owner-unknown", &[("ELPIO_ENGINE", "keda")]).await;
    for n in 0..8 {
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": format!("web-{n}"),
            "labels": {"app.kubernetes.io/managed-by": "elpio", "elpio.io/service": format!("web-{n}")},
            "ownerReferences": [{"apiVersion": format!("t{n}.example.com/v1"), "kind": format!("Thing{n}"), "name": "x",
                "uid": format!("00000000-0000-0000-0000-0000000000{n:02}"), "controller": true}]},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": {
                "metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "registry.local/x"}]}}}});
        create(&env.deployments(), deployment).await;
        env.apply(&format!("web-{n}"), &image("v1")).await;
    }
    let secrets = env.any("external-secrets.io/v1", "ExternalSecret", "externalsecrets");
    // Alive, and cluster-scoped: a GET of it in the namespace would answer 404.
    let cluster_secrets: Api<DynamicObject> = {
        let gvk = GroupVersionKind::gvk("external-secrets.io", "v1", "ClusterExternalSecret");
        let resource = ApiResource::from_gvk_with_plural(&gvk, "clusterexternalsecrets");
        Api::all_with(env.client.clone(), &resource)
    };
    let owner = json!({"apiVersion": "external-secrets.io/v1", "kind": "ClusterExternalSecret", "metadata": {"name": env.namespace},
        "spec": {"externalSecretSpec": {}}});
    let owner = create(&cluster_secrets, owner).await;
    let db = json!({"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": {"name": "db",
        "ownerReferences": [{"apiVersion": "external-secrets.io/v1", "kind": "ClusterExternalSecret", "name": owner.name_any(),
            "uid": owner.uid(), "controller": true}]}, "spec": {}});
    create(&secrets, db).await;
    env.apply("db", &with(image("v1"), &secret("db"))).await;

    for n in 0..8 {
        let condition = env.condition(&format!("web-{n}"), "Reconciled", "False", "NameConflict").await;
        assert!(condition.message.contains(&format!("Thing{n} x")), "{}", condition.message);
    }
    let condition = env.condition("db", "Reconciled", "False", "NameConflict").await;
    assert!(condition.message.contains("ClusterExternalSecret owner-unknown"), "{}", condition.message);
    let page = env.operator.metrics("").await;
    let lines: Vec<&str> = page.lines().filter(|line| line.contains(".example.com")).collect();
    assert!(lines.is_empty(), "{lines:#?}");
    let agent = env.cluster.audit().user_agent("elpio-operator");
    let foreign = agent
        .filter(|entry| entry.uri.contains("example.com") || entry.uri.contains("clusterexternalsecrets"));
    assert!(foreign.is_empty(), "{:?}", foreign.count());
}
