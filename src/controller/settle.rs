//! What telemetry is told once a status stands; also of one whose answer never came, when it turns out that it was written.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use kube::ResourceExt;

use super::{
    kind::{Kind, Object},
    rollout::Rollouts,
    run::Run,
};
use crate::status::build::BuildEnd;

/// What a status that was written means for telemetry.
#[derive(Debug)]
pub struct Told<K: Kind> {
    status: K::Status,
    /// A rollout begins with it, and may take the place of another.
    begins: bool,
    /// The rollout ends with it.
    ended: bool,
    finished: Option<BuildEnd>,
}

impl<K: Kind> Told<K> {
    /// Of a run, if it came to a status at all.
    fn of(run: &Run<K>, begins: bool) -> Option<Self> {
        let status = run.status.as_ref().or(run.unanswered.as_ref())?.clone();
        Some(Self { status, begins, ended: run.ended, finished: run.finished.clone() })
    }

    fn tell(&self, object: &Object<K>, rollouts: &Rollouts) {
        let Some(rollout) = K::rollout(&self.status) else { return };
        if self.begins {
            rollouts.superseded::<K>(object, rollout);
        }
        if let Some(build) = &self.finished {
            rollouts.built::<K>(object, rollout, build);
        }
        if self.ended {
            rollouts.ended::<K>(object, Some(&self.status), rollout);
        }
    }

    /// Whether this is the status that the object has; compared as it is written, where times are less precise.
    fn stands(&self, object: &Object<K>) -> bool {
        let written = object.status.as_ref().and_then(|status| serde_json::to_value(status).ok());
        written.is_some() && written == serde_json::to_value(&self.status).ok()
    }
}

/// By the object's uid: the status that was sent last and not answered. Only objects whose last status write failed are in it.
#[derive(Debug)]
pub struct Unanswered<K: Kind>(Mutex<HashMap<String, Told<K>>>);

impl<K: Kind> Default for Unanswered<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Kind> Unanswered<K> {
    /// After a reconcile: tells what its status means if it stands, and keeps it if that is not known.
    pub fn settle(&self, object: &Object<K>, rollouts: &Rollouts, run: &Run<K>, begins: bool) {
        let Some(told) = Told::of(run, begins) else { return };
        let uid = object.uid().unwrap_or_default();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if run.status.is_some() {
            all.remove(&uid);
            drop(all);
            told.tell(object, rollouts);
        } else {
            all.insert(uid, told);
        }
    }

    /// Before the next reconcile, or at the object's end: tells of a status without an answer if the object has it.
    pub fn look(&self, object: &Object<K>, rollouts: &Rollouts) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let uid = object.uid().unwrap_or_default();
        if all.get(&uid).is_some_and(|told| told.stands(object)) {
            let told = all.remove(&uid);
            drop(all);
            if let Some(told) = told {
                told.tell(object, rollouts);
            }
        }
    }

    /// The object is gone.
    pub fn forget(&self, object: &Object<K>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&object.uid().unwrap_or_default());
    }
}
