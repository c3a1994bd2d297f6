//! The program itself: its faults at start, its ports, its pages, its end.

use std::{sync::Arc, time::Duration};

use elpio_cluster::{Cluster, Operator, eventually, process::Exit};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use crate::{
    fault_proxy::{Fault, FaultProxy},
    live_env::{LiveEnv, binary, image},
};

const END: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_environment_stop_it_and_name_the_variable() {
    let cluster = Cluster::shared().await;
    for (name, value) in [
        ("ELPIO_ENGINE", "fargate"),
        ("ELPIO_NAMESPACES", "Not_A_Name"),
        ("ELPIO_LEADER_ELECT", "perhaps"),
        ("ELPIO_POD_SECURITY", "restricted"),
        ("ELPIO_TRACE_PARENT", "follow"),
    ] {
        let mut operator = Operator::spawn(binary(), &cluster.kubeconfig(), &[(name, value)]);
        let exit = operator.wait_for_exit(END).await;
        assert_eq!(exit, Exit::Code(1), "{}", operator.log());
        assert!(operator.log().contains(name) && operator.log().contains(value), "{}", operator.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_near_miss_of_a_variable_that_narrows_stops_it() {
    let cluster = Cluster::shared().await;
    for (name, known) in
        [("ELPIO_NAMESPACE", "ELPIO_NAMESPACES"), ("ELPIO_LEADER_ELECTION", "ELPIO_LEADER_ELECT")]
    {
        let mut operator = Operator::spawn(binary(), &cluster.kubeconfig(), &[(name, "off")]);
        assert_eq!(operator.wait_for_exit(END).await, Exit::Code(1), "{}", operator.log());
        assert!(operator.log().contains(name) && operator.log().contains(known), "{}", operator.log());
    }
    let namespace = cluster.namespace("prog-unknown").await;
    let environment = [("ELPIO_CONCURENCY", "3"), ("ELPIO_NAMESPACES", namespace.as_str())];
    let mut operator = Operator::spawn(binary(), &cluster.kubeconfig(), &environment);
    operator.wait_ready().await;
    assert!(operator.log().contains("ELPIO_CONCURENCY"), "{}", operator.log());
    assert!(operator.log().contains("ELPIO_CONCURRENCY"), "{}", operator.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restrictive_address_is_never_widened() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("prog-address").await;
    for address in ["localhost", "127.0.0.1", " 127.0.0.1 "] {
        let environment =
            [("ELPIO_METRICS", "on"), ("ELPIO_METRICS_ADDR", address), ("ELPIO_NAMESPACES", &namespace)];
        let mut operator = Operator::spawn(binary(), &cluster.kubeconfig(), &environment);
        operator.wait_ready().await;
        operator.metrics("text/plain").await;
        // Whoever listens everywhere answers here as well.
        let elsewhere = tokio::net::TcpStream::connect(("127.0.0.2", operator.metrics_port())).await;
        assert!(elsewhere.is_err(), "{address:?} opens more than was asked for");
    }
    for address in ["127.0.0.1:9095", "[::1]:9095", "no.such.host.invalid", "127.0.0.1.1"] {
        let environment = [("ELPIO_METRICS", "on"), ("ELPIO_METRICS_ADDR", address)];
        let mut operator = Operator::spawn(binary(), &cluster.kubeconfig(), &environment);
        assert_eq!(operator.wait_for_exit(END).await, Exit::Code(1), "{address}: {}", operator.log());
        let log = operator.log();
        assert!(log.contains("ELPIO_METRICS_ADDR") && log.contains(address), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_never_ask_keep_nobody_out() {
    let env = LiveEnv::new("prog-flood").await;
    for port in [env.operator.health_port(), env.operator.metrics_port()] {
        let mut half_open = Vec::new();
        for _ in 0..700 {
            let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let _ = stream.write_all(b"GET /livez HTTP/1.1\r\n").await;
            half_open.push(stream);
        }
        let asked = std::time::Instant::now();
        let (status, _) = env.operator.get("/livez").await.unwrap();
        env.operator.metrics("text/plain").await;
        assert!(status == 200 && asked.elapsed() < Duration::from_secs(1), "{status} {:?}", asked.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_reached_is_named() {
    let cluster = Cluster::shared().await;
    let text = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
    let path = cluster.kubeconfig().with_file_name("unreachable.kubeconfig");
    std::fs::write(&path, text.replace(&cluster.url(), "https://127.0.0.1:1")).unwrap();
    let mut operator = Operator::spawn(binary(), &path, &[]);
    let named = ["cannot reach", "https://127.0.0.1:1", "unreachable.kubeconfig", "refused"];
    eventually("the server is named", END, async || {
        let log = operator.log();
        let line = log.lines().any(|line| named.iter().all(|part| line.contains(part)));
        if line { Ok(()) } else { Err(log) }
    })
    .await;
    assert_eq!(operator.get("/livez").await.unwrap().0, 200);
    assert_eq!(operator.get("/readyz").await.unwrap().0, 503);
    assert_eq!(operator.terminate(END).await, Exit::Code(0), "{}", operator.log());
    assert!(!operator.log().contains("kube_client"), "the client's own lines: {}", operator.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_stops_it() {
    let cluster = Cluster::shared().await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (variable, more) in
        [("ELPIO_METRICS_PORT", Some(("ELPIO_METRICS_ADDR", "127.0.0.1"))), ("ELPIO_HEALTH_PORT", None)]
    {
        let mut environment = vec![("ELPIO_METRICS", "1"), (variable, port.as_str())];
        environment.extend(more);
        let mut operator = Operator::spawn(binary(), &cluster.kubeconfig(), &environment);
        let exit = operator.wait_for_exit(END).await;
        assert_eq!(exit, Exit::Code(1), "{}", operator.log());
        assert!(operator.log().contains(&port) && operator.log().contains(variable), "{}", operator.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_off_opens_no_socket() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("prog-off").await;
    for (value, page) in [("off", false), ("nonsense", false), ("ON", true)] {
        let mut operator = Operator::spawn(
            binary(),
            &cluster.kubeconfig(),
            &[("ELPIO_METRICS", value), ("ELPIO_NAMESPACES", &namespace)],
        );
        operator.wait_ready().await;
        let mut expected = vec![operator.health_port()];
        expected.extend(page.then(|| operator.metrics_port()));
        expected.sort_unstable();
        let mut listening = operator.listening_ports();
        listening.sort_unstable();
        listening.dedup();
        assert_eq!(listening, expected, "ELPIO_METRICS={value}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_health_and_version() {
    let env = LiveEnv::new("prog-pages").await;
    for (path, body) in [("/livez", "alive"), ("/readyz", "ready"), ("/version", "\"version\":")] {
        let (status, reported) = env.operator.get(path).await.unwrap();
        assert!(status == 200 && reported.contains(body), "{path}: {status} {reported}");
    }
    assert_eq!(env.operator.get("/nothing").await.unwrap().0, 404);
}

/// That Prometheus reads it is shown by `backends`.
#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_page_is_compressed_where_that_is_accepted() {
    let env = LiveEnv::new("prog-gzip").await;
    let ask = async |encoding: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", env.operator.metrics_port())).await.unwrap();
        let request = format!(
            "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\naccept-encoding: {encoding}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let head = String::from_utf8_lossy(&answer[..answer.len().min(500)]).to_ascii_lowercase();
        (head.contains("content-encoding: gzip"), answer.len())
    };
    let (plain, gzip) = (ask("identity").await, ask("gzip").await);
    assert!(!plain.0 && gzip.0, "{plain:?} {gzip:?}");
    assert!(gzip.1 < plain.1 / 5, "{plain:?} {gzip:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_finishes_what_runs_and_flushes() {
    let mut env = LiveEnv::with(
        "prog-term",
        &[("OTEL_BSP_SCHEDULE_DELAY", "60000"), ("OTEL_METRIC_EXPORT_INTERVAL", "600000")],
    )
    .await;
    env.engine.hold();
    let names: Vec<String> = (0..20).map(|n| format!("web-{n}")).collect();
    for name in &names {
        env.apply(name, &image("v1")).await;
    }
    let exit = env.operator.terminate(END).await;
    assert_eq!(exit, Exit::Code(0), "{}", env.operator.log());
    // Whatever a service's status says was written, its span was sent: nothing of it stayed in a queue.
    let spans = env.otlp.spans();
    for name in &names {
        let object = env.services().get(name).await.unwrap();
        let Some(rollout) = object.status.and_then(|s| s.rollout) else { continue };
        let trace = rollout.trace_id.unwrap();
        assert!(
            spans.iter().any(|s| s.trace_id == trace && s.name == "reconcile ElpioService"),
            "{name}: the reconcile of trace {trace} was not flushed"
        );
    }
    assert!(!env.otlp.metrics().is_empty(), "the last metrics were not flushed");
    // And the next one goes on where it stopped.
    env.restart().await;
    env.engine.release();
    for name in &names {
        env.ready(name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn help_version_and_crds_need_no_cluster() {
    let reported = async |argument: &str| {
        let output = tokio::process::Command::new(binary())
            .arg(argument)
            .env("KUBECONFIG", "/nonexistent")
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{argument}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let version = reported("--version").await;
    for part in [env!("CARGO_PKG_VERSION"), "revision", "rustc 1."] {
        assert!(version.contains(part), "{version}");
    }
    let help = reported("--help").await;
    for part in ["run", "crds", "check", "trace", "status", "events", "ELPIO_", "OTEL_"] {
        assert!(help.contains(part), "{help}");
    }
    assert!(reported("crds").await.contains("kind: CustomResourceDefinition"));
}

/// While the answer to the write of that status is on the way.
#[tokio::test(flavor = "multi_thread")]
async fn a_status_spoiled_behind_a_reconcile_in_flight_is_mended() {
    let cluster = Cluster::shared().await;
    let proxy = FaultProxy::start(&cluster.kubeconfig(), None).await;
    let env = LiveEnv::on(cluster, "prog-spoiled-early", proxy.kubeconfig(), &[]).await;
    env.engine.hold();
    env.apply("web", &image("v1")).await;
    env.condition("web", "Ready", "False", "Progressing").await;
    env.wait_until_idle().await;
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    proxy.set(move |parts| {
        parts.uri.path().ends_with("/elpioservices/web/status").then(|| Fault::HoldAnswer(held.clone()))
    });
    env.engine.release();
    env.ready("web").await;
    let spoil = json!({"status": {"ready": false, "url": "http://evil", "conditions": []}});
    env.services().patch_status("web", &PatchParams::default(), &Patch::Merge(spoil)).await.unwrap();
    // Its watch has shown it.
    env.wait_for_metric("elpio_resources", &[("kind", "ElpioService"), ("ready", "unknown")], 1.0).await;
    proxy.clear();
    gate.add_permits(100);
    let mended = env.ready("web").await;
    assert_ne!(mended.status.unwrap().url.as_deref(), Some("http://evil"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_that_somebody_spoils_is_mended() {
    let env = LiveEnv::new("prog-status").await;
    env.apply("web", &image("v1")).await;
    env.ready("web").await;
    let spoil = json!({"status": {"ready": false, "url": "http://evil", "conditions": []}});
    env.services().patch_status("web", &PatchParams::default(), &Patch::Merge(spoil)).await.unwrap();
    let mended = env.ready("web").await;
    assert_ne!(mended.status.unwrap().url.as_deref(), Some("http://evil"));
}
