//! How the slots of a lane are split between children and statuses, by load. Pure; `shared_slots.rs` grants them.

use crate::controller::workqueue::precedence::Precedence;

/// In a burst, at least this many reconciles per slot wait to apply.
pub(super) const MANY_PER_SLOT: usize = 16;

/// In a burst of creates, statuses catch up once at least this many reconciles per slot are in flight, and no fewer
/// than wait to apply: then at least half of the children exist.
pub(super) const FAR_AHEAD_PER_SLOT: usize = 48;

/// Statuses catch up at this many, however many wait to apply.
const MAX_AHEAD_PER_SLOT: usize = 64;

/// They have caught up when no more than this many are in flight.
pub(super) const CAUGHT_UP_PER_SLOT: usize = 8;

/// The use of the slots at an `ELPIO_CONCURRENCY` of 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Split {
    /// How many reconciles write at once.
    pub(super) open: usize,
    /// How many of these write a status while children wait too.
    pub(super) for_statuses: usize,
}

/// Measured with an API server on two cores, as are the next two: docs/benchmark.md.
pub(super) const IN_STEP: Split = Split { open: 12, for_statuses: 9 };
pub(super) const CHILDREN_FIRST: Split = Split { open: 20, for_statuses: 2 };
pub(super) const STATUSES_FIRST: Split = Split { open: 20, for_statuses: 16 };

/// The load of a lane when a reconcile begins.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// The precedence of the reconcile.
    pub precedence: Precedence,
    /// No status of the object has been written yet.
    pub is_create: bool,
    /// How many reconciles wait to apply.
    pub waiting: usize,
    /// How many are in flight.
    pub in_flight: usize,
}

impl Load {
    /// The split to use from now on. In a burst of edits, children do not go first: until the new status is written,
    /// the API server holds an outdated one.
    pub(super) fn split(self, current: Split, count: usize) -> Split {
        let is_far_ahead = self.in_flight >= count * FAR_AHEAD_PER_SLOT;
        let is_half_applied = is_far_ahead && self.in_flight >= self.waiting.min(count * MAX_AHEAD_PER_SLOT);
        let is_wave = self.is_create && self.waiting >= count * MANY_PER_SLOT;
        let catches_up = current == STATUSES_FIRST && self.in_flight > count * CAUGHT_UP_PER_SLOT;
        match self.precedence {
            // An edit ends it.
            _ if catches_up && (self.is_create || self.precedence == Precedence::Normal) => current,
            Precedence::Normal if is_far_ahead => IN_STEP,
            Precedence::Normal => current,
            _ if is_wave && is_half_applied => STATUSES_FIRST,
            _ if is_wave => CHILDREN_FIRST,
            _ => IN_STEP,
        }
    }
}

impl Split {
    /// The split, scaled to `count` slots.
    pub(super) fn of(self, count: usize) -> Self {
        let scale = |of_16: usize| (count * of_16).div_ceil(16);
        let open = scale(self.open);
        // With several slots, children always keep one.
        Self { open, for_statuses: scale(self.for_statuses).min(open.saturating_sub(1)).max(1) }
    }
}

#[cfg(test)]
#[path = "split_test.rs"]
pub(super) mod tests;
