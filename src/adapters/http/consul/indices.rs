//! The index of an answer: it rises when that answer changes, and not with whatever else does.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// So many questions are remembered. Who asks one that was forgotten is answered at once.
const MOST: usize = 10_000;

/// What each question was answered with last, as a hash, and since which index.
#[derive(Default)]
pub struct Indices {
    known: Mutex<HashMap<String, (u64, u64)>>,
    hasher: RandomState,
}

impl Indices {
    /// The index of the answer to a question; one that has changed has it from `now`, which never falls.
    pub fn of(&self, question: &str, answer: &Value, now: u64) -> u64 {
        let hash = self.hasher.hash_one(answer.to_string());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST && !known.contains_key(question) {
            known.clear();
        }
        let (before, since) = known.entry(question.to_owned()).or_insert((hash, now));
        if *before != hash {
            (*before, *since) = (hash, now);
        }
        *since
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_index_rises_with_its_own_answer_only() {
        let indices = Indices::default();
        let (one, other) = (json!(["10.0.0.1"]), json!(["10.0.0.2"]));
        assert_eq!(indices.of("service shop", &one, 5), 5);
        assert_eq!(indices.of("service shop", &one, 9), 5, "something else has changed");
        assert_eq!(indices.of("service blog", &one, 9), 9);
        assert_eq!(indices.of("service shop", &other, 12), 12);
        assert_eq!(indices.of("service shop", &one, 13), 13);
        (0..MOST).for_each(|n| _ = indices.of(&n.to_string(), &one, 14));
        assert_eq!(indices.of("service shop", &one, 15), 15, "it was forgotten");
        assert!(indices.known.lock().unwrap().len() <= MOST);
    }
}
