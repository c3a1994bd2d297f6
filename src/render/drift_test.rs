//! Drift, and what does not count as drift: tables.

use serde_json::{Value, json};

use crate::render::drift::{Difference, field_differences};

fn differences(sent: &Value, live: &Value) -> Vec<Difference> {
    field_differences(sent, |field| live.get(field))
}

fn is_satisfied_by(sent: &Value, live: &Value) -> bool {
    differences(sent, live).is_empty()
}

fn check(cases: Vec<(&str, Value, Value)>, expected: bool) {
    for (what, sent, live) in cases {
        assert_eq!(is_satisfied_by(&sent, &live), expected, "{what}: sent {sent}, live {live}");
    }
}

#[test]
fn what_means_the_same_is_no_drift() {
    check(
        vec![
            ("equal", json!({"a": 1}), json!({"a": 1})),
            ("a default was added", json!({"a": {"b": 1}}), json!({"a": {"b": 1, "c": 2}, "d": 3})),
            (
                "an empty string is gone",
                json!({"env": [{"name": "A", "value": ""}]}),
                json!({"env": [{"name": "A"}]}),
            ),
            ("zero is gone", json!({"a": 0}), json!({})),
            ("false is gone", json!({"a": false}), json!({})),
            ("null is gone", json!({"a": null}), json!({})),
            ("an empty list is gone", json!({"a": []}), json!({})),
            ("an empty map is gone", json!({"a": {}}), json!({})),
            ("an empty map was filled", json!({"emptyDir": {}}), json!({"emptyDir": {"sizeLimit": "1Gi"}})),
            ("zero for false", json!({"a": false}), json!({"a": null})),
            ("a number written as a float", json!({"a": 1}), json!({"a": 1.0})),
            (
                "amounts by value",
                json!({"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}),
                json!({"resources": {"limits": {"cpu": "1000m", "memory": 1_073_741_824_u64}}}),
            ),
            (
                "an amount of zero is gone",
                json!({"resources": {"limits": {"x/y": "0"}}}),
                json!({"resources": {"limits": {"x/y": 0}}}),
            ),
            (
                "an amount was rounded up to thousandths",
                json!({"resources": {"requests": {"cpu": "1u"}}}),
                json!({"resources": {"requests": {"cpu": "1m"}}}),
            ),
            (
                "requests were taken from limits",
                json!({"resources": {"limits": {"cpu": "1"}}}),
                json!({"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}}),
            ),
            (
                "a refresh interval by value",
                json!({"spec": {"refreshInterval": "1h"}}),
                json!({"spec": {"refreshInterval": "1h0m0s"}}),
            ),
            (
                "a sidecar was injected",
                json!({"containers": [{"name": "a", "image": "i"}]}),
                json!({"containers": [{"name": "proxy"}, {"name": "a", "image": "i", "terminationMessagePath": "/dev/x"}]}),
            ),
            (
                "variables of others stand between ours",
                json!({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}),
                json!({"env": [{"name": "X"}, {"name": "A", "value": "1"}, {"name": "Y"}, {"name": "B", "value": "2"}]}),
            ),
            (
                "containers in another order",
                json!({"containers": [{"name": "a"}, {"name": "b"}]}),
                json!({"containers": [{"name": "b"}, {"name": "a"}]}),
            ),
            (
                "an item of a list of built-in kinds",
                json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"a": 1}}),
                json!({"spec": {"a": 1}}),
            ),
            (
                "a port got a protocol",
                json!({"ports": [{"containerPort": 8080}]}),
                json!({"ports": [{"containerPort": 8080, "protocol": "TCP", "name": "http"}]}),
            ),
            (
                "a Service port got a node port",
                json!({"ports": [{"port": 80, "targetPort": 8080}]}),
                json!({"ports": [{"port": 80, "targetPort": 8080, "nodePort": 30000, "protocol": "TCP"}]}),
            ),
            (
                "the same port over UDP stands first",
                json!({"ports": [{"port": 80, "targetPort": 8080}]}),
                json!({"ports": [{"port": 80, "targetPort": 53, "protocol": "UDP"}, {"port": 80, "targetPort": 8080}]}),
            ),
            (
                "items without a key got defaults",
                json!({"data": [{"secretKey": "a", "remoteRef": {"key": "k"}}]}),
                json!({"data": [{"secretKey": "a", "remoteRef": {"key": "k", "conversionStrategy": "Default"}}]}),
            ),
            ("strings in order", json!({"hosts": ["a", "b"]}), json!({"hosts": ["a", "b"]})),
            (
                "another owner was added",
                json!({"ownerReferences": [{"name": "a", "uid": "1"}]}),
                json!({"ownerReferences": [{"name": "b", "uid": "2"}, {"name": "a", "uid": "1"}]}),
            ),
        ],
        true,
    );
}

#[test]
#[allow(clippy::too_many_lines, reason = "one table")]
fn what_means_something_else_is_drift() {
    check(
        vec![
            ("another value", json!({"a": 1}), json!({"a": 2})),
            ("gone", json!({"a": {"b": 1}}), json!({"a": {}})),
            ("gone with its parent", json!({"a": {"b": 1}}), json!({})),
            ("a map became a list", json!({"a": {"b": 1}}), json!({"a": []})),
            ("no longer zero", json!({"a": 0}), json!({"a": 5})),
            (
                "no longer empty",
                json!({"env": [{"name": "A", "value": ""}]}),
                json!({"env": [{"name": "A", "value": "x"}]}),
            ),
            ("no longer false", json!({"a": false}), json!({"a": true})),
            ("text for a number", json!({"a": 1}), json!({"a": "1"})),
            (
                "another amount",
                json!({"resources": {"limits": {"cpu": "1"}}}),
                json!({"resources": {"limits": {"cpu": "1001m"}}}),
            ),
            (
                "an amount is gone",
                json!({"resources": {"limits": {"cpu": "1"}}}),
                json!({"resources": {"limits": {"memory": "1"}}}),
            ),
            ("an amount elsewhere is text", json!({"value": "1"}), json!({"value": "1000m"})),
            (
                "an amount under another key is text",
                json!({"resources": {"claims": {"cpu": "1"}}}),
                json!({"resources": {"claims": {"cpu": "1000m"}}}),
            ),
            (
                "a variable that looks like one",
                json!({"env": [{"name": "resources", "value": "1"}]}),
                json!({"env": [{"name": "resources", "value": "1000m"}]}),
            ),
            (
                "another refresh interval",
                json!({"refreshInterval": "1h"}),
                json!({"refreshInterval": "1h1s"}),
            ),
            (
                "what cannot be read differs",
                json!({"refreshInterval": "1h"}),
                json!({"refreshInterval": "soon"}),
            ),
            (
                "a variable is gone",
                json!({"env": [{"name": "A", "value": "1"}, {"name": "B"}]}),
                json!({"env": [{"name": "B"}]}),
            ),
            (
                "a variable has another value",
                json!({"env": [{"name": "A", "value": "1"}]}),
                json!({"env": [{"name": "A", "value": "2"}]}),
            ),
            (
                "a container was renamed",
                json!({"containers": [{"name": "a"}]}),
                json!({"containers": [{"name": "b"}]}),
            ),
            (
                "another port",
                json!({"ports": [{"containerPort": 8080}]}),
                json!({"ports": [{"containerPort": 8081}]}),
            ),
            (
                "an item without a key was added",
                json!({"envFrom": [{"secretRef": {"name": "a"}}]}),
                json!({"envFrom": [{"secretRef": {"name": "a"}}, {"secretRef": {"name": "b"}}]}),
            ),
            (
                "items without a key were swapped",
                json!({"traffic": [{"percent": 10}, {"percent": 90}]}),
                json!({"traffic": [{"percent": 90}, {"percent": 10}]}),
            ),
            ("strings were swapped", json!({"hosts": ["a", "b"]}), json!({"hosts": ["b", "a"]})),
            ("a string was added", json!({"hosts": ["a"]}), json!({"hosts": ["a", "b"]})),
            ("a list is gone", json!({"hosts": ["a"]}), json!({})),
            ("an emptied list was filled", json!({"hosts": []}), json!({"hosts": ["a"]})),
            (
                "the owner was taken off",
                json!({"ownerReferences": [{"name": "a", "controller": true}]}),
                json!({"ownerReferences": [{"name": "a", "controller": false}]}),
            ),
            (
                "variables in another order",
                json!({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}),
                json!({"env": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]}),
            ),
            (
                "a variable stands there twice",
                json!({"env": [{"name": "A", "value": "1"}]}),
                json!({"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}),
            ),
            (
                "init containers in another order",
                json!({"initContainers": [{"name": "a"}, {"name": "b"}]}),
                json!({"initContainers": [{"name": "b"}, {"name": "a"}]}),
            ),
            (
                "the kind of what a reference names",
                json!({"spec": {"target": {"apiVersion": "v1", "kind": "A"}}}),
                json!({"spec": {"target": {"apiVersion": "v1", "kind": "B"}}}),
            ),
            ("a label is gone", json!({"labels": {"a": "1"}}), json!({"labels": {"b": "1"}})),
        ],
        false,
    );
}

#[test]
fn what_was_sent_satisfies_itself() {
    for value in [
        json!(null),
        json!([]),
        json!([1, "a", null]),
        json!({"a": [{"b": 1}, {"name": "c"}], "resources": {"limits": {"cpu": "nonsense"}}}),
    ] {
        assert!(is_satisfied_by(&value, &value), "{value}");
    }
}

#[test]
fn a_difference_is_named_by_its_path() {
    let container = |image: &str, env: &[&str]| {
        let env: Vec<Value> = env.iter().map(|name| json!({"name": name})).collect();
        json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": image, "env": env}]}}}})
    };
    let labels = |value: &str| json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": value}}});
    let base = "spec.template.spec.containers[web]";
    for (sent, live, expected) in [
        (container("a", &[]), container("b", &[]), vec![format!("{base}.image")]),
        (container("a", &["A", "B"]), container("a", &["B", "A"]), vec![format!("the order of {base}.env")]),
        (
            container("a", &["A"]),
            container("b", &[]),
            vec![format!("{base}.env[A]"), format!("{base}.image")],
        ),
        (
            labels("elpio"),
            labels("platform"),
            vec!["metadata.labels[app.kubernetes.io/managed-by]".to_owned()],
        ),
        (
            json!({"ports": [{"port": 80, "targetPort": 1}]}),
            json!({"ports": [{"port": 80}]}),
            vec!["ports[80].targetPort".to_owned()],
        ),
        (json!({"hosts": ["a"]}), json!({"hosts": ["b"]}), vec!["hosts".to_owned()]),
    ] {
        let paths: Vec<String> = differences(&sent, &live).into_iter().map(|found| found.path).collect();
        assert_eq!(paths, expected, "sent {sent}, live {live}");
    }
}
