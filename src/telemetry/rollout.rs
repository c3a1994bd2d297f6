//! A rollout as a trace: ids that any replica derives alike, and its root span; it keeps no state.

use std::time::SystemTime;

use super::vocabulary::Kind;

/// Ids of a sampled span, lower hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanIds {
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
}

/// What the ids of a rollout are derived from.
#[derive(Clone, Copy, Debug)]
pub struct RolloutSeed<'a> {
    /// Uid of the object.
    pub uid: &'a str,
    /// The generation that is rolled out.
    pub generation: i64,
    /// Value of `elpio.io/rebuild`, or empty.
    pub rebuild: &'a str,
    /// `traceparent` of a caller that wins.
    pub parent: Option<&'a str>,
}

/// A rollout's place in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutContext {
    pub(super) trace_id: u128,
    pub(super) span_id: u64,
    pub(super) parent_span_id: Option<u64>,
    pub(super) sampled: bool,
}

impl RolloutContext {
    /// Ids of the root span, only when it is sampled.
    #[must_use]
    pub fn ids(&self) -> Option<SpanIds> {
        todo!()
    }
    /// `00-…-01`, only when it is sampled.
    #[must_use]
    pub fn traceparent(&self) -> Option<String> {
        todo!()
    }
}

/// The root span of a rollout that ended.
#[derive(Clone, Debug)]
pub struct RolloutSpan {
    /// Its ids.
    pub ctx: RolloutContext,
    /// Kind of the object.
    pub kind: Kind,
    /// Its `apiVersion`.
    pub api_version: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The generation that was rolled out.
    pub generation: i64,
    /// The engine.
    pub engine: &'static str,
    /// When it was first seen.
    pub started: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// `ready`, `superseded`, `deleted`, `timed_out`.
    pub outcome: &'static str,
    /// The failing condition, when it timed out.
    pub error: Option<String>,
    /// `traceparent` to link to.
    pub link: Option<String>,
}

/// Whether `s` is a valid W3C `traceparent`.
#[must_use]
pub fn valid_traceparent(s: &str) -> bool {
    let _ = s;
    todo!()
}
