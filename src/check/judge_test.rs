//! The rows for each set of facts: one case per line.
#![allow(clippy::unwrap_used)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::*;
use crate::{
    api,
    check::report::CheckState::{self, Error, Ok as Fine, Warning},
    foreign::support::{ENGINES, KUBERNETES},
};

fn is(row: &CheckRow, state: CheckState, found: &str) {
    assert_eq!(row.state, state, "{row:?}");
    assert!(row.found.contains(found), "{row:?}");
    assert_eq!(row.action.is_some(), state != Fine, "{row:?}");
}

#[test]
fn api_servers() {
    is(&server_row(Some("v1.31.9"), &KUBERNETES), Error, "older than 1.32");
    is(&server_row(Some("v1.32.0"), &KUBERNETES), Fine, "v1.32.0");
    is(&server_row(Some("v1.36.0+k3s1"), &KUBERNETES), Warning, "newer than the 1.35");
    is(&server_row(Some("odd"), &KUBERNETES), Fine, "odd");
    is(&server_row(None, &KUBERNETES), Warning, "cannot read its version");
}

#[test]
fn own_crds() {
    let own = api::crds().remove(0).1;
    let read = |change: fn(&mut CustomResourceDefinition)| {
        let mut live = own.clone();
        change(&mut live);
        crd_row(&own, &OwnCrd::Read(Box::new(live)))
    };
    is(&read(|crd| crd.metadata.labels = Some([("by".into(), "helm".into())].into())), Fine, "matches");
    is(&read(|crd| crd.spec.versions[0].schema = None), Error, "the schema");
    is(&read(|crd| crd.spec.versions[0].subresources = None), Error, "the subresources");
    is(&read(|crd| crd.spec.versions[0].additional_printer_columns = None), Error, "columns");
    is(&read(|crd| crd.spec.versions[0].served = false), Error, "versions");
    is(&crd_row(&own, &OwnCrd::NotServed), Error, "not served");
    is(&crd_row(&own, &OwnCrd::Unreadable("no".into())), Warning, "unknown");
}

#[test]
fn engines() {
    let facts = |version: Option<&str>| EngineFacts {
        is_installed: true,
        missing: Vec::new(),
        version: version.map(str::to_owned),
    };
    let [knative, keda, add_on, tekton, ..] = ENGINES;
    let absent = EngineFacts::default();
    is(&engine_row(&knative, &absent, Engine::Knative), Error, "default engine");
    is(&engine_row(&knative, &absent, Engine::Keda), Fine, "not installed");
    is(&engine_row(&keda, &absent, Engine::Keda), Error, "default engine");
    let missing = EngineFacts { missing: vec!["services at v1".to_owned()], ..facts(None) };
    is(&engine_row(&knative, &missing, Engine::Keda), Error, "services at v1");
    is(&engine_row(&knative, &facts(Some("1.21.0")), Engine::Knative), Fine, "1.21.0");
    is(&engine_row(&knative, &facts(Some("devel")), Engine::Knative), Fine, "tested with 1.21");
    is(&engine_row(&knative, &facts(None), Engine::Knative), Fine, "tested with 1.21");
    is(&engine_row(&tekton, &facts(Some("v0.44.0")), Engine::Knative), Error, "older than 1.0");
    is(&engine_row(&add_on, &facts(Some("0.14.1")), Engine::Keda), Warning, "deprecated");
}

#[test]
fn leases() {
    let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
    let lease = |holder: &str, renewed: &str| LeaseSpec {
        holder_identity: Some(holder.to_owned()),
        lease_duration_seconds: Some(15),
        renew_time: renewed.parse().ok().map(MicroTime),
        ..LeaseSpec::default()
    };
    let row = |spec: Option<&LeaseSpec>| lease_row("elpio-operator", "elpio-system", spec, now);
    is(&row(None), Error, "does not exist");
    is(&row(Some(&lease("", "2026-01-01T00:00:59Z"))), Error, "has no holder");
    is(&row(Some(&lease("a", "2026-01-01T00:00:58Z"))), Fine, "renewed 2 s ago");
    is(&row(Some(&lease("a", "2026-01-01T00:01:09Z"))), Fine, "renewed 0 s ago");
    is(&row(Some(&lease("a", "2026-01-01T00:00:20Z"))), Error, "last renewed");
    is(&row(Some(&lease("a", ""))), Error, "never");
}

#[test]
fn policies() {
    let hint = policy_row("elpioservices", None, Engine::Keda).action.unwrap();
    assert!(hint.contains("policies.lentRights") && hint.contains("keda as defaultEngine"), "{hint}");
    is(&policy_row("elpioservices", None, Engine::Keda), Warning, "no ValidatingAdmissionPolicy");
    is(&policy_row("elpioservices", Some(&["Deny".to_owned()]), Engine::Keda), Fine, "in force");
    is(
        &policy_row("elpioservices", Some(&["Warn".to_owned(), "Audit".to_owned()]), Engine::Keda),
        Warning,
        "only Warn, Audit",
    );
}
