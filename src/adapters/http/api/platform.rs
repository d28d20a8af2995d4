//! The platform as a whole: status, generation, rendered text, names, `why`, going down.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use similar::TextDiff;
use utoipa::ToSchema;

use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem;
use crate::adapters::http::keyring::Caller;
use crate::adapters::http::route::by::By;
use crate::core::access::Right;
use crate::core::decide::Command;
use crate::core::deploy::Deployment;
use crate::core::names::Port;
use crate::core::plan::ahead;
use crate::core::render::{RenderError, Renderer};
use crate::core::routes::Routes;
use crate::core::view::{Status, SupervisorStatus};
use crate::core::zone::{THIS_MACHINE, Target, Zone};
use crate::ports::balancer::BalancerStatus;
use crate::ports::snapshot::View;

pub async fn health() -> &'static str {
    "ok\n"
}

/// The status with the parts that are not the core's: nginx and the supervisor itself.
#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    status: &'a Status,
    nginx: BalancerStatus,
    supervisor: SupervisorStatus,
}

pub async fn status(State(context): State<Context>) -> Response {
    let supervisor = SupervisorStatus {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION"),
        started_at: context.started_at,
    };
    let nginx = context.balancer.status().await;
    Json(Whole { status: &context.snapshot.view().status, nginx, supervisor }).into_response()
}

pub async fn generation(State(context): State<Context>) -> impl IntoResponse {
    Json(context.snapshot.view().status.generation)
}

#[derive(Deserialize)]
pub struct RenderQuery {
    #[serde(default)]
    diff: bool,
}

/// The nginx text that is wanted now; with `diff`, how it differs from what is live.
pub async fn render(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<RenderQuery>,
) -> Result<String, Problem> {
    rendered(&context, &caller, query.diff)
}

/// The routes as they are shown to somebody: who may not steer an app does not learn how its candidate is previewed.
fn shown(routes: &Routes, caller: &Caller) -> Routes {
    routes.without_secrets(|app| caller.may(Right::Deploy, Some(app)).is_ok())
}

pub fn rendered(context: &Context, caller: &Caller, diff: bool) -> Result<String, Problem> {
    let view = context.snapshot.view();
    let generation = view.status.generation.live.unwrap_or(view.status.generation.wanted);
    let text = |view: &View, routes: &Routes| {
        let routes = shown(routes, caller);
        let rendered = Renderer::new(&view.templates).and_then(|r| r.render(generation, &context.frame, &routes));
        rendered.map_err(|e| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "template", e.to_string()))
    };
    let wanted = text(&view, &view.routes)?.http;
    if !diff {
        return Ok(wanted);
    }
    let live = match &view.live_routes {
        Some(routes) => text(&view, routes)?.http,
        None => String::new(),
    };
    Ok(TextDiff::from_lines(&live, &wanted).unified_diff().header("live", "wanted").to_string())
}

/// How nginx's text would change with each generation that a deployment leads through.
pub fn steps_ahead(context: &Context, caller: &Caller, deployment: &Deployment) -> Result<Value, Problem> {
    let view = context.snapshot.view();
    let Some(route) = view.routes.apps.get(&deployment.app) else { return Ok(json!([])) };
    let declared = view.index.as_ref().and_then(|index| index.apps.get(&deployment.app));
    let port = declared.map_or(Port::APP, |app| app.port).get();
    let surge = declared.map_or(1, |app| app.deploy.surge);
    let wanted = view.status.app(&deployment.app).map_or(1, |app| app.wanted);
    let renderer = Renderer::new(&view.templates);
    let unrendered = |e: RenderError| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "template", e.to_string());
    let renderer = renderer.map_err(unrendered)?;
    let text = |routes: &Routes| renderer.render(0, &context.frame, routes).map(|r| r.http).map_err(unrendered);
    let (mut routes, mut steps) = (shown(&view.routes, caller), Vec::new());
    let mut before = text(&routes)?;
    for (says, route) in ahead(route, deployment, u16::try_from(wanted).unwrap_or(u16::MAX), surge, port) {
        routes.apps.insert(deployment.app.clone(), Arc::new(route));
        let after = text(&routes)?;
        let diff = TextDiff::from_lines(&before, &after).unified_diff().context_radius(1).to_string();
        steps.push(json!({ "says": says, "diff": diff }));
        before = after;
    }
    Ok(json!(steps))
}

#[derive(Serialize)]
pub struct NameRow {
    pub name: String,
    /// `balancer`, `container`, `service` or `fixed`.
    pub kind: &'static str,
    pub addresses: Vec<String>,
    pub container: Option<String>,
}

/// Every name the DNS server answers for, ordered.
pub async fn dns(State(context): State<Context>) -> Result<Json<Value>, Problem> {
    let view = context.snapshot.view();
    let zone = view
        .zone
        .as_ref()
        .ok_or_else(|| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "starting", "the names are not known yet"))?;
    let rows = names(zone);
    Ok(Json(
        json!({ "domain": zone.domain, "gateway": zone.gateway, "ttl_seconds": zone.ttl.as_secs(), "names": rows }),
    ))
}

pub fn names(zone: &Zone) -> Vec<NameRow> {
    let mut rows: Vec<NameRow> = zone
        .entries()
        .filter_map(|(name, target, container)| {
            let here = || ["127.0.0.1".to_owned(), zone.gateway.to_string()];
            let (kind, addresses) = match &*target {
                Target::Balancer => ("balancer", here().to_vec()),
                Target::Containers(all) => {
                    let elsewhere = all.iter().filter(|ip| **ip != THIS_MACHINE).map(ToString::to_string);
                    let here = all.contains(&THIS_MACHINE).then(here);
                    ("container", elsewhere.chain(here.into_iter().flatten()).collect())
                }
                Target::Services(all) => {
                    let of = |(label, port): &(Arc<str>, u16)| format!("{}:{port}", zone.name_of_container(label));
                    ("service", all.iter().map(of).collect())
                }
                Target::Fixed(address) => ("fixed", vec![address.to_string()]),
                Target::Empty => return None,
            };
            Some(NameRow { name, kind, addresses, container: container.map(str::to_owned) })
        })
        .collect();
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    rows
}

/// What is wrong with the machine.
pub async fn doctor(State(context): State<Context>) -> Json<Value> {
    Json(json!({ "checks": context.doctor.examine().await }))
}

#[derive(Deserialize)]
pub struct WhyQuery {
    target: String,
}

pub async fn why(State(context): State<Context>, Query(query): Query<WhyQuery>) -> Result<Json<Value>, Problem> {
    let view = context.snapshot.view();
    let zone = view
        .zone
        .as_ref()
        .ok_or_else(|| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "starting", "the names are not known yet"))?;
    let steps = crate::core::view::why(&query.target, zone, &view.routes, &view.status, &view.services);
    let ok = steps.iter().all(|step| step.ok);
    Ok(Json(json!({ "target": query.target, "ok": ok, "steps": steps })))
}

#[derive(Deserialize, Default, ToSchema)]
#[serde(default)]
pub struct DownRequest {
    keep_apps: bool,
}

pub async fn down(
    State(context): State<Context>,
    by: By,
    request: Option<Json<DownRequest>>,
) -> Result<Json<Value>, Problem> {
    let keep_apps = request.is_some_and(|Json(r)| r.keep_apps);
    let done = context.inbox.ask(Command::Close { keep_apps }, &by.0).await?;
    Ok(Json(json!({ "done": done.said, "pid": std::process::id() })))
}
