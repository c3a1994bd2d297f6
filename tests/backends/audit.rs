//! The audit log of the API server, its own traces and those of the operator, joined in Jaeger by the id of each
//! call.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use elpio_cluster::{
    AuditEntry, Cluster, ClusterOptions, Jaeger, Webhook, eventually, otlp::Span, process::TempDir,
    rbac::wait_for_permission, webhook::Rule,
};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::{Api, api::PostParams};
use serde_json::json;

use crate::{
    live_env::{LiveEnv, TIMEOUT, image},
    report::table,
};

const OPERATOR: &str = "elpio-operator";
const API_SERVER: &str = "apiserver";

/// A control plane whose API server logs every request, and sends each of its own spans to this Jaeger.
async fn traced_cluster(jaeger: &Jaeger, folder: &TempDir) -> &'static Cluster {
    let file = folder.path().join("tracing.yaml");
    let config = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "TracingConfiguration",
        "endpoint": jaeger.otlp(), "samplingRatePerMillion": 1_000_000});
    std::fs::write(&file, config.to_string()).unwrap();
    let options = ClusterOptions {
        api_server_flags: vec![format!("--tracing-config-file={}", file.display())],
        ..ClusterOptions::full()
    };
    Box::leak(Box::new(Cluster::start(options).await))
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

/// The one span of that service and kind that a search for the id finds.
async fn found(jaeger: &Jaeger, service: &str, kind: &str, tag: &str, line: &AuditEntry) -> Span {
    eventually(&format!("Jaeger finds a span of {service} for {line:?}"), TIMEOUT, async || {
        let mut spans = jaeger.find(service, &[("span.kind", kind), (tag, &line.id)]).await;
        match (spans.pop(), spans.as_slice()) {
            (Some(span), []) => Ok(span),
            (last, others) => Err(format!("{last:?} {others:?}")),
        }
    })
    .await
}

/// The HTTP method of a verb of the audit log.
fn method(verb: &str) -> &'static str {
    match verb {
        "get" => "GET",
        "create" => "POST",
        "patch" => "PATCH",
        "update" => "PUT",
        "delete" | "deletecollection" => "DELETE",
        other => panic!("{other}"),
    }
}

/// Whether span and line tell of the same call.
fn is_same_call(span: &Span, line: &AuditEntry) {
    assert_eq!(format!("{}-{}", span.trace_id, span.span_id), line.id, "its own ids: {span:?}");
    assert_eq!(span.attribute("http.response.status_code"), line.code.to_string(), "{span:?}");
    assert_eq!(span.attribute("http.request.method"), method(&line.verb), "{span:?}");
    assert!(span.attribute("url.full").ends_with(&line.uri), "{} and {span:?}", line.uri);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_audit_line_of_a_service_account_leads_to_its_span_in_jaeger_and_back() {
    let (jaeger, folder) = (Jaeger::start().await, TempDir::new("tracing"));
    let cluster = traced_cluster(&jaeger, &folder).await;
    let (user, kubeconfig) = service_account(cluster).await;
    let endpoint = format!("http://{}", jaeger.otlp());
    let env =
        LiveEnv::on(cluster, "audit", &kubeconfig, &[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())])
            .await;
    let webhook = Webhook::start(env.client.clone(), &env.namespace).await;
    let refused = "services.serving.knative.dev";
    webhook.add(Rule::refuse(refused, 503, "not now").times(2));
    // Events are written again in the background.
    webhook.add(Rule::refuse("events.events.k8s.io", 503, "not now").times(2));
    let mark = cluster.audit_offset();
    let object = env.apply("web", &image("v1")).await;
    env.ready("web").await;
    for (type_, reason) in [("Warning", "ReconcileFailed"), ("Normal", "Reconciled"), ("Normal", "Ready")] {
        env.event("web", type_, reason).await;
    }
    env.wait_until_idle().await;

    // Watches run beside the rollout: they are of no reconcile, and have no span.
    let of_watches = |line: &AuditEntry| ["list", "watch"].contains(&line.verb.as_str());
    let all = cluster.audit_since(mark).user(&user);
    let lines = all.clone().filter(|line| !of_watches(line));
    assert!(lines.len() >= 6, "the child three times, the status and the Events: {:?}", lines.count());
    let mut joined: BTreeMap<String, usize> = BTreeMap::new();
    for line in &lines.0 {
        let span = found(&jaeger, OPERATOR, "client", "k8s.audit_id", line).await;
        is_same_call(&span, line);
        let own = found(&jaeger, API_SERVER, "server", "audit-id", line).await;
        assert_ne!(own.trace_id, span.trace_id, "for a service account it is a trace of its own");
        assert_eq!(own.links, [(span.trace_id.clone(), span.span_id)], "with a link: {own:?}");
        *joined.entry(line.summary()).or_default() += 1;
    }
    for (resource, refusals) in [(refused, 2), ("events.events.k8s.io", 2)] {
        let tries = lines.clone().resource(resource).writes();
        let codes: Vec<u16> = tries.0.iter().map(|line| line.code).collect();
        let count = codes.iter().filter(|code| **code == 503).count();
        assert!(count == refusals && codes.len() > refusals, "each attempt is a line: {resource} {codes:?}");
    }

    // An Event that waits for its turn or its retry may be written after those lines.
    let calls = eventually("one line for each span, and one span for each line", TIMEOUT, async || {
        let calls = jaeger.find(OPERATOR, &[("span.kind", "client")]).await;
        let now = cluster.audit_since(mark).user(&user).filter(|line| !of_watches(line));
        let by_line: BTreeSet<String> = now.0.iter().map(|line| line.id.clone()).collect();
        let by_span: BTreeSet<String> =
            calls.iter().map(|span| format!("{}-{}", span.trace_id, span.span_id)).collect();
        if by_line == by_span && calls.len() == now.len() {
            Ok(calls)
        } else {
            Err(format!("{:?}", by_line.symmetric_difference(&by_span).collect::<Vec<_>>()))
        }
    })
    .await;
    let rollout = env.services().get("web").await.unwrap().status.unwrap().rollout.unwrap();
    let trace = rollout.trace_id.unwrap();
    let in_rollout = lines.0.iter().filter(|line| line.id.starts_with(&trace)).count();
    assert!(in_rollout >= 5, "{in_rollout} lines are of the rollout {trace} of {object:?}");

    let mut rows: Vec<_> = joined.into_iter().map(|(what, count)| vec![what, count.to_string()]).collect();
    rows.push(vec!["all lines, and as many spans of the operator".to_owned(), calls.len().to_string()]);
    rows.push(vec!["spans of the API server, by audit-id".to_owned(), lines.len().to_string()]);
    rows.push(vec![
        "lines without a span: lists and watches".to_owned(),
        (all.len() - lines.len()).to_string(),
    ]);
    table("Audit log and Jaeger, joined: one rollout, with refusals", &["audit line", "joined"], &rows);
}
