//! `Idempotency-Key`: a request that is sent again does nothing again, and is answered as the first time.

use std::future::Future;

use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem;
use crate::adapters::http::route::by::By;
use crate::core::digest::sha256;
use crate::ports::tokens::Answered;

/// The header with the key.
const KEY: &str = "idempotency-key";
const LONGEST: usize = 255;

/// Does the work unless this caller sent the same key before. Refusals are not kept: what was refused may be asked
/// again under its key.
pub async fn once(
    context: &Context,
    by: &By,
    headers: &HeaderMap,
    request: &str,
    work: impl Future<Output = Result<(StatusCode, Value), Problem>>,
) -> Result<Response, Problem> {
    let Some(key) = headers.get(KEY) else {
        return work.await.map(|(status, value)| (status, axum::Json(value)).into_response());
    };
    let key = key.to_str().ok().filter(|key| (1..=LONGEST).contains(&key.trim().len()));
    let key = key.ok_or_else(|| Problem::bad(format!("Idempotency-Key: 1 to {LONGEST} visible characters")))?;
    let (key, request) = (sha256(format!("{} {key}", by.0)), sha256(request));
    // One at a time, so that two that come together are one.
    let _turn = context.once.lock().await;
    if let Some(before) = context.tokens.answered(&key)? {
        if before.request != request {
            let detail = "this Idempotency-Key was used for another request; a new request needs a new key";
            return Err(Problem::new(StatusCode::CONFLICT, "key-reused", detail));
        }
        let status = StatusCode::from_u16(before.status).unwrap_or(StatusCode::OK);
        return Ok((status, [("content-type", "application/json")], before.body).into_response());
    }
    let (status, value) = work.await?;
    let body = value.to_string();
    context.tokens.answer(&key, &Answered { request, status: status.as_u16(), body: body.clone() })?;
    Ok((status, [("content-type", "application/json")], body).into_response())
}
