//! The dashboard's routes.

use super::super::dashboard::{act, app, file, forms, live, login, pages};
use super::super::route::table::{Row, get, post};
use crate::core::access::Right::{Admin, Change, Deploy, Open, Read};

pub fn rows() -> Vec<Row> {
    let pages = vec![
        get("/", Read, "The dashboard: apps", pages::apps),
        get("/apps/{app}", Read, "One app", app::show),
        get("/apps/{app}/diff", Read, "What differs between two releases", app::diff),
        get("/apps/{app}/logs", Read, "An instance's log", app::logs),
        post("/apps/{app}/act", Deploy, "A form's action: its plan, and once confirmed, the act", act::act),
        get("/deployments", Read, "The latest deployments", pages::deployments),
        get("/routes", Read, "Routes and names", pages::routes),
        get("/repository", Read, "Files, and a form to upload one", pages::repository),
        post("/repository", Change, "Uploads an artefact from a form", forms::upload).uploads(),
        get("/registry", Read, "Registered services and keys", pages::registry),
        post("/registry", Admin, "Sets or removes a service or a key from a form", forms::registry),
        get("/events", Read, "Events", pages::events),
        get("/settings", Read, "Tokens, webhooks, this machine", pages::settings),
        post("/settings", Admin, "Makes or revokes a token from a form", forms::settings),
    ];
    let mut rows: Vec<Row> = pages.into_iter().map(Row::page).collect();
    rows.extend([
        get("/login", Open, "A form to log in", login::show),
        post("/login", Open, "A browser's session for a token or a link's code, sent as a form", login::login),
        post("/logout", Open, "The end of a browser's session", login::logout),
        post("/v1/login-links", Read, "A link that logs a browser in once", login::link),
        get("/live", Read, "Says when an open page is to be asked for again", live::stream).streams(),
        get("/static/{file}", Open, "The dashboard's style and script", file),
    ]);
    rows
}
