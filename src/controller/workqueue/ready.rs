//! In which order what is due gets its turn: edits before retries, and one namespace after the other, so that
//! nobody's flood holds up the others. Lanes do not wait for each other at all. It knows no clock and no object.

use std::collections::HashMap;

use crate::{
    cluster::ObjectKey,
    controller::workqueue::{
        lane::{LANES, Lane},
        precedence::{BACKLOG, Eligibility, Precedence},
        round_robin::RoundRobin,
    },
};

/// After so many others in a row, background work gets its turn: nothing starves.
const MAX_CONSECUTIVE_FOREGROUND: u32 = 7;

/// The keys that wait, each once.
#[derive(Debug, Default)]
pub(super) struct ReadyQueue {
    lanes: [LaneQueue; LANES],
    /// Where each key counts, and as what. A key that is edited, or moves to another lane, may stay in its former queue
    /// too, and is skipped there.
    waiting: HashMap<ObjectKey, (Lane, Precedence)>,
    waiting_to_apply: [usize; LANES],
}

#[derive(Debug, Default)]
struct LaneQueue {
    foreground: RoundRobin<ObjectKey>,
    background: RoundRobin<ObjectKey>,
    foreground_in_a_row: u32,
}

impl LaneQueue {
    /// Whether it is the turn of background work.
    fn is_background_next(&self) -> bool {
        let is_due = self.foreground_in_a_row >= MAX_CONSECUTIVE_FOREGROUND || self.foreground.is_empty();
        is_due && !self.background.is_empty()
    }

    fn queue(&mut self, is_background: bool) -> &mut RoundRobin<ObjectKey> {
        if is_background { &mut self.background } else { &mut self.foreground }
    }
}

/// Where a child has changed, or what an object depends on, there is mostly a status to write, and no child.
fn applies(precedence: Precedence) -> bool {
    precedence != Precedence::Normal
}

fn is_background(precedence: Precedence) -> bool {
    precedence == Precedence::Background
}

impl ReadyQueue {
    /// At the end of its namespace's queue, unless it waits there already.
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

    /// The next key of a lane that is eligible, and whether it is one of few beside another namespace's backlog.
    pub(super) fn pop(&mut self, lane: Lane, eligibility: Eligibility) -> Option<(ObjectKey, bool)> {
        loop {
            let queue = &mut self.lanes[lane];
            let (from_background, at_most) = match eligibility {
                Eligibility::All => (queue.is_background_next(), usize::MAX),
                Eligibility::Foreground => (false, usize::MAX),
                Eligibility::Preferred => (false, BACKLOG),
            };
            let key = queue.queue(from_background).pop_from(at_most)?;
            let Some((at, precedence)) = self.waiting.get(&key).copied() else { continue };
            if (at, is_background(precedence)) != (lane, from_background) {
                continue;
            }
            self.waiting.remove(&key);
            self.waiting_to_apply[lane] -= usize::from(applies(precedence));
            queue.foreground_in_a_row = if from_background { 0 } else { queue.foreground_in_a_row + 1 };
            let is_one_of_few = self.is_beside_a_backlog(&key.namespace);
            if self.waiting.is_empty() {
                // A wave leaves no empty tables behind.
                *self = Self::default();
            }
            return Some((key, is_one_of_few));
        }
    }

    /// Whether few wait in a namespace, while there is a backlog in another one, in any lanes.
    fn is_beside_a_backlog(&self, namespace: &str) -> bool {
        let own: usize = self.lanes.iter().map(|lane| lane.foreground.waiting_of(namespace)).sum();
        own < BACKLOG && self.lanes.iter().any(|lane| lane.foreground.has_backlog())
    }

    /// How many keys wait, in all lanes.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// How many keys wait in a lane to apply their children.
    pub(super) fn waiting_to_apply(&self, lane: Lane) -> usize {
        self.waiting_to_apply[lane]
    }

    /// Whether none does.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
#[path = "ready_test.rs"]
mod tests;
