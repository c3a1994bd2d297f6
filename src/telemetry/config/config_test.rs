//! The `OTEL_*` variables, each with a valid and an invalid value.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::HashMap, time::Duration};

use opentelemetry_sdk::metrics::Temporality;

use crate::telemetry::config::{TelemetryConfig, env::NO_LIMIT, sampler::RootSampler};

pub(super) fn read(variables: &[(&str, &str)]) -> (TelemetryConfig, Vec<String>) {
    let all: HashMap<String, String> =
        variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    TelemetryConfig::from_env(&|name| all.get(name).cloned())
}

/// Expects no warning.
pub(super) fn good(variables: &[(&str, &str)]) -> TelemetryConfig {
    let (config, warnings) = read(variables);
    assert!(warnings.is_empty(), "{variables:?}: {warnings:?}");
    config
}

/// Expects exactly one warning, which names the variable and its value.
pub(super) fn wrong(variables: &[(&str, &str)]) -> TelemetryConfig {
    let (config, warnings) = read(variables);
    let (name, value) = variables.last().unwrap();
    assert_eq!(warnings.len(), 1, "{variables:?}: {warnings:?}");
    assert!(warnings[0].contains(name) && warnings[0].contains(value), "{variables:?}: {warnings:?}");
    config
}

pub(super) const ON: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317");

#[test]
fn without_variables_nothing_is_pushed_and_nothing_logged() {
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
            |config: &TelemetryConfig| if prefix == "OTEL_BSP" { config.spans } else { config.records };
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
            assert_eq!(pick(&wrong(&[(&name(option), "many")])), default, "{option}");
        }
        for option in ["MAX_QUEUE_SIZE", "MAX_EXPORT_BATCH_SIZE"] {
            assert_eq!(pick(&wrong(&[(&name(option), "0")])), default, "{option}");
        }
        let zero = pick(&good(&[(&name("SCHEDULE_DELAY"), "0"), (&name("EXPORT_TIMEOUT"), "0")]));
        assert_eq!((zero.delay, zero.timeout), (Duration::from_millis(1), NO_LIMIT), "{prefix}");
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
    for bad in ["-1", "0"] {
        assert_eq!(wrong(&[("OTEL_METRIC_EXPORT_INTERVAL", bad)]).interval, default.interval);
    }
    assert_eq!(good(&[("OTEL_METRIC_EXPORT_TIMEOUT", "0")]).timeout, NO_LIMIT);
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
    let config =
        good(&[("OTEL_SERVICE_NAME", "mine"), ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,team=a%2Cb")]);
    assert_eq!(config.service_name.as_deref(), Some("mine"));
    assert_eq!(
        config.resource,
        [("service.name".to_owned(), "other".to_owned()), ("team".to_owned(), "a,b".to_owned())]
    );
}

#[test]
fn resource_attributes_are_decoded_and_a_broken_list_is_dropped() {
    const NAME: &str = "OTEL_RESOURCE_ATTRIBUTES";
    let long = format!("a={}", "x".repeat(5_000));
    for (list, expected) in [
        (
            r#"deployment.environment.name=Müller%20%26%20Co%2C%20prod, team = "a b" ,note=x=y,empty="#,
            vec![
                ("deployment.environment.name", "Müller & Co, prod"),
                ("team", r#""a b""#),
                ("note", "x=y"),
                ("empty", ""),
            ],
        ),
        (",,a=b,,", vec![("a", "b")]),
        ("a=b;c=d", vec![("a", "b;c=d")]),
        ("k8s.pod.name=mine", vec![("k8s.pod.name", "mine")]),
        (&long, vec![("a", &long[2..])]),
    ] {
        let found = good(&[(NAME, list)]).resource;
        let found: Vec<_> = found.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(found, expected, "{list}");
    }
    for list in ["team", "token=secret,c", "token=secret%zz"] {
        let (config, warnings) = read(&[(NAME, list)]);
        assert!(config.resource.is_empty(), "a broken list is dropped as a whole: {list}");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains(NAME) && !warnings[0].contains("secret"), "{warnings:?}");
    }
}

#[test]
fn a_variable_shared_by_all_signals_is_warned_about_once() {
    let (_, warnings) =
        read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "nonsense://"), ("OTEL_BSP_MAX_QUEUE_SIZE", "-1")]);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}

#[test]
fn prometheus_pushes_nothing_and_names_the_way_to_the_page() {
    const NAME: &str = "OTEL_METRICS_EXPORTER";
    for (value, pushed) in [("prometheus", false), ("Prometheus", false), ("prometheus,otlp", true)] {
        let (config, warnings) = read(&[ON, (NAME, value)]);
        assert_eq!(config.metrics.otlp.is_some(), pushed, "{value}");
        assert!(config.traces.otlp.is_some(), "the other signals are none of its business");
        assert_eq!(warnings.len(), 1, "{value}: {warnings:?}");
        assert!(warnings[0].contains(NAME) && warnings[0].contains("ELPIO_METRICS=on"), "{warnings:?}");
    }
    assert!(wrong(&[ON, ("OTEL_TRACES_EXPORTER", "prometheus")]).traces.otlp.is_some(), "it is for metrics");
}

#[test]
fn variables_without_effect_are_named_in_one_line() {
    let (_, warnings) = read(&[("OTEL_TRACES_SAMPLER_ARG", "0.1")]);
    assert_eq!(warnings, ["not supported, ignored: OTEL_TRACES_SAMPLER_ARG (the sampler takes no argument)"]);
    let variables = [("OTEL_CONFIG_FILE", "/f"), ("OTEL_LOG_LEVEL", "debug"), ("OTEL_ENTITIES", "x")];
    let (_, warnings) = read(&variables);
    assert_eq!(warnings, ["not supported, ignored: OTEL_CONFIG_FILE, OTEL_LOG_LEVEL, OTEL_ENTITIES"]);
    let exceptions = "OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN";
    good(&[(exceptions, "logs")]);
    assert_eq!(read(&[(exceptions, "logs/dup")]).1.len(), 1, "there are no span events");
    for arg in ["10%", "1.5", "0,1"] {
        let sampler = ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio");
        let found = wrong(&[sampler, ("OTEL_TRACES_SAMPLER_ARG", arg)]).sampler;
        assert_eq!(found.root, RootSampler::Ratio(1.0), "{arg}");
    }
    good(&[("OTEL_TRACES_SAMPLER", "traceidratio")]);
}

#[test]
fn words_are_read_in_any_case() {
    let config = good(&[
        ON,
        ("OTEL_TRACES_EXPORTER", "OTLP"),
        ("OTEL_LOGS_EXPORTER", "None"),
        ("OTEL_TRACES_SAMPLER", "Parentbased_Always_Off"),
        ("OTEL_PROPAGATORS", "TraceContext,Baggage"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "GZIP"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "HTTP/PROTOBUF"),
    ]);
    assert!(config.traces.otlp.as_ref().is_some_and(|otlp| otlp.gzip) && !config.logs.is_on());
    assert_eq!((config.sampler.parent_based, config.sampler.root), (true, RootSampler::Off));
    assert!(config.propagate);
}
