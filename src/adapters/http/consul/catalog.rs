//! What runs, as Consul's catalogue and health checks tell it: a service per app, an instance of it per container.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::Context;
use super::super::error::Problem;
use super::DATACENTER;
use super::wait::wait;
use crate::core::plan::{AppStatus, InstanceStatus};
use crate::core::world::Condition;
use crate::ports::snapshot::View;

const NODE: &str = "platformer";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    index: Option<u64>,
    wait: Option<String>,
    passing: Option<String>,
    tag: Option<String>,
}

pub async fn leader() -> Json<&'static str> {
    Json("127.0.0.1:8300")
}

pub async fn datacenters() -> Json<[&'static str; 1]> {
    Json([DATACENTER])
}

pub async fn this_agent(State(context): State<Context>) -> Json<Value> {
    let address = address(&context.snapshot.view());
    Json(json!({
        "Config": { "Datacenter": DATACENTER, "NodeName": NODE, "Server": true, "Version": env!("CARGO_PKG_VERSION") },
        "Member": { "Name": NODE, "Addr": address, "Status": 1, "Tags": { "role": "platformer" } },
    }))
}

pub async fn nodes(State(context): State<Context>, Query(asked): Query<Asked>) -> Result<Response, Problem> {
    of_view(&context, &asked, |view| json!([node(view)])).await
}

/// Every service with its tags.
pub async fn services(State(context): State<Context>, Query(asked): Query<Asked>) -> Result<Response, Problem> {
    let all = |view: &View| {
        let services = view.status.apps.iter().map(|app| {
            let mut tags: Vec<String> = app.instances.iter().flat_map(|i| tags(app, i)).collect();
            tags.sort();
            tags.dedup();
            (app.name.to_string(), json!(tags))
        });
        Value::Object(Map::from_iter(services))
    };
    of_view(&context, &asked, all).await
}

pub async fn service(
    State(context): State<Context>,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let all = |view: &View| {
        let found = instances(view, &name, &asked).map(|(app, instance)| {
            let (host, port) = place(instance);
            let mut value = node(view);
            value["ServiceID"] = json!(instance.name);
            value["ServiceName"] = json!(app.name);
            value["ServiceAddress"] = json!(host);
            value["ServicePort"] = json!(port);
            value["ServiceTags"] = json!(tags(app, instance));
            value["ServiceMeta"] = json!({ "release": instance.release });
            value
        });
        Value::Array(found.collect())
    };
    of_view(&context, &asked, all).await
}

pub async fn health(
    State(context): State<Context>,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let all = |view: &View| {
        let found = instances(view, &name, &asked)
            .filter(|(_, instance)| asked.passing.is_none() || instance.state == Condition::Ready)
            .map(|(app, instance)| {
                let (host, port) = place(instance);
                json!({
                    "Node": node(view),
                    "Service": {
                        "ID": instance.name, "Service": app.name, "Tags": tags(app, instance), "Address": host,
                        "Port": port, "Meta": { "release": instance.release },
                    },
                    "Checks": [{
                        "Node": NODE, "CheckID": format!("service:{}", instance.name), "Name": "ready",
                        "Status": status(instance.state), "Output": instance.reason.as_deref().unwrap_or_default(),
                        "ServiceID": instance.name, "ServiceName": app.name,
                    }],
                })
            });
        Value::Array(found.collect())
    };
    of_view(&context, &asked, all).await
}

async fn of_view(context: &Context, asked: &Asked, look: impl Fn(&View) -> Value) -> Result<Response, Problem> {
    let now = || {
        let view = context.snapshot.view();
        (view.number, look(&view))
    };
    let (index, found) = wait(context, asked.index, asked.wait.as_deref(), now).await?;
    Ok(super::json_answer(index, found))
}

fn instances<'v>(
    view: &'v View,
    name: &'v str,
    asked: &'v Asked,
) -> impl Iterator<Item = (&'v AppStatus, &'v InstanceStatus)> {
    let of = view.status.apps.iter().filter(move |app| app.name.as_str() == name);
    let all = of.flat_map(|app| app.instances.iter().map(move |instance| (app, instance)));
    all.filter(|(_, instance)| instance.address.is_some() && instance.state != Condition::Stopped)
        .filter(|(app, i)| asked.tag.as_ref().is_none_or(|tag| tags(app, i).contains(tag)))
}

/// The release, and the role that it has.
fn tags(app: &AppStatus, instance: &InstanceStatus) -> Vec<String> {
    let role = match Some(&instance.release) {
        release if release == app.stable.as_ref() => Some("stable"),
        release if release == app.candidate.as_ref() => Some("candidate"),
        _ => None,
    };
    [Some(instance.release.to_string()), role.map(str::to_owned)].into_iter().flatten().collect()
}

fn status(condition: Condition) -> &'static str {
    match condition {
        Condition::Ready => "passing",
        Condition::Starting | Condition::Draining => "warning",
        Condition::Unhealthy | Condition::Stopped => "critical",
    }
}

fn place(instance: &InstanceStatus) -> (String, u16) {
    instance.address.map_or((String::new(), 0), |address| (address.ip().to_string(), address.port()))
}

fn address(view: &View) -> String {
    view.zone.as_ref().map_or("127.0.0.1".into(), |zone| zone.gateway.to_string())
}

fn node(view: &View) -> Value {
    json!({
        "ID": "00000000-0000-0000-0000-000000000001", "Node": NODE, "Address": address(view),
        "Datacenter": DATACENTER, "Meta": {},
    })
}
