//! Actions from forms. What changes traffic or stops something first shows its plan, and is done once confirmed.

use std::collections::BTreeMap;

use axum::Form;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Value, json};

use super::app;
use crate::adapters::http::api::sync::look_now;
use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem;
use crate::adapters::http::page::Page;
use crate::adapters::http::route::by::By;
use crate::adapters::http::route::settled::settled;
use crate::core::app::{StickyMode, Strategy};
use crate::core::decide::{Command, DeployRequest, Sides, Steer, Verb};
use crate::core::names::{AppName, Version};
use crate::core::split::Split;
use crate::core::view::AppStatus;

type Fields = BTreeMap<String, String>;

/// A form's action as what is asked of the platform.
#[derive(Debug, Clone)]
enum Act {
    Ask { command: Command, is_confirmed: bool, plan: Vec<String> },
    Sync,
}

pub async fn act(
    State(context): State<Context>,
    by: By,
    Path(name): Path<String>,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let name = AppName::parse(&name)?;
    let view = context.snapshot.view();
    let status = app::find(&view, name.as_str())?;
    let action = fields.get("action").map(String::as_str).unwrap_or_default();
    let title = match Verb::named(action) {
        Some(verb) => verb.label(),
        None if action.is_empty() => "Act",
        None => action,
    };
    let title = format!("{title}: {name}");
    let done = match read(status, action, &fields) {
        Err(reason) => Err(Problem::bad(reason)),
        Ok(Act::Sync) => look_now(&context, &name).await.map(drop),
        Ok(Act::Ask { command, is_confirmed, plan }) if is_confirmed || fields.contains_key("confirm") => {
            drop(plan);
            match context.inbox.ask(command, &by.0).await {
                Ok(done) => {
                    settled(&context, &name, &done).await;
                    Ok(())
                }
                Err(error) => Err(Problem::from(error)),
            }
        }
        Ok(Act::Ask { command, plan, .. }) => match planned(&context, &by, &command, plan).await {
            Ok(plan) => return Ok(confirm(&context, &name, title, &fields, plan).await),
            Err(problem) => Err(problem),
        },
    };
    match done {
        Ok(()) => Ok(Redirect::to(&format!("/apps/{name}")).into_response()),
        Err(problem) => {
            let body = json!({ "app": name, "refused": problem.detail });
            let page = Page { context: &context, template: "confirm.html", current: "Apps", title, body };
            Ok(page.render(problem.http).await)
        }
    }
}

async fn confirm(context: &Context, app: &AppName, title: String, fields: &Fields, plan: Vec<String>) -> Response {
    let fields: Vec<Value> = fields.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    let body = json!({ "app": app, "plan": plan, "fields": fields, "refused": null });
    Page { context, template: "confirm.html", current: "Apps", title, body }.render(StatusCode::OK).await
}

/// What a deployment would do, the core itself says; for the rest the sentences that came with the action.
async fn planned(context: &Context, by: &By, command: &Command, plan: Vec<String>) -> Result<Vec<String>, Problem> {
    let Command::Steer { app, steer: Steer::Deploy(request) } = command else { return Ok(plan) };
    let dry = Steer::Deploy(Box::new(DeployRequest { dry_run: true, ..(**request).clone() }));
    let done = context.inbox.ask(Command::Steer { app: app.clone(), steer: dry }, &by.0).await?;
    Ok(done.deployment.map_or(vec![done.said], |deployment| deployment.plan.clone()))
}

fn read(app: &AppStatus, action: &str, fields: &Fields) -> Result<Act, String> {
    if let Some(verb) = Verb::named(action) {
        let plan = verb.plan(&Sides {
            app: &app.name,
            stable: app.stable.as_ref(),
            candidate: app.candidate.as_ref(),
            wanted: app.wanted,
            ready: app.ready,
        });
        return Ok(Act::Ask { command: verb.command(app.name.clone()), is_confirmed: plan.is_empty(), plan });
    }
    let name = app.name.clone();
    let value = fields.get("value").map(|value| value.trim()).unwrap_or_default();
    let steer = |steer: Steer| Command::Steer { app: app.name.clone(), steer };
    let ask = |command: Command, plan: Vec<String>| Ok(Act::Ask { command, is_confirmed: false, plan });
    match action {
        "scale" => {
            let replicas: u16 = value.parse().map_err(|_| format!("{value:?} is no number of instances"))?;
            ask(Command::Scale { app: name, replicas }, vec![format!("from {} instances to {replicas}", app.wanted)])
        }
        "split" => {
            let shares = fields.iter().filter_map(|(key, share)| Some((key.strip_prefix("share.")?, share.trim())));
            let shares: Vec<String> = shares.map(|(version, share)| format!("{version}={share}")).collect();
            let split = Split::parse(shares.iter().map(String::as_str)).map_err(|e| e.to_string())?;
            let plan = split.iter().map(|(version, share)| format!("{share} % of the visitors to {version}")).collect();
            ask(steer(Steer::Split(split)), plan)
        }
        "deploy" => {
            let version = Version::parse(value).map_err(|e| e.to_string())?;
            let strategy = fields.get("strategy").filter(|text| !text.is_empty());
            let strategy =
                strategy.map(|text| serde_json::from_value::<Strategy>(json!(text)).map_err(|e| e.to_string()));
            let request =
                DeployRequest { version: Some(version), strategy: strategy.transpose()?, ..DeployRequest::default() };
            // The core itself says what it would do.
            ask(steer(Steer::Deploy(Box::new(request))), Vec::new())
        }
        "sticky" => {
            let mode: StickyMode = serde_json::from_value(json!(value)).map_err(|e| e.to_string())?;
            Ok(Act::Ask { command: steer(Steer::Sticky(mode)), is_confirmed: true, plan: Vec::new() })
        }
        "sync" => Ok(Act::Sync),
        other => Err(format!("there is no action {other:?}")),
    }
}
