//! Calls as the semantic conventions and the audit log have them.

use std::convert::Infallible;

use bytes::Bytes;
use elpio_operator::telemetry::{RolloutSeed, SpanParent, drop_as_timed_out};
use http::{Request, Response};
use http_body_util::Full;
use kube::client::Body;
use opentelemetry::{Value, trace::SpanKind};
use tower::{Layer, Service, service_fn};

use super::{
    calls::{PATCH, call_headers},
    harness::{attributes, harness, harness_with, named, settled, wrote},
};

#[tokio::test(flavor = "multi_thread")]
async fn our_own_time_out_is_a_timeout() {
    let harness = harness();
    let silent =
        service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>());
    let layer = harness.telemetry.metrics().client_layer();
    harness
        .reconcile(SpanParent::AfterRollout(None), async {
            let request = Request::put("/api/v1/namespaces/shop/services/x").body(Body::empty()).unwrap();
            let mut hanging = layer.layer(silent).call(request);
            assert!(futures::poll!(hanging.as_mut()).is_pending());
            drop_as_timed_out(hanging);
            wrote()
        })
        .await;
    let page = harness.page();
    assert!(page.contains("error_type=\"timeout\"") && !page.contains("error_type=\"cancelled\""), "{page}");
    let spans = harness.spans();
    let span = named(&spans, "PUT /api/v1/namespaces/{namespace}/services/{name}");
    assert_eq!(attributes(span).get("error.type"), Some(&Value::from("timeout")));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_a_reconcile_has_the_ids_of_its_span_as_audit_id() {
    let harness = harness();
    let rollout =
        harness.telemetry.traces().begin_rollout(&RolloutSeed { uid: "u", ..RolloutSeed::default() });
    let mut sent = Vec::new();
    harness
        .reconcile(SpanParent::InRollout(rollout), async {
            for method in ["GET", "PATCH", "PATCH"] {
                sent.extend(call_headers(&harness, method, PATCH, Ok(503)).await);
            }
            wrote()
        })
        .await;
    let ids: Vec<String> =
        sent.iter().map(|headers| headers["audit-id"].to_str().unwrap().to_owned()).collect();
    let spans = harness.spans();
    let of_spans: Vec<String> = spans
        .iter()
        .filter(|span| span.span_kind == SpanKind::Client)
        .map(|span| format!("{}-{}", span.span_context.trace_id(), span.span_context.span_id()))
        .collect();
    assert_eq!(ids, of_spans, "a retry has an id of its own");
    // Sampled or not; but where spans go nowhere there is none.
    let unsampled = harness_with(&[("OTEL_TRACES_SAMPLER", "always_off")], "info");
    let mut sent = None;
    unsampled
        .reconcile(SpanParent::AfterRollout(None), async {
            sent = call_headers(&unsampled, "GET", PATCH, Ok(200)).await;
            settled()
        })
        .await;
    assert_eq!(sent.unwrap()["audit-id"].len(), 32 + 1 + 16);
    let outside = call_headers(&harness, "GET", PATCH, Ok(200)).await.unwrap();
    assert!(!outside.contains_key("audit-id"), "outside a reconcile there is no span");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_named_as_it_was_called() {
    for (server, url, address, port) in [
        ("http://127.0.0.1:8001", "http://127.0.0.1:8001/version", "127.0.0.1", 8001),
        ("https://[::1]:6443", "https://[::1]:6443/version", "::1", 6443),
        ("https://api.example", "https://api.example:443/version", "api.example", 443),
        ("http://proxy", "http://proxy:80/version", "proxy", 80),
    ] {
        let harness = harness();
        let layer = harness.telemetry.metrics().client_layer().for_server(&server.parse().unwrap());
        let answer = service_fn(|_: Request<Body>| async {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
        });
        harness
            .reconcile(SpanParent::AfterRollout(None), async {
                let request = Request::builder().method("PURGE").uri("/version").body(Body::empty()).unwrap();
                layer.layer(answer).call(request).await.unwrap();
                wrote()
            })
            .await;
        let spans = harness.spans();
        let found = attributes(named(&spans, "HTTP /version"));
        for (key, value) in [
            ("url.full", Value::from(url)),
            ("server.address", Value::from(address)),
            ("server.port", Value::I64(port)),
            ("http.request.method", Value::from("_OTHER")),
            ("http.request.method_original", Value::from("PURGE")),
        ] {
            assert_eq!(found.get(key), Some(&value), "{server}: {key}");
        }
        let page = harness.page();
        assert!(page.contains(&format!("server_address=\"{address}\",server_port=\"{port}\"")), "{page}");
    }
}
