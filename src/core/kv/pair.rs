//! What is kept under a key, and what a key may be.

use std::sync::Arc;

/// The longest key in bytes, and the largest value.
pub const LONGEST_KEY: usize = 512;
pub const LARGEST_VALUE: usize = 512 << 10;

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
    /// What it costs: its key and its value.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
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
