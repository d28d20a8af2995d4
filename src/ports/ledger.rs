//! What remembers decisions over restarts.

use std::collections::BTreeMap;

use crate::core::names::AppName;
use crate::core::world::Intent;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    #[error(
        "the state in {path} was written by a newer platformer (schema {found}, this one knows {known}); use that version, or another state folder"
    )]
    Newer { path: String, found: i64, known: i64 },
    #[error("the state in {path} cannot be used: {reason}")]
    Broken { path: String, reason: String },
}

pub trait Ledger: Send + Sync {
    fn recall(&self) -> Result<BTreeMap<AppName, Intent>, LedgerError>;
    /// Durable when it returns. `None` forgets the app.
    fn record(&self, app: &AppName, intent: Option<&Intent>) -> Result<(), LedgerError>;
}
