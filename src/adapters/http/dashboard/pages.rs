//! The seven pages of the navigation.

use std::collections::BTreeSet;

use axum::extract::{Query, State};
use axum::response::Response;
use axum::{Extension, Json};
use jiff::{Timestamp, Unit};
use serde::Deserialize;
use serde_json::{Value, json};

use super::rows::{self, Numbers};
use crate::adapters::http::api::library;
use crate::adapters::http::api::platform;
use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem;
use crate::adapters::http::keyring::Caller;
use crate::adapters::http::page::Page;
use crate::core::access::Right;
use crate::core::event::Event;
use crate::core::view::{DeploymentStatus, why};
use crate::core::world::EngineState;

/// Rows of a page that could be endless.
const MOST: usize = 300;

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Asked {
    q: String,
    kind: String,
    why: String,
    text: String,
}

pub async fn apps(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Query(asked): Query<Asked>,
) -> Response {
    let (view, numbers) = (context.snapshot.view(), Numbers::now(&context));
    let shown = view.status.apps.iter().filter(|app| app.name.as_str().contains(&asked.q.to_lowercase()));
    let mut apps: Vec<_> = shown.collect();
    let rank = |class: &str| match class {
        "bad" => 0,
        "moving" => 1,
        "good" => 2,
        _ => 3,
    };
    apps.sort_by_cached_key(|app| (rank(rows::of_app(app, &view).class), app.name.clone()));
    let apps: Vec<Value> = apps.into_iter().map(|app| rows::row(app, &view, &numbers, &caller)).collect();
    let body = json!({
        "apps": apps, "q": asked.q, "problems": view.status.problems,
        "first_run": view.informed && view.status.apps.is_empty(),
    });
    Page { context: &context, template: "apps.html", current: "Apps", title: "Apps".into(), body }.ok().await
}

pub async fn deployments(State(context): State<Context>) -> Result<Response, Problem> {
    let all = context.ledger.deployments(None, MOST)?;
    let shown = all.iter().map(DeploymentStatus::new).map(|d| {
        let (state, mut row) = (rows::of_deployment(d.state), json!(d));
        (row["class"], row["icon"]) = (json!(state.class), json!(state.icon));
        row
    });
    let body = json!({ "deployments": shown.collect::<Vec<_>>() });
    let (current, title) = ("Deployments", "Deployments".into());
    Ok(Page { context: &context, template: "deployments.html", current, title, body }.ok().await)
}

pub async fn routes(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Query(asked): Query<Asked>,
) -> Response {
    let view = context.snapshot.view();
    let routes = view.routes.apps.iter().flat_map(|(app, route)| {
        let hosts = route.granted.hosts().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let paths = route.granted.paths().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let row = move |release: String, instances: String| {
            json!({ "hosts": hosts, "paths": paths, "app": app, "release": release, "instances": instances })
        };
        let mut rows: Vec<Value> = Vec::new();
        for (version, instances) in &route.releases {
            let share = if route.shared { String::new() } else { format!(" ({} %)", route.split.share(version)) };
            let instances = instances.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            rows.push(row(format!("{version}{share}"), instances));
        }
        if rows.is_empty() {
            rows.push(row("–".into(), "none is ready: 503".into()));
        }
        rows
    });
    let names: Vec<Value> = view.zone.as_ref().map_or(Vec::new(), |zone| {
        let row = |name: platform::NameRow| {
            json!({ "name": name.name, "kind": name.kind, "addresses": name.addresses.join(" "), "container": name.container })
        };
        platform::names(zone).into_iter().map(row).collect()
    });
    let steps = view.zone.as_ref().filter(|_| !asked.why.is_empty());
    let steps = steps.map(|zone| why(&asked.why, zone, &view.routes, &view.status, &view.services));
    let text = |diff| platform::rendered(&context, &caller, diff).unwrap_or_else(|problem| problem.detail);
    let generation = view.status.generation;
    let body = json!({
        "routes": routes.collect::<Vec<_>>(), "names": names, "why": asked.why, "steps": steps,
        "generation": { "live": generation.live.map_or("none".into(), |n| n.to_string()), "written": generation.written, "wanted": generation.wanted },
        "text": (!asked.text.is_empty()).then(|| text(false)), "diff": (!asked.text.is_empty()).then(|| text(true)),
    });
    let (current, title) = ("Routes & DNS", "Routes & DNS".into());
    Page { context: &context, template: "routes.html", current, title, body }.ok().await
}

pub async fn repository(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    Ok(repository_page(&context, &caller, None).await?.ok().await)
}

pub(super) async fn repository_page<'p>(
    context: &'p Context,
    caller: &Caller,
    refused: Option<String>,
) -> Result<Page<'p>, Problem> {
    let Json(mut body) = library::list(State(context.clone()), Query(library::ListQuery::default())).await?;
    body["may_push"] = json!(caller.may(Right::Change, None).is_ok());
    body["refused"] = json!(refused);
    Ok(Page { context, template: "repository.html", current: "Repository", title: "Repository".into(), body })
}

pub async fn registry(State(context): State<Context>, Extension(caller): Extension<Caller>) -> Response {
    registry_page(&context, &caller, None).ok().await
}

pub(super) fn registry_page<'p>(context: &'p Context, caller: &Caller, refused: Option<String>) -> Page<'p> {
    let view = context.snapshot.view();
    let endpoints = view.services.values().flat_map(|service| service.endpoints.iter().map(move |e| (service, e)));
    let services = endpoints.map(|(service, endpoint)| {
        let state = rows::of_condition(endpoint.state);
        json!({
            "name": service.name, "url": endpoint.url, "state": state.word, "icon": state.icon, "class": state.class,
            "reason": endpoint.reason, "since": endpoint.since, "by": endpoint.by,
        })
    });
    let services: Vec<Value> = services.collect();
    let (mut keys, mut more): (Vec<Value>, usize) = (Vec::new(), 0);
    context.kv.read(&mut |tree| {
        let mut pairs = tree.below("");
        keys.extend(pairs.by_ref().take(MOST).map(|pair| {
            let value: String = String::from_utf8_lossy(&pair.value).chars().take(500).collect();
            json!({ "key": pair.key, "value": value })
        }));
        more = pairs.count();
    });
    let body = json!({
        "services": services, "keys": keys, "admin": caller.may(Right::Admin, None).is_ok(),
        "more_keys": more, "refused": refused,
    });
    let (current, title) = ("Services & keys", "Services & keys".into());
    Page { context, template: "services.html", current, title, body }
}

pub async fn events(State(context): State<Context>, Query(asked): Query<Asked>) -> Response {
    let (kept, ..) = context.snapshot.events_after(0, usize::MAX);
    let kinds: BTreeSet<&str> = kept.iter().map(|event| &*event.kind).collect();
    let text = asked.q.to_lowercase();
    let is_meant = |event: &&Event| {
        (asked.kind.is_empty() || event.kind == asked.kind)
            && (event.subject.to_lowercase().contains(&text) || event.message.to_lowercase().contains(&text))
    };
    let events: Vec<&Event> = kept.iter().rev().filter(is_meant).take(MOST).collect();
    let body = json!({ "events": events, "kinds": kinds, "asked": asked.kind, "q": asked.q });
    Page { context: &context, template: "events.html", current: "Events", title: "Events".into(), body }.ok().await
}

#[derive(Deserialize, Default)]
pub struct Examine {
    #[serde(default)]
    check: bool,
}

pub async fn settings(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Query(asked): Query<Examine>,
) -> Response {
    let mut page = settings_page(&context, &caller, None, None).await;
    if asked.check && caller.may(Right::Admin, None).is_ok() {
        page.body["checks"] = json!(context.doctor.examine().await);
    }
    page.ok().await
}

pub(super) async fn settings_page<'p>(
    context: &'p Context,
    caller: &Caller,
    made: Option<String>,
    refused: Option<String>,
) -> Page<'p> {
    let view = context.snapshot.view();
    let admin = caller.may(Right::Admin, None).is_ok();
    let scopes =
        |all: &[crate::core::access::Scope]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let tokens = context.keyring.list().into_iter().filter(|_| admin).map(|token| {
        json!({ "id": token.id, "scopes": scopes(&token.scopes), "created_at": token.created_at, "expires_at": token.expires_at, "by": token.created_by })
    });
    let declared = view.index.iter().flat_map(|index| &index.apps).filter(|_| admin);
    let hooks = declared.filter_map(|(app, declared)| {
        let source = declared.source.as_ref().filter(|source| source.is_remote())?;
        let mut paths: Vec<String> = Vec::new();
        if source.git.is_some() {
            paths.extend(["github", "gitlab", "gitea"].map(|name| format!("/webhooks/{name}/{app}")));
        }
        if source.image.is_some() {
            paths.extend(["dockerhub", "registry"].map(|name| format!("/webhooks/{name}/{app}/SECRET")));
        }
        Some(json!({ "app": app, "paths": paths.join(" "), "secret": context.seal.webhook_secret(app) }))
    });
    let nginx = context.balancer.status().await;
    let second = |moment: Timestamp| moment.round(Unit::Second).unwrap_or(moment);
    let docker = match view.status.engine.state {
        EngineState::Connected { since } => format!("connected since {}", second(since)),
        EngineState::Unknown { since } => format!("unknown since {}", second(since)),
    };
    let fact = |name: &str, value: String| json!({ "name": name, "value": value });
    let body = json!({
        "admin": admin, "tokens": tokens.collect::<Vec<_>>(), "hooks": hooks.collect::<Vec<_>>(), "made": made,
        "refused": refused, "scopes": scopes(&caller.scopes),
        "machine": [
            fact("Docker", docker),
            fact("nginx", format!("{} {}", nginx.version, nginx.state)),
            fact("Domain", context.frame.domain.to_string()),
            fact("Problems", view.status.problems.len().to_string()),
            fact("Supervisor", format!("pid {}, since {}", std::process::id(), second(context.started_at))),
        ],
    });
    Page { context, template: "settings.html", current: "Settings", title: "Settings".into(), body }
}
