//! Whose pods answer for a host: by requests through the HTTP add-on's own interceptor.

use elpio_cluster::suite::StepTimer;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::{
    environment::{Environment, image, with},
    keda::request,
};

fn on_keda(ingress: &Value) -> Value {
    with(&image("web", "v1"), &json!({"engine": "keda", "scaling": {"minScale": 1}, "ingress": ingress}))
}

/// The Service that answers for this host, as the interceptor routes it.
async fn who_answers(environment: &Environment, host: &str) -> String {
    let interceptor = environment.env.interceptor.trim_start_matches("http://");
    let answer = request(interceptor, host).await;
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    body.lines().next().unwrap_or_default().to_owned()
}

pub async fn a_host_answers_for_one_namespace() {
    let (shop, squat) = (Environment::new("shop").await, Environment::new("squat").await);
    let mut clock = StepTimer::start("hosts::a_host_answers_for_one_namespace");
    let (shop_host, squat_host) = (format!("web.{}", shop.namespace), format!("web.{}", squat.namespace));
    // Two labels, as an internal host used to have.
    squat.apply("ElpioService", "web", &on_keda(&json!({"host": shop_host}))).await;
    squat.ready("web").await;
    shop.apply("ElpioService", "web", &on_keda(&json!({}))).await;
    shop.ready("web").await;
    clock.step("both are ready");
    for host in [format!("{shop_host}.svc"), format!("{shop_host}.svc.cluster.local")] {
        assert_eq!(who_answers(&shop, &host).await, shop_host, "{host}");
        let object = json!({"spec": {"ingress": {"host": host}}});
        let refused = squat.services().patch("web", &PatchParams::default(), &Patch::Merge(object)).await;
        let refused = refused.expect_err("the schema refuses it").to_string();
        assert!(refused.contains("spec.ingress.host"), "{refused}");
    }
    assert_eq!(who_answers(&shop, &shop_host).await, squat_host, "its own host");
    clock.step("each host is answered by its owner");
}

pub async fn the_second_claimant_gets_no_request() {
    let (first, second) = (Environment::new("first").await, Environment::new("second").await);
    let mut clock = StepTimer::start("hosts::the_second_claimant_gets_no_request");
    let host = "one-host.example.com";
    first.apply("ElpioService", "web", &on_keda(&json!({"host": host}))).await;
    first.ready("web").await;
    clock.step("the first is ready");
    second.apply("ElpioService", "web", &on_keda(&json!({"host": host}))).await;
    let is_conflict = |it: &elpio_operator::api::condition::Condition| it.reason == "NameConflict";
    second.condition("web", "Reconciled", is_conflict).await;
    let routes = second.any("http.keda.sh/v1alpha1", "HTTPScaledObject");
    for _ in 0..10 {
        assert_eq!(who_answers(&first, host).await, format!("web.{}", first.namespace));
    }
    assert_eq!(routes.list(&ListParams::default()).await.unwrap().items.len(), 0);
    assert_eq!(second.deployments().list(&ListParams::default()).await.unwrap().items.len(), 0);
    clock.step("ten requests were answered by the first");
    first.services().delete("web", &DeleteParams::default()).await.unwrap();
    second.ready("web").await;
    first.none_left(&[("http.keda.sh/v1alpha1", "HTTPScaledObject")]).await;
    elpio_cluster::eventually("the second answers", crate::environment::TIMEOUT, async || {
        let name = who_answers(&second, host).await;
        if name == format!("web.{}", second.namespace) { Ok(()) } else { Err(name) }
    })
    .await;
    clock.step("the first is deleted, and the second answers");
}
