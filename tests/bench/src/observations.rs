//! When each state was first observed, by watches on the services and their children. It does not interpret
//! times.

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

use crate::load::EDITED_TAG;

/// Much longer than any operator should need.
const TIMEOUT: Duration = Duration::from_mins(10);

/// Times by the service's name.
pub type Times = HashMap<String, Instant>;

/// An observable state of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Observation {
    /// A watch reports the `ElpioService`.
    Reported,
    /// The Knative Service exists.
    Child,
    /// The Knative Service is ready, for this generation of its own.
    ChildReady(i64),
    /// The Knative Service has the edited image.
    ChildEdited,
    /// The status of the `ElpioService` is that of this generation.
    Observed(i64),
    /// The `ElpioService` is ready, for this generation.
    Ready(i64),
}

/// The states in which an object is.
type Observe = fn(&DynamicObject) -> Vec<Observation>;

pub struct Observations {
    first: Arc<Mutex<HashMap<Observation, Times>>>,
    #[expect(dead_code, reason = "stops the watches on drop")]
    watches: JoinSet<()>,
}

impl Observations {
    pub async fn start(client: &Client, namespace: &str) -> Self {
        let first: Arc<Mutex<HashMap<Observation, Times>>> = Arc::default();
        let mut watches = JoinSet::new();
        let kinds: [(GroupVersionKind, Observe); 2] = [
            (GroupVersionKind::gvk("serving.knative.dev", "v1", "Service"), observe_child),
            (GroupVersionKind::gvk("elpio.io", "v1alpha1", "ElpioService"), observe_service),
        ];
        for (gvk, observe) in kinds {
            let api: Api<DynamicObject> =
                Api::namespaced_with(client.clone(), namespace, &ApiResource::from_gvk(&gvk));
            let first = Arc::clone(&first);
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
                        record(&first, &object.name_any(), &observe(&object));
                    }
                }
            });
            is_synced.await.expect("the watch starts");
        }
        Self { first, watches }
    }

    /// Waits until this service has been in this state, and returns when it was first.
    pub async fn wait_for(&self, observation: Observation, name: &str) -> Instant {
        let started = Instant::now();
        loop {
            if let Some(at) = self.first_seen(observation, name) {
                return at;
            }
            assert!(started.elapsed() < TIMEOUT, "{name} was never {observation:?}");
            // The watch records the time: how often it is asked for makes no difference.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn first_seen(&self, observation: Observation, name: &str) -> Option<Instant> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.get(&observation)?.get(name).copied()
    }

    /// Waits until `count` services have been in this state, and returns when each was first.
    pub async fn wait_for_all(&self, observation: Observation, count: usize) -> Times {
        eventually(&format!("{observation:?} of all services"), TIMEOUT, async || {
            let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
            let times = first.get(&observation);
            let found = times.map_or(0, HashMap::len);
            times.filter(|_| found >= count).cloned().ok_or_else(|| format!("{found} of {count}"))
        })
        .await
    }
}

fn record(first: &Mutex<HashMap<Observation, Times>>, name: &str, observations: &[Observation]) {
    let now = Instant::now();
    let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
    for observation in observations {
        first.entry(*observation).or_default().entry(name.to_owned()).or_insert(now);
    }
}

fn observe_child(object: &DynamicObject) -> Vec<Observation> {
    let mut observations = vec![Observation::Child];
    let image = object.data.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str);
    if image.is_some_and(|image| image.ends_with(&format!(":{EDITED_TAG}"))) {
        observations.push(Observation::ChildEdited);
    }
    observations.extend(ready_generation(object).map(Observation::ChildReady));
    observations
}

fn observe_service(object: &DynamicObject) -> Vec<Observation> {
    let observed = object.data["status"]["observedGeneration"].as_i64().map(Observation::Observed);
    let ready = ready_generation(object).map(Observation::Ready);
    [Some(Observation::Reported), observed, ready].into_iter().flatten().collect()
}

/// The current generation, if the object is ready for it.
fn ready_generation(object: &DynamicObject) -> Option<i64> {
    let status = &object.data["status"];
    let generation =
        object.metadata.generation.filter(|generation| status["observedGeneration"] == *generation)?;
    let conditions = status["conditions"].as_array()?;
    conditions
        .iter()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
        .then_some(generation)
}
