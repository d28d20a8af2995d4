//! What nginx asks over the unix socket: the repository, the registry under its own names, and pages for requests that
//! it cannot serve. Nobody but nginx reaches that socket, so who asks is who nginx says: the address in `X-Real-IP`,
//! which it sets anew in each request.

pub mod pages;
pub mod repository;
mod secrets;

use std::net::{IpAddr, Ipv4Addr};

use axum::http::HeaderMap;

/// Who nginx says that asks. Without an address he is nobody that is known.
pub fn told_by_nginx(headers: &HeaderMap) -> IpAddr {
    let text = headers.get("x-real-ip").and_then(|value| value.to_str().ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}
