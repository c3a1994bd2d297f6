//! The life of a service on each engine: create, edit, nothing to do, drift, prune, delete.

use elpio_cluster::{FakeStatus, eventually};
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use crate::live_env::{LiveEnv, TIMEOUT, children, find, image, summary, version, with};

#[tokio::test(flavor = "multi_thread")]
async fn knative_create_edit_delete() {
    let env = LiveEnv::new("life-knative").await;
    let mark = env.cluster.audit_offset();
    // An engine that is faster than a reconcile leaves nothing to wait for.
    env.engine.hold();
    env.apply("web", &image("v1")).await;
    env.condition("web", "Ready", "False", "Progressing").await;
    env.engine.release();
    let ready = env.ready("web").await;
    let status = ready.status.clone().unwrap();
    assert_eq!(status.url.as_deref(), Some(format!("http://web.{}.example.com", env.namespace).as_str()));
    assert_eq!(
        status.address.as_deref(),
        Some(format!("http://web.{}.svc.cluster.local", env.namespace).as_str())
    );
    assert_eq!(
        children(&ready).iter().map(|c| (c.kind.as_str(), c.name.as_str(), c.ready)).collect::<Vec<_>>(),
        [("Service", "web", true)]
    );

    let child = env.knative().get("web").await.unwrap();
    assert_eq!(child.labels()["app.kubernetes.io/managed-by"], "elpio");
    assert_eq!(child.owner_references()[0].uid, ready.uid().unwrap());
    assert_eq!(
        child.data.pointer("/spec/template/spec/containers/0/image").unwrap(),
        "registry.local/web:v1"
    );

    env.expect_events("ElpioService", "web", &["Normal Reconciled", "Normal Progressing", "Normal Ready"])
        .await;
    env.wait_until_idle().await;
    let asked = env.requests_since(mark).writes();
    let count = asked.count();
    assert_eq!(
        asked.clone().resource("services.serving.knative.dev").len(),
        1,
        "one apply for each child: {count:?}"
    );
    assert_eq!(asked.clone().resource("events.events.k8s.io").len(), 3, "{count:?}");
    let patches = asked.resource("elpioservices/status").len();
    assert!((1..=3).contains(&patches), "{count:?}");

    env.apply("web", &image("v2")).await;
    env.object(&env.knative(), "web", "image v2", |o| {
        o.data.pointer("/spec/template/spec/containers/0/image").unwrap() == "registry.local/web:v2"
    })
    .await;
    env.ready("web").await;

    env.services().delete("web", &DeleteParams::default()).await.unwrap();
    env.wait_until_deleted(&env.knative(), "web").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keda_http_and_cpu() {
    let env = LiveEnv::with("life-keda", &[("ELPIO_ENGINE", "keda")]).await;
    env.apply("api", &with(image("v1"), &json!({"scaling": {"metric": "rps", "minScale": 1}}))).await;
    let spec = with(
        image("v1"),
        &json!({"scaling": {"metric": "cpu", "target": 70}, "resources": {"requests": {"cpu": "100m"}}}),
    );
    env.apply("worker", &spec).await;

    let api = env.ready("api").await;
    let status = api.status.clone().unwrap();
    assert_eq!((status.url.as_deref(), status.engine.unwrap().as_str()), (None, "keda"));
    assert!(status.address.unwrap().contains("interceptor"));
    let message = find(&api, "Ready").unwrap().message;
    assert!(message.contains(&format!("Host: api.{}", env.namespace)), "{message}");
    assert_eq!(
        children(&api).iter().map(|c| c.kind.as_str()).collect::<Vec<_>>(),
        ["Deployment", "Service", "HTTPScaledObject"]
    );

    let worker = env.ready("worker").await;
    assert_eq!(
        children(&worker).iter().map(|c| c.kind.as_str()).collect::<Vec<_>>(),
        ["Deployment", "Service", "ScaledObject"]
    );
    assert_eq!(
        worker.status.unwrap().address.as_deref(),
        Some(format!("http://worker.{}.svc.cluster.local", env.namespace).as_str())
    );

    // An autoscaler owns the replicas: what it sets stays, and is no drift.
    let scale = json!({"spec": {"replicas": 3}});
    env.deployments().patch("worker", &PatchParams::default(), &Patch::Merge(scale)).await.unwrap();
    env.object(&env.deployments(), "worker", "3 available", |o| {
        o.data.pointer("/status/availableReplicas") == Some(&json!(3))
    })
    .await;
    env.wait_until_idle().await;
    let deployment = env.deployments().get("worker").await.unwrap();
    assert_eq!(deployment.data.pointer("/spec/replicas"), Some(&json!(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_from_zero_that_hangs_is_seen_without_an_event() {
    let env = LiveEnv::with("hanging-start", &[("ELPIO_ENGINE", "keda")]).await;
    env.apply("sleepy", &image("v1")).await;
    env.ready("sleepy").await;
    let deployments = env.deployments();
    let patch = async |patch: Value| {
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        deployments.patch("sleepy", &params, &patch).await.unwrap();
    };
    patch(json!({"spec": {"replicas": 0, "progressDeadlineSeconds": 5}})).await;
    let unavailable = |replicas: u64| {
        move |o: &DynamicObject| {
            let number = |field: &str| o.data["status"][field].as_u64().unwrap_or(0);
            let observed = o.data["status"]["observedGeneration"].as_i64() == o.metadata.generation;
            observed && (number("replicas"), number("availableReplicas")) == (replicas, 0)
        }
    };
    env.object(&deployments, "sleepy", "asleep", unavailable(0)).await;
    env.ready("sleepy").await;
    env.engine.set_status("Pod", "*", FakeStatus::Pending);
    patch(json!({"spec": {"replicas": 1}})).await;
    let waking = env.object(&deployments, "sleepy", "waking", unavailable(1)).await;
    env.condition("sleepy", "Ready", "False", "MinimumReplicasUnavailable").await;
    let now = deployments.get("sleepy").await.unwrap();
    assert_eq!(version(&now), version(&waking), "it did not change meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_right_is_not_written() {
    let env = LiveEnv::new("life-noop").await;
    // An engine that is faster than a reconcile leaves nothing to wait for.
    env.engine.hold();
    env.apply("web", &image("v1")).await;
    env.condition("web", "Ready", "False", "Progressing").await;
    env.engine.release();
    env.ready("web").await;
    // Events are written after the status, and beside the work queue.
    env.expect_events("ElpioService", "web", &["Normal Reconciled", "Normal Progressing", "Normal Ready"])
        .await;
    env.wait_until_idle().await;
    let mark = env.cluster.audit_offset();
    let turns = env
        .operator
        .sample("elpio_reconcile_total", &[("kind", "ElpioService"), ("result", "success")])
        .await
        .unwrap();
    // An annotation that the operator reads causes a reconcile, which finds everything in place.
    let note = json!({"metadata": {"annotations": {"elpio.io/rebuild": "1"}}});
    env.services().patch("web", &PatchParams::default(), &Patch::Merge(note)).await.unwrap();
    elpio_cluster::eventually("the operator has looked", crate::live_env::TIMEOUT, async || {
        let now = env
            .operator
            .sample("elpio_reconcile_total", &[("kind", "ElpioService"), ("result", "success")])
            .await
            .unwrap();
        if now > turns { Ok(()) } else { Err(format!("{now} reconciles")) }
    })
    .await;
    env.wait_until_idle().await;
    let asked = env.requests_since(mark);
    assert!(asked.is_empty(), "a settled object costs no request: {:?}", asked.count());
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_corrected_and_additions_of_others_stay() {
    let env = LiveEnv::new("life-drift").await;
    env.apply(
        "web",
        &with(image("v1"), &json!({"env": [{"name": "A", "value": "1"}, {"name": "EMPTY", "value": ""}]})),
    )
    .await;
    env.ready("web").await;
    let edit = json!({"spec": {"template": {"spec": {"containers": [{"image": "evil"}]}}}});
    env.knative().patch("web", &PatchParams::default(), &Patch::Merge(edit)).await.unwrap();
    env.object(&env.knative(), "web", "the image is back", |o| {
        o.data.pointer("/spec/template/spec/containers/0/image").unwrap() == "registry.local/web:v1"
    })
    .await;

    let addition = json!({"metadata": {"annotations": {"somebody": "else"}}});
    env.knative().patch("web", &PatchParams::default(), &Patch::Merge(addition)).await.unwrap();
    env.wait_until_idle().await;
    assert_eq!(env.knative().get("web").await.unwrap().annotations()["somebody"], "else");

    env.knative().delete("web", &DeleteParams::default()).await.unwrap();
    env.ready("web").await;
    env.object(&env.knative(), "web", "made again", |_| true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_longer_asked_for_is_deleted() {
    let env = LiveEnv::new("life-prune").await;
    let secret = json!({"externalSecrets": [{"name": "db", "storeRef": "vault", "data": [{"secretKey": "password", "remoteKey": "db"}]}]});
    let host = json!({"ingress": {"host": "web.apps.example.org", "tls": true}});
    env.apply("web", &with(with(image("v1"), &secret), &host)).await;
    let ready = env.ready("web").await;
    assert_eq!(
        children(&ready).iter().map(|c| c.kind.as_str()).collect::<Vec<_>>(),
        ["ExternalSecret", "Certificate", "Service", "DomainMapping"]
    );
    assert_eq!(ready.status.as_ref().unwrap().url.as_deref(), Some("https://web.apps.example.org"));
    for kind in ["DomainReady", "SecretsReady"] {
        assert_eq!(find(&ready, kind).map(|c| c.status), Some("True".into()), "{kind}");
    }
    let before = version(&env.knative().get("web").await.unwrap());

    env.apply("web", &image("v1")).await;
    env.wait_until_deleted(
        &env.any("serving.knative.dev/v1beta1", "DomainMapping", "domainmappings"),
        "web.apps.example.org",
    )
    .await;
    env.wait_until_deleted(
        &env.any("cert-manager.io/v1", "Certificate", "certificates"),
        "web.apps.example.org",
    )
    .await;
    env.wait_until_deleted(&env.any("external-secrets.io/v1", "ExternalSecret", "externalsecrets"), "db")
        .await;
    let ready = env.ready("web").await;
    assert_eq!(children(&ready).len(), 1);
    assert_eq!(find(&ready, "DomainReady"), None);
    assert_eq!(version(&env.knative().get("web").await.unwrap()), before, "what stays is not written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_cannot_become_ready_names_the_child_and_the_reason() {
    let env = LiveEnv::new("life-broken").await;
    env.apply("bad", &json!({"image": {"repository": "registry.local/broken", "tag": "v1"}})).await;
    let object = env
        .service("bad", "Ready=False with the engine's own reason", |o| {
            find(o, "Ready").is_some_and(|c| c.status == "False" && c.reason != "Progressing")
        })
        .await;
    let (ready, engine) = (find(&object, "Ready").unwrap(), find(&object, "EngineReady").unwrap());
    assert_eq!((&ready.reason, &ready.message), (&engine.reason, &engine.message));
    assert!(ready.message.starts_with("Knative Service bad: "), "{}", ready.message);
    let event = env.event("bad", "Warning", "Progressing").await;
    assert!(event.note.as_ref().unwrap().contains(&ready.reason), "{:?}", event.note);
    assert_eq!(event.related.as_ref().unwrap().kind.as_deref(), Some("Service"));
    let rollout = object.status.unwrap().rollout.unwrap();
    let trace = rollout.trace_id.unwrap();
    assert!(event.note.unwrap().ends_with(&format!("(trace {trace})")));
    assert_eq!(event.metadata.annotations.unwrap()["elpio.io/trace-id"], trace);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ready_service_that_falls_reports_it_and_rises_again() {
    use elpio_cluster::FakeStatus;
    let env = LiveEnv::new("life-flap").await;
    env.apply("web", &image("v1")).await;
    env.ready("web").await;
    env.engine.set_status(
        "Service",
        "web",
        FakeStatus::NotReady { reason: "RevisionFailed".into(), message: "out of memory".into() },
    );
    env.condition("web", "Ready", "False", "RevisionFailed").await;
    let event = env.event("web", "Warning", "Progressing").await;
    assert!(event.note.unwrap().contains("out of memory"));
    env.engine.set_status("Service", "web", FakeStatus::Ready);
    env.ready("web").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_cause_that_a_child_reports_has_an_event_of_its_own() {
    let env = LiveEnv::with("life-causes", &[("ELPIO_ENGINE", "keda")]).await;
    env.engine.set_status("HTTPScaledObject", "web", FakeStatus::Unchanged);
    env.apply("web", &with(image("v1"), &json!({"ingress": {"host": "causes.example.com"}}))).await;
    env.event("web", "Normal", "Progressing").await;
    for (reason, message) in [("ScaledObjectCheckFailed", "exceeded quota"), ("Unknown", "no such trigger")] {
        let status = FakeStatus::NotReady { reason: reason.into(), message: message.into() };
        env.engine.set_status("HTTPScaledObject", "web", status);
        env.condition("web", "Ready", "False", reason).await;
        eventually(&format!("an Event says {message:?}"), TIMEOUT, async || {
            let events = env.events("web").await;
            let has_cause = events.iter().any(|event| event.note.as_ref().unwrap().contains(message));
            if has_cause { Ok(()) } else { Err(summary(&events)) }
        })
        .await;
    }
}
