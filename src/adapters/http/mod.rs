//! HTTP: the control API on its own listener, and what nginx asks the supervisor over a unix socket.
//!
//! On the ground: what handlers work with (`context`), what every request passes (`route`), and connections (`serve`).
//! On it, handlers by whom they serve: `api`, `webhooks`, `consul`, `dashboard`, and `inside` for what nginx asks.
//! On top `routes`, which alone knows them all. The two listeners share nothing but the snapshot: the one that
//! containers reach has no control routes.

mod api;
mod consul;
mod context;
mod dashboard;
mod error;
mod inside;
mod keyring;
mod page;
mod route;
mod routes;
mod serve;
mod webhooks;

use std::future::Future;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};

use crate::ports::limits::Resource;
pub use context::{Context, Served};
pub use keyring::Keyring;
pub use serve::bodies::Bodies;
use serve::doors::Doors;
use serve::server;

/// How long a client may take over the head of a request, and a connection may be idle.
const PATIENCE: Duration = Duration::from_secs(30);

/// Serves the API until `stop` resolves; the result is why it ended before that.
pub async fn serve_api(
    listener: TcpListener,
    context: Context,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let doors = Doors::new(context.limits.clone(), Resource::ApiConnection, Duration::ZERO);
    server::serve(listener, routes::of_api(context), |from, _| from.ip(), Some(doors), Some(PATIENCE), stop).await
}

/// Serves pages and the repository to nginx until `stop` resolves.
pub async fn serve_internal(
    listener: UnixListener,
    context: Context,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    // nginx keeps connections for longer, and its own clients' patience is its own affair.
    server::serve(listener, routes::inside(context), |_, headers| inside::told_by_nginx(headers), None, None, stop)
        .await
}
