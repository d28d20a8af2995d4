//! The small registry: services that are no containers, registered, looked up and taken away.
//!
//! Its addresses and answers are those of older registries: a URL is one percent-encoded segment of the path, an
//! answer is `{"url": {"name", "url"}}`, or `{}` for what there is not.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem;
use crate::adapters::http::route::by::By;
use crate::adapters::http::route::by::Vouched;
use crate::adapters::http::route::sent::Sent;
use crate::core::app::HealthPath;
use crate::core::decide::Command;
use crate::core::names::AppName;
use crate::core::service::{Endpoint, EndpointId, ServiceUrl};
use crate::core::world::Condition;
use crate::ports::snapshot::View;

/// Whoever registers a service finds it routed; one that is not up yet is answered after this.
const ROUTED: Duration = Duration::from_secs(2);

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceRequest {
    /// `http://HOST:PORT` or `https://…`; a path behind it means nothing
    #[schema(value_type = String)]
    url: ServiceUrl,
    /// A path that answers 200-399 while the service is well
    #[schema(value_type = Option<String>)]
    health: Option<HealthPath>,
    #[serde(default)]
    tags: Vec<String>,
}

impl ServiceRequest {
    pub fn at(url: ServiceUrl) -> Self {
        Self { url, health: None, tags: Vec::new() }
    }
}

pub async fn list(State(context): State<Context>) -> Json<Value> {
    let view = context.snapshot.view();
    Json(json!({ "services": view.services.values().collect::<Vec<_>>() }))
}

pub async fn show(State(context): State<Context>, Path(name): Path<String>) -> Response {
    let view = context.snapshot.view();
    let found = AppName::parse(&name).ok().and_then(|name| view.services.get(&name));
    match found.and_then(|service| Some((service, service.endpoints.first()?))) {
        Some((service, first)) => {
            let url = json!({ "name": service.name, "url": first.url });
            Json(json!({ "url": url, "endpoints": service.endpoints })).into_response()
        }
        None => (StatusCode::NOT_FOUND, Json(json!({}))).into_response(),
    }
}

pub async fn put(
    State(context): State<Context>,
    by: By,
    vouched: Vouched,
    Path(name): Path<String>,
    Sent(request): Sent<ServiceRequest>,
) -> Result<Json<Value>, Problem> {
    set(&context, &by, vouched, &name, request).await
}

pub async fn post(
    State(context): State<Context>,
    by: By,
    vouched: Vouched,
    Path((name, url)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    set(&context, &by, vouched, &name, ServiceRequest::at(ServiceUrl::parse(&url)?)).await
}

pub async fn set(
    context: &Context,
    by: &By,
    vouched: Vouched,
    name: &str,
    request: ServiceRequest,
) -> Result<Json<Value>, Problem> {
    let name = AppName::parse(name)?;
    let id = EndpointId::parse(name.as_str())?;
    let endpoint = Endpoint {
        url: request.url,
        health: request.health,
        tags: request.tags,
        at: Timestamp::now(),
        by: by.0.as_str().into(),
        inside: vouched.0,
    };
    let alone = Command::Register { name: name.clone(), id: id.clone(), endpoint: Box::new(endpoint), alone: true };
    register(context, by, alone, &name, &id).await?;
    Ok(Json(json!({ "success": true })))
}

/// Registers, and waits until requests reach the service, or it is known why they do not.
pub async fn register(
    context: &Context,
    by: &By,
    command: Command,
    name: &AppName,
    id: &EndpointId,
) -> Result<(), Problem> {
    context.inbox.ask(command, &by.0).await?;
    let is_known = |view: &View| {
        let endpoints = view.services.get(name).map_or(&[][..], |service| &service.endpoints);
        match endpoints.iter().find(|endpoint| endpoint.id == *id).map(|endpoint| endpoint.state) {
            Some(Condition::Starting) => false,
            // Settled: no worker of the generation before takes a request any more.
            Some(Condition::Ready | Condition::Unhealthy) => {
                view.status.generation.live == Some(view.status.generation.wanted)
            }
            Some(Condition::Draining | Condition::Stopped) | None => true,
        }
    };
    // Registered it is in any case; `state` tells how it does.
    let _ = timeout(ROUTED, context.snapshot.until(is_known)).await;
    Ok(())
}

pub async fn remove(State(context): State<Context>, by: By, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    let said = deregister(&context, &by, &name).await?;
    Ok(Json(json!({ "success": true, "done": said })))
}

/// Takes a service away; in a sentence, what was done.
///
/// # Errors
/// If there is none of that name.
pub async fn deregister(context: &Context, by: &By, name: &str) -> Result<String, Problem> {
    let name = AppName::parse(name)?;
    Ok(context.inbox.ask(Command::Deregister { name, id: None }, &by.0).await?.said)
}
