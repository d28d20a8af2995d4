//! Image tags from registries, tags and commits from git repositories.

mod git;
mod images;

use std::path::PathBuf;
use std::sync::Arc;

use oci_client::Client;

use crate::core::app::GitUrl;
use crate::core::names::{AppName, ImageRef, Version};
use crate::core::source::Git;
use crate::ports::sources::{SourceError, Sources};

/// Asks registries and git servers.
pub struct Remote {
    registries: Client,
    /// Where commits are kept between looks, a repository per app.
    folder: PathBuf,
}

impl Remote {
    /// # Errors
    /// There is no HTTP client to be had.
    pub fn new(folder: PathBuf) -> Result<Self, String> {
        Ok(Self { registries: images::client()?, folder })
    }
}

#[async_trait::async_trait]
impl Sources for Remote {
    async fn tags(&self, image: &ImageRef) -> Result<Vec<Version>, SourceError> {
        images::tags(&self.registries, image).await
    }

    async fn digest(&self, image: &ImageRef) -> Result<Arc<str>, SourceError> {
        images::digest(&self.registries, image).await
    }

    async fn git(&self, app: &AppName, url: &GitUrl) -> Result<Git, SourceError> {
        git::look(&self.folder.join(format!("{app}.git")), url).await
    }
}
