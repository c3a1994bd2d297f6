//! Links an object's rollout to its trace: begins it, resumes it and records its end. It reads no clock.

use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::ResourceExt;

use crate::{
    api::{
        Engine, RolloutOutcome, RolloutStatus, StatusParts, TraceParent, annotation,
        condition::{self, Condition},
        policy::TraceParentPolicy,
    },
    cluster::client::error_class::is_of_author,
    controller::kinds::{Kind, Object, object_reference},
    status::{
        build::{FinishedBuild, FinishedTask},
        conditions::find_condition,
        rollout::{RolloutEnd, RolloutPhase, duration, is_same_trace, phase, supersede},
    },
    telemetry::{
        self, BuildSpan, Metrics, RolloutContext, RolloutResult, RolloutSeed, RolloutSpan, SpanIds, TaskSpan,
        Traces,
    },
};

/// After a start or a change of leader, what ended within this window is emitted and published again.
pub const REEMIT_WINDOW: SignedDuration = SignedDuration::from_mins(1);

/// The rollout that a reconcile belongs to.
#[derive(Clone, Debug)]
pub struct RolloutState {
    /// The rollout of this generation, for the status.
    pub status: RolloutStatus,
    /// The parent of the reconcile's span.
    pub telemetry: telemetry::SpanParent,
    /// This reconcile starts the rollout.
    pub is_new: bool,
}

impl RolloutState {
    /// The root span of a rollout that started recently enough for its Events to be published again: they
    /// belong to its trace even after it has ended.
    #[must_use]
    pub fn republished_ids(&self, since: Timestamp) -> Option<SpanIds> {
        self.status.started_at.as_ref().filter(|at| at.0 >= since)?;
        match &self.telemetry {
            telemetry::SpanParent::AfterRollout(Some(ctx)) => ctx.ids(),
            _ => None,
        }
    }
}

/// Rollouts as traces and as metrics.
#[derive(Clone)]
pub struct RolloutTelemetry {
    /// Traces.
    pub traces: Traces,
    /// Metrics.
    pub metrics: Metrics,
    /// How to treat a caller's trace context.
    pub trace_parent: TraceParentPolicy,
}

impl std::fmt::Debug for RolloutTelemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RolloutTelemetry").finish_non_exhaustive()
    }
}

/// The trace context in the object's annotations; malformed ones are ignored.
fn caller_traceparent<K: Kind>(object: &Object<K>) -> Option<String> {
    let given = [annotation::TRACEPARENT, annotation::KUBERNETES_TRACEPARENT]
        .into_iter()
        .find_map(|name| object.annotations().get(name));
    given
        .filter(|text| {
            let valid = text.parse::<TraceParent>().is_ok();
            if !valid {
                tracing::debug!(
                    namespace = object.namespace(),
                    name = object.name_any(),
                    "ignoring a malformed traceparent annotation"
                );
            }
            valid
        })
        .cloned()
}

impl RolloutTelemetry {
    /// The rollout that a reconcile of this object belongs to.
    pub fn current<K: Kind>(&self, object: &Object<K>, now: Timestamp) -> RolloutState {
        let generation = object.metadata.generation.unwrap_or(0);
        let previous = object.status.as_ref().and_then(StatusParts::rollout);
        let caller =
            caller_traceparent::<K>(object).filter(|_| self.trace_parent != TraceParentPolicy::Ignore);
        // A new rebuild value starts a new rollout of the same generation.
        let same = previous.filter(|p| {
            p.generation != generation || p.rebuild.as_deref().unwrap_or("") == newest_rebuild::<K>(object)
        });
        let phase = match (same, previous) {
            (None, Some(other)) => {
                phase(generation, Some(&RolloutStatus { generation: 0, ..other.clone() }), caller.as_deref())
            }
            (same, _) => phase(generation, same, caller.as_deref()),
        };
        match (phase, previous) {
            (RolloutPhase::New { parent }, _) => {
                let parent = parent.filter(|_| self.trace_parent == TraceParentPolicy::Join);
                let ctx = self.traces.begin_rollout(&seed::<K>(
                    object,
                    object.uid().as_deref().unwrap_or_default(),
                    generation,
                    newest_rebuild::<K>(object),
                    parent.as_deref(),
                ));
                let status = RolloutStatus {
                    generation,
                    rebuild: Some(newest_rebuild::<K>(object).to_owned()).filter(|text| !text.is_empty()),
                    trace_id: ctx.ids().map(|ids| ids.trace_id()),
                    traceparent: ctx.traceparent(),
                    parent: caller,
                    started_at: Some(MicroTime(now)),
                    superseded: previous
                        .and_then(|p| supersede(p, object.status.as_ref().and_then(StatusParts::engine))),
                    ..RolloutStatus::default()
                };
                RolloutState { status, telemetry: telemetry::SpanParent::InRollout(ctx), is_new: true }
            }
            (RolloutPhase::InProgress, Some(rollout)) => RolloutState {
                status: RolloutStatus {
                    // A clock that was ahead must not extend the deadline.
                    started_at: rollout.started_at.clone().map(|at| MicroTime(at.0.min(now))),
                    ..rollout.clone()
                },
                telemetry: telemetry::SpanParent::InRollout(self.trace_context::<K>(object, rollout)),
                is_new: false,
            },
            (_, rollout) => {
                let link = rollout.map(|rollout| self.trace_context::<K>(object, rollout));
                RolloutState {
                    status: rollout.cloned().unwrap_or_default(),
                    telemetry: telemetry::SpanParent::AfterRollout(link),
                    is_new: false,
                }
            }
        }
    }

    /// The context of a rollout in the status.
    fn trace_context<K: Kind>(&self, object: &Object<K>, rollout: &RolloutStatus) -> RolloutContext {
        let uid = object.uid().unwrap_or_default();
        // The status holds no ids of a rollout that is not sampled: they are derived again. Otherwise, the
        // ids show whether the rollout joined the caller's trace.
        let may_join = rollout.traceparent.is_some() || self.trace_parent == TraceParentPolicy::Join;
        let parent = rollout.parent.as_deref().filter(|_| may_join);
        let rebuild = rollout.rebuild.as_deref().unwrap_or("");
        let seed = seed::<K>(object, &uid, rollout.generation, rebuild, parent);
        self.traces.resume_rollout(rollout.traceparent.as_deref(), &seed)
    }

    /// Records the end of a rollout: its root span and its duration.
    pub fn record_end<K: Kind>(&self, object: &Object<K>, end: &RolloutEnd) {
        let Some(took) = duration(end.rollout()).and_then(|took| Duration::try_from(took).ok()) else {
            return;
        };
        let ctx = self.emit_span::<K>(object, end);
        self.metrics.rollout_ended(
            K::KIND,
            engine::<K>(object, end),
            result::<K>(object, end),
            took,
            ctx.and_then(|ctx| ctx.ids()).as_ref(),
        );
    }

    /// Emits the root span of a rollout that ended; it is identical in every process and on every call.
    pub fn emit_span<K: Kind>(&self, object: &Object<K>, end: &RolloutEnd) -> Option<RolloutContext> {
        let rollout = end.rollout();
        let (started, ended) = (rollout.started_at.as_ref()?.0, rollout.ended_at.as_ref()?.0);
        let ctx = self.trace_context::<K>(object, rollout);
        let own = rollout.traceparent.as_deref();
        let link = rollout.parent.clone().filter(|caller| !is_same_trace(caller, own));
        self.traces.emit_rollout(RolloutSpan {
            ctx: ctx.clone(),
            object: object_reference::<K>(object),
            generation: rollout.generation,
            engine: engine::<K>(object, end),
            started: SystemTime::from(started),
            ended: SystemTime::from(ended.max(started)),
            outcome: rollout.outcome.unwrap_or(RolloutOutcome::Ready),
            error: ready::<K>(object)
                .filter(|_| rollout.outcome == Some(RolloutOutcome::TimedOut))
                .map(|ready| format!("{}: {}", ready.reason, ready.message)),
            link,
        });
        Some(ctx)
    }

    /// Records the end of a build: its span in the rollout's trace and its duration.
    pub fn record_build<K: Kind>(&self, object: &Object<K>, build: &FinishedBuild) {
        self.emit_build_spans::<K>(object, build);
        self.metrics.build_ended(
            build.result,
            Duration::try_from(build.ended.duration_since(build.started)).unwrap_or_default(),
        );
    }

    /// Emits the spans of a build; they are identical in every process and on every call.
    pub fn emit_build_spans<K: Kind>(&self, object: &Object<K>, build: &FinishedBuild) {
        let Some(rollout) = object.status.as_ref().and_then(StatusParts::rollout) else { return };
        let task = |task: &FinishedTask| TaskSpan {
            name: task.task.clone(),
            run: task.run.clone(),
            uid: task.uid.clone(),
            started: task.started.into(),
            ended: task.ended.into(),
            result: task.result,
            error: task.failure_message.clone(),
        };
        self.traces.emit_build(&BuildSpan {
            ctx: self.trace_context::<K>(object, rollout),
            pipeline: object.name_any(),
            namespace: object.namespace().unwrap_or_default(),
            run: build.run.clone(),
            uid: build.uid.clone(),
            started: build.started.into(),
            ended: build.ended.into(),
            result: build.result,
            error: Some(build.failure_message.clone()).filter(|text| !text.is_empty()),
            tasks: build.tasks.iter().map(task).collect(),
        });
    }

    /// Records the deletion of an object, which ends a rollout in progress.
    pub fn record_deleted<K: Kind>(&self, object: &Object<K>, now: Timestamp) {
        let rollout = object.status.as_ref().and_then(StatusParts::rollout);
        let Some(rollout) = rollout.filter(|r| r.ended_at.is_none() && r.started_at.is_some()) else {
            return;
        };
        let (ended_at, outcome) = (Some(MicroTime(now)), Some(RolloutOutcome::Deleted));
        let deleted = RolloutStatus { ended_at, outcome, ..rollout.clone() };
        self.record_end::<K>(object, &RolloutEnd::Complete(deleted));
    }
}

/// The engine of a rollout that ended.
fn engine<K: Kind>(object: &Object<K>, end: &RolloutEnd) -> Option<Engine> {
    match end {
        RolloutEnd::Complete(_) => object.status.as_ref().and_then(StatusParts::engine),
        RolloutEnd::Superseded(_, engine) => *engine,
    }
}

fn ready<K: Kind>(object: &Object<K>) -> Option<&Condition> {
    find_condition(object.status.as_ref()?.conditions(), condition::kind::READY)
}

/// The result of a rollout that ended, for metrics.
fn result<K: Kind>(object: &Object<K>, end: &RolloutEnd) -> RolloutResult {
    let outcome = end.rollout().outcome.unwrap_or(RolloutOutcome::Ready);
    let of_author = ready::<K>(object).is_some_and(|c| is_of_author(&c.reason, &c.message));
    if outcome == RolloutOutcome::TimedOut && of_author { RolloutResult::AuthorError } else { outcome.into() }
}

fn seed<'a, K: Kind>(
    object: &'a Object<K>,
    uid: &'a str,
    generation: i64,
    rebuild: &'a str,
    parent: Option<&'a str>,
) -> RolloutSeed<'a> {
    let names = [annotation::TRACESTATE, annotation::KUBERNETES_TRACESTATE];
    let tracestate = names.into_iter().find_map(|name| object.annotations().get(name)).map(String::as_str);
    RolloutSeed { uid, generation, rebuild, parent, tracestate }
}

/// The newest value of `elpio.io/rebuild`, or "". Removing the annotation keeps it, as that requests no rebuild.
pub fn newest_rebuild<K: Kind>(object: &Object<K>) -> &str {
    let given = object.annotations().get(annotation::REBUILD).filter(|text| !text.is_empty());
    let known =
        || object.status.as_ref().and_then(StatusParts::rollout).and_then(|rollout| rollout.rebuild.as_ref());
    given.or_else(known).filter(|_| K::SUPPORTS_REBUILD).map_or("", String::as_str)
}
