//! Style and script, which are compiled in.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::adapters::http::error::Problem;

const STYLE: &str = include_str!("../../../../templates/dashboard/style.css");
const SCRIPT: &str = include_str!("../../../../templates/dashboard/script.js");
/// What is compiled in; its address has the version in it, so it may be kept.
pub async fn file(Path(name): Path<String>) -> Result<Response, Problem> {
    let (kind, text) = match name.as_str() {
        "style.css" => ("text/css; charset=utf-8", STYLE),
        "script.js" => ("text/javascript; charset=utf-8", SCRIPT),
        _ => return Err(Problem::new(StatusCode::NOT_FOUND, "missing", format!("there is no file {name:?} here"))),
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "max-age=3600"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, text).into_response())
}

/// Another one for each start of another build, so that browsers do not keep the files of an older one.
pub fn build() -> String {
    format!("{}-{}-{}", env!("CARGO_PKG_VERSION"), STYLE.len(), SCRIPT.len())
}
