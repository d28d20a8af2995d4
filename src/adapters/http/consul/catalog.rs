//! What runs, as Consul's catalogue and health checks tell it: a service per app, an instance of it per container.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::DATACENTER;
use super::wait::wait;
use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem;
use crate::adapters::http::route::asker::Counted;
use crate::core::names::{AppName, Version};
use crate::core::view::{AppStatus, InstanceStatus};
use crate::core::world::Condition;
use crate::ports::snapshot::View;

const NODE: &str = "platformer";

/// What a query asks for; what is offered nowhere here is ignored, as Consul does, unless it would leave something out.
#[derive(Debug, Default, PartialEq)]
pub struct Asked {
    index: Option<u64>,
    wait: Option<String>,
    /// Only what is ready.
    passing: bool,
    /// Only what has all of them.
    tags: Vec<String>,
}

impl Asked {
    fn read(query: &str) -> Result<Self, Problem> {
        let mut asked = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                // Go's clients leave nothing behind the name where they have nothing to say.
                "index" if value.is_empty() => {}
                "index" => asked.index = Some(value.parse().map_err(|_| wrong("index", &value, "a number"))?),
                "wait" => asked.wait = Some(value.into_owned()),
                "passing" => {
                    asked.passing = match &*value.to_ascii_lowercase() {
                        "" | "1" | "t" | "true" => true,
                        "0" | "f" | "false" => false,
                        other => return Err(wrong("passing", other, "true or false")),
                    }
                }
                "tag" => asked.tags.push(value.into_owned()),
                "filter" | "node-meta" | "near" => {
                    let detail =
                        format!("?{name} is not offered; ?tag and ?passing choose among a service's instances");
                    return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "not-offered", detail));
                }
                _ => {}
            }
        }
        Ok(asked)
    }
}

fn wrong(name: &str, value: &str, expected: &str) -> Problem {
    Problem::bad(format!("?{name}={value:?} is not {expected}"))
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::read(parts.uri.query().unwrap_or_default())
    }
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

pub async fn nodes(State(context): State<Context>, counted: Counted, asked: Asked) -> Result<Response, Problem> {
    of_view(&context, counted, &asked, "nodes", |view| json!([node(view)])).await
}

/// Every service with its tags.
pub async fn services(State(context): State<Context>, counted: Counted, asked: Asked) -> Result<Response, Problem> {
    let all = |view: &View| {
        let mut services: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        view.status.apps.iter().for_each(|app| _ = services.entry(app.name.as_str()).or_default());
        for entry in entries(view) {
            services.entry(entry.service.as_str()).or_default().extend(entry.tags);
        }
        json!(services)
    };
    of_view(&context, counted, &asked, "services", all).await
}

pub async fn service(
    State(context): State<Context>,
    counted: Counted,
    Path(name): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let all = |view: &View| {
        let found = named(view, &name, &asked).map(|entry| {
            let (host, port) = place(Some(entry.address));
            let mut value = node(view);
            value["ServiceID"] = json!(entry.id);
            value["ServiceName"] = json!(entry.service);
            value["ServiceAddress"] = json!(host);
            value["ServicePort"] = json!(port);
            value["ServiceTags"] = json!(entry.tags);
            value["ServiceMeta"] = entry.meta();
            value
        });
        Value::Array(found.collect())
    };
    of_view(&context, counted, &asked, &format!("service {name}"), all).await
}

pub async fn health(
    State(context): State<Context>,
    counted: Counted,
    Path(name): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let all = |view: &View| {
        let found =
            named(view, &name, &asked).filter(|entry| !asked.passing || entry.state == Condition::Ready).map(|entry| {
                let (host, port) = place(Some(entry.address));
                json!({
                    "Node": node(view),
                    "Service": {
                        "ID": entry.id, "Service": entry.service, "Tags": entry.tags, "Address": host,
                        "Port": port, "Meta": entry.meta(),
                    },
                    "Checks": [{
                        "Node": NODE, "CheckID": format!("service:{}", entry.id), "Name": "ready",
                        "Status": status(entry.state), "Output": entry.reason.unwrap_or_default(),
                        "ServiceID": entry.id, "ServiceName": entry.service,
                    }],
                })
            });
        Value::Array(found.collect())
    };
    of_view(&context, counted, &asked, &format!("health {name}"), all).await
}

/// An instance of an app, or an endpoint of a registered service.
struct Entry<'v> {
    service: &'v AppName,
    id: &'v str,
    address: SocketAddr,
    tags: Vec<String>,
    state: Condition,
    reason: Option<&'v str>,
    release: Option<&'v Version>,
}

impl Entry<'_> {
    fn meta(&self) -> Value {
        self.release.map_or_else(|| json!({}), |release| json!({ "release": release }))
    }
}

fn entries(view: &View) -> impl Iterator<Item = Entry<'_>> {
    let instances = view.status.apps.iter().flat_map(|app| app.instances.iter().map(move |i| (app, i)));
    let of_apps = instances.filter(|(_, i)| i.state != Condition::Stopped).filter_map(|(app, instance)| {
        Some(Entry {
            service: &app.name,
            id: &instance.name,
            address: instance.address?,
            tags: tags(app, instance),
            state: instance.state,
            reason: instance.reason.as_deref(),
            release: Some(&instance.release),
        })
    });
    let endpoints = view.services.values().flat_map(|s| s.endpoints.iter().map(move |e| (&s.name, e)));
    let registered = endpoints.filter_map(|(service, endpoint)| {
        Some(Entry {
            service,
            id: endpoint.id.as_str(),
            address: endpoint.address?,
            tags: endpoint.tags.clone(),
            state: endpoint.state,
            reason: endpoint.reason.as_deref(),
            release: None,
        })
    });
    of_apps.chain(registered)
}

fn named<'v>(view: &'v View, name: &'v str, asked: &'v Asked) -> impl Iterator<Item = Entry<'v>> {
    let of = entries(view).filter(move |entry| entry.service.as_str() == name);
    of.filter(|entry| asked.tags.iter().all(|tag| entry.tags.contains(tag)))
}

async fn of_view(
    context: &Context,
    counted: Counted,
    asked: &Asked,
    what: &str,
    look: impl Fn(&View) -> Value,
) -> Result<Response, Problem> {
    let question = format!("{what} {} {:?}", asked.passing, asked.tags);
    let now = || {
        let view = context.snapshot.view();
        let found = look(&view);
        (context.indices.of(&question, &found, view.number), found)
    };
    let (index, found) = wait(context, counted, asked.index, asked.wait.as_deref(), now).await?;
    Ok(super::json_answer(index, found))
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

pub fn place(address: Option<SocketAddr>) -> (String, u16) {
    address.map_or((String::new(), 0), |address| (address.ip().to_string(), address.port()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_consul_reads_it() {
        let asked = Asked::read("tag=a&passing&tag=b&stale&index=7&wait=1s&dc=dc1").unwrap();
        let tags = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(asked, Asked { index: Some(7), wait: Some("1s".into()), passing: true, tags });
        assert!(!Asked::read("passing=false").unwrap().passing && Asked::read("passing=1").unwrap().passing);
        for wrong in ["index=x", "passing=perhaps", "filter=ServiceTags+contains+a", "node-meta=a:b"] {
            assert!(Asked::read(wrong).is_err(), "{wrong}");
        }
    }
}
