//! The cache against the orders in which a watch and an answer can come.
#![allow(clippy::unwrap_used)]
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ObjectMeta;

use super::*;

fn object(name: &str, rv: u64, owner: &str) -> ConfigMap {
    let metadata = ObjectMeta {
        namespace: Some("ns".into()),
        name: Some(name.into()),
        resource_version: Some(rv.to_string()),
        uid: Some(owner.into()),
        ..ObjectMeta::default()
    };
    ConfigMap { metadata, ..ConfigMap::default() }
}

fn cache() -> ObjectStore<ConfigMap> {
    let cache = ObjectStore::new(|o: &ConfigMap| o.uid().filter(|u| !u.is_empty()));
    cache.apply_event("", Event::Init);
    cache.apply_event("", Event::InitDone);
    cache
}

fn key(name: &str) -> ObjectKey {
    ObjectKey { namespace: "ns".into(), name: name.into() }
}

fn rv(cache: &ObjectStore<ConfigMap>, name: &str) -> Option<u64> {
    cache.get(&key(name)).map(|o| resource_version(&*o))
}

#[test]
fn a_write_is_seen_before_the_watch_tells_of_it() {
    let c = cache();
    c.assume(object("a", 5, "u"));
    assert_eq!(rv(&c, "a"), Some(5));
    assert_eq!(c.owned_by("u").len(), 1);
    assert_eq!(c.all().len(), 1);
    let older = c.apply_event("", Event::Apply(object("a", 4, "u"))).remove(0);
    assert!(older.own_write, "an older state of what we wrote is no news");
    assert_eq!(rv(&c, "a"), Some(5), "and does not hide the write");
    let same = c.apply_event("", Event::Apply(object("a", 5, "u"))).remove(0);
    assert!(same.own_write);
    let newer = c.apply_event("", Event::Apply(object("a", 6, "u"))).remove(0);
    assert!(!newer.own_write);
    assert_eq!(rv(&c, "a"), Some(6));
    assert_eq!(c.all().len(), 1);
}

#[test]
fn a_late_response_does_not_bring_back_what_was_deleted() {
    let c = cache();
    c.apply_event("", Event::Apply(object("a", 5, "u")));
    c.apply_event("", Event::Delete(object("a", 6, "u")));
    c.assume(object("a", 5, "u"));
    assert_eq!(rv(&c, "a"), None);
    c.assume(object("a", 7, "u"));
    assert_eq!(rv(&c, "a"), Some(7), "made again after the deletion");
}

#[test]
fn a_deletion_older_than_our_write_does_not_hide_it() {
    let c = cache();
    c.apply_event("", Event::Apply(object("a", 5, "u")));
    c.assume(object("a", 8, "v"));
    let change = c.apply_event("", Event::Delete(object("a", 6, "u"))).remove(0);
    assert!(change.own_write && change.new.is_some());
    assert_eq!(rv(&c, "a"), Some(8));
}

#[test]
fn a_write_older_than_the_watch_changes_nothing() {
    let c = cache();
    c.apply_event("", Event::Apply(object("a", 9, "u")));
    c.assume(object("a", 8, "u"));
    assert_eq!(rv(&c, "a"), Some(9));
}

#[test]
fn the_owner_index_follows_the_owner() {
    let c = cache();
    c.apply_event("", Event::Apply(object("a", 1, "u")));
    c.apply_event("", Event::Apply(object("a", 2, "v")));
    assert!(c.owned_by("u").is_empty());
    assert_eq!(c.owned_by("v").len(), 1);
    c.apply_event("", Event::Delete(object("a", 3, "v")));
    assert!(c.owned_by("v").is_empty() && c.all().is_empty());
}

#[test]
fn a_relist_tells_only_what_differs_and_keeps_other_scopes() {
    let c = cache();
    c.apply_event("ns", Event::Init);
    c.apply_event("ns", Event::InitApply(object("a", 1, "u")));
    c.apply_event("ns", Event::InitApply(object("b", 2, "u")));
    assert_eq!(c.apply_event("ns", Event::InitDone).len(), 2);
    c.apply_event("ns", Event::Init);
    c.apply_event("ns", Event::InitApply(object("a", 1, "u")));
    assert_eq!(rv(&c, "b"), Some(2), "nothing vanishes while the list comes in");
    let changes = c.apply_event("ns", Event::InitDone);
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!(changes[0].new.is_none());
    c.assume(object("c", 9, "u"));
    c.apply_event("ns", Event::Init);
    c.assume(object("d", 10, "u"));
    c.apply_event("ns", Event::InitApply(object("a", 1, "u")));
    c.apply_event("ns", Event::InitDone);
    assert_eq!(rv(&c, "c"), None, "the list began after that write and does not have it: deleted meanwhile");
    assert_eq!(rv(&c, "d"), Some(10), "written while the list came in");
    c.apply_event("other", Event::Init);
    assert!(c.apply_event("other", Event::InitDone).is_empty(), "an empty scope deletes nothing of another");
    assert_eq!(rv(&c, "a"), Some(1));
}
