//! Calls to the API server: client spans, durations, watches.

use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use elpio_cluster::eventually;
use elpio_operator::telemetry::{ChildStep, Place, RolloutSeed, step_for};
use futures::StreamExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use kube::{client::Body, runtime::watcher};
use opentelemetry::{
    Value,
    trace::{SpanKind, Status},
};
use tower::{BoxError, Layer, Service, service_fn};
use tracing::Instrument;

use super::rig::{Rig, attributes, named, rig, rig_with, settled, wrote};

const PATCH: &str = "/apis/serving.knative.dev/v1/namespaces/shop/services/cart?fieldManager=elpio";
const TEMPLATE: &str = "/apis/serving.knative.dev/v1/namespaces/{namespace}/services/{name}";

type Sent = Arc<Mutex<Vec<Option<String>>>>;

/// Makes a call to a server that answers so; returns the `traceparent` that it was sent.
pub async fn call(rig: &Rig, method: &str, path: &str, answer: Result<u16, io::ErrorKind>) -> Option<String> {
    let sent = Sent::default();
    let seen = Arc::clone(&sent);
    let server = service_fn(move |request: Request<Body>| {
        let header = request.headers().get("traceparent").map(|value| value.to_str().unwrap().to_owned());
        seen.lock().unwrap().push(header);
        async move {
            let status = answer.map_err(|kind| BoxError::from(io::Error::from(kind)))?;
            Ok::<_, BoxError>(
                Response::builder()
                    .status(status)
                    .header("audit-id", "audit-1")
                    .body(Full::new(Bytes::new()))
                    .unwrap(),
            )
        }
    });
    let layer = rig.telemetry.metrics().client_layer().to(&"https://api.example:6443".parse().unwrap());
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let _ = layer.layer(server).call(request).await;
    let sent = sent.lock().unwrap().pop();
    sent.expect("the request arrived")
}

async fn in_rollout(
    rig: &Rig,
    method: &str,
    path: &str,
    answer: Result<u16, io::ErrorKind>,
) -> Option<String> {
    let rollout = rig.telemetry.traces().begin_rollout(&RolloutSeed {
        uid: "uid-1",
        generation: 7,
        rebuild: "",
        parent: None,
    });
    let mut sent = None;
    rig.reconcile(Place::InRollout(rollout), async {
        sent = call(rig, method, path, answer).instrument(step_for(ChildStep::Apply, "Service")).await;
        wrote()
    })
    .await;
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_a_reconcile_is_a_client_span_that_the_server_can_join() {
    let rig = rig();
    let sent = in_rollout(&rig, "PATCH", PATCH, Ok(200)).await.expect("traceparent is sent");
    let spans = rig.spans();
    let span = named(&spans, &format!("PATCH {TEMPLATE}"));
    assert_eq!(span.span_kind, SpanKind::Client);
    assert_eq!(span.status, Status::Unset);
    assert_eq!(span.parent_span_id, named(&spans, "apply Service").span_context.span_id());
    assert_eq!(sent, format!("00-{}-{}-01", span.span_context.trace_id(), span.span_context.span_id()));
    let found = attributes(span);
    for (key, value) in [
        ("http.request.method", Value::from("PATCH")),
        ("url.template", Value::from(TEMPLATE)),
        ("http.response.status_code", Value::I64(200)),
        ("server.address", Value::from("api.example")),
        ("server.port", Value::I64(6443)),
        ("k8s.audit_id", Value::from("audit-1")),
        ("url.full", Value::from(format!("https://api.example:6443{PATCH}"))),
    ] {
        assert_eq!(found.get(key), Some(&value), "{key}");
    }
    let labels =
        "http_request_method=\"PATCH\",http_response_status_code=\"200\",server_address=\"api.example\"";
    let count = format!("http_client_request_duration_seconds_count{{{labels},url_template=\"{TEMPLATE}\"}}");
    assert_eq!(rig.value(&count), Some(1.0), "{}", rig.page());
    let text = rig.openmetrics();
    let exemplar = text.lines().find(|line| {
        line.starts_with("http_client_request_duration_seconds_bucket") && line.contains(" # {")
    });
    assert!(
        exemplar.is_some_and(|line| line.contains(&span.span_context.span_id().to_string())),
        "{exemplar:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_an_error() {
    for (method, answer, error) in [
        ("GET", Ok(200), None),
        ("GET", Ok(404), None),
        ("PATCH", Ok(404), Some("404")),
        ("GET", Ok(403), Some("403")),
        ("PATCH", Ok(409), Some("409")),
        ("GET", Ok(503), Some("503")),
        ("GET", Err(io::ErrorKind::ConnectionRefused), Some("connection")),
        ("GET", Err(io::ErrorKind::TimedOut), Some("timeout")),
    ] {
        let rig = rig();
        in_rollout(&rig, method, PATCH, answer).await;
        let spans = rig.spans();
        let span = named(&spans, &format!("{method} {TEMPLATE}"));
        let what = format!("{method} {answer:?}");
        assert_eq!(attributes(span).get("error.type"), error.map(Value::from).as_ref(), "{what}");
        assert_eq!(matches!(span.status, Status::Error { .. }), error.is_some(), "{what}");
        assert_eq!(rig.page().contains("error_type=\"404\""), error == Some("404"), "{what}");
        if let Some(error) = error {
            assert!(
                rig.page()
                    .contains(&format!("http_client_request_duration_seconds_count{{error_type=\"{error}\"")),
                "{what}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_a_reconcile_a_call_is_counted_and_makes_no_span() {
    let rig = rig();
    let sent = tracing::instrument::WithSubscriber::with_subscriber(
        call(&rig, "GET", "/version", Ok(200)),
        rig.dispatch.clone(),
    )
    .await;
    assert_eq!(sent, None);
    assert!(rig.spans().is_empty());
    assert!(rig.page().contains("url_template=\"/version\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_given_up_is_seen() {
    let rig = rig();
    let silent =
        service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>());
    let layer = rig.telemetry.metrics().client_layer();
    rig.reconcile(Place::AfterRollout(None), async {
        let request = Request::builder()
            .method("PUT")
            .uri("/api/v1/namespaces/shop/services/x")
            .body(Body::empty())
            .unwrap();
        let mut hanging = layer.layer(silent).call(request);
        assert!(futures::poll!(hanging.as_mut()).is_pending());
        drop(hanging);
        wrote()
    })
    .await;
    assert!(rig.page().contains("error_type=\"cancelled\""));
    let spans = rig.spans();
    let span = named(&spans, "PUT /api/v1/namespaces/{namespace}/services/{name}");
    assert_eq!(attributes(span).get("error.type"), Some(&Value::from("cancelled")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_trace_hands_out_no_id_by_reading_and_is_kept_by_writing() {
    let rig = rig();
    let mut sent = None;
    rig.reconcile(Place::AfterRollout(None), async {
        sent = call(&rig, "GET", PATCH, Ok(200)).await;
        settled()
    })
    .await;
    assert_eq!(sent, None);
    assert!(rig.spans().is_empty());
    assert!(!rig.openmetrics().contains("trace_id"), "no exemplar of a trace that nobody has");
    rig.reconcile(Place::AfterRollout(None), async {
        call(&rig, "GET", PATCH, Ok(200)).await;
        sent = call(&rig, "PATCH", PATCH, Ok(200)).await;
        settled()
    })
    .await;
    let spans = rig.spans();
    assert_eq!(spans.len(), 3);
    assert!(
        sent.unwrap().contains(&named(&spans, "reconcile ElpioService").span_context.trace_id().to_string())
    );
    assert_eq!(
        rig.openmetrics().matches("# {trace_id").count(),
        3,
        "of the reconcile and, after all, of both calls"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn propagation_can_be_turned_off_and_unsampled_sends_nothing() {
    for variable in [("OTEL_PROPAGATORS", "none"), ("OTEL_TRACES_SAMPLER", "always_off")] {
        let rig = rig_with(&[variable], "info");
        assert_eq!(in_rollout(&rig, "PATCH", PATCH, Ok(200)).await, None, "{variable:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ages_from_its_last_byte_while_somebody_watches() {
    let rig = rig();
    let metrics = rig.telemetry.metrics();
    let events = futures::stream::iter([
        Ok(watcher::Event::Init),
        Ok(watcher::Event::InitApply(1)),
        Ok(watcher::Event::InitDone),
        Ok(watcher::Event::Apply(2)),
    ]);
    let failing = futures::stream::iter([Err(watcher::Error::NoResourceVersion)]);
    let mut stream = std::pin::pin!(
        metrics.watch(
            "Service",
            events
                .chain(failing)
                .chain(futures::stream::pending::<Result<watcher::Event<i32>, watcher::Error>>())
        )
    );
    for _ in 0..5 {
        stream.next().await;
    }
    assert_eq!(rig.value("elpio_watch_events_total{resource=\"Service\"}"), Some(2.0));
    assert_eq!(rig.value("elpio_watch_restarts_total{resource=\"Service\"}"), Some(1.0));
    let age = || rig.value("elpio_watch_age_seconds{resource=\"Service\"}");
    assert_eq!(age(), None, "nothing heard yet");

    let (send, frames) = tokio::sync::mpsc::channel::<Bytes>(1);
    let body = http_body_util::StreamBody::new(futures::stream::unfold(frames, |mut frames| async {
        let frame = frames.recv().await?;
        Some((Ok::<_, Infallible>(http_body::Frame::data(frame)), frames))
    }));
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
    let heard = age().unwrap();
    assert!(heard < silent, "{heard} after {silent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn series_beyond_the_limit_are_counted_together() {
    let rig = rig();
    for n in 0..1010 {
        call(&rig, "GET", &format!("/apis/group-{n}/v1"), Ok(200)).await;
    }
    let overflow = rig.value("http_client_request_duration_seconds_count{otel_metric_overflow=\"true\"}");
    assert!(overflow.is_some_and(|count| count >= 10.0), "{overflow:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_span_lasts_until_the_answer_as_the_duration_does() {
    const ANSWER: Duration = Duration::from_millis(50);
    let rig = rig();
    let slow = service_fn(|_: Request<Body>| async {
        tokio::time::sleep(ANSWER).await;
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
    });
    let mut client = rig.telemetry.metrics().client_layer().layer(slow);
    rig.reconcile(Place::AfterRollout(None), async {
        let request = Request::builder()
            .method("PUT")
            .uri("/api/v1/namespaces/shop/services/x")
            .body(Body::empty())
            .unwrap();
        client.call(request).await.unwrap();
        wrote()
    })
    .await;
    let spans = rig.spans();
    let span = named(&spans, "PUT /api/v1/namespaces/{namespace}/services/{name}");
    let took = span.end_time.duration_since(span.start_time).unwrap();
    assert!(took >= ANSWER, "the span ended after {took:?}");
}
