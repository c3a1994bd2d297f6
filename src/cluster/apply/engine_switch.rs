//! A switch of the engine or the metric: the serving children are deleted only after a server-side dry run
//! has accepted the whole new set. Creates and changes nothing.

use std::collections::BTreeMap;

use kube::ResourceExt;
use tracing::Instrument;

use crate::{
    api::annotation,
    cluster::apply::{
        ApplyAttempt,
        ownership::{self, NameOwner},
        prune_plan::PrunePlan,
        requests::ApplyOptions,
        result::{StopReason, WriteError, name_conflict},
    },
    render::{
        Child, ChildId, WriteMode,
        applied::{ChildFailure, ChildOutcome},
    },
    telemetry::{ChildStep, ErrorType, fail_step, step_for},
};

impl ApplyAttempt<'_> {
    /// Whether the blocking children may be deleted. If not, the live children stay as last applied, and the
    /// outcomes name the refused ones.
    pub(super) async fn dry_run_switch(
        &mut self,
        desired: &[Child],
        plan: &PrunePlan,
    ) -> Result<bool, StopReason> {
        let deleted =
            |id: &ChildId| self.live.get(id).is_none_or(|known| known.metadata.deletion_timestamp.is_some());
        // The dry run succeeded before, and the deletion has begun.
        if plan.blocking.iter().all(deleted) {
            return Ok(true);
        }
        let refused = self.refusals(desired).await?;
        let Some(first) = desired.iter().map(|child| &child.id).find(|id| refused.contains_key(id)) else {
            return Ok(true);
        };
        for child in desired {
            let outcome = match refused.get(&child.id) {
                Some(failure) => ChildOutcome::Failed(failure.clone()),
                None if self.is_spec_unchanged(child) => self.apply_child(child).await?,
                None => ChildOutcome::Blocked { on: first.clone() },
            };
            self.result.applied.outcomes.push((child.id.clone(), outcome));
        }
        Ok(false)
    }

    /// The desired children that need a write and that the API server refuses.
    async fn refusals(&mut self, desired: &[Child]) -> Result<BTreeMap<ChildId, ChildFailure>, StopReason> {
        let mut refused = BTreeMap::new();
        for child in desired.iter().filter(|child| child.mode == WriteMode::Apply) {
            let error = match self.unavailable(child) {
                Some(error) => Some(error),
                None if self.is_up_to_date(child) => None,
                None => {
                    let span = step_for(ChildStep::Apply, child.id.kind);
                    match self.dry_run(child).instrument(span.clone()).await {
                        Ok(()) => None,
                        Err(WriteError::Stopped(reason)) => return Err(reason),
                        Err(WriteError::Failed(error)) => {
                            fail_step(&span, error.class, &error.message);
                            Some(error)
                        }
                    }
                }
            };
            if let Some(error) = error {
                refused.insert(child.id.clone(), self.result.record_failure(error));
            }
        }
        Ok(refused)
    }

    async fn dry_run(&self, child: &Child) -> Result<(), WriteError> {
        let options = ApplyOptions { dry_run: true, ..ApplyOptions::default() };
        if let Some(known) = self.live.get(&child.id) {
            let uid = known.metadata.uid.as_deref();
            self.applier
                .server_side_apply(self.owner, child, ApplyOptions { force: true, uid, ..options })
                .await?;
            return Ok(());
        }
        self.check_owner().await?;
        let (client, resource) = (&self.applier.client, self.applier.resource(self.owner, child.id.kind));
        match ownership::find_owner(client, self.owner, (&child.id, &child.mode), &resource).await?.0 {
            NameOwner::Controller(other) => {
                Err(name_conflict(&child.id, &ownership::display_owner(&other)).into())
            }
            NameOwner::Unowned(managers) => Err(name_conflict(&child.id, &managers).into()),
            NameOwner::Owned | NameOwner::Orphan => {
                let options = ApplyOptions { force: true, ..options };
                self.applier.server_side_apply(self.owner, child, options).await.map(drop)
            }
            NameOwner::Absent => self.applier.server_side_apply(self.owner, child, options).await.map(drop),
            // A child that the switch removes uses the name. The API server admits and validates a POST
            // before it finds the name taken, so AlreadyExists is as good as an acceptance.
            NameOwner::Terminating(_) => match self.applier.create(self.owner, child, true).await {
                Err(WriteError::Failed(error)) if error.class == ErrorType::Conflict => Ok(()),
                result => result.map(drop),
            },
        }
    }

    /// Whether the child is live and the spec does not change it; it may have drifted.
    fn is_spec_unchanged(&self, child: &Child) -> bool {
        match child.mode {
            WriteMode::Apply => self.live.get(&child.id).is_some_and(|known| {
                known.annotations().get(annotation::APPLIED).is_some_and(|hash| hash == child.hash())
            }),
            _ => true,
        }
    }
}
