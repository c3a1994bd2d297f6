//! A rollout as a trace: ids that any replica derives alike; it keeps no state and emits nothing.

use std::time::SystemTime;

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use sha2::{Digest, Sha256};

use crate::telemetry::catalog::attributes::Kind;

/// Ids of a sampled span, lower hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanIds {
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
}

impl SpanIds {
    /// The W3C `traceparent` of the span; it is sampled, or there were no ids.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace_id, self.span_id)
    }
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
    trace_id: TraceId,
    span_id: SpanId,
    /// The caller's span, when one began this rollout.
    parent: Option<SpanId>,
    sampled: bool,
}

impl RolloutContext {
    /// Derives the ids; whether it is sampled is the caller's to say.
    pub(in crate::telemetry) fn derive(seed: &RolloutSeed<'_>, parent: Option<&SpanContext>) -> Self {
        let mut hash = Sha256::new();
        // Lengths first, so that no two seeds make the same text.
        for part in [seed.uid, &seed.generation.to_string(), seed.rebuild] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        let (mut trace, mut span) = ([0; 16], [0; 8]);
        trace.copy_from_slice(&digest[..16]);
        span.copy_from_slice(&digest[16..24]);
        // All zeros is not an id (W3C Trace Context); one hash in 2^64 is as good as another.
        span[7] |= u8::from(span == [0; 8]);
        trace[15] |= u8::from(trace == [0; 16]);
        Self {
            trace_id: parent.map_or_else(|| TraceId::from_bytes(trace), SpanContext::trace_id),
            span_id: SpanId::from_bytes(span),
            parent: parent.map(SpanContext::span_id),
            sampled: false,
        }
    }

    pub(in crate::telemetry) fn with_sampled(self, sampled: bool) -> Self {
        Self { sampled, ..self }
    }

    /// The root span of a rollout that another run (perhaps of another replica) began.
    pub(in crate::telemetry) fn from_root(root: &SpanContext, parent: Option<&SpanContext>) -> Self {
        Self {
            trace_id: root.trace_id(),
            span_id: root.span_id(),
            parent: parent.filter(|parent| parent.trace_id() == root.trace_id()).map(SpanContext::span_id),
            sampled: root.is_sampled(),
        }
    }

    pub(in crate::telemetry) fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    pub(in crate::telemetry) fn span_id(&self) -> SpanId {
        self.span_id
    }

    pub(in crate::telemetry) fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The root span as a parent of others.
    pub(in crate::telemetry) fn span_context(&self) -> SpanContext {
        remote_context(self.trace_id, self.span_id, self.sampled)
    }

    /// The caller's span as the parent of the root span.
    pub(in crate::telemetry) fn parent_context(&self) -> Option<SpanContext> {
        self.parent.map(|parent| remote_context(self.trace_id, parent, self.sampled))
    }

    /// Ids of the root span, only when it is sampled.
    #[must_use]
    pub fn ids(&self) -> Option<SpanIds> {
        self.sampled
            .then(|| SpanIds { trace_id: self.trace_id.to_string(), span_id: self.span_id.to_string() })
    }

    /// `00-…-01`, only when it is sampled.
    #[must_use]
    pub fn traceparent(&self) -> Option<String> {
        self.ids().map(|ids| ids.traceparent())
    }
}

fn remote_context(trace: TraceId, span: SpanId, sampled: bool) -> SpanContext {
    SpanContext::new(trace, span, TraceFlags::default().with_sampled(sampled), true, TraceState::default())
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
    parse_traceparent(s).is_some()
}

/// W3C Trace Context, section 3.2: lower-case hex, version not `ff`, neither id all zeros, nothing after the
/// flags in version 00.
pub(in crate::telemetry) fn parse_traceparent(text: &str) -> Option<SpanContext> {
    let lower_hex = |part: &str, length| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let well_formed =
        lower_hex(version, 2) && lower_hex(trace, 32) && lower_hex(span, 16) && lower_hex(flags, 2);
    if !well_formed || version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
    Some(remote_context(TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?, sampled))
        .filter(SpanContext::is_valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: RolloutSeed<'_> = RolloutSeed { uid: "u", generation: 3, rebuild: "", parent: None };

    #[test]
    fn a_traceparent_is_taken_as_the_standard_says() {
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        for (text, valid) in [
            (format!("00-{trace}-{span}-01"), true),
            (format!("00-{trace}-{span}-00"), true),
            (format!("cc-{trace}-{span}-01-what-the-future-brings"), true),
            (format!("00-{trace}-{span}-01-more"), false),
            (format!("ff-{trace}-{span}-01"), false),
            (format!("00-{}-{span}-01", trace.to_uppercase()), false),
            (format!("00-{}-{span}-01", "0".repeat(32)), false),
            (format!("00-{trace}-{}-01", "0".repeat(16)), false),
            (format!("00-{trace}-{span}"), false),
            (format!(" 00-{trace}-{span}-01"), false),
            (String::new(), false),
        ] {
            assert_eq!(valid_traceparent(&text), valid, "{text:?}");
        }
    }

    #[test]
    fn ids_depend_on_every_part_of_the_seed_and_on_nothing_else() {
        let ids = |seed| {
            let ctx = RolloutContext::derive(&seed, None);
            (ctx.trace_id, ctx.span_id)
        };
        assert_eq!(ids(SEED), ids(SEED));
        let others = [
            RolloutSeed { uid: "v", ..SEED },
            RolloutSeed { generation: 4, ..SEED },
            RolloutSeed { rebuild: "1", ..SEED },
            RolloutSeed { uid: "u3", generation: 0, ..SEED },
        ];
        for other in others {
            assert_ne!(ids(SEED), ids(other), "{other:?}");
        }
    }

    /// Ids are written into objects: another version of the operator must derive the same.
    #[test]
    fn the_derivation_does_not_change() {
        let ids = RolloutContext::derive(&SEED, None).with_sampled(true).ids();
        let expected = SpanIds {
            trace_id: "6147e213db38dba60145ae8f977147c3".to_owned(),
            span_id: "0721cebb7926fb74".to_owned(),
        };
        assert_eq!(ids, Some(expected));
    }

    #[test]
    fn an_unsampled_rollout_shows_nothing() {
        let ctx = RolloutContext::derive(&SEED, None);
        assert_eq!((ctx.ids(), ctx.traceparent()), (None, None));
    }
}
