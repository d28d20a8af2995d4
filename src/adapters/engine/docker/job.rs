//! Containers that are run to their end: gates.

use std::collections::HashMap;

use bollard::Docker;
use bollard::models::{ContainerCreateBody, ContainerStateStatusEnum, HostConfig};
use bollard::query_parameters::{RemoveContainerOptionsBuilder, WaitContainerOptions};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::client::DockerEngine;
use super::run;
use crate::core::container::{ContainerId, label};
use crate::core::deploy::GateResult;
use crate::core::world::JobSpec;
use crate::ports::engine::{Engine, EngineError};

/// So many of the last lines are kept.
const LINES: usize = 200;
/// So many names are tried for one job.
const NAMES: usize = 9;

pub async fn job(engine: &DockerEngine, client: &Docker, spec: &JobSpec) -> Result<GateResult, EngineError> {
    let id = &*create(engine, client, spec).await?.0;
    // Its time begins when it runs: how long the engine takes to start it is none of its doing.
    let started = start(engine, client, id).await;
    let ended = match started {
        Ok(()) => match timeout(spec.timeout, end(engine, client, id)).await {
            Ok(ended) => ended.map(Some),
            Err(_) => Ok(None),
        },
        Err(error) => Err(error),
    };
    let log = engine.last_lines(&ContainerId(id.into()), LINES).await;
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    // One that cannot be removed is found and ended by the loop.
    let _ = client.remove_container(id, Some(options)).await;
    let exit_code = ended?;
    let error = exit_code.is_none().then(|| format!("it did not end within {:?}", spec.timeout));
    Ok(GateResult { exit_code, error, log })
}

/// Makes the container. One of ours that is left from before a restart is taken over: it goes on, or has ended
/// already. A stranger's that has the name decides nothing: another name is taken.
async fn create(engine: &DockerEngine, client: &Docker, spec: &JobSpec) -> Result<ContainerId, EngineError> {
    let labels = run::stamped(engine, client, spec.image.as_str(), &spec.labels).await?;
    let deployment = spec.labels.get(label::DEPLOYMENT).map(String::as_str);
    let names = (2..=NAMES).map(|n| format!("{}-{n}", spec.name));
    for name in std::iter::once(spec.name.clone()).chain(names) {
        match run::create(engine, client, &name, body(engine, spec, labels.clone())).await {
            Err(EngineError::NameTaken(_)) => match engine.inspect(&ContainerId(name.as_str().into())).await {
                Ok(left) if left.ours && left.label(label::DEPLOYMENT) == deployment => return Ok(left.id),
                Ok(_) | Err(EngineError::NotFound(_)) => {}
                Err(error) => return Err(error),
            },
            other => return other,
        }
    }
    Err(EngineError::NameTaken(spec.name.clone()))
}

fn body(engine: &DockerEngine, spec: &JobSpec, labels: HashMap<String, String>) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(spec.image.to_string()),
        entrypoint: (!spec.entrypoint.is_empty()).then(|| spec.entrypoint.clone()),
        cmd: (!spec.command.is_empty()).then(|| spec.command.clone()),
        env: Some(spec.env.iter().map(|(key, value)| format!("{key}={value}")).collect()),
        labels: Some(labels),
        host_config: Some(HostConfig {
            network_mode: Some(engine.network.clone()),
            dns: engine.dns.get().map(|ip| vec![ip.to_string()]),
            extra_hosts: Some(run::host_entries(&spec.hosts)),
            log_config: Some(run::bounded_log()),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Starts the container, unless it was started before.
async fn start(engine: &DockerEngine, client: &Docker, name: &str) -> Result<(), EngineError> {
    let state = client.inspect_container(name, None).await.map_err(|e| engine.error(e))?.state.unwrap_or_default();
    if state.status == Some(ContainerStateStatusEnum::CREATED) {
        client.start_container(name, None).await.map_err(|e| engine.error(e))?;
    }
    Ok(())
}

/// Waits for the container's end; the exit code.
async fn end(engine: &DockerEngine, client: &Docker, name: &str) -> Result<i64, EngineError> {
    match client.wait_container(name, None::<WaitContainerOptions>).next().await {
        Some(Ok(answer)) => Ok(answer.status_code),
        // bollard makes an error of every exit code but 0.
        Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. })) => Ok(code),
        Some(Err(error)) => Err(engine.error(error)),
        None => Err(engine.unreachable("it ended the wait without an answer")),
    }
}
