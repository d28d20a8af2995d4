//! Registered services as people and clients see them.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::core::names::AppName;
use crate::core::service::{EndpointId, ServiceUrl};
use crate::core::world::{Condition, World};

/// A registered service, for people and clients.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServiceStatus {
    pub name: AppName,
    pub endpoints: Vec<EndpointStatus>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EndpointStatus {
    pub id: EndpointId,
    pub url: ServiceUrl,
    pub address: Option<std::net::SocketAddr>,
    pub state: Condition,
    pub since: Timestamp,
    pub reason: Option<String>,
    pub tags: Vec<String>,
    pub registered_at: Timestamp,
    pub by: Arc<str>,
}

/// Every registered service as it is now.
pub fn services(world: &World) -> BTreeMap<AppName, ServiceStatus> {
    let mut services: BTreeMap<AppName, ServiceStatus> = BTreeMap::new();
    for reached in world.endpoints() {
        let name = reached.service;
        let empty = || ServiceStatus { name: name.clone(), endpoints: Vec::new() };
        services.entry(name.clone()).or_insert_with(empty).endpoints.push(EndpointStatus {
            id: reached.id.clone(),
            url: reached.endpoint.url.clone(),
            address: reached.address.ok(),
            state: reached.condition,
            since: reached.since,
            reason: reached.reason,
            tags: reached.endpoint.tags.clone(),
            registered_at: reached.endpoint.at,
            by: reached.endpoint.by.clone(),
        });
    }
    services
}
