//! Pictures of this run, written as files: the trace that was shown, and a dashboard as Prometheus answers.
//! Draws nothing itself.

use std::{fs, path::Path, time::Duration};

use elpio_cluster::{Prometheus, Window, dashboard, picture};
use kube::{
    Client,
    api::{Api, Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::json;

use crate::{terminal::Terminal, trace::Trace};

/// The one that shows what users ask first.
const DASHBOARD: &str = "services.json";
/// How many edits are made, so that there is something to plot, and how far apart.
const EDITS: u64 = 25;
const PAUSE: Duration = Duration::from_secs(3);
/// These edits name a program that ends at once.
const BROKEN: std::ops::Range<u64> = 10..14;

/// For a minute or so, new versions are rolled out, and one service fails for a while.
pub async fn live(client: &Client, services: &[String]) -> Result<(String, ()), String> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("elpio.io", "v1alpha1", "ElpioService"));
    let api: Api<DynamicObject> = Api::default_namespaced_with(client.clone(), &resource);
    for (edit, service) in (0..EDITS).zip(services.iter().cycle()) {
        let repository = if BROKEN.contains(&edit) {
            "ghcr.io/kwok-crash/helloworld-go"
        } else {
            "ghcr.io/knative/helloworld-go"
        };
        let patch =
            Patch::Merge(json!({"spec": {"image": {"repository": repository, "tag": format!("v{edit}")}}}));
        api.patch(service, &PatchParams::default(), &patch)
            .await
            .map_err(|error| format!("{service}: {error}"))?;
        tokio::time::sleep(PAUSE).await;
    }
    Ok((format!("{EDITS} new versions of {}", services.join(", ")), ()))
}

/// Writes `trace.svg` and `dashboard.svg`; the panels begin when the operator did, so long ago.
pub async fn write(
    terminal: &Terminal,
    folder: &Path,
    trace: &Trace,
    prometheus: &Prometheus,
    running: Duration,
) -> Result<(), String> {
    let dashboards = dashboard::all()?;
    let dashboard = dashboards
        .iter()
        .find(|dashboard| dashboard.file == DASHBOARD)
        .ok_or(format!("dashboards/{DASHBOARD} is not there"))?;
    let drawn = picture::dashboard(prometheus, dashboard, Window::last(running)).await?;
    let waterfall = picture::trace(&format!("The rollout of {}", trace.name), &trace.short());
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    terminal.heading("Pictures of this run");
    for (name, picture) in [("trace.svg", waterfall), ("dashboard.svg", drawn)] {
        let path = folder.join(name);
        fs::write(&path, picture).map_err(|error| format!("{}: {error}", path.display()))?;
        terminal.line(&path.display().to_string());
    }
    Ok(())
}
