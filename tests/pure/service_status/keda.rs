//! A service on KEDA: its autoscaler, its Deployment, and a start from zero.

use super::*;

#[test]
fn keda_waits_for_the_autoscaler_and_the_deployment() {
    let mut story = Story::<ElpioServiceStatus>::default();
    let spec = with(
        image("v1"),
        &json!({"engine": "keda", "ingress": {"host": "web.example.org", "tls": true}, "scaling": {"concurrencyLimit": 5}}),
    );
    let edit = with(spec.clone(), &json!({"image": {"repository": "example.com/web", "tag": "v2"}}));
    let service = child("v1", "Service", "web", 1, &json!({}));
    let rollout = |generation: i64, seen: i64, replicas: i64, available: i64| {
        let complete = json!({"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"});
        let count = json!({"observedGeneration": seen, "replicas": replicas, "updatedReplicas": replicas, "availableReplicas": available});
        let mut object = child(
            "apps/v1",
            "Deployment",
            "web",
            generation,
            &with(count, &json!({"conditions": [complete]})),
        );
        object["spec"] = json!({"replicas": replicas});
        object
    };
    let deployment = |available: i64| {
        let mut object = rollout(1, 1, 1, available);
        object["status"].as_object_mut().unwrap().remove("conditions");
        object
    };
    let scaler = |ready: &str| {
        conditioned("http.keda.sh/v1alpha1", "HTTPScaledObject", "web", ready, "PendingCreation", "not yet")
    };
    let right = [(ChildKind::Deployment, ChildOutcome::Unchanged)];
    let held = [(ChildKind::Service, ChildOutcome::NameInUse { holder: "Service web of Route web".into() })];
    story
        .step("Knative still holds the name", 1, &spec, &[deployment(0)], &held, false)
        .step("it let go", 1, &spec, &[deployment(0), service.clone(), scaler("Unknown")], &[], false)
        .step(
            "a replica is there",
            1,
            &spec,
            &[deployment(1), service.clone(), scaler("Unknown")],
            &[],
            false,
        )
        .step(
            "the autoscaler is ready",
            1,
            &spec,
            &[deployment(1), service.clone(), scaler("True")],
            &[],
            false,
        )
        .step(
            "it scales, which is not seen yet",
            1,
            &spec,
            &[rollout(2, 1, 1, 1), service.clone(), scaler("True")],
            &right,
            false,
        )
        .step(
            "replicas start beside the first",
            1,
            &spec,
            &[rollout(2, 2, 3, 1), service.clone(), scaler("True")],
            &right,
            false,
        )
        .step(
            "all are there",
            1,
            &spec,
            &[rollout(2, 2, 3, 3), service.clone(), scaler("True")],
            &right,
            false,
        )
        .step("one is gone", 1, &spec, &[rollout(2, 2, 3, 2), service.clone(), scaler("True")], &right, false)
        .step("it is back", 1, &spec, &[rollout(2, 2, 3, 3), service.clone(), scaler("True")], &right, false)
        .step(
            "we put something right, which is not seen yet",
            1,
            &spec,
            &[rollout(3, 2, 3, 3), service.clone(), scaler("True")],
            &[],
            false,
        )
        .step(
            "still not seen",
            1,
            &spec,
            &[rollout(3, 2, 3, 3), service.clone(), scaler("True")],
            &right,
            false,
        )
        .step("seen", 1, &spec, &[rollout(3, 3, 3, 3), service.clone(), scaler("True")], &right, false)
        .step(
            "an edit, which is not seen yet",
            2,
            &edit,
            &[rollout(4, 3, 3, 3), service.clone(), scaler("True")],
            &[],
            false,
        )
        .step("rolled out", 2, &edit, &[rollout(4, 4, 3, 3), service.clone(), scaler("True")], &right, false)
        .step(
            "all replicas are gone",
            2,
            &edit,
            &[rollout(4, 4, 3, 0), service, scaler("True")],
            &right,
            false,
        );
    story.compare("keda");
}

/// The autoscaler's own work is no transition; a start that fails is one.
#[test]
fn a_start_from_zero_changes_nothing_until_it_fails() {
    let mut story = Story::<ElpioServiceStatus>::default();
    let spec = with(image("v1"), &json!({"engine": "keda"}));
    let service = child("v1", "Service", "web", 1, &json!({}));
    let scaler = conditioned("http.keda.sh/v1alpha1", "HTTPScaledObject", "web", "True", "", "");
    let deployment = |desired: i64, available: i64, failure: Option<&str>| {
        let progressing =
            json!({"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"});
        let is_available = json!({"type": "Available", "status": if available < desired { "False" } else { "True" },
            "reason": "MinimumReplicasUnavailable", "message": "Deployment does not have minimum availability.",
            "lastTransitionTime": "2027-01-15T08:01:00Z"});
        let refused = failure.map(|message| json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}));
        let conditions: Vec<Value> = [progressing, is_available].into_iter().chain(refused).collect();
        let status = json!({"observedGeneration": 1, "replicas": desired, "updatedReplicas": desired,
            "availableReplicas": available, "conditions": conditions});
        let mut object = child("apps/v1", "Deployment", "web", 1, &status);
        object["spec"] = json!({"replicas": desired});
        object
    };
    let kept = [(ChildKind::Deployment, ChildOutcome::Unchanged)];
    let mut step = |what: &str, deployment: Value| {
        let children = [deployment, service.clone(), scaler.clone()];
        story.step(what, 1, &spec, &children, &kept, false);
    };
    step("ready", deployment(1, 1, None));
    step("it sleeps", deployment(0, 0, None));
    step("it wakes", deployment(1, 0, None));
    step("it is awake", deployment(1, 1, None));
    step("it sleeps again", deployment(0, 0, None));
    step("it wakes, and its pod is refused", deployment(1, 0, Some("pods is forbidden: exceeded quota")));
    step("it is awake after all", deployment(1, 1, None));
    step("it sleeps once more", deployment(0, 0, None));
    step("it wakes", deployment(1, 0, None));
    story.second += 600;
    let children = [deployment(1, 0, None), service, scaler];
    story.step("ten minutes later it is not awake", 1, &spec, &children, &kept, false);
    story.compare("waking");
}
