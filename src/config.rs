//! Every `ELPIO_*` variable, parsed once into types. It reads only the environment passed to it.
//!
//! An invalid value that would change what the operator does to a cluster ends the program. An invalid number
//! or duration causes a warning and the default is used, so that a typo in a tuning parameter never takes a
//! platform down.

mod parse;
mod process_env;
mod unknown;

use std::{net::IpAddr, time::Duration};

pub use crate::config::{process_env::ProcessConfig, unknown::unknown};
use crate::{
    api::{
        Engine,
        policy::{PodSecurity, TraceParentPolicy},
    },
    config::parse::{
        address, boolean, boolean_words, duration, image, issuer, log_format, namespaces, or_default, url,
        word,
    },
    telemetry::config::env::EnvReader,
};

/// Every variable.
pub const KNOWN: &[&str] = &[
    "ELPIO_CLUSTER_ISSUER",
    "ELPIO_CONCURRENCY",
    "ELPIO_ENGINE",
    "ELPIO_FETCH_IMAGE",
    "ELPIO_HEALTH_PORT",
    "ELPIO_KEDA_INTERCEPTOR",
    "ELPIO_LEADER_ELECT",
    "ELPIO_LOG",
    "ELPIO_LOG_FORMAT",
    "ELPIO_METRICS",
    "ELPIO_METRICS_ADDR",
    "ELPIO_METRICS_PORT",
    "ELPIO_NAMESPACES",
    "ELPIO_POD_SECURITY",
    "ELPIO_ROLLOUT_DEADLINE",
    "ELPIO_TRACE_PARENT",
];

/// The variables whose invalid values end the program.
pub const FATAL_IF_INVALID: &[&str] = &[
    "ELPIO_ENGINE",
    "ELPIO_LEADER_ELECT",
    "ELPIO_METRICS_ADDR",
    "ELPIO_NAMESPACES",
    "ELPIO_POD_SECURITY",
    "ELPIO_TRACE_PARENT",
];

/// The configuration from the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorConfig {
    /// `ELPIO_ENGINE`: the engine for objects without an explicit one.
    pub engine: Engine,
    /// `ELPIO_METRICS`: whether to serve the Prometheus endpoint.
    pub metrics: bool,
    /// `ELPIO_METRICS_PORT`.
    pub metrics_port: u16,
    /// `ELPIO_METRICS_ADDR`; `None`: `[::]`, or `0.0.0.0` without IPv6.
    pub metrics_addr: Option<ListenAddress>,
    /// `ELPIO_HEALTH_PORT`; 0: no health endpoint.
    pub health_port: u16,
    /// `ELPIO_CLUSTER_ISSUER`.
    pub cluster_issuer: String,
    /// `ELPIO_FETCH_IMAGE`.
    pub fetch_image: String,
    /// `ELPIO_KEDA_INTERCEPTOR`: the URL of the HTTP add-on's interceptor.
    pub keda_interceptor: String,
    /// `ELPIO_NAMESPACES`, sorted; empty: all namespaces.
    pub namespaces: Vec<String>,
    /// `ELPIO_POD_SECURITY`.
    pub pod_security: PodSecurity,
    /// `ELPIO_TRACE_PARENT`.
    pub trace_parent: TraceParentPolicy,
    /// `ELPIO_CONCURRENCY`: roughly how many objects of each kind and engine may write children or status
    /// concurrently.
    pub concurrency: usize,
    /// `ELPIO_ROLLOUT_DEADLINE`.
    pub rollout_deadline: Duration,
    /// `ELPIO_LEADER_ELECT`; `None`: on inside a cluster, off outside.
    pub leader_elect: Option<bool>,
    /// `ELPIO_LOG`, else `RUST_LOG`, else `info`: the `tracing` directives of the log.
    pub log_filter: String,
    /// `ELPIO_LOG_FORMAT`; `None`: pretty on a terminal, JSON otherwise.
    pub log_json: Option<bool>,
}

/// The address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IP address.
    Ip(IpAddr),
    /// A host name, resolved when the port is bound.
    Host(String),
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Host(name) => f.write_str(name),
        }
    }
}

/// A variable that ends the program.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The value is invalid.
    #[error("invalid value {variable}={value:?}: expected {expected}")]
    Value {
        /// The variable's name.
        variable: &'static str,
        /// The value.
        value: String,
        /// The valid values.
        expected: &'static str,
    },
    /// The name is unknown, but similar to an important one.
    #[error("unknown variable {name}: did you mean {known}? Correct the name, or remove it")]
    Misspelt {
        /// The name that is set.
        name: String,
        /// The similar known name.
        known: &'static str,
    },
}

impl OperatorConfig {
    /// Parses every variable through `get`. Also returns warnings for invalid values replaced by their
    /// default.
    ///
    /// # Errors
    /// [`ConfigError`] for the variables of [`FATAL_IF_INVALID`].
    pub fn from_env(get: &dyn Fn(&str) -> Option<String>) -> Result<(Self, Vec<String>), ConfigError> {
        let mut reader = EnvReader::new(get);
        let env = &mut reader;
        let config = Self {
            engine: word(env, "ELPIO_ENGINE", "knative or keda", &Engine::ALL.map(|e| (e.as_str(), e)))?
                .unwrap_or(Engine::Knative),
            namespaces: namespaces(env)?,
            leader_elect: boolean(env, "ELPIO_LEADER_ELECT")?,
            metrics_addr: address(env)?,
            pod_security: word(
                env,
                "ELPIO_POD_SECURITY",
                "disabled, root-allowed or enabled",
                &PodSecurity::ALL.map(|p| (p.as_str(), p)),
            )?
            .unwrap_or_default(),
            trace_parent: word(
                env,
                "ELPIO_TRACE_PARENT",
                "join, link or ignore",
                &TraceParentPolicy::ALL.map(|p| (p.as_str(), p)),
            )?
            .unwrap_or_default(),
            metrics: or_default(env, "ELPIO_METRICS", "off", parse::BOOL_VALUES, boolean_words)
                .unwrap_or(false),
            metrics_port: or_default(env, "ELPIO_METRICS_PORT", "9095", "a port from 1 to 65535", |v| {
                v.parse().ok().filter(|p| *p != 0)
            })
            .unwrap_or(9095),
            health_port: or_default(env, "ELPIO_HEALTH_PORT", "8081", "a port from 0 to 65535", |v| {
                v.parse().ok()
            })
            .unwrap_or(8081),
            cluster_issuer: issuer(env),
            fetch_image: image(env),
            keda_interceptor: url(env),
            concurrency: or_default(env, "ELPIO_CONCURRENCY", "16", "a number from 1 to 1024", |v| {
                v.parse().ok().filter(|n| (1..=1024).contains(n))
            })
            .unwrap_or(16),
            rollout_deadline: or_default(
                env,
                "ELPIO_ROLLOUT_DEADLINE",
                "10m",
                "a duration of at least 1s, such as 90s or 10m",
                duration,
            )
            .unwrap_or(Duration::from_mins(10)),
            log_filter: env
                .first(&["ELPIO_LOG", "RUST_LOG"])
                .map_or_else(|| "info".to_owned(), |(_, filter)| filter),
            log_json: log_format(env),
        };
        Ok((config, reader.into_warnings()))
    }
}

#[cfg(test)]
#[path = "config/config_test.rs"]
mod tests;
