//! What one service costs the API server, by its audit log: nothing is written twice, and nothing is read that
//! a watch brings.

use std::collections::BTreeMap;

use elpio_cluster::{Audit, eventually};
use serde_json::json;

use crate::live_env::{LiveEnv, TIMEOUT, image, with};

/// Requests by verb and resource, without watches and the Lease.
fn requests(audit: Audit) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    for entry in audit.filter(|entry| entry.verb != "watch" && entry.resource != "leases").0 {
        let sub = if entry.subresource.is_empty() { "" } else { "/" };
        *count.entry(format!("{} {}{sub}{}", entry.verb, entry.resource, entry.subresource)).or_default() +=
            1;
    }
    count
}

/// Waits for these requests, and for no others to come.
async fn expect(env: &LiveEnv, mark: u64, what: &str, expected: &[(&str, usize)]) {
    let expected: BTreeMap<String, usize> =
        expected.iter().map(|(request, count)| ((*request).to_owned(), *count)).collect();
    eventually(what, TIMEOUT, async || {
        let seen = requests(env.requests_since(mark));
        if seen.values().sum::<usize>() >= expected.values().sum() {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        }
    })
    .await;
    env.wait_until_idle().await;
    assert_eq!(requests(env.requests_since(mark)), expected, "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_on_knative() {
    let env = LiveEnv::new("writes-knative").await;
    env.wait_until_idle().await;
    env.engine.hold();
    let mark = env.cluster.audit_offset();
    env.apply("web", &image("v1")).await;
    // The apply fails where the child's name is taken, and that the owner exists the watch told just now: no reads.
    let first_wait = [("patch services", 1), ("patch elpioservices/status", 1), ("create events", 2)];
    expect(&env, mark, "from create to the first wait", &first_wait).await;

    let mark = env.cluster.audit_offset();
    env.engine.release();
    expect(&env, mark, "ready", &[("patch elpioservices/status", 1), ("create events", 1)]).await;

    env.engine.hold();
    let mark = env.cluster.audit_offset();
    env.apply("web", &image("v2")).await;
    let edit = [("patch services", 1), ("patch elpioservices/status", 1), ("create events", 2)];
    expect(&env, mark, "an edit", &edit).await;

    let mark = env.cluster.audit_offset();
    env.engine.release();
    expect(&env, mark, "ready again", &[("patch elpioservices/status", 1), ("create events", 1)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_child_on_keda_is_applied_once() {
    let env = LiveEnv::with("writes-keda", &[("ELPIO_ENGINE", "keda")]).await;
    env.engine.hold();
    env.wait_until_idle().await;
    let mark = env.cluster.audit_offset();
    env.apply("web", &with(image("v1"), &json!({"scaling": {"metric": "rps", "minScale": 1}}))).await;
    env.condition("web", "Ready", "False", "Progressing").await;
    env.wait_until_idle().await;
    let seen = requests(env.requests_since(mark));
    for child in ["patch deployments", "patch services", "patch httpscaledobjects"] {
        assert_eq!(seen.get(child), Some(&1), "{child}: {seen:?}");
    }
    assert!(seen.get("create events").is_none_or(|events| *events <= 2), "{seen:?}");
}
