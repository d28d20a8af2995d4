//! Config over the API: the text, and single keys set and unset without touching any other byte.

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Context;
use super::error::Problem;
use crate::core::config;
use crate::core::names::{AppName, EnvName};
use crate::ports::library::LibraryError;

pub async fn show(State(context): State<Context>, Path(app): Path<String>) -> Result<Json<Value>, Problem> {
    let app = AppName::parse(&app)?;
    let text = context.library.read_config(&app).await?;
    let assignments = config::parse(&text).map_err(|e| unusable(&app, &e))?;
    let keys: serde_json::Map<_, _> =
        assignments.into_iter().map(|a| (a.key.to_string(), Value::String(a.value))).collect();
    Ok(Json(json!({ "app": app, "config": keys })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetRequest {
    value: String,
}

pub async fn set(
    State(context): State<Context>,
    Path((app, key)): Path<(String, String)>,
    Json(request): Json<SetRequest>,
) -> Result<Json<Value>, Problem> {
    let (app, key) = (AppName::parse(&app)?, EnvName::parse(&key)?);
    if request.value.contains('\0') {
        return Err(Problem::bad(format!("{key}: a NUL byte cannot be part of a variable")));
    }
    let text = match context.library.read_config(&app).await {
        Err(LibraryError::Missing(_)) => String::new(),
        other => other?,
    };
    let changed = config::set(&text, &key, &request.value).map_err(|e| unusable(&app, &e))?;
    context.library.write_config(&app, &changed).await?;
    Ok(Json(json!({ "done": format!("{key} of {app} is set; instances that start from now on see it") })))
}

pub async fn unset(
    State(context): State<Context>,
    Path((app, key)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (app, key) = (AppName::parse(&app)?, EnvName::parse(&key)?);
    let text = context.library.read_config(&app).await?;
    let changed = config::unset(&text, &key).map_err(|e| unusable(&app, &e))?;
    let changed = changed.ok_or_else(|| Problem::from(LibraryError::Missing(format!("{app} has no key {key}"))))?;
    context.library.write_config(&app, &changed).await?;
    Ok(Json(json!({ "done": format!("{key} of {app} is unset") })))
}

fn unusable(app: &AppName, error: &config::ConfigError) -> Problem {
    Problem::from(LibraryError::Bad(format!("config/{app}/{app}.config: {error}")))
}
