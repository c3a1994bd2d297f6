//! The webhook: status codes, scope and delays.

use std::time::Duration;

use elpio_cluster::{Cluster, Webhook, webhook::Rule};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::objects::{apply, knative, knative_service, named};

#[tokio::test]
async fn the_api_server_responds_with_the_webhooks_status_code() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("webhook").await;
    let client = cluster.client().await;
    let webhook = Webhook::start(client.clone(), &namespace).await;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);

    for code in [403, 404, 409, 422, 429, 500, 503] {
        webhook.add(Rule::refuse("configmaps", code, "not today").times(1));
        let name = format!("refused-{code}");
        match maps.create(&PostParams::default(), &named(&name)).await {
            Err(kube::Error::Api(status)) => {
                assert_eq!(status.code, code);
                assert!(status.message.contains("not today"), "{status:?}");
            }
            other => panic!("{other:?}"),
        }
        maps.create(&PostParams::default(), &named(&name)).await.expect("the rule applies once");
    }
    assert_eq!(webhook.refused(), 7);
    let requests = webhook.requests();
    assert_eq!(requests.iter().filter(|request| request.name == "refused-409").count(), 2, "{requests:?}");

    // Other namespaces are not affected.
    webhook.refuse("*", 500, "everything");
    let elsewhere: Api<ConfigMap> = Api::namespaced(client, &cluster.namespace("elsewhere").await);
    elsewhere.create(&PostParams::default(), &named("free")).await.unwrap();
    webhook.stop().await;
}

#[tokio::test]
async fn rules_distinguish_an_object_from_its_status_and_can_delay() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("webhook").await;
    let client = cluster.client().await;
    let webhook = Webhook::start(client.clone(), &namespace).await;
    webhook.refuse("services.serving.knative.dev/status", 409, "the object has been modified");
    let services = knative(&client, &namespace);
    let service = apply(&services, knative_service("one", "registry.example/app:1")).await;
    assert_eq!(service.metadata.generation, Some(1));
    let status = Patch::Merge(json!({"status": {"observedGeneration": 1}}));
    let refused = services.patch_status("one", &PatchParams::default(), &status).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 409), "{refused:?}");

    webhook.clear();
    webhook.add(Rule::delay("configmaps", Duration::from_millis(400)).times(1));
    let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let start = std::time::Instant::now();
    maps.create(&PostParams::default(), &named("slow")).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(400));
}
