//! The ids of calls in the audit log of the API server, where there is no span to find: `tests/backends/audit.rs`
//! joins them with Jaeger.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use elpio_cluster::{Cluster, eventually};

use crate::{
    fault_proxy::{FaultProxy, status},
    live_env::{LiveEnv, TIMEOUT, image},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_unsampled_call_has_its_own_id_in_the_audit_log() {
    let env = LiveEnv::with("audit-unsampled", &[("OTEL_TRACES_SAMPLER", "always_off")]).await;
    let mark = env.cluster.audit_offset();
    env.apply("web", &image("v1")).await;
    env.ready("web").await;
    env.wait_until_idle().await;
    // Events are written after the status.
    let asked = eventually("its calls are in the audit log", TIMEOUT, async || {
        let asked = env.requests_since(mark).writes();
        if asked.len() >= 4 { Ok(asked) } else { Err(format!("{:?}", asked.count())) }
    })
    .await;
    let mut ids: Vec<&str> = asked.0.iter().map(|entry| entry.id.as_str()).collect();
    let is_ours = |id: &&str| {
        let (trace, span) = id.split_once('-').unwrap_or_default();
        (trace.len(), span.len()) == (32, 16)
    };
    assert!(ids.len() >= 4 && ids.iter().all(is_ours), "{ids:?}");
    let traces: BTreeSet<&str> = ids.iter().map(|id| &id[..32]).collect();
    assert!(traces.len() < ids.len(), "the calls of a rollout share its trace: {ids:?}");
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "an id for each call");
    assert!(env.otlp.spans().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_has_an_id_of_its_own() {
    let cluster = Cluster::shared().await;
    let proxy = FaultProxy::start(&cluster.kubeconfig(), None).await;
    let env = LiveEnv::on(cluster, "audit-retry", proxy.kubeconfig(), &[]).await;
    let ids = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let sent = Arc::clone(&ids);
    proxy.set(move |parts| {
        let applies =
            parts.method == http::Method::PATCH && parts.uri.path().contains("/serving.knative.dev/");
        let mut sent = sent.lock();
        if applies {
            sent.push(parts.headers.get("audit-id").cloned().expect("every call has one"));
        }
        (applies && sent.len() <= 2).then(|| status(503, "ServiceUnavailable", "not now"))
    });
    env.apply("web", &image("v1")).await;
    env.ready("web").await;
    let ids = ids.lock().clone();
    let different: HashSet<_> = ids.iter().collect();
    assert!(ids.len() >= 3 && different.len() == ids.len(), "{ids:?}");
}
