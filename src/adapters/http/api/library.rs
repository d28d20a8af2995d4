//! The repository over the API: listing, upload, verification.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use futures_util::{Stream, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem;
use crate::adapters::http::route::known::Known;
use crate::adapters::http::route::slice::Slice;
use crate::adapters::http::serve::receive;
use crate::core::names::{AppName, Version};
use crate::ports::library::Pushed;

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct ListQuery {
    prefix: String,
    limit: Option<usize>,
    offset: usize,
}

pub async fn list(State(context): State<Context>, Query(asked): Query<ListQuery>) -> Result<Json<Value>, Problem> {
    let view = context.snapshot.view();
    let index = view.index.as_ref().ok_or_else(|| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "starting", "the repository is not indexed yet")
    })?;
    let slice = Slice { limit: asked.limit, offset: asked.offset };
    let (files, total) = slice.of(index.files.values().filter(|file| file.path.starts_with(&asked.prefix)));
    Ok(Json(json!({ "files": files, "total": total, "troubles": index.troubles })))
}

pub async fn verify(State(context): State<Context>) -> Result<Json<Value>, Problem> {
    let troubles = context.library.verify().await?;
    Ok(Json(json!({ "ok": troubles.is_empty(), "troubles": troubles })))
}

/// Receives an artefact. The body is written beside the tree and becomes a version only when it is whole.
pub async fn push(
    State(context): State<Context>,
    Path((app, version, file)): Path<(String, String, String)>,
    Query(known): Query<Known>,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let (app, version) = (AppName::parse(&app)?, Version::parse(&version)?);
    known.app(&context, &app)?;
    let pushed = take(&context, &app, &version, &file, body.into_data_stream()).await?;
    let status = if pushed.unchanged { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(json!(pushed))))
}

/// Deletes a version's archive. One that carries traffic, or is to, stays: it would be missed by who looks for it.
pub async fn remove(
    State(context): State<Context>,
    Path((app, version)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (app, version) = (AppName::parse(&app)?, Version::parse(&version)?);
    let view = context.snapshot.view();
    let releases = view.releases.get(&app);
    for (role, used) in [
        ("stable", releases.and_then(|r| r.stable.as_ref())),
        ("the candidate", releases.and_then(|r| r.candidate.as_ref())),
    ] {
        if used.is_some_and(|used| used.base() == version.base()) {
            let detail = format!(
                "{app}@{version} is {role}; deploy another version first, or `platformer remove {app} --files`"
            );
            return Err(Problem::new(StatusCode::CONFLICT, "in-use", detail));
        }
    }
    context.library.remove_version(&app, &version).await?;
    Ok(Json(json!({ "done": format!("{app}@{version} is in the repository no more") })))
}

/// Writes what comes beside the tree, and makes it a version once it is whole.
pub async fn take<E: std::fmt::Display>(
    context: &Context,
    app: &AppName,
    version: &Version,
    file: &str,
    chunks: impl Stream<Item = Result<Bytes, E>>,
) -> Result<Pushed, Problem> {
    let upload = context.library.incoming()?;
    let (mut chunks, mut at) = (std::pin::pin!(chunks), 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|e| Problem::bad(format!("the upload was cut off: {e}")))?;
        let length = chunk.len() as u64;
        receive::write_at(&upload.file, chunk, at).await?;
        at += length;
    }
    receive::sync(&upload.file).await?;
    Ok(context.library.push(app, version, file, upload).await?)
}
