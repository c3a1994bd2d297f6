//! First in, first out within a namespace; the namespaces take turns. It knows nothing about the items.

use std::collections::{HashMap, VecDeque, hash_map::Entry};

/// The waiting items, by namespace. `BACKLOG`: see [`RoundRobin::has_backlog`].
#[derive(Debug)]
pub struct RoundRobin<T, const BACKLOG: usize = { usize::MAX }> {
    turns: VecDeque<String>,
    by_namespace: HashMap<String, VecDeque<T>>,
    /// How many items wait in all namespaces.
    len: usize,
    /// How many namespaces have more than `BACKLOG` waiting items.
    backlogs: usize,
}

impl<T, const BACKLOG: usize> Default for RoundRobin<T, BACKLOG> {
    fn default() -> Self {
        Self { turns: VecDeque::new(), by_namespace: HashMap::new(), len: 0, backlogs: 0 }
    }
}

impl<T, const BACKLOG: usize> RoundRobin<T, BACKLOG> {
    /// Appends an item to its namespace's queue.
    pub fn push(&mut self, namespace: String, item: T) {
        self.len += 1;
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
        self.pop_where(|_, _| true)
    }

    /// The first item of the next eligible namespace, given its name and how many items wait in it.
    pub fn pop_where(&mut self, is_eligible: impl Fn(&str, usize) -> bool) -> Option<T> {
        let next =
            self.turns.iter().position(|namespace| is_eligible(namespace, self.waiting_of(namespace)))?;
        let namespace = self.turns.remove(next)?;
        let queue = self.by_namespace.get_mut(&namespace)?;
        let item = queue.pop_front()?;
        self.len -= 1;
        self.backlogs -= usize::from(queue.len() == BACKLOG);
        if queue.is_empty() {
            self.by_namespace.remove(&namespace);
        } else {
            self.turns.push_back(namespace);
        }
        Some(item)
    }

    /// How many items of a namespace wait.
    #[must_use]
    pub fn waiting_of(&self, namespace: &str) -> usize {
        self.by_namespace.get(namespace).map_or(0, VecDeque::len)
    }

    /// Whether a namespace has more than `BACKLOG` waiting items.
    #[must_use]
    pub fn has_backlog(&self) -> bool {
        self.backlogs > 0
    }

    /// How many wait, in all namespaces.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}
