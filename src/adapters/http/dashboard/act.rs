//! Actions from forms. What changes traffic or stops something first shows its plan, and is done once confirmed.

use std::collections::BTreeMap;

use axum::Form;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Value, json};

use super::super::Context;
use super::super::api::By;
use super::super::error::Problem;
use super::super::settled::settled;
use super::super::webhooks::sync_now;
use super::{Page, app, rows};
use crate::core::app::{StickyMode, Strategy};
use crate::core::decide::{Command, DeployRequest, Steer};
use crate::core::names::{AppName, Version};
use crate::core::plan::AppStatus;
use crate::core::split::Split;

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
    let acts = rows::actions(status);
    let action = fields.get("action").map(String::as_str).unwrap_or_default();
    let title = acts.iter().find(|(known, _)| *known == action).map_or(action, |(_, label)| label);
    let title = format!("{}: {name}", if title.is_empty() { "Act" } else { title });
    let done = match read(status, action, &fields) {
        Err(reason) => Err(Problem::bad(reason)),
        Ok(Act::Sync) => sync_now(State(context.clone()), Path(name.to_string())).await.map(drop),
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
    let name = app.name.clone();
    let value = fields.get("value").map(|value| value.trim()).unwrap_or_default();
    let candidate = app.candidate.as_ref().map_or("the candidate".to_owned(), |v| format!("{name}@{v}"));
    let stable = app.stable.as_ref().map_or("what runs".to_owned(), |v| format!("{name}@{v}"));
    let steer = |steer: Steer| Command::Steer { app: app.name.clone(), steer };
    let ask = |command: Command, plan: &[String]| Ok(Act::Ask { command, is_confirmed: false, plan: plan.to_vec() });
    let now = |command: Command| Ok(Act::Ask { command, is_confirmed: true, plan: Vec::new() });
    match action {
        "promote" => ask(
            steer(Steer::Promote),
            &[
                format!("give {candidate} all traffic now"),
                format!("drain {stable} and stop it, or keep it where the strategy says so"),
            ],
        ),
        "abort" => ask(
            steer(Steer::Abort),
            &[format!("give {stable} all traffic at once"), format!("drain {candidate} and stop it")],
        ),
        "rollback" => ask(
            steer(Steer::Rollback(None)),
            &[
                "start the release before, with its own config, and wait until it is ready".into(),
                "switch all traffic to it at once".into(),
                format!("drain {stable} and stop it"),
                "hold the app there until somebody deploys by hand or unpins it".into(),
            ],
        ),
        "swap" => ask(
            steer(Steer::Swap),
            &[
                "switch all traffic to the side that stayed warm".into(),
                format!("keep {stable} running, to be swapped back to"),
            ],
        ),
        "restart" => ask(
            Command::Restart(name),
            &[format!("replace each of the {} instances, one after the other; none of them is missed", app.wanted)],
        ),
        "stop" => ask(
            Command::Stop(name),
            &[format!("drain and stop {} instances", app.ready), "answer 503 until it is started again".into()],
        ),
        "maintenance-on" => ask(
            steer(Steer::Maintenance(true)),
            &["answer every request with a page and 503".into(), "leave the instances running".into()],
        ),
        "scale" => {
            let replicas: u16 = value.parse().map_err(|_| format!("{value:?} is no number of instances"))?;
            ask(Command::Scale { app: name, replicas }, &[format!("from {} instances to {replicas}", app.wanted)])
        }
        "split" => {
            let shares = fields.iter().filter_map(|(key, share)| Some((key.strip_prefix("share.")?, share.trim())));
            let shares: Vec<String> = shares.map(|(version, share)| format!("{version}={share}")).collect();
            let split = Split::parse(shares.iter().map(String::as_str)).map_err(|e| e.to_string())?;
            let plan: Vec<String> =
                split.iter().map(|(version, share)| format!("{share} % of the visitors to {version}")).collect();
            ask(steer(Steer::Split(split)), &plan)
        }
        "deploy" => {
            let version = Version::parse(value).map_err(|e| e.to_string())?;
            let strategy = fields.get("strategy").filter(|text| !text.is_empty());
            let strategy =
                strategy.map(|text| serde_json::from_value::<Strategy>(json!(text)).map_err(|e| e.to_string()));
            let request =
                DeployRequest { version: Some(version), strategy: strategy.transpose()?, ..DeployRequest::default() };
            ask(steer(Steer::Deploy(Box::new(request))), &[])
        }
        "pause" => now(steer(Steer::Pause)),
        "resume" => now(steer(Steer::Resume)),
        "start" => now(Command::Start(name)),
        "maintenance-off" => now(steer(Steer::Maintenance(false))),
        "pin" => now(steer(Steer::Pin(None))),
        "unpin" => now(steer(Steer::Unpin)),
        "sticky" => {
            let mode: StickyMode = serde_json::from_value(json!(value)).map_err(|e| e.to_string())?;
            now(steer(Steer::Sticky(mode)))
        }
        "sync" => Ok(Act::Sync),
        other => Err(format!("there is no action {other:?}")),
    }
}
