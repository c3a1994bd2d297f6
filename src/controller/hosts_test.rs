//! Who has a host, by tables.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use kube::core::DynamicObject;
use serde_json::json;

use super::*;
use crate::{controller::kinds::service::Service, render::ChildId};

const HOST: &str = "shop.example.com";

/// `namespace/name`, created this many seconds after the first.
fn claim(key: &str, created: i64) -> HostClaim {
    let (namespace, name) = key.split_once('/').unwrap();
    let key = ObjectKey { namespace: namespace.to_owned(), name: name.to_owned() };
    let created = Some(Timestamp::from_second(1_800_000_000 + created).unwrap());
    HostClaim { created, uid: format!("uid of {key}"), key, is_valid: true }
}

fn observe(claims: &HostClaims, claim: &HostClaim, host: Option<&str>) -> Vec<String> {
    let asked = host.map(|host| (host.to_owned(), claim.clone()));
    claims.observe(&claim.key, asked).iter().map(ToString::to_string).collect()
}

fn acquire(claims: &HostClaims, claim: &HostClaim) -> String {
    claims.acquire(HOST, claim, |_| false, &[]).err().map_or("free".to_owned(), |owner| owner.key.to_string())
}

/// The case, the claims, the holder, who serves, who claims, and who owns the host.
type Row<'a> = (&'a str, &'a [&'a HostClaim], Option<&'a HostClaim>, &'a [&'a str], &'a HostClaim, &'a str);

#[test]
fn the_holder_has_it_then_who_serves_then_the_oldest() {
    let old = claim("shop/old", 0);
    let young = claim("shop/young", 9);
    let twin = claim("blog/twin", 9);
    let lost = claim("lost/web", 0);
    let invalid = HostClaim { is_valid: false, ..claim("shop/invalid", 0) };
    let rows: &[Row<'_>] = &[
        ("alone", &[&young], None, &[], &young, "shop/young"),
        ("not known yet, and alone", &[], None, &[], &young, "shop/young"),
        ("the oldest", &[&old, &young], None, &[], &young, "shop/old"),
        ("of one second: by namespace and name", &[&young, &twin], None, &[], &young, "blog/twin"),
        ("not known yet, but older", &[&young], None, &[], &old, "shop/old"),
        ("who serves it, whatever its age", &[&old, &young], None, &["shop/young"], &old, "shop/young"),
        ("an invalid one blocks nobody", &[&invalid, &young], None, &[], &young, "shop/young"),
        (
            "an invalid one keeps what it serves",
            &[&invalid, &young],
            None,
            &["shop/invalid"],
            &young,
            "shop/invalid",
        ),
        (
            "of two that serve it the oldest",
            &[&old, &young],
            None,
            &["shop/young", "shop/old"],
            &young,
            "shop/old",
        ),
        (
            "who was given it, whoever serves",
            &[&old, &young],
            Some(&young),
            &["shop/old"],
            &old,
            "shop/young",
        ),
        ("its holder is lost", &[&lost, &old, &young], Some(&lost), &[], &young, "shop/old"),
        ("who serves it is lost", &[&lost, &young], None, &["lost/web"], &young, "shop/young"),
    ];
    for (what, claims, holder, serving, asking, expected) in rows {
        let claimants = Claimants {
            claims: claims.iter().map(|claim| (*claim).clone()).collect(),
            holder: holder.cloned(),
        };
        let lost = ["lost".to_owned()];
        let serves = |claim: &HostClaim| serving.contains(&claim.key.to_string().as_str());
        assert_eq!(host_owner(&claimants, asking, serves, &lost).key.to_string(), *expected, "{what}");
    }
}

#[test]
fn a_host_is_free_when_its_holder_goes_or_asks_for_another() {
    let (old, young, other) = (claim("a/old", 0), claim("b/young", 1), claim("c/other", 2));
    for drops in [None, Some("else.example.com")] {
        let claims = HostClaims::default();
        for claim in [&old, &young, &other] {
            assert!(observe(&claims, claim, Some(HOST)).is_empty());
        }
        assert_eq!(acquire(&claims, &young), "a/old");
        assert_eq!(acquire(&claims, &old), "free");
        assert!(observe(&claims, &old, Some(HOST)).is_empty(), "nothing changed");
        assert!(observe(&claims, &other, drops).is_empty(), "it did not have it");
        observe(&claims, &other, Some(HOST));
        assert_eq!(observe(&claims, &old, drops), ["b/young", "c/other"]);
        assert_eq!(acquire(&claims, &other), "b/young");
        assert_eq!(acquire(&claims, &young), "free");
        // It comes back, and is the older one still.
        observe(&claims, &old, Some(HOST));
        assert_eq!(acquire(&claims, &old), "b/young");
    }
}

#[test]
fn an_object_of_the_same_name_inherits_nothing() {
    let claims = HostClaims::default();
    let (old, young) = (claim("a/web", 0), claim("b/web", 1));
    let again = HostClaim { uid: "another".to_owned(), ..claim("a/web", 2) };
    observe(&claims, &old, Some(HOST));
    observe(&claims, &young, Some(HOST));
    assert_eq!(acquire(&claims, &old), "free");
    assert_eq!(observe(&claims, &again, Some(HOST)), ["b/web"]);
    assert_eq!(acquire(&claims, &again), "b/web");
    assert_eq!(acquire(&claims, &young), "free");
    observe(&claims, &young, None);
    observe(&claims, &again, None);
    assert!(claims.0.lock().hosts.is_empty() && claims.0.lock().host_of.is_empty(), "nothing is left");
}

#[test]
fn the_claim_is_the_host_of_the_spec() {
    let object = |ingress: serde_json::Value| -> Object<Service> {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"image": {"repository": "example.com/web"}, "ingress": ingress},
        }))
        .unwrap()
    };
    assert_eq!(HostClaim::of_object::<Service>(&object(json!({})), || true), None);
    let (host, claim) = HostClaim::of_object::<Service>(&object(json!({"host": HOST})), || true).unwrap();
    assert_eq!((host.as_str(), claim.key.to_string().as_str()), (HOST, "shop/web"));
}

#[test]
fn children_that_lead_requests_for_a_host() {
    let object = |spec: serde_json::Value| -> Arc<DynamicObject> {
        Arc::new(serde_json::from_value(json!({"metadata": {"name": "x"}, "spec": spec})).unwrap())
    };
    let hosts = json!({"hosts": ["other.example.com", HOST]});
    for (kind, name, spec, expected) in [
        (ChildKind::DomainMapping, HOST, json!({}), true),
        (ChildKind::DomainMapping, "other.example.com", json!({}), false),
        (ChildKind::HttpScaledObject, "web", hosts.clone(), true),
        (ChildKind::HttpScaledObject, "web", json!({"hosts": ["other.example.com"]}), false),
        (ChildKind::HttpScaledObject, "web", json!({}), false),
        (ChildKind::Certificate, HOST, hosts, false),
    ] {
        let live = LiveChildren::from([(ChildId::new(kind, name), object(spec))]);
        assert_eq!(serves_host(&live, HOST), expected, "{live:?}");
    }
}

#[test]
fn the_message_names_the_owner_within_its_namespace_only() {
    let owner = claim("shop/cart", 0);
    let child =
        |kind| Child::existing(crate::render::ChildId::new(kind, "web"), crate::render::WriteMode::Apply);
    let desired = [child(ChildKind::Deployment), child(ChildKind::HttpScaledObject)];
    for (namespace, names) in [("shop", true), ("blog", false)] {
        let result = refused(&desired, HOST, &owner, namespace);
        let failures: Vec<_> = result.applied.failures().collect();
        assert_eq!(failures.len(), 1);
        assert_eq!((failures[0].0.kind, failures[0].1.reason), (ChildKind::HttpScaledObject, "NameConflict"));
        assert_eq!(failures[0].1.message.contains("cart"), names, "{}", failures[0].1.message);
        assert!(!result.applied.is_complete() && result.applied.deleted.is_empty());
    }
}
