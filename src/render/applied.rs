//! The result of the apply step, as data: status is computed from what was achieved, never from what was
//! merely desired. Pure.

use std::{collections::BTreeMap, sync::Arc};

use kube::core::DynamicObject;

use crate::render::ChildId;

/// The children that an object controls, as last seen.
pub type LiveChildren = BTreeMap<ChildId, Arc<DynamicObject>>;

/// The outcome for one desired child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildOutcome {
    /// A write changed it.
    Changed,
    /// It was already right, or a write left it as it was.
    Unchanged,
    /// It depends on another child that could not be applied.
    Blocked {
        /// That other child.
        on: ChildId,
    },
    /// Its name is still in use by what is being deleted.
    NameInUse {
        /// The object that has the name.
        holder: String,
    },
    /// It could not be written.
    Failed(ChildFailure),
}

impl ChildOutcome {
    /// Whether the child is as the spec says.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        matches!(self, Self::Changed | Self::Unchanged)
    }
}

/// Why a child could not be written or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildFailure {
    /// Reason of the condition `Reconciled`.
    pub reason: &'static str,
    /// `error.type`.
    pub class: &'static str,
    /// What failed, for which object, and what to do.
    pub message: String,
}

/// What the apply step achieved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Every desired child, in order.
    pub outcomes: Vec<(ChildId, ChildOutcome)>,
    /// What is no longer desired and was deleted.
    pub deleted: Vec<ChildId>,
    /// What is no longer desired and could not be deleted.
    pub delete_failures: Vec<(ChildId, ChildFailure)>,
    /// What is no longer desired and stays until every desired child is in place.
    pub retained: Vec<ChildId>,
    /// What the message of `Reconciled` adds, whether or not it is true: fields that others change or hold.
    pub notes: Vec<String>,
}

impl Applied {
    /// Whether the children are as the spec says.
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

    /// What still has a desired name.
    pub fn names_in_use(&self) -> impl Iterator<Item = &str> {
        self.outcomes.iter().filter_map(|(_, outcome)| match outcome {
            ChildOutcome::NameInUse { holder } => Some(holder.as_str()),
            _ => None,
        })
    }

    /// What a message adds to a cause: what is retained meanwhile, and the notes.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let retained: Vec<String> = self.retained.iter().map(ChildId::to_string).collect();
        let kept = format!("retained until all new objects are applied: {}", retained.join(", "));
        (!retained.is_empty()).then_some(kept).into_iter().chain(self.notes.iter().cloned()).collect()
    }
}
