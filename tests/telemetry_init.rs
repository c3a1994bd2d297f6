//! `telemetry::init` as the program calls it, with kube's own client, against a real OTLP receiver. Alone in
//! its process: it sets globals.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use elpio_cluster::otlp::OtlpReceiver;
use elpio_operator::{
    foreign::ChildKind,
    telemetry::{
        self, ChildStep, ErrorType, Failure, Identity, LogConfig, LogFormat, ReconcileOutcome,
        ReconcileReport, RolloutSeed, SpanParent, TelemetryConfig, step_for,
    },
};
use elpio_support::telemetry_harness::info;
use http_body_util::Full;
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api,
    client::{Body, ClientBuilder},
};
use tower::{BoxError, service_fn};
use tracing::Instrument;

fn absent() -> http::Response<Full<Bytes>> {
    let status = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"not there","reason":"NotFound","code":404}"#;
    http::Response::builder()
        .status(404)
        .header("audit-id", "a-1")
        .body(Full::new(Bytes::from(status)))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn from_init_to_shutdown() {
    let receiver = OtlpReceiver::start().await;
    let variables = HashMap::from([("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint())]);
    let (settings, warnings) = TelemetryConfig::from_env(&|name| variables.get(name).cloned());
    assert!(warnings.is_empty() && settings.exports_anything());
    // Spans do not depend on the log filter, nor on kube's own spans.
    let log = LogConfig { filter: "error,kube_client=trace".into(), format: LogFormat::Json, ansi: false };
    let telemetry = telemetry::init(settings, Identity::default(), log, true).unwrap();
    let (metrics, traces) = (telemetry.metrics(), telemetry.traces());

    let server = service_fn(|_: http::Request<Body>| async { Ok::<_, BoxError>(absent()) });
    let client = ClientBuilder::new(server, "shop").with_layer(&metrics.client_layer()).build();
    let services: Api<Service> = Api::namespaced(client, "shop");
    let rollout = traces.begin_rollout(&RolloutSeed {
        uid: "uid-1",
        generation: 1,
        rebuild: "",
        parent: None,
        tracestate: None,
    });
    let work = async {
        let found = services
            .get_opt("cart")
            .instrument(step_for(ChildStep::Apply, ChildKind::Service))
            .await
            .unwrap();
        assert!(found.is_none());
        let failure = Failure { error_type: ErrorType::Unavailable, message: "the whole chain".into() };
        ReconcileReport {
            failure: Some(failure),
            engine: None,
            outcome: ReconcileOutcome::Failed,
            applied: vec![],
            changed_anything: false,
            ..ReconcileReport::default()
        }
    };
    metrics.reconcile(&traces, info(SpanParent::InRollout(rollout.clone())), work).await.expect("no panic");

    tracing::error!(target: "shop", "the shelf is empty");

    let reported = telemetry.shutdown(Duration::from_secs(5)).await;
    assert!(reported.is_empty(), "{reported:?}");
    let spans = receiver.spans();
    let find = |name: &str| {
        spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name} in {spans:?}"))
    };
    let (call, step, reconcile) = (
        find("GET /api/v1/namespaces/{namespace}/services/{name}"),
        find("apply Service"),
        find("reconcile ElpioService"),
    );
    assert_eq!(
        (&call.parent_id, &step.parent_id),
        (&step.span_id, &reconcile.span_id),
        "also through the client's own queue"
    );
    assert_eq!(reconcile.parent_id, rollout.ids().unwrap().span_id());
    assert_eq!(spans.len(), 3, "kube's own spans are not ours: {spans:?}");
    let logs = receiver.logs();
    assert!(
        !logs.is_empty() && logs.iter().all(|log| log.scope == "shop"),
        "a warning is below the filter, and the client's own lines may hold secrets: {logs:?}"
    );
    assert!(!receiver.metrics().is_empty());
}
