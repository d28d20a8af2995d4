//! Apps: shown, declared, and steered by commands.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::listed::List;
use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem as Refusal;
use crate::adapters::http::route::by::By;
use crate::adapters::http::route::known::unknown_app;
use crate::adapters::http::route::sent::Sent;
use crate::adapters::http::route::slice::Slice;
use crate::core::decide::Command;
use crate::core::names::AppName;
use crate::core::problem::{Problem, ProblemKind};
use crate::core::view::{AppStatus, Generations};

#[derive(Deserialize, Default, PartialEq)]
#[serde(default)]
pub struct ListQuery {
    /// Part of the name.
    q: String,
    limit: Option<usize>,
    offset: usize,
}

pub async fn list(State(context): State<Context>, Query(asked): Query<ListQuery>) -> Result<Response, Refusal> {
    let view = context.snapshot.view();
    if asked == ListQuery::default() {
        let text = context.listed.text(&view)?;
        return Ok(([(CONTENT_TYPE, "application/json")], text).into_response());
    }
    let slice = Slice { limit: asked.limit, offset: asked.offset };
    let (apps, total) = slice.of(view.status.apps.iter().filter(|app| app.name.as_str().contains(&asked.q)));
    Ok(Json(List { apps, total }).into_response())
}

/// An app with what concerns it of the platform's status.
#[derive(Serialize)]
struct One<'a> {
    #[serde(flatten)]
    app: &'a AppStatus,
    problems: Vec<&'a Problem>,
    generation: Generations,
}

pub async fn show(State(context): State<Context>, Path(app): Path<String>) -> Result<Response, Refusal> {
    let app = AppName::parse(&app)?;
    let view = context.snapshot.view();
    let found = view.status.app(&app).ok_or_else(|| unknown_app(&view, &app))?;
    let (problems, generation) = (view.status.problems_of(found), view.status.generation);
    Ok(Json(One { app: found, problems, generation }).into_response())
}

/// Writes the declaration; the body is the text of `apps/APP.toml`. The answer has the problems that it causes.
pub async fn apply(
    State(context): State<Context>,
    by: By,
    Path(app): Path<String>,
    text: String,
) -> Result<Json<Value>, Refusal> {
    let app = AppName::parse(&app)?;
    context.library.declare(&app, &text).await?;
    // An app that was removed before comes back with its new declaration.
    context.inbox.ask(Command::Start(app.clone()), &by.0).await?;
    // The answer came with a view that has the new declaration in it.
    let view = context.snapshot.view();
    let is_its_fault = |problem: &&Problem| match problem.kind {
        ProblemKind::Taken => problem.subject == format!("app {app}"),
        ProblemKind::File => problem.subject == format!("file apps/{app}.toml"),
        _ => false,
    };
    let problems: Vec<_> = view.status.problems.iter().filter(is_its_fault).collect();
    Ok(Json(json!({ "done": format!("{app} is declared"), "problems": problems })))
}

#[derive(Deserialize)]
pub struct RemoveQuery {
    #[serde(default)]
    files: bool,
}

pub async fn remove(
    State(context): State<Context>,
    by: By,
    Path(app): Path<String>,
    Query(query): Query<RemoveQuery>,
) -> Result<Json<Value>, Refusal> {
    let app = AppName::parse(&app)?;
    let done = command(&context, Command::Remove(app.clone()), &by).await?;
    if query.files {
        context.library.delete(&app).await?;
    }
    Ok(done)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleRequest {
    replicas: u16,
}

pub async fn scale(
    State(context): State<Context>,
    by: By,
    Path(app): Path<String>,
    Sent(request): Sent<ScaleRequest>,
) -> Result<Json<Value>, Refusal> {
    command(&context, Command::Scale { app: AppName::parse(&app)?, replicas: request.replicas }, &by).await
}

pub async fn start(State(context): State<Context>, by: By, Path(app): Path<String>) -> Result<Json<Value>, Refusal> {
    command(&context, Command::Start(AppName::parse(&app)?), &by).await
}

pub async fn stop(State(context): State<Context>, by: By, Path(app): Path<String>) -> Result<Json<Value>, Refusal> {
    command(&context, Command::Stop(AppName::parse(&app)?), &by).await
}

pub async fn restart(State(context): State<Context>, by: By, Path(app): Path<String>) -> Result<Json<Value>, Refusal> {
    command(&context, Command::Restart(AppName::parse(&app)?), &by).await
}

async fn command(context: &Context, command: Command, by: &By) -> Result<Json<Value>, Refusal> {
    let done = context.inbox.ask(command, &by.0).await?;
    Ok(Json(json!({ "done": done.said })))
}
