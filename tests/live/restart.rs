//! Restarts and several replicas: nothing that is right is written again, no Event doubles, and the rollout's
//! trace goes on.

use std::time::Duration;

use elpio_cluster::{Cluster, Operator, eventually, process::Exit};
use elpio_operator::cluster::leader_election::lease::lease_name;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde_json::json;

use crate::{
    function_env::{Functions, spec},
    live_env::{LiveEnv, TIMEOUT, binary, image, summary},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_on_a_settled_cluster_writes_nothing() {
    let mut env = LiveEnv::new("restart-settled").await;
    for name in ["a", "b", "c"] {
        env.apply(name, &image("v1")).await;
    }
    for name in ["a", "b", "c"] {
        env.ready(name).await;
    }
    env.wait_until_idle().await;
    env.operator.terminate(Duration::from_secs(40)).await;
    let mark = env.cluster.audit_offset();
    env.restart().await;
    eventually("every object was looked at", TIMEOUT, async || {
        let seen =
            env.counted("elpio_reconcile_total", &[("kind", "ElpioService"), ("result", "success")]).await;
        if seen >= 3.0 { Ok(()) } else { Err(seen.to_string()) }
    })
    .await;
    env.wait_until_idle().await;
    let asked = env.requests_since(mark).filter(|e| !matches!(e.verb.as_str(), "list" | "watch"));
    assert!(asked.is_empty(), "{:?}", asked.count());
    assert_eq!(env.counted("elpio_services_ready", &[]).await, 3.0);
}

/// A tenant may write a run of a function, and nest in it what the API server takes and nobody reads.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_nested_too_deep_holds_no_build_up_after_a_restart() {
    let mut f = Functions::new("restart-deep").await;
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    let run = json!({"apiVersion": "tekton.dev/v1", "kind": "PipelineRun",
        "metadata": {"name": "deep", "labels": {"elpio.io/function": "x"}},
        "spec": {"params": [{"name": "a", "value": deep}]}});
    // Sent as text, since the answer cannot be decoded.
    let path = format!("/apis/tekton.dev/v1/namespaces/{}/pipelineruns", f.env.namespace);
    let request = http::Request::post(path).header("content-type", "application/json");
    f.env.client.request_text(request.body(run.to_string().into_bytes()).unwrap()).await.unwrap();
    f.env.operator.kill();
    f.env.restart().await;
    f.apply(&spec("v1"), &json!({})).await;
    f.run().await;
    let log = f.env.operator.log();
    assert!(log.contains("failed to decode a listed object") && log.contains("deep"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rollouts_trace_goes_on_after_kill_9() {
    let mut env = LiveEnv::new("restart-kill").await;
    env.engine.hold();
    env.apply("web", &image("v1")).await;
    let before = env.condition("web", "Ready", "False", "Progressing").await;
    let rollout = env.services().get("web").await.unwrap().status.unwrap().rollout.unwrap();
    env.event("web", "Normal", "Progressing").await;
    env.otlp
        .wait_for_span("the first process's reconcile", TIMEOUT, |s| s.name == "reconcile ElpioService")
        .await;
    env.operator.kill();
    env.restart().await;
    env.engine.release();
    let ready = env.ready("web").await;
    let after = ready.status.clone().unwrap().rollout.unwrap();
    assert_eq!(
        (&after.trace_id, &after.traceparent, &after.started_at),
        (&rollout.trace_id, &rollout.traceparent, &rollout.started_at),
        "{before:?}"
    );
    let trace = rollout.trace_id.clone().unwrap();
    let root = env
        .otlp
        .wait_for_span("the rollout's root", TIMEOUT, |s| {
            s.name == "rollout ElpioService" && s.trace_id == trace
        })
        .await;
    let parent = rollout.traceparent.unwrap();
    assert_eq!(root.span_id, parent.split('-').nth(2).unwrap());
    // The root may be exported before the reconcile that ended it.
    let reconciles = eventually("reconciles of both processes are in one trace", TIMEOUT, async || {
        let spans = env.otlp.trace(&trace);
        let reconciles: Vec<_> = spans.into_iter().filter(|s| s.name == "reconcile ElpioService").collect();
        let processes: std::collections::BTreeSet<_> =
            reconciles.iter().filter_map(|s| s.resource.get("service.instance.id").cloned()).collect();
        if processes.len() == 2 { Ok(reconciles) } else { Err(format!("{processes:?}")) }
    })
    .await;
    assert!(reconciles.iter().all(|s| s.parent_id == root.span_id));
    let all = env
        .expect_events("ElpioService", "web", &["Normal Reconciled", "Normal Progressing", "Normal Ready"])
        .await;
    assert!(all.iter().all(|e| e.series.is_none()), "no Event was doubled: {}", summary(&all));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_leads_and_the_other_takes_over() {
    let cluster = Cluster::shared().await;
    let env = LiveEnv::with("lease-own", &[("ELPIO_NAMESPACES", "nobody-is-here")]).await;
    let (namespace, leases) =
        (env.namespace.clone(), Api::<Lease>::namespaced(env.client.clone(), &env.namespace));
    let environment = [
        ("ELPIO_NAMESPACES", namespace.as_str()),
        ("POD_NAMESPACE", namespace.as_str()),
        ("ELPIO_LEADER_ELECT", "on"),
        ("ELPIO_METRICS", "on"),
        ("ELPIO_METRICS_ADDR", "127.0.0.1"),
    ];
    let mut operators = Vec::new();
    for _ in 0..2 {
        let mut operator = Operator::spawn(binary(), &cluster.kubeconfig(), &environment);
        operator.wait_ready().await;
        operators.push(operator);
    }
    let leaders = async |operators: &[Operator]| {
        let mut leading = Vec::new();
        for (index, operator) in operators.iter().enumerate() {
            if operator.sample("leader_election_master_status", &[]).await == Some(1.0) {
                leading.push(index);
            }
        }
        leading
    };
    let first = eventually("one leads", TIMEOUT, async || {
        let leading = leaders(&operators).await;
        if leading.len() == 1 { Ok(leading[0]) } else { Err(format!("{leading:?} lead")) }
    })
    .await;
    env.engine.hold();
    env.apply("web", &image("v1")).await;
    env.condition("web", "Ready", "False", "Progressing").await;
    env.engine.release();
    env.ready("web").await;
    let three = ["Normal Reconciled", "Normal Progressing", "Normal Ready"];
    env.expect_events("ElpioService", "web", &three).await;
    // It counts what its watch has brought.
    eventually("the leader counts it", TIMEOUT, async || {
        let ready = operators[first].sample("elpio_services_ready", &[]).await;
        if ready == Some(1.0) { Ok(()) } else { Err(format!("{ready:?}")) }
    })
    .await;
    assert_eq!(
        operators[1 - first].sample("elpio_services_ready", &[]).await,
        None,
        "only the leader counts, so two never add up to more than the truth"
    );

    let holder = async || {
        leases
            .get(&lease_name(std::slice::from_ref(&namespace)))
            .await
            .unwrap()
            .spec
            .unwrap()
            .holder_identity
            .filter(|holder| !holder.is_empty())
    };
    let (mut leader, held_by) = (operators.remove(first), holder().await);
    assert!(held_by.is_some());
    assert_eq!(leader.terminate(Duration::from_secs(40)).await, Exit::Code(0));
    assert_ne!(holder().await, held_by, "the Lease was released");
    eventually("the follower leads", TIMEOUT, async || {
        if leaders(&operators).await.len() == 1 {
            Ok(())
        } else {
            Err(format!("held by {:?}", holder().await))
        }
    })
    .await;
    env.apply("next", &image("v1")).await;
    env.ready("next").await;
    // The take-over said nothing again.
    env.expect_events("ElpioService", "web", &three).await;

    // A leader that is killed gives nothing back: its claim has to expire.
    let mut third = Operator::spawn(binary(), &cluster.kubeconfig(), &environment);
    third.wait_ready().await;
    operators[0].kill();
    operators[0] = third;
    eventually("the claim expires and the third leads", TIMEOUT, async || {
        if leaders(&operators).await.len() == 1 { Ok(()) } else { Err("nobody leads") }
    })
    .await;
}
