//! Fake engines: no Knative, KEDA, cert-manager, External Secrets or Tekton runs; this writes the status that
//! they would write. It never changes a spec.

mod engine_side_effects;
mod fake_status;
mod statuses;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, TryStreamExt as _};
use kube::{
    Client, ResourceExt as _,
    api::{Api, ListParams, Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::watcher::{self, Event, watcher},
};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

use crate::engines::fake::fake_status::{
    FakedKind, has_status, image_failure, kinds, retain_transition_times, third_party_kinds,
};

pub use fake_status::FakeStatus;

/// How long to wait before looking up an API that is not served once more.
const DISCOVERY_INTERVAL: Duration = Duration::from_millis(200);

/// How long to wait before a status that could not be written is written again.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
const MAX_WRITES: usize = 64;

/// Which controllers are faked, and how.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches")]
pub struct FakeEngineOptions {
    /// Only objects in this namespace.
    pub namespace: Option<String>,
    /// How long each generation of an object stays [`FakeStatus::Pending`].
    pub delay: Duration,
    /// Make the pods of real Deployments ready (kube-controller-manager runs), instead of faking the status
    /// of Deployments.
    pub pods: bool,
    /// Create what engines create: Knative's Route and placeholder Service, the HTTP add-on's `ScaledObject`.
    pub side_effects: bool,
    /// Fake Tekton too: every build succeeds after the delay.
    pub builds: bool,
    /// Fake cert-manager and External Secrets only, because the engines are real.
    pub third_party_only: bool,
}

impl FakeEngineOptions {
    /// For one namespace of a cluster with kube-controller-manager, including side effects.
    #[must_use]
    pub fn in_namespace(namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), pods: true, side_effects: true, ..Self::default() }
    }
}

/// Running fake engines; they stop on drop.
pub struct FakeEngines {
    shared: Arc<Shared>,
    #[expect(dead_code, reason = "stops the watches on drop")]
    watches: JoinSet<()>,
}

/// Kind and "namespace/name".
type Key = (&'static str, String);

struct Shared {
    client: Client,
    options: FakeEngineOptions,
    /// As many as write at once: thousands of connections would be refused.
    writes: Semaphore,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    objects: HashMap<Key, (FakedKind, DynamicObject)>,
    /// When each generation becomes ready at the earliest.
    ready_at: HashMap<Key, (Option<i64>, Instant)>,
    /// Kind, name and status; the last match wins.
    overrides: Vec<(String, String, FakeStatus)>,
    on_hold: bool,
}

impl FakeEngines {
    /// Starts them. Kinds whose CRDs are missing are watched as soon as the CRDs are installed.
    #[must_use]
    pub fn start(client: Client, options: FakeEngineOptions) -> Self {
        let kinds =
            if options.third_party_only { third_party_kinds() } else { kinds(options.pods, options.builds) };
        let shared =
            Arc::new(Shared { client, options, writes: Semaphore::new(MAX_WRITES), state: Mutex::default() });
        let mut watches = JoinSet::new();
        for kind in kinds {
            watches.spawn(watch(Arc::clone(&shared), kind));
        }
        Self { shared, watches }
    }

    /// Sets the status of objects of this kind (`Service`, `Certificate`, …) and name, now and in future; `*`
    /// matches any. The last match wins, and takes precedence over the image's name: images with `broken` in
    /// their name can never be pulled.
    pub fn set_status(&self, kind: &str, name: &str, status: FakeStatus) {
        self.shared.lock().overrides.push((kind.to_owned(), name.to_owned(), status));
        self.shared.update_all();
    }

    /// Stops writing statuses until [`FakeEngines::release`].
    pub fn hold(&self) {
        self.shared.lock().on_hold = true;
    }

    /// Writes the statuses that were held back by [`FakeEngines::hold`].
    pub fn release(&self) {
        self.shared.lock().on_hold = false;
        self.shared.update_all();
    }
}

/// Watches one kind until aborted.
async fn watch(shared: Arc<Shared>, kind: FakedKind) {
    loop {
        let Some(api) = served_api(&shared, kind).await else {
            tokio::time::sleep(DISCOVERY_INTERVAL).await;
            continue;
        };
        let mut events = watcher(api, watcher::Config::default()).boxed();
        // On an error (the CRD was deleted, the API server is down) discovery starts again.
        while let Ok(Some(event)) = events.try_next().await {
            on_event(&shared, kind, event);
        }
        tokio::time::sleep(DISCOVERY_INTERVAL).await;
    }
}

/// The API of the first version that is served.
async fn served_api(shared: &Shared, kind: FakedKind) -> Option<Api<DynamicObject>> {
    for version in kind.versions {
        let gvk = GroupVersionKind::gvk(kind.group, version, kind.kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural);
        let api = match &shared.options.namespace {
            Some(namespace) => Api::namespaced_with(shared.client.clone(), namespace, &resource),
            None => Api::all_with(shared.client.clone(), &resource),
        };
        if api.list(&ListParams::default().limit(1)).await.is_ok() {
            return Some(api);
        }
    }
    None
}

fn on_event(shared: &Arc<Shared>, kind: FakedKind, event: Event<DynamicObject>) {
    match event {
        Event::Apply(object) | Event::InitApply(object) => {
            let key = object_key(kind, &object);
            shared.start_delay(&key, &object);
            shared.lock().objects.insert(key.clone(), (kind, object.clone()));
            tokio::spawn(Arc::clone(shared).update(key));
            if shared.options.side_effects {
                tokio::spawn(engine_side_effects::apply_for(shared.client.clone(), kind.kind, object));
            }
        }
        Event::Delete(object) => {
            let key = object_key(kind, &object);
            let mut state = shared.lock();
            state.objects.remove(&key);
            state.ready_at.remove(&key);
        }
        Event::Init | Event::InitDone => (),
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the delay of a new generation.
    fn start_delay(self: &Arc<Self>, key: &Key, object: &DynamicObject) {
        if self.options.delay.is_zero() {
            return;
        }
        let generation = object.metadata.generation;
        let mut state = self.lock();
        if state.ready_at.get(key).is_some_and(|(known, _)| *known == generation) {
            return;
        }
        let ready_at = Instant::now() + self.options.delay;
        state.ready_at.insert(key.clone(), (generation, ready_at));
        let (shared, key) = (Arc::clone(self), key.clone());
        tokio::spawn(async move {
            tokio::time::sleep_until(ready_at).await;
            shared.update(key).await;
        });
    }

    fn update_all(self: &Arc<Self>) {
        let keys: Vec<Key> = self.lock().objects.keys().cloned().collect();
        for key in keys {
            tokio::spawn(Arc::clone(self).update(key));
        }
    }

    /// Writes the object's status if it differs from the desired one.
    async fn update(self: Arc<Self>, key: Key) {
        let params = PatchParams { field_manager: Some("fake-engine".to_owned()), ..PatchParams::default() };
        loop {
            let Ok(_permit) = self.writes.acquire().await else { return };
            let Some((api, object, status)) = self.pending_update(&key) else { return };
            let patch = Patch::Merge(json!({"status": status}));
            match api.patch_status(&object.name_any(), &params, &patch).await {
                // If the object was deleted or changed in between, its watch event triggers the next update.
                Ok(_) => return,
                Err(kube::Error::Api(status)) if status.code < 429 => return,
                // Too many at once, or the API server is away.
                Err(_) => tokio::time::sleep(RETRY_INTERVAL).await,
            }
        }
    }

    fn pending_update(&self, key: &Key) -> Option<(Api<DynamicObject>, DynamicObject, Value)> {
        let state = self.lock();
        let (kind, object) = state.objects.get(key)?;
        let fake = state.status_for(kind, key, object);
        if fake == FakeStatus::Unchanged || object.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let none = json!({});
        let live = object.data.get("status").unwrap_or(&none);
        let mut status = (kind.status)(object, &fake);
        if has_status(live, &status) {
            return None;
        }
        retain_transition_times(live, &mut status);
        let resource = api_resource(*kind, object);
        let namespace = object.namespace()?;
        let api = Api::namespaced_with(self.client.clone(), &namespace, &resource);
        Some((api, object.clone(), status))
    }
}

impl State {
    fn status_for(&self, kind: &FakedKind, key: &Key, object: &DynamicObject) -> FakeStatus {
        if self.on_hold {
            return FakeStatus::Unchanged;
        }
        let name = object.name_any();
        let matches = |pattern: &String, value: &str| pattern == value || pattern == "*";
        let last_match = self
            .overrides
            .iter()
            .rev()
            .find(|(of, named, _)| matches(of, kind.kind) && matches(named, &name));
        if let Some((_, _, status)) = last_match {
            return status.clone();
        }
        if self.ready_at.get(key).is_some_and(|(_, ready_at)| Instant::now() < *ready_at) {
            return FakeStatus::Pending;
        }
        image_failure(object).unwrap_or(FakeStatus::Ready)
    }
}

fn object_key(kind: FakedKind, object: &DynamicObject) -> Key {
    let namespace = object.namespace().unwrap_or_default();
    (kind.kind, format!("{namespace}/{}", object.name_any()))
}

fn api_resource(kind: FakedKind, object: &DynamicObject) -> ApiResource {
    let version = object
        .types
        .as_ref()
        .and_then(|types| types.api_version.rsplit('/').next())
        .unwrap_or(kind.versions[0]);
    let gvk = GroupVersionKind::gvk(kind.group, version, kind.kind);
    ApiResource::from_gvk_with_plural(&gvk, kind.plural)
}
