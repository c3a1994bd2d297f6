//! An edit of a function that is ready: it is rolled out without a build, and Prometheus sees a second rollout, without which it knows no rate.

use crate::table::{State, state};
use elpio_cluster::{Prometheus, eventually};
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::json;
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_mins(2);
const SEEN: &str = "sum(increase(elpio_rollout_duration_seconds_count{kind=\"ElpioFunction\"}[2m]))";

/// Gives the function another variable, and waits until it is ready so, and until Prometheus has seen it.
pub async fn function(client: &Client, name: &str, prometheus: &Prometheus) -> Result<(String, ()), String> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("elpio.io", "v1alpha1", "ElpioFunction"));
    let functions: Api<DynamicObject> = Api::default_namespaced_with(client.clone(), &resource);
    let patch = Patch::Merge(json!({"spec": {"env": [{"name": "GREETING", "value": "Good day"}]}}));
    let start = Instant::now();
    functions.patch(name, &PatchParams::default(), &patch).await.map_err(|error| format!("{name}: {error}"))?;
    eventually(&format!("{name} is ready after an edit"), BOUND, async || {
        let object = functions.get(name).await.map_err(|error| error.to_string())?;
        if state(&object) == State::Ready { Ok(()) } else { Err(object.data["status"].to_string()) }
    })
    .await;
    let took = start.elapsed();
    eventually("Prometheus has seen the rollout of an edit", BOUND, async || {
        let answer = prometheus.query(SEEN).await?;
        if answer.iter().any(|series| series.value > 0.0) { Ok(()) } else { Err(format!("{SEEN}: {answer:?}")) }
    })
    .await;
    Ok((format!("another variable for {name}: ready after {:.1} s, nothing was built", took.as_secs_f64()), ()))
}
