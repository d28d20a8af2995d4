//! Whether a container can take requests, and how that is found out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::World;
use crate::core::app::{App, HealthPath};
use crate::core::container::{Container, ContainerId, DockerHealth, RunState};
use crate::core::names::AppName;
use crate::core::service::EndpointId;

/// What probes said of one run of a container, or of an endpoint as it was registered.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// The run it is about; a restart makes it void.
    pub started_at: Option<Timestamp>,
    pub verdict: Result<(), String>,
    pub since: Timestamp,
    pub was_ready: bool,
}

/// The state of an instance, as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    Starting,
    Ready,
    Unhealthy,
    Draining,
    Stopped,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ProbeKind {
    /// A GET that must answer 200-399.
    Http(HealthPath),
    /// A connection that must be accepted.
    Tcp,
}

impl ProbeKind {
    /// Between probes of what is ready, where nothing else is asked for.
    pub fn usual_interval(&self) -> Duration {
        match self {
            Self::Http(_) => Duration::from_secs(5),
            Self::Tcp => Duration::from_secs(10),
        }
    }
}

/// What is probed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    Container(ContainerId),
    Endpoint(AppName, EndpointId),
}

/// One address to be probed until it is taken off the list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProbeTarget {
    pub subject: Subject,
    /// The run of the container, or the registration, that the verdict is about.
    pub started_at: Option<Timestamp>,
    pub address: SocketAddr,
    pub kind: ProbeKind,
    /// The `Host` of an HTTP probe, as visitors send it; without one the address.
    pub host: Option<Arc<str>>,
    /// Between probes of a ready instance; a starting or unhealthy one is probed faster.
    pub interval: Duration,
    pub timeout: Duration,
}

impl World {
    /// How a container is probed; `None` where Docker's own HEALTHCHECK tells.
    pub fn probe_kind(&self, container: &Container, app: Option<&App>) -> Option<ProbeKind> {
        match (app.and_then(|a| a.health.path.clone()), container.health) {
            (Some(path), _) => Some(ProbeKind::Http(path)),
            (None, Some(_)) => None,
            (None, None) => Some(ProbeKind::Tcp),
        }
    }

    /// The condition of an instance at `address`, with the moment it began and, if it is not ready, why.
    pub fn condition(
        &self,
        container: &Container,
        app: Option<&App>,
        address: SocketAddr,
    ) -> (Condition, Timestamp, Option<String>) {
        let since = container.started_at.unwrap_or(container.created_at);
        if self.retiring.contains_key(&container.id) {
            return (Condition::Draining, since, Some("it is being taken out of service".into()));
        }
        match &container.state {
            RunState::Running => {}
            RunState::Created => return (Condition::Starting, since, None),
            RunState::Paused => return (Condition::Unhealthy, since, Some("it is paused".into())),
            RunState::Exited { at, .. } => {
                return (Condition::Stopped, at.unwrap_or(since), container.state.ending());
            }
        }
        if self.probe_kind(container, app).is_none() {
            return match container.health {
                Some(DockerHealth::Healthy) | None => (Condition::Ready, since, None),
                Some(DockerHealth::Starting) => {
                    (Condition::Starting, since, Some("its HEALTHCHECK has not passed yet".into()))
                }
                Some(DockerHealth::Unhealthy) => (Condition::Unhealthy, since, Some("its HEALTHCHECK fails".into())),
            };
        }
        match self.health.get(&container.id).filter(|h| h.started_at == container.started_at) {
            Some(Health { verdict: Ok(()), since, .. }) => (Condition::Ready, *since, None),
            Some(Health { verdict: Err(reason), since, was_ready: true, .. }) => {
                (Condition::Unhealthy, *since, Some(reason.clone()))
            }
            Some(Health { verdict: Err(reason), .. }) => (Condition::Starting, since, Some(reason.clone())),
            // Found in the routes of an nginx that served while we were away: in use until a probe says otherwise.
            None if self.balancer.adopted_names(address) => (Condition::Ready, since, None),
            None => (Condition::Starting, since, None),
        }
    }
}
