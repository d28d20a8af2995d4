//! Docker's answers → the core's plain values.

use std::net::IpAddr;

use bollard::models::{ContainerInspectResponse, ContainerState, EndpointSettings, HealthStatusEnum};
use jiff::Timestamp;

use crate::core::container::{
    Attachment, Container, ContainerId, DockerHealth, Network, Owner, RunState, Subnet, label,
};

/// `None` where Docker leaves out id or name, which it never does for a container that exists.
pub fn container(answer: ContainerInspectResponse) -> Option<Container> {
    let config = answer.config.unwrap_or_default();
    let state = answer.state.unwrap_or_default();
    let networks = answer.network_settings.and_then(|s| s.networks).unwrap_or_default();
    let host_network = answer.host_config.and_then(|h| h.network_mode).as_deref() == Some("host");
    let mut attachments: Vec<_> = networks.into_iter().map(|(name, endpoint)| attachment(name, &endpoint)).collect();
    attachments.sort_by(|a, b| a.network.cmp(&b.network));
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
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        health: health(&state),
        started_at: time(state.started_at.as_deref()),
        state: run_state(&state),
        attachments,
        host_network,
        exposed,
        created_at: time(answer.created.as_deref()).unwrap_or(Timestamp::UNIX_EPOCH),
    })
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
