//! Config over the API: the text, and single keys set and unset without touching any other byte.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem;
use crate::adapters::http::route::known::{Known, exists};
use crate::adapters::http::route::sent::Sent;
use crate::core::config;
use crate::core::digest::sha256;
use crate::core::names::{AppName, EnvName};
use crate::ports::library::LibraryError;

pub async fn show(
    State(context): State<Context>,
    Path(app): Path<String>,
) -> Result<([(HeaderName, String); 1], Json<Value>), Problem> {
    let app = AppName::parse(&app)?;
    let text = read(&context, &app).await?;
    let assignments = config::parse(&text).map_err(|e| unusable(&app, &e))?;
    let keys: serde_json::Map<_, _> = assignments
        .into_iter()
        .map(|a| {
            let shown = if a.is_secret() { config::MASK.to_owned() } else { a.value };
            (a.key.to_string(), Value::String(shown))
        })
        .collect();
    Ok(([(header::ETAG, etag(&text))], Json(json!({ "app": app, "config": keys }))))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetRequest {
    value: String,
    /// Kept so that only the app's own instances can read it
    #[serde(default)]
    secret: bool,
}

pub async fn set(
    State(context): State<Context>,
    Path((app, key)): Path<(String, String)>,
    Query(known): Query<Known>,
    headers: HeaderMap,
    Sent(request): Sent<SetRequest>,
) -> Result<Json<Value>, Problem> {
    let (app, key) = (AppName::parse(&app)?, EnvName::parse(&key)?);
    known.app(&context, &app)?;
    if request.value.contains('\0') {
        return Err(Problem::bad(format!("{key}: a NUL byte cannot be part of a variable")));
    }
    let text = match context.library.read_config(&app).await {
        Err(LibraryError::Missing(_)) => String::new(),
        other => other?,
    };
    unchanged(&headers, &text)?;
    let value = match request.secret {
        true => context
            .seal
            .seal(&app, &key, &request.value)
            .map_err(|reason| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no-random", reason))?,
        false if request.value.starts_with(config::SEALED) => {
            return Err(Problem::bad(format!("{key}: a value cannot begin with {}", config::SEALED)));
        }
        // Who forgets --secret would put the next password into a file in plain text.
        false if config::parse(&text).is_ok_and(|lines| lines.iter().any(|l| l.key == key && l.is_secret())) => {
            return Err(Problem::bad(format!(
                "{key} of {app} is secret; set it with --secret, or make it plain: `platformer config unset {app} {key}` first"
            )));
        }
        false => request.value,
    };
    let changed = config::set(&text, &key, &value).map_err(|e| unusable(&app, &e))?;
    context.library.write_config(&app, &changed).await?;
    Ok(Json(json!({ "done": format!("{key} of {app} is set; {NEXT}") })))
}

pub async fn unset(
    State(context): State<Context>,
    Path((app, key)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    let (app, key) = (AppName::parse(&app)?, EnvName::parse(&key)?);
    let text = read(&context, &app).await?;
    unchanged(&headers, &text)?;
    let changed = config::unset(&text, &key).map_err(|e| unusable(&app, &e))?;
    let changed = changed.ok_or_else(|| Problem::from(LibraryError::Missing(format!("{app} has no key {key}"))))?;
    context.library.write_config(&app, &changed).await?;
    Ok(Json(json!({ "done": format!("{key} of {app} is unset; {NEXT}") })))
}

/// Takes away the whole config.
pub async fn remove(
    State(context): State<Context>,
    Path(app): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    let app = AppName::parse(&app)?;
    // One that cannot be read is taken away all the same.
    let text = match context.library.read_config(&app).await {
        Err(LibraryError::Bad(_)) => String::new(),
        found => known(&context, &app, found)?,
    };
    unchanged(&headers, &text)?;
    context.library.remove_config(&app).await?;
    Ok(Json(json!({ "done": format!("{app} has no config any more; releases that were made with it keep theirs") })))
}

/// The config's text.
async fn read(context: &Context, app: &AppName) -> Result<String, Problem> {
    known(context, app, context.library.read_config(app).await)
}

/// What was found; where there is none and no app either, the name was probably a slip.
fn known(context: &Context, app: &AppName, found: Result<String, LibraryError>) -> Result<String, Problem> {
    match found {
        Err(missing @ LibraryError::Missing(_)) => {
            exists(&context.snapshot.view(), app)?;
            Err(missing.into())
        }
        other => Ok(other?),
    }
}

/// A release keeps the config that it was made with, so a restart brings nothing new.
const NEXT: &str = "what runs keeps the config it was released with, the next release has this one (--deploy makes it)";

/// SHA-256 of the file as it is.
fn etag(text: &str) -> String {
    format!("\"{}\"", sha256(text))
}

/// Of two who read the same file, the second to write is told, if he asks for it with `If-Match`.
fn unchanged(headers: &HeaderMap, text: &str) -> Result<(), Problem> {
    match headers.get(header::IF_MATCH).map(|tag| tag.as_bytes()) {
        None | Some(b"*") => Ok(()),
        Some(tag) if tag == etag(text).as_bytes() => Ok(()),
        Some(_) => Err(Problem::new(
            StatusCode::PRECONDITION_FAILED,
            "changed-meanwhile",
            "the config has changed since it was read; read it again and repeat",
        )),
    }
}

fn unusable(app: &AppName, error: &config::ConfigError) -> Problem {
    Problem::from(LibraryError::Bad(format!("config/{app}/{app}.config: {error}")))
}
