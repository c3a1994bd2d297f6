//! `--instructions`: what metrics and traces cost, in instructions that valgrind counts, which another load of
//! the machine hardly changes. The page is not read. The same services are created, made ready and edited one
//! after another, so that each run makes the same reconciles.

use std::{
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use elpio_cluster::{
    Cluster, ClusterOptions, FakeEngineOptions, FakeEngines, Operator, OtlpReceiver, eventually,
    process::{Exit, TempDir},
};
use kube::{
    Client, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    USER,
    compare::to_f64,
    crds,
    load::{Load, api, bind_cluster_admin},
    results::table,
};

/// Under valgrind everything takes 50 times as long.
const TIMEOUT: Duration = Duration::from_mins(5);

/// Services that are made in both runs, for what the first ones cost, as connections.
const WARM_UP: usize = 10;

/// What is switched on.
struct Mode {
    name: &'static str,
    env: &'static [(&'static str, &'static str)],
    pushes: bool,
    /// How much more than nothing it may take.
    max_ratio: f64,
}

const MODES: [Mode; 4] = [
    Mode { name: "off", env: &[("OTEL_SDK_DISABLED", "true")], pushes: false, max_ratio: 1.0 },
    Mode { name: "metrics page", env: &[("ELPIO_METRICS", "on")], pushes: false, max_ratio: 1.03 },
    Mode {
        name: "metrics page, 1 % of traces pushed",
        env: &[
            ("ELPIO_METRICS", "on"),
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_LOGS_EXPORTER", "none"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.01"),
        ],
        pushes: true,
        max_ratio: 1.03,
    },
    Mode {
        name: "metrics page, all traces pushed",
        env: &[("ELPIO_METRICS", "on"), ("OTEL_METRICS_EXPORTER", "none"), ("OTEL_LOGS_EXPORTER", "none")],
        pushes: true,
        max_ratio: 1.05,
    },
];

/// Prints what was measured; whether each mode is within its bound.
pub async fn measure(binary: &Path, services: usize) -> bool {
    if let Err(error) = Command::new("valgrind").arg("--version").output() {
        eprintln!("valgrind counts the instructions, and cannot be run: {error}");
        return false;
    }
    let cluster = Cluster::start(ClusterOptions { crds: crds(), ..ClusterOptions::default() }).await;
    let client = cluster.client().await;
    bind_cluster_admin(&client, USER).await;
    let mut table = table(&["", "instructions for each service", "ratio", "allowed"]);
    let (mut off, mut within) = (None, true);
    for mode in &MODES {
        let mut totals = [0, 0];
        for (total, services) in totals.iter_mut().zip([WARM_UP, WARM_UP + services]) {
            eprintln!("{}: {services} services …", mode.name);
            *total = run(binary, &cluster, &client, mode, services).await;
        }
        let each = to_f64(totals[1].saturating_sub(totals[0]) / services.max(1) as u64);
        let ratio = each / *off.get_or_insert(each);
        within &= ratio <= mode.max_ratio;
        let millions = format!("{:.2} M", each / 1e6);
        table.add_row([mode.name, &millions, &format!("{ratio:.3}"), &format!("{:.2}", mode.max_ratio)]);
    }
    println!("\n{services} services, one after another: created, ready, edited, ready\n{table}");
    within
}

/// The instructions of one operator from its start to its end.
async fn run(binary: &Path, cluster: &Cluster, client: &Client, mode: &Mode, services: usize) -> u64 {
    let dir = TempDir::new("bench-instructions");
    let counts = dir.path().join("counts");
    let counted = counting(binary, dir.path(), &counts).expect("a script");
    let namespace = cluster.namespace("bench").await;
    let receiver = OtlpReceiver::start().await;
    let endpoint = receiver.endpoint();
    let mut env = vec![
        ("ELPIO_METRICS_ADDR", "127.0.0.1"),
        ("ELPIO_ENGINE", "knative"),
        ("ELPIO_NAMESPACES", namespace.as_str()),
    ];
    env.extend(mode.env);
    if mode.pushes {
        env.push(("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint));
    }
    let mut operator = Operator::spawn(&counted, &cluster.kubeconfig_for(USER), &env);
    operator.wait_ready().await;
    let options = FakeEngineOptions { namespace: Some(namespace.clone()), ..FakeEngineOptions::default() };
    let _engines = FakeEngines::start(client.clone(), options);
    let load = Load { client: client.clone(), namespace, services };
    let tag = Patch::Merge(json!({"spec": {"image": {"tag": "2"}}}));
    for number in 0..services {
        let name = format!("service-{number}");
        load.create_one(&name).await;
        wait_until_ready(&load, &name, 1).await;
        load.api().patch(&name, &PatchParams::default(), &tag).await.expect("an edit");
        wait_until_ready(&load, &name, 2).await;
    }
    let exit = operator.terminate(TIMEOUT).await;
    assert_eq!(exit, Exit::Code(0), "{}", operator.log_tail());
    let counted = std::fs::read_to_string(&counts).expect("valgrind writes its counts");
    let summary = counted.lines().find_map(|line| line.strip_prefix("summary: "));
    summary.and_then(|total| total.trim().parse().ok()).expect("a number of instructions")
}

/// A script that runs the binary under valgrind.
fn counting(binary: &Path, dir: &Path, counts: &Path) -> io::Result<PathBuf> {
    let script = dir.join("operator");
    let (binary, counts) = (binary.display(), counts.display());
    let text = format!(
        "#!/bin/sh\nexec valgrind -q --tool=cachegrind --cache-sim=no --cachegrind-out-file='{counts}' '{binary}' \"$@\"\n"
    );
    std::fs::write(&script, text)?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
    Ok(script)
}

async fn wait_until_ready(load: &Load, name: &str, generation: i64) {
    let services = api(&load.client, &load.namespace, "elpio.io", "v1alpha1", "ElpioService");
    eventually(&format!("{name} is ready"), TIMEOUT, async || {
        let service = services.get(name).await.map_err(|error| error.to_string())?;
        let status = &service.data["status"];
        let is_ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
        let ready = status["conditions"].as_array().is_some_and(|all| all.iter().any(is_ready));
        if ready
            && status["observedGeneration"] == generation
            && service.metadata.generation == Some(generation)
        {
            Ok(())
        } else {
            Err(format!("{}: {status}", service.name_any()))
        }
    })
    .await;
}
