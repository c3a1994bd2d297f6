//! The children of all Elpio's objects, as seen by their watches: one store per kind, filled where the API is
//! served and may be watched.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kube::{
    Client, ResourceExt,
    core::{DynamicObject, PartialObjectMeta},
};
use parking_lot::RwLock;

use crate::{
    api::label,
    cluster::{
        ObjectKey,
        store::{
            ObjectChange, ObjectStore, StoredObject,
            compact::CompactObject,
            list_watch::ListWatch,
            reflector,
            shared_state::{SharedWatchState, WatchRole, WatchTarget},
            watch_handle::{WatchContext, WatchHandle, WatchState},
        },
    },
    foreign::ChildKind,
    render::{ChildId, applied::LiveChildren},
};

/// How long startup waits for the first lists.
const INITIAL_SYNC_TIMEOUT: Duration = Duration::from_secs(30);

/// Called for every change of a child.
pub type OnChildChange = Arc<dyn Fn(ChildKind, &ObjectChange<PartialObjectMeta>) + Send + Sync>;

/// Called when a kind becomes available in a namespace ("" for all) or stops being available.
pub type OnAvailabilityChange = Arc<dyn Fn(&str) + Send + Sync>;

/// The label that names the owner of a child of this kind. Only Elpio's children have it, so the size of the
/// cluster does not matter, and no other controller rewrites it.
fn owner_label(kind: ChildKind) -> &'static str {
    if kind.is_of_function() { label::FUNCTION } else { label::SERVICE }
}

/// The stores of all kinds of children.
pub struct ChildStore {
    client: Client,
    scopes: Vec<String>,
    stores: BTreeMap<ChildKind, Arc<ObjectStore<CompactObject>>>,
    watches: RwLock<BTreeMap<ChildKind, BTreeMap<String, WatchHandle>>>,
    context: WatchContext,
}

impl std::fmt::Debug for ChildStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChildStore").field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

/// The unpacked child; returns `known` if that is the same version.
fn unpack(child: &CompactObject, known: Option<&Arc<DynamicObject>>) -> Arc<DynamicObject> {
    let now = version(child);
    let same = known.filter(|known| now.is_some() && version(&***known) == now);
    same.cloned().unwrap_or_else(|| Arc::new(child.to_object()))
}

/// The uid and resourceVersion, which together identify one state of an object.
fn version(object: &impl StoredObject) -> Option<(&str, u64)> {
    object.uid().zip(object.resource_version())
}

impl ChildStore {
    /// Empty stores for these kinds in these namespaces (none: all).
    #[must_use]
    pub fn new(client: Client, kinds: &[ChildKind], namespaces: &[String], context: WatchContext) -> Self {
        let scopes = if namespaces.is_empty() { vec![String::new()] } else { namespaces.to_vec() };
        let stores =
            kinds.iter().map(|kind| (*kind, Arc::new(ObjectStore::new(CompactObject::owner)))).collect();
        Self { client, scopes, stores, watches: RwLock::default(), context }
    }

    /// The kinds that have a store.
    pub fn kinds(&self) -> impl Iterator<Item = ChildKind> {
        self.stores.keys().copied()
    }

    /// The state shared by all watches.
    #[must_use]
    pub fn watches(&self) -> &SharedWatchState {
        &self.context.shared
    }

    /// The children that the object with this uid controls.
    pub fn controlled_by(&self, uid: &str) -> LiveChildren {
        self.controlled_by_reusing(uid, &LiveChildren::new())
    }

    /// Like [`Self::controlled_by`], but reuses the children of `known` that are at the same version instead
    /// of unpacking them again.
    pub fn controlled_by_reusing(&self, uid: &str, known: &LiveChildren) -> LiveChildren {
        let owned = |(kind, store): (&ChildKind, &Arc<ObjectStore<CompactObject>>)| {
            let kind = *kind;
            let child = move |child: Arc<CompactObject>| {
                let id = ChildId::new(kind, child.key().name);
                let object = unpack(&child, known.get(&id));
                (id, object)
            };
            store.owned_by(uid).into_iter().map(child)
        };
        self.stores.iter().flat_map(owned).collect()
    }

    /// The objects that these children control, if their kind is watched: the tasks of runs.
    pub fn grandchildren_of(&self, live: &LiveChildren) -> LiveChildren {
        let runs = live.iter().filter(|(id, _)| id.kind == ChildKind::PipelineRun);
        let uids = runs.filter_map(|(_, run)| run.metadata.uid.as_deref());
        uids.flat_map(|uid| self.controlled_by(uid)).collect()
    }

    /// One child, whatever controls it; only objects with the owner's label are in the store.
    pub fn get(&self, kind: ChildKind, key: &ObjectKey) -> Option<Arc<CompactObject>> {
        self.stores.get(&kind).and_then(|store| store.get(key))
    }

    /// Puts the response of a write into the store.
    pub fn assume(&self, kind: ChildKind, object: DynamicObject) {
        if let Some(store) = self.stores.get(&kind)
            && object.labels().contains_key(owner_label(kind))
        {
            store.assume(object.into());
        }
    }

    /// Records a deletion that completed at once.
    pub fn assume_deleted(&self, kind: ChildKind, object: &DynamicObject) {
        if let Some(store) = self.stores.get(&kind) {
            store.delete(object.clone().into());
        }
    }

    /// The state of this kind's watch in this namespace: once it is synced, children can be created.
    pub fn availability(&self, kind: ChildKind, namespace: &str) -> WatchState {
        let watches = self.watches.read();
        let scopes = watches.get(&kind);
        let watch = scopes.and_then(|s| s.get("").or_else(|| s.get(namespace)));
        watch.map_or(WatchState::Absent, WatchHandle::state)
    }

    /// Starts every watch.
    pub fn start(&self, on_change: &OnChildChange, on_availability: &OnAvailabilityChange) {
        let mut watches = self.watches.write();
        for (kind, store) in &self.stores {
            let start = |scope: &String| {
                (scope.clone(), self.start_one(*kind, scope, store, on_change, on_availability))
            };
            watches.insert(*kind, self.scopes.iter().map(start).collect());
        }
    }

    /// Waits, for a bounded time, for the first lists of the kinds that are served and permitted.
    pub async fn wait_for_sync(&self) {
        let states: Vec<_> =
            self.watches.read().values().flat_map(BTreeMap::values).map(WatchHandle::states).collect();
        let all_settled = async {
            for mut state in states {
                let _ = state.wait_for(|state| *state != WatchState::Pending).await;
            }
        };
        if tokio::time::timeout(INITIAL_SYNC_TIMEOUT, all_settled).await.is_err() {
            tracing::warn!(
                "timed out waiting for caches to sync; objects that need a missing API wait for it"
            );
        }
    }

    fn start_one(
        &self,
        kind: ChildKind,
        scope: &str,
        store: &Arc<ObjectStore<CompactObject>>,
        on_change: &OnChildChange,
        on_availability: &OnAvailabilityChange,
    ) -> WatchHandle {
        let list_watch = |version: &&'static str| {
            let resource = kind.api_resource(version);
            let client = self.client.clone();
            (*version, ListWatch::new::<DynamicObject>(client, &resource, scope, owner_label(kind)))
        };
        let target = WatchTarget { role: WatchRole::Child, resource: kind.label(), scope: scope.to_owned() };
        let (on_change, on_availability) = (on_change.clone(), on_availability.clone());
        let namespace = scope.to_owned();
        reflector::spawn(
            kind.versions().iter().map(list_watch).collect(),
            target,
            store.clone(),
            &self.context,
            move |change: ObjectChange<CompactObject>| {
                // The echo of a write of this process concerns nobody.
                if !change.own_write {
                    let read = |object: Option<Arc<CompactObject>>| object.map(|o| Arc::new(o.to_metadata()));
                    let (old, new) = (read(change.old), read(change.new));
                    on_change(kind, &ObjectChange { old, new, own_write: false });
                }
            },
            move || on_availability(&namespace),
        )
    }
}

#[cfg(test)]
mod tests {
    use kube::core::ObjectMeta;

    use super::*;

    #[test]
    fn only_the_same_version_of_a_child_is_reused() {
        let child = |uid: &str, version: &str| {
            let mut object =
                DynamicObject { types: None, metadata: ObjectMeta::default(), data: version.into() };
            object.metadata.uid = Some(uid.to_owned());
            object.metadata.resource_version = Some(version.to_owned());
            object
        };
        let known = Arc::new(child("1", "7"));
        for (uid, version, is_reused) in [("1", "7", true), ("1", "8", false), ("2", "7", false)] {
            let unpacked = unpack(&child(uid, version).into(), Some(&known));
            assert_eq!(Arc::ptr_eq(&unpacked, &known), is_reused, "{uid} at {version}");
            assert_eq!(unpacked.metadata.resource_version.as_deref(), Some(version));
        }
        let unnamed = CompactObject::from(DynamicObject {
            types: None,
            metadata: ObjectMeta::default(),
            data: "".into(),
        });
        assert!(!Arc::ptr_eq(&unpack(&unnamed, Some(&known)), &known));
    }
}
