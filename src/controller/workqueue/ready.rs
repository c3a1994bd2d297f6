//! The order of due items: edits before retries, and namespaces in turn, so that one namespace's burst does
//! not delay the others. Lanes never wait for each other. It knows neither clock nor objects.

use std::collections::HashMap;

use crate::{
    cluster::{ObjectKey, round_robin::RoundRobin},
    controller::workqueue::{
        lane::{LANES, Lane},
        precedence::{BACKLOG, Eligibility, Precedence},
    },
};

/// After this many foreground items in a row, a background item is next, so that none starves.
const MAX_CONSECUTIVE_FOREGROUND: u32 = 7;

/// The waiting keys, each once.
#[derive(Debug, Default)]
pub(super) struct ReadyQueue {
    lanes: [LaneQueue; LANES],
    /// The lane and precedence of each key. A key that is edited or moves to another lane may also remain in
    /// its former queue, which then skips it.
    waiting: HashMap<ObjectKey, (Lane, Precedence)>,
    waiting_to_apply: [usize; LANES],
}

#[derive(Debug, Default)]
struct LaneQueue {
    foreground: RoundRobin<ObjectKey, BACKLOG>,
    background: RoundRobin<ObjectKey, BACKLOG>,
    foreground_in_a_row: u32,
}

impl LaneQueue {
    fn is_background_next(&self) -> bool {
        let is_due = self.foreground_in_a_row >= MAX_CONSECUTIVE_FOREGROUND || self.foreground.is_empty();
        is_due && !self.background.is_empty()
    }

    fn queue(&mut self, is_background: bool) -> &mut RoundRobin<ObjectKey, BACKLOG> {
        if is_background { &mut self.background } else { &mut self.foreground }
    }
}

/// Whether the reconcile probably applies children: after a change of a child or a dependency, usually only
/// the status changes.
fn applies(precedence: Precedence) -> bool {
    precedence != Precedence::Normal
}

fn is_background(precedence: Precedence) -> bool {
    precedence == Precedence::Background
}

impl ReadyQueue {
    /// Appends a key to its namespace's queue, unless it already waits there.
    pub(super) fn push(&mut self, key: ObjectKey, lane: Lane, precedence: Precedence) {
        let known = self.waiting.get(&key).copied();
        if known.is_some_and(|(at, known)| at == lane && known <= precedence) {
            return;
        }
        self.waiting.insert(key.clone(), (lane, precedence));
        self.waiting_to_apply[lane] += usize::from(applies(precedence));
        if let Some((left, known)) = known {
            self.waiting_to_apply[left] -= usize::from(applies(known));
        }
        if known.is_none_or(|(left, known)| (left, is_background(known)) != (lane, is_background(precedence)))
        {
            self.lanes[lane].queue(is_background(precedence)).push(key.namespace.clone(), key);
        }
    }

    /// The next eligible key of a lane, and whether its namespace has few items while another one has a backlog.
    pub(super) fn pop(&mut self, lane: Lane, eligibility: Eligibility) -> Option<(ObjectKey, bool)> {
        loop {
            let queue = &mut self.lanes[lane];
            let (from_background, at_most) = match eligibility {
                Eligibility::All => (queue.is_background_next(), usize::MAX),
                Eligibility::Foreground => (false, usize::MAX),
                Eligibility::Preferred => (false, BACKLOG),
            };
            let key = queue.queue(from_background).pop_where(|_, waiting| waiting <= at_most)?;
            let Some((at, precedence)) = self.waiting.get(&key).copied() else { continue };
            if (at, is_background(precedence)) != (lane, from_background) {
                continue;
            }
            self.waiting.remove(&key);
            self.waiting_to_apply[lane] -= usize::from(applies(precedence));
            queue.foreground_in_a_row = if from_background { 0 } else { queue.foreground_in_a_row + 1 };
            let is_one_of_few = self.is_beside_a_backlog(&key.namespace);
            if self.waiting.is_empty() {
                // Gives back the memory that a burst needed.
                *self = Self::default();
            }
            return Some((key, is_one_of_few));
        }
    }

    /// Whether a namespace has few items while another one has a backlog, over all lanes.
    fn is_beside_a_backlog(&self, namespace: &str) -> bool {
        let own: usize = self.lanes.iter().map(|lane| lane.foreground.waiting_of(namespace)).sum();
        own < BACKLOG && self.lanes.iter().any(|lane| lane.foreground.has_backlog())
    }

    /// The number of waiting keys in all lanes.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The number of keys in a lane that wait to apply their children.
    pub(super) fn waiting_to_apply(&self, lane: Lane) -> usize {
        self.waiting_to_apply[lane]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
#[path = "ready_test.rs"]
mod tests;
