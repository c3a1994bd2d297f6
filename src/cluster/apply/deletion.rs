//! The deletion of children that are no longer desired, by uid and in the background.

use kube::core::DynamicObject;
use tracing::Instrument;

use crate::{
    cluster::apply::{
        ApplyAttempt,
        result::{StopReason, WriteError},
    },
    render::ChildId,
    telemetry::{ChildStep, ErrorType, fail_step, step_for},
};

impl ApplyAttempt<'_> {
    /// Deletes these. Returns those that still exist: a finalizer may keep them for a while.
    pub(super) async fn delete_all(&mut self, obsolete: &[ChildId]) -> Result<Vec<ChildId>, StopReason> {
        let mut kept = Vec::new();
        for id in obsolete {
            if !self.delete(id).await? {
                kept.push(id.clone());
            }
        }
        Ok(kept)
    }

    /// Deletes one child. Returns whether its name is free.
    async fn delete(&mut self, id: &ChildId) -> Result<bool, StopReason> {
        let Some(live) = self.live.get(id) else { return Ok(true) };
        if live.metadata.deletion_timestamp.is_some() {
            return Ok(false);
        }
        self.ensure_owner_known()?;
        let span = step_for(ChildStep::Delete, id.kind);
        let response = self.applier.delete(self.owner, id, live).instrument(span.clone()).await;
        match response {
            Ok(kept) => Ok(self.deleted(id, live, kept)),
            Err(WriteError::Stopped(reason)) => Err(reason),
            // Somebody else deleted or recreated it: the watch delivers the change.
            Err(WriteError::Failed(error))
                if matches!(error.class, ErrorType::NotFound | ErrorType::Conflict) =>
            {
                Ok(true)
            }
            Err(WriteError::Failed(error)) => {
                fail_step(&span, error.class, &error.message);
                let failure = self.result.record_failure(error);
                self.result.applied.delete_failures.push((id.clone(), failure));
                Ok(false)
            }
        }
    }

    fn deleted(&mut self, id: &ChildId, live: &DynamicObject, kept: Option<DynamicObject>) -> bool {
        self.result.applied.deleted.push(id.clone());
        let free = kept.is_none();
        match kept {
            Some(kept) => self.applier.children.assume(id.kind, kept),
            None => self.applier.children.assume_deleted(id.kind, live),
        }
        free
    }
}
