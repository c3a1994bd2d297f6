//! Answers that never come, and processes that end between a write and its span: each rollout has its root
//! span all the same.

use std::time::Duration;

use elpio_cluster::{Cluster, WatchBlackhole, Webhook, eventually, otlp::Span, process::Exit, webhook::Rule};
use elpio_operator::api::RolloutStatus;
use k8s_openapi::{api::events::v1::Event, apimachinery::pkg::apis::meta::v1::MicroTime};

use crate::{
    live_env::{LiveEnv, TIMEOUT, image, summary},
    tcp_proxy::TcpProxy,
};

const STATUS: &str = "elpioservices/status";
const CHILD: &str = "services.serving.knative.dev";

fn microseconds(at: Option<&MicroTime>) -> u64 {
    u64::try_from(at.unwrap().0.as_microsecond()).unwrap()
}

fn is_root_of(span: &Span, rollout: &RolloutStatus) -> bool {
    span.name == "rollout ElpioService" && Some(&span.trace_id) == rollout.trace_id.as_ref()
}

/// Waits until the webhook has such a request, after those of `before`.
async fn is_reviewed(webhook: &Webhook, before: usize, resource: &str) {
    eventually(&format!("{resource} is being written"), TIMEOUT, async || {
        let seen = webhook.requests().split_off(before);
        if seen.iter().any(|seen| seen.is_of(resource)) { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_whose_answer_is_lost_ends_its_rollout() {
    let cluster = Cluster::shared().await;
    let proxy = TcpProxy::to(&cluster.kubeconfig()).await;
    let env = LiveEnv::on(cluster, "lost-answer", proxy.kubeconfig(), &[]).await;
    let webhook = Webhook::start(env.client.clone(), &env.namespace).await;
    env.engine.hold();
    env.apply("web", &image("v1")).await;
    env.condition("web", "Ready", "False", "Progressing").await;
    env.wait_until_idle().await;

    // Late, so that there is time to hold its answer back.
    webhook.add(Rule::delay(STATUS, Duration::from_secs(6)).times(1));
    let before = webhook.requests().len();
    env.engine.release();
    is_reviewed(&webhook, before, STATUS).await;
    proxy.hold();
    let ended = |rollout: &RolloutStatus| rollout.ended_at.is_some();
    let written = env
        .service("web", "it was written", |o| {
            o.status.as_ref().and_then(|s| s.rollout.as_ref()).is_some_and(ended)
        })
        .await;
    // The next attempt begins with the object as it was, comes to an end of its own and does not even reach
    // the API server.
    eventually("another attempt has failed", TIMEOUT, async || {
        let failed = [env.errors("timeout").await, env.errors("unavailable").await];
        if failed.iter().sum::<f64>() >= 2.0 { Ok(()) } else { Err(format!("{failed:?}")) }
    })
    .await;
    assert!(
        env.otlp.spans().iter().all(|span| span.name != "rollout ElpioService"),
        "told before anything is known"
    );
    proxy.release();
    // Beside that of the attempts that could not connect: each class has an Event of its own.
    eventually("an Event of the timeout", TIMEOUT, async || {
        let events = env.events("web").await;
        let is_it = |event: &Event| {
            event.reason.as_deref() == Some("ReconcileFailed")
                && event.note.as_ref().is_some_and(|note| note.starts_with("timeout: "))
        };
        if events.iter().any(is_it) { Ok(()) } else { Err(summary(&events)) }
    })
    .await;

    let rollout = written.status.unwrap().rollout.unwrap();
    let root = env.otlp.wait_for_span("the root", TIMEOUT, |s| is_root_of(s, &rollout)).await;
    env.wait_until_idle().await;
    // Should it have been written once more, it is that end that counts.
    let rollout = env.ready("web").await.status.unwrap().rollout.unwrap();
    assert_eq!(
        (root.start / 1000, root.end / 1000),
        (microseconds(rollout.started_at.as_ref()), microseconds(rollout.ended_at.as_ref()))
    );
    env.wait_for_metric("elpio_rollout_duration_seconds_count", &[("outcome", "ready")], 1.0).await;
}

/// Where the watch is slower than the answer, which holds the edit, its event looks like an echo of the write.
#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_the_answer_to_a_status_brings_is_reconciled() {
    let cluster = Cluster::shared().await;
    let blackhole = WatchBlackhole::start(&cluster.kubeconfig()).await;
    let env = LiveEnv::on(cluster, "lost-edit", &blackhole.kubeconfig(), &[]).await;
    let webhook = Webhook::start(env.client.clone(), &env.namespace).await;
    env.apply("web", &image("v1")).await;
    env.ready("web").await;
    env.wait_until_idle().await;
    // No child's change wakes the object.
    env.engine.hold();

    let before = webhook.requests().len();
    webhook.add(Rule::delay(CHILD, Duration::from_secs(2)).times(1));
    webhook.add(Rule::delay(STATUS, Duration::from_secs(2)).times(1));
    env.apply("web", &image("v2")).await;
    is_reviewed(&webhook, before, CHILD).await;
    blackhole.block();
    is_reviewed(&webhook, before, STATUS).await;
    // The status meets the edit, and is written again with its version.
    env.apply("web", &image("v3")).await;
    env.service("web", "the edit is reconciled", |service| {
        service.status.as_ref().and_then(|status| status.observed_generation) == Some(3)
    })
    .await;
    blackhole.unblock();
    env.engine.release();
    env.ready("web").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_superseded_is_sent_again_by_the_next_process() {
    // Nothing is sent before the process ends, and one that is killed sends nothing.
    let mut env = LiveEnv::with("lost-superseded", &[("OTEL_BSP_SCHEDULE_DELAY", "600000")]).await;
    env.engine.hold();
    env.apply("web", &image("v1")).await;
    env.condition("web", "Ready", "False", "Progressing").await;
    let rollout = async |generation: i64| {
        let of = |o: &elpio_operator::api::ElpioService| {
            o.status.clone()?.rollout.filter(|r| r.generation == generation)
        };
        of(&env.service("web", &format!("rollout {generation}"), |o| of(o).is_some()).await).unwrap()
    };
    let first = rollout(1).await;
    env.apply("web", &image("v2")).await;
    let second = rollout(2).await;
    env.operator.kill();
    assert!(env.otlp.spans().is_empty());
    env.restart().await;
    eventually("the next process has looked", TIMEOUT, async || {
        let seen =
            env.counted("elpio_reconcile_total", &[("kind", "ElpioService"), ("result", "success")]).await;
        if seen > 0.0 { Ok(()) } else { Err(seen.to_string()) }
    })
    .await;
    assert_eq!(
        env.operator.terminate(Duration::from_secs(40)).await,
        Exit::Code(0),
        "{}",
        env.operator.log_tail()
    );
    let root = env.otlp.wait_for_span("the first root", TIMEOUT, |s| is_root_of(s, &first)).await;
    assert_eq!((root.attribute("elpio.outcome"), root.attribute("elpio.generation")), ("superseded", "1"));
    assert_eq!(
        Some(root.span_id.as_str()),
        first.traceparent.as_deref().and_then(|text| text.split('-').nth(2))
    );
    assert_eq!(
        (root.start / 1000, root.end / 1000),
        (microseconds(first.started_at.as_ref()), microseconds(second.started_at.as_ref())),
        "it ended when the next began"
    );
}
