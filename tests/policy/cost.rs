//! The biggest objects that the schema admits stay inside the budget of a policy's expressions. Dry runs only.

use kube::api::PostParams;
use serde_json::{Value, json};

use crate::{
    columns::{Kind, columns, merged},
    policy_env::{self, api, installed, object},
    row::Outcome,
    table::in_force,
    writers::{ELPIO_ONLY, Identity, WRITERS},
};

/// As many names of Secrets as a spec can hold, 253 characters each.
fn secrets(round: &str) -> Value {
    let name = |number: usize| format!("{round}{}{number:0>3}", "s".repeat(249));
    let variables = |number: usize| json!({"name": format!("V{number}"), "valueFrom": {"secretKeyRef": {"name": name(number), "key": "k"}}});
    let variables: Vec<Value> = (0..500).map(variables).collect();
    let from: Vec<Value> = (500..600).map(|number| json!({"secretRef": {"name": name(number)}})).collect();
    let pull: Vec<String> = (600..610).map(name).collect();
    json!({"env": variables, "envFrom": from, "imagePullSecrets": pull})
}

/// Fifty external secrets of a hundred entries, in one order or the other.
fn external(reversed: bool) -> Value {
    let data: Vec<Value> = (0..100)
        .map(|key| json!({"secretKey": format!("k{key}"), "remoteKey": format!("path/{key}")}))
        .collect();
    let secret = |number: usize| json!({"name": format!("e{number}"), "storeRef": "vault", "data": data});
    let mut secrets: Vec<Value> = (0..50).map(secret).collect();
    if reversed {
        secrets.reverse();
    }
    json!({"externalSecrets": secrets})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_biggest_objects_are_judged_and_not_refused_for_their_size() {
    let cluster = installed().await;
    let namespace = cluster.namespace("cost").await;
    in_force(cluster, &columns(), &namespace).await;
    let admin = cluster.client().await;
    let editor = WRITERS.iter().find(|writer| writer.identity == Identity::User(11)).unwrap();
    let editor = policy_env::client(cluster, editor, &namespace).await;
    let restricted = policy_env::client(cluster, &ELPIO_ONLY, &namespace).await;
    let others = json!({"serviceAccount": "runner", "ingress": {"host": "a.example.com", "tls": true, "issuer": {"name": "ca"}}});
    for kind in Kind::ALL {
        let own = match kind {
            Kind::Service => [external(false), external(true)],
            Kind::Function => {
                ["a", "b"].map(|name| json!({"build": {"serviceAccount": name, "pushSecret": name}}))
            }
        };
        let [old_own, new_own] = own;
        let old = merged(&merged(&kind.base(), &secrets("a")), &old_own);
        let new = merged(&merged(&merged(&kind.base(), &secrets("b")), &new_own), &others);
        let stored = api(&admin, kind, &namespace);
        let stored = stored.create(&PostParams::default(), &object(kind, "big", &old)).await.unwrap();
        let mut replaced = stored.clone();
        replaced.data["spec"] = new.clone();
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        let (as_editor, as_restricted) = (api(&editor, kind, &namespace), api(&restricted, kind, &namespace));
        assert_eq!(Outcome::of(as_editor.create(&dry, &object(kind, "new", &new)).await), Outcome::Accepted);
        assert_eq!(Outcome::of(as_editor.replace("big", &dry, &replaced).await), Outcome::Accepted);
        let refused = Outcome::of(as_restricted.replace("big", &dry, &replaced).await);
        assert!(matches!(refused, Outcome::Forbidden(_)), "{refused:?}");
        // Nothing new but the order.
        let mut reordered = stored.clone();
        if kind == Kind::Service {
            reordered.data["spec"]["externalSecrets"] = new_own["externalSecrets"].clone();
        }
        reordered.data["spec"]["env"].as_array_mut().unwrap().reverse();
        assert_eq!(Outcome::of(as_restricted.replace("big", &dry, &reordered).await), Outcome::Accepted);
    }
}
