//! One app: what it does in a sentence, its releases, deployment, traffic, instances, history, config.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::chart;
use super::rows::{self, Numbers};
use crate::adapters::http::api::deployments;
use crate::adapters::http::api::diff;
use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem;
use crate::adapters::http::keyring::Caller;
use crate::adapters::http::page::Page;
use crate::core::app::Strategy;
use crate::core::config;
use crate::core::deploy::{DeploymentState, Outcome};
use crate::core::log::plain;
use crate::core::names::{AppName, Version};
use crate::core::split::Percent;
use crate::core::view::{AppStatus, DeploymentStatus};
use crate::ports::engine::LogQuery;
use crate::ports::snapshot::View;

const HISTORY: usize = 50;
const TAIL: usize = 200;
/// A log that is not followed ends by itself; one that does not is cut.
const LOG: Duration = Duration::from_secs(5);
/// What a deployment goes through, but for what only some do.
const STAGES: [DeploymentState; 9] = [
    DeploymentState::Fetching,
    DeploymentState::Starting,
    DeploymentState::Healthy,
    DeploymentState::Testing,
    DeploymentState::Routing,
    DeploymentState::Baking,
    DeploymentState::Promoted,
    DeploymentState::Draining,
    DeploymentState::Done,
];

pub async fn show(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let view = context.snapshot.view();
    let app = find(&view, &name)?;
    let known = view.releases.get(&app.name);
    let releases: Vec<Value> =
        known.map_or(Vec::new(), |known| deployments::rows(known).iter().map(|r| release(r, app)).collect());
    let history = context.ledger.history(&app.name, HISTORY)?;
    let history: Vec<Value> = history
        .into_iter()
        .map(|entry| {
            let said = entry.numbers.iter().filter(|(_, n)| **n != 0.0);
            let numbers: Vec<String> =
                said.map(|(name, n)| format!("{} {}", name.replace('_', " "), (n * 100.0).round() / 100.0)).collect();
            let mut row = json!(entry);
            row["numbers"] = json!(numbers.join(", "));
            row
        })
        .collect();
    let deployable = view.index.as_ref().map(|index| index.versions(&app.name).into_keys().rev().collect::<Vec<_>>());
    let deployable = deployable.unwrap_or_default();
    let recent = context.meters.recent(&app.name);
    let began: Vec<_> = app.deployment.iter().map(|d| d.started_at).collect();
    let (config, config_note) = config(&context, &app.name).await;
    let body = json!({
        "app": rows::row(app, &view, &Numbers::now(&context), &caller),
        "sticky": view.routes.apps.get(&app.name).map(|route| route.sticky.mode),
        "sentence": sentence(app), "hosts": app.hosts, "pin": app.pin, "queued": app.queued,
        "notes": app.source.iter().flat_map(|s| s.notes.iter().chain(&s.errors)).collect::<Vec<_>>(),
        "problems": view.status.problems_of(app),
        "may": known.is_some() && rows::may(&caller, &app.name),
        "releases": releases, "several": releases.len() > 1,
        "deployment": app.deployment, "steps": app.deployment.as_ref().map(steps),
        "gate_ended": app.deployment.as_ref().and_then(|d| d.gate.as_ref()?.exit_code).is_some(),
        "gate_log": app.deployment.as_ref().and_then(|d| Some(d.gate.as_ref()?.log.join("\n"))),
        "last_lines": app.deployment.as_ref().map(|d| d.log.join("\n")),
        "chart_p95": chart::p95(&recent, &began), "chart_failed": chart::failed(&recent, &began),
        "legend": recent.keys().enumerate().map(|(n, v)| json!({ "version": v, "colour": n % 4 })).collect::<Vec<_>>(),
        "versions": versions(app), "newest": app.source.as_ref().and_then(|s| s.wanted.clone()).or_else(|| deployable.first().cloned()),
        "deployable": deployable, "instances": app.instances.iter().map(instance).collect::<Vec<_>>(),
        "history": history, "config": config, "config_note": config_note,
    });
    let title = app.name.to_string();
    Ok(Page { context: &context, template: "app.html", current: "Apps", title, body }.ok().await)
}

pub(super) fn find<'v>(view: &'v View, name: &str) -> Result<&'v AppStatus, Problem> {
    let found = view.status.apps.iter().find(|app| app.name.as_str() == name);
    let missing = || format!("There is no app {name:?}, or not any more.");
    found.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "unknown-app", missing()))
}

/// What it does now: strategy, share, step, what it waits for; or simply what runs.
fn sentence(app: &AppStatus) -> String {
    let Some(moving) = app.deployment.as_ref().filter(|d| d.ended_at.is_none() && app.candidate.is_some()) else {
        return format!("{}.", app.summary);
    };
    let share = app.split.get(&moving.release).copied().unwrap_or(Percent::NONE);
    let step = moving.step.as_ref().map(|step| format!(", step {step}")).unwrap_or_default();
    let strategy = match moving.strategy {
        Strategy::Rolling => "Rolling",
        Strategy::BlueGreen => "Blue-green",
        Strategy::Canary => "Canary",
        Strategy::Recreate => "Recreate",
        Strategy::Manual => "Manual",
    };
    format!("{strategy} {} at {share} %{step}, {}: {}.", moving.release, moving.state, moving.reason)
}

fn release(row: &deployments::ReleaseRow, app: &AppStatus) -> Value {
    let instances = app.instances.iter().filter(|instance| instance.release == row.version);
    let role = if matches!(row.state, "kept" | "pruned") { "" } else { row.state };
    json!({
        "version": row.version, "role": role, "image": row.image, "at": row.at,
        "instances": instances.map(|i| json!({ "name": i.name, "state": i.state, "reason": i.reason })).collect::<Vec<_>>(),
    })
}

/// The stages, with the one that it is in; after its end all are done or none matters.
fn steps(deployment: &DeploymentStatus) -> Vec<Value> {
    let is_over = deployment.ended_at.is_some();
    let now = STAGES.iter().position(|stage| *stage == deployment.stage);
    let ended_well = deployment.state.outcome(deployment.strategy) == Some(Outcome::Reached);
    let mut steps: Vec<Value> = STAGES
        .iter()
        .enumerate()
        .filter(|(_, stage)| **stage != DeploymentState::Testing || deployment.gate.is_some())
        .map(|(n, stage)| {
            let done = now.is_some_and(|now| n < now) || (is_over && ended_well);
            let is_now = now == Some(n) && !is_over;
            let step = deployment
                .step
                .as_ref()
                .filter(|_| *stage == DeploymentState::Routing)
                .map(|step| format!("step {step}"));
            let halt = (is_now && deployment.state != deployment.stage).then(|| deployment.state.to_string());
            let note: Vec<String> = [step, halt].into_iter().flatten().collect();
            let note = note.join(", ");
            json!({ "name": stage, "now": is_now, "class": if done { "done" } else { "" }, "note": note })
        })
        .collect();
    if now.is_none() {
        steps.push(json!({ "name": deployment.stage, "now": !is_over, "class": "", "note": null }));
    }
    steps
}

fn instance(instance: &crate::core::view::InstanceStatus) -> Value {
    let state = rows::of_condition(instance.state);
    json!({
        "name": instance.name, "release": instance.release, "state": state.word, "icon": state.icon,
        "class": state.class, "reason": instance.reason, "since": instance.since,
        "address": instance.address.map_or("–".into(), |address| address.to_string()),
    })
}

/// The releases that a split may name, each with its share.
fn versions(app: &AppStatus) -> Vec<Value> {
    let ready: BTreeMap<&Version, ()> = app.instances.iter().map(|instance| (&instance.release, ())).collect();
    let share = |version: &Version| app.split.get(version).copied().unwrap_or(Percent::NONE).to_string();
    match ready.len() {
        0 | 1 => Vec::new(),
        _ => ready.keys().map(|version| json!({ "name": version, "share": share(version) })).collect(),
    }
}

/// The keys of the app's config, secrets masked; or why there are none.
async fn config(context: &Context, app: &AppName) -> (Vec<Value>, String) {
    let Ok(text) = context.library.read_config(app).await else {
        return (Vec::new(), format!("It has none: platformer config set {app} KEY=VALUE"));
    };
    match config::parse(&text) {
        Err(error) => (Vec::new(), format!("It cannot be read: {error}")),
        Ok(lines) => {
            let shown = lines.into_iter().map(|line| {
                let value = if line.is_secret() { config::MASK.to_owned() } else { line.value };
                json!({ "key": line.key, "value": value })
            });
            (shown.collect(), "It is empty.".into())
        }
    }
}

pub async fn diff(
    State(context): State<Context>,
    Path(name): Path<String>,
    Query(asked): Query<diff::DiffQuery>,
) -> Result<Response, Problem> {
    let app = AppName::parse(&name)?;
    let found = diff::differences(&context, &app, &asked).await?;
    let parts = ["image", "artefact", "config", "declaration"];
    let parts: Vec<Value> = parts.iter().map(|part| json!({ "name": part, "text": found[*part] })).collect();
    let title = format!(
        "{app}: {} and {}",
        found["from"].as_str().unwrap_or_default(),
        found["to"].as_str().unwrap_or_default()
    );
    let body = json!({ "app": app, "parts": parts });
    Ok(Page { context: &context, template: "diff.html", current: "Apps", title, body }.ok().await)
}

#[derive(Deserialize)]
pub struct LogAsked {
    instance: String,
}

pub async fn logs(
    State(context): State<Context>,
    Path(name): Path<String>,
    Query(asked): Query<LogAsked>,
) -> Result<Response, Problem> {
    let view = context.snapshot.view();
    let app = find(&view, &name)?;
    let missing = || {
        Problem::new(
            StatusCode::NOT_FOUND,
            "no-instance",
            format!("There is no instance {:?} any more.", asked.instance),
        )
    };
    let instance = app.instances.iter().find(|i| *i.name == *asked.instance).ok_or_else(missing)?;
    let lines = context.engine.logs(&instance.id, LogQuery { follow: false, tail: Some(TAIL) }).await?;
    let read = lines.filter_map(|line| async { line.ok() }).concat();
    let text = timeout(LOG, read).await.unwrap_or_default();
    let title = format!("Log of {}", instance.name);
    let body =
        json!({ "app": name, "instance": instance.name, "tail": TAIL, "text": plain(&String::from_utf8_lossy(&text)) });
    Ok(Page { context: &context, template: "logs.html", current: "Apps", title, body }.ok().await)
}
