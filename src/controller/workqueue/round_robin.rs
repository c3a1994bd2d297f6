//! First in, first out within a namespace; the namespaces take turns. It knows nothing about the items.

use std::collections::{HashMap, VecDeque, hash_map::Entry};

use crate::controller::workqueue::precedence::BACKLOG;

/// The waiting items, by namespace.
#[derive(Debug)]
pub(super) struct RoundRobin<T> {
    turns: VecDeque<String>,
    by_namespace: HashMap<String, VecDeque<T>>,
    /// How many namespaces have more than [`BACKLOG`] waiting items.
    backlogs: usize,
}

impl<T> Default for RoundRobin<T> {
    fn default() -> Self {
        Self { turns: VecDeque::new(), by_namespace: HashMap::new(), backlogs: 0 }
    }
}

impl<T> RoundRobin<T> {
    /// Appends an item to its namespace's queue.
    pub fn push(&mut self, namespace: String, item: T) {
        match self.by_namespace.entry(namespace) {
            Entry::Occupied(mut queue) => {
                self.backlogs += usize::from(queue.get().len() == BACKLOG);
                queue.get_mut().push_back(item);
            }
            Entry::Vacant(queue) => {
                self.turns.push_back(queue.key().clone());
                queue.insert(VecDeque::from([item]));
            }
        }
    }

    /// The first item of the next namespace.
    pub fn pop(&mut self) -> Option<T> {
        self.pop_from(usize::MAX)
    }

    /// The first item of the next namespace with at most `at_most` waiting items.
    pub fn pop_from(&mut self, at_most: usize) -> Option<T> {
        let next = self.turns.iter().position(|namespace| self.waiting_of(namespace) <= at_most)?;
        let namespace = self.turns.remove(next)?;
        let queue = self.by_namespace.get_mut(&namespace)?;
        let item = queue.pop_front();
        self.backlogs -= usize::from(queue.len() == BACKLOG);
        if queue.is_empty() {
            self.by_namespace.remove(&namespace);
        } else {
            self.turns.push_back(namespace);
        }
        item
    }

    /// How many items of a namespace wait.
    pub fn waiting_of(&self, namespace: &str) -> usize {
        self.by_namespace.get(namespace).map_or(0, VecDeque::len)
    }

    /// Whether a namespace has more than [`BACKLOG`] waiting items.
    pub fn has_backlog(&self) -> bool {
        self.backlogs > 0
    }

    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}
