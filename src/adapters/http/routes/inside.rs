//! The routes of what nginx asks.

use super::super::context::Context;
use super::super::inside::{pages, repository};
use super::super::route::table::{Row, any, get};
use crate::core::access::Right::Open;
use crate::core::asker::Askers;

pub fn rows(context: &Context) -> Vec<Row> {
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
