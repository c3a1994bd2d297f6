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
    /// Where each key counts, and whether as background work. A key that is edited, or moves to another lane, stays in
    /// its former queue too, and is skipped there.
    waiting: HashMap<ObjectKey, (Lane, bool)>,
    waiting_in: [usize; LANES],
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

impl ReadyQueue {
    /// At the end of its namespace's queue, unless it waits there already.
    pub(super) fn push(&mut self, key: ObjectKey, lane: Lane, precedence: Precedence) {
        let is_background = precedence == Precedence::Background;
        let known = self.waiting.get(&key);
        if known.is_some_and(|(at, known)| *at == lane && *known <= is_background) {
            return;
        }
        if let Some((left, _)) = self.waiting.insert(key.clone(), (lane, is_background)) {
            self.waiting_in[left] -= 1;
        }
        self.waiting_in[lane] += 1;
        self.lanes[lane].queue(is_background).push(key.namespace.clone(), key);
    }

    /// The next key of a lane that is eligible, and whether it is one of few beside another namespace's backlog.
    pub(super) fn pop(&mut self, lane: Lane, eligibility: Eligibility) -> Option<(ObjectKey, bool)> {
        loop {
            let queue = &mut self.lanes[lane];
            let (is_background, at_most) = match eligibility {
                Eligibility::All => (queue.is_background_next(), usize::MAX),
                Eligibility::Normal => (false, usize::MAX),
                Eligibility::Preferred => (false, BACKLOG),
            };
            let key = queue.queue(is_background).pop_from(at_most)?;
            if self.waiting.get(&key) != Some(&(lane, is_background)) {
                continue;
            }
            self.waiting.remove(&key);
            self.waiting_in[lane] -= 1;
            queue.foreground_in_a_row = if is_background { 0 } else { queue.foreground_in_a_row + 1 };
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

    /// How many keys wait in a lane.
    pub(super) fn len_of(&self, lane: Lane) -> usize {
        self.waiting_in[lane]
    }

    /// Whether none does.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
#[path = "ready_test.rs"]
mod tests;
