//! Docker, through bollard: one connection, negotiated to the daemon's API version.
//!
//! Lists and inspects are the truth; events are only hints to look again.

mod client;
mod connect;
mod convert;
mod events;
mod images;
mod job;
mod labels;
mod local;
mod network;
mod registry;
mod remembered;
mod run;

pub use client::DockerEngine;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerConfig, ContainerSummary};
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptions, LogsOptionsBuilder, RemoveImageOptions,
};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::core::container::{Container, ContainerId, Owner, label};
use crate::core::deploy::GateResult;
use crate::core::names::ImageRef;
use crate::core::release::ImageNow;
use crate::core::world::{InstanceSpec, JobSpec};
use crate::ports::engine::{Engine, EngineError, EngineVersion, Hints, Listing, LogLines, LogQuery, PlatformNetwork};
use client::INSPECTS;

impl DockerEngine {
    /// The container as Docker describes it; where it cannot, as its list has it.
    async fn describe(&self, id: &ContainerId, listed: Option<ContainerSummary>) -> Result<Container, EngineError> {
        let client = self.client().await?;
        let trouble = match self.asked(client.inspect_container(&id.0, None)).await {
            Ok(answer) => {
                let (image, trouble) = self.labels_of(&client, answer.image.as_deref(), &answer.config).await;
                let container = convert::container(answer, image.as_ref(), self.seal.as_ref());
                return container
                    .map(|container| Container { trouble, ..container })
                    .ok_or_else(|| EngineError::Refused(format!("Docker's description of {id} lacks its id or name")));
            }
            Err(EngineError::Refused(reason)) => reason,
            Err(error) => return Err(error),
        };
        let listed = match listed {
            Some(listed) => listed,
            None => {
                let only = HashMap::from([("id", vec![&*id.0])]);
                let options = ListContainersOptionsBuilder::default().all(true).filters(&only).build();
                let found = client.list_containers(Some(options)).await.map_err(|e| self.error(e))?;
                found.into_iter().next().ok_or_else(|| EngineError::NotFound(format!("container {id}")))?
            }
        };
        let image = match &listed.image_id {
            Some(image) => images::labels(self, &client, image).await.ok(),
            None => None,
        };
        convert::listed(listed, image.as_ref(), self.seal.as_ref(), &trouble)
            .ok_or_else(|| EngineError::Refused(format!("Docker's list lacks id or name of {id}")))
    }

    /// The labels of a container's image, and why they are not known. Where the container has none of ours, its
    /// image has none either.
    async fn labels_of(
        &self,
        client: &Docker,
        image: Option<&str>,
        config: &Option<ContainerConfig>,
    ) -> (Option<labels::ImageLabels>, Option<String>) {
        let labels = config.as_ref().and_then(|config| config.labels.as_ref());
        if !labels.is_some_and(|labels| labels.keys().any(|name| name.starts_with(label::PREFIX))) {
            return (Some(Default::default()), None);
        }
        match images::labels(self, client, image.unwrap_or_default()).await {
            Ok(labels) => (Some(labels), None),
            // Taken away by force, after the container was made from it: it says nothing any more.
            Err(EngineError::NotFound(_)) => (Some(Default::default()), None),
            Err(error) => (None, Some(format!("its image cannot be looked at: {error}"))),
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
        let listed = summaries.into_iter().filter_map(|s| Some((ContainerId(s.id.as_deref()?.into()), s)));
        let containers: Vec<Option<Container>> = stream::iter(listed)
            .map(|(id, summary)| async move {
                match self.describe(&id, Some(summary)).await {
                    // Gone meanwhile; or nothing at all is told of it, which is no other container's trouble.
                    Err(EngineError::NotFound(_) | EngineError::Refused(_)) => Ok(None),
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
        self.describe(id, None).await
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
