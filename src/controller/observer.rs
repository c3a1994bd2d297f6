//! Records what a new state of an object means for telemetry: every state arrives here once, from the watch
//! or from one of our writes. It enqueues and writes nothing.

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

/// The source of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeSource {
    /// A response to one of our writes.
    Write,
    /// The watch.
    Watch,
}

/// Records rollouts and builds that end, and generations that no status has observed.
#[derive(Clone, Debug)]
pub struct ObjectObserver {
    /// Generations that the status has not observed yet, and since when.
    pub unsettled: Arc<UnsettledGenerations>,
    /// Traces and metrics of rollouts.
    pub rollouts: RolloutTelemetry,
    children: Arc<ChildStore>,
    leading: watch::Receiver<bool>,
    leading_since: Arc<Mutex<Option<Timestamp>>>,
    /// When a reconcile of any kind last failed: the end of a rollout may have been written without being known here.
    last_failure: Arc<Mutex<Option<Timestamp>>>,
}

impl ObjectObserver {
    /// An observer that records while `leading` is true.
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

    /// An observer for another kind, with its own unsettled generations.
    #[must_use]
    pub fn for_kind(&self) -> Self {
        Self { unsettled: Arc::default(), ..self.clone() }
    }

    /// Observes whether this process leads.
    #[must_use]
    pub fn leading(&self) -> watch::Receiver<bool> {
        self.leading.clone()
    }

    /// Whether this process leads.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        *self.leading.borrow()
    }

    /// Records a new state of an object. Skips what a predecessor wrote before this process led: that was the
    /// predecessor's to record.
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

    /// Records that a reconcile failed.
    pub fn note_failure(&self) {
        *self.last_failure.lock() = Some(now());
    }

    /// Exports every span once no reconcile runs any more. Returns up to when all spans were exported, if
    /// that is certain.
    pub async fn export_all(&self, bound: Duration) -> Option<Timestamp> {
        let until = now();
        let has_failed = self.last_failure.lock().is_some_and(|at| until.duration_since(at) < REEMIT_WINDOW);
        let window = REEMIT_WINDOW.unsigned_abs();
        (!has_failed && self.rollouts.traces.export_all(bound, window).await).then_some(until)
    }

    /// Before this process leads: emits again what ended just before, unless the predecessor is known to have
    /// exported it. No worker may run yet, or the spans of what it ends would be emitted twice.
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

    /// The finished builds of an object's current rollout. A reused run belongs to an earlier rollout.
    fn finished_builds<K: Kind>(&self, object: &Object<K>) -> Vec<FinishedBuild> {
        let rollout = object.status.as_ref().and_then(StatusParts::rollout);
        let Some(started) = rollout.and_then(|rollout| rollout.started_at.as_ref()) else {
            return Vec::new();
        };
        let mut live = self.children.controlled_by(object.uid().as_deref().unwrap_or_default());
        // Kubernetes stores whole seconds.
        live.retain(|_, child| {
            child.creation_timestamp().is_some_and(|at| at.0.as_second() >= started.0.as_second())
        });
        K::finished_builds(&live, &self.children.grandchildren_of(&live))
    }

    /// Stops tracking a deleted object.
    pub fn forget(&self, key: &ObjectKey) {
        self.unsettled.observe(key, None);
    }
}

/// The generation that an object's status does not describe yet. An object being deleted has none.
pub fn unsettled_generation<K: Kind>(object: &Object<K>) -> Option<i64> {
    object.metadata.generation.filter(|_| object.metadata.deletion_timestamp.is_none()).filter(|generation| {
        object.status.as_ref().and_then(StatusParts::observed_generation) != Some(*generation)
    })
}
