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
        ObjectKey,
        apply::{
            ownership::NameOwner,
            recreate_backoff::RecreateBackoff,
            result::{ApplyError, ApplyResult, WriteResult, name_conflict, name_terminating},
        },
        client::call::{ApiCall, ApiError, call_with_timeout},
        store::{
            self,
            children::{Availability, ChildStore, controller_of},
        },
    },
    foreign::ChildKind,
    render::{
        Child, ChildId, Owner, WriteMode,
        applied::{Applied, ChildOutcome, LiveChildren},
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
    pub children: Arc<ChildStore>,
    /// How often a run may be made again.
    pub pace: Arc<RecreateBackoff>,
}

impl std::fmt::Debug for Applier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Applier").field("children", &self.children).finish_non_exhaustive()
    }
}

impl Applier {
    /// I/O: applies `desired` in order and deletes what `live` has beyond it.
    pub async fn apply(&self, owner: &Owner<'_>, desired: &[Child], live: &LiveChildren) -> ApplyResult {
        let mut outcome = ApplyResult::default();
        let obsolete: Vec<&ChildId> =
            live.keys().filter(|id| !desired.iter().any(|child| child.id == **id)).collect();
        // An engine that is not there must not cost the one that serves.
        let safe = desired.iter().all(|child| {
            matches!(self.children.availability(child.id.kind, owner.namespace), Availability::Ready(_))
        });
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
            let step = match (holder, unmet_dependency(child, &outcome.applied)) {
                _ if !matches!(
                    self.children.availability(child.id.kind, owner.namespace),
                    Availability::Ready(_)
                ) =>
                {
                    self.unavailable(owner, child, &mut outcome)
                }
                (Some(id), _) => {
                    ChildOutcome::NameInUse { holder: format!("{} {}", id.kind.display(), id.name) }
                }
                (None, Some(on)) => ChildOutcome::Blocked { on },
                (None, None) => self.apply_child(owner, child, live, &mut outcome).await,
            };
            outcome.applied.outcomes.push((child.id.clone(), step));
        }
        for id in last {
            self.delete(owner, id, live, &mut outcome).await;
        }
        outcome
    }

    fn unavailable(&self, owner: &Owner<'_>, child: &Child, outcome: &mut ApplyResult) -> ChildOutcome {
        let kind = child.id.kind;
        let what = kind.crd().unwrap_or_else(|| kind.plural().to_owned());
        let error = match self.children.availability(kind, owner.namespace) {
            Availability::Forbidden(why) => ApplyError {
                reason: reason::FORBIDDEN,
                class: ErrorType::Forbidden,
                message: format!("cannot list and watch {what}: {why}"),
                retry_after: None,
            },
            Availability::Pending => ApplyError {
                reason: reason::APPLY_FAILED,
                class: ErrorType::Unavailable,
                message: format!("the API server has not yet listed {what}"),
                retry_after: None,
            },
            Availability::Absent | Availability::Ready(_) => ApplyError {
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
        ChildOutcome::Failed(outcome.record_failure(error))
    }

    async fn apply_child(
        &self,
        owner: &Owner<'_>,
        child: &Child,
        live: &LiveChildren,
        outcome: &mut ApplyResult,
    ) -> ChildOutcome {
        let span = step_for(ChildStep::Apply, child.id.kind.label());
        match self.apply_if_changed(owner, child, live.get(&child.id)).instrument(span.clone()).await {
            Ok(WriteResult::Not(step)) => step,
            Ok(WriteResult::Written(version)) => {
                outcome.wrote.push(version);
                ChildOutcome::Changed
            }
            Err(error) => {
                fail_step(&span, error.class, &error.message);
                ChildOutcome::Failed(outcome.record_failure(error))
            }
        }
    }

    async fn apply_if_changed(
        &self,
        owner: &Owner<'_>,
        child: &Child,
        known: Option<&Arc<DynamicObject>>,
    ) -> Result<WriteResult, ApplyError> {
        match &child.mode {
            WriteMode::Retain => return Ok(WriteResult::Not(ChildOutcome::Unchanged)),
            WriteMode::Patch(patch) => return Ok(self.merge_patch(owner, &child.id, patch).await?),
            WriteMode::CreateOnly => return self.create(owner, child).await,
            WriteMode::Apply => {}
        }
        if let Some(known) = known {
            if known.metadata.deletion_timestamp.is_some() {
                return Ok(name_terminating(format!(
                    "{} {}, which is being deleted,",
                    child.id.kind.display(),
                    child.id.name
                )));
            }
            return Ok(if is_up_to_date(child, known) {
                WriteResult::Not(ChildOutcome::Unchanged)
            } else {
                self.server_side_apply(owner, child, true).await?
            });
        }
        // Two objects of ours share a field manager, so the API server would let one take over from the
        // other: the cache must not.
        let key = ObjectKey { namespace: owner.namespace.to_owned(), name: child.id.name.clone() };
        if let Some(other) = self.children.get(child.id.kind, &key)
            && let Some(controller) = controller_of(&*other).filter(|c| c.uid != owner.uid)
        {
            // Also what an engine made of ours, with our labels.
            return match ownership::terminating(&self.client, owner, child, &*other, &controller).await {
                Some(holder) => Ok(name_terminating(holder)),
                None => Err(name_conflict(child, &ownership::display_owner(&controller))),
            };
        }
        match self.server_side_apply(owner, child, false).await {
            Err(error) if error.class == ErrorType::Conflict || error.class == ErrorType::Rejected => {
                self.resolve_conflict(owner, child, error).await
            }
            other => Ok(other?),
        }
    }

    /// The name is taken, or a webhook says no: only a look at the object tells which.
    async fn resolve_conflict(
        &self,
        owner: &Owner<'_>,
        child: &Child,
        error: ApiError,
    ) -> Result<WriteResult, ApplyError> {
        match ownership::find_owner(&self.client, owner, child, &error).await {
            NameOwner::Owned => Ok(self.server_side_apply(owner, child, true).await?),
            NameOwner::Nobody => Err(error.into()),
            NameOwner::Terminating(holder) => Ok(name_terminating(holder)),
            NameOwner::Other(other) => Err(name_conflict(child, &other)),
        }
    }

    /// Creates what is never written again. One that is there already is ours, or somebody else's.
    async fn create(&self, owner: &Owner<'_>, child: &Child) -> Result<WriteResult, ApplyError> {
        if let Some(pause) = self.pace.delay(owner.uid, &child.id.name) {
            return Err(ApplyError {
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
        let object = serde_json::from_value(child.manifest()).map_err(|error| ApplyError {
            reason: reason::APPLY_FAILED,
            class: ErrorType::Internal,
            message: error.to_string(),
            retry_after: None,
        })?;
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let created = call_with_timeout(
            call("create", owner, &child.id),
            self.api(owner, child.id.kind).create(&params, &object),
        )
        .await;
        match created {
            Ok(created) => {
                self.pace.record_create(owner.uid, &child.id.name);
                Ok(self.wrote(child.id.kind, created))
            }
            Err(error) if error.class == ErrorType::Conflict => {
                match ownership::find_owner(&self.client, owner, child, &error).await {
                    // The watch has not told of it yet.
                    NameOwner::Owned => Ok(WriteResult::Not(ChildOutcome::Unchanged)),
                    NameOwner::Nobody => Err(name_conflict(child, "somebody who gave it no controller")),
                    NameOwner::Terminating(holder) => Ok(name_terminating(holder)),
                    NameOwner::Other(other) => Err(name_conflict(child, &other)),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn merge_patch(
        &self,
        owner: &Owner<'_>,
        id: &ChildId,
        patch: &serde_json::Value,
    ) -> Result<WriteResult, ApiError> {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let changed = call_with_timeout(
            call("patch", owner, id),
            self.api(owner, id.kind).patch(&id.name, &params, &Patch::Merge(patch)),
        )
        .await?;
        Ok(self.wrote(id.kind, changed))
    }

    fn wrote(&self, kind: ChildKind, written: DynamicObject) -> WriteResult {
        let version = store::resource_version(&written);
        self.children.assume(kind, written);
        WriteResult::Written(version)
    }

    async fn server_side_apply(
        &self,
        owner: &Owner<'_>,
        child: &Child,
        force: bool,
    ) -> Result<WriteResult, ApiError> {
        let api = self.api(owner, child.id.kind);
        let params = PatchParams { force, ..PatchParams::apply(FIELD_MANAGER) };
        let call = self::call("patch", owner, &child.id);
        let written =
            call_with_timeout(call, api.patch(&child.id.name, &params, &Patch::Apply(child.manifest())))
                .await?;
        Ok(self.wrote(child.id.kind, written))
    }

    /// Deletes one child. Returns whether it is gone already.
    async fn delete(
        &self,
        owner: &Owner<'_>,
        id: &ChildId,
        live: &LiveChildren,
        outcome: &mut ApplyResult,
    ) -> bool {
        let Some(known) = live.get(id) else { return true };
        if known.metadata.deletion_timestamp.is_some() {
            return false;
        }
        let span = step_for(ChildStep::Delete, id.kind.label());
        let preconditions = Preconditions { uid: known.uid(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        let api = self.api(owner, id.kind);
        let answer = call_with_timeout(call("delete", owner, id), api.delete(&id.name, &params))
            .instrument(span.clone())
            .await;
        match answer {
            Ok(Either::Left(going)) if !going.finalizers().is_empty() => {
                self.children.assume(id.kind, going);
                outcome.applied.deleted.push(id.clone());
                false
            }
            Ok(_) => {
                self.children.assume_deleted(id.kind, known);
                outcome.applied.deleted.push(id.clone());
                true
            }
            // Deleted, or made anew, by somebody else: the watch will tell.
            Err(error) if matches!(error.class, ErrorType::NotFound | ErrorType::Conflict) => true,
            Err(error) => {
                fail_step(&span, error.class, &error.cause);
                let failure = outcome.record_failure(error.into());
                outcome.applied.delete_failures.push((id.clone(), failure));
                false
            }
        }
    }

    fn api(&self, owner: &Owner<'_>, kind: ChildKind) -> Api<DynamicObject> {
        let version = match self.children.availability(kind, owner.namespace) {
            Availability::Ready(version) => version,
            _ => kind.version().to_owned(),
        };
        Api::namespaced_with(self.client.clone(), owner.namespace, &kind.api_resource(&version))
    }
}

fn call(verb: &'static str, owner: &Owner<'_>, id: &ChildId) -> ApiCall {
    let resource = id.kind.crd().unwrap_or_else(|| match id.kind.group() {
        "" => id.kind.plural().to_owned(),
        group => format!("{}.{group}", id.kind.plural()),
    });
    ApiCall { verb, resource, namespace: owner.namespace.to_owned(), name: id.name.clone() }
}

/// The same was sent before, and all of it is still there.
fn is_up_to_date(child: &Child, known: &DynamicObject) -> bool {
    let applied = known.annotations().get(annotation::APPLIED);
    applied == Some(&child.hash())
        && serde_json::to_value(known).is_ok_and(|live| drift::is_satisfied_by(&child.body, &live))
}

/// The first child that this one depends on and that is not in place.
fn unmet_dependency(child: &Child, applied: &Applied) -> Option<ChildId> {
    let in_place = |id: &ChildId| {
        applied
            .outcomes
            .iter()
            .any(|(done, step)| done == id && matches!(step, ChildOutcome::Changed | ChildOutcome::Unchanged))
    };
    child.depends_on.iter().find(|id| !in_place(id)).cloned()
}
