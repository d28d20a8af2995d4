//! The connection to the daemon, and what its errors mean.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use tokio::time::timeout;

use super::connect;
use super::remembered::Images;
use crate::ports::engine::EngineError;
use crate::ports::seal::Seal;

/// How many inspects run at once when everything is listed.
pub(super) const INSPECTS: usize = 16;
/// So long Docker may think about one container or image.
const PATIENCE: Duration = Duration::from_secs(5);

/// The daemon, as far as we talk to it.
pub struct DockerEngine {
    /// Negotiated anew after the daemon was away: it may have come back as another version.
    pub(super) client: tokio::sync::RwLock<Option<Docker>>,
    pub(super) place: String,
    pub(super) network: String,
    /// What instances are told to ask for names.
    pub(super) dns: std::sync::OnceLock<std::net::IpAddr>,
    pub(super) images: Images,
    /// `None` where nothing is started: then nothing is known as ours either.
    pub(super) seal: Option<Arc<dyn Seal>>,
}

impl DockerEngine {
    /// `host` as in `DOCKER_HOST`: `unix://…`, `tcp://…`. What it starts proves by `seal` whose it is. Does not
    /// connect yet.
    pub fn new(host: &str, network: &str, seal: Option<Arc<dyn Seal>>) -> Self {
        Self {
            client: Default::default(),
            place: host.to_owned(),
            network: network.to_owned(),
            dns: Default::default(),
            images: Default::default(),
            seal,
        }
    }

    pub(super) async fn client(&self) -> Result<Docker, EngineError> {
        if let Some(client) = self.client.read().await.clone() {
            return Ok(client);
        }
        let client = connect::connect(&self.place).await.map_err(|reason| self.unreachable(reason))?;
        *self.client.write().await = Some(client.clone());
        Ok(client)
    }

    pub(super) async fn forget_client(&self) {
        *self.client.write().await = None;
    }

    pub(super) fn unreachable(&self, reason: impl ToString) -> EngineError {
        EngineError::Unreachable { place: self.place.clone(), reason: reason.to_string() }
    }

    pub(super) fn error(&self, error: bollard::errors::Error) -> EngineError {
        match error {
            bollard::errors::Error::DockerResponseServerError { status_code: 404, message } => {
                EngineError::NotFound(message)
            }
            bollard::errors::Error::DockerResponseServerError { message, .. } => EngineError::Refused(message),
            // It answered, and said in the middle of its answer what went wrong.
            bollard::errors::Error::DockerStreamError { error } => EngineError::Refused(error),
            error @ (bollard::errors::Error::JsonDataError { .. } | bollard::errors::Error::JsonSerdeError { .. }) => {
                EngineError::Refused(format!("Docker's answer cannot be read: {}", connect::innermost(&error)))
            }
            other => self.unreachable(connect::innermost(&other)),
        }
    }

    /// What Docker answers to a question about one thing, which it may be slow or unable to answer about that one.
    pub(super) async fn asked<T>(
        &self,
        question: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, EngineError> {
        match timeout(PATIENCE, question).await {
            Ok(answer) => answer.map_err(|e| self.error(e)),
            Err(_) => Err(EngineError::Refused(format!("Docker does not answer about it within {PATIENCE:?}"))),
        }
    }
}
