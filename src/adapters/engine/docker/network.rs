//! The platform's own network: found, or made.

use std::collections::HashMap;
use std::net::IpAddr;

use bollard::Docker;
use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest, NetworkInspect};
use bollard::query_parameters::InspectNetworkOptions;

use super::DockerEngine;
use crate::core::container::{Owner, Subnet, label};
use crate::ports::engine::{EngineError, PlatformNetwork};

pub async fn ensure(
    engine: &DockerEngine,
    client: &Docker,
    name: &str,
    owner: &Owner,
    subnet: Option<&str>,
) -> Result<PlatformNetwork, EngineError> {
    if let Some(found) = inspect(engine, client, name).await? {
        return gateway(name, &found);
    }
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
        Ok(_) => {}
        // Somebody else was quicker: then it is there.
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 409, .. }) => {}
        Err(error) => return Err(engine.error(error)),
    }
    match inspect(engine, client, name).await? {
        Some(made) => gateway(name, &made),
        None => Err(EngineError::NotFound(format!("network {name}, just made,"))),
    }
}

async fn inspect(engine: &DockerEngine, client: &Docker, name: &str) -> Result<Option<NetworkInspect>, EngineError> {
    match client.inspect_network(name, None::<InspectNetworkOptions>).await.map_err(|e| engine.error(e)) {
        Ok(network) => Ok(Some(network)),
        Err(EngineError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn gateway(name: &str, network: &NetworkInspect) -> Result<PlatformNetwork, EngineError> {
    let configs = network.ipam.as_ref().and_then(|ipam| ipam.config.as_ref());
    let gateway = configs.into_iter().flatten().filter_map(gateway_of).find(IpAddr::is_ipv4);
    gateway.map(|gateway| PlatformNetwork { gateway }).ok_or_else(|| {
        EngineError::Refused(format!(
            "network {name} has no IPv4 gateway; remove it, or name another with docker.network"
        ))
    })
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
