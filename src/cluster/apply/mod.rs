//! Makes the children what they should be: server-side apply in order, then deletion of what is no longer
//! asked for. What is right already is not written, and what belongs to somebody else is not touched.

pub mod ownership;
pub mod recreate_backoff;
pub mod result;

use std::sync::Arc;

use either::Either;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    core::DynamicObject,
};
use tracing::Instrument;

use crate::{
    api::{FIELD_MANAGER, annotation, condition::reason},
    cluster::{
        Key,
        apply::{
            ownership::Holder,
            recreate_backoff::Pace,
            result::{Made, Outcome, Refusal, leaving, taken},
        },
        client::call::{Call, CallError, run},
        store::{
            self,
            children::{Availability, Children, controller},
        },
    },
    foreign::ChildKind,
    render::{
        Child, ChildId, Mode, Owner,
        applied::{Applied, Live, Step},
        drift,
    },
    telemetry::{ChildStep, ErrorType, fail_step, step_for},
};

/// Writes children.
#[derive(Clone)]
pub struct Applier {
    /// The client.
    pub client: Client,
    /// Where the children are known.
    pub children: Arc<Children>,
    /// How often a run may be made again.
    pub pace: Arc<Pace>,
}

impl std::fmt::Debug for Applier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Applier").field("children", &self.children).finish_non_exhaustive()
    }
}

impl Applier {
    /// I/O: applies `desired` in order and deletes what `live` has beyond it.
    pub async fn apply(&self, owner: &Owner<'_>, desired: &[Child], live: &Live) -> Outcome {
        let mut outcome = Outcome::default();
        let obsolete: Vec<&ChildId> =
            live.keys().filter(|id| !desired.iter().any(|child| child.id == **id)).collect();
        // An engine that is not there must not cost the one that serves.
        let safe = desired
            .iter()
            .all(|child| matches!(self.children.availability(child.id.kind), Availability::Ready(_)));
        let clashes = |id: &ChildId| {
            desired.iter().any(|child| child.id.name == id.name && !live.contains_key(&child.id))
        };
        let (first, last): (Vec<&ChildId>, Vec<&ChildId>) = obsolete.into_iter().partition(|id| clashes(id));
        let mut held = Vec::new();
        for id in first {
            if !safe || !self.delete(owner, id, live, &mut outcome).await {
                held.push(id);
            }
        }
        for child in desired {
            let holder = held.iter().find(|id| id.name == child.id.name && !live.contains_key(&child.id));
            let step = match (holder, waits_for(child, &outcome.applied)) {
                _ if !matches!(self.children.availability(child.id.kind), Availability::Ready(_)) => {
                    self.unavailable(child, &mut outcome)
                }
                (Some(id), _) => Step::Leaving { holder: format!("{} {}", id.kind.display(), id.name) },
                (None, Some(on)) => Step::Waiting { on },
                (None, None) => self.one(owner, child, live, &mut outcome).await,
            };
            outcome.applied.steps.push((child.id.clone(), step));
        }
        for id in last {
            self.delete(owner, id, live, &mut outcome).await;
        }
        outcome
    }

    fn unavailable(&self, child: &Child, outcome: &mut Outcome) -> Step {
        let kind = child.id.kind;
        let what = kind.crd().unwrap_or_else(|| kind.plural().to_owned());
        let refusal = match self.children.availability(kind) {
            Availability::Forbidden(why) => Refusal {
                reason: reason::FORBIDDEN,
                class: ErrorType::Forbidden,
                message: format!("cannot list and watch {what}: {why}"),
                retry_after: None,
            },
            Availability::Pending => Refusal {
                reason: reason::APPLY_FAILED,
                class: ErrorType::Unavailable,
                message: format!("the API server has not yet listed {what}"),
                retry_after: None,
            },
            Availability::Absent | Availability::Ready(_) => Refusal {
                reason: reason::DEPENDENCY_MISSING,
                class: ErrorType::DependencyMissing,
                message: format!(
                    "{} {} needs {}: the cluster does not serve {what}; install it, and this goes on by itself",
                    kind.display(),
                    child.id.name,
                    kind.project()
                ),
                retry_after: None,
            },
        };
        Step::Failed(outcome.failed(refusal))
    }

    async fn one(&self, owner: &Owner<'_>, child: &Child, live: &Live, outcome: &mut Outcome) -> Step {
        let span = step_for(ChildStep::Apply, child.id.kind.label());
        match self.write(owner, child, live.get(&child.id)).instrument(span.clone()).await {
            Ok(Made::Not(step)) => step,
            Ok(Made::Written(version)) => {
                outcome.wrote.push(version);
                Step::Changed
            }
            Err(refusal) => {
                fail_step(&span, refusal.class, &refusal.message);
                Step::Failed(outcome.failed(refusal))
            }
        }
    }

    async fn write(
        &self,
        owner: &Owner<'_>,
        child: &Child,
        known: Option<&Arc<DynamicObject>>,
    ) -> Result<Made, Refusal> {
        match &child.mode {
            Mode::Keep => return Ok(Made::Not(Step::Unchanged)),
            Mode::Change(patch) => return Ok(self.change(owner, &child.id, patch).await?),
            Mode::Create => return self.create(owner, child).await,
            Mode::Apply => {}
        }
        if let Some(known) = known {
            if known.metadata.deletion_timestamp.is_some() {
                return Ok(leaving(format!(
                    "{} {}, which is being deleted,",
                    child.id.kind.display(),
                    child.id.name
                )));
            }
            return Ok(if unchanged(child, known) {
                Made::Not(Step::Unchanged)
            } else {
                self.send(owner, child, true).await?
            });
        }
        // Two objects of ours share a field manager, so the API server would let one take over from the
        // other: the cache must not.
        let key = Key { namespace: owner.namespace.to_owned(), name: child.id.name.clone() };
        if let Some(other) = self.children.get(child.id.kind, &key)
            && let Some(controller) = controller(&*other).filter(|c| c.uid != owner.uid)
        {
            // Also what an engine made of ours, with our labels.
            return match ownership::leaving(&self.client, owner, child, &*other, &controller).await {
                Some(holder) => Ok(leaving(holder)),
                None => Err(taken(child, &ownership::named(&controller))),
            };
        }
        match self.send(owner, child, false).await {
            Err(error) if error.class == ErrorType::Conflict || error.class == ErrorType::Rejected => {
                self.contested(owner, child, error).await
            }
            other => Ok(other?),
        }
    }

    /// The name is taken, or a webhook says no: only a look at the object tells which.
    async fn contested(&self, owner: &Owner<'_>, child: &Child, error: CallError) -> Result<Made, Refusal> {
        match ownership::of(&self.client, owner, child, &error).await {
            Holder::Ours => Ok(self.send(owner, child, true).await?),
            Holder::Nobody => Err(error.into()),
            Holder::Leaving(holder) => Ok(leaving(holder)),
            Holder::Other(other) => Err(taken(child, &other)),
        }
    }

    /// Creates what is never written again. One that is there already is ours, or somebody else's.
    async fn create(&self, owner: &Owner<'_>, child: &Child) -> Result<Made, Refusal> {
        if let Some(pause) = self.pace.wait(owner.uid, &child.id.name) {
            return Err(Refusal {
                reason: reason::APPLY_FAILED,
                class: ErrorType::Rejected,
                message: format!(
                    "{} {} was deleted again and again after it had failed; it is made again later",
                    child.id.kind.display(),
                    child.id.name
                ),
                retry_after: Some(pause),
            });
        }
        let object = serde_json::from_value(child.manifest()).map_err(|error| Refusal {
            reason: reason::APPLY_FAILED,
            class: ErrorType::Internal,
            message: error.to_string(),
            retry_after: None,
        })?;
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let created =
            run(call("create", owner, &child.id), self.api(owner, child.id.kind).create(&params, &object))
                .await;
        match created {
            Ok(created) => {
                self.pace.made(owner.uid, &child.id.name);
                Ok(self.wrote(child.id.kind, created))
            }
            Err(error) if error.class == ErrorType::Conflict => {
                match ownership::of(&self.client, owner, child, &error).await {
                    // The watch has not told of it yet.
                    Holder::Ours => Ok(Made::Not(Step::Unchanged)),
                    Holder::Nobody => Err(taken(child, "somebody who gave it no controller")),
                    Holder::Leaving(holder) => Ok(leaving(holder)),
                    Holder::Other(other) => Err(taken(child, &other)),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn change(
        &self,
        owner: &Owner<'_>,
        id: &ChildId,
        patch: &serde_json::Value,
    ) -> Result<Made, CallError> {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let changed = run(
            call("patch", owner, id),
            self.api(owner, id.kind).patch(&id.name, &params, &Patch::Merge(patch)),
        )
        .await?;
        Ok(self.wrote(id.kind, changed))
    }

    fn wrote(&self, kind: ChildKind, written: DynamicObject) -> Made {
        let version = store::version(&written);
        self.children.wrote(kind, written);
        Made::Written(version)
    }

    async fn send(&self, owner: &Owner<'_>, child: &Child, force: bool) -> Result<Made, CallError> {
        let api = self.api(owner, child.id.kind);
        let params = PatchParams { force, ..PatchParams::apply(FIELD_MANAGER) };
        let call = self::call("patch", owner, &child.id);
        let written = run(call, api.patch(&child.id.name, &params, &Patch::Apply(child.manifest()))).await?;
        Ok(self.wrote(child.id.kind, written))
    }

    /// Deletes one child. Returns whether it is gone already.
    async fn delete(&self, owner: &Owner<'_>, id: &ChildId, live: &Live, outcome: &mut Outcome) -> bool {
        let Some(known) = live.get(id) else { return true };
        if known.metadata.deletion_timestamp.is_some() {
            return false;
        }
        let span = step_for(ChildStep::Delete, id.kind.label());
        let preconditions = Preconditions { uid: known.uid(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        let api = self.api(owner, id.kind);
        let answer =
            run(call("delete", owner, id), api.delete(&id.name, &params)).instrument(span.clone()).await;
        match answer {
            Ok(Either::Left(going)) if !going.finalizers().is_empty() => {
                self.children.wrote(id.kind, going);
                outcome.applied.deleted.push(id.clone());
                false
            }
            Ok(_) => {
                self.children.removed(id.kind, known);
                outcome.applied.deleted.push(id.clone());
                true
            }
            // Deleted, or made anew, by somebody else: the watch will tell.
            Err(error) if matches!(error.class, ErrorType::NotFound | ErrorType::Conflict) => true,
            Err(error) => {
                fail_step(&span, error.class, &error.cause);
                let failure = outcome.failed(error.into());
                outcome.applied.kept.push((id.clone(), failure));
                false
            }
        }
    }

    fn api(&self, owner: &Owner<'_>, kind: ChildKind) -> Api<DynamicObject> {
        let version = match self.children.availability(kind) {
            Availability::Ready(version) => version,
            _ => kind.version().to_owned(),
        };
        Api::namespaced_with(self.client.clone(), owner.namespace, &kind.api_resource(&version))
    }
}

fn call(verb: &'static str, owner: &Owner<'_>, id: &ChildId) -> Call {
    let resource = id.kind.crd().unwrap_or_else(|| match id.kind.group() {
        "" => id.kind.plural().to_owned(),
        group => format!("{}.{group}", id.kind.plural()),
    });
    Call { verb, resource, namespace: owner.namespace.to_owned(), name: id.name.clone() }
}

/// The same was sent before, and all of it is still there.
fn unchanged(child: &Child, known: &DynamicObject) -> bool {
    let applied = known.annotations().get(annotation::APPLIED);
    applied == Some(&child.hash())
        && serde_json::to_value(known).is_ok_and(|live| drift::satisfied(&child.body, &live))
}

/// The first child that this one depends on and that is not in place.
fn waits_for(child: &Child, applied: &Applied) -> Option<ChildId> {
    let in_place = |id: &ChildId| {
        applied.steps.iter().any(|(done, step)| done == id && matches!(step, Step::Changed | Step::Unchanged))
    };
    child.after.iter().find(|id| !in_place(id)).cloned()
}
