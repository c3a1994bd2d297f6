//! The parts of a status that both kinds share: children and the rollout with its trace. Types only.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{attribute_values::attribute_values, engine::Engine};

/// What the statuses of both kinds have in common.
pub trait StatusParts {
    /// The generation that the status describes.
    fn observed_generation(&self) -> Option<i64>;

    /// The conditions.
    fn conditions(&self) -> &[Condition];

    /// The rollout of the current generation.
    fn rollout(&self) -> Option<&RolloutStatus>;

    /// The engine that serves; `None` where the kind has none.
    fn engine(&self) -> Option<Engine>;
}

/// One child, as it was last seen.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChildStatus {
    /// The child's `apiVersion`.
    pub api_version: String,
    /// The child's `kind`.
    pub kind: String,
    /// The child's name; its namespace is the owner's.
    pub name: String,
    /// Whether the child reports that it is ready for its current spec.
    pub ready: bool,
    /// Why it is not ready, as the child's own reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many replicas are available (Deployments only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available: Option<i64>,
}

attribute_values! {
    // The words are those of metrics and spans; in the status are the names of the variants.
    /// How a rollout ended.
    #[derive(Deserialize, JsonSchema, Serialize)]
    RolloutOutcome {
        /// It became ready.
        Ready = "ready",
        /// A newer generation took its place.
        Superseded = "superseded",
        /// The object was deleted.
        Deleted = "deleted",
        /// The deadline passed; the object itself is not given up.
        TimedOut = "timed_out",
    }
}

/// The rollout of one generation: from its first reconcile to its outcome.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// The generation that is rolled out.
    pub generation: i64,
    /// The value of `elpio.io/rebuild` that it is about (functions only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rebuild: Option<String>,
    /// The rollout's trace id, 32 hexadecimal digits; absent when it was not sampled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The W3C `traceparent` of the rollout's root span; absent when it was not sampled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The W3C `traceparent` that the object carried when the rollout began: the root span's parent if it was
    /// new then, else a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// When the rollout began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<MicroTime>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<MicroTime>,
    /// How it ended; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<RolloutOutcome>,
    /// The rollout whose place this one took while it still ran; it ended when this one began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded: Option<SupersededRollout>,
}

/// A rollout that another took the place of: what its root span is made of, so that it can be sent again.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SupersededRollout {
    /// The generation that was rolled out.
    pub generation: i64,
    /// The value of `elpio.io/rebuild` that it was about (functions only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuild: Option<String>,
    /// The engine that served it (services only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<Engine>,
    /// The W3C `traceparent` of its root span; absent when it was not sampled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The W3C `traceparent` that the object carried when it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<MicroTime>,
}
