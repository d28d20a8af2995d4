//! Consul's agent: services that register themselves, and their list.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;
use utoipa::ToSchema;

use crate::adapters::http::api::services::register;
use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem;
use crate::adapters::http::keyring::Caller;
use crate::adapters::http::route::by::By;
use crate::adapters::http::route::by::Vouched;
use crate::core::access::Right;
use crate::core::app::HealthPath;
use crate::core::decide::Command;
use crate::core::names::AppName;
use crate::core::service::{Endpoint, EndpointId, ServiceUrl};

/// A service as Consul's clients register it. What we have no use for is left unread.
#[derive(Deserialize, ToSchema)]
#[schema(rename_all = "PascalCase")]
pub struct Registration {
    name: String,
    #[schema(rename = "ID")]
    id: Option<String>,
    /// Without one it is this machine
    address: Option<String>,
    /// Without one it is its check's, else 80
    #[serde(default)]
    port: u16,
    #[serde(default)]
    tags: Vec<String>,
    check: Option<Check>,
    #[serde(default)]
    checks: Vec<Check>,
}

/// How Consul would look after a service. Ours are HTTP and TCP.
#[derive(Deserialize, ToSchema)]
pub struct Check {
    #[schema(rename = "HTTP")]
    #[serde(default)]
    http: String,
    #[schema(rename = "TCP")]
    #[serde(default)]
    tcp: String,
    #[serde(flatten)]
    #[schema(value_type = Object)]
    others: BTreeMap<String, Value>,
}

impl Check {
    /// The port that it asks, where it says one.
    fn port(&self) -> Option<u16> {
        let of_url = Url::parse(&self.http).ok().and_then(|url| url.port_or_known_default());
        of_url.or_else(|| self.tcp.rsplit_once(':')?.1.parse().ok())
    }
}

pub async fn add(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    by: By,
    vouched: Vouched,
    body: Bytes,
) -> Result<(), Problem> {
    let asked: Registration = super::read_as_go(&body)?;
    let name = AppName::parse(&asked.name)?;
    caller.may(Right::Deploy, Some(&name))?;
    let id = EndpointId::parse(asked.id.as_deref().filter(|id| !id.is_empty()).unwrap_or(name.as_str()))?;
    let host = asked.address.as_deref().filter(|address| !address.is_empty()).unwrap_or("127.0.0.1");
    let host = match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
        _ => host.to_owned(),
    };
    let checks = || asked.check.iter().chain(&asked.checks);
    let port = Some(asked.port).filter(|port| *port != 0).or_else(|| checks().find_map(Check::port)).unwrap_or(80);
    let url = ServiceUrl::parse(&format!("http://{host}:{port}"))?;
    let health = health(checks(), port)?;
    let (at, by_name, inside) = (Timestamp::now(), by.0.as_str().into(), vouched.0);
    let endpoint = Endpoint { url, health, tags: asked.tags, at, by: by_name, inside };
    // Ids are an agent's own: under another name the same one moves.
    let elsewhere = place(&context, &id).filter(|(other, _)| *other != name);
    let command = Command::Register { name: name.clone(), id: id.clone(), endpoint: Box::new(endpoint), alone: false };
    register(&context, &by, command, &name, &id).await?;
    if let Some((other, id)) = elsewhere {
        caller.may(Right::Deploy, Some(&other))?;
        context.inbox.ask(Command::Deregister { name: other, id: Some(id) }, &by.0).await?;
    }
    Ok(())
}

/// The path of the check that asks one. A check that we would not make is refused: who registers a service relies on it.
fn health<'c>(checks: impl Iterator<Item = &'c Check>, port: u16) -> Result<Option<HealthPath>, Problem> {
    let mut found = None;
    for check in checks {
        // Go's clients send all fields, most of them empty.
        let asks = |kind: &&str| {
            let given = check.others.get(&kind.to_ascii_lowercase());
            given.is_some_and(|value| ![json!(""), json!([]), json!({})].contains(value))
        };
        let kinds =
            ["TTL", "GRPC", "UDP", "H2PING", "Args", "Script", "DockerContainerID", "AliasService", "Header", "Body"];
        if let Some(kind) = kinds.into_iter().find(asks) {
            return Err(not_offered(&format!("checks by {kind} are")));
        }
        let method = check.others.get("method").and_then(Value::as_str).unwrap_or_default();
        if !["", "GET"].contains(&method) {
            return Err(not_offered(&format!("checks by {method} are")));
        }
        if let Some(other) = check.port().filter(|other| *other != port) {
            return Err(not_offered(&format!("a check at port {other} of a service at port {port} is")));
        }
        if !check.http.is_empty() {
            let url = Url::parse(&check.http).map_err(|e| Problem::bad(format!("check {:?}: {e}", check.http)))?;
            let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
            let path = HealthPath::parse(&format!("{}{query}", url.path()))?;
            if found.replace(path.clone()).is_some_and(|other| other != path) {
                return Err(not_offered("several HTTP checks of one service are"));
            }
        }
    }
    Ok(found)
}

fn not_offered(what: &str) -> Problem {
    let detail =
        format!("{what} not offered; HTTP and TCP at the service's own port are, and without a check TCP is used");
    Problem::new(StatusCode::NOT_IMPLEMENTED, "not-offered", detail)
}

pub async fn remove(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    by: By,
    Path(id): Path<String>,
) -> Result<(), Problem> {
    let missing = || Problem::new(StatusCode::NOT_FOUND, "unknown-service", format!("there is no service id {id:?}"));
    let (name, id) = EndpointId::parse(&id).ok().and_then(|id| place(&context, &id)).ok_or_else(missing)?;
    caller.may(Right::Deploy, Some(&name))?;
    context.inbox.ask(Command::Deregister { name, id: Some(id) }, &by.0).await?;
    Ok(())
}

/// The service that an id belongs to.
fn place(context: &Context, id: &EndpointId) -> Option<(AppName, EndpointId)> {
    let view = context.snapshot.view();
    let found = view.services.values().find(|service| service.endpoints.iter().any(|e| e.id == *id))?;
    Some((found.name.clone(), id.clone()))
}

pub async fn services(State(context): State<Context>) -> Json<Value> {
    let view = context.snapshot.view();
    let all = view.services.values().flat_map(|service| {
        service.endpoints.iter().map(|endpoint| {
            let (host, port) = super::catalog::place(endpoint.address);
            let value = json!({
                "ID": endpoint.id, "Service": service.name, "Tags": endpoint.tags, "Address": host, "Port": port,
                "Meta": {}, "Weights": { "Passing": 1, "Warning": 1 }, "EnableTagOverride": false,
            });
            (endpoint.id.to_string(), value)
        })
    });
    Json(Value::Object(Map::from_iter(all)))
}
