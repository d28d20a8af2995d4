//! Every route, on which listener it is: the one place that knows all handlers.

mod api;
mod consul;
mod dashboard;
mod inside;

use std::sync::LazyLock;

use axum::{Json, Router, middleware};
use serde_json::Value;

use super::api::openapi;
use super::context::Context;
use super::route::access;
use super::route::table::{self, Row, get};
use super::serve::linger;
use crate::core::access::Right::Open;
use crate::core::asker::Askers;

/// `unasked` use the registry without a token.
fn rows(unasked: Askers) -> Vec<Row> {
    [api::rows(unasked), dashboard::rows(), consul::rows()].into_iter().flatten().collect()
}

/// Every row, and the one that describes them all.
fn all_rows(unasked: Askers) -> Vec<Row> {
    let mut rows = rows(unasked);
    rows.push(get("/openapi.json", Open, "This document", described));
    rows
}

async fn described() -> Json<&'static Value> {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| openapi::document(&all_rows(Askers::Nobody)));
    Json(&DOCUMENT)
}

/// What is answered at the API's listener.
pub fn of_api(context: Context) -> Router {
    table::router(all_rows(api::unasked(&context)), &context)
        .fallback(access::nothing)
        .layer(middleware::from_fn(linger::read_out))
        .with_state(context)
}

/// What is answered to nginx.
pub fn inside(context: Context) -> Router {
    let own = format!("services.{}", context.frame.domain);
    let hosts = context.allowed_hosts.iter().cloned().chain([own]).collect();
    let of_registry = Context { allowed_hosts: hosts, ..context.clone() };
    table::router(inside::rows(&context), &context)
        .merge(table::router(api::near_registry(&context), &of_registry))
        .with_state(context)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::access::Right;

    #[test]
    fn whoever_may_look_changes_nothing_and_little_is_open() {
        let open: Vec<&str> =
            rows(Askers::Nobody).iter().filter(|row| row.right == Right::Open).map(|row| row.path).collect();
        let (hooks, open): (Vec<&str>, Vec<&str>) = open.into_iter().partition(|path| path.starts_with("/webhooks/"));
        let expected = ["/healthz", "/login", "/login", "/logout", "/static/{file}"];
        assert_eq!((open, hooks.len()), (expected.to_vec(), 5));
        for row in rows(Askers::Nobody).iter().filter(|row| row.right == Right::Read) {
            // A link that logs its maker in opens nothing that he could not open before.
            let is_safe = row.method == axum::http::Method::GET || row.path == "/v1/login-links";
            assert!(is_safe, "{}", row.path);
        }
        for row in rows(Askers::Nobody).iter().filter(|row| row.right == Right::Deploy) {
            assert!(row.variables().any(|name| name == "app"), "{} names no app whose scope would open it", row.path);
        }
    }

    #[test]
    fn every_route_is_described() {
        let document = openapi::document(&rows(Askers::Nobody));
        for row in rows(Askers::Nobody) {
            let operation = &document["paths"][row.path.replace("{*", "{")][row.method.as_str().to_lowercase()];
            assert_eq!(operation["summary"], row.summary, "{} {}", row.method, row.path);
            assert_eq!(operation["parameters"].as_array().map(Vec::len), Some(row.variables().count()));
        }
        let schema = &document["components"]["schemas"]["Deploy"]["properties"];
        assert!(schema["version"].is_object() && schema["dry_run"].is_object(), "{schema}");
    }
}
