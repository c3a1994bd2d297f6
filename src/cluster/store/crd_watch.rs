//! Watches the metadata of `CustomResourceDefinition`s, to wake the watches of absent APIs. It decides
//! nothing about an API.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    api::WatchParams,
    core::{PartialObjectMeta, WatchEvent},
};
use tokio::time::sleep;

use crate::{
    backoff::jittered,
    cluster::store::{
        backoff::{MIN_LIFE, WatchBackoff, WatchFailure},
        list_watch::of_error,
        shared_state::SharedWatchState,
        watch_handle::WatchContext,
    },
    telemetry::WatchGuard,
};

/// How often to retry if the role does not permit it: absent APIs are polled meanwhile.
const FORBIDDEN_PAUSE: Duration = Duration::from_mins(5);

/// The relevant CRDs: their names, with the label of their kind.
pub type CrdNames = BTreeMap<String, &'static str>;

/// Runs for ever.
pub async fn run(client: Client, names: CrdNames, context: WatchContext) {
    let api: Api<CustomResourceDefinition> = Api::all(client);
    let guard = context.metrics.watch_guard("CustomResourceDefinition", api.resource_url());
    let (mut backoff, mut seen) = (WatchBackoff::default(), HashMap::new());
    loop {
        let Err(failure) = follow(&api, &names, &context.shared, &guard, &mut seen, &mut backoff).await
        else {
            continue;
        };
        guard.record_restart();
        let now = Instant::now();
        let pause = backoff.record(&failure, now);
        let reachable = context.shared.reachable.subscribe();
        match failure {
            WatchFailure::Forbidden(_) if backoff.refusal_lasts(true, now) => {
                context.shared.set_crds_watched(false);
                sleep(jittered(FORBIDDEN_PAUSE)).await;
            }
            WatchFailure::Unreachable(_) => context.shared.wait_until_reachable(pause, reachable).await,
            _ => context.shared.wait_after_error(pause, failure.retry_after(), reachable).await,
        }
    }
}

/// One watch, from any version: existing CRDs come first and are compared with those seen before.
async fn follow(
    api: &Api<CustomResourceDefinition>,
    names: &CrdNames,
    shared: &SharedWatchState,
    guard: &WatchGuard,
    seen: &mut HashMap<String, Option<String>>,
    backoff: &mut WatchBackoff,
) -> Result<(), WatchFailure> {
    let stream = api.watch_metadata(&WatchParams::default(), "0").await.map_err(|error| of_error(&error))?;
    shared.set_crds_watched(true);
    let opened = Instant::now();
    let mut stream = std::pin::pin!(stream);
    while let Some(item) = stream.next().await {
        let event = match item {
            Ok(WatchEvent::Error(status)) => Err(kube::Error::Api(status)),
            item => item,
        };
        let event = event.inspect_err(|_| backoff.reset_after(opened.elapsed()));
        match event.map_err(|error| of_error(&error))? {
            WatchEvent::Error(_) | WatchEvent::Bookmark(_) => {}
            WatchEvent::Added(o) | WatchEvent::Modified(o) | WatchEvent::Deleted(o) => {
                guard.record_events(1);
                notify(&o, names, shared, seen);
            }
        }
    }
    backoff.reset_after(opened.elapsed());
    // Existing CRDs come first each time, so receiving events proves nothing.
    if opened.elapsed() < MIN_LIFE { Err(WatchFailure::ended_at_once()) } else { Ok(()) }
}

fn notify(
    crd: &PartialObjectMeta<CustomResourceDefinition>,
    names: &CrdNames,
    shared: &SharedWatchState,
    seen: &mut HashMap<String, Option<String>>,
) {
    let Some((name, resource)) = crd.metadata.name.as_ref().and_then(|name| names.get_key_value(name)) else {
        return;
    };
    let version = crd.metadata.resource_version.clone();
    if seen.insert(name.clone(), version.clone()) != Some(version) {
        shared.crd_changed(resource);
    }
}
