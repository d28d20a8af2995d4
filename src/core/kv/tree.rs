//! All pairs, in order of their keys.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::pair::Pair;

/// Every pair, and the index of the last change.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    pub(super) pairs: BTreeMap<Arc<str>, Pair>,
    pub(super) index: u64,
    /// The index of the last change that took a key away.
    deleted: u64,
    /// Of keys and values.
    pub(super) bytes: usize,
}

impl Tree {
    /// The tree as it was kept; `index` is the last that was given out.
    pub fn new(pairs: impl IntoIterator<Item = Pair>, index: u64) -> Self {
        let pairs: BTreeMap<_, _> = pairs.into_iter().map(|pair| (pair.key.clone(), pair)).collect();
        let bytes = pairs.values().map(Pair::bytes).sum();
        Self { pairs, index, deleted: index, bytes }
    }

    pub fn get(&self, key: &str) -> Option<&Pair> {
        self.pairs.get(key)
    }

    /// The pairs whose keys begin so, in order.
    pub fn below<'t>(&'t self, prefix: &'t str) -> impl Iterator<Item = &'t Pair> {
        self.pairs
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .map(|(_, pair)| pair)
            .take_while(move |pair| pair.key.starts_with(prefix))
    }

    /// The index of the last change to anything below the prefix; it never goes back, and may be later than it had
    /// to be after something was deleted.
    pub fn index_below(&self, prefix: &str) -> u64 {
        self.below(prefix).map(|pair| pair.modified).max().unwrap_or(0).max(self.deleted).max(1)
    }

    /// The index of the last change to the key.
    pub fn index_of(&self, key: &str) -> u64 {
        self.get(key).map_or(self.deleted.max(1), |pair| pair.modified)
    }

    /// Takes over changes made at this index.
    pub fn take(&mut self, changes: &[(Arc<str>, Option<Pair>)], index: u64) {
        for (key, pair) in changes {
            let before = match pair {
                Some(pair) => {
                    self.bytes += pair.bytes();
                    self.pairs.insert(key.clone(), pair.clone())
                }
                None => {
                    self.deleted = index;
                    self.pairs.remove(key)
                }
            };
            self.bytes -= before.as_ref().map_or(0, Pair::bytes);
            self.index = index;
        }
    }
}
