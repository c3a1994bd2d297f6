//! Roots of rollouts over a change of leader: sent again only where they may be missing, and equal then.

use std::{collections::BTreeMap, time::Duration};

use elpio_cluster::{Cluster, Operator, eventually, otlp::Span, process::Exit};

use crate::live_env::{LiveEnv, TIMEOUT, binary, image, wait_until_leading};

const SERVICES: usize = 10;
const END: Duration = Duration::from_secs(40);

/// The roots by their ids: how often each was received, and how many different spans that were.
fn roots(env: &LiveEnv) -> BTreeMap<String, Vec<Span>> {
    let mut roots: BTreeMap<String, Vec<Span>> = BTreeMap::new();
    for span in env.otlp.spans() {
        if span.name == "rollout ElpioService" {
            roots.entry(span.span_id.clone()).or_default().push(span);
        }
    }
    roots
}

async fn all_ready(env: &LiveEnv) {
    for n in 0..SERVICES {
        env.apply(&format!("web-{n}"), &image("v1")).await;
    }
    for n in 0..SERVICES {
        env.ready(&format!("web-{n}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_orderly_end_no_root_is_sent_again() {
    // A reconcile that fails, or a flush that takes long, as on a busy machine, leaves it open what was exported.
    let mut unknown = Vec::new();
    for _ in 0..3 {
        match roots_after_an_orderly_end().await {
            Ok(sent) => return assert_eq!(sent, [1; SERVICES + 1]),
            Err(log) => unknown.push(log),
        }
    }
    panic!("never known to be exported: {unknown:#?}");
}

/// How often each root was received, or the log of a first leader that did not know whether all were exported.
async fn roots_after_an_orderly_end() -> Result<Vec<usize>, String> {
    let cluster = Cluster::shared().await;
    // Its own operator has nothing to do: two of the test's share a Lease.
    let env = LiveEnv::with("handover", &[("ELPIO_NAMESPACES", "nobody-is-here")]).await;
    let endpoint = env.otlp.endpoint();
    let environment = [
        ("ELPIO_NAMESPACES", env.namespace.as_str()),
        ("POD_NAMESPACE", env.namespace.as_str()),
        ("ELPIO_LEADER_ELECT", "on"),
        ("ELPIO_METRICS", "on"),
        ("ELPIO_METRICS_ADDR", "127.0.0.1"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        // The roots of the last seconds are sent by the flush alone.
        ("OTEL_BSP_SCHEDULE_DELAY", "600000"),
    ];
    let start = async || {
        let mut operator = Operator::spawn(binary(), &cluster.kubeconfig(), &environment);
        operator.wait_ready().await;
        operator
    };
    let mut first = start().await;
    wait_until_leading(&first, TIMEOUT).await;
    let mut second = start().await;
    all_ready(&env).await;
    assert_eq!(first.terminate(END).await, Exit::Code(0), "{}", first.log_tail());
    if first.log().contains("the next leader emits") {
        return Err(first.log_tail());
    }
    wait_until_leading(&second, TIMEOUT).await;
    // It works: whatever it was to send again was sent before.
    env.apply("web-0", &image("v2")).await;
    env.service("web-0", "the second generation is ready", |o| {
        o.status
            .as_ref()
            .and_then(|s| s.rollout.as_ref())
            .is_some_and(|r| r.generation == 2 && r.ended_at.is_some())
    })
    .await;
    assert_eq!(second.terminate(END).await, Exit::Code(0), "{}", second.log_tail());
    let sent: Vec<usize> = roots(&env).values().map(Vec::len).collect();
    eprintln!("{} rollouts, {} roots received", sent.len(), sent.iter().sum::<usize>());
    Ok(sent)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_each_root_is_sent_again_and_is_equal() {
    let mut env = LiveEnv::new("handover-kill").await;
    all_ready(&env).await;
    eventually("every root", TIMEOUT, async || match roots(&env).len() {
        SERVICES => Ok(()),
        other => Err(other),
    })
    .await;
    env.operator.kill();
    env.restart().await;
    eventually("every root again", TIMEOUT, async || {
        let sent: Vec<usize> = roots(&env).values().map(Vec::len).collect();
        if sent == [2; SERVICES] { Ok(()) } else { Err(format!("{sent:?}")) }
    })
    .await;
    for mut spans in roots(&env).into_values() {
        // The processes differ.
        for span in &mut spans {
            span.resource.clear();
        }
        spans.dedup();
        assert_eq!(spans.len(), 1, "not equal to the nanosecond: {spans:#?}");
    }
}
