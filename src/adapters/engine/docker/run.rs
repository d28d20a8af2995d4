//! Starting and stopping instances.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, StopContainerOptionsBuilder,
};

use super::client::DockerEngine;
use super::registry::pull;
use super::{images, labels};
use crate::core::container::{Container, ContainerId};
use crate::core::names::HostName;
use crate::core::world::InstanceSpec;
use crate::ports::engine::{Engine, EngineError};

pub async fn start(engine: &DockerEngine, client: &Docker, spec: &InstanceSpec) -> Result<Container, EngineError> {
    let labels = stamped(engine, client, &spec.image, &spec.labels).await?;
    let id = create(engine, client, &spec.name, body(engine, spec, labels)).await?;
    if let Err(error) = client.start_container(&id.0, None).await.map_err(|e| engine.error(e)) {
        // A container that never ran would block its name; that the removal may fail changes nothing.
        let _ =
            client.remove_container(&id.0, Some(RemoveContainerOptionsBuilder::default().force(true).build())).await;
        return Err(error);
    }
    engine.inspect(&id).await
}

/// The labels of a container that is made from this image, which is pulled where it is not here.
pub async fn stamped(
    engine: &DockerEngine,
    client: &Docker,
    image: &str,
    labels: &BTreeMap<String, String>,
) -> Result<HashMap<String, String>, EngineError> {
    let of_image = match images::labels(engine, client, image).await {
        Err(EngineError::NotFound(_)) => {
            pull(engine, client, image).await?;
            images::labels(engine, client, image).await?
        }
        other => other?,
    };
    labels::stamp(labels.clone(), &of_image, engine.seal.as_ref())
}

pub async fn create(
    engine: &DockerEngine,
    client: &Docker,
    name: &str,
    body: ContainerCreateBody,
) -> Result<ContainerId, EngineError> {
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    match client.create_container(Some(options), body).await {
        Ok(created) => Ok(ContainerId(created.id.into())),
        // Docker has other conflicts as well.
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 409, message })
            if message.contains("already in use") =>
        {
            Err(EngineError::NameTaken(name.to_owned()))
        }
        Err(error) => Err(engine.error(error)),
    }
}

pub async fn stop(
    engine: &DockerEngine,
    client: &Docker,
    id: &ContainerId,
    grace: Duration,
) -> Result<(), EngineError> {
    let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
    let stopped = client.stop_container(&id.0, Some(StopContainerOptionsBuilder::default().t(seconds).build())).await;
    match stopped {
        // 304: it was not running.
        Ok(()) | Err(bollard::errors::Error::DockerResponseServerError { status_code: 304, .. }) => {}
        Err(error) => match engine.error(error) {
            EngineError::NotFound(_) => return Ok(()),
            error => return Err(error),
        },
    }
    match client
        .remove_container(&id.0, Some(RemoveContainerOptionsBuilder::default().v(true).build()))
        .await
        .map_err(|e| engine.error(e))
    {
        Err(EngineError::NotFound(_)) => Ok(()),
        other => other,
    }
}

/// Names as `docker run --add-host` takes them.
pub fn host_entries(hosts: &[(HostName, IpAddr)]) -> Vec<String> {
    hosts.iter().map(|(host, address)| format!("{host}:{address}")).collect()
}

/// A log that grows for ever fills the disk of whoever keeps an app for a year.
pub fn bounded_log() -> HostConfigLogConfig {
    HostConfigLogConfig {
        typ: Some("json-file".into()),
        config: Some([("max-size", "10m"), ("max-file", "3")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
    }
}

fn body(engine: &DockerEngine, spec: &InstanceSpec, labels: HashMap<String, String>) -> ContainerCreateBody {
    let dns = engine.dns.get().map(|ip| vec![ip.to_string()]);
    let limits = &spec.limits;
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        cmd: (!spec.command.is_empty()).then(|| spec.command.clone()),
        env: Some(spec.env.iter().map(|(key, value)| format!("{key}={value}")).collect()),
        labels: Some(labels),
        stop_timeout: i64::try_from(spec.grace.as_secs()).ok(),
        host_config: Some(HostConfig {
            network_mode: Some(engine.network.clone()),
            dns,
            extra_hosts: Some(host_entries(&spec.hosts)),
            binds: Some(spec.volumes.iter().map(ToString::to_string).collect()),
            memory: limits.memory.as_ref().and_then(|m| i64::try_from(m.bytes()).ok()).filter(|bytes| *bytes > 0),
            nano_cpus: limits.cpus.map(|cpus| (cpus * 1e9) as i64),
            pids_limit: limits.pids.map(i64::from),
            log_config: Some(bounded_log()),
            ..Default::default()
        }),
        ..Default::default()
    }
}
