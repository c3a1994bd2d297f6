//! Gives back the memory of tables that were large once. It knows nothing of their content.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash},
};

/// A table of at most this size is not worth shrinking.
const SMALL: usize = 256;

/// Shrinks a table that is less than an eighth full.
pub fn shrink<K: Eq + Hash, V, S: BuildHasher>(table: &mut HashMap<K, V, S>) {
    if table.capacity() > SMALL && table.len() < table.capacity() / 8 {
        table.shrink_to(table.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_was_large_becomes_small() {
        let mut table: HashMap<usize, usize> = (0..10_000).map(|n| (n, n)).collect();
        table.retain(|n, _| *n < 2_000);
        shrink(&mut table);
        assert!(table.capacity() >= 10_000, "a fifth is in use");
        table.retain(|n, _| *n < 100);
        shrink(&mut table);
        assert!((100..1_000).contains(&table.capacity()), "{}", table.capacity());
        assert_eq!(table.len(), 100);
    }
}
