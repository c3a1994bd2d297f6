//! What admission refuses, and webhooks that are down: the class of the error, and its Events.

use elpio_cluster::eventually;
use k8s_openapi::api::{
    admissionregistration::v1::{
        ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
    },
    core::v1::ResourceQuota,
};
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::live_env::{LiveEnv, TIMEOUT, image, with};

fn keda() -> Value {
    with(image("v1"), &json!({"engine": "keda", "scaling": {"minScale": 1, "maxScale": 2}}))
}

pub async fn no_event_is_lost(env: &LiveEnv) {
    let metrics = env.operator.metrics("").await;
    let lost: Vec<&str> = metrics
        .lines()
        .filter(|line| line.starts_with("elpio_events_total{") && !line.ends_with(" 0"))
        .filter(|line| line.contains("outcome=\"failed\"") || line.contains("outcome=\"dropped\""))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exceeded_quota_is_rejected_and_retried() {
    let env = LiveEnv::new("event-quota").await;
    let quotas: Api<ResourceQuota> = Api::namespaced(env.client.clone(), &env.namespace);
    let quota = |limit: &str| json!({"metadata": {"name": "small"}, "spec": {"hard": {"count/deployments.apps": limit}}});
    quotas.create(&PostParams::default(), &serde_json::from_value(quota("1")).unwrap()).await.unwrap();
    let used = async |number: &str| {
        eventually(&format!("the quota counts {number}"), TIMEOUT, async || {
            let status = serde_json::to_value(quotas.get("small").await.unwrap().status).unwrap();
            if status["used"]["count/deployments.apps"] == number { Ok(()) } else { Err(status.to_string()) }
        })
        .await;
    };
    used("0").await;
    env.apply("one", &keda()).await;
    env.ready("one").await;
    used("1").await;
    env.apply("two", &keda()).await;
    let condition = env.condition("two", "Reconciled", "False", "ApplyFailed").await;
    for part in
        ["exceeded quota: small", "used: count/deployments.apps=1", "limited: count/deployments.apps=1"]
    {
        assert!(condition.message.contains(part), "{part}: {}", condition.message);
    }
    let event = env.event("two", "Warning", "ReconcileFailed").await;
    assert!(event.note.as_ref().unwrap().starts_with("rejected: "), "{:?}", event.note);
    env.failed("rejected").await;
    assert_eq!(env.errors("forbidden").await, 0.0, "no right of the operator is missing");
    // Nobody edits the service.
    quotas.patch("small", &PatchParams::default(), &Patch::Merge(quota("2"))).await.unwrap();
    env.ready("two").await;
}

/// A policy that denies Deployments in one namespace.
struct Policy<'a> {
    env: &'a LiveEnv,
    name: String,
}

impl<'a> Policy<'a> {
    async fn deny(env: &'a LiveEnv, validation: Value) -> Self {
        let name = format!("test-{}", env.namespace);
        let policy = json!({"metadata": {"name": name}, "spec": {"failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["deployments"]}]},
            "validations": [validation]}});
        let binding = json!({"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": env.namespace}}}}});
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(env.client.clone());
        let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(env.client.clone());
        let params = PostParams::default();
        policies.create(&params, &serde_json::from_value(policy).unwrap()).await.unwrap();
        bindings.create(&params, &serde_json::from_value(binding).unwrap()).await.unwrap();
        let probe: DynamicObject = serde_json::from_value(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "probe"},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "c"}]}}}}))
        .unwrap();
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        eventually("the policy is in force", TIMEOUT, async || {
            match env.deployments().create(&dry_run, &probe).await {
                Err(kube::Error::Api(answer)) if answer.message.contains(&name) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        Self { env, name }
    }

    async fn remove(&self) {
        let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(self.env.client.clone());
        bindings.delete(&self.name, &DeleteParams::default()).await.unwrap();
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(self.env.client.clone());
        policies.delete(&self.name, &DeleteParams::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_note_is_cut_at_a_character_and_keeps_its_trace() {
    let env = LiveEnv::new("event-note").await;
    let text = "([1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30]).map(i, '許可されていません👩‍💻です' + string(i)).join('・')";
    let policy = Policy::deny(&env, json!({"expression": "false", "messageExpression": text})).await;
    let greeting = json!([{"name": "GREETING", "value": "Grüße, 世界 👩‍💻 \t\u{202e} \"quoted\" $(NOT_A_VAR) $$(ESCAPED)"}]);
    env.apply("long", &with(keda(), &json!({"env": greeting}))).await;
    let condition = env.condition("long", "Reconciled", "False", "ApplyFailed").await;
    assert!(condition.message.contains("許可されていません👩‍💻です30"), "{}", condition.message);
    let event = env.event("long", "Warning", "ReconcileFailed").await;
    let note = event.note.unwrap();
    assert!(note.len() <= 1024 && note.len() > 1000 && note.contains('…'), "{}: {note}", note.len());
    let trace = note.rsplit_once(" (trace ").and_then(|(_, end)| end.strip_suffix(')')).unwrap_or_default();
    assert!(trace.len() == 32 && trace.bytes().all(|b| b.is_ascii_hexdigit()), "{note}");
    env.failed("rejected").await;
    no_event_is_lost(&env).await;
    policy.remove().await;
    env.ready("long").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_403_of_a_policy_is_rejected_not_forbidden() {
    let env = LiveEnv::new("event-policy").await;
    let denied = json!({"expression": "false", "reason": "Forbidden", "message": "User \"eve\" cannot patch resource \"deployments\""});
    let policy = Policy::deny(&env, denied).await;
    env.apply("web", &keda()).await;
    env.condition("web", "Reconciled", "False", "ApplyFailed").await;
    env.failed("rejected").await;
    assert_eq!(env.errors("forbidden").await, 0.0);
    policy.remove().await;
    env.ready("web").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_down_loses_no_event() {
    let env = LiveEnv::new("event-webhook").await;
    let hook = |group: &str, resource: &str| {
        json!({"name": format!("{resource}.event-webhook.example.com"), "clientConfig": {"url": "https://127.0.0.1:9/no"}, "failurePolicy": "Fail",
            "timeoutSeconds": 5, "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": env.namespace}},
            "rules": [{"apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": [resource]}]})
    };
    let name = format!("test-{}", env.namespace);
    let configuration = json!({"metadata": {"name": name}, "webhooks": [hook("apps", "deployments"), hook("events.k8s.io", "events")]});
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(env.client.clone());
    let configuration = serde_json::from_value(configuration).unwrap();
    configurations.create(&PostParams::default(), &configuration).await.unwrap();
    let probe: DynamicObject = serde_json::from_value(
        json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "probe"}, "eventTime": "2026-01-01T00:00:00.000000Z",
            "reason": "R", "action": "A", "type": "Normal", "reportingController": "test.elpio.io/x", "reportingInstance": "x",
            "regarding": {"namespace": env.namespace}}),
    )
    .unwrap();
    let events = env.any("events.k8s.io/v1", "Event", "events");
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    eventually("the webhooks are asked", TIMEOUT, async || match events.create(&dry_run, &probe).await {
        Err(kube::Error::Api(answer)) if answer.code == 500 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    env.apply("web", &keda()).await;
    let condition = env.condition("web", "Reconciled", "False", "ApplyFailed").await;
    assert!(condition.message.contains("deployments.event-webhook.example.com"), "{}", condition.message);
    env.failed("unavailable").await;
    let services = env.any("v1", "Service", "services");
    env.object(&services, "web", "applied all the same", |_| true).await;
    assert_eq!(env.events("web").await.len(), 0, "the Event's webhook is down too");
    configurations.delete(&name, &DeleteParams::default()).await.unwrap();
    env.ready("web").await;
    // The Event of the failure arrives late, and is not lost.
    env.event("web", "Warning", "ReconcileFailed").await;
    no_event_is_lost(&env).await;
}
