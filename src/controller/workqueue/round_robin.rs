//! First come, first served within a namespace; the namespaces take turns. It knows neither what waits nor for what.

use std::collections::{HashMap, VecDeque, hash_map::Entry};

use crate::controller::workqueue::precedence::BACKLOG;

/// What waits, by namespace.
#[derive(Debug)]
pub(super) struct RoundRobin<T> {
    turns: VecDeque<String>,
    by_namespace: HashMap<String, VecDeque<T>>,
    /// Namespaces in which more than [`BACKLOG`] wait.
    backlogs: usize,
}

impl<T> Default for RoundRobin<T> {
    fn default() -> Self {
        Self { turns: VecDeque::new(), by_namespace: HashMap::new(), backlogs: 0 }
    }
}

impl<T> RoundRobin<T> {
    /// At the end of its namespace's queue.
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

    /// The first of the namespace whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        self.pop_from(usize::MAX)
    }

    /// The first of the next namespace in which no more than so many wait.
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

    /// How many wait in a namespace.
    pub fn waiting_of(&self, namespace: &str) -> usize {
        self.by_namespace.get(namespace).map_or(0, VecDeque::len)
    }

    /// Whether more than [`BACKLOG`] wait in some namespace.
    pub fn has_backlog(&self) -> bool {
        self.backlogs > 0
    }

    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}
