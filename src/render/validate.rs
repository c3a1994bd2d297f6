//! A raw spec becomes a valid type, or the list of all that is wrong with it. Pure.

use std::fmt;

use super::Defaults;
use crate::api::network::Metric;
use crate::api::{ElpioServiceSpec, Engine};

/// One thing that is wrong with a spec.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// The field, as `spec.env[2].name`.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// A service whose every field obeys its rule, with the operator's defaults filled in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ValidService {
    /// The engine that serves.
    pub engine: Engine,
    /// The custom domain.
    pub host: Option<String>,
    /// Whether a certificate is asked for the host.
    pub tls: bool,
    /// Whether it can be called from outside the cluster: ingress enabled and visibility external.
    pub public: bool,
    /// What the autoscaler looks at.
    pub metric: Metric,
    /// The least number of replicas.
    pub min_scale: u32,
    /// Names of the `ExternalSecret` objects.
    pub external_secrets: Vec<String>,
}

/// Checks every rule of a spec.
///
/// # Errors
/// Every fault that was found.
pub fn validate(_name: &str, _spec: &ElpioServiceSpec, _defaults: &Defaults) -> Result<ValidService, Vec<Fault>> {
    Err(Vec::new())
}
