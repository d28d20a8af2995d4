//! HTTP: the control API on its own listener, and what nginx asks the supervisor over a unix socket.
//!
//! The two share nothing but the snapshot: the listener that containers reach has no control routes.

pub mod access;
mod api;
mod config;
mod error;
mod events;
mod internal;
mod linger;
mod logs;
mod pages;
mod repository;

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::serve::Listener;

use crate::core::render::Frame;
use crate::ports::balancer::Balancer;
use crate::ports::engine::Engine;
use crate::ports::inbox::Inbox;
use crate::ports::ledger::Ledger;
use crate::ports::library::Library;
use crate::ports::snapshot::Snapshot;

/// What handlers work with.
#[derive(Clone)]
pub struct Context {
    pub snapshot: Snapshot,
    pub inbox: Inbox,
    pub library: Arc<dyn Library>,
    pub engine: Arc<dyn Engine>,
    pub balancer: Arc<dyn Balancer>,
    pub ledger: Arc<dyn Ledger>,
    pub frame: Arc<Frame>,
    pub token: Arc<str>,
    pub started_at: jiff::Timestamp,
    /// Host names besides loopback under which the API may be asked.
    pub allowed_hosts: Arc<[String]>,
}

/// The control API.
pub fn api(context: Context) -> Router {
    api::router(context)
}

/// What nginx asks: pages and the repository.
pub fn internal(context: Context) -> Router {
    internal::router(context)
}

/// Serves until `stop` resolves; the result is why it ended before that.
pub async fn serve<L>(
    listener: L,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()>
where
    L: Listener,
    L::Addr: std::fmt::Debug,
{
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}
