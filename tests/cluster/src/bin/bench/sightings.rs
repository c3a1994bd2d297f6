//! When what was first seen, by watches of our own on the services and their children. Judges nothing.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use elpio_cluster::eventually;
use futures::StreamExt as _;
use kube::{
    Client, ResourceExt as _,
    api::Api,
    core::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::load::EDITED;

/// Much longer than any operator should take.
const BOUND: Duration = Duration::from_mins(3);

/// Instants by the service's name.
pub type Times = HashMap<String, Instant>;

/// What can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sight {
    /// The Knative Service is there.
    Child,
    /// The Knative Service says ready, for this generation of its own.
    ChildReady(i64),
    /// The Knative Service has the edited image.
    ChildEdited,
    /// The `ElpioService` says ready, for this generation.
    Ready(i64),
}

/// What is to be seen of an object.
type Look = fn(&DynamicObject) -> Vec<Sight>;

pub struct Sightings {
    seen: Arc<Mutex<HashMap<Sight, Times>>>,
    #[expect(dead_code, reason = "ends the watches when dropped")]
    watches: JoinSet<()>,
}

impl Sightings {
    pub async fn start(client: &Client, namespace: &str) -> Self {
        let seen: Arc<Mutex<HashMap<Sight, Times>>> = Arc::default();
        let mut watches = JoinSet::new();
        let kinds: [(GroupVersionKind, Look); 2] = [
            (GroupVersionKind::gvk("serving.knative.dev", "v1", "Service"), of_child),
            (GroupVersionKind::gvk("elpio.io", "v1alpha1", "ElpioService"), of_service),
        ];
        for (gvk, sights) in kinds {
            let api: Api<DynamicObject> =
                Api::namespaced_with(client.clone(), namespace, &ApiResource::from_gvk(&gvk));
            let seen = Arc::clone(&seen);
            let (synced, is_synced) = tokio::sync::oneshot::channel();
            watches.spawn(async move {
                let mut synced = Some(synced);
                let mut events = watcher(api, watcher::Config::default()).boxed();
                while let Some(event) = events.next().await {
                    if matches!(event, Ok(watcher::Event::InitDone))
                        && let Some(synced) = synced.take()
                    {
                        let _ = synced.send(());
                    }
                    let mut objects = futures::stream::iter([event]).applied_objects().boxed();
                    while let Some(Ok(object)) = objects.next().await {
                        note(&seen, &object.name_any(), &sights(&object));
                    }
                }
            });
            is_synced.await.expect("the watch begins");
        }
        Self { seen, watches }
    }

    /// When each of `count` services had it, once they all have.
    pub async fn all(&self, sight: Sight, count: usize) -> Times {
        eventually(&format!("{sight:?} of all services"), BOUND, async || {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let times = seen.get(&sight);
            let found = times.map_or(0, HashMap::len);
            times.filter(|_| found == count).cloned().ok_or_else(|| format!("{found} of {count}"))
        })
        .await
    }
}

fn note(seen: &Mutex<HashMap<Sight, Times>>, name: &str, sights: &[Sight]) {
    let now = Instant::now();
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    for sight in sights {
        seen.entry(*sight).or_default().entry(name.to_owned()).or_insert(now);
    }
}

fn of_child(object: &DynamicObject) -> Vec<Sight> {
    let mut sights = vec![Sight::Child];
    let image = object.data.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str);
    if image.is_some_and(|image| image.ends_with(&format!(":{EDITED}"))) {
        sights.push(Sight::ChildEdited);
    }
    sights.extend(ready(object).map(Sight::ChildReady));
    sights
}

fn of_service(object: &DynamicObject) -> Vec<Sight> {
    ready(object).map(Sight::Ready).into_iter().collect()
}

/// The generation for which it says ready.
fn ready(object: &DynamicObject) -> Option<i64> {
    let status = &object.data["status"];
    let generation =
        object.metadata.generation.filter(|generation| status["observedGeneration"] == *generation)?;
    let conditions = status["conditions"].as_array()?;
    conditions
        .iter()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
        .then_some(generation)
}
