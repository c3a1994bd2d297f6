//! One host, one owner in the whole cluster: two namespaces, both engines.

use std::time::Instant;

use elpio_cluster::{Cluster, Crds, FakeEngineOptions, FakeEngines, eventually};
use elpio_operator::api::ElpioService;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    apply_cases::{host, on},
    live_env::{LiveEnv, TIMEOUT, find, image, with},
    store_cases::{NO_NAMESPACE, grant, may_list, own, start},
};

/// Two namespaces under one operator.
struct TwoNamespaces {
    first: LiveEnv,
    second: Namespace,
    _engine: FakeEngines,
}

/// The verbs of an environment, in another namespace.
struct Namespace(String);

impl TwoNamespaces {
    async fn new(name: &str) -> Self {
        let cluster = Cluster::shared().await;
        let other = cluster.namespace(&format!("{name}-b")).await;
        let first = LiveEnv::with(name, &[("ELPIO_NAMESPACES", &format!("{{}},{other}"))]).await;
        let pods = cluster.has_controller_manager();
        let options = FakeEngineOptions { pods, ..FakeEngineOptions::in_namespace(&other) };
        let engine = FakeEngines::start(first.client.clone(), options);
        Self { first, second: Namespace(other), _engine: engine }
    }

    /// Runs `verbs` of the environment in the other namespace.
    async fn in_second<T>(&mut self, verbs: impl AsyncFnOnce(&LiveEnv) -> T) -> T {
        std::mem::swap(&mut self.first.namespace, &mut self.second.0);
        let result = verbs(&self.first).await;
        std::mem::swap(&mut self.first.namespace, &mut self.second.0);
        result
    }
}

/// Every object that Elpio could have written here.
async fn children(env: &LiveEnv) -> Vec<String> {
    let mut found = Vec::new();
    let apis = [
        env.deployments(),
        env.core_services(),
        env.http_scaled_objects(),
        env.knative(),
        env.domain_mappings(),
        env.any("cert-manager.io/v1", "Certificate", "certificates"),
    ];
    for api in apis {
        let labelled = ListParams::default().labels("elpio.io/service");
        found.extend(api.list(&labelled).await.unwrap().items.into_iter().filter_map(|o| o.metadata.name));
    }
    found
}

async fn delete(env: &LiveEnv, name: &str) {
    env.services().delete(name, &DeleteParams::default()).await.unwrap();
}

fn asks(engine: &str, name: &str) -> Value {
    with(on(engine), &host(name, false))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_namespace_waits_for_the_host_and_goes_on_by_itself() {
    let mut env = TwoNamespaces::new("hosts").await;
    for (n, (engine, other)) in [("knative", "keda"), ("keda", "knative")].into_iter().enumerate() {
        let (old, young, shop) = (format!("old{n}"), format!("young{n}"), format!("shop{n}.example.org"));
        env.first.apply(&old, &asks(engine, &shop)).await;
        env.first.ready(&old).await;
        env.in_second(async |b| {
            b.apply(&young, &asks(other, &shop)).await;
            let condition = b.condition(&young, "Reconciled", "False", "NameConflict").await;
            assert!(!condition.message.contains(&old), "another namespace's name: {}", condition.message);
            assert_eq!(children(b).await, Vec::<String>::new(), "nothing is written");
            let url = b.services().get(&young).await.unwrap().status.unwrap().url;
            assert_eq!(url, None, "it serves nowhere");
        })
        .await;
        env.first.ready(&old).await;
        if n == 0 {
            delete(&env.first, &old).await;
        } else {
            env.first.apply(&old, &on(engine)).await;
        }
        env.in_second(async |b| {
            b.ready(&young).await;
            delete(b, &young).await;
            for api in [b.knative(), b.deployments(), b.core_services(), b.http_scaled_objects()] {
                b.wait_until_deleted(&api, &young).await;
            }
            b.wait_until_deleted(&b.domain_mappings(), &shop).await;
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_frees_the_one_that_waits() {
    let env = LiveEnv::new("hosts-edit").await;
    env.apply("old", &asks("keda", "a.example.org")).await;
    env.ready("old").await;
    env.apply("young", &asks("keda", "a.example.org")).await;
    let condition = env.condition("young", "Reconciled", "False", "NameConflict").await;
    assert!(condition.message.contains("ElpioService old"), "its own namespace: {}", condition.message);
    env.apply("young", &asks("keda", "b.example.org")).await;
    env.ready("young").await;
}

/// Age alone is no claim on a host that serves: neither by an edit nor after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_object_takes_no_host_that_serves() {
    let mut env = LiveEnv::new("hosts-age").await;
    env.apply("old", &on("keda")).await;
    env.ready("old").await;
    let before = env.keda_uids("old").await;
    env.apply("young", &asks("knative", "a.example.org")).await;
    env.ready("young").await;
    for edit in ["once", "again"] {
        let variables = json!({"env": [{"name": "EDIT", "value": edit}]});
        env.apply("old", &with(asks("keda", "a.example.org"), &variables)).await;
        env.condition("old", "Reconciled", "False", "NameConflict").await;
        assert_eq!(env.keda_uids("old").await, before, "what it ran runs on");
        env.apply("young", &with(asks("knative", "a.example.org"), &variables)).await;
        env.ready("young").await;
        env.restart().await;
    }
    delete(&env, "young").await;
    env.ready("old").await;
}

/// Nobody has it yet when the operator starts: the oldest gets it, whichever is reconciled first.
#[tokio::test(flavor = "multi_thread")]
async fn at_a_start_the_oldest_gets_the_host() {
    let mut env = LiveEnv::new("hosts-start").await;
    env.operator.kill();
    // A second apart, since creation times are whole seconds.
    for name in ["zz", "mm", "aa"] {
        let created = env.apply(name, &asks("keda", "a.example.org")).await;
        let created = created.metadata.creation_timestamp.unwrap().0.as_second();
        elpio_cluster::eventually("the next second", crate::live_env::TIMEOUT, async || {
            if jiff::Timestamp::now().as_second() > created { Ok(()) } else { Err("not yet") }
        })
        .await;
    }
    env.restart().await;
    env.ready("zz").await;
    for name in ["mm", "aa"] {
        env.condition(name, "Reconciled", "False", "NameConflict").await;
    }
    delete(&env, "zz").await;
    env.ready("mm").await;
    let object = env.services().get("aa").await.unwrap();
    assert_eq!(find(&object, "Reconciled").unwrap().reason, "NameConflict");
}

/// One host, many at once: one serves.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_are_created_at_once_one_has_the_host() {
    let mut env = TwoNamespaces::new("hosts-race").await;
    let names: Vec<String> = (0..12).map(|n| format!("s{n}")).collect();
    let engine = |n: usize| if n.is_multiple_of(2) { "keda" } else { "knative" };
    let specs: Vec<Value> = (0..12).map(|n| asks(engine(n), "a.example.org")).collect();
    let created = names.iter().zip(&specs).map(|(name, spec)| env.first.apply(name, spec));
    futures::future::join_all(created).await;
    let all = async |env: &LiveEnv| -> Vec<(String, String)> {
        let api: Api<elpio_operator::api::ElpioService> = env.services();
        let listed = api.list(&ListParams::default()).await.unwrap().items;
        let reason = |o: &elpio_operator::api::ElpioService| find(o, "Reconciled").map(|c| c.reason);
        let known = |o| Some((kube::ResourceExt::name_any(&o), reason(&o)?));
        listed.into_iter().filter_map(known).collect()
    };
    env.in_second(async |b| b.apply("late", &asks("keda", "a.example.org")).await).await;
    env.in_second(async |b| b.condition("late", "Reconciled", "False", "NameConflict").await).await;
    let winner =
        elpio_cluster::eventually("one is reconciled, eleven wait", crate::live_env::TIMEOUT, async || {
            let reasons = all(&env.first).await;
            let (has, waits): (Vec<_>, Vec<_>) =
                reasons.iter().partition(|(_, reason)| reason == "Reconciled");
            let waiting = waits.iter().filter(|(_, reason)| reason == "NameConflict").count();
            if has.len() == 1 && waiting == 11 { Ok(has[0].0.clone()) } else { Err(format!("{reasons:?}")) }
        })
        .await;
    env.first.ready(&winner).await;
    let hosts = env.first.http_scaled_objects().list(&ListParams::default()).await.unwrap().items.len();
    let mappings = env.first.domain_mappings().list(&ListParams::default()).await.unwrap().items.len();
    assert_eq!(hosts + mappings, 1, "one child claims the host");
}

/// Nothing tells the operator that the namespace is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_lost_for_long_holds_no_host_and_counts_nothing() {
    let cluster = own(vec![Crds::ELPIO, Crds::KNATIVE]).await;
    let env = LiveEnv::on(cluster, "lost-a", &cluster.kubeconfig(), &[NO_NAMESPACE]).await;
    let (user, a) = ("elpio-test-0", env.namespace.clone());
    let b = cluster.namespace("lost-b").await;
    for namespace in [&a, &b] {
        grant(&env.client, user, namespace).await;
        may_list(cluster, user, namespace, true).await;
    }
    let environment = [("ELPIO_NAMESPACES", &*format!("{a},{b}")), ("ELPIO_LEADER_ELECT", "off")];
    let operator = start(cluster, user, &environment).await;
    let spec = |tag: &str| with(image(tag), &json!({"ingress": {"host": "lost.apps.example.org"}}));
    let in_b: Api<ElpioService> = Api::namespaced(env.client.clone(), &b);
    let object = json!({"apiVersion": "elpio.io/v1alpha1", "kind": "ElpioService", "metadata": {"name": "web"}, "spec": spec("v1")});
    in_b.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    let is_applied = |object: ElpioService| find(&object, "Reconciled").is_some();
    eventually("b has the host", TIMEOUT, async || {
        is_applied(in_b.get("web").await.unwrap()).then_some(()).ok_or("not yet")
    })
    .await;
    env.apply("web", &spec("v1")).await;
    env.condition("web", "Reconciled", "False", "NameConflict").await;

    let bindings: Api<RoleBinding> = Api::namespaced(env.client.clone(), &b);
    bindings.delete(user, &DeleteParams::default()).await.unwrap();
    may_list(cluster, user, &b, false).await;
    // Ends every watch.
    cluster.restart_api_server(&[]).await;
    let refused = Instant::now();
    eventually("the operator has lost b", TIMEOUT, async || {
        let text = operator.get("/readyz").await.unwrap().1;
        if text.contains(&format!("namespace {b}: forbidden")) { Ok(()) } else { Err(text) }
    })
    .await;
    in_b.delete("web", &DeleteParams::default()).await.unwrap();
    let mut edits = 0;
    eventually("a has the host", 3 * TIMEOUT, async || {
        edits += 1;
        env.apply("web", &spec(&format!("v{edits}"))).await;
        let reconciled = find(&env.services().get("web").await.unwrap(), "Reconciled");
        let reconciled = reconciled.ok_or("no condition")?;
        if reconciled.status == "True" { Ok(()) } else { Err(reconciled.message) }
    })
    .await;
    assert!(refused.elapsed() > TIMEOUT, "a short refusal changes nothing");
    let services = operator.sample("elpio_resources", &[("kind", "ElpioService")]).await;
    assert_eq!(services, Some(1.0), "what is gone is not counted");
}
