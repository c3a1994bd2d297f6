//! The fields of KEDA's `ScaledObject` and of its HTTP add-on's `HTTPScaledObject` that Elpio writes.

use std::collections::BTreeMap;

use serde::Serialize;

/// `spec` of an `http.keda.sh/v1alpha1` `HTTPScaledObject`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpScaledObjectSpec {
    /// The `Host` headers that the interceptor routes to the workload.
    pub hosts: Vec<String>,
    /// The workload to scale, and the Service for its requests.
    pub scale_target_ref: HttpTarget,
    /// The bounds of the number of replicas.
    pub replicas: Replicas,
    /// Seconds without a request before scaling to zero.
    pub scaledown_period: u32,
    /// The metric that the autoscaler uses.
    pub scaling_metric: HttpMetric,
}

/// The workload that the HTTP add-on scales, and the Service that it routes to.
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
    /// Requests per second.
    #[serde(rename_all = "camelCase")]
    RequestRate {
        /// The granularity of the samples, as a Go duration.
        granularity: &'static str,
        /// Target value for each replica.
        target_value: u32,
        /// The averaging window, as a Go duration.
        window: &'static str,
    },
}

/// `spec` of a `keda.sh/v1alpha1` `ScaledObject`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScaledObjectSpec {
    /// The workload to scale.
    pub scale_target_ref: ScaleTarget,
    /// Minimum number of replicas.
    pub min_replica_count: u32,
    /// Maximum number of replicas.
    pub max_replica_count: u32,
    /// The triggers.
    pub triggers: Vec<ScaleTrigger>,
}

/// The workload that KEDA scales.
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

/// A KEDA trigger.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScaleTrigger {
    /// The type of the trigger.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// How to compare its value.
    pub metric_type: &'static str,
    /// Its settings; KEDA accepts only strings.
    pub metadata: BTreeMap<&'static str, String>,
}
