//! The API server cannot be reached for a while: watches come back at once after it.

use std::time::{Duration, Instant};

use elpio_cluster::{Cluster, eventually};
use kube::{api::DeleteParams, core::DynamicObject};

use crate::{
    live_env::{LiveEnv, TIMEOUT, image},
    tcp_proxy::TcpProxy,
};

/// As long as it takes until a watch that fails waits for 6.4 s before it tries again, and longer.
const OUTAGE: Duration = Duration::from_secs(14);

/// Chaos F2: the pauses of an outage do not outlive it.
#[tokio::test(flavor = "multi_thread")]
async fn watches_are_back_soon_after_an_outage() {
    let cluster = Cluster::shared().await;
    let proxy = TcpProxy::to(&cluster.kubeconfig()).await;
    let env = LiveEnv::on(cluster, "watch-outage", proxy.kubeconfig(), &[]).await;
    for name in ["drift", "edit"] {
        env.apply(name, &image("v1")).await;
        env.ready(name).await;
    }
    env.wait_until_idle().await;

    let cut = Instant::now();
    proxy.cut();
    eventually("the outage lasts", TIMEOUT, async || {
        let (elapsed, refused) = (cut.elapsed(), proxy.refused());
        if elapsed >= OUTAGE && refused > 0 {
            Ok(())
        } else {
            Err(format!("{refused} refused in {elapsed:?}"))
        }
    })
    .await;
    // What happens meanwhile is seen by the watches alone.
    let children = env.knative();
    children.delete("drift", &DeleteParams::default()).await.unwrap();
    env.apply("edit", &image("v2")).await;
    let outage = cut.elapsed();
    proxy.release();
    let released = Instant::now();
    env.object(&children, "drift", "created again", |child| child.metadata.deletion_timestamp.is_none())
        .await;
    let is_v2 = |child: &DynamicObject| child.data.to_string().contains(":v2");
    env.object(&children, "edit", "of the new spec", is_v2).await;
    let healed = released.elapsed();
    println!("an outage of {outage:.1?}: both are right {healed:.1?} after it");
    assert!(healed * 3 < outage, "{healed:?} after an outage of {outage:?}: the watches slept on");
}
