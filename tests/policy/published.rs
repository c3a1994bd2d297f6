//! The operator under its own account: what it publishes for a function is not judged again. Tekton's part is
//! played by the test.

use std::path::Path;

use elpio_cluster::{Operator, eventually};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::json;

use crate::{
    columns::{Kind, columns, merged},
    policy_env::{self, TIMEOUT, api, installed, object},
    table::in_force,
    writers::{Identity, WRITERS},
};

#[tokio::test(flavor = "multi_thread")]
async fn the_service_of_a_function_is_published() {
    let cluster = installed().await;
    let namespace = cluster.namespace("published").await;
    in_force(cluster, &columns(), &namespace).await;
    let account = cluster.kubeconfig_for_service_account("elpio-system", "elpio-operator").await;
    let binary = Path::new(env!("CARGO_BIN_EXE_elpio-operator"));
    let mut operator = Operator::spawn(binary, &account, &[("ELPIO_NAMESPACES", &namespace)]);
    operator.wait_ready().await;

    let editor = WRITERS.iter().find(|writer| writer.identity == Identity::User(11)).unwrap();
    let editor = policy_env::client(cluster, editor, &namespace).await;
    let key = json!({"name": "P", "valueFrom": {"secretKeyRef": {"name": "s1", "key": "k"}}});
    let lent = json!({"serviceAccount": "runner", "env": [key], "envFrom": [{"secretRef": {"name": "s2"}}],
        "imagePullSecrets": ["s3"], "ingress": {"host": "a.example.com", "tls": true, "issuer": {"name": "ca"}}});
    let function = object(Kind::Function, "hello", &merged(&Kind::Function.base(), &lent));
    api(&editor, Kind::Function, &namespace).create(&PostParams::default(), &function).await.unwrap();

    let client = cluster.client().await;
    let gvk = GroupVersionKind::gvk("tekton.dev", "v1", "PipelineRun");
    let runs: Api<DynamicObject> = Api::namespaced_with(
        client.clone(),
        &namespace,
        &ApiResource::from_gvk_with_plural(&gvk, "pipelineruns"),
    );
    let run = eventually("the build is begun", TIMEOUT, async || {
        let runs = runs.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        runs.items.into_iter().next().ok_or_else(|| "no run".to_owned())
    })
    .await;
    let condition = json!({"type": "Succeeded", "status": "True", "reason": "Succeeded", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:42Z"});
    let status = json!({"status": {"startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:42Z",
        "conditions": [condition],
        "results": [{"name": "IMAGE_DIGEST", "value": format!("sha256:{}", "a".repeat(64))}]}});
    let name = run.metadata.name.unwrap();
    runs.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();

    let services = api(&client, Kind::Service, &namespace);
    let service = eventually("the service is published", TIMEOUT, async || {
        let service = services.get_opt("hello").await.map_err(|error| error.to_string())?;
        service.ok_or_else(|| operator.log_tail())
    })
    .await;
    for field in ["serviceAccount", "env", "envFrom", "imagePullSecrets"] {
        assert_eq!(service.data["spec"][field], lent[field], "{field}");
    }
    assert_eq!(service.data["spec"]["ingress"]["host"], "a.example.com");
}
