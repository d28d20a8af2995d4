//! A batch: all of it is done, or nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::op::{Failed, Op, Outcome, Refused};
use super::pair::Pair;
use super::tree::Tree;

/// Operations in one batch.
pub const LARGEST_BATCH: usize = 128;
/// Keys that are kept at once, and bytes of keys and values together: all of them are held in memory.
pub const MOST_KEYS: usize = 100_000;
pub const MOST_BYTES: usize = 256 << 20;

impl Tree {
    /// Does every operation in order, or none.
    ///
    /// # Errors
    /// Every operation that cannot be done, with its place; or there is no room for all of it.
    pub fn apply(&mut self, ops: &[Op]) -> Result<Outcome, Refused> {
        let index = self.index + 1;
        let mut work = Work { before: self, changed: BTreeMap::new(), pairs: Vec::new(), index };
        let failed: Vec<Failed> = ops
            .iter()
            .enumerate()
            .filter_map(|(op, what)| work.step(op, what).err().map(|what| Failed { op, what }))
            .collect();
        if !failed.is_empty() {
            return Err(Refused::Failed(failed));
        }
        if work.is_too_much() {
            return Err(Refused::Full);
        }
        let (pairs, changed) = (work.pairs, work.changed);
        let changes: Vec<_> = changed.into_iter().collect();
        self.take(&changes, index);
        Ok(Outcome { pairs, changes, index: self.index })
    }
}

/// What the batch changed so far, over the tree as it was.
struct Work<'t> {
    before: &'t Tree,
    changed: BTreeMap<Arc<str>, Option<Pair>>,
    pairs: Vec<(usize, Pair)>,
    index: u64,
}

impl Work<'_> {
    fn now(&self, key: &str) -> Option<&Pair> {
        match self.changed.get(key) {
            Some(changed) => changed.as_ref(),
            None => self.before.get(key),
        }
    }

    /// Whether there would be more than may be kept, and more than there is: what makes room is always done.
    fn is_too_much(&self) -> bool {
        let before = || self.changed.keys().filter_map(|key| self.before.get(key));
        let after = || self.changed.values().flatten();
        let keys = self.before.pairs.len() - before().count() + after().count();
        let bytes =
            self.before.bytes - before().map(Pair::bytes).sum::<usize>() + after().map(Pair::bytes).sum::<usize>();
        (keys > MOST_KEYS && keys > self.before.pairs.len()) || (bytes > MOST_BYTES && bytes > self.before.bytes)
    }

    fn keys_below(&self, prefix: &str) -> Vec<Arc<str>> {
        let mut keys: Vec<Arc<str>> = self.before.below(prefix).map(|pair| pair.key.clone()).collect();
        keys.extend(self.changed.keys().filter(|key| key.starts_with(prefix)).cloned());
        keys.sort();
        keys.dedup();
        keys
    }

    fn step(&mut self, place: usize, op: &Op) -> Result<(), String> {
        let modified = |work: &Self, key: &str| work.now(key).map_or(0, |pair| pair.modified);
        let stale = |key: &str| format!("{key}: the index has changed meanwhile");
        match op {
            Op::Get(key) => {
                let pair = self.now(key).cloned().ok_or_else(|| format!("{key}: there is no such key"))?;
                self.pairs.push((place, pair));
            }
            Op::GetTree(prefix) => {
                let keys = self.keys_below(prefix);
                let found = keys.iter().filter_map(|key| self.now(key).cloned());
                let found: Vec<_> = found.map(|pair| (place, pair)).collect();
                self.pairs.extend(found);
            }
            Op::Set { key, value, flags } => self.set(place, key, value, *flags),
            Op::Cas { key, value, flags, index } => match modified(self, key) == *index {
                true => self.set(place, key, value, *flags),
                false => return Err(stale(key)),
            },
            Op::Delete(key) => self.delete(key),
            Op::DeleteTree(prefix) => self.keys_below(prefix).iter().for_each(|key| self.delete(key)),
            Op::DeleteCas { key, index } => match modified(self, key) == *index {
                true => self.delete(key),
                false => return Err(stale(key)),
            },
            Op::CheckIndex { key, index } => match modified(self, key) == *index {
                true => self.pairs.extend(self.now(key).cloned().map(|pair| (place, pair))),
                false => return Err(stale(key)),
            },
            Op::CheckNotExists(key) => match self.now(key) {
                None => {}
                Some(_) => return Err(format!("{key}: it exists")),
            },
        }
        Ok(())
    }

    /// What is so already is no change: nobody who waits for one is woken.
    fn set(&mut self, place: usize, key: &Arc<str>, value: &Arc<[u8]>, flags: u64) {
        if let Some(same) = self.now(key).filter(|pair| pair.value == *value && pair.flags == flags) {
            self.pairs.push((place, same.clone()));
            return;
        }
        let created = self.now(key).map_or(self.index, |pair| pair.created);
        let pair = Pair { key: key.clone(), value: value.clone(), flags, created, modified: self.index };
        self.pairs.push((place, pair.clone()));
        self.changed.insert(key.clone(), Some(pair));
    }

    fn delete(&mut self, key: &Arc<str>) {
        if self.now(key).is_some() {
            self.changed.insert(key.clone(), None);
        }
    }
}
