//! Edits: another variable, and builds that are asked for again. Prometheus knows no rate of what it has seen
//! but once.

use std::time::{Duration, Instant};

use elpio_cluster::{Prometheus, eventually};
use futures::future::join_all;
use kube::{
    Client, ResourceExt as _,
    api::{Api, Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::table::{State, state};

const BOUND: Duration = Duration::from_mins(2);

/// What is edited: the object's kind, its name, the change, and what Prometheus counts more of then.
struct Edit {
    kind: &'static str,
    name: String,
    change: Value,
    counted: &'static str,
    then: State,
}

/// Makes the edits, and waits until each object is as it was again and Prometheus has seen it.
pub async fn all(
    client: &Client,
    functions: &[&DynamicObject],
    failed: &[&DynamicObject],
    services: &[&DynamicObject],
    prometheus: &Prometheus,
) -> Result<(String, ()), String> {
    let variable = json!({"spec": {"env": [{"name": "GREETING", "value": "Good day"}]}});
    let again = json!({"metadata": {"annotations": {"elpio.io/rebuild": "once more"}}});
    let edit = |kind, object: Option<&DynamicObject>, change: &Value, counted| {
        object.map(|object| Edit {
            kind,
            name: object.name_any(),
            change: change.clone(),
            counted,
            then: state(object),
        })
    };
    let on_keda = services.iter().find(|service| service.data["status"]["engine"] == "keda");
    let edits: Vec<Edit> = [
        edit(
            "ElpioFunction",
            functions.last().copied(),
            &variable,
            "elpio_rollout_duration_seconds_count{kind=\"ElpioFunction\"}",
        ),
        edit(
            "ElpioFunction",
            functions.first().copied(),
            &again,
            "elpio_build_duration_seconds_count{result=\"success\"}",
        ),
        edit(
            "ElpioFunction",
            failed.first().copied(),
            &again,
            "elpio_build_duration_seconds_count{result=\"error\"}",
        ),
        edit(
            "ElpioService",
            on_keda.copied(),
            &variable,
            "elpio_rollout_duration_seconds_count{engine=\"keda\"}",
        ),
    ]
    .into_iter()
    .flatten()
    .collect();
    let start = Instant::now();
    for edit in &edits {
        let patch = Patch::Merge(&edit.change);
        api(client, edit.kind)
            .patch(&edit.name, &PatchParams::default(), &patch)
            .await
            .map_err(|error| format!("{}: {error}", edit.name))?;
    }
    join_all(edits.iter().map(|edit| done(client, edit, prometheus))).await;
    let names: Vec<&str> = edits.iter().map(|edit| edit.name.as_str()).collect();
    Ok((
        format!(
            "{}: as they were again, and counted, after {:.1} s",
            names.join(", "),
            start.elapsed().as_secs_f64()
        ),
        (),
    ))
}

async fn done(client: &Client, edit: &Edit, prometheus: &Prometheus) {
    let query = format!("sum(increase({}[2m]))", edit.counted);
    eventually(&format!("Prometheus has seen the edit of {}", edit.name), BOUND, async || {
        let answer = prometheus.query(&query).await?;
        if answer.iter().any(|series| series.value > 0.0) {
            Ok(())
        } else {
            Err(format!("{query}: {answer:?}"))
        }
    })
    .await;
    eventually(&format!("{} is {:?} again after an edit", edit.name, edit.then), BOUND, async || {
        let object = api(client, edit.kind).get(&edit.name).await.map_err(|error| error.to_string())?;
        if state(&object) == edit.then { Ok(()) } else { Err(object.data["status"].to_string()) }
    })
    .await;
}

fn api(client: &Client, kind: &str) -> Api<DynamicObject> {
    Api::default_namespaced_with(
        client.clone(),
        &ApiResource::from_gvk(&GroupVersionKind::gvk("elpio.io", "v1alpha1", kind)),
    )
}
