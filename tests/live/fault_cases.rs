//! An API server behind a broken network: Event calls that fail, throttling, credentials that are revoked, watches
//! that end or are refused.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{body::Body, response::Response};
use elpio_cluster::{Cluster, eventually, rbac::wait_for_permission};
use http::request::Parts;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::{Api, api::PostParams};
use serde_json::json;

use crate::{
    event_cases::no_event_is_lost,
    fault_proxy::{Fault, FaultProxy, first_pause, status, too_many_requests, writes_event},
    live_env::{LiveEnv, TIMEOUT, image, reasons, summary},
};

const KSVC: &str = "services.serving.knative.dev";

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_where_half_of_the_calls_are_refused() {
    let cluster = Cluster::shared().await;
    let proxy = FaultProxy::start(&cluster.kubeconfig(), None).await;
    let env = LiveEnv::on(cluster, "event-flood", proxy.kubeconfig(), &[]).await;
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    proxy.set(move |parts| {
        let refused = writes_event(parts) && counted.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        refused.then(|| status(503, "ServiceUnavailable", "not now"))
    });
    let names: Vec<String> = (0..20).map(|n| format!("web-{n}")).collect();
    for tag in ["v1", "v2"] {
        env.engine.hold();
        for name in &names {
            env.apply(name, &image(tag)).await;
        }
        for name in &names {
            env.condition(name, "Ready", "False", "Progressing").await;
        }
        env.engine.release();
        for name in &names {
            env.ready(name).await;
        }
    }
    for name in &names {
        eventually(&format!("{name}: three Events for each generation"), 3 * TIMEOUT, async || {
            let events = env.events(name).await;
            let mut reasons = reasons(&events);
            reasons.sort();
            let expected = [
                "Normal Progressing",
                "Normal Progressing",
                "Normal Ready",
                "Normal Ready",
                "Normal Reconciled",
                "Normal Reconciled",
            ];
            let once = events.iter().all(|event| event.series.is_none());
            if once && reasons == expected { Ok(()) } else { Err(summary(&events)) }
        })
        .await;
    }
    assert!(calls.load(Ordering::Relaxed) >= 240, "{calls:?}");
    no_event_is_lost(&env).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_obeyed_as_a_header_too() {
    let cluster = Cluster::shared().await;
    let proxy = FaultProxy::start(&cluster.kubeconfig(), None).await;
    let env = LiveEnv::on(cluster, "event-throttled", proxy.kubeconfig(), &[]).await;
    let is_apply = |parts: &Parts| {
        let path = parts.uri.path();
        parts.method == http::Method::PATCH
            && path.contains("/serving.knative.dev/")
            && path.ends_with("/web")
    };
    let applies = proxy.fail_first(is_apply, || too_many_requests(5));
    env.apply("web", &image("v1")).await;
    let condition = env.condition("web", "Reconciled", "False", "ApplyFailed").await;
    assert!(
        condition.message.starts_with(&format!("failed to patch {KSVC} web in namespace ")),
        "{}",
        condition.message
    );
    assert!(condition.message.contains("Too many requests"), "{}", condition.message);
    env.ready("web").await;
    assert_eq!(env.errors("throttled").await, 1.0);
    let pause = first_pause(&applies);
    assert!(pause >= Duration::from_secs(5), "{pause:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_list_is_repeated_when_the_api_server_asks_for_it() {
    let cluster = Cluster::shared().await;
    let proxy = FaultProxy::start(&cluster.kubeconfig(), None).await;
    let is_list = |parts: &Parts| {
        let path = parts.uri.path();
        path.starts_with("/apis/serving.knative.dev/")
            && path.ends_with("/services")
            && parts.uri.query().is_some_and(|query| query.contains("limit="))
    };
    let lists = proxy.fail_first(is_list, || too_many_requests(4));
    let env = LiveEnv::on(cluster, "list-throttled", proxy.kubeconfig(), &[]).await;
    env.apply("web", &image("v1")).await;
    env.ready("web").await;
    let pause = first_pause(&lists);
    assert!(pause >= Duration::from_secs(4), "{pause:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_is_read_again_at_once() {
    let cluster = Cluster::shared().await;
    let user = "elpio-test-40";
    let binding = json!({"metadata": {"name": user}, "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}});
    let bindings: Api<ClusterRoleBinding> = Api::all(cluster.client().await);
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    wait_for_permission(&cluster.client().await, user, true, ["watch", "elpio.io", "elpioservices"]).await;

    let file = cluster.kubeconfig().with_file_name("revoked.token");
    std::fs::write(&file, "token-admin").unwrap();
    let proxy = FaultProxy::start(&cluster.kubeconfig(), Some(&file)).await;
    let mut env = LiveEnv::on(cluster, "event-token", proxy.kubeconfig(), &[]).await;
    env.apply("before", &image("v1")).await;
    env.ready("before").await;
    let refused = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&refused);
    std::fs::write(&file, format!("token-{user}\n")).unwrap();
    proxy.set(move |parts| {
        let revoked = parts.headers.get("authorization").is_some_and(|token| token == "Bearer token-admin");
        counted.fetch_add(u32::from(revoked), Ordering::Relaxed);
        revoked.then(|| status(401, "Unauthorized", "Unauthorized"))
    });
    for n in 0..10 {
        env.apply(&format!("web-{n}"), &image("v1")).await;
    }
    for n in 0..10 {
        env.ready(&format!("web-{n}")).await;
    }
    assert!(refused.load(Ordering::Relaxed) >= 1, "the old token was used");
    for class in ["forbidden", "rejected"] {
        assert_eq!(env.errors(class).await, 0.0, "{class}");
    }
    no_event_is_lost(&env).await;

    // A token that is refused for good is one line, not one for each object.
    proxy.set(|_| Some(status(401, "Unauthorized", "Unauthorized")));
    for n in 0..10 {
        env.apply(&format!("web-{n}"), &image("v2")).await;
    }
    env.failed("forbidden").await;
    env.operator.terminate(Duration::from_secs(40)).await;
    let log = env.operator.log();
    // One for each of the two incidents.
    assert!(log.matches("rejects the credentials").count() <= 2, "{log}");
}

fn watches_definitions(parts: &Parts) -> bool {
    parts.uri.query().is_some_and(|query| query.contains("watch=true"))
        && parts.uri.path().ends_with("/customresourcedefinitions")
}

async fn opened_again(env: &LiveEnv, count: impl Fn() -> usize) {
    eventually("the watch is opened again", TIMEOUT, async || match count() {
        0 | 1 => Err(env.operator.log_tail()),
        _ => Ok(()),
    })
    .await;
}

/// What is there already comes first in each watch: it brings something, and has failed all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_of_definitions_that_ends_at_once_is_opened_again_after_a_pause() {
    let cluster = Cluster::shared().await;
    let proxy = FaultProxy::start(&cluster.kubeconfig(), None).await;
    let opened = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&opened);
    proxy.set(move |parts| {
        watches_definitions(parts).then(|| {
            count.fetch_add(1, Ordering::Relaxed);
            let event = json!({"type": "ADDED", "object": {"apiVersion": "meta.k8s.io/v1",
                "kind": "PartialObjectMetadata", "metadata": {"name": "x.example.org", "resourceVersion": "7"}}});
            Fault::Answer(Response::new(Body::from(format!("{event}\n"))))
        })
    });
    let env = LiveEnv::on(cluster, "definitions-end", proxy.kubeconfig(), &[]).await;
    opened_again(&env, || opened.load(Ordering::Relaxed) as usize).await;
    let before = opened.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let more = opened.load(Ordering::Relaxed) - before;
    assert!(more <= 8, "{more} in four seconds");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_of_definitions_that_is_refused_once_is_opened_again_soon() {
    let cluster = Cluster::shared().await;
    let proxy = FaultProxy::start(&cluster.kubeconfig(), None).await;
    let refusal = || status(403, "Forbidden", "the authorizer has not synced");
    let opened = proxy.fail_first(watches_definitions, refusal);
    let env = LiveEnv::on(cluster, "definitions-refused", proxy.kubeconfig(), &[]).await;
    opened_again(&env, || opened.lock().len()).await;
}
