//! Builds what the demo runs, outside the network namespace: the operator, and components that are missing.
//! It starts nothing.

use std::path::PathBuf;

use elpio_cluster::{
    Crds, Engine, cargo,
    components::{
        self, BuildError, Component, ETCD, JAEGER, KUBE_APISERVER, KUBE_CONTROLLER_MANAGER, PROMETHEUS,
    },
    engines,
};

use crate::{options::Options, terminal::Terminal};

/// Build times in seconds on two cores with an empty cache; the first component of a project has the shared
/// part.
const BUILD_TIMES: [(&str, u64); 9] = [
    ("kube-apiserver", 250),
    ("keda-operator", 420),
    ("tekton-controller", 220),
    ("otelcol", 165),
    ("prometheus", 160),
    ("jaeger", 150),
    ("metrics-server", 135),
    ("kwok", 110),
    ("etcd", 30),
];
const DEFAULT_BUILD_TIME: u64 = 45;

fn build_time(name: &str) -> u64 {
    BUILD_TIMES.iter().find(|(known, _)| *known == name).map_or(DEFAULT_BUILD_TIME, |(_, seconds)| *seconds)
}

/// Builds everything; returns the operator's binary.
pub async fn build(terminal: &Terminal, options: &Options, engines: &[Engine]) -> Result<PathBuf, String> {
    let operator = terminal
        .foreign_step("operator built", async {
            let built = tokio::task::spawn_blocking(|| cargo::build_operator(false));
            built.await.expect("not cancelled").map(|path| (path.display().to_string(), path))
        })
        .await?;
    let missing = missing(options, engines);
    if !missing.is_empty() {
        let seconds: u64 = missing.iter().map(|name| build_time(name)).sum();
        let text = format!(
            "{} components, once; about {} minutes on two cores: {}",
            missing.len(),
            seconds.div_ceil(60),
            missing.join(", ")
        );
        terminal.note("to be built", &text);
    }
    let (backends, engines) = (options.backends, engines.to_vec());
    terminal
        .step("components", async move {
            let fetched =
                tokio::task::spawn_blocking(move || fetch(backends, &engines)).await.expect("not cancelled");
            fetched.map_err(|error| error.to_string())?;
            let text = match missing.len() {
                0 => "already built".to_owned(),
                count => format!("{count} built"),
            };
            Ok((text, ()))
        })
        .await?;
    Ok(operator)
}

fn fetch(backends: bool, engines: &[Engine]) -> Result<(), BuildError> {
    if engines.is_empty() {
        [ETCD, KUBE_APISERVER, KUBE_CONTROLLER_MANAGER]
            .iter()
            .try_for_each(|component| component.binary().map(drop))?;
        Crds::ALL.iter().try_for_each(Crds::fetch)?;
    } else {
        engines::fetch(engines)?;
    }
    if backends {
        components::collector()?;
        JAEGER.binary()?;
        PROMETHEUS.binary()?;
    }
    Ok(())
}

/// The names of the components that are not built yet.
fn missing(options: &Options, engines: &[Engine]) -> Vec<&'static str> {
    let mut needed = vec![ETCD, KUBE_APISERVER, KUBE_CONTROLLER_MANAGER];
    if !engines.is_empty() {
        needed.extend(engines::components(engines));
    }
    if options.backends {
        needed.extend([JAEGER, PROMETHEUS]);
    }
    let mut missing: Vec<&str> = needed
        .iter()
        .filter(|component| !component.is_built())
        .map(|component: &Component| component.name)
        .collect();
    if options.backends && !components::collector_is_built() {
        missing.push("otelcol");
    }
    missing
}
