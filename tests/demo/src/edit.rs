//! Edits after the first rollouts: Prometheus computes rates only from counters that it has scraped before
//! they rise. It prints nothing.

use std::time::{Duration, Instant};

use elpio_cluster::{Prometheus, eventually};
use futures::future::join_all;
use kube::{
    Client, ResourceExt as _,
    api::{Api, Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::{
    table::{State, state},
    watch::Watch,
};

const TIMEOUT: Duration = Duration::from_mins(2);

struct Edit {
    kind: &'static str,
    name: String,
    patch: Value,
    /// The counter that rises.
    counter: &'static str,
    /// The state afterwards.
    state: State,
}

impl Edit {
    fn new(
        kind: &'static str,
        object: Option<&&DynamicObject>,
        patch: &Value,
        counter: &'static str,
    ) -> Option<Self> {
        let object = object?;
        Some(Self { kind, name: object.name_any(), patch: patch.clone(), counter, state: state(object) })
    }
}

/// Adds a variable to a function and a service, and rebuilds two functions, one of which fails.
fn edits(watch: &Watch<'_>) -> Vec<Edit> {
    let variable = json!({"spec": {"env": [{"name": "GREETING", "value": "Good day"}]}});
    let rebuild = json!({"metadata": {"annotations": {"elpio.io/rebuild": "once more"}}});
    let functions = watch.objects("ElpioFunction", State::Ready);
    let failed = watch.objects("ElpioFunction", State::Failed);
    let services = watch.objects("ElpioService", State::Ready);
    let on_keda = services.iter().find(|service| service.data["status"]["engine"] == "keda");
    [
        Edit::new(
            "ElpioFunction",
            functions.last(),
            &variable,
            "elpio_rollout_duration_seconds_count{kind=\"ElpioFunction\"}",
        ),
        Edit::new(
            "ElpioFunction",
            functions.first(),
            &rebuild,
            "elpio_build_duration_seconds_count{result=\"success\"}",
        ),
        Edit::new(
            "ElpioFunction",
            failed.first(),
            &rebuild,
            "elpio_build_duration_seconds_count{result=\"error\"}",
        ),
        Edit::new(
            "ElpioService",
            on_keda,
            &variable,
            "elpio_rollout_duration_seconds_count{engine=\"keda\"}",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Applies the edits, and waits until each object has settled and Prometheus has scraped it.
pub async fn apply(
    client: &Client,
    watch: &Watch<'_>,
    prometheus: &Prometheus,
) -> Result<(String, ()), String> {
    let edits = edits(watch);
    let start = Instant::now();
    for edit in &edits {
        let patch = Patch::Merge(&edit.patch);
        api(client, edit.kind)
            .patch(&edit.name, &PatchParams::default(), &patch)
            .await
            .map_err(|error| format!("{}: {error}", edit.name))?;
    }
    join_all(edits.iter().map(|edit| wait_until_settled(client, edit, prometheus))).await;
    let names: Vec<&str> = edits.iter().map(|edit| edit.name.as_str()).collect();
    let seconds = start.elapsed().as_secs_f64();
    Ok((format!("{}: rolled out again and scraped after {seconds:.1} s", names.join(", ")), ()))
}

async fn wait_until_settled(client: &Client, edit: &Edit, prometheus: &Prometheus) {
    let query = format!("sum(increase({}[2m]))", edit.counter);
    eventually(&format!("Prometheus has scraped the edit of {}", edit.name), TIMEOUT, async || {
        let answer = prometheus.query(&query).await?;
        if answer.iter().any(|series| series.value > 0.0) {
            Ok(())
        } else {
            Err(format!("{query}: {answer:?}"))
        }
    })
    .await;
    eventually(&format!("{} is {:?} after an edit", edit.name, edit.state), TIMEOUT, async || {
        let object = api(client, edit.kind).get(&edit.name).await.map_err(|error| error.to_string())?;
        if state(&object) == edit.state { Ok(()) } else { Err(object.data["status"].to_string()) }
    })
    .await;
}

fn api(client: &Client, kind: &str) -> Api<DynamicObject> {
    Api::default_namespaced_with(
        client.clone(),
        &ApiResource::from_gvk(&GroupVersionKind::gvk("elpio.io", "v1alpha1", kind)),
    )
}
