//! Tokens made, listed and revoked; browsers logged in and out with one.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::super::access::{COOKIE, cookie, peer};
use super::super::error::Problem;
use super::super::keyring::Caller;
use super::{Context, Sent};
use crate::core::access::{Scope, Token};

/// A browser stays logged in for so long.
const SESSION: Duration = Duration::from_secs(12 * 3600);
/// More than any token and its field's name.
const LONGEST_FORM: usize = 4096;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// `read`, `deploy:APP`, `admin`
    #[schema(value_type = Vec<String>)]
    scopes: Vec<Scope>,
    /// How long it is valid, such as `24h`; without it until it is revoked
    #[serde(default)]
    expires: Option<String>,
}

pub async fn create(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Sent(asked): Sent<TokenRequest>,
) -> Result<Response, Problem> {
    if asked.scopes.is_empty() {
        return Err(Problem::bad("a token needs a scope: read, deploy:APP or admin"));
    }
    let now = Timestamp::now();
    let expires_at = asked.expires.as_deref().map(|text| end(text, now)).transpose()?;
    let (text, token) = context.keyring.create(asked.scopes, expires_at, &caller.name, None, now)?;
    let mut shown = shown(&token);
    shown["token"] = json!(text);
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(shown)).into_response())
}

pub async fn list(State(context): State<Context>) -> Json<Value> {
    Json(json!({ "tokens": context.keyring.list().iter().map(shown).collect::<Vec<_>>() }))
}

pub async fn revoke(State(context): State<Context>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let missing = || Problem::new(StatusCode::NOT_FOUND, "unknown-token", "there is no token with this id");
    let known = context.keyring.list().iter().any(|token| token.id == id);
    if !known || !context.keyring.revoke(&id)? {
        return Err(missing());
    }
    Ok(Json(json!({ "done": format!("token {id} opens nothing any more") })))
}

/// When something ends that is valid for so long: hours and less as jiff reads them, or whole days.
fn end(text: &str, now: Timestamp) -> Result<Timestamp, Problem> {
    let bad = || Problem::bad(format!("expires: write a number with its unit, such as 90m, 24h or 30d, not {text:?}"));
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    let span = match days {
        Some(days) => SignedDuration::from_hours(i64::from(days) * 24),
        None => text.parse().map_err(|_| bad())?,
    };
    if span.is_negative() || span.is_zero() {
        return Err(bad());
    }
    now.checked_add(span).map_err(|_| bad())
}

fn shown(token: &Token) -> Value {
    json!({
        "id": token.id, "scopes": token.scopes, "created_at": token.created_at, "created_by": token.created_by,
        "expires_at": token.expires_at,
    })
}

/// A form with the field `token` becomes a session: a cookie that scripts cannot read and other sites cannot send.
pub async fn login(State(context): State<Context>, request: Request) -> Result<Response, Problem> {
    let from = peer(&request);
    let body = axum::body::to_bytes(request.into_body(), LONGEST_FORM).await;
    let body =
        body.map_err(|_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "a login is one short field"))?;
    let now = Timestamp::now();
    let text = field(&body, "token").unwrap_or_default();
    let Some(caller) = context.keyring.caller(&text, now) else {
        context.keyring.wrong(from)?;
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "no-token", "this token is not valid, or not any more"));
    };
    let expires_at = now.checked_add(SESSION).ok();
    let parent = caller.token.clone().unwrap_or_else(|| "root".into());
    let (session, _) = context.keyring.create(caller.scopes, expires_at, &caller.name, Some(parent), now)?;
    let cookie = format!("{COOKIE}={session}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict", SESSION.as_secs());
    Ok((StatusCode::SEE_OTHER, [(header::SET_COOKIE, cookie), (header::LOCATION, "/".into())]).into_response())
}

pub async fn logout(State(context): State<Context>, headers: HeaderMap) -> Result<Response, Problem> {
    if let Some(caller) = cookie(&headers, COOKIE).and_then(|text| context.keyring.caller(&text, Timestamp::now()))
        && let Some(session) = caller.token
    {
        context.keyring.revoke(&session)?;
    }
    let cookie = format!("{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
    Ok((StatusCode::SEE_OTHER, [(header::SET_COOKIE, cookie), (header::LOCATION, "/login".into())]).into_response())
}

/// One field of a form; tokens are hex digits, so that nothing has to be decoded.
fn field(body: &Bytes, name: &str) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    text.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name)).map(|(_, v)| v.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_valid_for_hours_or_days_and_never_for_no_time() {
        let seconds = |text: &str| end(text, Timestamp::UNIX_EPOCH).map(|at| at.as_second()).ok();
        for (text, expected) in [
            ("24h", Some(86_400)),
            ("90m", Some(5_400)),
            ("365d", Some(31_536_000)),
            ("0s", None),
            ("-1h", None),
            ("soon", None),
            ("4000000000d", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
