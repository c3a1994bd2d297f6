//! The audit log of the API server, its own traces, and the traces of the operator, joined by the id of each call.

use std::{
    collections::{BTreeSet, HashSet},
    path::PathBuf,
    sync::Arc,
};

use elpio_cluster::{
    Cluster, ClusterOptions, OtlpReceiver, otlp::Span, process::TempDir, rbac::wait_for_permission,
};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::{Api, api::PostParams};
use serde_json::json;

use crate::{
    fault_proxy::{FaultProxy, status},
    stage::{SOON, Stage, image},
};

/// The id that a call with this span had.
fn audit_id(span: &Span) -> String {
    format!("{}-{}", span.trace_id, span.span_id)
}

/// A service account that may do everything, and its token: unlike the tests' administrator it is in none of the
/// groups whose trace context an API server takes over.
async fn service_account(cluster: &Cluster) -> (String, PathBuf) {
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
    (user, cluster.kubeconfig_for_service_account(&home, "default").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_audit_line_of_a_service_account_leads_to_its_span_and_back() {
    let cluster = Cluster::shared().await;
    let (user, kubeconfig) = service_account(cluster).await;
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
    eprintln!(
        "{} of {} audit lines lead to their spans, {} of {} spans to theirs",
        asked.len(),
        asked.len(),
        calls.len(),
        calls.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsampled_call_has_its_own_id_in_the_audit_log() {
    let stage = Stage::with("audit-unsampled", &[("OTEL_TRACES_SAMPLER", "always_off")]).await;
    let mark = stage.cluster.audit_offset();
    stage.apply("web", &image("v1")).await;
    stage.ready("web").await;
    stage.quiet().await;
    let asked = stage.asked_since(mark).writes();
    let mut ids: Vec<&str> = asked.0.iter().map(|entry| entry.id.as_str()).collect();
    let is_ours = |id: &&str| {
        let (trace, span) = id.split_once('-').unwrap_or_default();
        (trace.len(), span.len()) == (32, 16)
    };
    assert!(ids.len() >= 4 && ids.iter().all(is_ours), "{ids:?}");
    let traces: BTreeSet<&str> = ids.iter().map(|id| &id[..32]).collect();
    assert!(traces.len() < ids.len(), "the calls of a rollout share its trace: {ids:?}");
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "an id for each call");
    assert!(stage.otlp.spans().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_has_an_id_of_its_own() {
    let cluster = Cluster::shared().await;
    let proxy = FaultProxy::start(&cluster.kubeconfig(), None).await;
    let stage = Stage::on(cluster, "audit-retry", proxy.kubeconfig(), &[]).await;
    let ids = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let sent = Arc::clone(&ids);
    proxy.set(move |parts| {
        let applies =
            parts.method == http::Method::PATCH && parts.uri.path().contains("/serving.knative.dev/");
        let mut sent = sent.lock();
        if applies {
            sent.push(parts.headers.get("audit-id").cloned().expect("every call has one"));
        }
        (applies && sent.len() <= 2).then(|| status(503, "ServiceUnavailable", "not now"))
    });
    stage.apply("web", &image("v1")).await;
    stage.ready("web").await;
    let ids = ids.lock().clone();
    let different: HashSet<_> = ids.iter().collect();
    assert!(ids.len() >= 3 && different.len() == ids.len(), "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spans_of_an_api_server_that_traces_are_found_by_the_audit_id() {
    let (server, folder) = (OtlpReceiver::start().await, TempDir::new("tracing"));
    let file = folder.path().join("tracing.yaml");
    let endpoint = server.endpoint();
    let config = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "TracingConfiguration",
        "endpoint": endpoint.trim_start_matches("http://"), "samplingRatePerMillion": 1_000_000});
    std::fs::write(&file, config.to_string()).unwrap();
    let options = ClusterOptions {
        api_server_flags: vec![format!("--tracing-config-file={}", file.display())],
        controller_manager: true,
        ..ClusterOptions::full()
    };
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start(options).await));
    let (_, kubeconfig) = service_account(cluster).await;
    let stage = Stage::on(cluster, "audit-traced", &kubeconfig, &[]).await;
    stage.apply("web", &image("v1")).await;
    stage.ready("web").await;
    stage.quiet().await;
    stage.otlp.wait_for_span("the root", SOON, |span| span.name == "rollout ElpioService").await;
    let calls: Vec<Span> = stage.otlp.spans().into_iter().filter(|span| span.kind == "client").collect();
    assert!(calls.len() >= 4, "{calls:?}");
    for call in &calls {
        let is_its = |span: &Span| span.kind == "server" && span.attribute("audit-id") == audit_id(call);
        let found = server.wait_for_span(&format!("the server's span of {call:?}"), SOON, is_its).await;
        assert_ne!(found.trace_id, call.trace_id, "for a service account it is a trace of its own");
        assert_eq!(found.links, [(call.trace_id.clone(), call.span_id.clone())], "with a link: {found:?}");
    }
    eprintln!("{} of {} calls lead to the API server's own spans", calls.len(), calls.len());
}
