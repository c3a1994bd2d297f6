//! The fake engines: statuses, overrides, and side effects.

use elpio_cluster::{Cluster, FakeEngineOptions, FakeEngines, FakeStatus, eventually};
use k8s_openapi::api::core::v1::Service;
use kube::{
    api::{Api, DeleteParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::{
    TIMEOUT,
    objects::{apply, knative, knative_service},
};

#[tokio::test]
async fn the_fake_knative_writes_the_status_of_a_real_one() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("fake-engines").await;
    let client = cluster.client().await;
    let engine = FakeEngines::start(client.clone(), FakeEngineOptions::in_namespace(&namespace));
    let services = knative(&client, &namespace);

    apply(&services, knative_service("good", "registry.example/app:1")).await;
    apply(&services, knative_service("bad", "registry.example/broken:1")).await;
    let good = condition(&services, "good", "True").await;
    assert_eq!(good.data["status"]["url"], format!("http://good.{namespace}.example.com"));
    assert_eq!(good.data["status"]["observedGeneration"], 1);
    let bad = condition(&services, "bad", "False").await;
    assert!(ready(&bad)["message"].as_str().unwrap().contains("Unable to fetch image"), "{:?}", ready(&bad));

    engine.hold();
    apply(&services, knative_service("good", "registry.example/app:2")).await;
    engine.set_status(
        "Service",
        "good",
        FakeStatus::NotReady { reason: "Flapped".to_owned(), message: "as requested".to_owned() },
    );
    assert_eq!(services.get("good").await.unwrap().data["status"]["observedGeneration"], 1, "it is on hold");
    engine.release();
    let good = condition(&services, "good", "False").await;
    assert_eq!(
        (&good.data["status"]["observedGeneration"], &ready(&good)["reason"]),
        (&json!(2), &json!("Flapped"))
    );

    // Its placeholder Service exists, and is garbage-collected with it.
    let plain: Api<Service> = Api::namespaced(client, &namespace);
    plain.get("good").await.unwrap();
    services.delete("good", &DeleteParams::background()).await.unwrap();
    eventually("the placeholder is deleted", TIMEOUT, async || match plain.get_opt("good").await {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

#[tokio::test]
async fn with_faked_pods_real_deployments_become_available() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("fake-engines").await;
    let client = cluster.client().await;
    let _engine = FakeEngines::start(client.clone(), FakeEngineOptions::in_namespace(&namespace));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", "Deployment"));
    let deployments: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
    let pod = json!({"metadata": {"labels": {"app": "one"}}, "spec": {"containers": [{"name": "user", "image": "registry.example/app:1"}]}});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "one"},
        "spec": {"selector": {"matchLabels": {"app": "one"}}, "template": pod},
    });
    apply(&deployments, deployment).await;
    eventually("the Deployment is available", TIMEOUT, async || {
        let live = deployments.get("one").await.unwrap();
        let status = &live.data["status"];
        if status["availableReplicas"] == 1 && status["updatedReplicas"] == 1 {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
}

fn ready(object: &DynamicObject) -> Value {
    let conditions = object.data["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Ready")
        .cloned()
        .unwrap_or_default()
}

async fn condition(api: &Api<DynamicObject>, name: &str, status: &str) -> DynamicObject {
    eventually(&format!("{name} is Ready={status}"), TIMEOUT, async || {
        let live = api.get(name).await.map_err(|error| error.to_string())?;
        if ready(&live)["status"] == status { Ok(live) } else { Err(live.data["status"].to_string()) }
    })
    .await
}
