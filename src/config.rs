//! Every `ELPIO_*` variable, parsed once into types; it reads an environment that is handed in and touches
//! nothing else.
//!
//! A fault that would change what the operator does to a cluster stops the program; one in a number or a
//! duration is a warning and the default, so that a typing error in a tuning knob never takes a platform
//! down.

use std::{net::IpAddr, time::Duration};

use crate::api::Engine;

/// What the environment asks of the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorConfig {
    /// `ELPIO_ENGINE`: serves objects that name none.
    pub engine: Engine,
    /// `ELPIO_METRICS`: whether the Prometheus endpoint is opened.
    pub metrics: bool,
    /// `ELPIO_METRICS_PORT`.
    pub metrics_port: u16,
    /// `ELPIO_METRICS_ADDR`; `None`: `[::]`, else `0.0.0.0`.
    pub metrics_addr: Option<IpAddr>,
    /// `ELPIO_HEALTH_PORT`; 0: no health endpoint.
    pub health_port: u16,
    /// `ELPIO_CLUSTER_ISSUER`.
    pub cluster_issuer: String,
    /// `ELPIO_FETCH_IMAGE`.
    pub fetch_image: String,
    /// `ELPIO_KEDA_INTERCEPTOR`: address of the HTTP add-on's interceptor.
    pub keda_interceptor: String,
    /// `ELPIO_NAMESPACES`; empty: all.
    pub namespaces: Vec<String>,
    /// `ELPIO_CONCURRENCY`: objects of each kind whose children are written at once.
    pub concurrency: usize,
    /// `ELPIO_ROLLOUT_DEADLINE`.
    pub rollout_deadline: Duration,
    /// `ELPIO_LEADER_ELECT`; `None`: on in a cluster, off outside.
    pub leader_elect: Option<bool>,
    /// `ELPIO_LOG`, else `RUST_LOG`, else `info`: what is logged, as `tracing` directives.
    pub log_filter: String,
    /// `ELPIO_LOG_FORMAT`; `None`: pretty on a terminal, else JSON.
    pub log_json: Option<bool>,
}

/// A variable whose value stops the program.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}={value:?} cannot be used: it may hold {expected}")]
pub struct ConfigError {
    /// The variable's name.
    pub variable: &'static str,
    /// What it held.
    pub value: String,
    /// What it may hold.
    pub expected: &'static str,
}

const BOOL_VALUES: &str = "1, true, yes or on; 0, false, no or off";

struct EnvReader<'a> {
    get: &'a dyn Fn(&str) -> Option<String>,
    warnings: Vec<String>,
}

impl EnvReader<'_> {
    /// The trimmed value; an empty one counts as unset, as in every Kubernetes manifest that templates it
    /// away.
    fn text(&self, name: &str) -> Option<String> {
        (self.get)(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty())
    }

    fn parse_or_warn<T>(
        &mut self,
        name: &str,
        default: T,
        shown: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> T {
        let Some(text) = self.text(name) else { return default };
        parse(&text).unwrap_or_else(|| {
            self.warnings.push(format!("{name}={text:?} is not {expected}; using {shown}"));
            default
        })
    }
}

impl OperatorConfig {
    /// Reads every variable through `get`. Returns the warnings for values that were replaced by their
    /// default.
    ///
    /// # Errors
    /// [`ConfigError`] for `ELPIO_ENGINE`, `ELPIO_NAMESPACES` and `ELPIO_LEADER_ELECT`.
    pub fn from_env(get: &dyn Fn(&str) -> Option<String>) -> Result<(Self, Vec<String>), ConfigError> {
        let mut env = EnvReader { get, warnings: Vec::new() };
        let config = Self {
            engine: engine(env.text("ELPIO_ENGINE").as_deref())?,
            namespaces: namespaces(env.text("ELPIO_NAMESPACES"))?,
            leader_elect: leader_elect(env.text("ELPIO_LEADER_ELECT"))?,
            metrics: env.parse_or_warn("ELPIO_METRICS", false, "off", BOOL_VALUES, parse_bool),
            metrics_port: env.parse_or_warn(
                "ELPIO_METRICS_PORT",
                9095,
                "9095",
                "a port from 1 to 65535",
                |v| v.parse().ok().filter(|p| *p != 0),
            ),
            metrics_addr: env.parse_or_warn(
                "ELPIO_METRICS_ADDR",
                None,
                "every address",
                "an IP address",
                |v| v.trim_matches(['[', ']']).parse().ok().map(Some),
            ),
            health_port: env.parse_or_warn(
                "ELPIO_HEALTH_PORT",
                8081,
                "8081",
                "a port from 0 to 65535",
                |v| v.parse().ok(),
            ),
            cluster_issuer: env.text("ELPIO_CLUSTER_ISSUER").unwrap_or_else(|| "letsencrypt".into()),
            fetch_image: env
                .text("ELPIO_FETCH_IMAGE")
                .unwrap_or_else(|| "docker.io/library/buildpack-deps:bookworm".into()),
            keda_interceptor: env
                .text("ELPIO_KEDA_INTERCEPTOR")
                .unwrap_or_else(|| "http://keda-add-ons-http-interceptor-proxy.keda:8080".into()),
            concurrency: env.parse_or_warn("ELPIO_CONCURRENCY", 16, "16", "a number from 1 to 1024", |v| {
                v.parse().ok().filter(|n| (1..=1024).contains(n))
            }),
            rollout_deadline: env.parse_or_warn(
                "ELPIO_ROLLOUT_DEADLINE",
                Duration::from_mins(10),
                "10m",
                "a duration of at least 1s, such as 90s or 10m",
                parse_duration,
            ),
            log_filter: env
                .text("ELPIO_LOG")
                .or_else(|| env.text("RUST_LOG"))
                .unwrap_or_else(|| "info".into()),
            log_json: env.parse_or_warn(
                "ELPIO_LOG_FORMAT",
                None,
                "pretty on a terminal, else json",
                "pretty or json",
                |v| match v {
                    "json" => Some(Some(true)),
                    "pretty" => Some(Some(false)),
                    _ => None,
                },
            ),
        };
        Ok((config, env.warnings))
    }
}

fn engine(text: Option<&str>) -> Result<Engine, ConfigError> {
    match text {
        None | Some("knative") => Ok(Engine::Knative),
        Some("keda") => Ok(Engine::Keda),
        Some(value) => {
            Err(ConfigError { variable: "ELPIO_ENGINE", value: value.into(), expected: "knative or keda" })
        }
    }
}

fn namespaces(text: Option<String>) -> Result<Vec<String>, ConfigError> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let mut names: Vec<String> =
        text.split(',').map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()).collect();
    names.sort();
    names.dedup();
    if names.is_empty() || !names.iter().all(|n| is_dns_label(n)) {
        return Err(ConfigError {
            variable: "ELPIO_NAMESPACES",
            value: text,
            expected: "names of namespaces, separated by commas",
        });
    }
    Ok(names)
}

fn leader_elect(text: Option<String>) -> Result<Option<bool>, ConfigError> {
    let Some(text) = text else { return Ok(None) };
    match parse_bool(&text) {
        Some(on) => Ok(Some(on)),
        None => Err(ConfigError { variable: "ELPIO_LEADER_ELECT", value: text, expected: BOOL_VALUES }),
    }
}

fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let parsed: jiff::SignedDuration = text.parse().ok()?;
    Duration::try_from(parsed).ok().filter(|d| *d >= Duration::from_secs(1))
}

/// RFC 1123 label, as a namespace's name has to be.
fn is_dns_label(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&name.len())
        && name.chars().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<(OperatorConfig, Vec<String>), ConfigError> {
        OperatorConfig::from_env(&|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn defaults() {
        let (c, warnings) = read(&[]).unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(
            (c.engine, c.metrics, c.metrics_port, c.health_port),
            (Engine::Knative, false, 9095, 8081)
        );
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
            ("ELPIO_METRICS_ADDR", "here"),
            ("ELPIO_HEALTH_PORT", "-1"),
            ("ELPIO_CONCURRENCY", "0"),
            ("ELPIO_CONCURRENCY", "many"),
            ("ELPIO_ROLLOUT_DEADLINE", "soon"),
            ("ELPIO_ROLLOUT_DEADLINE", "0s"),
            ("ELPIO_LOG_FORMAT", "xml"),
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
            ("ELPIO_ENGINE", "keda"),
            ("ELPIO_NAMESPACES", "b, a,b"),
            ("ELPIO_LEADER_ELECT", "off"),
            ("ELPIO_METRICS_PORT", "9100"),
            ("ELPIO_METRICS_ADDR", "[::1]"),
            ("ELPIO_HEALTH_PORT", "0"),
            ("ELPIO_ROLLOUT_DEADLINE", "1h30m"),
            ("RUST_LOG", "debug"),
            ("ELPIO_LOG_FORMAT", "json"),
        ])
        .unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!((c.engine, c.namespaces), (Engine::Keda, vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!((c.leader_elect, c.metrics_port, c.health_port), (Some(false), 9100, 0));
        assert_eq!(c.metrics_addr, Some("::1".parse().unwrap()));
        assert_eq!(
            (c.rollout_deadline, c.log_filter.as_str(), c.log_json),
            (Duration::from_mins(90), "debug", Some(true))
        );
    }
}
