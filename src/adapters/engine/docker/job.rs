//! Containers that are run to their end: gates.

use bollard::Docker;
use bollard::models::{ContainerCreateBody, ContainerStateStatusEnum, HostConfig};
use bollard::query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, WaitContainerOptions};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::{DockerEngine, run};
use crate::core::container::ContainerId;
use crate::core::deploy::GateResult;
use crate::core::world::JobSpec;
use crate::ports::engine::{Engine, EngineError};

/// So many of the last lines are kept.
const LINES: usize = 200;

pub async fn job(engine: &DockerEngine, client: &Docker, spec: &JobSpec) -> Result<GateResult, EngineError> {
    match create(engine, client, spec).await {
        Err(EngineError::NotFound(_)) => {
            run::pull(engine, client, spec.image.as_str()).await?;
            create(engine, client, spec).await?;
        }
        // Left from before a restart: it goes on, or has ended already.
        Err(EngineError::NameTaken(_)) => {}
        other => other?,
    }
    // Its time begins when it runs: how long the engine takes to start it is none of its doing.
    let started = start(engine, client, &spec.name).await;
    let ended = match started {
        Ok(()) => match timeout(spec.timeout, end(engine, client, &spec.name)).await {
            Ok(ended) => ended.map(Some),
            Err(_) => Ok(None),
        },
        Err(error) => Err(error),
    };
    let log = engine.last_lines(&ContainerId(spec.name.as_str().into()), LINES).await;
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    // One that cannot be removed is found and ended by the loop.
    let _ = client.remove_container(&spec.name, Some(options)).await;
    let exit_code = ended?;
    let error = exit_code.is_none().then(|| format!("it did not end within {:?}", spec.timeout));
    Ok(GateResult { exit_code, error, log })
}

async fn create(engine: &DockerEngine, client: &Docker, spec: &JobSpec) -> Result<(), EngineError> {
    let options = CreateContainerOptionsBuilder::default().name(&spec.name).build();
    let body = ContainerCreateBody {
        image: Some(spec.image.to_string()),
        entrypoint: (!spec.entrypoint.is_empty()).then(|| spec.entrypoint.clone()),
        cmd: (!spec.command.is_empty()).then(|| spec.command.clone()),
        env: Some(spec.env.iter().map(|(key, value)| format!("{key}={value}")).collect()),
        labels: Some(spec.labels.clone().into_iter().collect()),
        host_config: Some(HostConfig {
            network_mode: Some(engine.network.clone()),
            dns: engine.dns.get().map(|ip| vec![ip.to_string()]),
            extra_hosts: Some(run::host_entries(&spec.hosts)),
            ..Default::default()
        }),
        ..Default::default()
    };
    match client.create_container(Some(options), body).await {
        Ok(_) => Ok(()),
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 409, .. }) => {
            Err(EngineError::NameTaken(spec.name.clone()))
        }
        Err(error) => Err(engine.error(error)),
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
