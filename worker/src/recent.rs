//! Values by key, within bounds: the one that was not used for longest goes first.
//!
//! For the caches of a worker. Knows no lock and no clock: uses are counted.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// What was used last, as much as fits.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// By last use, which is never the same for two.
    order: BTreeMap<u64, K>,
    /// Rises with every use.
    uses: u64,
    bytes: usize,
    bytes_max: usize,
    entries_max: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
    last_use: u64,
}

impl<K: Copy + Eq + Hash, V: Clone> Recent<K, V> {
    /// Empty, with room for so many bytes and so many values.
    pub(crate) fn bounded(bytes_max: usize, entries_max: usize) -> Self {
        Self {
            entries: HashMap::new(),
            order: BTreeMap::new(),
            uses: 0,
            bytes: 0,
            bytes_max,
            entries_max,
        }
    }

    /// The value under a key, which is a use of it.
    pub(crate) fn find(&mut self, key: K) -> Option<V> {
        let entry = self.entries.get_mut(&key)?;
        self.uses += 1;
        self.order.remove(&entry.last_use);
        self.order.insert(self.uses, key);
        entry.last_use = self.uses;
        Some(entry.value.clone())
    }

    /// Keeps a value that takes so many bytes, in the place of an earlier one, and lets others go for it; one that is
    /// too long for all the room there is changes nothing.
    pub(crate) fn keep(&mut self, key: K, value: V, bytes: usize) {
        if bytes > self.bytes_max || self.entries_max == 0 {
            return;
        }
        self.remove(key);
        while (self.bytes + bytes > self.bytes_max || self.entries.len() >= self.entries_max)
            && let Some((_, oldest)) = self.order.first_key_value()
        {
            self.remove(*oldest);
        }
        self.uses += 1;
        self.bytes += bytes;
        self.order.insert(self.uses, key);
        let entry = Entry {
            value,
            bytes,
            last_use: self.uses,
        };
        self.entries.insert(key, entry);
    }

    fn remove(&mut self, key: K) {
        if let Some(entry) = self.entries.remove(&key) {
            self.order.remove(&entry.last_use);
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
impl<K: Copy + Eq + Hash + Ord, V> Recent<K, V> {
    /// The keys in ascending order, and the bytes of all values.
    pub(crate) fn held(&self) -> (Vec<K>, usize) {
        let mut keys: Vec<K> = self.order.values().copied().collect();
        keys.sort_unstable();
        assert_eq!(keys.len(), self.entries.len());
        (keys, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_gives_way_at_either_bound() {
        let mut recent = Recent::bounded(10, 2);
        for key in [0, 1] {
            recent.keep(key, "abc", 3);
        }
        assert_eq!(recent.find(0), Some("abc"));
        recent.keep(2, "abc", 3);
        assert_eq!((recent.held(), recent.find(1)), ((vec![0, 2], 6), None));
        recent.keep(3, "12345678", 8);
        assert_eq!(recent.held(), (vec![3], 8));
    }

    #[test]
    fn value_that_is_too_long_changes_nothing_and_a_new_one_takes_the_place_of_the_old_one() {
        let mut recent = Recent::bounded(10, 3);
        recent.keep(0, "old", 3);
        recent.keep(0, "too long", 11);
        recent.keep(1, "one", 3);
        assert_eq!((recent.held(), recent.find(0)), ((vec![0, 1], 6), Some("old")));
        for _ in 0..5 {
            recent.keep(0, "new!", 4);
        }
        assert_eq!((recent.held(), recent.find(0)), ((vec![0, 1], 7), Some("new!")));
    }
}
