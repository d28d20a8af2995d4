//! Image tags from registries, tags and commits from git repositories.

mod git;
mod images;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use oci_client::Client;

use crate::core::app::GitUrl;
use crate::core::names::{AppName, ImageRef, Version};
use crate::core::source::Git;
use crate::ports::sources::{SourceError, Sources};

/// A client learns only once whom this machine asks for names, and that changes: none is used for longer.
const RENEWED: Duration = Duration::from_secs(60);

/// Asks registries and git servers.
pub struct Remote {
    /// Kept for a while, since it remembers what registries let it do.
    registries: Mutex<(Client, Instant)>,
    /// Where commits are kept between looks, a repository per app.
    folder: PathBuf,
}

impl Remote {
    /// # Errors
    /// There is no HTTP client to be had.
    pub fn new(folder: PathBuf) -> Result<Self, String> {
        Ok(Self { registries: Mutex::new((images::client()?, Instant::now())), folder })
    }

    fn registries(&self) -> Client {
        let mut kept = self.registries.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.1.elapsed() > RENEWED {
            match images::client() {
                Ok(client) => *kept = (client, Instant::now()),
                Err(error) => tracing::warn!(error, "no new client for registries, the last one stays in use"),
            }
        }
        kept.0.clone()
    }
}

#[async_trait::async_trait]
impl Sources for Remote {
    async fn tags(&self, image: &ImageRef) -> Result<Vec<Version>, SourceError> {
        images::tags(&self.registries(), image).await
    }

    async fn digest(&self, image: &ImageRef) -> Result<Arc<str>, SourceError> {
        images::digest(&self.registries(), image).await
    }

    async fn git(&self, app: &AppName, url: &GitUrl) -> Result<Git, SourceError> {
        git::look(&self.folder.join(format!("{app}.git")), url).await
    }
}
