//! What spreads requests over instances.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::core::deploy::Counted;
use crate::core::render::Rendered;
use crate::core::routes::Routes;
use crate::core::world::Found;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BalancerError {
    /// nginx does not accept the text. `line` is of the http block.
    #[error("nginx refuses it: {reason}")]
    Refused { reason: String, line: Option<usize> },
    /// nginx or the disk failed; the same text may succeed later.
    #[error("{0}")]
    Trouble(String),
}

/// The balancer's process as it is now.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct BalancerStatus {
    pub state: &'static str,
    pub pid: Option<i32>,
    pub version: String,
}

/// How an nginx that somebody else runs is told to read its configuration.
#[derive(Debug, Clone)]
pub enum Reload {
    /// A shell command, as docker-gen's `-notify` has it.
    Command(String),
    /// SIGHUP to the process whose number is in the file.
    PidFile(PathBuf),
    Nobody,
}

/// One generation ready to be written: its text, and the routes that an adopting supervisor reads back.
#[derive(Debug, Clone)]
pub struct Generation {
    pub number: u64,
    pub rendered: Rendered,
    pub routes: Arc<Routes>,
    pub fingerprint: u64,
}

#[async_trait::async_trait]
pub trait Balancer: Send + Sync {
    /// Takes over one that is running; `None` where there is none.
    async fn adopt(&self) -> Result<Option<Found>, BalancerError>;
    /// Writes the generation, makes it current, and returns once a worker answers with its number.
    /// On error what was current before is current again.
    async fn reach(&self, generation: &Generation) -> Result<(), BalancerError>;
    /// Returns once no worker of an older generation accepts connections, with how many of those that had connections
    /// yet were too many, and were ended.
    async fn settle(&self, generation: u64) -> Result<usize, BalancerError>;
    /// Whether the text would be accepted, without making it current.
    async fn check(&self, rendered: &Rendered) -> Result<(), BalancerError>;
    /// Returns once no worker has a connection to the address, or after `limit`.
    async fn drained(&self, address: SocketAddr, limit: Duration);
    /// Waits until requests were answered, and returns what was seen of each release since it was last asked.
    async fn counted(&self) -> Vec<Counted>;
    /// Returns with the reason when the process ends.
    async fn watch(&self) -> String;
    async fn status(&self) -> BalancerStatus;
    /// Finishes requests under way, at most for `limit`, and ends the process.
    async fn quit(&self, limit: Duration);
}
