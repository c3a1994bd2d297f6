//! The `OTEL_EXPORTER_OTLP_*` variables.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use crate::telemetry::config::{
    TelemetryConfig,
    config_test::{ON, good, read, wrong},
    env::NO_LIMIT,
    otlp::{OtlpConfig, Protocol},
};

fn traces(config: &TelemetryConfig) -> OtlpConfig {
    config.traces.otlp.clone().expect("traces are pushed")
}

#[test]
fn protocols_and_endpoints() {
    for (variables, endpoint) in [
        (vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317")], "http://c:4317"),
        (vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4317")], "https://c:4317"),
        (
            vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4317"), ("OTEL_EXPORTER_OTLP_INSECURE", "TRUE")],
            "http://c:4317",
        ),
        (
            vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4317"), ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "true")],
            "http://c:4317",
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
    for (unknown, used) in [("http/json", Protocol::HttpProtobuf), ("carrier-pigeon", Protocol::Grpc)] {
        let config = wrong(&[ON, ("OTEL_EXPORTER_OTLP_PROTOCOL", unknown)]);
        assert_eq!(traces(&config).protocol, used, "{unknown}");
    }
    for bad in ["ftp://c", "http://", "http://a b"] {
        assert!(!wrong(&[("OTEL_EXPORTER_OTLP_ENDPOINT", bad)]).exports_anything(), "{bad}");
    }
}

#[test]
fn headers_are_decoded_and_never_shown() {
    let secret = "Bearer%20s3cr3t";
    let local = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317");
    let config = good(&[
        local,
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=b"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", &format!("Authorization={secret}")),
    ]);
    assert_eq!(traces(&config).headers, [("authorization".to_owned(), "Bearer s3cr3t".to_owned())]);
    assert_eq!(config.logs.otlp.as_ref().unwrap().headers, [("a".to_owned(), "b".to_owned())]);
    assert!(!format!("{config:?}").contains("s3cr3t"), "{config:?}");

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
    assert_eq!(traces(&good(&[ON, ("OTEL_EXPORTER_OTLP_TIMEOUT", "0")])).timeout, NO_LIMIT);
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
fn a_port_or_a_path_of_http_means_http_where_no_protocol_is_named() {
    const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const OWN: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
    for (variables, protocol, endpoint) in [
        (vec![(ENDPOINT, "http://c:4318")], Protocol::HttpProtobuf, "http://c:4318/v1/traces"),
        (vec![(ENDPOINT, "c:4318")], Protocol::HttpProtobuf, "http://c:4318/v1/traces"),
        (vec![(ENDPOINT, "https://c/otlp")], Protocol::HttpProtobuf, "https://c/otlp/v1/traces"),
        (vec![(OWN, "https://c/v1/traces")], Protocol::HttpProtobuf, "https://c/v1/traces"),
        (vec![(ENDPOINT, "http://c:4317/")], Protocol::Grpc, "http://c:4317/"),
        (vec![(ENDPOINT, "https://c")], Protocol::Grpc, "https://c"),
        (vec![(ENDPOINT, "http://c:4318"), (PROTOCOL, "GRPC")], Protocol::Grpc, "http://c:4318"),
        (
            vec![(ENDPOINT, "http://c:4317"), (PROTOCOL, "HTTP/PROTOBUF")],
            Protocol::HttpProtobuf,
            "http://c:4317/v1/traces",
        ),
    ] {
        let found = traces(&good(&variables));
        assert_eq!((found.protocol, found.endpoint.as_str()), (protocol, endpoint), "{variables:?}");
    }
}

#[test]
fn headers_in_clear_to_another_host_are_one_warning() {
    const HEADERS: (&str, &str) = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20s3cr3t");
    for endpoint in ["http://localhost:4317", "http://127.0.0.1:4318", "http://[::1]:4317", "https://c:4317"]
    {
        good(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), HEADERS]);
    }
    let (config, warnings) = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:s3cr3t@c:4317"), HEADERS]);
    assert_eq!(traces(&config).headers.len(), 1, "they are sent all the same");
    assert_eq!(
        warnings,
        [
            "OTEL_EXPORTER_OTLP_HEADERS (value not shown): sent unencrypted to http://c:4317; use https to encrypt it"
        ]
    );
}
