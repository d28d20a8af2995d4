//! What whoever boots the platform is told.

use std::net::SocketAddr;
use std::time::Duration;

use crate::ports::engine::EngineError;
use crate::ports::ledger::LedgerError;
use crate::supervisor::lock::{KeyError, LockError};

/// Why the platform did not come up. Nothing that was running before is affected.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("{0}")]
    Engine(#[from] EngineError),
    #[error("{address} ({setting}) is taken{}", holder.as_ref().map(|h| format!(" by {h}")).unwrap_or_default())]
    Taken { address: SocketAddr, setting: &'static str, holder: Option<String> },
    #[error("{0}")]
    Other(String),
    #[error("the platform stopped: {0}")]
    Died(String),
}

/// Told about each step as it is done.
pub trait Progress: Send + Sync {
    fn done(&self, step: &str, detail: &str, took: Duration);
    fn warn(&self, text: &str);
}
