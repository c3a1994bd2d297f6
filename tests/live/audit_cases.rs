//! The audit log of the API server and the traces of the operator, joined by the id of each call.

use elpio_cluster::{Cluster, otlp::Span, rbac::wait_for_permission};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::{Api, api::PostParams};
use serde_json::json;

use crate::stage::{SOON, Stage, image};

/// The id that a call with this span had.
fn audit_id(span: &Span) -> String {
    format!("{}-{}", span.trace_id, span.span_id)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_audit_line_of_a_service_account_leads_to_its_span_and_back() {
    let cluster = Cluster::shared().await;
    let admin = cluster.client().await;
    let home = cluster.namespace("audit-operator").await;
    let user = format!("system:serviceaccount:{home}:default");
    let subject = json!({"kind": "ServiceAccount", "name": "default", "namespace": home});
    let role =
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"});
    let binding = json!({"metadata": {"name": home}, "subjects": [subject], "roleRef": role});
    let binding: ClusterRoleBinding = serde_json::from_value(binding).unwrap();
    Api::all(admin.clone()).create(&PostParams::default(), &binding).await.unwrap();
    wait_for_permission(&admin, &user, true, ["patch", "serving.knative.dev", "services"]).await;
    let kubeconfig = cluster.kubeconfig_for_service_account(&home, "default").await;

    let stage = Stage::on(cluster, "audit-ids", &kubeconfig, &[]).await;
    let mark = cluster.audit_offset();
    stage.apply("web", &image("v1")).await;
    stage.ready("web").await;
    stage.quiet().await;
    let asked =
        stage.asked_since(mark).user(&user).filter(|entry| !["list", "watch"].contains(&entry.verb.as_str()));
    assert!(asked.len() >= 4, "the child, the status and the Events: {:?}", asked.0);
    for entry in &asked.0 {
        let span = stage
            .otlp
            .wait_for_span(&format!("the span of {entry:?}"), SOON, |span| audit_id(span) == entry.id)
            .await;
        assert_eq!(span.attribute("k8s.audit_id"), entry.id, "the API server kept it: {span:?}");
        assert_eq!(span.attribute("http.response.status_code"), entry.code.to_string(), "{span:?}");
    }
    let all = cluster.audit_since(mark);
    let calls: Vec<Span> = stage.otlp.spans().into_iter().filter(|span| span.kind == "client").collect();
    for span in &calls {
        let lines = all.0.iter().filter(|entry| entry.id == audit_id(span)).count();
        assert_eq!(lines, 1, "one line for {span:?}");
    }
    eprintln!("{} audit lines joined, {} spans", asked.len(), calls.len());
}
