//! What handlers work with.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::api::Listed;
use super::consul::Indices;
use super::dashboard::Links;
use super::keyring::Keyring;
use super::serve::bodies::Bodies;
use crate::core::render::Frame;
use crate::ports::balancer::Balancer;
use crate::ports::doctor::Doctor;
use crate::ports::engine::Engine;
use crate::ports::inbox::Inbox;
use crate::ports::kv::Kv;
use crate::ports::ledger::Ledger;
use crate::ports::library::Library;
use crate::ports::limits::Limits;
use crate::ports::meters::Meters;
use crate::ports::seal::Seal;
use crate::ports::snapshot::Snapshot;
use crate::ports::sources::Nudges;
use crate::ports::tokens::Tokens;

/// Who is served the repository.
#[derive(Debug, Clone, Copy)]
pub struct Served {
    /// Everybody, and not only this machine and the platform's network.
    pub open: bool,
    /// Only who shows a token: an instance its own, others one that may read.
    pub require_token: bool,
}

/// What handlers work with.
#[derive(Clone)]
pub struct Context {
    pub snapshot: Snapshot,
    pub inbox: Inbox,
    pub library: Arc<dyn Library>,
    pub engine: Arc<dyn Engine>,
    pub doctor: Arc<dyn Doctor>,
    pub balancer: Arc<dyn Balancer>,
    pub ledger: Arc<dyn Ledger>,
    pub kv: Arc<dyn Kv>,
    pub seal: Arc<dyn Seal>,
    pub meters: Meters,
    pub limits: Limits,
    pub bodies: Bodies,
    pub frame: Arc<Frame>,
    pub keyring: Arc<Keyring>,
    /// Where images are received.
    pub uploads: Arc<Path>,
    pub nudges: Nudges,
    pub links: Arc<Links>,
    pub listed: Arc<Listed>,
    pub indices: Arc<Indices>,
    /// The engine's network that instances are started on.
    pub network: Arc<str>,
    pub tokens: Arc<dyn Tokens>,
    /// Held while a request with a key of its own is answered.
    pub once: Arc<Mutex<()>>,
    pub started_at: jiff::Timestamp,
    /// Who is served the repository, and who has to show what.
    pub repository: Served,
    /// Whether this machine uses the registry without a token.
    pub services_open: bool,
    /// Whether Docker Hub is told that its webhook was taken.
    pub webhook_callback: bool,
    /// Host names besides loopback under which the API may be asked.
    pub allowed_hosts: Arc<[String]>,
    /// Origins besides our own whose pages may change things.
    pub trusted_origins: Arc<[String]>,
}
