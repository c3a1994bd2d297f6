//! Leaders that are paused, slow, or not alone: one writes, and the others know.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use elpio_cluster::{Operator, Webhook, eventually, webhook::Rule};
use elpio_operator::cluster::leader_election::lease::lease_name;
use http::request::Parts;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use nix::sys::signal::Signal;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::{
    fault_proxy::{Fault, FaultProxy, first_pause, too_many_requests},
    live_env::{LiveEnv, TIMEOUT, binary, leads, wait_until_leading},
    store_cases::{NO_NAMESPACE, keda, make_admin, may_list, start},
};

/// The environment of an operator that serves a namespace, with its Lease in `home`.
fn election<'a>(namespace: &'a str, home: &'a str) -> [(&'static str, &'a str); 3] {
    [("ELPIO_NAMESPACES", namespace), ("POD_NAMESPACE", home), ("ELPIO_LEADER_ELECT", "on")]
}

async fn start_behind(proxy: &FaultProxy, environment: &[(&str, &str)]) -> Operator {
    let metrics = [("ELPIO_METRICS", "on"), ("ELPIO_METRICS_ADDR", "localhost")];
    let mut operator = Operator::spawn(binary(), proxy.kubeconfig(), &[&metrics, environment].concat());
    operator.wait_ready().await;
    operator
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_leader_writes_nothing_when_it_resumes() {
    let env = LiveEnv::with("leader-paused", &[NO_NAMESPACE]).await;
    let (cluster, namespace) = (env.cluster, env.namespace.clone());
    let environment = election(&namespace, &namespace);
    let users = ["elpio-test-21", "elpio-test-22"];
    for user in users {
        make_admin(&env.client, user).await;
        may_list(cluster, user, &namespace, true).await;
    }
    let a = start(cluster, users[0], &environment).await;
    wait_until_leading(&a, TIMEOUT).await;
    let b = start(cluster, users[1], &environment).await;
    let names = ["a1", "a2", "a3", "a4", "a5"];
    for name in names {
        env.apply(name, &keda("v1")).await;
    }
    for name in names {
        env.ready(name).await;
    }
    // Busy at the moment of the pause.
    let mark = cluster.audit_offset();
    for name in names {
        env.apply(name, &keda("v2")).await;
    }
    eventually("it is in the midst of it", TIMEOUT, async || {
        match cluster.audit_since(mark).user(users[0]).writes().len() {
            0 => Err("no write yet"),
            _ => Ok(()),
        }
    })
    .await;
    a.signal(Signal::SIGSTOP);
    wait_until_leading(&b, TIMEOUT).await;
    for name in names {
        env.apply(name, &keda("v9")).await;
    }
    for name in names {
        env.ready(name).await;
    }
    let mark = cluster.audit_offset();
    a.signal(Signal::SIGCONT);
    eventually("it stands by", TIMEOUT, async || {
        let holder = a.log().contains("another process holds the Lease");
        if holder && !leads(&a).await { Ok(()) } else { Err(a.log_tail()) }
    })
    .await;
    let late = cluster
        .audit_since(mark)
        .user(users[0])
        .writes()
        .filter(|e| !e.matches_resource("leases.coordination.k8s.io"));
    assert!(late.len() <= 1, "at most the one that was in flight: {:?}", late.0);
    assert!(leads(&b).await);
    for name in names {
        let deployment = env.deployments().get(name).await.unwrap();
        let container = &deployment.data["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["image"], "registry.local/web:v9", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_renewals_that_succeed_keep_the_lead() {
    let env = LiveEnv::with("leader-slow", &[NO_NAMESPACE]).await;
    let namespace = env.namespace.clone();
    let environment = election(&namespace, &namespace);
    let operator = start(env.cluster, "admin", &environment).await;
    wait_until_leading(&operator, TIMEOUT).await;
    let webhook = Webhook::start(env.client.clone(), &namespace).await;
    webhook.add(Rule::delay("leases.coordination.k8s.io", Duration::from_secs(8)));
    let renewals = || webhook.requests().iter().filter(|s| s.resource.starts_with("leases")).count();
    eventually("four slow renewals", Duration::from_mins(2), async || {
        assert!(leads(&operator).await, "after {} renewals: {}", renewals(), operator.log_tail());
        if renewals() > 4 { Ok(()) } else { Err(renewals()) }
    })
    .await;
}

/// A renewal is written at once and answered after 9 s, and no later one arrives: another may lead 15 s after the
/// write, not after the answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_was_answered_late_permits_no_write_beside_the_next_leader() {
    let env = LiveEnv::with("leader-late", &[NO_NAMESPACE]).await;
    let namespace = env.namespace.clone();
    let environment = election(&namespace, &namespace);
    let proxy = FaultProxy::start(&env.cluster.kubeconfig(), None).await;
    let slow = start_behind(&proxy, &environment).await;
    wait_until_leading(&slow, TIMEOUT).await;
    env.apply("web", &keda("v1")).await;
    env.ready("web").await;
    let next = start(env.cluster, "admin", &environment).await;

    let (answer, never) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (renewed, taken) = (Arc::new(OnceLock::new()), Arc::new(AtomicBool::new(false)));
    let late = Arc::new(Mutex::new(Vec::new()));
    proxy.set({
        let (answer, renewed, taken, late) = (answer.clone(), renewed.clone(), taken.clone(), late.clone());
        move |parts| {
            let path = parts.uri.path();
            if !path.contains("/leases/") {
                if parts.method != http::Method::GET && taken.load(Ordering::Relaxed) {
                    late.lock().push(format!("{} {path}", parts.method));
                }
                return None;
            }
            let is_first = parts.method == http::Method::PUT && renewed.set(Instant::now()).is_ok();
            Some(if is_first { Fault::HoldAnswer(answer.clone()) } else { Fault::Hold(never.clone()) })
        }
    });
    eventually("the answer is 9 s old", TIMEOUT, async || match renewed.get().map(Instant::elapsed) {
        Some(age) if age >= Duration::from_secs(9) => Ok(()),
        age => Err(format!("{age:?}")),
    })
    .await;
    answer.add_permits(1);
    wait_until_leading(&next, TIMEOUT).await;
    taken.store(true, Ordering::Relaxed);
    env.apply("web", &keda("v2")).await;
    env.ready("web").await;
    eventually("the slow one knows that it does not lead", TIMEOUT, async || {
        if leads(&slow).await { Err(slow.log_tail()) } else { Ok(()) }
    })
    .await;
    assert_eq!(*late.lock(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_candidate_retries_when_the_api_server_asks_for_it() {
    let env = LiveEnv::with("leader-throttled", &[NO_NAMESPACE]).await;
    let proxy = FaultProxy::start(&env.cluster.kubeconfig(), None).await;
    let is_election = |parts: &Parts| parts.uri.path().contains("/leases/");
    let attempts = proxy.fail_first(is_election, || too_many_requests(5));
    let operator = start_behind(&proxy, &election(&env.namespace, &env.namespace)).await;
    wait_until_leading(&operator, TIMEOUT).await;
    let pause = first_pause(&attempts);
    assert!(pause >= Duration::from_secs(5), "{pause:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_installations_in_one_namespace_both_lead() {
    let env = LiveEnv::with("leaders", &[NO_NAMESPACE]).await;
    let (cluster, home) = (env.cluster, env.namespace.clone());
    let namespaces = [cluster.namespace("leaders-a").await, cluster.namespace("leaders-b").await];
    let environment = |n: usize| election(&namespaces[n], &home);
    let first = start(cluster, "admin", &environment(0)).await;
    let second = start(cluster, "admin", &environment(1)).await;
    wait_until_leading(&first, TIMEOUT).await;
    wait_until_leading(&second, TIMEOUT).await;
    let leases: Api<Lease> = Api::namespaced(env.client.clone(), &home);
    let mut holders = Vec::new();
    for namespace in &namespaces {
        let lease = leases.get(&lease_name(std::slice::from_ref(namespace))).await.unwrap();
        holders.push(lease.spec.unwrap().holder_identity.unwrap());
    }
    assert_ne!(holders[0], holders[1]);
    let replica = start(cluster, "admin", &environment(0)).await;
    eventually("a replica names the holder", TIMEOUT, async || {
        if replica.log().contains(&holders[0]) { Ok(()) } else { Err(replica.log_tail()) }
    })
    .await;
    assert!(leads(&first).await && !leads(&replica).await);
}
