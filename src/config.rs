//! Every `ELPIO_*` variable, parsed once into types; it reads an environment that is handed in and touches
//! nothing else.
//!
//! A fault that would change what the operator does to a cluster ends the program; one in a number or a
//! duration is a warning and the default, so that a typing error in a tuning knob never takes a platform
//! down.

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

/// Those whose wrong values end the program.
pub const FATAL_IF_INVALID: &[&str] = &[
    "ELPIO_ENGINE",
    "ELPIO_LEADER_ELECT",
    "ELPIO_METRICS_ADDR",
    "ELPIO_NAMESPACES",
    "ELPIO_POD_SECURITY",
    "ELPIO_TRACE_PARENT",
];

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
    pub metrics_addr: Option<ListenAddress>,
    /// `ELPIO_HEALTH_PORT`; 0: no health endpoint.
    pub health_port: u16,
    /// `ELPIO_CLUSTER_ISSUER`.
    pub cluster_issuer: String,
    /// `ELPIO_FETCH_IMAGE`.
    pub fetch_image: String,
    /// `ELPIO_KEDA_INTERCEPTOR`: address of the HTTP add-on's interceptor.
    pub keda_interceptor: String,
    /// `ELPIO_NAMESPACES`, sorted; empty: all.
    pub namespaces: Vec<String>,
    /// `ELPIO_POD_SECURITY`.
    pub pod_security: PodSecurity,
    /// `ELPIO_TRACE_PARENT`.
    pub trace_parent: TraceParentPolicy,
    /// `ELPIO_CONCURRENCY`: about so many objects of each kind and engine have children or the status written at once.
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

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An address.
    Ip(IpAddr),
    /// A name, resolved when the port is bound.
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
    /// Its value cannot be used.
    #[error("invalid value {variable}={value:?}: expected {expected}")]
    Value {
        /// The variable's name.
        variable: &'static str,
        /// What it held.
        value: String,
        /// What it may hold.
        expected: &'static str,
    },
    /// Its name is unknown, and close to one that matters.
    #[error("unknown variable {name}: did you mean {known}? Correct the name, or remove it")]
    Misspelt {
        /// The name as it was set.
        name: String,
        /// The known one.
        known: &'static str,
    },
}

impl OperatorConfig {
    /// Reads every variable through `get`. Returns the warnings for values that were replaced by their
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
