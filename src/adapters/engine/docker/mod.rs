//! Docker, through bollard: one connection, negotiated to the daemon's API version.
//!
//! Lists and inspects are the truth; events are only hints to look again.

mod connect;
mod convert;
mod events;
mod images;
mod job;
mod local;
mod network;
mod run;

use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptions, LogsOptionsBuilder, RemoveImageOptions,
};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::core::container::{Container, ContainerId, Owner};
use crate::core::deploy::GateResult;
use crate::core::names::ImageRef;
use crate::core::release::ImageNow;
use crate::core::world::{InstanceSpec, JobSpec};
use crate::ports::engine::{Engine, EngineError, EngineVersion, Hints, Listing, LogLines, LogQuery, PlatformNetwork};

/// How many inspects run at once when everything is listed.
const INSPECTS: usize = 16;

pub struct DockerEngine {
    /// Negotiated anew after the daemon was away: it may have come back as another version.
    client: tokio::sync::RwLock<Option<Docker>>,
    place: String,
    network: String,
    /// What instances are told to ask for names.
    dns: std::sync::OnceLock<std::net::IpAddr>,
}

impl DockerEngine {
    /// `host` as in `DOCKER_HOST`: `unix://…`, `tcp://…`. Does not connect yet.
    pub fn new(host: &str, network: &str) -> Self {
        Self {
            client: Default::default(),
            place: host.to_owned(),
            network: network.to_owned(),
            dns: Default::default(),
        }
    }

    async fn client(&self) -> Result<Docker, EngineError> {
        if let Some(client) = self.client.read().await.clone() {
            return Ok(client);
        }
        let client = connect::connect(&self.place).await.map_err(|reason| self.unreachable(reason))?;
        *self.client.write().await = Some(client.clone());
        Ok(client)
    }

    async fn forget_client(&self) {
        *self.client.write().await = None;
    }

    fn unreachable(&self, reason: impl ToString) -> EngineError {
        EngineError::Unreachable { place: self.place.clone(), reason: reason.to_string() }
    }

    fn error(&self, error: bollard::errors::Error) -> EngineError {
        match error {
            bollard::errors::Error::DockerResponseServerError { status_code: 404, message } => {
                EngineError::NotFound(message)
            }
            bollard::errors::Error::DockerResponseServerError { message, .. } => EngineError::Refused(message),
            // It answered, and said in the middle of its answer what went wrong.
            bollard::errors::Error::DockerStreamError { error } => EngineError::Refused(error),
            other => self.unreachable(connect::innermost(&other)),
        }
    }
}

#[async_trait::async_trait]
impl Engine for DockerEngine {
    async fn version(&self) -> Result<EngineVersion, EngineError> {
        let client = self.client().await?;
        let answer = client.version().await.map_err(|e| self.error(e))?;
        Ok(EngineVersion { version: answer.version.unwrap_or_default(), api: client.client_version().to_string() })
    }

    async fn list(&self) -> Result<Listing, EngineError> {
        let client = self.client().await?;
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let summaries = client.list_containers(Some(options)).await.map_err(|e| self.error(e))?;
        let ids = summaries.into_iter().filter_map(|s| s.id).map(|id| ContainerId(id.into()));
        let containers: Vec<Option<Container>> = stream::iter(ids)
            .map(|id| async move {
                match self.inspect(&id).await {
                    Err(EngineError::NotFound(_)) => Ok(None),
                    other => other.map(Some),
                }
            })
            .buffer_unordered(INSPECTS)
            .try_collect()
            .await?;
        let networks = client.list_networks(None::<ListNetworksOptions>).await.map_err(|e| self.error(e))?;
        Ok(Listing {
            containers: containers.into_iter().flatten().collect(),
            networks: networks.into_iter().filter_map(convert::network).collect(),
            local: local::addresses(),
        })
    }

    async fn inspect(&self, id: &ContainerId) -> Result<Container, EngineError> {
        let answer = self.client().await?.inspect_container(&id.0, None).await.map_err(|e| self.error(e))?;
        convert::container(answer)
            .ok_or_else(|| EngineError::Refused(format!("Docker's description of {id} lacks its id or name")))
    }

    async fn hints(&self) -> Result<Hints, EngineError> {
        self.forget_client().await;
        let place = self.place.clone();
        Ok(events::hints(self.client().await?, place))
    }

    async fn ensure_network(
        &self,
        name: &str,
        owner: &Owner,
        subnet: Option<&str>,
    ) -> Result<PlatformNetwork, EngineError> {
        let network = network::ensure(self, &self.client().await?, name, owner, subnet).await?;
        let _ = self.dns.set(network.gateway);
        Ok(network)
    }

    async fn connect(&self, id: &ContainerId) -> Result<(), EngineError> {
        network::connect(self, &self.client().await?, &self.network, id).await
    }

    async fn remove_network(&self, name: &str) -> Result<(), EngineError> {
        network::remove(self, &self.client().await?, name).await
    }

    async fn start(&self, spec: &InstanceSpec) -> Result<Container, EngineError> {
        let client = self.client().await?;
        run::start(self, &client, spec).await
    }

    async fn image(&self, image: &str, manifest: Option<&str>) -> Result<Arc<str>, EngineError> {
        images::image(self, &self.client().await?, image, manifest).await
    }

    async fn image_now(&self, image: &ImageRef) -> Result<ImageNow, EngineError> {
        images::now(self, &self.client().await?, image).await
    }

    async fn has_image(&self, image: &str) -> Result<bool, EngineError> {
        match self.client().await?.inspect_image(image).await.map_err(|e| self.error(e)) {
            Ok(_) => Ok(true),
            Err(EngineError::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn layers_here(&self, layers: &[String]) -> Result<usize, EngineError> {
        images::layers_here(self, &self.client().await?, layers).await
    }

    async fn load(&self, archive: std::fs::File) -> Result<(), EngineError> {
        images::load(self, &self.client().await?, archive).await
    }

    async fn name_image(&self, image: &str, name: &ImageRef) -> Result<(), EngineError> {
        images::name(self, &self.client().await?, image, name).await
    }

    async fn remove_image(&self, image: &str) -> Result<(), EngineError> {
        match self
            .client()
            .await?
            .remove_image(image, None::<RemoveImageOptions>, None)
            .await
            .map_err(|e| self.error(e))
        {
            Ok(_) | Err(EngineError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn job(&self, spec: &JobSpec) -> Result<GateResult, EngineError> {
        job::job(self, &self.client().await?, spec).await
    }

    async fn restart(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.client().await?.start_container(&id.0, None).await.map_err(|e| self.error(e))
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), EngineError> {
        run::stop(self, &self.client().await?, id, grace).await
    }

    async fn logs(&self, id: &ContainerId, query: LogQuery) -> Result<LogLines, EngineError> {
        let tail = query.tail.map_or_else(|| "all".to_owned(), |n| n.to_string());
        let options = LogsOptionsBuilder::default().follow(query.follow).stdout(true).stderr(true).tail(&tail).build();
        let place = self.place.clone();
        let lines = self.client().await?.logs(&id.0, Some(options));
        Ok(Box::pin(lines.map(move |line| match line {
            Ok(output) => Ok(output.into_bytes().to_vec()),
            Err(error) => Err(EngineError::Unreachable { place: place.clone(), reason: connect::innermost(&error) }),
        })))
    }
}
