//! Watches: what they deliver, and how long they have been silent.

use std::{convert::Infallible, sync::Mutex, time::Duration};

use bytes::Bytes;
use elpio_cluster::eventually;
use http::{Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use tower::{Layer, Service, service_fn};

use super::harness::harness;

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ages_from_its_last_byte_while_it_runs() {
    let harness = harness();
    let metrics = harness.telemetry.metrics();
    let guard = metrics.watch_guard("Service", "/api/v1/services");
    guard.record_events(1);
    guard.record_events(1);
    guard.record_restart();
    assert_eq!(harness.value("elpio_watch_events_total{resource=\"Service\"}"), Some(2.0));
    assert_eq!(harness.value("elpio_watch_restarts_total{resource=\"Service\"}"), Some(1.0));
    let age = || harness.value("elpio_watch_age_seconds{resource=\"Service\"}");
    assert_eq!(age(), None, "nothing heard yet");

    let (send, frames) = tokio::sync::mpsc::channel::<Bytes>(1);
    let frames = futures::stream::unfold(frames, |mut frames| async {
        let frame = frames.recv().await?;
        Some((Ok::<_, Infallible>(http_body::Frame::data(frame)), frames))
    });
    let body = http_body_util::StreamBody::new(Box::pin(frames));
    let body = Mutex::new(Some(body));
    let server = service_fn(move |_: Request<Body>| {
        let body = body.lock().unwrap().take().unwrap();
        async move { Ok::<_, Infallible>(Response::new(body)) }
    });
    let request = Request::builder().uri("/api/v1/services?&watch=true").body(Body::empty()).unwrap();
    let mut answer = metrics.client_layer().layer(server).call(request).await.unwrap();
    assert!(age().is_some(), "the head was heard");
    let silent = eventually("the watch grows old", Duration::from_secs(5), async || {
        age().filter(|age| *age >= 0.05).ok_or("young")
    })
    .await;
    send.send(Bytes::from_static(b"bookmark")).await.unwrap();
    answer.frame().await.unwrap().unwrap();
    let age_before = age().unwrap();
    assert!(age_before < silent, "{age_before} after {silent}");
}
