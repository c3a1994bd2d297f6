//! Tests of the `OTEL_*` variables, each with a value that is right and one that is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::HashMap, time::Duration};

use crate::telemetry::config::{
    RootSampler, TelemetryConfig, Temporality,
    otlp::{OtlpConfig, Protocol},
};

fn read(variables: &[(&str, &str)]) -> (TelemetryConfig, Vec<String>) {
    let all: HashMap<String, String> =
        variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    TelemetryConfig::from_env(&|name| all.get(name).cloned())
}

/// No warning is given.
fn good(variables: &[(&str, &str)]) -> TelemetryConfig {
    let (settings, warnings) = read(variables);
    assert!(warnings.is_empty(), "{variables:?}: {warnings:?}");
    settings
}

/// Exactly one warning is given, which names the variable and what it held.
fn wrong(variables: &[(&str, &str)]) -> TelemetryConfig {
    let (settings, warnings) = read(variables);
    let (name, value) = variables.last().unwrap();
    assert_eq!(warnings.len(), 1, "{variables:?}: {warnings:?}");
    assert!(warnings[0].contains(name) && warnings[0].contains(value), "{variables:?}: {warnings:?}");
    settings
}

fn traces(settings: &TelemetryConfig) -> OtlpConfig {
    settings.traces.otlp.clone().expect("traces are pushed")
}

const ON: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317");

#[test]
fn nothing_set_pushes_nothing_and_says_nothing() {
    assert!(!good(&[]).exports_anything());
    assert!(!good(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]).exports_anything(), "empty is unset");
}

#[test]
fn an_endpoint_pushes_all_signals_and_a_signals_own_only_that() {
    let all = good(&[ON]);
    assert!(all.traces.is_on() && all.metrics.is_on() && all.logs.is_on());
    let one = good(&[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://c:4317")]);
    assert!(!one.traces.is_on() && one.metrics.is_on() && !one.logs.is_on());
}

#[test]
fn the_sdk_can_be_disabled() {
    assert!(!good(&[ON, ("OTEL_SDK_DISABLED", "True")]).exports_anything());
    assert!(good(&[ON, ("OTEL_SDK_DISABLED", "false")]).exports_anything());
    assert!(wrong(&[ON, ("OTEL_SDK_DISABLED", "1")]).exports_anything(), "only true is true");
}

#[test]
fn exporters() {
    let none = good(&[ON, ("OTEL_TRACES_EXPORTER", "none")]);
    assert!(!none.traces.is_on() && none.metrics.is_on());
    let named = good(&[("OTEL_LOGS_EXPORTER", "otlp")]);
    assert_eq!(named.logs.otlp.unwrap().endpoint, "http://localhost:4317");
    let console = good(&[("OTEL_METRICS_EXPORTER", "console")]);
    assert!(console.metrics.console && console.metrics.otlp.is_none());
    let both = good(&[("OTEL_TRACES_EXPORTER", "otlp, console")]);
    assert!(both.traces.console && both.traces.otlp.is_some());
    assert!(wrong(&[ON, ("OTEL_TRACES_EXPORTER", "zipkin")]).traces.otlp.is_some());
    assert!(!wrong(&[("OTEL_TRACES_EXPORTER", "zipkin")]).exports_anything());
}

#[test]
fn protocols_and_endpoints() {
    for (variables, endpoint) in [
        (vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317")], "http://c:4317"),
        (vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4317")], "http://c:4317"),
        (
            vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4317"), ("OTEL_EXPORTER_OTLP_INSECURE", "false")],
            "https://c:4317",
        ),
        (
            vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4317"), ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "false")],
            "https://c:4317",
        ),
        (
            vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c"), ("OTEL_EXPORTER_OTLP_INSECURE", "true")],
            "https://c",
        ),
        (
            vec![
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/"),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ],
            "http://c:4318/v1/traces",
        ),
        (
            vec![
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/otel"),
                ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
            ],
            "http://c:4318/otel/v1/traces",
        ),
        (
            vec![
                ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:4318/mine"),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ],
            "http://c:4318/mine",
        ),
        (
            vec![("OTEL_TRACES_EXPORTER", "otlp"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")],
            "http://localhost:4318/v1/traces",
        ),
        (vec![ON, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://own:1")], "http://own:1"),
    ] {
        assert_eq!(traces(&good(&variables)).endpoint, endpoint, "{variables:?}");
    }
    assert_eq!(traces(&good(&[ON])).protocol, Protocol::Grpc, "the default");
    assert_eq!(traces(&wrong(&[ON, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")])).protocol, Protocol::Grpc);
    for bad in ["ftp://c", "http://", "http://a b"] {
        assert!(!wrong(&[("OTEL_EXPORTER_OTLP_ENDPOINT", bad)]).exports_anything(), "{bad}");
    }
}

#[test]
fn headers_are_decoded_and_never_shown() {
    let secret = "Bearer%20s3cr3t";
    let settings = good(&[
        ON,
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=b"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", &format!("Authorization={secret}")),
    ]);
    assert_eq!(traces(&settings).headers, [("authorization".to_owned(), "Bearer s3cr3t".to_owned())]);
    assert_eq!(settings.logs.otlp.as_ref().unwrap().headers, [("a".to_owned(), "b".to_owned())]);
    assert!(!format!("{settings:?}").contains("s3cr3t"), "{settings:?}");

    let (broken, warnings) = read(&[ON, ("OTEL_EXPORTER_OTLP_HEADERS", "a=b,s3cr3t,c=%zz,d e=f")]);
    assert_eq!(traces(&broken).headers, [("a".to_owned(), "b".to_owned())]);
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].contains("OTEL_EXPORTER_OTLP_HEADERS") && !warnings[0].contains("s3cr3t"),
        "{warnings:?}"
    );

    let with_user = good(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:s3cr3t@c:4317")]);
    assert!(!format!("{with_user:?}").contains("s3cr3t"));
}

#[test]
fn timeouts_compression_and_files() {
    let default = traces(&good(&[ON]));
    assert_eq!((default.timeout, default.gzip), (Duration::from_secs(10), false));
    let set =
        good(&[ON, ("OTEL_EXPORTER_OTLP_TIMEOUT", "3000"), ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "500")]);
    assert_eq!(traces(&set).timeout, Duration::from_millis(500));
    assert_eq!(set.logs.otlp.unwrap().timeout, Duration::from_secs(3));
    assert_eq!(traces(&wrong(&[ON, ("OTEL_EXPORTER_OTLP_TIMEOUT", "3s")])).timeout, Duration::from_secs(10));
    assert!(traces(&good(&[ON, ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")])).gzip);
    assert!(
        !traces(&good(&[
            ON,
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "none")
        ]))
        .gzip
    );
    assert!(!traces(&wrong(&[ON, ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd")])).gzip);
    let files = traces(&good(&[
        ON,
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca"),
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "/crt"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key"),
    ]));
    let path = |file: Option<(String, std::path::PathBuf)>| file.unwrap().1.display().to_string();
    assert_eq!(
        (path(files.tls.authorities), path(files.tls.certificate), path(files.tls.key)),
        ("/ca".into(), "/crt".into(), "/key".into())
    );
}

#[test]
fn samplers() {
    for (name, arg, parent_based, root) in [
        ("always_on", "", false, RootSampler::On),
        ("always_off", "", false, RootSampler::Off),
        ("traceidratio", "0.25", false, RootSampler::Ratio(0.25)),
        ("traceidratio", "", false, RootSampler::Ratio(1.0)),
        ("parentbased_always_on", "", true, RootSampler::On),
        ("parentbased_always_off", "", true, RootSampler::Off),
        ("parentbased_traceidratio", "0.5", true, RootSampler::Ratio(0.5)),
    ] {
        let sampler = good(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", arg)]).sampler;
        assert_eq!((sampler.parent_based, sampler.root), (parent_based, root), "{name}");
    }
    let default = good(&[]).sampler;
    assert_eq!((default.parent_based, default.root), (true, RootSampler::On));
    assert_eq!(wrong(&[("OTEL_TRACES_SAMPLER", "xray")]).sampler, default);
    for bad in ["1.5", "-0.1", "half", "NaN"] {
        assert_eq!(
            wrong(&[("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", bad)]).sampler.root,
            RootSampler::Ratio(1.0)
        );
    }
}

#[test]
fn propagators() {
    for (list, sent) in
        [("tracecontext", true), ("tracecontext,baggage", true), ("baggage", false), ("none", false)]
    {
        assert_eq!(good(&[("OTEL_PROPAGATORS", list)]).propagate, sent, "{list}");
    }
    assert!(good(&[]).propagate);
    assert!(wrong(&[("OTEL_PROPAGATORS", "b3")]).propagate);
}

#[test]
fn batches() {
    for (prefix, delay) in [("OTEL_BSP", 5), ("OTEL_BLRP", 1)] {
        let name = |option: &str| format!("{prefix}_{option}");
        let pick =
            |settings: &TelemetryConfig| if prefix == "OTEL_BSP" { settings.spans } else { settings.records };
        let default = pick(&good(&[]));
        assert_eq!((default.delay, default.queue, default.export), (Duration::from_secs(delay), 2048, 512));
        assert_eq!(default.timeout, Duration::from_secs(30));
        let set = pick(&good(&[
            (&name("SCHEDULE_DELAY"), "100"),
            (&name("MAX_QUEUE_SIZE"), "64"),
            (&name("MAX_EXPORT_BATCH_SIZE"), "32"),
            (&name("EXPORT_TIMEOUT"), "700"),
        ]));
        assert_eq!(
            (set.delay, set.queue, set.export, set.timeout),
            (Duration::from_millis(100), 64, 32, Duration::from_millis(700))
        );
        assert_eq!(
            pick(&good(&[(&name("MAX_QUEUE_SIZE"), "64")])).export,
            64,
            "the default batch fits a small queue"
        );
        for option in ["SCHEDULE_DELAY", "MAX_QUEUE_SIZE", "MAX_EXPORT_BATCH_SIZE", "EXPORT_TIMEOUT"] {
            assert_eq!(pick(&wrong(&[(&name(option), "0")])), default, "{option}");
            assert_eq!(pick(&wrong(&[(&name(option), "many")])), default, "{option}");
        }
        assert_eq!(
            pick(&wrong(&[(&name("MAX_QUEUE_SIZE"), "64"), (&name("MAX_EXPORT_BATCH_SIZE"), "65")])).export,
            64
        );
    }
}

#[test]
fn temporality() {
    const NAME: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
    for (value, temporality) in [
        ("cumulative", Temporality::Cumulative),
        ("Delta", Temporality::Delta),
        ("LowMemory", Temporality::LowMemory),
    ] {
        assert_eq!(good(&[(NAME, value)]).temporality, temporality);
    }
    assert_eq!(wrong(&[(NAME, "sometimes")]).temporality, Temporality::Cumulative);
}

#[test]
fn metrics_and_limits() {
    let default = good(&[]);
    assert_eq!((default.interval, default.timeout), (Duration::from_mins(1), Duration::from_secs(30)));
    let set = good(&[("OTEL_METRIC_EXPORT_INTERVAL", "1500"), ("OTEL_METRIC_EXPORT_TIMEOUT", "250")]);
    assert_eq!((set.interval, set.timeout), (Duration::from_millis(1500), Duration::from_millis(250)));
    assert_eq!(wrong(&[("OTEL_METRIC_EXPORT_INTERVAL", "-1")]).interval, default.interval);
    assert_eq!(wrong(&[("OTEL_METRIC_EXPORT_TIMEOUT", "soon")]).timeout, default.timeout);
    let limits = good(&[
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "10"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "3"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "2"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "1"),
    ])
    .limits;
    assert_eq!(
        (limits.value_length, limits.attributes, limits.events, limits.links),
        (Some(10), Some(3), Some(2), Some(1))
    );
    assert_eq!(
        good(&[("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "10"), ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "5")])
            .limits
            .value_length,
        Some(5)
    );
    assert_eq!(good(&[("OTEL_ATTRIBUTE_COUNT_LIMIT", "9")]).limits.attributes, Some(9));
    assert_eq!(wrong(&[("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "x")]).limits.value_length, None);
    let limits = |variables: &[(&str, &str)]| {
        let limits = good(variables).record_limits;
        (limits.value_length, limits.attributes)
    };
    assert_eq!(limits(&[]), (None, Some(128)));
    let both = [("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "10"), ("OTEL_ATTRIBUTE_COUNT_LIMIT", "9")];
    assert_eq!(limits(&both), (Some(10), Some(9)));
    let own =
        [("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "5"), ("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "3")];
    assert_eq!(limits(&[&both[..], &own[..]].concat()), (Some(5), Some(3)));
    assert_eq!(good(&own).limits.value_length, None, "a span's is another");
}

#[test]
fn service_and_resource() {
    let settings =
        good(&[("OTEL_SERVICE_NAME", "mine"), ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,team=a%2Cb")]);
    assert_eq!(settings.service_name.as_deref(), Some("mine"));
    assert_eq!(
        settings.resource,
        [("service.name".to_owned(), "other".to_owned()), ("team".to_owned(), "a,b".to_owned())]
    );
    assert!(wrong(&[("OTEL_RESOURCE_ATTRIBUTES", "team")]).resource.is_empty());
}

#[test]
fn a_variable_shared_by_all_signals_is_warned_about_once() {
    let (_, warnings) =
        read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "nonsense://"), ("OTEL_BSP_MAX_QUEUE_SIZE", "-1")]);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}
