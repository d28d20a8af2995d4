//! Logging in with a token, or with a link that the command line prints and that works once; and out again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Context;
use super::super::access::{COOKIE, cookie, peer};
use super::super::error::Problem;
use super::super::keyring::Caller;
use crate::core::digest::sha256;

/// A browser stays logged in for so long.
const SESSION: Duration = Duration::from_secs(12 * 3600);
/// A link that nobody followed within this time opens nothing.
const LINK: Duration = Duration::from_secs(300);
/// Links of one token that wait to be followed; of more the oldest opens nothing any more.
pub const LINKS: usize = 20;
/// More than any token and its field's name.
const LONGEST_FORM: usize = 4096;

/// Links that were made and not followed yet, oldest first.
#[derive(Default)]
pub struct Links(Mutex<Vec<Link>>);

struct Link {
    /// Of its code.
    digest: String,
    /// The token that it was made with.
    root: String,
    until: Timestamp,
}

impl Links {
    /// How many wait.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn add(&self, code: &str, root: &str, now: Timestamp) {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|link| link.until > now);
        if links.iter().filter(|link| link.root == root).count() >= LINKS
            && let Some(oldest) = links.iter().position(|link| link.root == root)
        {
            links.remove(oldest);
        }
        links.push(Link { digest: sha256(code), root: root.to_owned(), until: now + LINK });
    }

    /// The token that the link was made with; it opens nothing any more.
    fn take(&self, code: &str, now: Timestamp) -> Option<String> {
        let (mut links, digest) = (self.0.lock().unwrap_or_else(PoisonError::into_inner), sha256(code));
        let at = links.iter().position(|link| link.digest == digest)?;
        let link = links.remove(at);
        (link.until > now).then_some(link.root)
    }
}

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
    super::rendered("login.html", &json!({ "code": code, "refused": refused, "build": super::build() }), status)
}

/// A form with the field `token`, or a link's `code`, becomes a session: a cookie that scripts cannot read and other
/// sites cannot send.
pub async fn login(State(context): State<Context>, request: Request) -> Result<Response, Problem> {
    let (from, is_browser) = (peer(request.extensions()), super::wants_page(request.headers()));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_works_once_and_not_for_long() {
        let (links, now) = (Links::default(), Timestamp::UNIX_EPOCH);
        links.add("a", "root", now);
        links.add("b", "root", now);
        assert!(links.take("a", now).is_some() && links.take("a", now).is_none());
        assert!(links.take("b", now + LINK).is_none() && links.take("c", now).is_none());
    }

    #[test]
    fn of_too_many_links_of_one_token_the_oldest_is_dead() {
        let (links, now) = (Links::default(), Timestamp::UNIX_EPOCH);
        links.add("other", "b", now);
        (0..=LINKS).for_each(|n| links.add(&n.to_string(), "a", now));
        assert_eq!(links.take("0", now), None);
        assert_eq!((links.take("1", now).as_deref(), links.take("other", now).as_deref()), (Some("a"), Some("b")));
    }
}
