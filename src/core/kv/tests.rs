use std::sync::Arc;

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
        let pair =
            |n: usize| Pair { key: format!("{n:06}").into(), value: value.clone(), flags: 0, created: 1, modified: 1 };
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
