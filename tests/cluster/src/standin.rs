//! A stand-in for the engines: no Knative, KEDA, cert-manager, External Secrets or Tekton runs; this writes
//! the status that they would write. It never touches a spec.

pub use crate::verdict::Verdict;
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
use tokio::{task::JoinSet, time::Instant};

use crate::verdict::{Part, beside_engines, keep_times, of_image, parts, says};

/// How often an API that is not served is looked for.
const ABSENT: Duration = Duration::from_millis(200);

/// What is played, and how.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that is played or not")]
pub struct Play {
    /// Only in this namespace.
    pub namespace: Option<String>,
    /// How long each generation of an object stays [`Verdict::Pending`].
    pub delay: Duration,
    /// Deployments are real, because kube-controller-manager runs: play the node, and make their pods ready.
    pub pods: bool,
    /// Make what engines make beside it: Knative's Route and its placeholder Service, the HTTP add-on's own
    /// `ScaledObject`.
    pub companions: bool,
    /// Play Tekton too: every build succeeds after the delay, and nothing is built.
    pub builds: bool,
    /// The engines are real: play cert-manager and External Secrets alone, whose controllers run nowhere
    /// here.
    pub beside_engines: bool,
}

impl Play {
    /// In one namespace of a cluster with kube-controller-manager, with all that engines make.
    #[must_use]
    pub fn in_namespace(namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), pods: true, companions: true, ..Self::default() }
    }
}

/// Plays until it is dropped.
pub struct StandInEngine {
    stage: Arc<Stage>,
    #[expect(dead_code, reason = "ends the watches when dropped")]
    watches: JoinSet<()>,
}

/// Kind and "namespace/name".
type Key = (&'static str, String);

struct Stage {
    client: Client,
    play: Play,
    script: Mutex<Script>,
}

#[derive(Default)]
struct Script {
    objects: HashMap<Key, (Part, DynamicObject)>,
    /// When each generation is ready at the earliest.
    due: HashMap<Key, (Option<i64>, Instant)>,
    /// Kind, name, and what is said of it; the last that fits counts.
    said: Vec<(String, String, Verdict)>,
    holding: bool,
}

impl StandInEngine {
    /// Starts to play; kinds whose CRDs are absent are played as soon as they arrive.
    #[must_use]
    pub fn start(client: Client, play: Play) -> Self {
        let parts = if play.beside_engines { beside_engines() } else { parts(play.pods, play.builds) };
        let stage = Arc::new(Stage { client, play, script: Mutex::default() });
        let mut watches = JoinSet::new();
        for part in parts {
            watches.spawn(watch(Arc::clone(&stage), part));
        }
        Self { stage, watches }
    }

    /// From now on this is said of objects of this kind (`Service`, `Certificate`, …) and name; `*` is any.
    /// The last that fits counts, before the image's own fate: images with `broken` in their name can never
    /// be pulled.
    pub fn say(&self, kind: &str, name: &str, verdict: Verdict) {
        let said = (kind.to_owned(), name.to_owned(), verdict);
        self.stage.script().said.push(said);
        self.stage.settle_all();
    }

    /// Nothing becomes ready, or anything else, until [`StandInEngine::release`].
    pub fn hold(&self) {
        self.stage.script().holding = true;
    }

    /// The end of [`StandInEngine::hold`].
    pub fn release(&self) {
        self.stage.script().holding = false;
        self.stage.settle_all();
    }

    /// How many objects it knows.
    #[must_use]
    pub fn objects(&self) -> usize {
        self.stage.script().objects.len()
    }
}

/// Watches one kind for ever.
async fn watch(stage: Arc<Stage>, part: Part) {
    loop {
        let Some(api) = served(&stage, part).await else {
            tokio::time::sleep(ABSENT).await;
            continue;
        };
        let mut events = watcher(api, watcher::Config::default()).boxed();
        // An error is an API that went with its CRD, or an API server that is away: begin again.
        while let Ok(Some(event)) = events.try_next().await {
            see(&stage, part, event);
        }
        tokio::time::sleep(ABSENT).await;
    }
}

/// The API of the first version that is served.
async fn served(stage: &Stage, part: Part) -> Option<Api<DynamicObject>> {
    for version in part.versions {
        let gvk = GroupVersionKind::gvk(part.group, version, part.kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, part.plural);
        let api = match &stage.play.namespace {
            Some(namespace) => Api::namespaced_with(stage.client.clone(), namespace, &resource),
            None => Api::all_with(stage.client.clone(), &resource),
        };
        if api.list(&ListParams::default().limit(1)).await.is_ok() {
            return Some(api);
        }
    }
    None
}

fn see(stage: &Arc<Stage>, part: Part, event: Event<DynamicObject>) {
    match event {
        Event::Apply(object) | Event::InitApply(object) => {
            let key = key(part, &object);
            stage.note_due(&key, &object);
            stage.script().objects.insert(key.clone(), (part, object.clone()));
            tokio::spawn(Arc::clone(stage).settle(key));
            if stage.play.companions {
                tokio::spawn(crate::companions::make(stage.client.clone(), part.kind, object));
            }
        }
        Event::Delete(object) => {
            let key = key(part, &object);
            let mut script = stage.script();
            script.objects.remove(&key);
            script.due.remove(&key);
        }
        Event::Init | Event::InitDone => (),
    }
}

impl Stage {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new generation starts its delay.
    fn note_due(self: &Arc<Self>, key: &Key, object: &DynamicObject) {
        if self.play.delay.is_zero() {
            return;
        }
        let generation = object.metadata.generation;
        let mut script = self.script();
        if script.due.get(key).is_some_and(|(seen, _)| *seen == generation) {
            return;
        }
        let due = Instant::now() + self.play.delay;
        script.due.insert(key.clone(), (generation, due));
        let (stage, key) = (Arc::clone(self), key.clone());
        tokio::spawn(async move {
            tokio::time::sleep_until(due).await;
            stage.settle(key).await;
        });
    }

    fn settle_all(self: &Arc<Self>) {
        let keys: Vec<Key> = self.script().objects.keys().cloned().collect();
        for key in keys {
            tokio::spawn(Arc::clone(self).settle(key));
        }
    }

    /// Writes what is to be said of that object, if it does not say so already.
    async fn settle(self: Arc<Self>, key: Key) {
        let Some((api, object, status)) = self.wanted(&key) else {
            return;
        };
        let patch = Patch::Merge(json!({"status": status}));
        let params =
            PatchParams { field_manager: Some("stand-in-engine".to_owned()), ..PatchParams::default() };
        // Deleted or changed in between: the watch tells, and then it is settled again.
        let _ = api.patch_status(&object.name_any(), &params, &patch).await;
    }

    fn wanted(&self, key: &Key) -> Option<(Api<DynamicObject>, DynamicObject, Value)> {
        let script = self.script();
        let (part, object) = script.objects.get(key)?;
        let verdict = script.verdict(part, key, object);
        if verdict == Verdict::Hold || object.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let none = json!({});
        let live = object.data.get("status").unwrap_or(&none);
        let mut status = (part.status)(object, &verdict);
        if says(live, &status) {
            return None;
        }
        keep_times(live, &mut status);
        let resource = resource(*part, object);
        let namespace = object.namespace()?;
        let api = Api::namespaced_with(self.client.clone(), &namespace, &resource);
        Some((api, object.clone(), status))
    }
}

impl Script {
    fn verdict(&self, part: &Part, key: &Key, object: &DynamicObject) -> Verdict {
        if self.holding {
            return Verdict::Hold;
        }
        let name = object.name_any();
        let said = self
            .said
            .iter()
            .rev()
            .find(|(kind, of, _)| (kind == part.kind || kind == "*") && (*of == name || of == "*"));
        if let Some((_, _, verdict)) = said {
            return verdict.clone();
        }
        if self.due.get(key).is_some_and(|(_, due)| Instant::now() < *due) {
            return Verdict::Pending;
        }
        of_image(object).unwrap_or(Verdict::Ready)
    }
}

fn key(part: Part, object: &DynamicObject) -> Key {
    let namespace = object.namespace().unwrap_or_default();
    (part.kind, format!("{namespace}/{}", object.name_any()))
}

fn resource(part: Part, object: &DynamicObject) -> ApiResource {
    let version = object
        .types
        .as_ref()
        .and_then(|types| types.api_version.rsplit('/').next())
        .unwrap_or(part.versions[0]);
    let gvk = GroupVersionKind::gvk(part.group, version, part.kind);
    ApiResource::from_gvk_with_plural(&gvk, part.plural)
}
