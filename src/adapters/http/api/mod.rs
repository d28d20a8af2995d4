//! The control API's routes. Handlers read the snapshot and send commands; none of them acts by itself.

mod apps;
mod by;
mod deployments;
mod diff;
mod library;
mod platform;
mod sent;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post, put};

use super::{Context, access, config, events, linger, logs};
pub use by::By;
use sent::Sent;

/// The largest JSON or TOML body; uploads have no limit but the disk.
const LARGEST_BODY: usize = 1 << 20;

pub fn router(context: Context) -> Router {
    Router::new()
        .route("/", get(platform::front))
        .route("/healthz", get(platform::health))
        .route("/v1/status", get(platform::status))
        .route("/v1/generation", get(platform::generation))
        .route("/v1/render", get(platform::render))
        .route("/v1/dns", get(platform::dns))
        .route("/v1/why", get(platform::why))
        .route("/v1/events", get(events::stream))
        .route("/v1/down", post(platform::down))
        .route("/v1/apps", get(apps::list))
        .route("/v1/apps/{app}", get(apps::show).put(apps::apply).delete(apps::remove))
        .route("/v1/apps/{app}/scale", put(apps::scale))
        .route("/v1/apps/{app}/start", post(apps::start))
        .route("/v1/apps/{app}/stop", post(apps::stop))
        .route("/v1/apps/{app}/restart", post(apps::restart))
        .route("/v1/apps/{app}/deployments", post(deployments::deploy))
        .route("/v1/apps/{app}/deployments/{id}", get(deployments::show))
        .route("/v1/apps/{app}/promote", post(deployments::promote))
        .route("/v1/apps/{app}/pause", post(deployments::pause))
        .route("/v1/apps/{app}/resume", post(deployments::resume))
        .route("/v1/apps/{app}/abort", post(deployments::abort))
        .route("/v1/apps/{app}/rollback", post(deployments::rollback))
        .route("/v1/apps/{app}/swap", post(deployments::swap))
        .route("/v1/apps/{app}/split", put(deployments::split))
        .route("/v1/apps/{app}/maintenance", put(deployments::maintenance))
        .route("/v1/apps/{app}/history", get(deployments::history))
        .route("/v1/apps/{app}/releases", get(deployments::releases))
        .route("/v1/apps/{app}/diff", get(diff::show))
        .route("/v1/apps/{app}/logs", get(logs::stream))
        .route("/v1/config/{app}", get(config::show))
        .route("/v1/config/{app}/{key}", put(config::set).delete(config::unset))
        .route("/v1/repository", get(library::list))
        .route("/v1/repository/verify", post(library::verify))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .route("/v1/repository/{app}/{version}/{file}", put(library::push).layer(DefaultBodyLimit::disable()))
        .fallback(platform::nothing)
        .layer(middleware::from_fn_with_state(context.clone(), access::check))
        .layer(middleware::from_fn(linger::read_out))
        .with_state(context)
}
