//! What nginx asks over the unix socket: the repository for everyone, and pages for requests it cannot serve.

use axum::Router;
use axum::routing::get;

use super::{Context, pages, repository};

pub fn router(context: Context) -> Router {
    Router::new()
        .route("/repository/", get(repository::front))
        .route("/repository/{*path}", get(repository::file))
        .route("/pages/unknown/", get(pages::unknown))
        .route(
            "/pages/unknown/{*path}",
            get(pages::unknown).post(pages::unknown).put(pages::unknown).delete(pages::unknown),
        )
        .route("/pages/unavailable/{app}", get(pages::unavailable))
        .route("/pages/platform/", get(pages::platform))
        .route("/pages/platform/{*path}", get(pages::platform))
        .with_state(context)
}
