//! The store under every order of watch events and write responses.
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
    ObjectStore::new(|o: &ConfigMap| o.metadata.uid.as_deref().filter(|u| !u.is_empty()))
}

fn key(name: &str) -> ObjectKey {
    ObjectKey { namespace: "ns".into(), name: name.into() }
}

fn rv(cache: &ObjectStore<ConfigMap>, name: &str) -> Option<u64> {
    cache.get(&key(name)).map(|o| resource_version(&*o))
}

#[test]
fn a_write_is_seen_before_the_watch_shows_it() {
    let c = cache();
    c.assume(object("a", 5, "u"));
    assert_eq!(rv(&c, "a"), Some(5));
    assert_eq!(c.owned_by("u").len(), 1);
    assert_eq!(c.all().len(), 1);
    let older = c.apply(object("a", 4, "u"));
    assert!(older.own_write, "an older state of what we wrote is no change");
    assert_eq!(rv(&c, "a"), Some(5), "and does not hide the write");
    let same = c.apply(object("a", 5, "u"));
    assert!(same.own_write);
    let newer = c.apply(object("a", 6, "u"));
    assert!(!newer.own_write);
    assert_eq!(rv(&c, "a"), Some(6));
    assert_eq!(c.all().len(), 1);
}

#[test]
fn a_late_response_does_not_bring_back_what_was_deleted() {
    let c = cache();
    c.apply(object("a", 5, "u"));
    c.delete(object("a", 6, "u"));
    c.assume(object("a", 5, "u"));
    assert_eq!(rv(&c, "a"), None);
    c.assume(object("a", 7, "u"));
    assert_eq!(rv(&c, "a"), Some(7), "made again after the deletion");
}

#[test]
fn a_deletion_older_than_our_write_does_not_hide_it() {
    let c = cache();
    c.apply(object("a", 5, "u"));
    c.assume(object("a", 8, "v"));
    let change = c.delete(object("a", 6, "u"));
    assert!(change.own_write && change.new.is_some());
    assert_eq!(rv(&c, "a"), Some(8));
}

#[test]
fn a_write_older_than_the_watch_changes_nothing() {
    let c = cache();
    c.apply(object("a", 9, "u"));
    c.assume(object("a", 8, "u"));
    assert_eq!(rv(&c, "a"), Some(9));
}

#[test]
fn the_owner_index_follows_the_owner() {
    let c = cache();
    c.apply(object("a", 1, "u"));
    c.apply(object("a", 2, "v"));
    assert!(c.owned_by("u").is_empty());
    assert_eq!(c.owned_by("v").len(), 1);
    c.delete(object("a", 3, "v"));
    assert!(c.owned_by("v").is_empty() && c.all().is_empty());
}

fn list(scope: &str, version: u64, objects: &[(&str, u64)]) -> Relist<ConfigMap> {
    let objects = objects.iter().map(|(name, rv)| object(name, *rv, "u")).collect();
    Relist { scope: scope.into(), objects, unchanged: Vec::new(), version, rewound: false }
}

#[test]
fn what_a_relist_finds_unchanged_stays_as_it_is() {
    let c = cache();
    c.replace(list("ns", 5, &[("a", 1), ("b", 2), ("c", 3)]));
    for (name, version, expected) in [("a", 1, true), ("a", 2, false), ("x", 1, false)] {
        assert_eq!(c.is_observed(&object(name, version, "u")), expected, "{name} at {version}");
    }
    let changes = c.replace(Relist { unchanged: vec![key("a")], ..list("ns", 9, &[("b", 8)]) });
    assert_eq!(changes.len(), 2, "b changed and c is deleted: {changes:?}");
    assert_eq!((rv(&c, "a"), rv(&c, "b"), rv(&c, "c")), (Some(1), Some(8), None));
    assert_eq!(c.owned_by("u").len(), 2);
    // Deleted while the list was read.
    c.assume_deleted(&object("a", 1, "u"));
    c.replace(Relist { unchanged: vec![key("a")], ..list("ns", 10, &[]) });
    assert_eq!((rv(&c, "a"), rv(&c, "b")), (None, None));
    assert!(c.owned_by("u").is_empty());
}

#[test]
fn a_relist_reports_only_what_differs_and_keeps_other_scopes() {
    let c = cache();
    assert_eq!(c.replace(list("ns", 2, &[("a", 1), ("b", 2)])).len(), 2);
    let changes = c.replace(list("ns", 3, &[("a", 1)]));
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!(changes[0].new.is_none());
    assert!(c.replace(list("other", 4, &[])).is_empty(), "an empty scope deletes nothing of another");
    assert_eq!(rv(&c, "a"), Some(1));
}

#[test]
fn a_relist_decides_about_the_writes_before_it_and_no_other() {
    let c = cache();
    for (version, name) in [(9, "c"), (10, "d")] {
        c.assume(object(name, version, "u"));
    }
    c.replace(list("ns", 9, &[("a", 1)]));
    assert_eq!(rv(&c, "c"), None, "the list would have it: deleted meanwhile");
    assert_eq!(rv(&c, "d"), Some(10), "written after the list was taken");
}

#[test]
fn an_older_list_wins_after_the_versions_went_backwards() {
    let c = cache();
    c.replace(list("ns", 50, &[("a", 40), ("b", 41)]));
    c.assume(object("a", 60, "v"));
    c.assume(object("new", 61, "v"));
    c.delete(object("b", 62, "u"));
    let older = Relist { rewound: true, ..list("ns", 20, &[("a", 10), ("b", 11)]) };
    c.replace(older);
    assert_eq!((rv(&c, "a"), rv(&c, "b"), rv(&c, "new")), (Some(10), Some(11), None));
    assert!(c.owned_by("v").is_empty());
    assert_eq!(c.owned_by("u").len(), 2);
    c.apply(object("a", 21, "u"));
    assert_eq!(rv(&c, "a"), Some(21));
    c.delete(object("b", 22, "u"));
    c.assume(object("b", 23, "u"));
    assert_eq!(rv(&c, "b"), Some(23), "deletions of the lost future hide nothing");
}
