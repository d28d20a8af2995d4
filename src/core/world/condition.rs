//! Whether a container can take requests.

use std::net::SocketAddr;

use jiff::Timestamp;

use super::health::{Condition, Health, ProbeKind, Subject};
use super::{RESTLESS, World};
use crate::core::app::App;
use crate::core::container::{Container, DockerHealth, RunState};

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
        let measured = self.measured(container, app, address);
        match self.held_since(&Subject::Container(container.id.clone())) {
            Some(since) if measured.0 == Condition::Ready => (Condition::Unhealthy, since, Some(RESTLESS.into())),
            _ => measured,
        }
    }

    /// The same by what is seen of it alone, held out or not.
    pub(super) fn measured(
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
            RunState::Paused => {
                return (Condition::Unhealthy, self.as_it_is_since(container), Some("it is paused".into()));
            }
            RunState::Exited { at, .. } => {
                return (Condition::Stopped, at.unwrap_or(since), container.state.ending());
            }
        }
        if self.probe_kind(container, app).is_none() {
            let since = self.as_it_is_since(container);
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

    /// Since when the container is as it is now.
    pub(super) fn as_it_is_since(&self, container: &Container) -> Timestamp {
        let known = self.containers.get(&container.id).map(|known| known.since);
        known.unwrap_or_else(|| container.started_at.unwrap_or(container.created_at))
    }
}
