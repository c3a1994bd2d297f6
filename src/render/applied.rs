//! The result of the apply step, as data: status is computed from what was achieved, not from what was
//! desired. Pure.

use std::{collections::BTreeMap, sync::Arc};

use kube::core::DynamicObject;

use crate::render::ChildId;

/// The children that an object controls, as last observed.
pub type LiveChildren = BTreeMap<ChildId, Arc<DynamicObject>>;

/// The outcome for one desired child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildOutcome {
    /// A write changed it.
    Changed,
    /// It was up to date, or the write did not change it.
    Unchanged,
    /// It depends on another child that could not be applied.
    Blocked {
        /// That other child.
        on: ChildId,
    },
    /// Its name is still used by an object that is being deleted.
    NameInUse {
        /// The object with the name.
        holder: String,
    },
    /// It could not be written.
    Failed(ChildFailure),
}

impl ChildOutcome {
    /// Whether the child matches the spec.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        matches!(self, Self::Changed | Self::Unchanged)
    }
}

/// Why a child could not be written or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildFailure {
    /// The reason of the condition `Reconciled`.
    pub reason: &'static str,
    /// `error.type`.
    pub class: &'static str,
    /// What failed, for which object, and what to do.
    pub message: String,
}

/// The result of the apply step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Every desired child, in order.
    pub outcomes: Vec<(ChildId, ChildOutcome)>,
    /// Children that were no longer desired and are deleted.
    pub deleted: Vec<ChildId>,
    /// Children that are no longer desired but could not be deleted.
    pub delete_failures: Vec<(ChildId, ChildFailure)>,
    /// Children that are no longer desired but stay until every desired child is in place.
    pub retained: Vec<ChildId>,
    /// Additions to the message of `Reconciled`, whatever its status: fields that others change or also own.
    pub notes: Vec<String>,
}

impl Applied {
    /// Whether all children match the spec.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.delete_failures.is_empty() && self.outcomes.iter().all(|(_, outcome)| outcome.is_in_place())
    }

    /// Every failure with its child, in order.
    pub fn failures(&self) -> impl Iterator<Item = (&ChildId, &ChildFailure)> {
        let failed = self.outcomes.iter().filter_map(|(id, outcome)| match outcome {
            ChildOutcome::Failed(failure) => Some((id, failure)),
            _ => None,
        });
        failed.chain(self.delete_failures.iter().map(|(id, failure)| (id, failure)))
    }

    /// The objects that still have a desired name.
    pub fn names_in_use(&self) -> impl Iterator<Item = &str> {
        self.outcomes.iter().filter_map(|(_, outcome)| match outcome {
            ChildOutcome::NameInUse { holder } => Some(holder.as_str()),
            _ => None,
        })
    }

    /// Additions to a message about a failure: the retained children, and the notes.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let retained: Vec<String> = self.retained.iter().map(ChildId::to_string).collect();
        let kept = format!("retained until all new objects are applied: {}", retained.join(", "));
        (!retained.is_empty()).then_some(kept).into_iter().chain(self.notes.iter().cloned()).collect()
    }
}
