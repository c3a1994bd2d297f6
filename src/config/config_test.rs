//! Which values are valid, cause a warning, or end the program: tables.
#![allow(clippy::unwrap_used)]
use std::{cell::RefCell, collections::BTreeSet};

use super::*;

fn read(pairs: &[(&str, &str)]) -> Result<(OperatorConfig, Vec<String>), ConfigError> {
    OperatorConfig::from_env(&|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
}

#[test]
fn defaults() {
    let (c, warnings) = read(&[]).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!((c.engine, c.metrics, c.metrics_port, c.health_port), (Engine::Knative, false, 9095, 8081));
    assert_eq!((c.pod_security, c.trace_parent), (PodSecurity::RootAllowed, TraceParentPolicy::Join));
    assert_eq!((c.concurrency, c.rollout_deadline), (16, Duration::from_mins(10)));
    assert_eq!(
        (c.cluster_issuer.as_str(), c.leader_elect, c.log_filter.as_str()),
        ("letsencrypt", None, "info")
    );
    assert_eq!(c.fetch_image, "docker.io/library/buildpack-deps:bookworm");
    assert_eq!(c.keda_interceptor, "http://keda-add-ons-http-interceptor-proxy.keda:8080");
}

#[test]
fn switches_in_every_spelling() {
    for on in ["1", "true", "YES", " On ", "True"] {
        assert!(read(&[("ELPIO_METRICS", on)]).unwrap().0.metrics, "{on:?}");
    }
    for off in ["0", "off", "", "  "] {
        let (c, warnings) = read(&[("ELPIO_METRICS", off)]).unwrap();
        assert!(!c.metrics && warnings.is_empty(), "{off:?}: {warnings:?}");
    }
    let (c, warnings) = read(&[("ELPIO_METRICS", "ja")]).unwrap();
    assert!(!c.metrics);
    assert!(warnings[0].contains("ELPIO_METRICS=\"ja\""), "{warnings:?}");
}

#[test]
fn faults_that_stop_the_program_name_variable_value_and_choice() {
    for (name, value, choice) in [
        ("ELPIO_ENGINE", "fargate", "knative or keda"),
        ("ELPIO_NAMESPACES", "a,B_c", "separated by commas"),
        ("ELPIO_NAMESPACES", ",", "separated by commas"),
        ("ELPIO_LEADER_ELECT", "maybe", "1, true, yes or on"),
        ("ELPIO_METRICS_ADDR", "127.0.0.1:9095", "without a port"),
        ("ELPIO_METRICS_ADDR", "[::1]:9095", "without a port"),
        ("ELPIO_METRICS_ADDR", "1.2.3", "without a port"),
        ("ELPIO_METRICS_ADDR", "no host", "without a port"),
        ("ELPIO_METRICS_ADDR", "-", "without a port"),
        ("ELPIO_POD_SECURITY", "restricted", "root-allowed"),
        ("ELPIO_TRACE_PARENT", "follow", "join, link or ignore"),
    ] {
        let message = read(&[(name, value)]).unwrap_err().to_string();
        for part in [name, value, choice] {
            assert!(message.contains(part), "{message:?} does not say {part:?}");
        }
    }
}

#[test]
fn faults_that_warn_and_use_the_default() {
    for (name, value) in [
        ("ELPIO_METRICS_PORT", "0"),
        ("ELPIO_METRICS_PORT", "70000"),
        ("ELPIO_HEALTH_PORT", "-1"),
        ("ELPIO_CONCURRENCY", "0"),
        ("ELPIO_CONCURRENCY", "many"),
        ("ELPIO_ROLLOUT_DEADLINE", "soon"),
        ("ELPIO_ROLLOUT_DEADLINE", "0s"),
        ("ELPIO_LOG_FORMAT", "xml"),
        ("ELPIO_CLUSTER_ISSUER", "Bad Issuer"),
        ("ELPIO_KEDA_INTERCEPTOR", "zzz"),
        ("ELPIO_FETCH_IMAGE", "a b"),
    ] {
        let (config, warnings) = read(&[(name, value)]).unwrap();
        assert_eq!(config, read(&[]).unwrap().0, "{name}");
        assert!(
            warnings.len() == 1 && warnings[0].contains(name) && warnings[0].contains(value),
            "{warnings:?}"
        );
    }
}

#[test]
fn values_that_are_taken() {
    let (c, warnings) = read(&[
        ("ELPIO_ENGINE", " KEDA "),
        ("ELPIO_NAMESPACES", "b, a,b"),
        ("ELPIO_POD_SECURITY", "Enabled"),
        ("ELPIO_TRACE_PARENT", "link"),
        ("ELPIO_LEADER_ELECT", "off"),
        ("ELPIO_METRICS_PORT", "9100"),
        ("ELPIO_METRICS_ADDR", "[::1]"),
        ("ELPIO_HEALTH_PORT", "0"),
        ("ELPIO_ROLLOUT_DEADLINE", "1h30m"),
        ("RUST_LOG", "debug"),
        ("ELPIO_LOG_FORMAT", "JSON"),
    ])
    .unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!((c.engine, c.namespaces), (Engine::Keda, vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!((c.leader_elect, c.metrics_port, c.health_port), (Some(false), 9100, 0));
    assert_eq!(c.metrics_addr, Some(ListenAddress::Ip("::1".parse().unwrap())));
    assert_eq!((c.pod_security, c.trace_parent), (PodSecurity::Enabled, TraceParentPolicy::Link));
    assert_eq!(
        (c.rollout_deadline, c.log_filter.as_str(), c.log_json),
        (Duration::from_mins(90), "debug", Some(true))
    );
}

#[test]
fn addresses_that_protect() {
    for (text, expected) in [
        ("127.0.0.1", ListenAddress::Ip("127.0.0.1".parse().unwrap())),
        (" 127.0.0.1 ", ListenAddress::Ip("127.0.0.1".parse().unwrap())),
        ("::1", ListenAddress::Ip("::1".parse().unwrap())),
        ("localhost", ListenAddress::Host("localhost".into())),
        ("metrics.internal", ListenAddress::Host("metrics.internal".into())),
    ] {
        let (config, warnings) = read(&[("ELPIO_METRICS_ADDR", text)]).unwrap();
        assert_eq!((config.metrics_addr, warnings), (Some(expected), Vec::new()), "{text:?}");
    }
}

#[test]
fn the_list_of_variables_is_what_is_read() {
    let asked = RefCell::new(BTreeSet::new());
    OperatorConfig::from_env(&|name| {
        asked.borrow_mut().insert(name.to_owned());
        None
    })
    .unwrap();
    let mut asked = asked.into_inner();
    asked.remove("RUST_LOG");
    assert_eq!(asked, KNOWN.iter().map(|name| (*name).to_owned()).collect());
    for name in FATAL_IF_INVALID {
        let read = read(&[(*name, "?/?")]);
        assert!(read.is_err(), "{name}");
    }
}
