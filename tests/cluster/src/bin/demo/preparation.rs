//! What is done outside, where there is a network: the operator is built, and the components that are not there yet. Starts nothing.

use crate::options::Options;
use crate::terminal::Terminal;
use elpio_cluster::components::{self, BuildError, Component, ETCD, JAEGER, KUBE_APISERVER, KUBE_CONTROLLER_MANAGER, PROMETHEUS};
use elpio_cluster::{Crds, Engine, cargo, engines};
use std::path::PathBuf;

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
        terminal.note("to be built", &format!("{} programs, once: {}", missing.len(), missing.join(", ")));
    }
    let (backends, engines) = (options.backends, engines.to_vec());
    terminal
        .step("programs", async move {
            let fetched = tokio::task::spawn_blocking(move || fetch(backends, &engines)).await.expect("not cancelled");
            fetched.map_err(|error| error.to_string())?;
            let remark = if missing.is_empty() { "all there already".to_owned() } else { format!("{} built", missing.len()) };
            Ok((remark, ()))
        })
        .await?;
    Ok(operator)
}

fn fetch(backends: bool, engines: &[Engine]) -> Result<(), BuildError> {
    if engines.is_empty() {
        [ETCD, KUBE_APISERVER, KUBE_CONTROLLER_MANAGER].iter().try_for_each(|component| component.binary().map(drop))?;
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
    let mut missing: Vec<&str> =
        wanted.iter().filter(|component| !component.is_there()).map(|component: &Component| component.name).collect();
    if options.backends && !components::collector_is_there() {
        missing.push("otelcol");
    }
    missing
}
