//! Every class of error, by injecting its cause into the real API server; what users then see, and how it
//! heals.

use std::time::Duration;

use elpio_cluster::{
    Cluster, Webhook, eventually, otlp::LogRecord, rbac::wait_for_permission, webhook::Rule,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::{Api, ResourceExt, api::PostParams};
use serde_json::json;

use crate::{
    live_env::{LiveEnv, TIMEOUT, find, image, with},
    span_rows::are_of_the_table,
};

const KSVC: &str = "services.serving.knative.dev";

/// A service that meets `rule` at its child, and what became of it.
async fn meets(name: &str, rule: Rule) -> (LiveEnv, Webhook) {
    let env = LiveEnv::new(name).await;
    let webhook = Webhook::start(env.client.clone(), &env.namespace).await;
    webhook.add(rule);
    env.apply("web", &image("v1")).await;
    (env, webhook)
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_is_reported_backed_off_and_heals() {
    let (env, webhook) =
        meets("err-rejected", Rule::refuse(KSVC, 422, "no images from registry.local")).await;
    let condition = env.condition("web", "Reconciled", "False", "ApplyFailed").await;
    for part in ["patch", KSVC, "web", &env.namespace, "no images from registry.local"] {
        assert!(condition.message.contains(part), "{part}: {}", condition.message);
    }
    assert_eq!(find(&env.services().get("web").await.unwrap(), "Ready").unwrap().reason, "ApplyFailed");
    let event = env.event("web", "Warning", "ReconcileFailed").await;
    assert!(event.note.as_ref().unwrap().starts_with("rejected: "), "{:?}", event.note);
    assert_eq!(event.related.unwrap().name.as_deref(), Some("web"));
    env.failed("rejected").await;
    assert!(env.counted("elpio_reconcile_total", &[("result", "error")]).await >= 1.0);
    // Its span says so too.
    let span = env
        .otlp
        .wait_for_span("the failed reconcile", TIMEOUT, |s| {
            s.name == "reconcile ElpioService" && s.status == "error"
        })
        .await;
    assert_eq!(span.attribute("error.type"), "rejected");
    let is_exception = |log: &LogRecord| log.event_name == "exception" && log.span_id == span.span_id;
    let exception = env.otlp.wait_for_log("its exception", TIMEOUT, is_exception).await;
    assert_eq!(exception.attributes["exception.type"], "rejected");
    are_of_the_table(&env.otlp.spans());
    webhook.clear();
    env.ready("web").await;
    let attempts = webhook.requests().iter().filter(|s| s.refused.is_some()).count();
    assert!((1..=6).contains(&attempts), "{attempts} attempts are no back-off");
}

#[tokio::test(flavor = "multi_thread")]
async fn conflict_is_tried_again_at_once_and_is_no_error() {
    let (env, webhook) = meets("err-conflict", Rule::refuse(KSVC, 409, "try again").times(3)).await;
    env.ready("web").await;
    assert_eq!(webhook.requests().iter().filter(|s| s.refused == Some(409)).count(), 3);
    assert_eq!(env.errors("conflict").await, 0.0);
    assert_eq!(env.counted("elpio_reconcile_total", &[("result", "error")]).await, 0.0);
    assert!(
        !crate::live_env::reasons(&env.events("web").await).contains(&"Warning ReconcileFailed".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_that_stays_becomes_an_error() {
    let (env, webhook) = meets("err-conflicts", Rule::refuse(KSVC, 409, "never")).await;
    env.condition("web", "Reconciled", "False", "ApplyFailed").await;
    env.failed("conflict").await;
    assert!(
        webhook.requests().iter().filter(|s| s.refused == Some(409)).count() >= 6,
        "once, and five times more at once"
    );
    webhook.clear();
    env.ready("web").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_written_by_somebody_meanwhile_is_no_error() {
    let env = LiveEnv::new("err-status").await;
    let webhook = Webhook::start(env.client.clone(), &env.namespace).await;
    webhook.add(Rule::refuse("elpioservices/status", 409, "somebody was faster").times(2));
    env.apply("web", &image("v1")).await;
    env.ready("web").await;
    assert_eq!(env.errors("conflict").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn not_found_is_observed_again_once() {
    let (env, webhook) = meets("err-notfound", Rule::refuse(KSVC, 404, "gone").times(1)).await;
    env.ready("web").await;
    assert_eq!(webhook.requests().iter().filter(|s| s.refused == Some(404)).count(), 1);
    assert_eq!(env.errors("not_found").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_obeys_retry_after() {
    let rule = Rule { retry_after: Some(4), ..Rule::refuse(KSVC, 429, "slow down").times(1) };
    let (env, _webhook) = meets("err-throttled", rule).await;
    env.condition("web", "Reconciled", "False", "ApplyFailed").await;
    env.ready("web").await;
    assert_eq!(env.errors("throttled").await, 1.0);
    let tries = env.requests_since(0).resource(KSVC).verb("patch").0;
    let at: Vec<jiff::Timestamp> = tries.iter().map(|e| e.received.parse().unwrap()).collect();
    assert!(at.len() == 2 && at[1].duration_since(at[0]) >= jiff::SignedDuration::from_secs(4), "{at:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unavailable_is_backed_off() {
    let (env, webhook) = meets("err-unavailable", Rule::refuse(KSVC, 503, "not now").times(2)).await;
    env.ready("web").await;
    assert_eq!(env.errors("unavailable").await, 2.0);
    assert_eq!(
        webhook.requests().iter().filter(|s| s.refused == Some(503)).count(),
        2,
        "the client does not try by itself"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_an_answer_times_out_and_others_go_on() {
    let env = LiveEnv::new("err-timeout").await;
    let webhook = Webhook::start(env.client.clone(), &env.namespace).await;
    // Until cleared: the API server may ask a webhook twice, and the second answer must not come at once.
    webhook.add(Rule::delay(KSVC, Duration::from_secs(25)));
    env.apply("slow", &image("v1")).await;
    eventually("the slow call is under way", TIMEOUT, async || {
        if webhook.requests().iter().any(|s| s.name == "slow") { Ok(()) } else { Err("not seen") }
    })
    .await;
    env.apply("other", &with(image("v1"), &json!({"engine": "keda"}))).await;
    env.ready("other").await;
    let event = env.event("slow", "Warning", "ReconcileFailed").await;
    assert!(event.note.as_ref().unwrap().starts_with("timeout: "), "{:?}", event.note);
    env.failed("timeout").await;
    let given_up = [("error_type", "timeout"), ("http_request_method", "PATCH")];
    assert!(env.counted("http_client_request_duration_seconds_count", &given_up).await >= 1.0);
    webhook.clear();
    env.ready("slow").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forbidden_names_verb_resource_and_namespace_and_an_edit_wakes_it() {
    let cluster = Cluster::shared().await;
    let user = "elpio-test-1";
    let admin = cluster.client().await;
    let role = |name: &str, rules: serde_json::Value| {
        serde_json::from_value::<ClusterRole>(json!({"metadata": {"name": name}, "rules": rules})).unwrap()
    };
    let bind = |name: &str| {
        let binding = json!({"metadata": {"name": name}, "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}});
        serde_json::from_value::<ClusterRoleBinding>(binding).unwrap()
    };
    let (roles, bindings) =
        (Api::<ClusterRole>::all(admin.clone()), Api::<ClusterRoleBinding>::all(admin.clone()));
    let all_but_patch = json!([
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
        {"apiGroups": ["elpio.io"], "resources": ["elpioservices/status"], "verbs": ["patch"]}]);
    roles.create(&PostParams::default(), &role("test-reads", all_but_patch)).await.unwrap();
    bindings.create(&PostParams::default(), &bind("test-reads")).await.unwrap();
    wait_for_permission(&admin, user, true, ["watch", "elpio.io", "elpioservices"]).await;

    let env = LiveEnv::on(cluster, "err-forbidden", &cluster.kubeconfig_for(user), &[]).await;
    env.apply("web", &image("v1")).await;
    let condition = env.condition("web", "Reconciled", "False", "Forbidden").await;
    let event = env.event("web", "Warning", "ReconcileFailed").await;
    for text in [condition.message, event.note.unwrap()] {
        for part in ["patch", KSVC, &env.namespace] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    env.failed("forbidden").await;

    let patch = json!([{"apiGroups": ["serving.knative.dev"], "resources": ["services"], "verbs": ["create", "patch"]}]);
    roles.create(&PostParams::default(), &role("test-writes", patch)).await.unwrap();
    bindings.create(&PostParams::default(), &bind("test-writes")).await.unwrap();
    wait_for_permission(&admin, user, true, ["patch", "serving.knative.dev", "services"]).await;
    env.apply("web", &image("v2")).await;
    env.ready("web").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_belongs_to_somebody_else_is_left_alone() {
    let env = LiveEnv::with("err-name", &[("ELPIO_ENGINE", "keda")]).await;
    let theirs = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": {"app": "theirs"}},
        "template": {"metadata": {"labels": {"app": "theirs"}}, "spec": {"containers": [{"name": "c", "image": "registry.local/theirs"}]}}}});
    let theirs = env
        .deployments()
        .create(&PostParams::default(), &serde_json::from_value(theirs).unwrap())
        .await
        .unwrap();
    env.apply("web", &image("v1")).await;
    let condition = env.condition("web", "Reconciled", "False", "NameConflict").await;
    assert!(condition.message.contains("Deployment web already exists"), "{}", condition.message);
    env.failed("name_conflict").await;
    let now = env.deployments().get("web").await.unwrap();
    assert_eq!((now.owner_references().len(), now.labels().len()), (0, 0), "nothing of it was touched");
    assert_eq!(
        now.data["spec"]["template"]["spec"]["containers"],
        theirs.data["spec"]["template"]["spec"]["containers"]
    );

    // Another ElpioService's child is somebody else's too, and its owner is named.
    env
        .apply(
            "one",
            &with(
                image("v1"),
                &json!({"externalSecrets": [{"name": "shared", "storeRef": "vault", "data": [{"secretKey": "a", "remoteKey": "a"}]}]}),
            ),
        )
        .await;
    env.ready("one").await;
    env
        .apply(
            "two",
            &with(
                image("v1"),
                &json!({"externalSecrets": [{"name": "shared", "storeRef": "other", "data": [{"secretKey": "b", "remoteKey": "b"}]}]}),
            ),
        )
        .await;
    let condition = env.condition("two", "Reconciled", "False", "NameConflict").await;
    assert!(condition.message.contains("ElpioService one"), "{}", condition.message);

    env.deployments().delete("web", &kube::api::DeleteParams::default()).await.unwrap();
    env.ready("web").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_only_the_operator_can_know_is_an_invalid_spec() {
    let env = LiveEnv::new("err-invalid").await;
    let mark = env.cluster.audit_offset();
    env.apply("web", &with(image("v1"), &json!({"port": 8012, "env": [{"name": "PORT", "value": "1"}]})))
        .await;
    let condition = env.condition("web", "Reconciled", "False", "InvalidSpec").await;
    assert!(
        condition.message.contains("spec.port: ") && condition.message.contains("spec.env[0].name: "),
        "{}",
        condition.message
    );
    env.wait_until_idle().await;
    env.expect_events("ElpioService", "web", &["Warning ReconcileFailed"]).await;
    assert_eq!(env.errors("invalid_spec").await, 1.0);
    assert_eq!(env.requests_since(mark).writes().resource(KSVC).len(), 0, "no write to any child");
    env.apply("web", &with(image("v1"), &json!({"port": 8080, "env": []}))).await;
    env.ready("web").await;
}
