//! Configs as shell lines: readable on the platform's network, but for their secrets, which only the app's own
//! instances are given.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use crate::adapters::http::context::Context;
use crate::adapters::http::route::plain::text;
use crate::adapters::http::serve::receive;
use crate::core::config::{self, Assignment};
use crate::core::names::{AppName, Version};
use crate::core::repository::File;
use crate::ports::snapshot::View;

/// How long the engine's news of an instance may take to arrive here.
const HEARD_OF: Duration = Duration::from_secs(5);

/// The config as lines that a shell evaluates to the same values; 422 names the line where it does not parse.
pub async fn as_sh(
    context: &Context,
    path: &str,
    file: &File,
    handle: tokio::fs::File,
    from: IpAddr,
    headers: &HeaderMap,
) -> Response {
    let content = match receive::text(handle.into_std().await).await {
        Ok(content) => content,
        Err(reason) => return text(StatusCode::UNPROCESSABLE_ENTITY, &format!("{}: {reason}\n", file.path)),
    };
    // `config/APP/…` or `releases/APP/VERSION/…`.
    let app = path.split('/').nth(1).and_then(|app| AppName::parse(app).ok());
    let lines = match (config::parse(&content), app) {
        (Err(error), _) => return text(StatusCode::UNPROCESSABLE_ENTITY, &format!("{}: {error}\n", file.path)),
        (Ok(assignments), None) => Ok(without_secrets(assignments)),
        (Ok(assignments), Some(app)) => match is_own(context, &app, from, headers).await {
            Ok(true) => opened(context, &app, assignments),
            Ok(false) => Ok(without_secrets(assignments)),
            Err((status, reason)) => return text(status, &format!("{reason}\n")),
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

/// Whether an instance of the app asks: it brings its release's boot token, and asks from its own address. An instance
/// may ask before the engine has told of it.
pub async fn is_own(
    context: &Context,
    app: &AppName,
    from: IpAddr,
    headers: &HeaderMap,
) -> Result<bool, (StatusCode, String)> {
    let value = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let Some(token) = value("authorization").and_then(|v| v.strip_prefix("Bearer ")) else { return Ok(false) };
    let forbidden = |reason: String| (StatusCode::FORBIDDEN, reason);
    let booted = context.seal.booted(token.trim());
    let (own, version) = booted.ok_or_else(|| forbidden("this is no boot token of this platform".into()))?;
    if own != *app {
        return Err(forbidden(format!("this token is for the config of {own}, not of {app}")));
    }
    let is_there = |view: &View| is_instance(view, from, app, &version);
    let patience = if from.is_loopback() { Duration::ZERO } else { HEARD_OF };
    if timeout(patience, context.snapshot.until(is_there)).await.is_ok() {
        return Ok(true);
    }
    let is_other = from.is_loopback() || containers_at(&context.snapshot.view(), from).next().is_some();
    // Of an address that nothing is known of it may still be told; startup.sh asks again then.
    let status = if is_other { StatusCode::FORBIDDEN } else { StatusCode::SERVICE_UNAVAILABLE };
    Err((status, format!("{from} is no instance of {app}@{version}, and this token is for those alone")))
}

/// Whether the address is one of an instance of this release that we started.
fn is_instance(view: &View, address: IpAddr, app: &AppName, version: &Version) -> bool {
    let instances = view.status.apps.iter().filter(|status| status.name == *app).flat_map(|status| &status.instances);
    let names: Vec<&Arc<str>> = containers_at(view, address).collect();
    instances.filter(|i| i.managed && i.release == *version).any(|instance| names.contains(&&instance.name))
}

fn containers_at(view: &View, address: IpAddr) -> impl Iterator<Item = &Arc<str>> {
    let located = view.zone.iter().flat_map(|zone| zone.containers.values());
    located.filter(move |located| located.addresses.contains(&address)).map(|located| &located.container)
}

fn without_secrets(assignments: Vec<Assignment>) -> Vec<Assignment> {
    assignments.into_iter().filter(|assignment| !assignment.is_secret()).collect()
}

fn opened(context: &Context, app: &AppName, assignments: Vec<Assignment>) -> Result<Vec<Assignment>, String> {
    let open = |mut assignment: Assignment| {
        if assignment.is_secret() {
            assignment.value = context.seal.open(app, &assignment.key, &assignment.value).ok_or_else(|| {
                format!(
                    "key {0}: its secret was made by another platform or for another key; set it again with `platformer config set {app} {0} --secret`",
                    assignment.key
                )
            })?;
        }
        Ok(assignment)
    };
    assignments.into_iter().map(open).collect()
}
