//! Docker's answers → the core's plain values.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerSummary, ContainerSummaryStateEnum, EndpointSettings,
    HealthStatusEnum,
};
use jiff::Timestamp;

use super::labels::{self, ImageLabels};

use crate::core::container::{
    Attachment, Container, ContainerId, DockerHealth, Network, Owner, RunState, Subnet, label,
};
use crate::ports::seal::Seal;

/// `None` where Docker leaves out id or name, which it never does for a container that exists.
pub fn container(
    answer: ContainerInspectResponse,
    image: Option<&ImageLabels>,
    seal: Option<&Arc<dyn Seal>>,
) -> Option<Container> {
    let config = answer.config.unwrap_or_default();
    let state = answer.state.unwrap_or_default();
    let networks = answer.network_settings.and_then(|s| s.networks).unwrap_or_default();
    let mode = answer.host_config.and_then(|h| h.network_mode);
    let read = labels::read(labels::ours(config.labels.unwrap_or_default()), image, seal);
    let mut exposed: Vec<u16> = config
        .exposed_ports
        .unwrap_or_default()
        .iter()
        .filter_map(|port| port.strip_suffix("/tcp").unwrap_or(port).parse().ok())
        .collect();
    exposed.sort_unstable();
    Some(Container {
        id: ContainerId(answer.id?.into()),
        name: answer.name?.trim_start_matches('/').into(),
        image: config.image.unwrap_or_default().into(),
        labels: read.labels,
        of_image: read.of_image,
        ours: read.ours,
        health: health(&state),
        started_at: time(state.started_at.as_deref()),
        state: run_state(&state),
        attachments: attachments(networks),
        host_network: mode.as_deref() == Some("host"),
        joined: joined(mode.as_deref()),
        exposed,
        created_at: time(answer.created.as_deref()).unwrap_or(Timestamp::UNIX_EPOCH),
        restarts: answer.restart_count.and_then(|count| count.try_into().ok()).unwrap_or(0),
        trouble: None,
    })
}

/// A container as Docker's list has it, where it cannot be described in full: without its start and its health.
/// `None` where the list leaves out id or name.
pub fn listed(
    listed: ContainerSummary,
    image: Option<&ImageLabels>,
    seal: Option<&Arc<dyn Seal>>,
    trouble: &str,
) -> Option<Container> {
    let created_at = listed.created.and_then(|at| Timestamp::from_second(at).ok()).unwrap_or(Timestamp::UNIX_EPOCH);
    let mode = listed.host_config.and_then(|h| h.network_mode);
    let read = labels::read(labels::ours(listed.labels.unwrap_or_default()), image, seal);
    let mut exposed: Vec<u16> = listed.ports.iter().flatten().map(|port| port.private_port).collect();
    exposed.sort_unstable();
    exposed.dedup();
    Some(Container {
        id: ContainerId(listed.id?.into()),
        name: listed.names?.first()?.trim_start_matches('/').into(),
        image: listed.image.unwrap_or_default().into(),
        labels: read.labels,
        of_image: read.of_image,
        ours: read.ours,
        health: None,
        started_at: None,
        state: match listed.state {
            Some(ContainerSummaryStateEnum::RUNNING) => RunState::Running,
            Some(ContainerSummaryStateEnum::PAUSED) => RunState::Paused,
            Some(ContainerSummaryStateEnum::CREATED) => RunState::Created,
            _ => RunState::Exited { code: -1, oom: false, at: None },
        },
        attachments: attachments(listed.network_settings.and_then(|s| s.networks).unwrap_or_default()),
        host_network: mode.as_deref() == Some("host"),
        joined: joined(mode.as_deref()),
        exposed,
        created_at,
        restarts: 0,
        trouble: Some(trouble.to_owned()),
    })
}

fn attachments(networks: HashMap<String, EndpointSettings>) -> Vec<Attachment> {
    let mut attachments: Vec<_> = networks.into_iter().map(|(name, endpoint)| attachment(name, &endpoint)).collect();
    attachments.sort_by(|a, b| a.network.cmp(&b.network));
    attachments
}

/// Docker writes the id of the container whose network is shared, also where a name was given.
fn joined(mode: Option<&str>) -> Option<ContainerId> {
    mode?.strip_prefix("container:").map(|id| ContainerId(id.into()))
}

pub fn network(network: bollard::models::Network) -> Option<Network> {
    let owner = network.labels.unwrap_or_default().remove(label::OWNER).map(|owner| Owner(owner.into()));
    let configs = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
    let subnets = configs.iter().filter_map(|c| Subnet::parse(c.subnet.as_deref()?)).collect();
    Some(Network { name: network.name?.into(), owner, subnets })
}

fn attachment(name: String, endpoint: &EndpointSettings) -> Attachment {
    let texts = [&endpoint.ip_address, &endpoint.global_ipv6_address];
    let addresses: Vec<IpAddr> = texts.into_iter().filter_map(|text| text.as_deref()?.parse().ok()).collect();
    let aliases = endpoint.aliases.iter().flatten().map(|alias| alias.as_str().into()).collect();
    Attachment { network: name.into(), addresses, aliases }
}

fn run_state(state: &ContainerState) -> RunState {
    let is = |flag: Option<bool>| flag == Some(true);
    if is(state.paused) {
        return RunState::Paused;
    }
    // A container that Docker itself restarts is "running" with no process between its runs.
    if is(state.running) && !is(state.restarting) {
        return RunState::Running;
    }
    let finished = time(state.finished_at.as_deref());
    if finished.is_none() && state.exit_code.unwrap_or(0) == 0 && !is(state.dead) {
        return RunState::Created;
    }
    RunState::Exited { code: state.exit_code.unwrap_or(-1), oom: is(state.oom_killed), at: finished }
}

fn health(state: &ContainerState) -> Option<DockerHealth> {
    match state.health.as_ref()?.status? {
        HealthStatusEnum::STARTING => Some(DockerHealth::Starting),
        HealthStatusEnum::HEALTHY => Some(DockerHealth::Healthy),
        HealthStatusEnum::UNHEALTHY => Some(DockerHealth::Unhealthy),
        HealthStatusEnum::NONE | HealthStatusEnum::EMPTY => None,
    }
}

/// Docker writes the year 1 for "never".
fn time(text: Option<&str>) -> Option<Timestamp> {
    text?.parse::<Timestamp>().ok().filter(|at| *at > Timestamp::UNIX_EPOCH)
}
