//! The `OTEL_*` variables, each judged by what a real collector received: plain, with mutual TLS, with a
//! token.

use elpio_cluster::eventually;
use serde_json::Value;

use crate::{
    backends::{attributes, list, text},
    live_env::{LiveEnv, TIMEOUT, image},
    receiving::{ALL, END, Pushing, Receiving, case},
};

#[tokio::test(flavor = "multi_thread")]
async fn protocol_and_compression() {
    let receiving = Receiving::shared().await;
    for protocol in ["grpc", "http/protobuf"] {
        for compression in ["none", "gzip"] {
            let endpoint = receiving.endpoint(protocol);
            let variables = [
                ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
                ("OTEL_EXPORTER_OTLP_COMPRESSION", compression),
            ];
            let received = receiving.of(&variables, &ALL).await;
            assert_eq!(received.spans()[0]["name"], "reconcile ElpioService", "{protocol} {compression}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_open_a_door_and_a_signals_own_open_only_its() {
    let receiving = Receiving::shared().await;
    for (protocol, port) in [("grpc", receiving.token.0), ("http/protobuf", receiving.token.1)] {
        let endpoint = format!("http://127.0.0.1:{port}");
        let common =
            [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)];
        let with = |more: &[(&'static str, &'static str)]| [common.as_slice(), more].concat();
        receiving.of(&with(&[("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20s3cret")]), &ALL).await;
        receiving.refuses(&with(&[("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20guessed")])).await;
        let own = with(&[
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20guessed"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=Bearer%20s3cret"),
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_LOGS_EXPORTER", "none"),
        ]);
        assert_eq!(receiving.of(&own, &["traces"]).await.signals(), ["traces"], "{protocol}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mutual_tls_with_an_authority_of_ones_own() {
    let receiving = Receiving::shared().await;
    let (ca, certificate, key) =
        (receiving.file("ca.crt"), receiving.file("client.crt"), receiving.file("client.key"));
    for (protocol, port) in [("grpc", receiving.mutual.0), ("http/protobuf", receiving.mutual.1)] {
        let endpoint = format!("https://localhost:{port}");
        let common =
            [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)];
        let trusting = [("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.as_str())];
        let known = [
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate.as_str()),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", key.as_str()),
        ];
        receiving.of(&[common.as_slice(), &trusting, &known].concat(), &ALL).await;
        // Without a certificate the collector refuses us, without its authority we refuse it.
        receiving.refuses(&[common.as_slice(), &trusting].concat()).await;
        receiving.refuses(&[common.as_slice(), &known].concat()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_and_a_protocol_for_each_signal_and_none_for_another() {
    let receiving = Receiving::shared().await;
    let (grpc, http) =
        (receiving.endpoint("grpc"), format!("{}/v1/metrics", receiving.endpoint("http/protobuf")));
    let split = [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", grpc.as_str()),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", http.as_str()),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf"),
    ];
    assert_eq!(receiving.of(&split, &["traces", "metrics"]).await.signals(), ["traces", "metrics"]);
    for (variable, left) in [
        ("OTEL_TRACES_EXPORTER", ["metrics", "logs"]),
        ("OTEL_METRICS_EXPORTER", ["traces", "logs"]),
        ("OTEL_LOGS_EXPORTER", ["traces", "metrics"]),
    ] {
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", grpc.as_str()), (variable, "none")];
        assert_eq!(receiving.of(&variables, &left).await.signals(), left, "{variable}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn samplers_and_a_parent_that_decides() {
    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let receiving = Receiving::shared().await;
    let endpoint = receiving.endpoint("grpc");
    for (sampler, argument, parent, expected) in [
        ("always_on", "", None, 20..=20),
        ("always_off", "", None, 0..=0),
        ("traceidratio", "0", None, 0..=0),
        ("traceidratio", "0.5", None, 3..=17),
        ("parentbased_traceidratio", "1", None, 20..=20),
        ("parentbased_always_off", "", Some(SAMPLED), 20..=20),
        ("parentbased_always_on", "", Some(UNSAMPLED), 0..=0),
        ("always_on", "", Some(UNSAMPLED), 20..=20),
        ("always_off", "", Some(SAMPLED), 0..=0),
    ] {
        let case = case();
        let pushing = Pushing::new(
            &case,
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
                ("OTEL_TRACES_SAMPLER", sampler),
                ("OTEL_TRACES_SAMPLER_ARG", argument),
            ],
        );
        for generation in 1..=20 {
            pushing.reconcile(parent, generation).await;
        }
        assert!(pushing.telemetry.shutdown(END).await.is_empty());
        // The collector has one queue for each signal: spans that were sent before a sampled one are there
        // when that is.
        receiving.of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)], &ALL).await;
        let spans = receiving.received(&case).spans();
        assert!(expected.contains(&spans.len()), "{sampler} {argument} {parent:?}: {} of 20", spans.len());
        if parent.is_some() {
            assert!(
                spans.iter().all(|span| span["traceId"] == "0af7651916cd43dd8448eb211c80319c"),
                "{spans:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn temporality() {
    let receiving = Receiving::shared().await;
    let endpoint = receiving.endpoint("grpc");
    // OTLP: 1 is delta, 2 is cumulative. Up-down counters are cumulative in every case.
    for (preference, counter, histogram) in [("cumulative", 2, 2), ("delta", 1, 1), ("lowmemory", 1, 1)] {
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", preference),
        ];
        let received = receiving.of(&variables, &["metrics"]).await;
        assert_eq!(received.temporality("elpio.reconcile"), counter, "{preference}");
        assert_eq!(received.temporality("elpio.reconcile.duration"), histogram, "{preference}");
        assert_eq!(received.temporality("elpio.reconcile.active"), 2, "{preference}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn resource_attributes_and_the_length_of_values() {
    let receiving = Receiving::shared().await;
    let endpoint = receiving.endpoint("grpc");
    let resource = receiving
        .of(
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
                ("OTEL_RESOURCE_ATTRIBUTES", "team=a%2Cb,service.name=list"),
                ("OTEL_SERVICE_NAME", "own"),
            ],
            &ALL,
        )
        .await
        .resource();
    assert_eq!((resource["team"].as_str(), resource["service.name"].as_str()), ("a,b", "own"));
    let short = receiving
        .of(
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "5")],
            &["traces"],
        )
        .await
        .spans();
    let values = attributes(&short[0]["attributes"]);
    assert_eq!(values["k8s.object.kind"], "Elpio");
    let own =
        [("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "5"), ("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "7")];
    let record = receiving
        .of(&[&own[..], &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]].concat(), &["logs"])
        .await
        .records()
        .remove(0);
    assert_eq!(attributes(&record["attributes"])["k8s.object.kind"], "ElpioSe");
    assert_eq!(record["body"]["stringValue"], "reconciled", "a body is no attribute");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_attributes_and_what_was_dropped() {
    let receiving = Receiving::shared().await;
    let endpoint = receiving.endpoint("grpc");
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str());
    let counts = |parts: &[Value]| -> Vec<(String, usize, u64)> {
        let name = |part: &Value| text(&part["name"]) + &text(&part["body"]["stringValue"]);
        let dropped = |part: &Value| part["droppedAttributesCount"].as_u64().unwrap_or_default();
        parts.iter().map(|part| (name(part), list(&part["attributes"]).len(), dropped(part))).collect()
    };
    let whole = receiving.of(&[endpoint], &["traces", "logs"]).await;
    let (spans, records) = (counts(&whole.spans()), counts(&whole.records()));
    assert!(spans.iter().chain(&records).all(|(_, count, dropped)| *count > 3 && *dropped == 0), "{spans:?}");
    for (span_limit, record_limit) in [
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT"),
    ] {
        let cut =
            receiving.of(&[endpoint, (span_limit, "3"), (record_limit, "3")], &["traces", "logs"]).await;
        let expected: Vec<_> =
            spans.iter().map(|(name, count, _)| (name.clone(), 3, *count as u64 - 3)).collect();
        assert_eq!(counts(&cut.spans()), expected, "{span_limit}");
        // The SDK has no place for the number in a record.
        let expected: Vec<_> = records.iter().map(|(name, ..)| (name.clone(), 3, 0)).collect();
        assert_eq!(counts(&cut.records()), expected, "{record_limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn disabled_is_silent_and_none_is_none() {
    let receiving = Receiving::shared().await;
    let endpoint = receiving.endpoint("grpc");
    for variables in [
        vec![("OTEL_SDK_DISABLED", "true")],
        vec![
            ("OTEL_TRACES_EXPORTER", "none"),
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_LOGS_EXPORTER", "none"),
        ],
    ] {
        let case = case();
        let pushing = Pushing::new(
            &case,
            &[variables.as_slice(), &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]].concat(),
        );
        pushing.reconcile(None, 1).await;
        assert!(pushing.telemetry.shutdown(END).await.is_empty());
        receiving.of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)], &ALL).await;
        assert_eq!(receiving.received(&case).signals(), [""; 0], "{variables:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn console_shows_spans_and_wrong_values_are_one_warning_each() {
    let receiving = Receiving::shared().await;
    let endpoint = receiving.endpoint("grpc");
    let wrong = [
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "often"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip"),
        ("OTEL_PROPAGATORS", "smoke"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
    ];
    let mut variables = wrong.to_vec();
    variables.extend([
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_TRACES_EXPORTER", "otlp,console"),
        ("OTEL_RESOURCE_ATTRIBUTES", "case=wrong-values"),
    ]);
    let env = LiveEnv::with("wrong-values", &variables).await;
    env.apply("web", &image("v1")).await;
    env.ready("web").await;
    receiving.wait_for("wrong-values", &["traces", "logs"]).await;
    eventually("the console shows the rollout", TIMEOUT, async || {
        let log = env.operator.log();
        if log.contains("rollout ElpioService") { Ok(()) } else { Err(env.operator.log_tail()) }
    })
    .await;
    let log = env.operator.log();
    for (variable, value) in wrong {
        let lines: Vec<&str> = log.lines().filter(|line| text_of(line).contains(variable)).collect();
        assert_eq!(lines.len(), 1, "{variable}: {lines:?}");
        assert!(lines[0].contains("WARN") && lines[0].contains(value), "{}", lines[0]);
    }
}

fn text_of(line: &str) -> String {
    serde_json::from_str::<Value>(line).map_or_else(|_| String::new(), |line| text(&line["message"]))
}
