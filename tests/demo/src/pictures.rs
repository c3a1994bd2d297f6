//! Writes pictures of this run: the trace that was shown, and a dashboard as Prometheus answers it. It draws
//! nothing itself.

use std::{fs, path::Path, time::Duration};

use elpio_cluster::{Prometheus, TimeRange, dashboard};
use elpio_demo::picture;
use kube::{
    Client,
    api::{Api, Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::json;

use crate::{rollout_trace::Trace, terminal::Terminal};

/// The dashboard for users.
const DASHBOARD: &str = "services.json";
/// The number of edits, so that there is something to plot.
const EDITS: u64 = 25;
const EDIT_INTERVAL: Duration = Duration::from_secs(3);
/// Edits to an image whose container exits immediately.
const FAILING_EDITS: std::ops::Range<u64> = 10..14;

/// Rolls out new versions for about a minute, some of which fail.
pub async fn generate_load(client: &Client, services: &[String]) -> Result<(String, ()), String> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("elpio.io", "v1alpha1", "ElpioService"));
    let api: Api<DynamicObject> = Api::default_namespaced_with(client.clone(), &resource);
    for (edit, service) in (0..EDITS).zip(services.iter().cycle()) {
        let repository = if FAILING_EDITS.contains(&edit) {
            "ghcr.io/kwok-crash/helloworld-go"
        } else {
            "ghcr.io/knative/helloworld-go"
        };
        let patch =
            Patch::Merge(json!({"spec": {"image": {"repository": repository, "tag": format!("v{edit}")}}}));
        api.patch(service, &PatchParams::default(), &patch)
            .await
            .map_err(|error| format!("{service}: {error}"))?;
        tokio::time::sleep(EDIT_INTERVAL).await;
    }
    Ok((format!("{EDITS} new versions of {}", services.join(", ")), ()))
}

/// Writes `trace.svg` and `dashboard.svg`; the panels show the time since the operator was started.
pub async fn write(
    terminal: &Terminal,
    dir: &Path,
    trace: &Trace,
    prometheus: &Prometheus,
    running: Duration,
) -> Result<(), String> {
    let dashboards = dashboard::all()?;
    let dashboard = dashboards
        .iter()
        .find(|dashboard| dashboard.file == DASHBOARD)
        .ok_or(format!("dashboards/{DASHBOARD} does not exist"))?;
    let panels = picture::dashboard(prometheus, dashboard, TimeRange::last(running)).await?;
    let waterfall = picture::trace(&format!("The rollout of {}", trace.name), &trace.reduced());
    fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    terminal.heading("Pictures of this run");
    for (name, svg) in [("trace.svg", waterfall), ("dashboard.svg", panels)] {
        let path = dir.join(name);
        fs::write(&path, svg).map_err(|error| format!("{}: {error}", path.display()))?;
        terminal.line(&path.display().to_string());
    }
    Ok(())
}
