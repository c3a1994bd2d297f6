//! What `Reconciled` says where others write to the children as well.

use std::time::{Duration, Instant};

use kube::api::DeleteParams;

use crate::live_env::{LiveEnv, find, image};

async fn with_message(env: &LiveEnv, what: &str, wanted: impl Fn(&str) -> bool) {
    env.service("web", what, |object| find(object, "Reconciled").is_some_and(|c| wanted(&c.message))).await;
}

/// The same as for a field that another manager keeps changing.
#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_is_deleted_again_and_again_is_contended() {
    let env = LiveEnv::with("note-deleted", &[("ELPIO_ENGINE", "keda")]).await;
    env.apply("web", &image("v1")).await;
    env.ready("web").await;
    env.wait_until_idle().await;
    let (deployments, begun, mut deleted) = (env.deployments(), Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(8) {
        deleted += u32::from(deployments.delete("web", &DeleteParams::background()).await.is_ok());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!((2..=8).contains(&deleted), "{deleted} in eight seconds");
    with_message(&env, "it is contended", |message| message.contains("corrections are delayed")).await;
    env.object(&deployments, "web", "created again", |_| true).await;
}
