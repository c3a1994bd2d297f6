//! In which order what is due gets its turn: edits before retries, and one namespace after the other, so that
//! nobody's flood holds up the others. Lanes do not wait for each other at all. It knows no clock and no object.

use std::collections::HashMap;

use crate::{
    cluster::ObjectKey,
    controller::workqueue::{
        lane::{LANES, Lane},
        precedence::{Admission, CROWD},
        round_robin::RoundRobin,
    },
    telemetry::Trigger,
};

/// After so many urgent ones in a row, one that can wait gets its turn: nothing starves.
const MAX_CONSECUTIVE_URGENT: u32 = 7;

/// How soon a reason wants its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Urgency {
    /// Somebody did something: an edit, a child's change, the arrival of an API.
    Urgent,
    /// Nothing happened: a failed attempt is made again, or all objects after a start.
    Background,
}

impl From<Trigger> for Urgency {
    fn from(trigger: Trigger) -> Self {
        match trigger {
            Trigger::Spec | Trigger::Child | Trigger::Dependency => Self::Urgent,
            Trigger::Retry | Trigger::Resync => Self::Background,
        }
    }
}

/// The keys that wait, each once.
#[derive(Debug, Default)]
pub(super) struct ReadyQueue {
    lanes: [LaneQueue; LANES],
    /// Where each key counts: one that became urgent, or moved to another lane, is still where it was, and is
    /// skipped there.
    waiting: HashMap<ObjectKey, (Lane, Urgency)>,
    waiting_in: [usize; LANES],
}

#[derive(Debug, Default)]
struct LaneQueue {
    urgent: RoundRobin<ObjectKey>,
    background: RoundRobin<ObjectKey>,
    urgent_in_a_row: u32,
}

impl LaneQueue {
    /// The queue whose turn it is.
    fn next(&self) -> Urgency {
        let background_is_due = self.urgent_in_a_row >= MAX_CONSECUTIVE_URGENT || self.urgent.is_empty();
        if background_is_due && !self.background.is_empty() { Urgency::Background } else { Urgency::Urgent }
    }

    fn queue(&mut self, urgency: Urgency) -> &mut RoundRobin<ObjectKey> {
        match urgency {
            Urgency::Urgent => &mut self.urgent,
            Urgency::Background => &mut self.background,
        }
    }
}

impl ReadyQueue {
    /// At the end of its namespace's queue, unless it waits there with that urgency already.
    pub(super) fn push(&mut self, key: ObjectKey, lane: Lane, urgency: Urgency) {
        let known = self.waiting.get(&key);
        if known.is_some_and(|(at, known)| *at == lane && *known <= urgency) {
            return;
        }
        if let Some((left, _)) = self.waiting.insert(key.clone(), (lane, urgency)) {
            self.waiting_in[left] -= 1;
        }
        self.waiting_in[lane] += 1;
        self.lanes[lane].queue(urgency).push(key.namespace.clone(), key);
    }

    /// The next key of a lane that is admitted, and whether it is one of few beside another namespace's crowd.
    pub(super) fn pop(&mut self, lane: Lane, admission: Admission) -> Option<(ObjectKey, bool)> {
        loop {
            let queue = &mut self.lanes[lane];
            let (urgency, at_most) = match admission {
                Admission::All => (queue.next(), usize::MAX),
                Admission::Normal => (Urgency::Urgent, usize::MAX),
                Admission::Preferred => (Urgency::Urgent, CROWD),
            };
            let key = queue.queue(urgency).pop_from(at_most)?;
            if self.waiting.get(&key) != Some(&(lane, urgency)) {
                continue;
            }
            self.waiting.remove(&key);
            self.waiting_in[lane] -= 1;
            queue.urgent_in_a_row = if urgency == Urgency::Urgent { queue.urgent_in_a_row + 1 } else { 0 };
            let is_one_of_few = self.is_beside_a_crowd(&key.namespace);
            if self.waiting.is_empty() {
                // A wave leaves no empty tables behind.
                *self = Self::default();
            }
            return Some((key, is_one_of_few));
        }
    }

    /// Whether few wait in a namespace, while there is a crowd in another one, in any lanes.
    fn is_beside_a_crowd(&self, namespace: &str) -> bool {
        let own: usize = self.lanes.iter().map(|lane| lane.urgent.waiting_of(namespace)).sum();
        own < CROWD && self.lanes.iter().any(|lane| lane.urgent.has_crowd())
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
