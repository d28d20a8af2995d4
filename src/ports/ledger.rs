//! What remembers decisions over restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::core::container::ContainerId;
use crate::core::deploy::{Deployment, Entry};
use crate::core::flaw::Flaw;
use crate::core::names::AppName;
use crate::core::service::Service;
use crate::core::world::{Intent, Write};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    #[error(
        "the state in {path} was written by a newer platformer (schema {found}, this one knows {known}); use that version, or another state folder"
    )]
    Newer { path: String, found: i64, known: i64 },
    #[error("the state in {path} cannot be used: {reason}")]
    Broken { path: String, reason: String },
}

/// Told of what cannot be used of the state and is left out.
pub type Complain = Arc<dyn Fn(Flaw) + Send + Sync>;

pub trait Ledger: Send + Sync {
    fn recall(&self) -> Result<BTreeMap<AppName, Intent>, LedgerError>;
    /// Keeps what was decided together, with the deployments that it concerns: all or nothing, durable when it returns.
    fn write(&self, writes: &[Write]) -> Result<(), LedgerError>;
    /// Every registered service.
    fn services(&self) -> Result<BTreeMap<AppName, Service>, LedgerError>;
    /// The containers that a version without proofs started; `None` where that was never kept.
    fn inherited(&self) -> Result<Option<BTreeSet<ContainerId>>, LedgerError>;
    /// The latest `limit` entries of an app, newest first.
    fn history(&self, app: &AppName, limit: usize) -> Result<Vec<Entry>, LedgerError>;
    /// The latest `limit` deployments of an app or of all, newest first.
    fn deployments(&self, app: Option<&AppName>, limit: usize) -> Result<Vec<Deployment>, LedgerError>;
    /// A deployment as it was last recorded.
    fn deployment(&self, id: &str) -> Result<Option<Deployment>, LedgerError>;
}
