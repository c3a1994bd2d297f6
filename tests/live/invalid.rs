//! The schema, judged by the real API server: the same table of rules that the operator's own check is held
//! to.

use elpio_cluster::Cluster;
use elpio_support::rules;
use futures::{StreamExt, stream};
use kube::{
    Api,
    api::PostParams,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_object_is_refused_when_it_is_applied() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("rules").await;
    let client = cluster.client().await;
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let judged = stream::iter(rules::cases()).map(|case| {
        let kind = case.object["kind"].as_str().unwrap().to_owned();
        let resource = ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk("elpio.io", "v1alpha1", &kind),
            &format!("{}s", kind.to_lowercase()),
        );
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
        let (dry_run, namespace) = (dry_run.clone(), namespace.clone());
        async move {
            let mut object: DynamicObject = serde_json::from_value(case.object.clone()).unwrap();
            object.metadata.namespace = Some(namespace);
            let answer = api.create(&dry_run, &object).await.map_err(|error| error.to_string());
            match (case.refused, answer) {
                (None, Ok(_)) => None,
                (Some(part), Err(message)) if message.contains(part) => None,
                (expected, answer) => Some(format!(
                    "{}: expected {expected:?}, the API server said {:?}",
                    case.what,
                    answer.map(|_| "yes")
                )),
            }
        }
    });
    let wrong: Vec<String> = judged.buffer_unordered(16).filter_map(|wrong| async { wrong }).collect().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
