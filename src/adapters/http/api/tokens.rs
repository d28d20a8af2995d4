//! Tokens made, listed and revoked.

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem;
use crate::adapters::http::keyring::Caller;
use crate::adapters::http::route::known::Known;
use crate::adapters::http::route::sent::Sent;
use crate::core::access::{Scope, Token};

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
    Query(known): Query<Known>,
    Sent(asked): Sent<TokenRequest>,
) -> Result<Response, Problem> {
    if asked.scopes.is_empty() {
        return Err(Problem::bad("a token needs a scope: read, deploy:APP or admin"));
    }
    for scope in &asked.scopes {
        if let Scope::Deploy(app) = scope {
            known.app(&context, app)?;
        }
    }
    let (text, token) = make(&context, &caller, asked.scopes, asked.expires.as_deref())?;
    let mut shown = shown(&token);
    shown["token"] = json!(text);
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(shown)).into_response())
}

fn make(
    context: &Context,
    caller: &Caller,
    scopes: Vec<Scope>,
    expires: Option<&str>,
) -> Result<(String, Token), Problem> {
    let now = Timestamp::now();
    let expires_at = expires.map(|text| end(text, now)).transpose()?;
    context.keyring.create(scopes, expires_at, caller, now)
}

/// A token of one scope; its text.
pub fn made(context: &Context, caller: &Caller, scope: &str, expires: Option<&str>) -> Result<String, Problem> {
    let scope = Scope::parse(scope).map_err(|error| Problem::bad(error.to_string()))?;
    make(context, caller, vec![scope], expires).map(|(text, _)| text)
}

#[derive(Deserialize)]
pub struct ListQuery {
    #[serde(default)]
    sessions: bool,
}

pub async fn list(State(context): State<Context>, Query(asked): Query<ListQuery>) -> Json<Value> {
    let mut listed = json!({ "tokens": context.keyring.list().iter().map(shown).collect::<Vec<_>>() });
    if asked.sessions {
        let sessions = context.keyring.sessions(Timestamp::now());
        listed["sessions"] = sessions.iter().map(shown_session).collect();
    }
    Json(listed)
}

pub fn shown_session(session: &Token) -> Value {
    let mut shown = shown(session);
    shown["token"] = json!(session.session_of);
    shown
}

pub async fn revoke(State(context): State<Context>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let done = end_of(&context, &id)?;
    Ok(Json(json!({ "done": done })))
}

/// Ends a token, or a session; in a sentence, what was done.
///
/// # Errors
/// If there is none with this id.
pub fn end_of(context: &Context, id: &str) -> Result<String, Problem> {
    let missing = || Problem::new(StatusCode::NOT_FOUND, "unknown-token", "there is no token or session with this id");
    if !context.keyring.revoke(id)? {
        return Err(missing());
    }
    Ok(format!("{id} opens nothing any more, nor what was opened with it"))
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
