//! What runs containers.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use jiff::Timestamp;

use crate::core::container::{Container, ContainerId, Network, Owner, Subnet};
use crate::core::deploy::GateResult;
use crate::core::log::last_lines;
use crate::core::names::ImageRef;
use crate::core::release::ImageNow;
use crate::core::world::{InstanceSpec, JobSpec};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// It did not answer at all: nothing is known of what was asked.
    #[error("Docker does not answer at {place}: {reason}")]
    Unreachable { place: String, reason: String },
    /// It answered that the thing does not exist.
    #[error("{0} does not exist")]
    NotFound(String),
    /// Another container has the name.
    #[error("the name {0} is taken")]
    NameTaken(String),
    #[error("{0}")]
    Refused(String),
}

/// Something happened; look again. `None` means at anything, for example after a reconnect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    Container(ContainerId),
    /// The container's process ended. Told with what the event itself says, since an engine that is clearing
    /// up after it may be slow to describe it.
    Died {
        id: ContainerId,
        code: i64,
        at: Timestamp,
    },
    Everything,
}

/// What an engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineVersion {
    pub version: String,
    pub api: String,
}

/// Everything there is at one moment.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    pub containers: Vec<Container>,
    pub networks: Vec<Network>,
    /// This machine's own addresses with their ranges.
    pub local: Vec<Subnet>,
}

/// The platform's network as it was found or made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformNetwork {
    pub gateway: IpAddr,
    /// Those of networks that the platform made under another name and that are still there: who is on them asks there.
    pub older: Vec<IpAddr>,
}

/// Which log lines of a container are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogQuery {
    pub follow: bool,
    /// How many of the last lines; `None` for all.
    pub tail: Option<usize>,
}

pub type Hints = Pin<Box<dyn Stream<Item = Result<Hint, EngineError>> + Send>>;
pub type LogLines = Pin<Box<dyn Stream<Item = Result<Vec<u8>, EngineError>> + Send>>;

#[async_trait::async_trait]
pub trait Engine: Send + Sync {
    async fn version(&self) -> Result<EngineVersion, EngineError>;
    async fn list(&self) -> Result<Listing, EngineError>;
    async fn inspect(&self, id: &ContainerId) -> Result<Container, EngineError>;
    /// Events from now on. The stream ends with an error when the connection does.
    async fn hints(&self) -> Result<Hints, EngineError>;
    /// Finds the network, or makes it for the platform `owner`, in `subnet` if one is given.
    async fn ensure_network(
        &self,
        name: &str,
        owner: &Owner,
        subnet: Option<&str>,
    ) -> Result<PlatformNetwork, EngineError>;
    /// Connects a running container to the platform's network too; what it has open stays open.
    async fn connect(&self, id: &ContainerId) -> Result<(), EngineError>;
    /// Removes a network. One that something is on stays, which is an error; one that is gone is none.
    async fn remove_network(&self, name: &str) -> Result<(), EngineError>;
    /// Creates and starts a container on the platform's network and returns it as it is then.
    async fn start(&self, spec: &InstanceSpec) -> Result<Container, EngineError>;
    /// The id of an image, `sha256:…`; one that is not here is pulled. Where a manifest is given it is the image of
    /// that and of no other, whatever the name means here.
    async fn image(&self, image: &str, manifest: Option<&str>) -> Result<Arc<str>, EngineError>;
    /// What a name means now: here, and at the registry that the image came from.
    async fn image_now(&self, image: &ImageRef) -> Result<ImageNow, EngineError>;
    /// Whether there is an image of this name; none is pulled.
    async fn has_image(&self, image: &str) -> Result<bool, EngineError>;
    /// How many of these layers, given by the digests of their contents from the lowest on, are here one upon the other.
    async fn layers_here(&self, layers: &[String]) -> Result<usize, EngineError>;
    /// Takes over the images of an archive as `docker save` writes it; layers that are here may be missing in it.
    async fn load(&self, archive: std::fs::File) -> Result<(), EngineError>;
    /// Gives an image that is here one more name; what had that name loses it.
    async fn name_image(&self, image: &str, name: &ImageRef) -> Result<(), EngineError>;
    /// Takes away the name of an image, and the image where nothing else needs it. One that is gone is no error.
    async fn remove_image(&self, image: &str) -> Result<(), EngineError>;
    /// Runs a container on the platform's network to its end and removes it; one of that name that is left from
    /// before is taken over. What does not end in its time is killed.
    async fn job(&self, spec: &JobSpec) -> Result<GateResult, EngineError>;
    /// Starts an ended container again.
    async fn restart(&self, id: &ContainerId) -> Result<(), EngineError>;
    /// SIGTERM, after `grace` SIGKILL, then removal. One that is gone already counts as stopped.
    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), EngineError>;
    async fn logs(&self, id: &ContainerId, query: LogQuery) -> Result<LogLines, EngineError>;

    /// The last `count` lines that a container wrote. A log that cannot be read has none: what it is kept for goes on.
    async fn last_lines(&self, id: &ContainerId, count: usize) -> Vec<String> {
        let Ok(mut chunks) = self.logs(id, LogQuery { follow: false, tail: Some(count) }).await else {
            return Vec::new();
        };
        let mut written = Vec::new();
        while let Some(Ok(chunk)) = chunks.next().await {
            written.extend(chunk);
        }
        last_lines(&written, count)
    }
}
