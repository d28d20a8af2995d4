//! The key-value store as one value: keys in order, each with the index of its last change, changed in batches
//! that happen as a whole or not at all.
//!
//! Indexes and refusals are those of Consul's KV store (developer.hashicorp.com/consul/api-docs/kv and …/txn),
//! so that its clients work.

mod batch;
mod op;
mod pair;
mod tree;

pub use batch::{LARGEST_BATCH, MOST_BYTES, MOST_KEYS};
pub use op::{Failed, Op, Outcome, Refused};
pub use pair::{LARGEST_VALUE, LONGEST_KEY, Pair, key};
pub use tree::Tree;

#[cfg(test)]
mod tests;
