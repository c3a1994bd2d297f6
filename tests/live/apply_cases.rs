//! Switches that keep what serves, names that belong to others, and writes after the Lease is lost.

use std::{collections::BTreeMap, time::Duration};

use elpio_cluster::{Cluster, Crds, Operator, Options, WatchSilencer, Webhook, eventually, webhook::Rule};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::stage::{SOON, Stage, binary, find, image, with};

const KSVC: &str = "services.serving.knative.dev";
const KEDA: &str = "http.keda.sh/v1alpha1";

fn on(engine: &str) -> Value {
    with(image("v1"), &json!({"engine": engine}))
}

fn secret(name: &str) -> Value {
    json!({"externalSecrets": [{"name": name, "storeRef": "vault", "data": [{"secretKey": "a", "remoteKey": "a"}]}]})
}

fn host(host: &str, tls: bool) -> Value {
    json!({"ingress": {"host": host, "tls": tls}})
}

pub(crate) async fn create(api: &Api<DynamicObject>, object: Value) -> DynamicObject {
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
}

pub(crate) async fn merge(api: &Api<DynamicObject>, name: &str, patch: Value) -> DynamicObject {
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap()
}

impl Stage {
    fn http_scaled_objects(&self) -> Api<DynamicObject> {
        self.any(KEDA, "HTTPScaledObject", "httpscaledobjects")
    }

    fn core_services(&self) -> Api<DynamicObject> {
        self.any("v1", "Service", "services")
    }

    fn domain_mappings(&self) -> Api<DynamicObject> {
        self.any("serving.knative.dev/v1beta1", "DomainMapping", "domainmappings")
    }

    /// The uids of the three objects of a KEDA service.
    async fn keda_uids(&self, name: &str) -> Vec<Option<String>> {
        let mut uids = Vec::new();
        for api in [self.deployments(), self.core_services(), self.http_scaled_objects()] {
            uids.push(api.get(name).await.unwrap().uid());
        }
        uids
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_51_a_refused_switch_keeps_the_old_engine() {
    let stage = Stage::new("apply-51").await;
    stage.apply("web", &on("keda")).await;
    stage.ready("web").await;
    let before = stage.keda_uids("web").await;
    let webhook = Webhook::start(stage.client.clone(), &stage.namespace).await;
    webhook.refuse(KSVC, 422, "no Knative here");
    stage.apply("web", &on("knative")).await;
    let condition = stage.condition("web", "Reconciled", "False", "ApplyFailed").await;
    for part in ["no Knative here", "Deployment web", "Service web", "HTTPScaledObject web"] {
        assert!(condition.message.contains(part), "{part}: {}", condition.message);
    }
    assert_eq!(stage.keda_uids("web").await, before, "what serves is as it was");
    webhook.clear();
    stage.ready("web").await;
    stage.gone(&stage.deployments(), "web").await;
    stage.gone(&stage.http_scaled_objects(), "web").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_52_a_finalizer_holds_up_only_what_clashes() {
    let stage = Stage::new("apply-52").await;
    stage.apply("web", &on("keda")).await;
    stage.ready("web").await;
    let hangs = |finalizers: Value| json!({"metadata": {"finalizers": finalizers}});
    merge(&stage.http_scaled_objects(), "web", hangs(json!(["example.org/hangs"]))).await;
    stage.apply("web", &on("knative")).await;
    stage.ready("web").await;
    stage
        .object(&stage.http_scaled_objects(), "web", "is being deleted", |o| {
            o.metadata.deletion_timestamp.is_some()
        })
        .await;
    stage.gone(&stage.deployments(), "web").await;
    merge(&stage.http_scaled_objects(), "web", hangs(Value::Null)).await;
    stage.gone(&stage.http_scaled_objects(), "web").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_53_a_missing_engine_keeps_the_domain() {
    let crds = vec![Crds::ELPIO, Crds::KNATIVE, Crds::CERT_MANAGER];
    let options = Options { crds, audit: true, ..Options::default() };
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start(options).await));
    let stage = Stage::on(cluster, "apply-53", &cluster.kubeconfig(), &[]).await;
    let tls = host("web.apps.example.org", true);
    stage.apply("web", &with(on("knative"), &tls)).await;
    stage.ready("web").await;
    let mapping = stage.domain_mappings().get("web.apps.example.org").await.unwrap().uid();
    stage.apply("web", &with(on("keda"), &tls)).await;
    stage.condition("web", "Reconciled", "False", "DependencyMissing").await;
    stage.quiet().await;
    assert_eq!(stage.domain_mappings().get("web.apps.example.org").await.unwrap().uid(), mapping);
    assert_eq!(stage.deployments().get_opt("web").await.unwrap(), None, "the new set is not begun");
    stage.knative().get("web").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_54_another_host_keeps_the_old_one_until_it_is_accepted() {
    let stage = Stage::new("apply-54").await;
    let mappings = stage.domain_mappings();
    stage.apply("web", &with(on("knative"), &host("a.apps.example.org", false))).await;
    stage.ready("web").await;
    let before = mappings.get("a.apps.example.org").await.unwrap().uid();
    let theirs = json!({"apiVersion": "serving.knative.dev/v1beta1", "kind": "DomainMapping",
        "metadata": {"name": "b.apps.example.org"},
        "spec": {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "theirs"}}});
    create(&mappings, theirs).await;
    stage.apply("web", &with(on("knative"), &host("b.apps.example.org", false))).await;
    let condition = stage.condition("web", "Reconciled", "False", "NameConflict").await;
    assert!(condition.message.contains("DomainMapping a.apps.example.org"), "{}", condition.message);
    stage.quiet().await;
    assert_eq!(mappings.get("a.apps.example.org").await.unwrap().uid(), before);
    mappings.delete("b.apps.example.org", &DeleteParams::default()).await.unwrap();
    stage.ready("web").await;
    stage.gone(&mappings, "a.apps.example.org").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_55_equal_fields_are_no_permission() {
    let stage = Stage::new("apply-55").await;
    let alias = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"type": "ExternalName", "externalName": "legacy.example.org"}});
    let alias = create(&stage.core_services(), alias).await;
    let certificate = json!({"apiVersion": "cert-manager.io/v1", "kind": "Certificate",
        "metadata": {"name": "x.apps.example.org"},
        "spec": {"secretName": "site-tls", "dnsNames": ["x.apps.example.org"],
            "issuerRef": {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "letsencrypt"}}});
    let certificates = stage.any("cert-manager.io/v1", "Certificate", "certificates");
    let certificate = create(&certificates, certificate).await;

    stage.apply("web", &on("keda")).await;
    let condition = stage.condition("web", "Reconciled", "False", "NameConflict").await;
    assert!(condition.message.contains("Service web"), "{}", condition.message);
    stage.apply("site", &with(on("knative"), &host("x.apps.example.org", true))).await;
    stage.condition("site", "Reconciled", "False", "NameConflict").await;
    stage.quiet().await;
    // Their statuses may be written by others.
    let own = |object: &DynamicObject| {
        let owners = object.owner_references().to_vec();
        (object.uid(), object.metadata.labels.clone(), owners, object.data["spec"].clone())
    };
    assert_eq!(own(&stage.core_services().get("web").await.unwrap()), own(&alias));
    assert_eq!(own(&certificates.get("x.apps.example.org").await.unwrap()), own(&certificate));
    stage.services().delete("site", &DeleteParams::default()).await.unwrap();
    stage.core_services().delete("web", &DeleteParams::default()).await.unwrap();
    stage.ready("web").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_78_a_refused_metric_keeps_the_autoscaler() {
    let stage = Stage::new("apply-78").await;
    stage.apply("web", &on("keda")).await;
    stage.ready("web").await;
    let before = stage.keda_uids("web").await;
    let webhook = Webhook::start(stage.client.clone(), &stage.namespace).await;
    webhook.add(Rule::refuse("scaledobjects.keda.sh", 422, "no cpu scaler"));
    let cpu = json!({"scaling": {"metric": "cpu", "target": 50}, "resources": {"limits": {"cpu": 1}}});
    stage.apply("web", &with(on("keda"), &cpu)).await;
    let condition = stage.condition("web", "Reconciled", "False", "ApplyFailed").await;
    assert!(condition.message.contains("no cpu scaler"), "{}", condition.message);
    assert_eq!(stage.keda_uids("web").await, before);
    webhook.clear();
    stage.ready("web").await;
    stage.gone(&stage.http_scaled_objects(), "web").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_88_of_two_owners_of_one_child_one_wins_and_the_other_knows() {
    let stage = Stage::new("apply-88").await;
    // Long enough for both to have begun.
    let webhook = Webhook::start(stage.client.clone(), &stage.namespace).await;
    webhook.add(Rule::delay("externalsecrets.external-secrets.io", Duration::from_millis(300)));
    webhook.add(Rule::delay("domainmappings.serving.knative.dev", Duration::from_millis(300)));
    let pairs: Vec<(String, String)> = (0..16).map(|n| (format!("a{n}"), format!("b{n}"))).collect();
    let spec = |n: usize| match n % 2 {
        0 => with(image("v1"), &secret(&format!("shared{n}"))),
        _ => with(image("v1"), &host(&format!("shared{n}.apps.example.org"), false)),
    };
    let specs: Vec<Value> = (0..pairs.len()).map(spec).collect();
    let both =
        pairs.iter().zip(&specs).flat_map(|((a, b), spec)| [stage.apply(a, spec), stage.apply(b, spec)]);
    futures::future::join_all(both).await;
    for (a, b) in &pairs {
        eventually(&format!("one of {a} and {b} is reconciled, the other conflicts"), SOON, async || {
            let mut reasons = BTreeMap::new();
            for name in [a, b] {
                let object = stage.services().get(name).await.map_err(|e| e.to_string())?;
                let reason = find(&object, "Reconciled").map_or_else(String::new, |c| c.reason);
                reasons.insert(reason, name.clone());
            }
            let known: Vec<&str> = reasons.keys().map(String::as_str).collect();
            if known == ["NameConflict", "Reconciled"] { Ok(()) } else { Err(format!("{reasons:?}")) }
        })
        .await;
    }
}

/// The owner's deletion is not in the cache yet, and a retry is due.
#[tokio::test(flavor = "multi_thread")]
async fn replayed_79_80_nothing_is_created_or_adopted_for_a_deleted_owner() {
    let cluster = Cluster::shared().await;
    let silencer = WatchSilencer::start(&cluster.kubeconfig()).await;
    let stage = Stage::on(cluster, "apply-79", &silencer.kubeconfig(), &[]).await;
    let webhook = Webhook::start(stage.client.clone(), &stage.namespace).await;
    webhook.refuse("httpscaledobjects.http.keda.sh", 422, "not yet");
    for name in ["deleted", "orphaned"] {
        stage.apply(name, &on("keda")).await;
        stage.condition(name, "Reconciled", "False", "ApplyFailed").await;
    }
    silencer.silence();
    stage.services().delete("deleted", &DeleteParams::default()).await.unwrap();
    let orphan = DeleteParams {
        propagation_policy: Some(kube::api::PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    stage.services().delete("orphaned", &orphan).await.unwrap();
    let deleted = "their owners are deleted";
    eventually(deleted, SOON, async || {
        for name in ["deleted", "orphaned"] {
            if stage.services().get_opt(name).await.map_err(|e| e.to_string())?.is_some() {
                return Err(format!("{name} is there"));
            }
        }
        Ok(())
    })
    .await;
    let mark = stage.cluster.audit_mark();
    webhook.clear();
    eventually("the operator has asked for both owners", SOON, async || {
        let asked = stage.asked_since(mark).verb("get").resource("elpioservices");
        let names: std::collections::BTreeSet<String> = asked.0.iter().map(|e| e.name.clone()).collect();
        if names.len() == 2 { Ok(()) } else { Err(format!("{names:?}")) }
    })
    .await;
    let writes = stage.asked_since(mark).writes();
    assert!(writes.is_empty(), "{:?}", writes.count());
    assert_eq!(stage.http_scaled_objects().get_opt("orphaned").await.unwrap(), None);
    let orphan = stage.deployments().get("orphaned").await.unwrap();
    assert!(orphan.owner_references().is_empty(), "{:?}", orphan.owner_references());
    silencer.resume();

    // A service of that name takes the orphans over.
    stage.apply("orphaned", &on("keda")).await;
    stage.ready("orphaned").await;
    assert_eq!(stage.deployments().get("orphaned").await.unwrap().uid(), orphan.uid(), "it is adopted");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_28_label_explosion_by_owner() {
    let stage = Stage::with("apply-28", &[("ELPIO_ENGINE", "keda")]).await;
    for n in 0..8 {
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": format!("web-{n}"),
            "labels": {"app.kubernetes.io/managed-by": "elpio", "elpio.io/service": format!("web-{n}")},
            "ownerReferences": [{"apiVersion": format!("t{n}.example.com/v1"), "kind": format!("Thing{n}"), "name": "x",
                "uid": format!("00000000-0000-0000-0000-0000000000{n:02}"), "controller": true}]},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": {
                "metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "registry.local/x"}]}}}});
        create(&stage.deployments(), deployment).await;
        stage.apply(&format!("web-{n}"), &image("v1")).await;
    }
    let secrets = stage.any("external-secrets.io/v1", "ExternalSecret", "externalsecrets");
    // Alive, and cluster-scoped: a GET of it in the namespace would answer 404.
    let cluster_secrets: Api<DynamicObject> = {
        let gvk = GroupVersionKind::gvk("external-secrets.io", "v1", "ClusterExternalSecret");
        let resource = ApiResource::from_gvk_with_plural(&gvk, "clusterexternalsecrets");
        Api::all_with(stage.client.clone(), &resource)
    };
    let owner = json!({"apiVersion": "external-secrets.io/v1", "kind": "ClusterExternalSecret", "metadata": {"name": stage.namespace},
        "spec": {"externalSecretSpec": {}}});
    let owner = create(&cluster_secrets, owner).await;
    let db = json!({"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": {"name": "db",
        "ownerReferences": [{"apiVersion": "external-secrets.io/v1", "kind": "ClusterExternalSecret", "name": owner.name_any(),
            "uid": owner.uid(), "controller": true}]}, "spec": {}});
    create(&secrets, db).await;
    stage.apply("db", &with(image("v1"), &secret("db"))).await;

    for n in 0..8 {
        let condition = stage.condition(&format!("web-{n}"), "Reconciled", "False", "NameConflict").await;
        assert!(condition.message.contains(&format!("Thing{n} x")), "{}", condition.message);
    }
    let condition = stage.condition("db", "Reconciled", "False", "NameConflict").await;
    assert!(condition.message.contains("ClusterExternalSecret apply-28"), "{}", condition.message);
    let page = stage.operator.metrics("").await;
    let lines: Vec<&str> = page.lines().filter(|line| line.contains(".example.com")).collect();
    assert!(lines.is_empty(), "{lines:#?}");
    let agent = stage.cluster.audit().user_agent("elpio-operator");
    let foreign = agent
        .filter(|entry| entry.uri.contains("example.com") || entry.uri.contains("clusterexternalsecrets"));
    assert!(foreign.is_empty(), "{:?}", foreign.count());
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_60_a_lost_lease_stops_writes_in_the_middle() {
    let cluster = Cluster::shared().await;
    // A stage for its verbs; its own operator watches another namespace.
    let stage = Stage::with("apply-60", &[("ELPIO_NAMESPACES", "nobody-is-here")]).await;
    let namespace = stage.namespace.as_str();
    let leases: Api<Lease> = Api::namespaced(stage.client.clone(), namespace);
    let environment = [
        ("ELPIO_NAMESPACES", namespace),
        ("POD_NAMESPACE", namespace),
        ("ELPIO_LEADER_ELECT", "on"),
        ("ELPIO_METRICS", "on"),
        ("ELPIO_METRICS_ADDR", "127.0.0.1"),
    ];
    let mut operator = Operator::spawn(binary(), &cluster.kubeconfig(), &environment);
    operator.wait_ready().await;
    let webhook = Webhook::start(stage.client.clone(), namespace).await;
    webhook.add(Rule::delay("externalsecrets.external-secrets.io", Duration::from_secs(2)));
    let secrets: Vec<Value> = (0..30)
        .map(|n| json!({"name": format!("s{n}"), "storeRef": "vault", "data": [{"secretKey": "a", "remoteKey": "a"}]}))
        .collect();
    stage.apply("web", &with(image("v1"), &json!({"externalSecrets": secrets}))).await;
    let seen =
        |webhook: &Webhook| webhook.seen().iter().filter(|seen| seen.resource == "externalsecrets").count();
    eventually("it writes", SOON, async || match seen(&webhook) {
        0 | 1 => Err("nothing yet"),
        _ => Ok(()),
    })
    .await;
    let lease = eventually("the Lease", SOON, async || {
        let all = leases.list(&kube::api::ListParams::default()).await.map_err(|e| e.to_string())?;
        all.items.into_iter().next().ok_or_else(|| "none".to_owned())
    })
    .await;
    let stolen = json!({"spec": {"holderIdentity": "another", "leaseDurationSeconds": 3600,
        "renewTime": format!("{:.6}", jiff::Timestamp::now())}});
    leases.patch(&lease.name_any(), &PatchParams::default(), &Patch::Merge(stolen)).await.unwrap();
    eventually("it does not lead", SOON, async || {
        match operator.sample("leader_election_master_status", &[]).await {
            Some(0.0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let at_loss = seen(&webhook);
    assert!(at_loss < 20, "the Lease was lost too late for this test: {at_loss} of 30 were written");
    eventually("nothing runs", SOON, async || {
        match operator.sample("elpio_reconcile_active", &[("kind", "ElpioService")]).await {
            Some(0.0) => Ok(()),
            other => Err(format!("{other:?} run, {} written", seen(&webhook))),
        }
    })
    .await;
    let after = seen(&webhook) - at_loss;
    assert!(after <= 1, "{after} writes after the loss");
}
