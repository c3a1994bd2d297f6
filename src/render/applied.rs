//! What the apply step achieved, as data: status is built from this alone and can not be built from what was
//! merely desired.

use std::{collections::BTreeMap, sync::Arc};

use kube::core::DynamicObject;

use crate::render::ChildId;

/// The children that an object controls, as last seen.
pub type LiveChildren = BTreeMap<ChildId, Arc<DynamicObject>>;

/// What became of one desired child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildOutcome {
    /// It was written.
    Changed,
    /// It was already right.
    Unchanged,
    /// It depends on another child that could not be applied.
    Blocked {
        /// That other child.
        on: ChildId,
    },
    /// Its name is still held by what is being deleted.
    NameInUse {
        /// By what.
        holder: String,
    },
    /// It could not be written.
    Failed(ChildFailure),
}

/// Why a child could not be written or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildFailure {
    /// Reason of the condition `Reconciled`.
    pub reason: &'static str,
    /// `error.type`.
    pub class: &'static str,
    /// What, which object, what to do.
    pub message: String,
}

/// What the apply step achieved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Every desired child, in order.
    pub outcomes: Vec<(ChildId, ChildOutcome)>,
    /// What is no longer asked for and was deleted.
    pub deleted: Vec<ChildId>,
    /// What is no longer asked for and could not be deleted.
    pub delete_failures: Vec<(ChildId, ChildFailure)>,
}

impl Applied {
    /// Whether the children are as the spec says.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.delete_failures.is_empty()
            && self
                .outcomes
                .iter()
                .all(|(_, step)| matches!(step, ChildOutcome::Changed | ChildOutcome::Unchanged))
    }

    /// Every failure with its child, in order.
    pub fn failures(&self) -> impl Iterator<Item = (&ChildId, &ChildFailure)> {
        let steps = self.outcomes.iter().filter_map(|(id, step)| match step {
            ChildOutcome::Failed(failure) => Some((id, failure)),
            _ => None,
        });
        steps.chain(self.delete_failures.iter().map(|(id, failure)| (id, failure)))
    }

    /// What still holds a name that is wanted.
    pub fn names_in_use(&self) -> impl Iterator<Item = &str> {
        self.outcomes.iter().filter_map(|(_, step)| match step {
            ChildOutcome::NameInUse { holder } => Some(holder.as_str()),
            _ => None,
        })
    }
}
