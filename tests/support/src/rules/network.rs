//! Rules of scaling, ingress and traffic.

use serde_json::{Value, json};

use super::{Case, bad, good, many, operator};

const LONG_HOST: &str = "abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.jklm";
const LONG_HOST_FAULT: &str = "spec.ingress.host: \"abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.abcdefghi.jklm\" must be a lower-case domain name of two labels or more, each of at most 63 characters, without wildcard or trailing dot";

pub fn scaling() -> Vec<Case> {
    let cpu = |engine: Value, resources: Value| json!({"engine": engine, "scaling": {"metric": "cpu", "target": 100}, "resources": resources});
    let needs =
        "spec.scaling.metric: cpu on KEDA needs spec.resources.requests.cpu or spec.resources.limits.cpu";
    vec![
        good("min is max", json!({"scaling": {"minScale": 3, "maxScale": 3}})),
        good("min without max", json!({"scaling": {"minScale": 3, "maxScale": 0}})),
        bad(
            "min above max",
            json!({"scaling": {"minScale": 4, "maxScale": 3}}),
            "spec.scaling.minScale: 4 is more than maxScale, 3",
            "scaling.minScale must be at most scaling.maxScale",
        ),
        bad(
            "a negative min",
            json!({"scaling": {"minScale": -1}}),
            "spec.scaling.minScale: must be at least 0, not -1",
            "spec.scaling.minScale",
        ),
        bad(
            "a negative max",
            json!({"scaling": {"maxScale": -1}}),
            "spec.scaling.maxScale: must be at least 0, not -1",
            "spec.scaling.maxScale",
        ),
        good("a target of 1", json!({"scaling": {"target": 1}})),
        bad(
            "a target of 0",
            json!({"scaling": {"target": 0}}),
            "spec.scaling.target: must be at least 1, not 0",
            "spec.scaling.target",
        ),
        good("a target above 100 for requests", json!({"scaling": {"target": 101, "metric": "rps"}})),
        bad(
            "a target above 100 for cpu",
            json!({"scaling": {"target": 101, "metric": "cpu"}}),
            "spec.scaling.target: must be at most 100 (percent) with metric cpu, not 101",
            "scaling.target must be at most 100 (percent) with metric cpu",
        ),
        good("a limit of 1", json!({"scaling": {"concurrencyLimit": 1}})),
        good("a limit of 1000", json!({"scaling": {"concurrencyLimit": 1000}})),
        bad(
            "a limit of 0",
            json!({"scaling": {"concurrencyLimit": 0}}),
            "spec.scaling.concurrencyLimit: must be 1 to 1000, not 0",
            "spec.scaling.concurrencyLimit",
        ),
        bad(
            "a limit of 1001",
            json!({"scaling": {"concurrencyLimit": 1001}}),
            "spec.scaling.concurrencyLimit: must be 1 to 1000, not 1001",
            "spec.scaling.concurrencyLimit",
        ),
        bad(
            "cpu on KEDA without resources",
            json!({"engine": "keda", "scaling": {"metric": "cpu"}}),
            needs,
            "scaling.metric cpu on KEDA needs",
        ),
        bad(
            "cpu on KEDA with memory alone",
            cpu(json!("keda"), json!({"requests": {"memory": "1Gi"}, "limits": {"memory": "1Gi"}})),
            needs,
            "scaling.metric cpu on KEDA needs",
        ),
        operator(
            "cpu without resources, KEDA by default",
            "keda",
            json!({"scaling": {"metric": "cpu"}}),
            needs,
        ),
        good("cpu on KEDA with a request", cpu(json!("keda"), json!({"requests": {"cpu": 1}}))),
        good("cpu on KEDA with a limit", cpu(json!("keda"), json!({"limits": {"cpu": 1}}))),
        good("cpu on Knative without resources", json!({"engine": "knative", "scaling": {"metric": "cpu"}})),
    ]
}

pub fn ingress() -> Vec<Case> {
    let host = |host: &str| json!({"ingress": {"host": host}});
    let long_label = format!("{}.example", "a".repeat(64));
    vec![
        good("the longest label", host(&format!("{}.example", "a".repeat(63)))),
        bad(
            "a label of 64",
            host(&long_label),
            "spec.ingress.host: \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example\" must be a lower-case domain name of two labels or more, each of at most 63 characters, without wildcard or trailing dot",
            "spec.ingress.host",
        ),
        bad("254 characters", host(LONG_HOST), LONG_HOST_FAULT, "spec.ingress.host"),
        bad(
            "upper case",
            host("Shop.example"),
            "spec.ingress.host: \"Shop.example\" must be a lower-case domain name of two labels or more, each of at most 63 characters, without wildcard or trailing dot",
            "spec.ingress.host",
        ),
        bad(
            "one label",
            host("shop"),
            "spec.ingress.host: \"shop\" must be a lower-case domain name of two labels or more, each of at most 63 characters, without wildcard or trailing dot",
            "spec.ingress.host",
        ),
        bad(
            "a wildcard",
            host("*.example.com"),
            "spec.ingress.host: \"*.example.com\" must be a lower-case domain name of two labels or more, each of at most 63 characters, without wildcard or trailing dot",
            "spec.ingress.host",
        ),
        bad(
            "a trailing dot",
            host("shop.example."),
            "spec.ingress.host: \"shop.example.\" must be a lower-case domain name of two labels or more, each of at most 63 characters, without wildcard or trailing dot",
            "spec.ingress.host",
        ),
        bad(
            "an empty host",
            host(""),
            "spec.ingress.host: \"\" must be a lower-case domain name of two labels or more, each of at most 63 characters, without wildcard or trailing dot",
            "spec.ingress.host",
        ),
        bad(
            "under cluster.local",
            host("a.svc.cluster.local"),
            "spec.ingress.host: \"a.svc.cluster.local\" must not be under cluster.local, .local or .svc",
            "ingress.host must not be under cluster.local",
        ),
        bad(
            "cluster.local itself",
            host("cluster.local"),
            "spec.ingress.host: \"cluster.local\" must not be under cluster.local, .local or .svc",
            "ingress.host must not be under cluster.local",
        ),
        bad(
            "under .local",
            host("printer.local"),
            "spec.ingress.host: \"printer.local\" must not be under cluster.local, .local or .svc",
            "ingress.host must not be under cluster.local",
        ),
        bad(
            "another service's name inside the cluster",
            host("web.team-a.svc"),
            "spec.ingress.host: \"web.team-a.svc\" must not be under cluster.local, .local or .svc",
            "ingress.host must not be under cluster.local",
        ),
        good("only like .local", host("local.example")),
        bad(
            "an address",
            host("10.0.0.1"),
            "spec.ingress.host: \"10.0.0.1\" must be a domain name, not an address",
            "ingress.host must be a domain name, not an address",
        ),
        bad(
            "a host with ingress off",
            json!({"ingress": {"enabled": false, "host": "a.example"}}),
            "spec.ingress.host: needs spec.ingress.enabled",
            "ingress.host needs ingress.enabled",
        ),
        bad(
            "a host for inside alone",
            json!({"ingress": {"visibility": "cluster-local", "host": "a.example"}}),
            "spec.ingress.host: needs spec.ingress.visibility external",
            "ingress.host needs ingress.visibility external",
        ),
        bad(
            "tls without a host",
            json!({"ingress": {"tls": true}}),
            "spec.ingress.tls: needs spec.ingress.host",
            "ingress.tls needs ingress.host",
        ),
        bad(
            "an issuer that is no name",
            json!({"ingress": {"issuer": {"name": "A"}}}),
            "spec.ingress.issuer.name: must be a lower-case DNS name of at most 253 characters",
            "spec.ingress.issuer.name",
        ),
    ]
}

pub fn traffic() -> Vec<Case> {
    let target = "spec.traffic[0]: exactly one of revisionName and latestRevision: true must be set";
    let refused = "traffic: exactly one of revisionName and latestRevision: true must be set";
    let split = |first: i32, second: i32| json!({"traffic": [{"revisionName": "a-00001", "percent": first}, {"latestRevision": true, "percent": second}]});
    let tagged = |one: &str, other: &str| json!({"traffic": [{"revisionName": "a-00001", "percent": 0, "tag": one}, {"latestRevision": true, "percent": 100, "tag": other}]});
    let on = |engine: Value, targets: Value| json!({"engine": engine, "traffic": targets});
    let all = json!([{"latestRevision": true, "percent": 100}]);
    let needs = "spec.traffic: needs engine knative: a Deployment has no revisions to split requests over";
    vec![
        bad("traffic on KEDA", on(json!("keda"), all.clone()), needs, "traffic needs engine knative"),
        operator("traffic, KEDA by default", "keda", json!({"traffic": all}), needs),
        Case { engine: "keda", ..good("traffic on Knative by name", on(json!("knative"), all.clone())) },
        good("no traffic on KEDA", on(json!("keda"), json!([]))),
        good("0 and 100", split(0, 100)),
        bad(
            "99 in all",
            split(9, 90),
            "spec.traffic: the percents must sum to 100, not 99",
            "traffic: the percents must sum to 100",
        ),
        bad(
            "110 in all",
            split(20, 90),
            "spec.traffic: the percents must sum to 100, not 110",
            "traffic: the percents must sum to 100",
        ),
        bad(
            "a negative share",
            split(-1, 100),
            "spec.traffic[0].percent: must be 0 to 100, not -1",
            "spec.traffic[0].percent",
        ),
        bad(
            "more than all",
            split(101, 0),
            "spec.traffic[0].percent: must be 0 to 100, not 101",
            "spec.traffic[0].percent",
        ),
        bad("no target", json!({"traffic": [{"percent": 100}]}), target, refused),
        bad(
            "latestRevision: false is the same as absent",
            json!({"traffic": [{"latestRevision": false, "percent": 100}]}),
            target,
            refused,
        ),
        bad(
            "two targets",
            json!({"traffic": [{"revisionName": "a-00001", "latestRevision": true, "percent": 100}]}),
            target,
            refused,
        ),
        good(
            "a revision, and latestRevision: false",
            json!({"traffic": [{"revisionName": "a-00001", "latestRevision": false, "percent": 100}]}),
        ),
        bad(
            "a revision that is no name",
            json!({"traffic": [{"revisionName": "", "percent": 100}]}),
            "spec.traffic[0].revisionName: must be a lower-case DNS name of at most 253 characters",
            "spec.traffic[0].revisionName",
        ),
        good("two tags", tagged("old", "new")),
        bad(
            "the same tag twice",
            tagged("old", "old"),
            "spec.traffic[1].tag: \"old\" is already in spec.traffic[0]",
            "traffic: tags must be unique",
        ),
        bad(
            "a tag with a dot",
            tagged("a.b", "new"),
            "spec.traffic[0].tag: must be a DNS-1035 label of at most 63 characters",
            "spec.traffic[0].tag",
        ),
        bad(
            "a tag of 64 characters",
            tagged(&"a".repeat(64), "new"),
            "spec.traffic[0].tag: must be a DNS-1035 label of at most 63 characters",
            "spec.traffic[0].tag",
        ),
        good(
            "50 targets",
            json!({"traffic": many(50, |i| json!({"revisionName": format!("a-{i}"), "percent": 2}))}),
        ),
        bad(
            "51 targets",
            json!({"traffic": many(51, |i| json!({"revisionName": format!("a-{i}"), "percent": if i == 0 { 0 } else { 2 }}))}),
            "spec.traffic: must have at most 50 items, not 51",
            "spec.traffic",
        ),
    ]
}
