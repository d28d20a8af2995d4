//! Configs as shell lines: readable on the platform's network, but for their secrets, which only the app's own
//! instances are given.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::io::AsyncReadExt;

use super::Context;
use super::repository::text;
use crate::core::config::{self, Assignment};
use crate::core::names::AppName;
use crate::core::repository::File;

/// The config as lines that a shell evaluates to the same values; 422 names the line where it does not parse.
pub async fn as_sh(
    context: &Context,
    path: &str,
    file: &File,
    mut handle: tokio::fs::File,
    headers: &HeaderMap,
) -> Response {
    let mut content = String::new();
    if let Err(error) = handle.read_to_string(&mut content).await {
        return text(StatusCode::UNPROCESSABLE_ENTITY, &format!("{}: {error}\n", file.path));
    }
    // `config/APP/…` or `releases/APP/VERSION/…`.
    let app = path.split('/').nth(1).and_then(|app| AppName::parse(app).ok());
    let lines = match (config::parse(&content), app) {
        (Err(error), _) => return text(StatusCode::UNPROCESSABLE_ENTITY, &format!("{}: {error}\n", file.path)),
        (Ok(assignments), None) => Ok(without_secrets(assignments)),
        (Ok(assignments), Some(app)) => match is_own(context, &app, headers) {
            Ok(true) => opened(context, &app, assignments),
            Ok(false) => Ok(without_secrets(assignments)),
            Err(reason) => return text(StatusCode::FORBIDDEN, &format!("{reason}\n")),
        },
    };
    match lines {
        // The type tells startup.sh that this is what it may evaluate, and no page of somebody else.
        Ok(assignments) => (
            [(header::CONTENT_TYPE, "text/x-shellscript; charset=utf-8"), (header::CACHE_CONTROL, "no-store")],
            config::as_export_lines(&assignments),
        )
            .into_response(),
        Err(reason) => text(StatusCode::UNPROCESSABLE_ENTITY, &format!("{}: {reason}\n", file.path)),
    }
}

/// Whether an instance of the app asks: it brings its boot token, and asks from no other app's address.
fn is_own(context: &Context, app: &AppName, headers: &HeaderMap) -> Result<bool, String> {
    let value = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let Some(token) = value("authorization").and_then(|v| v.strip_prefix("Bearer ")) else { return Ok(false) };
    let (own, _) = context.seal.booted(token.trim()).ok_or("this is no boot token of this platform")?;
    if own != *app {
        return Err(format!("this token is for the config of {own}, not of {app}"));
    }
    let from = value("x-real-ip").unwrap_or_default();
    let view = context.snapshot.view();
    let of_another = view.status.apps.iter().filter(|other| other.name != *app).find(|other| {
        other.instances.iter().any(|i| i.address.is_some_and(|address| address.ip().to_string() == from))
    });
    match of_another {
        Some(other) => Err(format!("{from} is an instance of {}, and this token is for {app}", other.name)),
        None => Ok(true),
    }
}

fn without_secrets(assignments: Vec<Assignment>) -> Vec<Assignment> {
    assignments.into_iter().filter(|assignment| !assignment.is_secret()).collect()
}

fn opened(context: &Context, app: &AppName, assignments: Vec<Assignment>) -> Result<Vec<Assignment>, String> {
    let open = |mut assignment: Assignment| {
        if assignment.is_secret() {
            assignment.value = context.seal.open(app, &assignment.key, &assignment.value).ok_or_else(|| {
                format!(
                    "key {0}: its secret was made by another platform or for another key; set it again with `platformer config set {app} {0}=… --secret`",
                    assignment.key
                )
            })?;
        }
        Ok(assignment)
    };
    assignments.into_iter().map(open).collect()
}
