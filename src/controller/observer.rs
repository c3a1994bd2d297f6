//! What a new state of an object means for telemetry: every state enters here once, from the watch or from a
//! write of ours. It enqueues nothing and writes nothing.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::ResourceExt;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    api::StatusParts,
    cluster::{
        ObjectKey,
        clock::now,
        store::{ObjectChange, children::ChildStore},
    },
    controller::{
        kinds::{Kind, Object},
        reconcile::rollout_telemetry::{REEMIT_WINDOW, RolloutTelemetry},
        state_counts::UnsettledGenerations,
    },
    status::{build::FinishedBuild, rollout::rollout_ends},
};

/// Where a state came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeSource {
    /// A response to a write of ours.
    Write,
    /// The watch.
    Watch,
}

/// Records rollouts and builds that end, and generations that nobody has observed.
#[derive(Clone, Debug)]
pub struct ObjectObserver {
    /// Since when an object's generation has not been observed.
    pub unsettled: Arc<UnsettledGenerations>,
    /// Traces and metrics of rollouts.
    pub rollouts: RolloutTelemetry,
    children: Arc<ChildStore>,
    leading: watch::Receiver<bool>,
    leading_since: Arc<Mutex<Option<Timestamp>>>,
    /// When a reconcile failed last, of any kind: the end of a rollout may be written, and not be known here.
    last_failure: Arc<Mutex<Option<Timestamp>>>,
}

impl ObjectObserver {
    /// An observer that records while `leading` holds true.
    #[must_use]
    pub fn new(
        rollouts: RolloutTelemetry,
        children: Arc<ChildStore>,
        leading: watch::Receiver<bool>,
    ) -> Self {
        Self {
            unsettled: Arc::default(),
            rollouts,
            children,
            leading,
            leading_since: Arc::default(),
            last_failure: Arc::default(),
        }
    }

    /// The same for another kind: each counts its own unsettled generations.
    #[must_use]
    pub fn for_kind(&self) -> Self {
        Self { unsettled: Arc::default(), ..self.clone() }
    }

    /// Whether this process leads, as it changes.
    #[must_use]
    pub fn leading(&self) -> watch::Receiver<bool> {
        self.leading.clone()
    }

    /// Whether this process leads.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        *self.leading.borrow()
    }

    /// Takes a new state of an object. What a predecessor wrote before this process led is its own to record.
    pub fn observe<K: Kind>(&self, change: &ObjectChange<Object<K>>, source: ChangeSource) {
        let Some(key) = change.key() else { return };
        self.unsettled.observe(&key, change.new.as_deref().and_then(unsettled_generation::<K>));
        let Some(since) = self.leading_since.lock().filter(|_| self.is_leader() && !change.own_write) else {
            return;
        };
        let Some(new) = &change.new else {
            if let Some(old) = &change.old {
                self.rollouts.record_deleted::<K>(old, now());
            }
            return;
        };
        let is_ours = |at: Timestamp| source == ChangeSource::Write || at >= since;
        let old = change.old.as_deref().filter(|old| old.uid() == new.uid());
        let (old, status) = (old.and_then(|old| old.status.as_ref()), new.status.as_ref());
        for end in rollout_ends(old.and_then(StatusParts::rollout), status.and_then(StatusParts::rollout)) {
            if end.rollout().ended_at.as_ref().is_some_and(|at| is_ours(at.0)) {
                self.rollouts.record_end::<K>(new, &end);
            }
        }
        if let Some(run) = status.and_then(|status| K::finished_build(old, status)) {
            let build = self.finished_builds::<K>(new).into_iter().find(|build| build.run == run);
            if let Some(build) = build.filter(|build| is_ours(build.ended)) {
                self.rollouts.record_build::<K>(new, &build);
            }
        }
    }

    /// A reconcile failed.
    pub fn note_failure(&self) {
        *self.last_failure.lock() = Some(now());
    }

    /// No reconcile runs any more: exports every span. Returns up to when all of them were, if that is certain.
    pub async fn export_all(&self, bound: Duration) -> Option<Timestamp> {
        let until = now();
        let has_failed = self.last_failure.lock().is_some_and(|at| until.duration_since(at) < REEMIT_WINDOW);
        let window = REEMIT_WINDOW.unsigned_abs();
        (!has_failed && self.rollouts.traces.export_all(bound, window).await).then_some(until)
    }

    /// This process is about to lead: emits again what ended just before, since the predecessor may not have
    /// exported it; what it knows to be exported up to a time is not. No worker may run yet: what it ends would
    /// be emitted twice.
    pub fn prepare_to_lead<K: Kind>(&self, objects: &[Arc<Object<K>>], exported_until: Option<Timestamp>) {
        let now = now();
        *self.leading_since.lock() = Some(now);
        for object in objects {
            let is_recent = |at: Timestamp| {
                now.duration_since(at) < REEMIT_WINDOW && exported_until.is_none_or(|until| at > until)
            };
            let rollout = object.status.as_ref().and_then(StatusParts::rollout);
            for end in rollout_ends(None, rollout) {
                if end.rollout().ended_at.as_ref().is_some_and(|at| is_recent(at.0)) {
                    self.rollouts.emit_span::<K>(object, &end);
                }
            }
            for build in self.finished_builds::<K>(object) {
                if is_recent(build.ended) {
                    self.rollouts.emit_build_spans::<K>(object, &build);
                }
            }
        }
    }

    /// The builds of an object's current rollout that have ended. A run that is used again was another's.
    fn finished_builds<K: Kind>(&self, object: &Object<K>) -> Vec<FinishedBuild> {
        let rollout = object.status.as_ref().and_then(StatusParts::rollout);
        let Some(started) = rollout.and_then(|rollout| rollout.started_at.as_ref()) else {
            return Vec::new();
        };
        let mut live = self.children.controlled_by(object.uid().as_deref().unwrap_or_default());
        // Kubernetes keeps whole seconds.
        live.retain(|_, child| {
            child.creation_timestamp().is_some_and(|at| at.0.as_second() >= started.0.as_second())
        });
        K::finished_builds(&live, &self.children.grandchildren_of(&live))
    }

    /// The object is gone: nothing of it is waited for.
    pub fn forget(&self, key: &ObjectKey) {
        self.unsettled.observe(key, None);
    }
}

/// The generation of an object that its status does not describe yet. An object that is being deleted is
/// nobody's unanswered edit.
pub fn unsettled_generation<K: Kind>(object: &Object<K>) -> Option<i64> {
    object.metadata.generation.filter(|_| object.metadata.deletion_timestamp.is_none()).filter(|generation| {
        object.status.as_ref().and_then(StatusParts::observed_generation) != Some(*generation)
    })
}
