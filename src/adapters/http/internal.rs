//! What nginx asks over the unix socket: the repository, the registry under its own names, and pages for requests that
//! it cannot serve. Nobody but nginx reaches that socket, so who asks is who nginx says: the address in `X-Real-IP`,
//! which it sets anew in each request.

use std::net::{IpAddr, Ipv4Addr};

use axum::Router;
use axum::http::HeaderMap;

use super::api::table::{self, Row, any, get};
use super::{Context, api, pages, repository};
use crate::core::access::Right::Open;
use crate::core::asker::Askers;

pub fn router(context: Context) -> Router {
    let own = format!("services.{}", context.frame.domain);
    let hosts = context.allowed_hosts.iter().cloned().chain([own]).collect();
    let of_registry = Context { allowed_hosts: hosts, ..context.clone() };
    table::router(rows(&context), &context)
        .merge(table::router(api::near_registry(&context), &of_registry))
        .with_state(context)
}

fn rows(context: &Context) -> Vec<Row> {
    let served = if context.repository.open { Askers::Anyone } else { Askers::Near };
    let rows = [
        get("/repository/", Open, "What the repository has", repository::front).only(served),
        get("/repository/{*path}", Open, "A file of the repository", repository::file).only(served).streams(),
        any("/pages/unknown/", Open, "No app has the host", pages::unknown),
        any("/pages/unknown/{*path}", Open, "No app has the host", pages::unknown),
        any("/pages/unavailable/{app}", Open, "An app has no instance", pages::unavailable),
        any("/pages/service/{*path}", Open, "No service has the name", pages::no_service),
        any("/pages/platform/", Open, "A name of the platform's own", pages::platform),
        any("/pages/platform/{*path}", Open, "A name of the platform's own", pages::platform),
    ];
    rows.into_iter().map(Row::hosted).collect()
}

/// Who nginx says that asks. Without an address he is nobody that is known.
pub fn told_by_nginx(headers: &HeaderMap) -> IpAddr {
    let text = headers.get("x-real-ip").and_then(|value| value.to_str().ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}
