//! What every request to the API passes: its host, its origin, its token, and the right that its route asks for.
//!
//! Which route asks for what is said in `api`'s table, next to its handler.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use tokio::time::timeout;

use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem;
use crate::adapters::http::keyring::Caller;
use crate::adapters::http::page;
use crate::adapters::http::route::asker::{counter, peer};
use crate::adapters::http::route::cut::{no_more, refuse, while_it_stands, with_room};
use crate::adapters::http::serve::bodies::received;
use crate::adapters::http::serve::doors::Inside;
use crate::adapters::http::serve::hooked::Hooked;
use crate::core::access::Right;
use crate::core::asker::{Asker, Askers};
use crate::core::names::AppName;

/// The cookie of a browser's session.
pub const COOKIE: &str = "platformer_session";
/// A request that streams nothing is answered within this time, a slow body included.
const LONGEST: Duration = Duration::from_secs(60);
/// A body that is no larger than this is held by whoever can connect.
const SMALL_BODY: u64 = 1 << 16;
/// A refusal in plain text, made by the framework, is no longer than this.
const REFUSAL: usize = 1 << 16;

/// How a refusal is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Problem,
    /// A page to browsers, a problem to all others.
    Page,
    /// One line of plain text.
    Text,
}

/// What one route asks for.
#[derive(Clone)]
pub struct Guard {
    pub context: Context,
    pub right: Right,
    /// Who is answered at all.
    pub only: Askers,
    /// Whose requests need no token, though it asks for a right.
    pub free: Askers,
    pub tone: Tone,
    /// Whether nginx chose it by its host, which is looked at no more.
    pub hosted: bool,
    /// Whether its body or answer may take as long as it likes.
    pub streams: bool,
    /// Whether what is sent may be as large as the disk allows.
    pub uploads: bool,
    /// Whether the token may be in the query, as Consul's clients send it.
    pub token_in_query: bool,
}

/// Lets a request through to its handler, or says what is missing.
pub async fn check(
    State(guard): State<Guard>,
    params: Result<RawPathParams, axum::extract::rejection::RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Response {
    let app = params.ok().and_then(|params| {
        let app = params.iter().find(|(name, _)| *name == "app").map(|(_, value)| AppName::parse(value));
        app.and_then(Result::ok)
    });
    let as_page = guard.tone == Tone::Page && page::wants_page(request.headers());
    let caller = match admit(&guard, &request, app.as_ref()) {
        Ok(caller) => caller,
        Err(problem) if as_page => return page::refused(&guard.context, refuse(problem)).await,
        Err(problem) if guard.tone == Tone::Text => return as_text(problem),
        Err(problem) => return refuse(problem),
    };
    let room = match is_large(&guard, &request) {
        true => guard.context.bodies.begin(guard.uploads, counter(caller.as_ref(), request.extensions())).map(Some),
        false => Ok(None),
    };
    let room = match room {
        Ok(room) => room,
        Err(full) => return refuse(full.into()),
    };
    if let Some(Inside { door, .. }) = &room {
        request = request.map(|body| received(body, door.clone()));
    }
    let changes = is_unsafe(request.method());
    let what = format!("{} {}", request.method(), request.uri().path());
    if let Some(caller) = &caller {
        request.extensions_mut().insert(caller.clone());
        let (keyring, caller) = (guard.context.keyring.clone(), caller.clone());
        // What is sent to its end after the token has ended changes nothing.
        request = request.map(|body| {
            Hooked::body(body, move |_| match keyring.stands(&caller, Timestamp::now()) {
                true => Ok(()),
                false => Err(axum::Error::new("the token is not valid any more")),
            })
        });
    }
    let answer = with_room(room, next.run(request));
    let response = match guard.streams {
        true => while_it_stands(&guard.context, caller.clone(), answer).await,
        false => timeout(LONGEST, answer).await.unwrap_or_else(|_| {
            let detail = format!("it was not sent, or not done, within {} s", LONGEST.as_secs());
            Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", detail).into_response()
        }),
    };
    let has_ended = |caller: &Caller| !guard.context.keyring.stands(caller, Timestamp::now());
    let is_late = response.status().is_client_error() && caller.as_ref().is_some_and(has_ended);
    let response = if is_late { refuse(no_more()) } else { response };
    if changes && guard.right != Right::Open {
        let by = caller.as_ref().map_or("nobody", |caller| &caller.name);
        tracing::info!(target: "audit", by, what, status = response.status().as_u16(), "called");
    }
    let is_made = response.headers().contains_key(header::CONTENT_SECURITY_POLICY);
    match guard.tone {
        Tone::Page if as_page && !is_made => page::refused(&guard.context, response).await,
        Tone::Page | Tone::Problem => as_problem(response).await,
        Tone::Text => response,
    }
}

fn admit(guard: &Guard, request: &Request, app: Option<&AppName>) -> Result<Option<Caller>, Problem> {
    let (headers, context) = (request.headers(), &guard.context);
    let from = peer(request.extensions());
    let asker = context.snapshot.view().asker(from);
    match guard.only.include(asker) {
        Some(true) => {}
        Some(false) => return Err(stranger(from)),
        None => {
            let detail = "the platform does not know its network yet; ask again in a moment";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "starting", detail));
        }
    }
    if !guard.hosted && !is_allowed_host(headers, &context.allowed_hosts) {
        let detail = "this Host header is not one of the API's; api.allowed_hosts adds more";
        return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "foreign-host", detail));
    }
    let bearer = bearer(headers).or_else(|| in_query(guard, request.uri()));
    let cookie = if bearer.is_none() { cookie(headers, COOKIE) } else { None };
    if is_unsafe(request.method()) && !is_own_origin(headers, &context.trusted_origins, cookie.is_some()) {
        let detail = "the request comes from a page of another origin; api.trusted_origins adds more";
        return Err(Problem::new(StatusCode::FORBIDDEN, "foreign-origin", detail));
    }
    let given = bearer.or(cookie);
    let is_free = guard.right == Right::Open || (given.is_none() && guard.free.include(asker) == Some(true));
    if is_free {
        return Ok(None);
    }
    if given.is_none() && guard.free == Askers::Near && asker == Some(Asker::Stranger) {
        return Err(stranger(from));
    }
    let Some(caller) = given.as_deref().and_then(|text| context.keyring.caller(text, Timestamp::now())) else {
        if given.is_some() {
            context.keyring.wrong(from)?;
            return Err(no_more());
        }
        let detail = "send a token as `Authorization: Bearer …`; the command line finds it in PLATFORMER_TOKEN or in STATE/token";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "no-token", detail));
    };
    caller.may(guard.right, app)?;
    Ok(Some(caller))
}

fn stranger(from: IpAddr) -> Problem {
    let detail =
        format!("{from} is neither this machine nor on the platform's network, and only those are answered here");
    Problem::new(StatusCode::FORBIDDEN, "stranger", detail)
}

/// Whether the body of a request is counted while it is answered. Small ones are bounded by the connections that bring
/// them.
fn is_large(guard: &Guard, request: &Request) -> bool {
    let text = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    let size = match text(header::CONTENT_LENGTH) {
        Some(size) => size.parse().unwrap_or(u64::MAX),
        // Sent in chunks, as long as it goes on.
        None if text(header::TRANSFER_ENCODING).is_some() => u64::MAX,
        None => 0,
    };
    size > if guard.uploads { 0 } else { SMALL_BODY }
}

fn as_text(problem: Problem) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (problem.http, kind, format!("{}\n", problem.detail)).into_response()
}

/// The framework's own refusals, which are plain text, as problem documents.
async fn as_problem(response: Response) -> Response {
    let plain = response.headers().get(header::CONTENT_TYPE).is_none_or(|v| v.as_bytes().starts_with(b"text/plain"));
    let refused = response.status().is_client_error() && response.extensions().get::<Plain>().is_none();
    if !(refused && plain) {
        return response;
    }
    let (status, allow) = (response.status(), response.headers().get(header::ALLOW).cloned());
    let bytes = to_bytes(response.into_body(), REFUSAL).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    let (code, detail) = match status {
        StatusCode::METHOD_NOT_ALLOWED => ("method-not-allowed", "this address is not asked in that way".to_owned()),
        StatusCode::PAYLOAD_TOO_LARGE => ("too-large", text),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ("not-json", text),
        _ => ("bad-request", text),
    };
    let mut answer = Problem::new(status, code, detail).into_response();
    if let Some(allow) = allow {
        answer.headers_mut().insert(header::ALLOW, allow);
    }
    answer
}

/// Marks an answer whose plain text is what a protocol wants: it is left as it is.
#[derive(Clone)]
pub struct Plain;

fn is_unsafe(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The token as we and as Consul's clients send it.
pub fn bearer(headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let bearer = text("authorization").and_then(|v| v.strip_prefix("Bearer ").or_else(|| v.strip_prefix("bearer ")));
    bearer.or_else(|| text("x-consul-token")).map(|text| text.trim().to_owned())
}

fn in_query(guard: &Guard, uri: &Uri) -> Option<String> {
    let query = uri.query().filter(|_| guard.token_in_query)?;
    query.split('&').find_map(|pair| pair.strip_prefix("token=")).map(str::to_owned)
}

pub fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    all.flat_map(|line| line.split(';')).find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then(|| value.to_owned())
    })
}

/// Whether an unsafe request comes from our own page or from no page at all. With a cookie it has to say so: a
/// browser sends a cookie along whoever wrote the page.
fn is_own_origin(headers: &HeaderMap, trusted: &[String], by_cookie: bool) -> bool {
    let text = |name: header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    match (text(header::ORIGIN), text(header::HOST)) {
        (None, _) => !by_cookie,
        (Some(origin), Some(host)) => {
            let own = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            own == Some(host) || trusted.iter().any(|t| t == origin)
        }
        (Some(_), None) => false,
    }
}

fn is_allowed_host(headers: &HeaderMap, allowed: &[String]) -> bool {
    let host = headers.get(header::HOST).and_then(|v| v.to_str().ok());
    host.is_some_and(|host| is_own_host(host, |name| allowed.iter().any(|a| a == name)))
}

/// Whether a `Host` is one that leads here and nowhere else, whoever asks for it: an address, `localhost`, or one of
/// the `ours`. A page that was loaded from an address came from there: only names can be made to lead elsewhere.
pub fn is_own_host(host: &str, ours: impl Fn(&str) -> bool) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok() || name.ends_with(".localhost") || ours(name)
}

/// Whoever asks for what there is not is told so only with a token.
pub async fn nothing(State(context): State<Context>, request: Request) -> Response {
    let guard = Guard {
        context,
        right: Right::Read,
        only: Askers::Anyone,
        free: Askers::Nobody,
        tone: Tone::Page,
        hosted: false,
        streams: false,
        uploads: false,
        token_in_query: false,
    };
    let response = match admit(&guard, &request, None) {
        Err(problem) => refuse(problem),
        Ok(_) => {
            let detail = format!("there is nothing at {}; /openapi.json lists what there is", request.uri().path());
            Problem::new(StatusCode::NOT_FOUND, "no-route", detail).into_response()
        }
    };
    match page::wants_page(request.headers()) {
        true => page::refused(&guard.context, response).await,
        false => response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_our_own_hosts_are_answered() {
        let allowed = ["ops.example".to_owned()];
        for (host, expected) in [
            ("127.0.0.1:7700", true),
            ("localhost", true),
            ("[::1]:7700", true),
            ("dashboard.localhost", true),
            ("ops.example:7700", true),
            ("evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
        ] {
            assert_eq!(is_allowed_host(&headers(&[(header::HOST, host)]), &allowed), expected, "{host}");
        }
        assert!(!is_allowed_host(&HeaderMap::new(), &allowed));
    }

    #[test]
    fn a_page_of_another_origin_changes_nothing() {
        let trusted = ["https://ops.example".to_owned()];
        let own = |origin: Option<&str>, by_cookie| {
            let mut all = headers(&[(header::HOST, "localhost:7700")]);
            if let Some(origin) = origin {
                all.insert(header::ORIGIN, origin.parse().unwrap());
            }
            is_own_origin(&all, &trusted, by_cookie)
        };
        for (origin, by_cookie, expected) in [
            (None, false, true),
            (None, true, false),
            (Some("http://localhost:7700"), true, true),
            (Some("https://ops.example"), true, true),
            (Some("http://localhost:8080"), true, false),
            (Some("http://evil.example"), false, false),
            (Some("null"), false, false),
        ] {
            assert_eq!(own(origin, by_cookie), expected, "{origin:?} {by_cookie}");
        }
    }

    #[test]
    fn tokens_are_found_where_our_and_consuls_clients_put_them() {
        let found = |name: &'static str, value: &str| bearer(&headers(&[(name.parse().unwrap(), value)]));
        assert_eq!(found("authorization", "Bearer abc").as_deref(), Some("abc"));
        assert_eq!(found("x-consul-token", "abc").as_deref(), Some("abc"));
        assert_eq!(found("authorization", "Basic abc"), None);
        let cookies = headers(&[(header::COOKIE, "a=b; platformer_session=abc")]);
        assert_eq!(cookie(&cookies, COOKIE).as_deref(), Some("abc"));
    }
}
