//! The children of all our objects, as their watches see them: one cache a kind, filled while the API is
//! served and we may watch it.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Api, Client, ResourceExt, core::DynamicObject};

use crate::{
    api::label,
    cluster::{
        ObjectKey,
        store::{
            ObjectChange, ObjectStore,
            reflector::{self, WatchHandle, WatchState, WatchTarget},
        },
    },
    foreign::ChildKind,
    render::{ChildId, applied::LiveChildren},
    telemetry::Metrics,
};

/// Only our children carry it, so a big cluster costs nothing.
const SELECTOR: &str = "app.kubernetes.io/managed-by=elpio";

/// How long a newly served API may take to fill its cache before others stop waiting for it.
const INITIAL_SYNC_TIMEOUT: Duration = Duration::from_secs(30);

/// What is to be done about a child's change: its kind, and the change.
pub type OnChildChange = Arc<dyn Fn(ChildKind, &ObjectChange<DynamicObject>) + Send + Sync>;

/// Called when a kind became available or ceased to be.
pub type OnAvailabilityChange = Arc<dyn Fn() + Send + Sync>;

/// Whether children of a kind can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Availability {
    /// Served at this version, watched and synced.
    Ready(String),
    /// The API is not there.
    Absent,
    /// It is there, and its first list is still coming in.
    Pending,
    /// It is there, and we may not watch it; the API server's words.
    Forbidden(String),
}

/// The caches of all kinds of children.
pub struct ChildStore {
    client: Client,
    scopes: Vec<String>,
    caches: BTreeMap<ChildKind, Arc<ObjectStore<DynamicObject>>>,
    watches: RwLock<BTreeMap<ChildKind, (String, Vec<WatchHandle>)>>,
    metrics: Metrics,
}

impl std::fmt::Debug for ChildStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Children").field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

/// An object's controller: who owns it, whatever its labels say.
pub fn controller_of<K: ResourceExt>(object: &K) -> Option<OwnerReference> {
    object.owner_references().iter().find(|o| o.controller == Some(true)).cloned()
}

fn controller_uid(object: &DynamicObject) -> Option<String> {
    controller_of(object).map(|o| o.uid)
}

impl ChildStore {
    /// Empty caches for these kinds, over these namespaces (none: all).
    #[must_use]
    pub fn new(client: Client, kinds: &[ChildKind], namespaces: &[String], metrics: Metrics) -> Self {
        let scopes = if namespaces.is_empty() { vec![String::new()] } else { namespaces.to_vec() };
        let caches = kinds
            .iter()
            .map(|kind| {
                (*kind, Arc::new(ObjectStore::new(controller_uid as fn(&DynamicObject) -> Option<String>)))
            })
            .collect();
        Self { client, scopes, caches, watches: RwLock::default(), metrics }
    }

    /// The kinds that there are caches for.
    pub fn kinds(&self) -> impl Iterator<Item = ChildKind> {
        self.caches.keys().copied()
    }

    /// What the object with this uid controls.
    pub fn controlled_by(&self, uid: &str) -> LiveChildren {
        let owned = |(kind, cache): (&ChildKind, &Arc<ObjectStore<DynamicObject>>)| {
            let kind = *kind;
            cache.owned_by(uid).into_iter().map(move |o| (ChildId::new(kind, o.name_any()), o))
        };
        self.caches.iter().flat_map(owned).collect()
    }

    /// What these children control in turn, as far as it is watched: the tasks of runs.
    pub fn grandchildren_of(&self, live: &LiveChildren) -> LiveChildren {
        let runs =
            live.iter().filter(|(id, _)| id.kind == ChildKind::PipelineRun).filter_map(|(_, run)| run.uid());
        runs.flat_map(|uid| self.controlled_by(&uid)).collect()
    }

    /// One child, whoever controls it; only objects with our label are known.
    pub fn get(&self, kind: ChildKind, key: &ObjectKey) -> Option<Arc<DynamicObject>> {
        self.caches.get(&kind).and_then(|cache| cache.get(key))
    }

    /// Takes note of what a write returned.
    pub fn assume(&self, kind: ChildKind, mut object: DynamicObject) {
        object.managed_fields_mut().clear();
        if let Some(cache) = self.caches.get(&kind)
            && object.labels().get(label::MANAGED_BY).is_some_and(|v| v == label::MANAGED_BY_VALUE)
        {
            cache.assume(object);
        }
    }

    /// Takes note of a deletion that left nothing behind.
    pub fn assume_deleted(&self, kind: ChildKind, object: &DynamicObject) {
        if let Some(cache) = self.caches.get(&kind) {
            let scope =
                if self.scopes == [""] { String::new() } else { object.namespace().unwrap_or_default() };
            cache.apply_event(&scope, kube::runtime::watcher::Event::Delete(object.clone()));
        }
    }

    /// Whether children of this kind can be made.
    pub fn availability(&self, kind: ChildKind) -> Availability {
        let watches = self.watches.read().unwrap_or_else(PoisonError::into_inner);
        let Some((version, watches)) = watches.get(&kind) else { return Availability::Absent };
        let mut result = Availability::Ready(version.clone());
        for watch in watches {
            match watch.state() {
                WatchState::Synced => {}
                WatchState::Forbidden(why) => return Availability::Forbidden(why),
                WatchState::Absent => return Availability::Absent,
                WatchState::Pending => result = Availability::Pending,
            }
        }
        result
    }

    /// Starts and stops watches so that just these kinds, at these versions, are watched; returns when the
    /// new ones have settled. The kinds that are built in are watched at their only version.
    pub async fn set_served(
        &self,
        served: &BTreeMap<ChildKind, String>,
        changed: &OnChildChange,
        turned: &OnAvailabilityChange,
    ) {
        let mut gone = Vec::new();
        let mut settling = Vec::new();
        {
            let mut watches = self.watches.write().unwrap_or_else(PoisonError::into_inner);
            watches.retain(|kind, (version, _)| {
                let stays = served.get(kind) == Some(version);
                if !stays {
                    gone.push(*kind);
                }
                stays
            });
            // Before a new watch may fill them.
            for cache in gone.iter().filter_map(|kind| self.caches.get(kind)) {
                cache.clear();
            }
            for (kind, version) in served {
                if !watches.contains_key(kind) && self.caches.contains_key(kind) {
                    watches.insert(*kind, (version.clone(), self.start(*kind, version, changed, turned)));
                    settling.push(*kind);
                }
            }
        }
        let all_settled = async {
            for kind in settling {
                while self.availability(kind) == Availability::Pending {
                    self.wait_for_sync(kind).await;
                }
            }
        };
        if tokio::time::timeout(INITIAL_SYNC_TIMEOUT, all_settled).await.is_err() {
            tracing::warn!(
                "an API that was found does not answer to its watch; objects that need it wait for it"
            );
        }
    }

    async fn wait_for_sync(&self, kind: ChildKind) {
        let pending = {
            let watches = self.watches.read().unwrap_or_else(PoisonError::into_inner);
            let pending =
                watches.get(&kind).and_then(|(_, all)| all.iter().find(|w| w.state() == WatchState::Pending));
            pending.map(WatchHandle::settled)
        };
        if let Some(settled) = pending {
            settled.await;
        }
    }

    fn start(
        &self,
        kind: ChildKind,
        version: &str,
        changed: &OnChildChange,
        turned: &OnAvailabilityChange,
    ) -> Vec<WatchHandle> {
        let resource = kind.api_resource(version);
        let start_one = |scope: &String| {
            let api: Api<DynamicObject> = match scope.as_str() {
                "" => Api::all_with(self.client.clone(), &resource),
                namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
            };
            let subject = WatchTarget { resource: kind.label(), scope: scope.clone(), selector: SELECTOR };
            let (changed, turned) = (changed.clone(), turned.clone());
            self.caches.get(&kind).map(|cache| {
                reflector::spawn(
                    api,
                    subject,
                    cache.clone(),
                    &self.metrics,
                    move |c| changed(kind, &c),
                    move || turned(),
                )
            })
        };
        self.scopes.iter().filter_map(start_one).collect()
    }
}
