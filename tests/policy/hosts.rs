//! `deploy/policies/hosts.yaml`: which hosts a namespace may ask for. In force only in namespaces of its own, since
//! other tests ask for hosts, too.

use elpio_cluster::{Cluster, eventually};
use elpio_support::report;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use serde_json::json;

use crate::{
    columns::{Kind, merged},
    manifest,
    policy_env::{self, TIMEOUT, api, installed, object},
    row::Outcome,
    writers::{ELPIO_ONLY, OPERATOR},
};

/// The annotation, the host, and whether a service may ask for it.
const CASES: &[(Option<&str>, &str, bool)] = &[
    (None, "shop.example.com", false),
    (Some(""), "shop.example.com", false),
    (Some(" , ,"), "shop.example.com", false),
    (Some("shop.example.com"), "shop.example.com", true),
    (Some("shop.example.com"), "a.shop.example.com", false),
    (Some("shop.example.com"), "myshop.example.com", false),
    (Some("a.example.com, Shop.Example.com"), "shop.example.com", true),
    (Some(".example.com"), "shop.example.com", true),
    (Some(".example.com"), "a.shop.example.com", true),
    (Some(".example.com"), "example.com", false),
    (Some(".example.com"), "evilexample.com", false),
    (Some("example.com,.example.com"), "example.com", true),
    (Some("*.example.com"), "shop.example.com", false),
];

async fn annotate(admin: &Client, namespace: &str, hosts: Option<&str>) {
    let annotations = json!({"metadata": {"annotations": {"elpio.io/hosts": hosts}}});
    let namespaces: Api<Namespace> = Api::all(admin.clone());
    namespaces.patch(namespace, &PatchParams::default(), &Patch::Merge(annotations)).await.unwrap();
}

async fn ask(api: &Api<DynamicObject>, kind: Kind, host: &str) -> Outcome {
    let spec = merged(&kind.base(), &json!({"engine": "keda", "ingress": {"host": host}}));
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    Outcome::of(api.create(&dry, &object(kind, "new", &spec)).await)
}

/// A namespace where the policy is in force.
async fn tenant(cluster: &Cluster, name: &str) -> (String, Client) {
    let namespace = cluster.namespace(name).await;
    let client = policy_env::client(cluster, &ELPIO_ONLY, &namespace).await;
    cluster
        .apply_objects(&manifest::policy("policies/hosts.yaml", "elpio-hosts").only_in(&namespace).objects())
        .await;
    (namespace, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_asks_only_for_the_hosts_of_its_annotation() {
    let cluster = installed().await;
    let (namespace, client) = tenant(cluster, "hosts").await;
    let admin = cluster.client().await;
    let mut rows = Vec::new();
    for (hosts, host, accepted) in CASES {
        annotate(&admin, &namespace, *hosts).await;
        for kind in Kind::ALL {
            let api = api(&client, kind, &namespace);
            let what = format!("{} for {host} with {hosts:?}: {accepted}", kind.name());
            // The API server learns of the annotation by a watch.
            let outcome = eventually(&what, TIMEOUT, async || {
                let outcome = ask(&api, kind, host).await;
                let is_expected = matches!(
                    (accepted, &outcome),
                    (true, Outcome::Accepted) | (false, Outcome::Forbidden(_))
                );
                if is_expected { Ok(outcome) } else { Err(format!("{outcome:?}")) }
            })
            .await;
            if let Outcome::Forbidden(message) = &outcome {
                assert!(
                    message.starts_with("spec.ingress.host: ") && message.contains(&namespace),
                    "{message}"
                );
            }
            rows.push(vec![
                hosts.unwrap_or("(none)").to_owned(),
                (*host).to_owned(),
                kind.name().to_owned(),
                outcome.letter().to_string(),
            ]);
        }
    }
    report::table("elpio.io/hosts", &["annotation", "host", "kind", ""], &rows);
}

/// An older host stays, and the operator publishes the service of a function that was judged.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_host_and_the_operator_are_not_judged() {
    let cluster = installed().await;
    let (namespace, client) = tenant(cluster, "old-host").await;
    let admin = cluster.client().await;
    let kind = Kind::Service;
    let user = api(&client, kind, &namespace);
    annotate(&admin, &namespace, Some("old.example.com")).await;
    let spec = merged(&kind.base(), &json!({"engine": "keda", "ingress": {"host": "old.example.com"}}));
    eventually("the annotation counts", TIMEOUT, async || match ask(&user, kind, "old.example.com").await {
        Outcome::Accepted => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    user.create(&PostParams::default(), &object(kind, "old", &spec)).await.unwrap();
    annotate(&admin, &namespace, None).await;
    eventually("no host may be asked for", TIMEOUT, async || {
        match ask(&user, kind, "old.example.com").await {
            Outcome::Forbidden(_) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    user.patch("old", &PatchParams::default(), &Patch::Merge(json!({"spec": {"port": 9999}}))).await.unwrap();
    let other = Patch::Merge(json!({"spec": {"ingress": {"host": "new.example.com"}}}));
    let refused = Outcome::of(user.patch("old", &PatchParams::default(), &other).await);
    assert!(matches!(refused, Outcome::Forbidden(_)), "{refused:?}");
    let operator = api(&policy_env::client(cluster, &OPERATOR, &namespace).await, kind, &namespace);
    assert_eq!(ask(&operator, kind, "new.example.com").await, Outcome::Accepted);
}
