//! What is done outside, where there is a network: the operator is built, and the components that are not
//! there yet. Starts nothing.

use std::path::PathBuf;

use elpio_cluster::{
    Crds, Engine, cargo,
    components::{
        self, BuildError, Component, ETCD, JAEGER, KUBE_APISERVER, KUBE_CONTROLLER_MANAGER, PROMETHEUS,
    },
    engines,
};

use crate::{options::Options, screen::wrapped, terminal::Terminal};

/// Columns before a note's text.
const NOTE: usize = 31;
/// Seconds that programs took on two cores, from an empty cache; what several share is with the first that is
/// built.
const COSTS: [(&str, u64); 9] = [
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
const OTHERS: u64 = 45;

fn cost(name: &str) -> u64 {
    COSTS.iter().find(|(known, _)| *known == name).map_or(OTHERS, |(_, seconds)| *seconds)
}

/// Gets everything; the operator's binary.
pub async fn prepare(terminal: &Terminal, options: &Options, engines: &[Engine]) -> Result<PathBuf, String> {
    let operator = terminal
        .step_of_another("operator built", async {
            let built = tokio::task::spawn_blocking(|| cargo::build_operator(false));
            built.await.expect("not cancelled").map(|path| (path.display().to_string(), path))
        })
        .await?;
    let missing = missing(options, engines);
    if !missing.is_empty() {
        let seconds: u64 = missing.iter().map(|name| cost(name)).sum();
        let what = format!(
            "{} programs, once, {} minutes or so on two cores: {}",
            missing.len(),
            seconds.div_ceil(60),
            missing.join(", ")
        );
        let lines = wrapped(&what, terminal.width().clamp(80, 120) - NOTE);
        lines
            .iter()
            .enumerate()
            .for_each(|(number, line)| terminal.note(if number == 0 { "to be built" } else { "" }, line));
    }
    let (backends, engines) = (options.backends, engines.to_vec());
    terminal
        .step("programs", async move {
            let fetched =
                tokio::task::spawn_blocking(move || fetch(backends, &engines)).await.expect("not cancelled");
            fetched.map_err(|error| error.to_string())?;
            let remark = if missing.is_empty() {
                "all there already".to_owned()
            } else {
                format!("{} built", missing.len())
            };
            Ok((remark, ()))
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

/// The names of what has to be built.
fn missing(options: &Options, engines: &[Engine]) -> Vec<&'static str> {
    let mut wanted = vec![ETCD, KUBE_APISERVER, KUBE_CONTROLLER_MANAGER];
    if !engines.is_empty() {
        wanted.extend(engines::components(engines));
    }
    if options.backends {
        wanted.extend([JAEGER, PROMETHEUS]);
    }
    let mut missing: Vec<&str> = wanted
        .iter()
        .filter(|component| !component.is_there())
        .map(|component: &Component| component.name)
        .collect();
    if options.backends && !components::collector_is_there() {
        missing.push("otelcol");
    }
    missing
}
