//! Cases from the field about the specs of services: what is refused, and what both engines' pods hold.

use elpio_operator::{
    api::{self, ElpioServiceSpec, label, policy::PodSecurity},
    foreign::ChildKind,
    render::{self, Defaults, Owner},
};
use k8s_openapi::api::core::v1::{LimitRange, Namespace, Pod};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use crate::{
    live_env::{LiveEnv, find, image, with},
    service_cases::{RESTRICTED, enforce_restricted, refusal},
};

fn repository(repository: &str) -> Value {
    json!({"image": {"repository": repository}})
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_and_internal_hosts_are_rejected() {
    let env = LiveEnv::new("hosts").await;
    for (engine, host) in [("keda", "xn--mller-kva.example.com"), ("knative", "xn--mller-kva.example.org")] {
        let spec = json!({"engine": engine, "ingress": {"host": host}});
        env.apply(&format!("puny-{engine}"), &with(image("v1"), &spec)).await;
        env.ready(&format!("puny-{engine}")).await;
    }
    for host in [
        "Shop.example.com",
        "shop.example.com.",
        "*.example.com",
        "müller.example.com",
        "10.0.0.1",
        "localhost",
        "shop.apps.svc.cluster.local",
        "cluster.local",
        "shop.apps.svc",
        "printer.local",
        "shop.example.com:8443",
        "a_b.example.com",
        "-a.example.com",
        "shop..example.com",
        "shop.example.com ",
        "shop.123",
    ] {
        let refused = refusal(&env, &with(image("v1"), &json!({"ingress": {"host": host}}))).await;
        assert!(refused.as_ref().is_some_and(|m| m.contains("spec.ingress.host")), "{host}: {refused:?}");
    }
    let good = with(image("v1"), &json!({"ingress": {"host": "1.2.3.example"}}));
    assert_eq!(refusal(&env, &good).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_registry_and_its_credentials_reach_the_pods() {
    let env = LiveEnv::new("registry").await;
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    for bad in [
        "registry.example/team/app:v1",
        "app@sha256:0",
        "Registry.Example/Team/App",
        "https://registry.example/app",
    ] {
        let refused = refusal(&env, &repository(bad)).await;
        assert!(refused.as_ref().is_some_and(|m| m.contains("spec.image.repository")), "{bad}: {refused:?}");
    }
    let private = json!({"image": {"repository": "registry.example:5000/team/private", "digest": digest},
        "serviceAccount": "puller", "imagePullSecrets": ["registry-login"]});
    env.apply("on-knative", &private).await;
    env.apply("on-keda", &with(private.clone(), &json!({"engine": "keda"}))).await;
    for (api, name) in [(env.knative(), "on-knative"), (env.deployments(), "on-keda")] {
        let child = env.object(&api, name, "created", |_| true).await;
        let pod = &child.data["spec"]["template"]["spec"];
        assert_eq!(pod["serviceAccountName"], "puller", "{name}");
        assert_eq!(pod["imagePullSecrets"], json!([{"name": "registry-login"}]), "{name}");
        assert_eq!(pod["containers"][0]["image"], format!("registry.example:5000/team/private@{digest}"));
    }
}

/// The pod of a service on KEDA, as the Deployment controller would create it.
fn pod(security: PodSecurity) -> Pod {
    let spec: ElpioServiceSpec =
        serde_json::from_value(with(image("v1"), &json!({"engine": "keda"}))).unwrap();
    let defaults = Defaults { pod_security: security, ..Defaults::default() };
    let valid = render::validate("strict", &spec, None, &defaults).unwrap();
    let owner = Owner {
        api_version: api::API_VERSION,
        kind: "ElpioService",
        namespace: "n",
        name: "strict",
        uid: "u",
        label: (label::SERVICE, "strict"),
        build: None,
    };
    let children = render::render(&owner, &valid, &defaults).children;
    let deployment = children.iter().find(|child| child.id.kind == ChildKind::Deployment).unwrap();
    let spec = &deployment.body()["spec"]["template"]["spec"];
    serde_json::from_value(json!({"metadata": {"name": "strict"}, "spec": spec})).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn pod_security_is_obeyed_and_a_refusal_is_reported() {
    let env = LiveEnv::with("pod-security", &[("ELPIO_ENGINE", "keda")]).await;
    enforce_restricted(&env).await;
    let pods: Api<Pod> = Api::namespaced(env.client.clone(), &env.namespace);
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let answer = async |security| pods.create(&dry_run, &pod(security)).await.map_err(|e| e.to_string());
    answer(PodSecurity::Enabled).await.expect("a restricted namespace takes it");
    let refused = answer(PodSecurity::RootAllowed).await.unwrap_err();
    assert!(refused.contains("runAsNonRoot") && !refused.contains("seccompProfile"), "{refused}");
    let refused = answer(PodSecurity::Disabled).await.unwrap_err();
    assert!(refused.contains("seccompProfile"), "{refused}");

    // By default, the refusal's own sentence, within seconds.
    env.apply("strict", &with(image("v1"), &json!({"scaling": {"minScale": 1}}))).await;
    let engine = env.condition("strict", "EngineReady", "False", "FailedCreate").await;
    assert!(engine.message.contains("violates PodSecurity"), "{}", engine.message);

    let namespaces: Api<Namespace> = Api::all(env.client.clone());
    let patch = Patch::Merge(json!({"metadata": {"labels": {RESTRICTED: null}}}));
    namespaces.patch(&env.namespace, &PatchParams::default(), &patch).await.unwrap();
    env.ready("strict").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_range_is_obeyed_and_a_refusal_is_reported() {
    let env = LiveEnv::with("limit-range", &[("ELPIO_ENGINE", "keda")]).await;
    let ranges: Api<LimitRange> = Api::namespaced(env.client.clone(), &env.namespace);
    let limits = json!([{"type": "Container", "max": {"memory": "64Mi"}}]);
    let range = json!({"metadata": {"name": "small"}, "spec": {"limits": limits}});
    ranges.create(&PostParams::default(), &serde_json::from_value(range).unwrap()).await.unwrap();
    let spec = |memory: &str| {
        let more = json!({"scaling": {"minScale": 1}, "resources": {"limits": {"memory": memory}}});
        with(image("v1"), &more)
    };
    env.apply("app", &spec("128Mi")).await;
    let engine = env.condition("app", "EngineReady", "False", "FailedCreate").await;
    assert!(engine.message.contains("maximum memory usage per Container is 64Mi"), "{}", engine.message);
    env.apply("app", &spec("64Mi")).await;
    env.ready("app").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_waits_until_its_edited_secret_is_synced() {
    let env = LiveEnv::new("secret-edit").await;
    let spec = |key: &str| {
        let data = json!([{"secretKey": "password", "remoteKey": key}]);
        with(image("v1"), &json!({"externalSecrets": [{"name": "db", "storeRef": "vault", "data": data}]}))
    };
    env.apply("web", &spec("db")).await;
    env.ready("web").await;
    env.engine.hold();
    env.apply("web", &spec("other")).await;
    let waiting = env.condition("web", "SecretsReady", "False", "Progressing").await;
    assert!(waiting.message.contains("has not synced its latest generation yet"), "{}", waiting.message);
    env.engine.release();
    env.ready("web").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_reaches_the_container_its_probe_and_its_variable() {
    let env = LiveEnv::with("port", &[("ELPIO_ENGINE", "keda")]).await;
    let probe = json!({"path": "/healthz?full=1", "periodSeconds": 5});
    let spec = |port: i32| with(image("v1"), &json!({"port": port, "readinessProbe": probe}));
    env.apply("app", &spec(3000)).await;
    env.ready("app").await;
    let pod = |o: &DynamicObject| o.data["spec"]["template"]["spec"].clone();
    let live = pod(&env.deployments().get("app").await.unwrap());
    assert_eq!(
        (&live["enableServiceLinks"], &live["serviceAccountName"]),
        (&json!(false), &json!("default"))
    );
    assert_eq!(live["containers"][0]["env"], json!([{"name": "PORT", "value": "3000"}]));
    assert_eq!(live["containers"][0]["readinessProbe"]["httpGet"]["path"], "/healthz?full=1");

    env.apply("app", &spec(3001)).await;
    env.ready("app").await;
    let live = pod(&env.deployments().get("app").await.unwrap());
    let container = &live["containers"][0];
    assert_eq!(container["ports"].as_array().map(Vec::len), Some(1), "{container}");
    assert_eq!(container["ports"][0]["containerPort"], 3001);
    assert_eq!(container["readinessProbe"]["httpGet"]["port"], 3001);
    assert_eq!(container["env"], json!([{"name": "PORT", "value": "3001"}]));

    let own = json!({"env": [{"name": "PORT", "value": "9"}]});
    env.apply("app", &with(image("v1"), &own)).await;
    env.object(&env.deployments(), "app", "the user's PORT, and a probe of the port", |o| {
        let container = &pod(o)["containers"][0];
        container["env"] == own["env"] && container["readinessProbe"]["tcpSocket"]["port"] == 8080
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_of_one_secret_are_rejected() {
    let env = LiveEnv::new("one-secret").await;
    let secret = |name: &str, target: &str| json!({"name": name, "storeRef": "vault", "secretName": target, "data": [{"secretKey": "k", "remoteKey": "r"}]});
    let twice = json!({"externalSecrets": [secret("a", "db"), secret("b", "db")]});
    let tls =
        json!({"externalSecrets": [secret("a", "app-tls")], "ingress": {"host": "a.example", "tls": true}});
    for fields in [twice, tls] {
        let refused = refusal(&env, &with(image("v1"), &fields)).await;
        assert!(refused.as_ref().is_some_and(|m| m.contains("externalSecrets")), "{fields}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_custom_domain_takes_an_internal_host() {
    let env = LiveEnv::with("internal-host", &[("ELPIO_ENGINE", "keda")]).await;
    env.apply("web", &image("v1")).await;
    let scaled = env.any("http.keda.sh/v1alpha1", "HTTPScaledObject", "httpscaledobjects");
    let live = env.object(&scaled, "web", "created", |_| true).await;
    let inside = format!("web.{}.svc", env.namespace);
    assert_eq!(live.data["spec"]["hosts"], json!([inside, format!("{inside}.cluster.local")]));
    let ready = find(&env.ready("web").await, "Ready").unwrap();
    assert!(ready.message.ends_with(&format!("(send the header Host: {inside})")), "{}", ready.message);
    for host in live.data["spec"]["hosts"].as_array().unwrap() {
        let refused = refusal(&env, &with(image("v1"), &json!({"ingress": {"host": host}}))).await;
        assert!(refused.as_ref().is_some_and(|m| m.contains("spec.ingress.host")), "{host}: {refused:?}");
    }
}

/// What the engine cannot do is named for as long as it is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn ignored_fields_are_reported_while_they_are_set() {
    let env = LiveEnv::with("ignored", &[("ELPIO_ENGINE", "keda")]).await;
    env.apply("web", &with(image("v1"), &json!({"ingress": {"enabled": false}}))).await;
    env.ready("web").await;
    let named = env.condition("web", "Reconciled", "True", "Reconciled").await;
    assert!(named.message.contains("ingress.enabled"), "{}", named.message);
    env.event("web", "Warning", "FieldIgnored").await;
    env.apply("web", &image("v1")).await;
    env.ready("web").await;
    let silent = env.condition("web", "Reconciled", "True", "Reconciled").await;
    assert!(!silent.message.contains("ingress.enabled"), "{}", silent.message);
    // Only the operator knows its default engine.
    env.apply("web", &with(image("v1"), &json!({"traffic": [{"latestRevision": true, "percent": 100}]})))
        .await;
    let invalid = env.condition("web", "Reconciled", "False", "InvalidSpec").await;
    assert!(invalid.message.starts_with("spec.traffic: "), "{}", invalid.message);
}
