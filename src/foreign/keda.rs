//! The fields of KEDA's `ScaledObject` and of its HTTP add-on's `HTTPScaledObject` that Elpio writes.

use std::collections::BTreeMap;

use serde::Serialize;

/// `spec` of an `http.keda.sh/v1alpha1` `HTTPScaledObject`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpScaledObjectSpec {
    /// The `Host` headers by which the interceptor knows the workload.
    pub hosts: Vec<String>,
    /// What is scaled, and the Service that requests go to.
    pub scale_target_ref: HttpTarget,
    /// Bounds.
    pub replicas: Replicas,
    /// Seconds without a request before the last replica goes.
    pub scaledown_period: u32,
    /// The metric that the autoscaler uses.
    pub scaling_metric: HttpMetric,
}

/// What the HTTP add-on scales, and where it sends requests.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpTarget {
    /// `apiVersion` of the workload.
    pub api_version: String,
    /// Kind of the workload.
    pub kind: String,
    /// Name of the workload.
    pub name: String,
    /// Name of the Service.
    pub service: String,
    /// Port of the Service.
    pub port: u16,
}

/// Bounds of the number of replicas.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Replicas {
    /// Minimum number of replicas.
    pub min: u32,
    /// Maximum number of replicas.
    pub max: u32,
}

/// The metric that the HTTP add-on uses.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum HttpMetric {
    /// Requests in flight.
    #[serde(rename_all = "camelCase")]
    Concurrency {
        /// Target value for each replica.
        target_value: u32,
    },
    /// Requests each second.
    #[serde(rename_all = "camelCase")]
    RequestRate {
        /// Width of one sample, a Go duration.
        granularity: &'static str,
        /// Target value for each replica.
        target_value: u32,
        /// How far back samples count, a Go duration.
        window: &'static str,
    },
}

/// `spec` of a `keda.sh/v1alpha1` `ScaledObject`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScaledObjectSpec {
    /// What is scaled.
    pub scale_target_ref: ScaleTarget,
    /// Minimum number of replicas.
    pub min_replica_count: u32,
    /// Maximum number of replicas.
    pub max_replica_count: u32,
    /// The metric that the autoscaler uses.
    pub triggers: Vec<ScaleTrigger>,
}

/// What KEDA scales.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScaleTarget {
    /// `apiVersion` of the workload.
    pub api_version: String,
    /// Kind of the workload.
    pub kind: String,
    /// Name of the workload.
    pub name: String,
}

/// One trigger of KEDA.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScaleTrigger {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// How its value is compared.
    pub metric_type: &'static str,
    /// Its settings; KEDA takes strings only.
    pub metadata: BTreeMap<&'static str, String>,
}
