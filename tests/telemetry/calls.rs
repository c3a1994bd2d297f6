//! Calls to the API server: client spans, durations, watches.

use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use elpio_operator::{
    foreign::ChildKind,
    telemetry::{ChildStep, RolloutSeed, SpanParent, step_for},
};
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use kube::client::Body;
use opentelemetry::{
    Value,
    trace::{SpanKind, Status},
};
use tower::{BoxError, Layer, Service, service_fn};
use tracing::Instrument;

use super::harness::{TelemetryHarness, attributes, harness, harness_with, named, settled, wrote};

pub const PATCH: &str = "/apis/serving.knative.dev/v1/namespaces/shop/services/cart?fieldManager=elpio";
const TEMPLATE: &str = "/apis/serving.knative.dev/v1/namespaces/{namespace}/services/{name}";

type Sent = Arc<Mutex<Vec<HeaderMap>>>;

fn request(method: &str, path: &str) -> Request<Body> {
    Request::builder().method(method).uri(path).body(Body::empty()).unwrap()
}

/// Makes a call to a server that answers so; returns the `traceparent` that it was sent.
pub async fn call(
    harness: &TelemetryHarness,
    method: &str,
    path: &str,
    answer: Result<u16, io::ErrorKind>,
) -> Option<String> {
    let headers = call_headers(harness, method, path, answer).await.expect("the request arrived");
    headers.get("traceparent").map(|value| value.to_str().unwrap().to_owned())
}

/// The same; returns all headers.
pub async fn call_headers(
    harness: &TelemetryHarness,
    method: &str,
    path: &str,
    answer: Result<u16, io::ErrorKind>,
) -> Option<HeaderMap> {
    let sent = Sent::default();
    let seen = Arc::clone(&sent);
    let server = service_fn(move |request: Request<Body>| {
        seen.lock().unwrap().push(request.headers().clone());
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
    let layer =
        harness.telemetry.metrics().client_layer().for_server(&"https://api.example:6443".parse().unwrap());
    let _ = layer.layer(server).call(request(method, path)).await;
    sent.lock().unwrap().pop()
}

async fn in_rollout(
    harness: &TelemetryHarness,
    method: &str,
    path: &str,
    answer: Result<u16, io::ErrorKind>,
) -> Option<String> {
    let rollout = harness.telemetry.traces().begin_rollout(&RolloutSeed {
        uid: "uid-1",
        generation: 7,
        rebuild: "",
        parent: None,
        tracestate: None,
    });
    let mut sent = None;
    harness
        .reconcile(SpanParent::InRollout(rollout), async {
            sent = call(harness, method, path, answer)
                .instrument(step_for(ChildStep::Apply, ChildKind::Service))
                .await;
            wrote()
        })
        .await;
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_a_reconcile_is_a_client_span_that_the_server_can_join() {
    let harness = harness();
    let sent = in_rollout(&harness, "PATCH", PATCH, Ok(200)).await.expect("traceparent is sent");
    let spans = harness.spans();
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
    let labels = "http_request_method=\"PATCH\",http_response_status_code=\"200\",server_address=\"api.example\",server_port=\"6443\"";
    let count = format!("http_client_request_duration_seconds_count{{{labels},url_template=\"{TEMPLATE}\"}}");
    assert_eq!(harness.value(&count), Some(1.0), "{}", harness.page());
    let text = harness.openmetrics();
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
        let harness = harness();
        in_rollout(&harness, method, PATCH, answer).await;
        let spans = harness.spans();
        let span = named(&spans, &format!("{method} {TEMPLATE}"));
        let what = format!("{method} {answer:?}");
        assert_eq!(attributes(span).get("error.type"), error.map(Value::from).as_ref(), "{what}");
        assert_eq!(matches!(span.status, Status::Error { .. }), error.is_some(), "{what}");
        assert_eq!(harness.page().contains("error_type=\"404\""), error == Some("404"), "{what}");
        if let Some(error) = error {
            assert!(
                harness
                    .page()
                    .contains(&format!("http_client_request_duration_seconds_count{{error_type=\"{error}\"")),
                "{what}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_a_reconcile_a_call_is_counted_and_makes_no_span() {
    let harness = harness();
    let sent = tracing::instrument::WithSubscriber::with_subscriber(
        call(&harness, "GET", "/version", Ok(200)),
        harness.dispatch.clone(),
    )
    .await;
    assert_eq!(sent, None);
    assert!(harness.spans().is_empty());
    assert!(harness.page().contains("url_template=\"/version\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_given_up_is_seen() {
    let harness = harness();
    let silent =
        service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>());
    let layer = harness.telemetry.metrics().client_layer();
    harness
        .reconcile(SpanParent::AfterRollout(None), async {
            let request = request("PUT", "/api/v1/namespaces/shop/services/x");
            let mut hanging = layer.layer(silent).call(request);
            assert!(futures::poll!(hanging.as_mut()).is_pending());
            drop(hanging);
            wrote()
        })
        .await;
    assert!(harness.page().contains("error_type=\"cancelled\""));
    let spans = harness.spans();
    let span = named(&spans, "PUT /api/v1/namespaces/{namespace}/services/{name}");
    assert_eq!(attributes(span).get("error.type"), Some(&Value::from("cancelled")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_trace_hands_out_no_id_by_reading_and_is_kept_by_writing() {
    let harness = harness();
    let mut sent = None;
    harness
        .reconcile(SpanParent::AfterRollout(None), async {
            sent = call(&harness, "GET", PATCH, Ok(200)).await;
            settled()
        })
        .await;
    assert_eq!(sent, None);
    assert!(harness.spans().is_empty());
    assert!(!harness.openmetrics().contains("trace_id"), "no exemplar of a trace that nobody has");
    harness
        .reconcile(SpanParent::AfterRollout(None), async {
            call(&harness, "GET", PATCH, Ok(200)).await;
            sent = call(&harness, "PATCH", PATCH, Ok(200)).await;
            settled()
        })
        .await;
    let spans = harness.spans();
    assert_eq!(spans.len(), 3);
    assert!(
        sent.unwrap().contains(&named(&spans, "reconcile ElpioService").span_context.trace_id().to_string())
    );
    assert_eq!(
        harness.openmetrics().matches("# {trace_id").count(),
        3,
        "of the reconcile and, after all, of both calls"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn propagation_can_be_turned_off() {
    let harness = harness_with(&[("OTEL_PROPAGATORS", "none")], "info");
    assert_eq!(in_rollout(&harness, "PATCH", PATCH, Ok(200)).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsampled_call_forwards_that_it_is_not_sampled() {
    let harness = harness_with(&[("OTEL_TRACES_SAMPLER", "always_off")], "info");
    let sent = in_rollout(&harness, "PATCH", PATCH, Ok(200)).await.expect("traceparent is sent");
    assert!(sent.starts_with("00-") && sent.ends_with("-00"), "{sent}");
    assert!(harness.spans().is_empty());
    let harness = harness_with(&[("OTEL_TRACES_SAMPLER", "always_off")], "info");
    let mut sent = None;
    harness
        .reconcile(SpanParent::AfterRollout(None), async {
            sent = call(&harness, "GET", PATCH, Ok(200)).await;
            settled()
        })
        .await;
    assert!(sent.is_some_and(|sent| sent.ends_with("-00")));
}

#[tokio::test(flavor = "multi_thread")]
async fn series_beyond_the_limit_are_counted_together() {
    let harness = harness();
    let count = |labels: &str| {
        harness.value(&format!("http_client_request_duration_seconds_count{{{labels}}}")).unwrap_or_default()
    };
    let first = "http_request_method=\"GET\",http_response_status_code=\"200\",server_address=\"api.example\",server_port=\"6443\",url_template=\"/version\"";
    let mut overflow = 0.0;
    for round in [1.0, 2.0] {
        for method in ["GET", "PATCH", "PUT"] {
            for status in 200..540 {
                call(&harness, method, "/version", Ok(status)).await;
            }
        }
        let more = count("otel_metric_overflow=\"true\"") - overflow;
        assert!(more >= 10.0, "round {round}: {more}");
        overflow += more;
        assert!((count(first) - round).abs() < 0.5, "round {round}: {}", count(first));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_span_lasts_until_the_answer_as_the_duration_does() {
    const ANSWER: Duration = Duration::from_millis(50);
    let harness = harness();
    let slow = service_fn(|_: Request<Body>| async {
        tokio::time::sleep(ANSWER).await;
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
    });
    let mut client = harness.telemetry.metrics().client_layer().layer(slow);
    harness
        .reconcile(SpanParent::AfterRollout(None), async {
            let request = request("PUT", "/api/v1/namespaces/shop/services/x");
            client.call(request).await.unwrap();
            wrote()
        })
        .await;
    let spans = harness.spans();
    let span = named(&spans, "PUT /api/v1/namespaces/{namespace}/services/{name}");
    let took = span.end_time.duration_since(span.start_time).unwrap();
    assert!(took >= ANSWER, "the span ended after {took:?}");
}
