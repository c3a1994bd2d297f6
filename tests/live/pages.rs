//! The pages: how long they answer, and what the metrics page makes of a request.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use elpio_cluster::{Cluster, eventually, process::Exit};
use nix::sys::signal::Signal;
use tokio::sync::Semaphore;

use crate::{
    fault_proxy::{Fault, FaultProxy},
    live_env::{LiveEnv, TIMEOUT, image},
};

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_answer_until_the_drain_has_ended() {
    let cluster = Cluster::shared().await;
    let proxy = FaultProxy::start(&cluster.kubeconfig(), None).await;
    let mut env = LiveEnv::on(cluster, "page-drain", proxy.kubeconfig(), &[]).await;
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    proxy.set(move |parts| {
        let applies =
            parts.method == http::Method::PATCH && parts.uri.path().contains("/serving.knative.dev/");
        applies.then(|| Fault::Hold(Arc::clone(&held)))
    });
    env.apply("web", &image("v1")).await;
    env.wait_for_metric("elpio_reconcile_active", &[("kind", "ElpioService")], 1.0).await;
    env.operator.signal(Signal::SIGTERM);
    eventually("it is stopping", TIMEOUT, async || {
        let (ready, why) = env.operator.get("/readyz").await.map_err(|error| error.to_string())?;
        if (ready, why.trim()) == (503, "stopping") { Ok(()) } else { Err(env.operator.log_tail()) }
    })
    .await;
    // The reconcile hangs: all that time every page answers.
    let begun = Instant::now();
    let mut answers = 0;
    while begun.elapsed() < Duration::from_secs(3) {
        let active = env.operator.sample("elpio_reconcile_active", &[("kind", "ElpioService")]).await;
        assert_eq!(active, Some(1.0), "the reconcile that is being finished");
        let (ready, why) = env.operator.get("/readyz").await.unwrap();
        assert_eq!((ready, why.trim()), (503, "stopping"), "no new work may come");
        assert_eq!(env.operator.get("/livez").await.unwrap().0, 200, "nobody is to kill it");
        answers += 1;
    }
    eprintln!("each page answered {answers} times in 3 s of the drain");
    assert!(env.operator.is_running() && answers > 10, "{answers} answers");
    gate.add_permits(100);
    assert_eq!(env.operator.wait_for_exit(TIMEOUT).await, Exit::Code(0), "{}", env.operator.log());
    assert!(env.operator.get("/readyz").await.is_err() && env.operator.scrape("").await.is_err());
    // What hung was finished, and not cut off.
    env.object(&env.knative(), "web", "is applied", |_| true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_accept_lines_are_one_list() {
    let env = LiveEnv::new("page-accept").await;
    let mut socket = TcpStream::connect(("127.0.0.1", env.operator.metrics_port())).unwrap();
    let request = "GET /metrics HTTP/1.1\r\nhost: elpio\r\nconnection: close\r\naccept: text/plain;q=0.3\r\n\
        accept: application/openmetrics-text;version=1.0.0\r\n\r\n";
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let head = answer.split("\r\n\r\n").next().unwrap_or_default().to_ascii_lowercase();
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
}
