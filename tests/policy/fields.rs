//! Every field of both kinds is either judged by the table or free for a reason given here. It reads schemas, and
//! sends nothing.

use std::collections::BTreeSet;

use elpio_operator::api;
use serde_json::Value;

use crate::{
    columns::{Column, Kind, columns},
    manifest,
};

const TENANT: &str = "what runs in a pod of the namespace is the writer's to choose";
const NUMBER: &str = "names nothing; quotas and limit ranges of the namespace judge the pods";
const CONFIG: &str = "a ConfigMap holds nothing confidential, as Kubernetes defines it";
const OPTIONAL: &str = "says that what is named may be absent";
const ADDRESS: &str = "fetched by a pod of the namespace, without credentials";
const OWN: &str = "of the service itself";

/// Fields that lend nothing, each with the reason.
const FREE: &[(&str, &str)] = &[
    ("build.keep", OWN),
    ("build.resources.limits.*", NUMBER),
    ("build.resources.requests.*", NUMBER),
    ("build.timeout", OWN),
    ("builder", TENANT),
    ("engine", "lends a DomainMapping only beside ingress.host, where it is judged"),
    ("entrypoint", TENANT),
    ("env[].value", TENANT),
    ("env[].valueFrom.configMapKeyRef.key", CONFIG),
    ("env[].valueFrom.configMapKeyRef.name", CONFIG),
    ("env[].valueFrom.configMapKeyRef.optional", OPTIONAL),
    ("envFrom[].configMapRef.name", CONFIG),
    ("envFrom[].configMapRef.optional", OPTIONAL),
    ("image", "pushed with the credentials of build.pushSecret or build.serviceAccount, which are judged"),
    ("image.digest", TENANT),
    ("image.repository", "pulled with imagePullSecrets, which are judged"),
    ("image.tag", TENANT),
    ("ingress.enabled", OWN),
    ("ingress.visibility", OWN),
    ("port", OWN),
    ("readinessProbe.initialDelaySeconds", OWN),
    ("readinessProbe.path", "asked for at the container's own port"),
    ("readinessProbe.periodSeconds", OWN),
    ("resources.limits.*", NUMBER),
    ("resources.requests.*", NUMBER),
    ("runtime", TENANT),
    ("scaling.concurrencyLimit", OWN),
    ("scaling.maxScale", OWN),
    ("scaling.metric", OWN),
    ("scaling.minScale", OWN),
    ("scaling.target", OWN),
    ("source.archive", ADDRESS),
    ("source.git.revision", ADDRESS),
    ("source.git.subPath", ADDRESS),
    ("source.git.url", ADDRESS),
    ("traffic[].latestRevision", OWN),
    ("traffic[].percent", OWN),
    ("traffic[].revisionName", "Knative accepts only a revision of this service"),
    ("traffic[].tag", OWN),
];

/// The leaves of a schema: `env[].valueFrom.secretKeyRef.name`, `resources.limits.*`.
fn leaves_of_schema(schema: &Value, path: &str, leaves: &mut BTreeSet<String>) {
    if let Some(properties) = schema["properties"].as_object() {
        for (name, schema) in properties {
            let dot = if path.is_empty() { "" } else { "." };
            leaves_of_schema(schema, &format!("{path}{dot}{name}"), leaves);
        }
    } else if schema["items"].is_object() {
        leaves_of_schema(&schema["items"], &format!("{path}[]"), leaves);
    } else if schema["additionalProperties"].is_object() {
        leaves_of_schema(&schema["additionalProperties"], &format!("{path}.*"), leaves);
    } else {
        leaves.insert(path.to_owned());
    }
}

fn leaves_of_value(value: &Value, path: &str, leaves: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                leaves_of_value(value, &format!("{path}{dot}{name}"), leaves);
            }
        }
        Value::Array(items) => {
            for item in items {
                leaves_of_value(item, &format!("{path}[]"), leaves);
            }
        }
        _ => drop(leaves.insert(path.to_owned())),
    }
}

fn schema(kind: Kind) -> BTreeSet<String> {
    let (_, crd) = api::crds().into_iter().find(|(_, crd)| crd.spec.names.kind == kind.name()).unwrap();
    let version = serde_json::to_value(&crd.spec.versions[0]).unwrap();
    let mut leaves = BTreeSet::new();
    leaves_of_schema(&version["schema"]["openAPIV3Schema"]["properties"]["spec"], "", &mut leaves);
    leaves
}

/// The fields that the judged columns of a kind set.
fn judged(kind: Kind) -> BTreeSet<String> {
    let mut judged = BTreeSet::new();
    for column in columns().iter().filter(|column| column.kind == kind && column.path.is_some()) {
        let (mut with, mut plain) = (BTreeSet::new(), BTreeSet::new());
        leaves_of_value(&column.with.0, "", &mut with);
        leaves_of_value(&column.plain, "", &mut plain);
        judged.extend(with.difference(&plain).cloned());
    }
    judged
}

#[test]
fn every_field_is_judged_or_free_for_a_reason() {
    let free: BTreeSet<String> = FREE.iter().map(|(field, _)| (*field).to_owned()).collect();
    let mut known = BTreeSet::new();
    for kind in Kind::ALL {
        let (schema, judged) = (schema(kind), judged(kind));
        let unknown: Vec<_> =
            schema.iter().filter(|field| !judged.contains(*field) && !free.contains(*field)).collect();
        assert!(unknown.is_empty(), "{}: which permission does its writer need? {unknown:?}", kind.name());
        let both: Vec<_> = judged.intersection(&free).collect();
        assert!(both.is_empty(), "{}: judged and free {both:?}", kind.name());
        known.extend(schema);
    }
    let stale: Vec<_> = free.difference(&known).collect();
    assert!(stale.is_empty(), "no field of these names {stale:?}");
}

/// The rules that both kinds share are the same text.
#[test]
fn both_policies_have_the_same_rules() {
    let policy = |kind: Kind| manifest::policy("policies/lent-rights.yaml", kind.policy());
    let own = |path: &str| path == "spec.externalSecrets" || path.starts_with("spec.build.");
    let rules = |kind: Kind| {
        let mut rules = policy(kind).validations().clone();
        rules.retain(|rule| !own(manifest::path(rule)));
        rules
    };
    assert_eq!(rules(Kind::Service), rules(Kind::Function));
    let variables = |kind: Kind| policy(kind).spec()["variables"].as_array().unwrap().clone();
    let of_functions = variables(Kind::Function);
    assert!(variables(Kind::Service).iter().all(|variable| of_functions.contains(variable)));
    assert_eq!(of_functions.len(), variables(Kind::Service).len() + 2);
    for part in ["failurePolicy", "matchConditions"] {
        assert_eq!(policy(Kind::Service).spec()[part], policy(Kind::Function).spec()[part]);
    }
}

/// Every rule has a column that it refuses.
#[test]
fn every_rule_has_a_column() {
    for kind in Kind::ALL {
        let columns = columns();
        let columns: BTreeSet<&str> = columns
            .iter()
            .filter(|column| column.kind == kind)
            .filter_map(|column: &Column| column.path)
            .collect();
        let mut policy = manifest::policy("policies/lent-rights.yaml", kind.policy());
        let rules: BTreeSet<&str> = policy.validations().iter().map(manifest::path).collect();
        assert_eq!(rules, columns, "{}", kind.name());
    }
}
