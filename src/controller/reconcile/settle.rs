//! What telemetry is told once a status stands; also of one whose answer never came, when it turns out that
//! it was written.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::ResourceExt;

use crate::{
    api::RolloutStatus,
    controller::{
        kinds::{Kind, Object},
        reconcile::{result::ReconcileResult, rollout_telemetry::RolloutTelemetry},
    },
    status::build::FinishedBuild,
};

/// What is to be told of attempts whose status may stand, each with other times: of one rollout, and of a
/// build.
#[derive(Debug)]
struct Owed {
    /// As the last attempt sent it. Whoever writes after we gave up has later times.
    rollout: RolloutStatus,
    /// It begins, and may take the place of another.
    begins: bool,
    /// A build that has finished, with the rollout that it belongs to.
    built: Option<(RolloutStatus, FinishedBuild)>,
}

impl Owed {
    fn is_something(&self) -> bool {
        self.begins || self.rollout.ended_at.is_some() || self.built.is_some()
    }

    /// With what the attempts before it left: what was sent first may be what stands.
    fn after(self, before: Self) -> Self {
        let built = self.built.or(before.built);
        if !is_same(&self.rollout, &before.rollout) {
            return Self { built, ..self };
        }
        let ended_at = self.rollout.ended_at.clone().or(before.rollout.ended_at);
        Self {
            begins: self.begins || before.begins,
            rollout: RolloutStatus { ended_at, ..self.rollout },
            built,
        }
    }
}

fn is_same(one: &RolloutStatus, other: &RolloutStatus) -> bool {
    (one.generation, &one.rebuild) == (other.generation, &other.rebuild)
}

/// By the object's uid: what is owed. Only objects whose last status write failed are in it.
#[derive(Debug, Default)]
pub struct Unanswered(Mutex<HashMap<String, Owed>>);

impl Unanswered {
    /// After a reconcile: tells what its status means if it stands, and keeps it if that is not known.
    pub fn settle<K: Kind>(
        &self,
        object: &Object<K>,
        rollouts: &RolloutTelemetry,
        run: &ReconcileResult<K>,
        begins: bool,
    ) {
        let status = run.status.as_ref().or(run.unanswered.as_ref());
        let Some((status, rollout)) = status.and_then(|status| Some((status, K::rollout(status)?))) else {
            return;
        };
        let uid = object.uid().unwrap_or_default();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.remove(&uid);
        if run.status.is_none() {
            // An end that was there before is none of this attempt.
            let sent =
                RolloutStatus { ended_at: rollout.ended_at.clone().filter(|_| run.ended), ..rollout.clone() };
            let owed = Owed {
                rollout: sent,
                begins,
                built: run.finished.clone().map(|build| (rollout.clone(), build)),
            };
            let owed = if let Some(before) = before { owed.after(before) } else { owed };
            if owed.is_something() {
                all.insert(uid, owed);
            }
            return;
        }
        drop(all);
        if begins {
            rollouts.superseded::<K>(object, rollout);
        }
        // Whoever finds in the status that a build has ended does not find its end again.
        let earlier = before.and_then(|before| before.built);
        let other = earlier.filter(|(_, build)| run.finished.as_ref().is_none_or(|now| now.uid != build.uid));
        if let Some((rollout, build)) = &other {
            rollouts.record_build::<K>(object, rollout, build);
        }
        if let Some(build) = &run.finished {
            rollouts.record_build::<K>(object, rollout, build);
        }
        if run.ended {
            rollouts.ended::<K>(object, Some(status), rollout);
        }
    }

    /// Before the next reconcile: tells of a rollout whose beginning or end was not answered if the object
    /// has it. A build's end waits until the attempt after it has said whether that is its own.
    pub fn look<K: Kind>(&self, object: &Object<K>, rollouts: &RolloutTelemetry) {
        let Some((status, now)) =
            object.status.as_ref().and_then(|status| Some((status, K::rollout(status)?)))
        else {
            return;
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(owed) =
            all.get_mut(&object.uid().unwrap_or_default()).filter(|owed| is_same(&owed.rollout, now))
        else {
            return;
        };
        let begins = owed.begins && not_after(now.started_at.as_ref(), owed.rollout.started_at.as_ref());
        let ended = not_after(now.ended_at.as_ref(), owed.rollout.ended_at.as_ref());
        owed.begins &= !begins;
        owed.rollout.ended_at.take_if(|_| ended);
        drop(all);
        if begins {
            rollouts.superseded::<K>(object, now);
        }
        if ended {
            rollouts.ended::<K>(object, Some(status), now);
        }
    }

    /// The object is gone, and so is what was owed; a leader tells what is known of it.
    pub fn gone<K: Kind>(&self, object: &Object<K>, rollouts: &RolloutTelemetry, is_leader: bool) {
        if is_leader {
            self.look::<K>(object, rollouts);
        }
        let owed =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&object.uid().unwrap_or_default());
        if let Some((rollout, build)) = owed.and_then(|owed| owed.built).filter(|_| is_leader) {
            rollouts.record_build::<K>(object, &rollout, &build);
        }
    }
}

/// Both are there, and the first is no later: as the API server keeps times, which is to the microsecond.
fn not_after(stands: Option<&MicroTime>, sent: Option<&MicroTime>) -> bool {
    stands.zip(sent).is_some_and(|(stands, sent)| stands.0.as_microsecond() <= sent.0.as_microsecond())
}
