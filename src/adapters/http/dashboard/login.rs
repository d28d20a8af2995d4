//! Logging in with a token, or with a link that the command line prints and that works once; and out again.

use std::time::Duration;

use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::assets::build;
use super::links::LINK;
use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem;
use crate::adapters::http::keyring::Caller;
use crate::adapters::http::page::{rendered, wants_page};
use crate::adapters::http::route::access::{COOKIE, cookie};
use crate::adapters::http::route::asker::peer;

/// A browser stays logged in for so long.
const SESSION: Duration = Duration::from_secs(12 * 3600);
/// More than any token and its field's name.
const LONGEST_FORM: usize = 4096;

pub async fn link(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>, Problem> {
    if caller.session {
        let detail = "a session opens no others; `platformer dashboard` makes a link with the token itself";
        return Err(Problem::new(StatusCode::FORBIDDEN, "is-session", detail));
    }
    let code = context.keyring.random()?;
    context.links.add(&code, &caller.root, Timestamp::now());
    Ok(Json(json!({ "path": format!("/login?code={code}"), "seconds": LINK.as_secs() })))
}

#[derive(Deserialize)]
pub struct Asked {
    code: Option<String>,
}

/// The form. A link's code is only shown here and used by the button: following a link must change nothing.
pub async fn show(Query(asked): Query<Asked>) -> Response {
    form(asked.code.as_deref(), None, StatusCode::OK)
}

fn form(code: Option<&str>, refused: Option<&str>, status: StatusCode) -> Response {
    rendered("login.html", &json!({ "code": code, "refused": refused, "build": build() }), status)
}

/// A form with the field `token`, or a link's `code`, becomes a session: a cookie that scripts cannot read and other
/// sites cannot send.
pub async fn login(State(context): State<Context>, request: Request) -> Result<Response, Problem> {
    let (from, is_browser) = (peer(request.extensions()), wants_page(request.headers()));
    let body = axum::body::to_bytes(request.into_body(), LONGEST_FORM).await;
    let body =
        body.map_err(|_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "a login is one short field"))?;
    let now = Timestamp::now();
    let caller = match field(&body, "code") {
        Some(code) => context.links.take(&code, now).and_then(|root| context.keyring.holder(&root, now)),
        None => context.keyring.caller(&field(&body, "token").unwrap_or_default(), now),
    };
    // A session is no token: to whoever shows one as such it opens nothing.
    let caller = caller.filter(|caller| !caller.session);
    let Some(caller) = caller else {
        let problem = match context.keyring.wrong(from) {
            Err(too_many) => too_many,
            Ok(()) => {
                let detail = "this token or link is not valid, or not any more";
                Problem::new(StatusCode::UNAUTHORIZED, "no-token", detail)
            }
        };
        return if is_browser { Ok(form(None, Some(&problem.detail), problem.http)) } else { Err(problem) };
    };
    let expires_at = now.checked_add(SESSION).ok();
    let session = context.keyring.open_session(&caller, expires_at, now)?;
    let cookie = format!("{COOKIE}={session}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict", SESSION.as_secs());
    Ok((StatusCode::SEE_OTHER, [(header::SET_COOKIE, cookie), (header::LOCATION, "/".into())]).into_response())
}

pub async fn logout(State(context): State<Context>, headers: HeaderMap) -> Result<Response, Problem> {
    if let Some(caller) = cookie(&headers, COOKIE).and_then(|text| context.keyring.caller(&text, Timestamp::now()))
        && let Some(session) = caller.token.filter(|_| caller.session)
    {
        context.keyring.revoke(&session)?;
    }
    let cookie = format!("{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
    Ok((StatusCode::SEE_OTHER, [(header::SET_COOKIE, cookie), (header::LOCATION, "/login".into())]).into_response())
}

/// One field of a form; tokens and codes are hex digits, so that nothing has to be decoded.
fn field(body: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    text.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name)).map(|(_, v)| v.to_owned())
}
