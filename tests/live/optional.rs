//! Clusters that lack something, lose it, or hold something that cannot be read: what that means for the
//! objects, and how they go on by themselves.

use std::time::{Duration, Instant};

use elpio_cluster::{Cluster, ClusterOptions, Crds, Operator, eventually, open_schema};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::json;

use crate::live_env::{LiveEnv, TIMEOUT, binary, find, image, with};

/// A cluster of the test's own, kept for the life of the process.
async fn own(options: ClusterOptions) -> &'static Cluster {
    Box::leak(Box::new(Cluster::start(options).await))
}

/// The service `web` waits meanwhile.
async fn knative_goes_and_comes_back(env: &LiveEnv) {
    Crds::KNATIVE.delete(&env.client).await;
    let condition = env.condition("web", "Reconciled", "False", "DependencyMissing").await;
    assert!(condition.message.contains("Knative Serving"), "{}", condition.message);
    env.cluster.apply_crds(&[Crds::KNATIVE]).await;
    env.ready("web").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apis_come_and_go() {
    let cluster =
        own(ClusterOptions { crds: vec![Crds::ELPIO], audit: true, ..ClusterOptions::default() }).await;
    let env = LiveEnv::on(cluster, "optional", &cluster.kubeconfig(), &[]).await;
    let tls = json!({"ingress": {"host": "web.apps.example.org", "tls": true}});
    env.apply("web", &with(image("v1"), &tls)).await;
    let condition = env.condition("web", "Reconciled", "False", "DependencyMissing").await;
    assert!(
        condition.message.contains("Knative Serving") && condition.message.contains("cert-manager"),
        "{}",
        condition.message
    );
    env.event("web", "Warning", "ReconcileFailed").await;
    env.failed("dependency_missing").await;

    cluster.apply_crds(&[Crds::KNATIVE]).await;
    env.object(&env.knative(), "web", "made when Knative came", |_| true).await;
    // A definition is served a moment after another: the DomainMapping may be named until its own has come.
    let only_cert_manager =
        |message: &str| message.contains("cert-manager") && !message.contains("Knative Serving");
    env.service("web", "only cert-manager is missing", |o| {
        find(o, "Reconciled").is_some_and(|c| only_cert_manager(&c.message))
    })
    .await;
    let mappings = env.any("serving.knative.dev/v1beta1", "DomainMapping", "domainmappings");
    assert_eq!(mappings.get_opt("web.apps.example.org").await.unwrap(), None, "it waits for its Certificate");

    cluster.apply_crds(&[Crds::CERT_MANAGER]).await;
    env.ready("web").await;

    knative_goes_and_comes_back(&env).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_waits_for_tekton() {
    let cluster =
        own(ClusterOptions { crds: vec![Crds::ELPIO, Crds::KNATIVE], ..ClusterOptions::default() }).await;
    let env = LiveEnv::on(cluster, "no-tekton", &cluster.kubeconfig(), &[]).await;
    let functions = env.any("elpio.io/v1alpha1", "ElpioFunction", "elpiofunctions");
    let spec = json!({"source": {"archive": "https://files.example.com/hello.tgz"}, "runtime": "python", "image": "registry.local/hello"});
    let object = json!({"apiVersion": "elpio.io/v1alpha1", "kind": "ElpioFunction", "metadata": {"name": "hello"}, "spec": spec});
    functions
        .create(&kube::api::PostParams::default(), &serde_json::from_value(object).unwrap())
        .await
        .unwrap();
    let mentions = |o: &kube::core::DynamicObject, part: &str| {
        o.data.pointer("/status/conditions").is_some_and(|c| c.to_string().contains(part))
    };
    let waiting = env
        .object(&functions, "hello", "DependencyMissing", |o| {
            mentions(o, "DependencyMissing") && mentions(o, "Tekton Pipelines")
        })
        .await;
    assert_eq!(waiting.data.pointer("/status/phase"), Some(&json!("Pending")));
    cluster.apply_crds(&[Crds::TEKTON]).await;
    env.object(&functions, "hello", "building", |o| {
        o.data.pointer("/status/phase") == Some(&json!("Building"))
    })
    .await;
    env.expect_events("ElpioFunction", "hello", &["Warning ReconcileFailed", "Normal BuildStarted"]).await;
}

/// Served from the start: no definition came that would be asked for soon.
#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_was_always_served_goes_away() {
    let cluster =
        own(ClusterOptions { crds: vec![Crds::ELPIO, Crds::KNATIVE], ..ClusterOptions::default() }).await;
    let env = LiveEnv::on(cluster, "withdrawn", &cluster.kubeconfig(), &[]).await;
    env.apply("web", &image("v1")).await;
    env.ready("web").await;
    knative_goes_and_comes_back(&env).await;
}

/// From now on this version of `ExternalSecret` is served alone.
async fn serve_external_secrets(client: &Client, version: &str) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = "externalsecrets.external-secrets.io";
    let mut versions = api.get(name).await.unwrap().spec.versions;
    for known in &mut versions {
        known.served = known.name == version;
    }
    let patch = Patch::Merge(json!({"spec": {"versions": versions}}));
    api.patch(name, &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn external_secrets_are_written_at_the_version_that_is_served() {
    let cluster = own(ClusterOptions {
        crds: vec![Crds::ELPIO, Crds::KNATIVE, Crds::EXTERNAL_SECRETS],
        ..ClusterOptions::default()
    })
    .await;
    let client = cluster.client().await;
    serve_external_secrets(&client, "v1beta1").await;
    let env = LiveEnv::on(cluster, "eso-beta", &cluster.kubeconfig(), &[]).await;
    let secret = |key: &str| {
        let data = json!([{"secretKey": "password", "remoteKey": key}]);
        with(image("v1"), &json!({"externalSecrets": [{"name": "db", "storeRef": "vault", "data": data}]}))
    };
    let written = async |version: &str, key: &str| {
        let api = env.any(&format!("external-secrets.io/{version}"), "ExternalSecret", "externalsecrets");
        let is_new = |o: &DynamicObject| o.data.pointer("/spec/data/0/remoteRef/key") == Some(&json!(key));
        env.object(&api, "db", &format!("written with {key}"), is_new).await;
        env.ready("web").await;
    };
    env.apply("web", &secret("first")).await;
    written("v1beta1", "first").await;

    serve_external_secrets(&client, "v1").await;
    env.apply("web", &secret("second")).await;
    written("v1", "second").await;
    // The watch of the version that went is no silent watch.
    let switched = Instant::now();
    env.apply("web", &secret("third")).await;
    written("v1", "third").await;
    eventually("the age is that of the new watch", TIMEOUT, async || {
        let age = env.operator.sample("elpio_watch_age_seconds", &[("resource", "ExternalSecret")]).await;
        let is_young = age.is_some_and(|age| age < switched.elapsed().as_secs_f64());
        if is_young { Ok(()) } else { Err(format!("{age:?} after {:?}", switched.elapsed())) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_goes_away_and_comes_back() {
    let cluster = own(ClusterOptions { crds: Crds::ALL.to_vec(), ..ClusterOptions::default() }).await;
    let mut env = LiveEnv::on(cluster, "outage", &cluster.kubeconfig(), &[]).await;
    env.engine.hold();
    env.apply("web", &image("v1")).await;
    env.condition("web", "Ready", "False", "Progressing").await;
    cluster.stop_api_server().await;
    eventually("the operator has noticed", TIMEOUT, async || {
        let log = env.operator.log();
        if log.contains("watch failed") { Ok(()) } else { Err(log) }
    })
    .await;
    assert!(
        env.operator.is_running() && env.operator.is_ready().await,
        "an outage is no reason to be restarted"
    );
    cluster.start_api_server().await;
    env.engine.release();
    env.ready("web").await;
    env.apply("next", &image("v1")).await;
    env.ready("next").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_undecodable_object_stops_nobody() {
    let cluster =
        own(ClusterOptions { crds: vec![Crds::ELPIO, Crds::KNATIVE], ..ClusterOptions::default() }).await;
    let client = cluster.client().await;
    open_schema(&client, "elpioservices.elpio.io").await;
    let env = LiveEnv::on(cluster, "undecodable", &cluster.kubeconfig(), &[]).await;
    let bad = json!({"image": {"repository": "registry.local/web"}, "port": "eighty", "env": [{"name": 7}]});
    let services = env.any("elpio.io/v1alpha1", "ElpioService", "elpioservices");
    let object = json!({"apiVersion": "elpio.io/v1alpha1", "kind": "ElpioService", "metadata": {"name": "bad"}, "spec": bad});
    eventually("the loose schema takes it", TIMEOUT, async || {
        services
            .create(&kube::api::PostParams::default(), &serde_json::from_value(object.clone()).unwrap())
            .await
            .map(|_| ())
            .map_err(|e| e.to_string())
    })
    .await;
    let bad = env
        .object(&services, "bad", "InvalidSpec", |o| {
            let conditions =
                o.data.pointer("/status/conditions").and_then(|c| c.as_array().cloned()).unwrap_or_default();
            conditions.iter().any(|c| {
                c["type"] == "Reconciled"
                    && c["reason"] == "InvalidSpec"
                    && c["message"].as_str().unwrap().contains("spec.")
            })
        })
        .await;
    let _ = bad;
    env.apply("good", &image("v1")).await;
    env.ready("good").await;
    env.failed("invalid_spec").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_own_definitions_it_waits_and_reports_it() {
    let cluster = own(ClusterOptions { crds: vec![Crds::KNATIVE], ..ClusterOptions::default() }).await;
    let operator = Operator::spawn(binary(), &cluster.kubeconfig(), &[]);
    let lines = |kind| operator.log().matches(&format!("Definition of {kind} is not installed")).count();
    let reported = || [lines("ElpioService"), lines("ElpioFunction")];
    eventually("it mentions what is missing", TIMEOUT, async || {
        if reported().contains(&0) { Err(operator.log()) } else { Ok(()) }
    })
    .await;
    assert!(!operator.is_ready().await);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(reported(), [1, 1], "once for each kind, as long as nothing changes");
    cluster.apply_crds(&[Crds::ELPIO]).await;
    eventually("it is ready", Duration::from_secs(90), async || {
        if operator.is_ready().await { Ok(()) } else { Err(operator.log_tail()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_api_server_is_waited_out() {
    let cluster =
        own(ClusterOptions { crds: vec![Crds::ELPIO, Crds::KNATIVE], ..ClusterOptions::default() }).await;
    let env = LiveEnv::on(cluster, "paused", &cluster.kubeconfig(), &[]).await;
    env.apply("web", &image("v1")).await;
    let ready = env.ready("web").await;
    cluster.pause_api_server();
    assert!(env.operator.is_ready().await, "readiness mentions what we know, not what the API server does");
    cluster.resume_api_server();
    env.apply("web", &image("v2")).await;
    env.ready("web").await;
    assert!(find(&ready, "Ready").is_some());
}
