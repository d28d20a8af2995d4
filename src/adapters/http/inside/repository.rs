//! Files of the repository: by lookup in the index, never by joining a URL to a folder.
//!
//! ETag is the SHA-256 of what is sent. Ranges and conditions follow RFC 9110 §13 and §14; several ranges at
//! once are answered with the whole file, as §14.2 allows.

use std::io::SeekFrom;
use std::net::IpAddr;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_range_header::parse_range_header;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::secrets;
use crate::adapters::http::context::Context;
use crate::adapters::http::route::access;
use crate::adapters::http::route::asker::Peer;
use crate::adapters::http::route::plain::text;
use crate::adapters::http::serve::holding::holding;
use crate::core::names::AppName;
use crate::core::repository::File;
use crate::ports::limits::{Held, Resource};

/// How often a file that changed while it was opened is looked up again.
const TRIES: usize = 5;

#[derive(Deserialize)]
pub struct FileQuery {
    #[serde(rename = "as")]
    format: Option<String>,
}

pub async fn front() -> Response {
    text(
        StatusCode::OK,
        "platformer repository: /config/APP/APP.config, /artefacts/APP/VERSION/FILE, /files/APP/APP.tgz\n",
    )
}

pub async fn file(
    State(context): State<Context>,
    peer: Peer,
    Path(path): Path<String>,
    Query(query): Query<FileQuery>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    if context.repository.require_token
        && let Err((status, reason)) = shows_token(&context, &path, peer, &headers).await
    {
        return text(status, &format!("{reason}\n"));
    }
    let held = match context.limits.take(Resource::Download, peer.0) {
        Ok(held) => held,
        // Whoever fetches waits and asks again, as for any other 503.
        Err(full) => return text(StatusCode::SERVICE_UNAVAILABLE, &format!("{full}\n")),
    };
    let asked = Wanted { path: &path, from: peer.0, query: &query, method: &method, headers: &headers };
    find(&context, &asked, held).await
}

/// An instance shows the token that it was started with, for what its app consists of; others one that may read.
async fn shows_token(
    context: &Context,
    path: &str,
    peer: Peer,
    headers: &HeaderMap,
) -> Result<(), (StatusCode, String)> {
    let wrong = |reason: &str| (StatusCode::UNAUTHORIZED, reason.to_owned());
    let Some(token) = access::bearer(headers) else {
        return Err(wrong(
            "this repository wants a token (repository.require_token): an instance's own, or one with the scope read",
        ));
    };
    if context.keyring.caller(&token, Timestamp::now()).is_some() {
        return Ok(());
    }
    if context.seal.booted(&token).is_none() {
        context.keyring.wrong(peer.0).map_err(|problem| (problem.http, problem.detail))?;
        return Err(wrong("this token is not valid, or not any more"));
    }
    // `config/APP/…`, `files/APP/…`, `artefacts/APP/…`, `releases/APP/…`.
    match path.split('/').nth(1).and_then(|app| AppName::parse(app).ok()) {
        Some(app) => secrets::is_own(context, &app, peer.0, headers).await.map(drop),
        None => Err((StatusCode::NOT_FOUND, "Not in the repository.".into())),
    }
}

/// A file as it is asked for.
struct Wanted<'a> {
    path: &'a str,
    from: IpAddr,
    query: &'a FileQuery,
    method: &'a Method,
    headers: &'a HeaderMap,
}

/// A slow reader holds an open file: `held` is given back with its last byte.
async fn find(context: &Context, asked: &Wanted<'_>, held: Held) -> Response {
    let path = asked.path;
    for _ in 0..TRIES {
        let view = context.snapshot.view();
        if let Some(contents) = view.release_contents(path) {
            // What a release is made of is kept apart from the tree, and never changes.
            return match context.library.kept(contents).await {
                Some((kept, handle)) => respond(context, asked, &kept, tokio::fs::File::from_std(handle), held).await,
                None => text(StatusCode::NOT_FOUND, "No longer kept.\n"),
            };
        }
        let Some(index) = &view.index else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "The repository is starting.\n");
        };
        let Some(found) = index.lookup(path, |app| view.stable(app)) else {
            return text(StatusCode::NOT_FOUND, "Not in the repository.\n");
        };
        match context.library.open(found).await {
            Ok(Some(handle)) => return respond(context, asked, found, tokio::fs::File::from_std(handle), held).await,
            // Replaced since it was indexed: what it is now has to be hashed first.
            Ok(None) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %found.path, %error, "a file of the repository cannot be read");
                return text(StatusCode::NOT_FOUND, "Not readable in the repository.\n");
            }
        }
        let seen = view.index.clone();
        if context.library.refresh().await.is_err() {
            break;
        }
        let newer = context.snapshot.until(|v| v.index != seen);
        // The scan may have found nothing new to tell; then the next try decides.
        let _ = tokio::time::timeout(std::time::Duration::from_millis(200), newer).await;
    }
    text(StatusCode::SERVICE_UNAVAILABLE, "The file is being replaced, try again.\n")
}

async fn respond(
    context: &Context,
    asked: &Wanted<'_>,
    file: &File,
    mut handle: tokio::fs::File,
    held: Held,
) -> Response {
    let Wanted { path, from, query, method, headers } = *asked;
    if query.format.as_deref() == Some("sh") && file.path.ends_with(".config") {
        return secrets::as_sh(context, path, file, handle, from, headers).await;
    }
    let etag = format!("\"{}\"", file.sha256);
    let modified = httpdate::fmt_http_date(file.modified.into());
    let mut response_headers = HeaderMap::new();
    let mut set = |name, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response_headers.insert(name, value);
        }
    };
    set(header::ETAG, &etag);
    set(header::LAST_MODIFIED, &modified);
    set(header::ACCEPT_RANGES, "bytes");
    set(header::CACHE_CONTROL, "no-cache");
    set(header::CONTENT_TYPE, content_type(&file.path));
    if is_unchanged(file, &etag, headers) {
        return (StatusCode::NOT_MODIFIED, response_headers).into_response();
    }
    let (status, start, length) = match range(file, &etag, headers) {
        Ok(Some((start, end))) => {
            set_range(&mut response_headers, &format!("bytes {start}-{end}/{}", file.size));
            (StatusCode::PARTIAL_CONTENT, start, end - start + 1)
        }
        Ok(None) => (StatusCode::OK, 0, file.size),
        Err(()) => {
            set_range(&mut response_headers, &format!("bytes */{}", file.size));
            return (StatusCode::RANGE_NOT_SATISFIABLE, response_headers).into_response();
        }
    };
    response_headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if *method == Method::HEAD {
        return (status, response_headers).into_response();
    }
    if let Err(error) = handle.seek(SeekFrom::Start(start)).await {
        tracing::warn!(path = %file.path, %error, "a file of the repository cannot be read");
        return text(StatusCode::INTERNAL_SERVER_ERROR, "The file cannot be read.\n");
    }
    let chunks = ReaderStream::with_capacity(handle.take(length), 1 << 16);
    let body = Body::from_stream(holding(chunks, vec![held]));
    (status, response_headers, body).into_response()
}

fn set_range(headers: &mut HeaderMap, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(header::CONTENT_RANGE, value);
    }
}

fn is_unchanged(file: &File, etag: &str, headers: &HeaderMap) -> bool {
    let value = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    if let Some(known) = value(header::IF_NONE_MATCH) {
        return known.split(',').map(|tag| tag.trim().trim_start_matches("W/")).any(|tag| tag == etag || tag == "*");
    }
    let since = value(header::IF_MODIFIED_SINCE).and_then(|v| httpdate::parse_http_date(v).ok());
    since.is_some_and(|since| {
        jiff::Timestamp::try_from(since).is_ok_and(|since| file.modified.as_second() <= since.as_second())
    })
}

/// The byte range asked for, inclusive; `Err` where none of the file is in it.
fn range(file: &File, etag: &str, headers: &HeaderMap) -> Result<Option<(u64, u64)>, ()> {
    let value = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    let Some(asked) = value(header::RANGE) else { return Ok(None) };
    if value(header::IF_RANGE).is_some_and(|condition| condition != etag) {
        return Ok(None);
    }
    // RFC 9110 §14.2: a Range that cannot be understood is ignored.
    let Ok(parsed) = parse_range_header(asked) else { return Ok(None) };
    let ranges = parsed.validate(file.size).map_err(|_| ())?;
    Ok(match ranges.as_slice() {
        [one] => Some((*one.start(), *one.end())),
        _ => None,
    })
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("config") => "text/plain; charset=utf-8",
        Some("tgz") => "application/gzip",
        _ => mime_guess::from_path(path).first_raw().unwrap_or("application/octet-stream"),
    }
}
