//! What hangs for one engine holds up no other one.

use std::time::{Duration, Instant};

use elpio_cluster::{Webhook, eventually, webhook::Rule};
use serde_json::json;

use crate::live_env::{LiveEnv, TIMEOUT, image, with};

/// More than may apply at once.
const STUCK: usize = 40;
/// How long each call of the webhook takes.
const HANG: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_of_one_engine_does_not_hold_up_the_other() {
    let env = LiveEnv::new("bulkhead").await;
    let webhook = Webhook::start(env.client.clone(), &env.namespace).await;
    webhook.add(Rule::delay("deployments", HANG));
    let keda = with(image("v1"), &json!({"engine": "keda", "scaling": {"metric": "rps", "minScale": 1}}));
    for n in 0..STUCK {
        env.apply(&format!("stuck-{n}"), &keda).await;
    }
    eventually("the webhook hangs", TIMEOUT, async || {
        let seen = webhook.requests().iter().filter(|seen| seen.resource == "deployments").count();
        if seen >= 16 { Ok(()) } else { Err(format!("{seen} calls")) }
    })
    .await;
    let started = Instant::now();
    env.apply("web", &with(image("v1"), &json!({"engine": "knative"}))).await;
    env.object(&env.knative(), "web", "exists", |_| true).await;
    assert!(started.elapsed() < HANG / 2, "it waited {:?} for the other engine", started.elapsed());
    webhook.stop().await;
}
