//! Applies the desired children: server-side apply in dependency order, then deletion of the children that
//! are no longer desired. Never writes a child that is up to date or that the owner does not control.

mod by_child;
mod child_write;
pub mod co_owned_fields;
mod deletion;
mod engine_switch;
pub mod ownership;
pub mod persistent_drift;
pub mod prune_plan;
mod requests;
pub mod result;

use std::sync::Arc;

use kube::Client;
use tokio::sync::{OnceCell, watch};

use crate::{
    cluster::{
        apply::{
            co_owned_fields::CoOwnedFields,
            persistent_drift::PersistentDrift,
            prune_plan::{PrunePlan, clash, plan_prune},
            result::{ApplyError, ApplyResult, StopReason},
        },
        store::{children::ChildStore, watch_handle::WatchState},
    },
    render::{
        Child, ChildId, Owner,
        applied::{Applied, ChildOutcome, LiveChildren},
    },
    telemetry::ErrorType,
};

/// Writes children.
///
/// ```no_run
/// # use elpio_operator::{cluster::apply::Applier, render::{Desired, Owner, applied::LiveChildren}};
/// # async fn example(applier: Applier, owner: Owner<'_>, desired: Desired, live: LiveChildren) {
/// let result = applier.apply(&owner, &|| true, &desired.children, &live).await;
/// for (child, failure) in result.applied.failures() {
///     eprintln!("{}: {}", child.name, failure.message);
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct Applier {
    /// The client.
    pub client: Client,
    /// The children, as seen by the watches.
    pub children: Arc<ChildStore>,
    leading: watch::Receiver<bool>,
    persistent_drift: Arc<PersistentDrift>,
    co_owned_fields: Arc<CoOwnedFields>,
}

impl std::fmt::Debug for Applier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Applier").field("children", &self.children).finish_non_exhaustive()
    }
}

impl Applier {
    /// An applier that writes while `leading` is true.
    #[must_use]
    pub fn new(client: Client, children: Arc<ChildStore>, leading: watch::Receiver<bool>) -> Self {
        Self { client, children, leading, persistent_drift: Arc::default(), co_owned_fields: Arc::default() }
    }

    /// I/O: applies `desired` in order and deletes the other children in `live`, for as long as `is_owner_known`.
    pub async fn apply(
        &self,
        owner: &Owner<'_>,
        is_owner_known: &IsOwnerKnown<'_>,
        desired: &[Child],
        live: &LiveChildren,
    ) -> ApplyResult {
        let mut attempt = ApplyAttempt {
            applier: self,
            owner,
            is_owner_known,
            live,
            owner_exists: OnceCell::new(),
            result: ApplyResult::default(),
        };
        attempt.result.stopped = attempt.execute(desired, &plan_prune(live, desired)).await.err();
        attempt.result
    }
}

/// Whether the owner's store holds the owner, with its uid and without a deletionTimestamp. No I/O.
pub type IsOwnerKnown<'a> = dyn Fn() -> bool + Send + Sync + 'a;

/// One apply of one owner's children.
struct ApplyAttempt<'a> {
    applier: &'a Applier,
    owner: &'a Owner<'a>,
    is_owner_known: &'a IsOwnerKnown<'a>,
    live: &'a LiveChildren,
    /// Requested once, before the first child is created or adopted.
    owner_exists: OnceCell<Result<bool, ApplyError>>,
    result: ApplyResult,
}

impl ApplyAttempt<'_> {
    async fn execute(&mut self, desired: &[Child], plan: &PrunePlan) -> Result<(), StopReason> {
        if !self.dry_run_switch(desired, plan).await? {
            self.result.applied.retained = [&plan.blocking[..], &plan.replaced[..]].concat();
            return self.delete_all(&plan.independent).await.map(drop);
        }
        let kept = self.delete_all(&plan.blocking).await?;
        for child in desired {
            let outcome = self.apply_in_order(child, &kept).await?;
            self.result.applied.outcomes.push((child.id.clone(), outcome));
        }
        self.delete_all(&plan.independent).await?;
        if self.result.applied.is_complete() {
            self.delete_all(&plan.replaced).await.map(drop)
        } else {
            self.result.applied.retained.clone_from(&plan.replaced);
            Ok(())
        }
    }

    /// Applies a child, unless its API, its name or a dependency is missing. `kept` are the blocking children
    /// that still exist.
    async fn apply_in_order(&mut self, child: &Child, kept: &[ChildId]) -> Result<ChildOutcome, StopReason> {
        if let Some(error) = self.unavailable(child) {
            return Ok(ChildOutcome::Failed(self.result.record_failure(error)));
        }
        let blocks = |id: &&ChildId| clash(id, &child.id) && !self.live.contains_key(&child.id);
        if let Some(id) = kept.iter().find(blocks) {
            return Ok(ChildOutcome::NameInUse { holder: id.to_string() });
        }
        match unmet_dependency(child, &self.result.applied) {
            Some(on) => Ok(ChildOutcome::Blocked { on }),
            None => self.apply_child(child).await,
        }
    }

    /// Why children of this kind cannot be written, if they cannot.
    fn unavailable(&self, child: &Child) -> Option<ApplyError> {
        let kind = child.id.kind;
        let resource = kind.group_resource();
        match self.applier.children.availability(kind, self.owner.namespace) {
            WatchState::Synced(_) => None,
            WatchState::Forbidden(cause) => Some(ApplyError::new(
                ErrorType::Forbidden,
                format!("cannot list and watch {resource}: {cause}"),
            )),
            WatchState::Pending => Some(ApplyError::new(
                ErrorType::Unavailable,
                format!("waiting for the initial list of {resource}"),
            )),
            WatchState::Absent => Some(dependency_missing(&child.id, &resource)),
        }
    }
}

fn dependency_missing(id: &ChildId, resource: &str) -> ApplyError {
    let message = format!(
        "{id} requires {}, but the cluster does not serve {resource}; reconciliation resumes once it is \
         installed",
        id.kind.project()
    );
    ApplyError::new(ErrorType::DependencyMissing, message)
}

/// The first dependency of this child that is not in place.
fn unmet_dependency(child: &Child, applied: &Applied) -> Option<ChildId> {
    let in_place =
        |id: &ChildId| applied.outcomes.iter().any(|(done, outcome)| done == id && outcome.is_in_place());
    child.depends_on.iter().find(|id| !in_place(id)).cloned()
}
