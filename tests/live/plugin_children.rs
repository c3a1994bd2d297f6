//! `kubectl elpio trace` of an object whose child's API is served no longer.

use elpio_cluster::Cluster;
use elpio_operator::api::ElpioService;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{
    live_env::image,
    plugin::{run, timeline},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_child_whose_version_is_not_served_is_no_sign_that_elpio_is_missing() {
    let cluster = Cluster::shared().await;
    let (admin, namespace) = (cluster.kubeconfig(), cluster.namespace("plugin-version").await);
    let api: Api<ElpioService> = Api::namespaced(cluster.client().await, &namespace);
    let (object, params) = (
        json!({"apiVersion": "elpio.io/v1alpha1", "kind": "ElpioService", "metadata": {"name": "web"}}),
        PatchParams::apply("test"),
    );
    let with = |part: &str, value| {
        let mut object = object.clone();
        object[part] = value;
        Patch::Apply(object)
    };
    api.patch("web", &params, &with("spec", image("v1"))).await.unwrap();
    let child = json!({"apiVersion": "external-secrets.io/v1alpha0", "kind": "ExternalSecret", "name": "web-1", "ready": true});
    api.patch_status("web", &params, &with("status", json!({"children": [child]}))).await.unwrap();

    let here = ["web", "-n", &namespace];
    let notes = timeline(&admin, &here).await["notes"].clone();
    assert_eq!(notes[0], "externalsecrets.external-secrets.io is not served in version v1alpha0");
    let drawn = run(&admin, &[&["trace"], &here[..]].concat()).await;
    let drawn = String::from_utf8(drawn.stdout).unwrap();
    assert!(drawn.contains("is not served") && !drawn.contains("is not installed"), "{drawn}");
}
