//! The parts of a spec about scaling and ingress, which both kinds have.
//! Schema only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{
    attribute_values::attribute_values,
    cel::{rule, rule_at},
    pattern::{HOST, SUBDOMAIN},
};

attribute_values! {
    /// The metric that the autoscaler uses.
    #[derive(Default, Deserialize, JsonSchema, Serialize)]
    #[serde(rename_all = "lowercase")]
    Metric {
        /// Requests in flight.
        #[default]
        Concurrency = "concurrency",
        /// Requests each second.
        Rps = "rps",
        /// CPU in percent of what was requested.
        Cpu = "cpu",
    }
}

/// How many replicas run.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    rule("self.maxScale == 0 || self.minScale <= self.maxScale", "scaling.minScale must be at most scaling.maxScale, unless that is 0"),
    rule("self.metric != 'cpu' || self.target <= 100", "scaling.target must be at most 100 (percent) with metric cpu"),
]))]
pub struct Scaling {
    /// Minimum number of replicas; 0 lets the service scale to zero, except with metric cpu, where one
    /// replica stays.
    #[schemars(range(min = 0))]
    pub min_scale: i32,
    /// Maximum number of replicas; 0 means no limit (on KEDA: the larger of 10 and minScale).
    #[schemars(range(min = 0))]
    pub max_scale: i32,
    /// Target value for each replica: concurrent requests (metric concurrency), requests per second (rps), or
    /// percent of the CPU request (cpu).
    #[schemars(range(min = 1))]
    pub target: i32,
    /// The metric that the autoscaler uses.
    pub metric: Metric,
    /// Hard limit on concurrent requests per replica. Not derived from target.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub concurrency_limit: Option<i32>,
}

impl Default for Scaling {
    fn default() -> Self {
        Self { min_scale: 0, max_scale: 0, target: 100, metric: Metric::default(), concurrency_limit: None }
    }
}

/// Where a service is reachable from.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Visibility {
    /// From outside the cluster too.
    #[default]
    External,
    /// From inside the cluster only.
    ClusterLocal,
}

/// How the service is reached.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    rule_at(".host", "self.enabled || !has(self.host)", "ingress.host needs ingress.enabled"),
    rule_at(".host", "self.visibility == 'external' || !has(self.host)", "ingress.host needs ingress.visibility external"),
    rule_at(".tls", "!self.tls || has(self.host)", "ingress.tls needs ingress.host"),
]))]
pub struct Ingress {
    /// Whether the service has a public address of any kind.
    pub enabled: bool,
    /// Where the service is reachable from.
    pub visibility: Visibility,
    /// A custom domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = HOST))]
    #[schemars(extend("x-kubernetes-validations" = [
    rule("!self.endsWith('.local') && !self.endsWith('.svc')", "ingress.host must not be under cluster.local, .local or .svc"),
    rule("!self.matches('[.][0-9]+$')", "ingress.host must be a domain name, not an address"),
]))]
    pub host: Option<String>,
    /// Whether to request a certificate for the host.
    pub tls: bool,
    /// Who signs the certificate; default: the operator's `ELPIO_CLUSTER_ISSUER`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<Issuer>,
}

impl Default for Ingress {
    fn default() -> Self {
        Self { enabled: true, visibility: Visibility::default(), host: None, tls: false, issuer: None }
    }
}

attribute_values! {
    /// The kind of a cert-manager issuer.
    #[derive(Default, Deserialize, JsonSchema, Serialize)]
    IssuerKind {
        /// For all namespaces.
        #[default]
        ClusterIssuer = "ClusterIssuer",
        /// Of the service's own namespace.
        Issuer = "Issuer",
    }
}

/// A cert-manager issuer.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Issuer {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub name: String,
    /// Its kind.
    #[serde(default)]
    pub kind: IssuerKind,
}
