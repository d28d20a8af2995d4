//! What nginx asks over the unix socket: the repository for everyone, and pages for requests it cannot serve.

use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;

use super::{Context, api, pages, repository};

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
        .merge(registry(&context))
        .with_state(context)
}

/// The registry under its own names, each caller known by what nginx says of him.
fn registry(context: &Context) -> Router<Context> {
    let own = format!("services.{}", context.frame.domain);
    let hosts = context.allowed_hosts.iter().cloned().chain([own]).collect();
    let context = Context { allowed_hosts: hosts, ..context.clone() };
    api::near_registry(&context).layer(middleware::from_fn(with_peer))
}

async fn with_peer(mut request: Request, next: Next) -> Response {
    let text = request.headers().get("x-real-ip").and_then(|value| value.to_str().ok());
    // Without an address nobody is near.
    let ip = text.and_then(|text| text.parse().ok()).unwrap_or(IpAddr::from([0, 0, 0, 0]));
    request.extensions_mut().insert(ConnectInfo(SocketAddr::new(ip, 0)));
    next.run(request).await
}
