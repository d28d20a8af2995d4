//! The key-value store: read at once, changed durably.

use tokio::sync::watch;

use crate::core::kv::{Failed, MOST_BYTES, MOST_KEYS, Op, Outcome, Refused, Tree};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// Operations of the batch that cannot be done; none was.
    #[error("{}", .0.iter().map(|failed| failed.what.as_str()).collect::<Vec<_>>().join("; "))]
    Failed(Vec<Failed>),
    #[error("no more than {MOST_KEYS} keys and {} MiB are kept; delete some", MOST_BYTES >> 20)]
    Full,
    #[error("the keys cannot be kept: {0}")]
    Broken(String),
}

impl From<Refused> for KvError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Failed(failed) => Self::Failed(failed),
            Refused::Full => Self::Full,
        }
    }
}

#[async_trait::async_trait]
pub trait Kv: Send + Sync {
    /// Looks at the tree as it is; `look` must be quick, since writers wait for it.
    fn read(&self, look: &mut dyn FnMut(&Tree));
    /// Does a batch; durable when it returns.
    async fn write(&self, ops: Vec<Op>) -> Result<Outcome, KvError>;
    /// Told the index of each change.
    fn changed(&self) -> watch::Receiver<u64>;
}
