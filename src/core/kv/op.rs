//! The operations of a batch, and what becomes of them.

use std::sync::Arc;

use super::pair::Pair;

/// One operation of a batch.
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
