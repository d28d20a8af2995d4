//! What differs between two releases: image, artefact, config, declaration.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use similar::TextDiff;

use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem;
use crate::adapters::http::route::known::exists;
use crate::adapters::http::serve::receive;
use crate::core::config::masked;
use crate::core::names::{AppName, Version};
use crate::core::release::Release;

#[derive(Deserialize)]
pub struct DiffQuery {
    from: Version,
    to: Version,
}

pub async fn show(
    State(context): State<Context>,
    Path(app): Path<String>,
    Query(query): Query<DiffQuery>,
) -> Result<Json<Value>, Problem> {
    let app = AppName::parse(&app)?;
    differences(&context, &app, &query).await.map(Json)
}

pub async fn differences(context: &Context, app: &AppName, query: &DiffQuery) -> Result<Value, Problem> {
    let view = context.snapshot.view();
    exists(&view, app)?;
    let find = |version: &Version| {
        let release = view.releases.get(app).and_then(|r| r.all.get(version));
        let missing = || format!("{app} has no release {version}; `platformer releases {app}` lists them");
        release.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "unknown-release", missing()))
    };
    let (from, to) = (find(&query.from)?, find(&query.to)?);
    let image = |r: &Release| format!("{} {}\n", r.image, r.image_digest.as_deref().unwrap_or_default());
    let artefact = |r: &Release| r.artefact.as_ref().map(|b| format!("{} {}\n", b.path, b.sha256)).unwrap_or_default();
    let config = [config(context, from).await, config(context, to).await];
    let declaration = [declaration(from)?, declaration(to)?];
    Ok(json!({
        "app": app, "from": query.from, "to": query.to,
        "image": diff(query, &image(from), &image(to)),
        "artefact": diff(query, &artefact(from), &artefact(to)),
        "config": diff(query, &config[0], &config[1]),
        "declaration": diff(query, &declaration[0], &declaration[1]),
    }))
}

/// A unified diff; empty where both are the same.
fn diff(query: &DiffQuery, from: &str, to: &str) -> String {
    if from == to {
        return String::new();
    }
    TextDiff::from_lines(from, to).unified_diff().header(query.from.as_str(), query.to.as_str()).to_string()
}

/// The config text of a release; empty where there is none, or where it is no longer kept.
async fn config(context: &Context, release: &Release) -> String {
    let Some(blob) = &release.config else { return String::new() };
    let Some((_, file)) = context.library.kept(blob).await else { return "# no longer kept\n".into() };
    match receive::text(file).await {
        Ok(text) => masked(&text),
        Err(reason) => format!("# {reason}\n"),
    }
}

fn declaration(release: &Release) -> Result<String, Problem> {
    let text = serde_json::to_string_pretty(&*release.app);
    text.map(|t| t + "\n").map_err(|e| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", e.to_string()))
}
