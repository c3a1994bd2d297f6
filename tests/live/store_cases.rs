//! Namespaces that may not be watched, refusals that pass, an etcd that was restored: what is served goes on
//! being served.

use elpio_cluster::{Cluster, ClusterOptions, Crds, FakeEngineOptions, FakeEngines, Operator, eventually};
use elpio_operator::api::ElpioService;
use k8s_openapi::api::{
    core::v1::ConfigMap,
    rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::live_env::{LiveEnv, TIMEOUT, binary, image, wait_until_leading, with};

/// A namespace whose operator is not the test's.
pub const NO_NAMESPACE: (&str, &str) = ("ELPIO_NAMESPACES", "nobody-is-here");

pub async fn own(crds: Vec<Crds>) -> &'static Cluster {
    Box::leak(Box::new(
        Cluster::start(ClusterOptions { crds, audit: true, ..ClusterOptions::default() }).await,
    ))
}

fn role_ref(role: &str) -> Value {
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role})
}

fn subject(user: &str) -> Value {
    json!([{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}])
}

/// Everything in one namespace, by a role of the test's own.
pub async fn grant(client: &Client, user: &str, namespace: &str) {
    let role = format!("all-of-{user}");
    let rules = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
    let object: ClusterRole =
        serde_json::from_value(json!({"metadata": {"name": role}, "rules": rules})).unwrap();
    let cluster_roles: Api<ClusterRole> = Api::all(client.clone());
    if cluster_roles.get_opt(&role).await.unwrap().is_none() {
        cluster_roles.create(&PostParams::default(), &object).await.unwrap();
    }
    let binding: RoleBinding = serde_json::from_value(
        json!({"metadata": {"name": user}, "roleRef": role_ref(&role), "subjects": subject(user)}),
    )
    .unwrap();
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
    bindings.create(&PostParams::default(), &binding).await.unwrap();
}

pub async fn make_admin(client: &Client, user: &str) {
    let binding: ClusterRoleBinding = serde_json::from_value(
        json!({"metadata": {"name": user}, "roleRef": role_ref("cluster-admin"), "subjects": subject(user)}),
    )
    .unwrap();
    Api::<ClusterRoleBinding>::all(client.clone()).create(&PostParams::default(), &binding).await.unwrap();
}

/// Waits until the user may, or may not, list services there.
pub async fn may_list(cluster: &Cluster, user: &str, namespace: &str, expected: bool) {
    let api: Api<ElpioService> = Api::namespaced(cluster.client_as(user).await, namespace);
    eventually(&format!("{user} may list in {namespace}: {expected}"), TIMEOUT, async || {
        match api.list(&ListParams::default()).await {
            Ok(_) if expected => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 403 && !expected => Ok(()),
            other => Err(format!("{:?}", other.map(|list| list.items.len()))),
        }
    })
    .await;
}

pub async fn start(cluster: &Cluster, user: &str, environment: &[(&str, &str)]) -> Operator {
    let mut all = vec![("ELPIO_METRICS", "on"), ("ELPIO_METRICS_ADDR", "localhost")];
    all.extend(environment);
    let mut operator = Operator::spawn(binary(), &cluster.kubeconfig_for(user), &all);
    operator.wait_ready().await;
    operator
}

pub fn keda(tag: &str) -> Value {
    with(image(tag), &json!({"engine": "keda", "scaling": {"minScale": 1, "maxScale": 2}}))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_forbidden_namespace_stops_no_other() {
    let env = LiveEnv::with("scope-a", &[NO_NAMESPACE]).await;
    let (cluster, user, a) = (env.cluster, "elpio-test-20", env.namespace.clone());
    let b = cluster.namespace("scope-b").await;
    grant(&env.client, user, &a).await;
    may_list(cluster, user, &a, true).await;
    let namespaces = format!("{a},{b},scope-never-was");
    let operator =
        start(cluster, user, &[("ELPIO_NAMESPACES", &namespaces), ("ELPIO_LEADER_ELECT", "off")]).await;
    env.apply("web", &keda("v1")).await;
    env.ready("web").await;
    wait_until_leading(&operator, TIMEOUT).await;
    let ready_text = async || operator.get("/readyz").await.unwrap().1;
    for namespace in [&b, "scope-never-was"] {
        let text = ready_text().await;
        assert!(text.contains(&format!("namespace {namespace}: forbidden")), "{text}");
        let log = operator.log();
        let lines = log.lines().filter(|line| line.contains("watch forbidden") && line.contains(namespace));
        assert_eq!(lines.count(), 1, "one line, not one for each kind: {log}");
        let refused = operator.sample("elpio_watch_refused", &[("scope", namespace)]).await;
        assert!(refused.is_some_and(|watches| watches > 1.0), "{refused:?}");
    }
    assert!(!operator.log().contains("error with 403"), "{}", operator.log());

    // The permissions come: it joins by itself.
    grant(&env.client, user, &b).await;
    let in_b: Api<ElpioService> = Api::namespaced(env.client.clone(), &b);
    let object = json!({"apiVersion": "elpio.io/v1alpha1", "kind": "ElpioService", "metadata": {"name": "web"}, "spec": keda("v1")});
    in_b.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    let _engine = FakeEngines::start(
        env.client.clone(),
        FakeEngineOptions { pods: true, ..FakeEngineOptions::in_namespace(&b) },
    );
    eventually("the service in b is ready", TIMEOUT, async || {
        let status = in_b.get("web").await.unwrap().status;
        if status.as_ref().is_some_and(|s| s.ready) { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
    eventually("b is no longer named", TIMEOUT, async || {
        let text = ready_text().await;
        if text.contains(&b) { Err(text) } else { Ok(()) }
    })
    .await;
    assert_eq!(operator.sample("elpio_watch_refused", &[("scope", &b)]).await, Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loss_of_one_namespace_stops_no_other() {
    let cluster = own(vec![Crds::ELPIO, Crds::KNATIVE]).await;
    let env = LiveEnv::on(cluster, "loss-a", &cluster.kubeconfig(), &[NO_NAMESPACE]).await;
    let (user, a) = ("elpio-test-0", env.namespace.clone());
    let b = cluster.namespace("loss-b").await;
    for namespace in [&a, &b] {
        grant(&env.client, user, namespace).await;
        may_list(cluster, user, namespace, true).await;
    }
    let namespaces = format!("{a},{b}");
    let environment = [("ELPIO_NAMESPACES", namespaces.as_str()), ("ELPIO_LEADER_ELECT", "off")];
    let mut operator = start(cluster, user, &environment).await;
    env.apply("web", &image("v1")).await;
    let ready = env.ready("web").await;

    let bindings: Api<RoleBinding> = Api::namespaced(env.client.clone(), &b);
    bindings.delete(user, &DeleteParams::default()).await.unwrap();
    may_list(cluster, user, &b, false).await;
    // Ends every watch.
    cluster.restart_api_server(&[]).await;
    eventually("the operator has lost b", TIMEOUT, async || {
        let text = operator.get("/readyz").await.unwrap().1;
        if text.contains(&format!("namespace {b}: forbidden")) { Ok(()) } else { Err(text) }
    })
    .await;
    env.apply("web", &image("v2")).await;
    let after = env.ready("web").await;
    let since = |o: &ElpioService| crate::live_env::find(o, "Reconciled").unwrap().last_transition_time;
    assert_eq!(since(&ready), since(&after), "it was reconciled all the time");

    operator.terminate(TIMEOUT).await;
    operator = start(cluster, user, &environment).await;
    env.apply("web", &image("v3")).await;
    env.ready("web").await;
    assert!(operator.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refused_watch_changes_no_status() {
    let cluster = own(vec![Crds::ELPIO, Crds::KNATIVE]).await;
    let env = LiveEnv::on(cluster, "watch-refused", &cluster.kubeconfig(), &[NO_NAMESPACE]).await;
    let (user, namespace) = ("elpio-test-0", env.namespace.clone());
    grant(&env.client, user, &namespace).await;
    may_list(cluster, user, &namespace, true).await;
    let operator =
        start(cluster, user, &[("ELPIO_NAMESPACES", &namespace), ("ELPIO_LEADER_ELECT", "off")]).await;
    // An engine that is faster than a reconcile leaves nothing to wait for.
    env.engine.hold();
    env.apply("web", &image("v1")).await;
    env.condition("web", "Ready", "False", "Progressing").await;
    env.engine.release();
    env.ready("web").await;
    env.expect_events("ElpioService", "web", &["Normal Reconciled", "Normal Progressing", "Normal Ready"])
        .await;
    let before = env.services().get("web").await.unwrap();

    let bindings: Api<RoleBinding> = Api::namespaced(env.client.clone(), &namespace);
    bindings.delete(user, &DeleteParams::default()).await.unwrap();
    may_list(cluster, user, &namespace, false).await;
    let mark = cluster.audit_offset();
    cluster.restart_api_server(&[]).await;
    let answers = |code: u16| {
        let watched = cluster.audit_since(mark).user(user).resource("elpioservices.elpio.io");
        watched.filter(|e| e.code == code).len()
    };
    eventually("its watch was refused", TIMEOUT, async || match answers(403) {
        0 => Err("no 403 yet"),
        _ => Ok(()),
    })
    .await;
    grant(&env.client, user, &namespace).await;
    may_list(cluster, user, &namespace, true).await;
    // What the edit shows: the watches are back, and everything that followed from the refusal is done.
    let mut edited = image("v2");
    edited["port"] = json!(8081);
    let between = env.services().get("web").await.unwrap();
    assert_eq!(between.resource_version(), before.resource_version(), "nothing was written meanwhile");
    env.apply("web", &edited).await;
    env.ready("web").await;
    let reasons = crate::live_env::reasons(&env.events("web").await);
    assert!(!reasons.contains(&"Warning ReconcileFailed".to_owned()), "{reasons:?}");
    assert!(!operator.log().contains("watch forbidden"), "{}", operator.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_was_restored_is_listed_again() {
    let cluster = own(Crds::ALL.to_vec()).await;
    let mut env = LiveEnv::on(cluster, "etcd-restored", &cluster.kubeconfig(), &[]).await;
    env.apply("web", &keda("v1")).await;
    env.ready("web").await;
    cluster.save_etcd().await;
    let play = FakeEngineOptions { pods: false, ..FakeEngineOptions::in_namespace(&env.namespace) };
    env.engine = FakeEngines::start(env.client.clone(), play);
    // The operator follows into a future that will be lost.
    let filler = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "filler"}});
    let maps: Api<ConfigMap> = Api::namespaced(env.client.clone(), &env.namespace);
    maps.create(&PostParams::default(), &serde_json::from_value(filler).unwrap()).await.unwrap();
    for n in 0..300 {
        let patch = json!({"metadata": {"annotations": {"n": n.to_string()}}});
        maps.patch("filler", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }
    env.apply("web", &keda("v2")).await;
    let lost = env.ready("web").await;
    env.apply("lost", &keda("v1")).await;
    env.ready("lost").await;

    cluster.restore_etcd().await;
    // Its watches are deaf now.
    let play = FakeEngineOptions { pods: false, ..FakeEngineOptions::in_namespace(&env.namespace) };
    env.engine = FakeEngines::start(env.client.clone(), play);
    let restored = env.services().get("web").await.unwrap();
    let number = |o: &ElpioService| o.resource_version().unwrap().parse::<u64>().unwrap();
    assert!(number(&restored) < number(&lost), "the versions went backwards");
    let deployment = env.deployments().get("web").await.unwrap();
    env.deployments().delete("web", &DeleteParams::default()).await.unwrap();
    env.apply("web", &keda("v3")).await;
    env.apply("next", &keda("v1")).await;
    env.ready("web").await;
    env.ready("next").await;
    let again = env.deployments().get("web").await.unwrap();
    assert_ne!(again.uid(), deployment.uid());
    assert!(env.services().get_opt("lost").await.unwrap().is_none(), "what was lost does not rise");
    assert!(env.deployments().get_opt("lost").await.unwrap().is_none(), "nor do its children");
    assert!(env.operator.log().contains("went backwards"), "{}", env.operator.log_tail());
}
