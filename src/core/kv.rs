//! The key-value store as one value: keys in order, each with the index of its last change, changed in batches
//! that happen as a whole or not at all.
//!
//! Indexes and refusals are those of Consul's KV store (developer.hashicorp.com/consul/api-docs/kv and …/txn),
//! so that its clients work.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// The longest key in bytes, and the largest value.
pub const LONGEST_KEY: usize = 512;
pub const LARGEST_VALUE: usize = 512 << 10;
/// Operations in one batch.
pub const LARGEST_BATCH: usize = 128;
/// Keys that are kept at once, and bytes of keys and values together: all of them are held in memory.
pub const MOST_KEYS: usize = 100_000;
pub const MOST_BYTES: usize = 256 << 20;

/// A value with its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub key: Arc<str>,
    pub value: Arc<[u8]>,
    /// What a client wrote beside the value; it means nothing to us.
    pub flags: u64,
    /// The index at which it was made, and that of its last change.
    pub created: u64,
    pub modified: u64,
}

impl Pair {
    fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Get(Arc<str>),
    GetTree(Arc<str>),
    Set {
        key: Arc<str>,
        value: Arc<[u8]>,
        flags: u64,
    },
    /// Only if the key was last changed at this index; 0 means only if there is none.
    Cas {
        key: Arc<str>,
        value: Arc<[u8]>,
        flags: u64,
        index: u64,
    },
    Delete(Arc<str>),
    DeleteTree(Arc<str>),
    DeleteCas {
        key: Arc<str>,
        index: u64,
    },
    CheckIndex {
        key: Arc<str>,
        index: u64,
    },
    CheckNotExists(Arc<str>),
}

impl Op {
    pub fn key(&self) -> &Arc<str> {
        match self {
            Self::Get(key)
            | Self::GetTree(key)
            | Self::Set { key, .. }
            | Self::Cas { key, .. }
            | Self::Delete(key)
            | Self::DeleteTree(key)
            | Self::DeleteCas { key, .. }
            | Self::CheckIndex { key, .. }
            | Self::CheckNotExists(key) => key,
        }
    }

    pub fn changes(&self) -> bool {
        match self {
            Self::Set { .. } | Self::Cas { .. } | Self::Delete(_) | Self::DeleteTree(_) | Self::DeleteCas { .. } => {
                true
            }
            Self::Get(_) | Self::GetTree(_) | Self::CheckIndex { .. } | Self::CheckNotExists(_) => false,
        }
    }
}

/// Which operation of a batch could not be done, and why. Nothing of the batch was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    pub op: usize,
    pub what: String,
}

/// Why a batch was not done; nothing of it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    Failed(Vec<Failed>),
    /// It would be more than is kept at once.
    Full,
}

/// What a batch did: the pairs that its operations speak of, and what has to be kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Each with the place of its operation.
    pub pairs: Vec<(usize, Pair)>,
    /// Each changed key with its new pair, or `None` where it is gone.
    pub changes: Vec<(Arc<str>, Option<Pair>)>,
    pub index: u64,
}

/// Every pair, and the index of the last change.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    pairs: BTreeMap<Arc<str>, Pair>,
    index: u64,
    /// The index of the last change that took a key away.
    deleted: u64,
    /// Of keys and values.
    bytes: usize,
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

/// A key as a client may write it.
///
/// # Errors
/// What is wrong with it: empty, too long, or with a NUL byte.
pub fn key(text: &str) -> Result<Arc<str>, String> {
    match text {
        "" => Err("a key name is missing".into()),
        _ if text.len() > LONGEST_KEY => Err(format!("the key has {} bytes, {LONGEST_KEY} are allowed", text.len())),
        _ if text.contains('\0') => Err("a key cannot contain a NUL byte".into()),
        _ => Ok(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(key: &str, value: &str) -> Op {
        Op::Set { key: key.into(), value: value.as_bytes().into(), flags: 7 }
    }

    fn keys(tree: &Tree, prefix: &str) -> Vec<String> {
        tree.below(prefix).map(|pair| pair.key.to_string()).collect()
    }

    #[test]
    fn a_batch_happens_as_a_whole_or_not_at_all() {
        let mut tree = Tree::default();
        assert_eq!(tree.apply(&[set("a/1", "x"), set("a/2", "y"), set("b", "z")]).unwrap().index, 1);
        let failed = tree.apply(&[set("c", "x"), Op::CheckNotExists("b".into()), Op::Get("no".into())]).unwrap_err();
        let Refused::Failed(failed) = failed else { panic!("{failed:?}") };
        assert_eq!(failed.iter().map(|f| f.op).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(keys(&tree, ""), ["a/1", "a/2", "b"]);
        let read = tree.apply(&[set("a/3", "w"), Op::Delete("a/1".into()), Op::GetTree("a/".into())]).unwrap();
        assert_eq!(
            read.pairs.iter().map(|(op, p)| (*op, &*p.key)).collect::<Vec<_>>(),
            [(0, "a/3"), (2, "a/2"), (2, "a/3")]
        );
        assert_eq!((keys(&tree, "a/"), read.index), (vec!["a/2".into(), "a/3".into()], 2));
        assert_eq!(tree.apply(&[Op::DeleteTree("a".into())]).unwrap().changes.len(), 2);
    }

    #[test]
    fn what_is_written_as_it_was_is_no_change() {
        let mut tree = Tree::new([], 0);
        tree.apply(&[set("k", "x")]).unwrap();
        let same = tree.apply(&[set("k", "x")]).unwrap();
        assert!(same.changes.is_empty() && same.pairs[0].1.modified == 1);
        assert_eq!((tree.index_of("k"), tree.apply(&[set("k", "y")]).unwrap().index), (1, 2));
    }

    #[test]
    fn an_index_says_when_a_key_changed_and_never_goes_back() {
        let mut tree = Tree::default();
        let cas = |index: u64| Op::Cas { key: "k".into(), value: index.to_be_bytes().into(), flags: 0, index };
        assert!(tree.apply(&[cas(5)]).is_err());
        tree.apply(&[cas(0)]).unwrap();
        assert!(tree.apply(&[cas(0)]).is_err(), "it exists by now");
        tree.apply(&[set("other", "x")]).unwrap();
        assert_eq!((tree.index_of("k"), tree.index_of("other"), tree.index_below("k")), (1, 2, 1));
        tree.apply(&[cas(1)]).unwrap();
        assert_eq!((tree.get("k").unwrap().created, tree.index_of("k")), (1, 3));
        tree.apply(&[Op::Delete("k".into())]).unwrap();
        assert!(tree.index_below("k") >= 4 && tree.index_of("k") >= 4);
    }

    #[test]
    fn only_so_much_is_kept_and_room_can_always_be_made() {
        let pairs = |count: usize, value: &Arc<[u8]>| {
            let pair = |n: usize| Pair {
                key: format!("{n:06}").into(),
                value: value.clone(),
                flags: 0,
                created: 1,
                modified: 1,
            };
            Tree::new((0..count).map(pair), 1)
        };
        let largest: Arc<[u8]> = vec![0; LARGEST_VALUE].into();
        for mut tree in [pairs(MOST_KEYS, &[].into()), pairs(MOST_BYTES / LARGEST_VALUE - 1, &largest)] {
            let one_more = Op::Set { key: "one more".into(), value: largest.clone(), flags: 0 };
            assert_eq!(tree.apply(std::slice::from_ref(&one_more)), Err(Refused::Full));
            tree.apply(&[set("000000", "smaller"), Op::Delete("000001".into()), one_more]).unwrap();
            assert_eq!(tree.bytes, tree.pairs.values().map(Pair::bytes).sum::<usize>());
            tree.apply(&[Op::DeleteTree("".into())]).unwrap();
            assert_eq!(tree.bytes, 0);
        }
    }

    #[test]
    fn keys_are_plain_text_within_limits() {
        for good in ["a", "a/b", "..", "%2F", "ä", &"x".repeat(512)] {
            assert!(key(good).is_ok(), "{good}");
        }
        for bad in ["", "a\0b", &"x".repeat(513)] {
            assert!(key(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_taken_over_equals_what_was_done(batches in prop::collection::vec(
            prop::collection::vec(("[ab]/[0-3]", 0u8..4), 1..6), 1..20,
        )) {
            let (mut done, mut kept) = (Tree::default(), Tree::default());
            for batch in batches {
                let ops: Vec<Op> = batch.iter().map(|(key, kind)| match kind {
                    0 => Op::Delete(key.as_str().into()),
                    1 => Op::DeleteTree(key[..2].into()),
                    2 => Op::CheckNotExists(key.as_str().into()),
                    _ => set(key, "v"),
                }).collect();
                let before = keys(&done, "");
                match done.apply(&ops) {
                    Ok(outcome) => kept.take(&outcome.changes, outcome.index),
                    Err(_) => prop_assert_eq!(before, keys(&done, "")),
                }
                prop_assert_eq!(done.below("").collect::<Vec<_>>(), kept.below("").collect::<Vec<_>>());
            }
        }
    }
}
