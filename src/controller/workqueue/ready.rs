//! In which order what is due gets its turn: edits before retries, and one namespace after the other, so that
//! nobody's flood holds up the others. It knows no clock and no object.

use std::collections::{HashMap, VecDeque};

use crate::{cluster::ObjectKey, telemetry::Trigger};

/// After so many urgent ones in a row, one that can wait gets its turn: nothing starves.
const URGENT_IN_A_ROW: u32 = 7;

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
    urgent: RoundRobin,
    background: RoundRobin,
    /// Where each key counts: one that became urgent is still in `background`, and is skipped there.
    waiting: HashMap<ObjectKey, Urgency>,
    urgent_in_a_row: u32,
}

impl ReadyQueue {
    /// At the end of its namespace's queue, unless it waits with that urgency already.
    pub(super) fn push(&mut self, key: ObjectKey, urgency: Urgency) {
        let known = self.waiting.get(&key);
        if known.is_some_and(|known| *known <= urgency) {
            return;
        }
        self.waiting.insert(key.clone(), urgency);
        self.queue(urgency).push(key);
    }

    /// The next key.
    pub(super) fn pop(&mut self) -> Option<ObjectKey> {
        loop {
            let background_is_due = self.urgent_in_a_row >= URGENT_IN_A_ROW || self.urgent.is_empty();
            let urgency = if background_is_due && !self.background.is_empty() {
                Urgency::Background
            } else {
                Urgency::Urgent
            };
            let key = self.queue(urgency).pop()?;
            if self.waiting.get(&key) != Some(&urgency) {
                continue;
            }
            self.waiting.remove(&key);
            self.urgent_in_a_row = if urgency == Urgency::Urgent { self.urgent_in_a_row + 1 } else { 0 };
            if self.waiting.is_empty() {
                // A wave leaves no empty tables behind.
                *self = Self::default();
            }
            return Some(key);
        }
    }

    /// How many keys wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none does.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn queue(&mut self, urgency: Urgency) -> &mut RoundRobin {
        match urgency {
            Urgency::Urgent => &mut self.urgent,
            Urgency::Background => &mut self.background,
        }
    }
}

/// First come, first served within a namespace; the namespaces take turns.
#[derive(Debug, Default)]
struct RoundRobin {
    turns: VecDeque<String>,
    by_namespace: HashMap<String, VecDeque<ObjectKey>>,
}

impl RoundRobin {
    fn push(&mut self, key: ObjectKey) {
        let queue = self.by_namespace.entry(key.namespace.clone()).or_insert_with(|| {
            self.turns.push_back(key.namespace.clone());
            VecDeque::new()
        });
        queue.push_back(key);
    }

    fn pop(&mut self) -> Option<ObjectKey> {
        let namespace = self.turns.pop_front()?;
        let queue = self.by_namespace.get_mut(&namespace)?;
        let key = queue.pop_front();
        if queue.is_empty() {
            self.by_namespace.remove(&namespace);
        } else {
            self.turns.push_back(namespace);
        }
        key
    }

    fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}

#[cfg(test)]
#[path = "ready_test.rs"]
mod tests;
