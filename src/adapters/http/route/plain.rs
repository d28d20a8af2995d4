//! Answers in plain text.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

pub fn text(status: StatusCode, body: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body.to_owned()).into_response()
}
