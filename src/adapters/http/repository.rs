//! Files of the repository: by lookup in the index, never by joining a URL to a folder.
//!
//! ETag is the SHA-256 of what is sent. Ranges and conditions follow RFC 9110 §13 and §14; several ranges at
//! once are answered with the whole file, as §14.2 allows.

use std::io::SeekFrom;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_range_header::parse_range_header;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::{Context, secrets};
use crate::core::repository::File;

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
    Path(path): Path<String>,
    Query(query): Query<FileQuery>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    for _ in 0..TRIES {
        let view = context.snapshot.view();
        if let Some(contents) = view.release_contents(&path) {
            // What a release is made of is kept apart from the tree, and never changes.
            return match context.library.kept(contents).await {
                Some(kept) => match context.library.open(&kept).await {
                    Ok(Some(handle)) => {
                        respond(&context, &path, &kept, tokio::fs::File::from_std(handle), &query, &method, &headers)
                            .await
                    }
                    Ok(None) | Err(_) => text(StatusCode::NOT_FOUND, "Not readable among the kept contents.\n"),
                },
                None => text(StatusCode::NOT_FOUND, "No longer kept.\n"),
            };
        }
        let Some(index) = &view.index else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "The repository is starting.\n");
        };
        let Some(found) = index.lookup(&path, |app| view.stable(app)) else {
            return text(StatusCode::NOT_FOUND, "Not in the repository.\n");
        };
        match context.library.open(found).await {
            Ok(Some(handle)) => {
                return respond(&context, &path, found, tokio::fs::File::from_std(handle), &query, &method, &headers)
                    .await;
            }
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
    path: &str,
    file: &File,
    mut handle: tokio::fs::File,
    query: &FileQuery,
    method: &Method,
    headers: &HeaderMap,
) -> Response {
    if query.format.as_deref() == Some("sh") && file.path.ends_with(".config") {
        return secrets::as_sh(context, path, file, handle, headers).await;
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
    let body = Body::from_stream(ReaderStream::with_capacity(handle.take(length), 1 << 16));
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

pub fn text(status: StatusCode, body: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body.to_owned()).into_response()
}
