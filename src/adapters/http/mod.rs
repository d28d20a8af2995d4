//! HTTP: the control API on its own listener, and what nginx asks the supervisor over a unix socket.
//!
//! The two share nothing but the snapshot: the listener that containers reach has no control routes.

pub mod access;
mod api;
mod callback;
mod config;
mod consul;
mod dashboard;
mod doors;
mod error;
mod events;
mod holding;
mod images;
mod internal;
mod keyring;
mod known;
mod linger;
mod logs;
mod metrics;
mod pages;
mod receive;
mod repository;
mod secrets;
mod server;
mod services;
mod settled;
mod webhooks;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Mutex;

pub use api::Listed;
pub use dashboard::Links;
use doors::Doors;
pub use keyring::Keyring;

use crate::core::render::Frame;
use crate::ports::balancer::Balancer;
use crate::ports::doctor::Doctor;
use crate::ports::engine::Engine;
use crate::ports::inbox::Inbox;
use crate::ports::kv::Kv;
use crate::ports::ledger::Ledger;
use crate::ports::library::Library;
use crate::ports::limits::{Limits, Resource};
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
    pub frame: Arc<Frame>,
    pub keyring: Arc<Keyring>,
    /// Where images are received.
    pub uploads: Arc<Path>,
    pub nudges: Nudges,
    pub links: Arc<Links>,
    pub listed: Arc<Listed>,
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

/// How long a client may take over the head of a request, and a connection may be idle.
const PATIENCE: Duration = Duration::from_secs(30);

/// Serves the API until `stop` resolves; the result is why it ended before that.
pub async fn serve_api(
    listener: TcpListener,
    context: Context,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let doors = Doors::new(context.limits.clone(), Resource::ApiConnection);
    server::serve(listener, api::router(context), |from, _| from.ip(), Some(doors), Some(PATIENCE), stop).await
}

/// Serves pages and the repository to nginx until `stop` resolves.
pub async fn serve_internal(
    listener: UnixListener,
    context: Context,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    // nginx keeps connections for longer, and its own clients' patience is its own affair.
    server::serve(listener, internal::router(context), |_, headers| internal::told_by_nginx(headers), None, None, stop)
        .await
}
