//! The platform's own network: found, or made.

use std::collections::HashMap;
use std::net::IpAddr;

use bollard::Docker;
use bollard::models::{Ipam, IpamConfig, NetworkConnectRequest, NetworkCreateRequest, NetworkInspect};
use bollard::query_parameters::{InspectNetworkOptions, ListNetworksOptionsBuilder};

use super::client::DockerEngine;
use crate::core::container::{ContainerId, Owner, Subnet, label};
use crate::ports::engine::{EngineError, PlatformNetwork};

pub async fn ensure(
    engine: &DockerEngine,
    client: &Docker,
    name: &str,
    owner: &Owner,
    subnet: Option<&str>,
) -> Result<PlatformNetwork, EngineError> {
    let older = older(engine, client, name, owner).await?;
    if let Some(found) = inspect(engine, client, name).await? {
        return known(name, &found, older);
    }
    match create(client, name, owner, subnet).await {
        Ok(()) => {}
        // Its subnet may be that of the network whose place it takes, which is still in use.
        Err(error) if subnet.is_some() && !older.is_empty() => {
            let error = engine.error(error);
            tracing::warn!(network = name, %error, "docker.subnet is not free yet, Docker chooses another");
            create(client, name, owner, None).await.map_err(|e| engine.error(e))?;
        }
        Err(error) => return Err(engine.error(error)),
    }
    match inspect(engine, client, name).await? {
        Some(made) => known(name, &made, older),
        None => Err(EngineError::NotFound(format!("network {name}, just made,"))),
    }
}

async fn create(
    client: &Docker,
    name: &str,
    owner: &Owner,
    subnet: Option<&str>,
) -> Result<(), bollard::errors::Error> {
    let ipam = subnet.map(|subnet| Ipam {
        config: Some(vec![IpamConfig { subnet: Some(subnet.to_owned()), ..Default::default() }]),
        ..Default::default()
    });
    let request = NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some("bridge".into()),
        ipam,
        labels: Some(HashMap::from([(label::OWNER.to_owned(), owner.0.to_string())])),
        ..Default::default()
    };
    match client.create_network(request).await {
        // 409: somebody else was quicker, then it is there.
        Ok(_) | Err(bollard::errors::Error::DockerResponseServerError { status_code: 409, .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The gateways of this platform's networks that have another name.
async fn older(engine: &DockerEngine, client: &Docker, name: &str, owner: &Owner) -> Result<Vec<IpAddr>, EngineError> {
    let ours = HashMap::from([("label".to_owned(), vec![format!("{}={}", label::OWNER, owner.0)])]);
    let options = ListNetworksOptionsBuilder::default().filters(&ours).build();
    let networks = client.list_networks(Some(options)).await.map_err(|e| engine.error(e))?;
    let older = networks.into_iter().filter(|network| network.name.as_deref() != Some(name));
    Ok(older.filter_map(|network| gateway_in(network.ipam.as_ref()?)).collect())
}

pub async fn connect(engine: &DockerEngine, client: &Docker, name: &str, id: &ContainerId) -> Result<(), EngineError> {
    let request = NetworkConnectRequest { container: id.0.to_string(), ..Default::default() };
    client.connect_network(name, request).await.map_err(|e| engine.error(e))
}

pub async fn remove(engine: &DockerEngine, client: &Docker, name: &str) -> Result<(), EngineError> {
    match client.remove_network(name).await.map_err(|e| engine.error(e)) {
        Err(EngineError::NotFound(_)) => Ok(()),
        other => other,
    }
}

async fn inspect(engine: &DockerEngine, client: &Docker, name: &str) -> Result<Option<NetworkInspect>, EngineError> {
    match client.inspect_network(name, None::<InspectNetworkOptions>).await.map_err(|e| engine.error(e)) {
        Ok(network) => Ok(Some(network)),
        Err(EngineError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn known(name: &str, network: &NetworkInspect, older: Vec<IpAddr>) -> Result<PlatformNetwork, EngineError> {
    let gateway = network.ipam.as_ref().and_then(gateway_in);
    gateway.map(|gateway| PlatformNetwork { gateway, older }).ok_or_else(|| {
        EngineError::Refused(format!(
            "network {name} has no IPv4 gateway; remove it, or name another with docker.network"
        ))
    })
}

fn gateway_in(ipam: &Ipam) -> Option<IpAddr> {
    ipam.config.iter().flatten().filter_map(gateway_of).find(IpAddr::is_ipv4)
}

/// Docker may write the gateway with its prefix length behind it, and leaves it out where only a subnet was
/// asked for: then it is the subnet's first address.
fn gateway_of(config: &IpamConfig) -> Option<IpAddr> {
    let written = config.gateway.as_deref().and_then(|text| text.split('/').next()?.parse().ok());
    written.or_else(|| Subnet::parse(config.subnet.as_deref()?)?.first_host())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_that_was_made_with_a_subnet_alone_has_the_first_address_as_gateway() {
        let config = |gateway: Option<&str>| IpamConfig {
            subnet: Some("172.30.7.0/24".into()),
            gateway: gateway.map(str::to_owned),
            ..Default::default()
        };
        assert_eq!(gateway_of(&config(None)), Some(IpAddr::from([172, 30, 7, 1])));
        assert_eq!(gateway_of(&config(Some("172.30.7.9/24"))), Some(IpAddr::from([172, 30, 7, 9])));
    }
}
