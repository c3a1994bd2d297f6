//! Which optional APIs the cluster serves, kept up to date; what that means for an object is decided
//! elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt,
    core::PartialObjectMeta,
    runtime::watcher::{self, Error, Event},
};
use tokio::sync::{Notify, watch};

use crate::{
    cluster::{
        client::call::{ApiCall, ApiError, call_with_timeout},
        store::reflector::WatchBackoff,
    },
    foreign::ChildKind,
    telemetry::{ErrorType, Metrics},
};

/// How often we look where CRDs cannot be watched (namespaced roles).
const POLL_INTERVAL: Duration = Duration::from_secs(30);

/// A CRD is known to its watch before it is served: how often we look again until it is, twice as long each
/// time.
const INITIAL_REFRESH_DELAY: Duration = Duration::from_millis(100);
const MAX_REFRESH_DELAY: Duration = Duration::from_secs(10);

/// Which of the kinds are served, and at which version.
pub type ServedVersions = BTreeMap<ChildKind, String>;

/// Asks the API server which of `kinds` it serves: one request for each group and version.
///
/// # Errors
/// Any failure but 404, which says that the API is absent.
pub async fn probe(client: &Client, kinds: &[ChildKind]) -> Result<ServedVersions, ApiError> {
    let mut lists: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut served = ServedVersions::new();
    for kind in kinds {
        for version in kind.versions() {
            let group_version = kind.api_version_at(version);
            if kind.crd().is_none() || served.contains_key(kind) {
                served.entry(*kind).or_insert_with(|| (*version).to_owned());
                continue;
            }
            if !lists.contains_key(&group_version) {
                lists.insert(group_version.clone(), resources(client, &group_version).await?);
            }
            if lists.get(&group_version).is_some_and(|plurals| plurals.contains(kind.plural())) {
                served.insert(*kind, (*version).to_owned());
            }
        }
    }
    Ok(served)
}

async fn resources(client: &Client, group_version: &str) -> Result<BTreeSet<String>, ApiError> {
    let call = ApiCall {
        verb: "get",
        resource: format!("/apis/{group_version}"),
        namespace: String::new(),
        name: String::new(),
    };
    match call_with_timeout(call, client.list_api_group_resources(group_version)).await {
        Ok(list) => Ok(list.resources.into_iter().map(|r| r.name).collect()),
        Err(error) if error.class == ErrorType::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}

/// Keeps [`ServedVersions`] up to date for ever.
pub async fn run(
    client: Client,
    kinds: Vec<ChildKind>,
    served: watch::Sender<ServedVersions>,
    metrics: Metrics,
) {
    let news = Arc::new(CrdState::default());
    let names: BTreeSet<String> = kinds.iter().filter_map(|kind| kind.crd()).collect();
    let watching = watch_definitions(client.clone(), names, news.clone(), metrics);
    let looking = async {
        loop {
            refresh(&client, &kinds, &served, &news).await;
            news.wait().await;
        }
    };
    tokio::join!(watching, looking);
}

/// What the watch of the definitions tells.
#[derive(Default)]
struct CrdState {
    established: Mutex<BTreeSet<String>>,
    watch_forbidden: std::sync::atomic::AtomicBool,
    changed: Notify,
}

impl CrdState {
    fn set(&self, name: String, defined: bool) {
        let mut all = self.established.lock().unwrap_or_else(PoisonError::into_inner);
        if defined {
            all.insert(name)
        } else {
            all.remove(&name)
        };
        self.changed.notify_one();
    }

    fn established(&self, kind: ChildKind) -> bool {
        let all = self.established.lock().unwrap_or_else(PoisonError::into_inner);
        kind.crd().is_some_and(|name| all.contains(&name))
    }

    async fn wait(&self) {
        if self.watch_forbidden.load(std::sync::atomic::Ordering::Relaxed) {
            let _ = tokio::time::timeout(POLL_INTERVAL, self.changed.notified()).await;
        } else {
            self.changed.notified().await;
        }
    }
}

/// Looks until what is served agrees with what is defined.
async fn refresh(
    client: &Client,
    kinds: &[ChildKind],
    served: &watch::Sender<ServedVersions>,
    news: &CrdState,
) {
    let mut pause = INITIAL_REFRESH_DELAY;
    loop {
        match probe(client, kinds).await {
            Ok(found) => {
                let agrees = kinds.iter().all(|kind| !news.established(*kind) || found.contains_key(kind));
                served.send_if_modified(|old| {
                    let differs = *old != found;
                    if differs {
                        *old = found;
                    }
                    differs
                });
                if agrees || pause > MAX_REFRESH_DELAY {
                    return;
                }
            }
            Err(error) => tracing::warn!(%error, "cannot find out which APIs the cluster serves; trying on"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_REFRESH_DELAY * 2);
    }
}

async fn watch_definitions(client: Client, names: BTreeSet<String>, news: Arc<CrdState>, metrics: Metrics) {
    let api: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(client);
    let stream = watcher::watcher(api, watcher::Config::default());
    let mut failures = WatchBackoff::default();
    let mut stream = std::pin::pin!(metrics.watch("CustomResourceDefinition", stream));
    while let Some(item) = stream.next().await {
        match item {
            Ok(Event::Apply(o) | Event::InitApply(o)) if names.contains(&o.name_any()) => {
                news.set(o.name_any(), o.metadata.deletion_timestamp.is_none());
            }
            Ok(Event::Delete(o)) if names.contains(&o.name_any()) => news.set(o.name_any(), false),
            Ok(Event::InitDone) => {
                failures.succeeded();
                news.watch_forbidden.store(false, std::sync::atomic::Ordering::Relaxed);
                news.changed.notify_one();
            }
            Ok(_) => {}
            Err(
                Error::InitialListFailed(kube::Error::Api(status))
                | Error::WatchStartFailed(kube::Error::Api(status)),
            ) if status.code == 403 => {
                if !news.watch_forbidden.swap(true, std::sync::atomic::Ordering::Relaxed) {
                    tracing::info!(
                        "CustomResourceDefinitions cannot be watched with this role; looking every {} s instead",
                        POLL_INTERVAL.as_secs()
                    );
                    news.changed.notify_one();
                }
                // Looking is enough; a role that is widened later is found out in its time.
                tokio::time::sleep(POLL_INTERVAL * 10).await;
            }
            Err(error) => {
                if failures.should_log() {
                    tracing::warn!(%error, "the watch of CustomResourceDefinitions does not work; trying on");
                }
                failures.wait().await;
            }
        }
    }
}
