//! What tells which versions there are elsewhere, and how it is asked to look at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::core::app::GitUrl;
use crate::core::names::{AppName, ImageRef, Version};
use crate::core::source::Git;

/// Why a place could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SourceError {
    pub reason: String,
    /// It asked to be left alone for so long.
    pub wait: Option<Duration>,
}

#[async_trait::async_trait]
pub trait Sources: Send + Sync {
    /// The tags of an image that are versions.
    async fn tags(&self, image: &ImageRef) -> Result<Vec<Version>, SourceError>;
    /// The digest of an image's manifest, `sha256:…`.
    async fn digest(&self, image: &ImageRef) -> Result<Arc<str>, SourceError>;
    /// Tags and main branch of a git repository; `app` names the place where what was fetched is kept.
    async fn git(&self, app: &AppName, url: &GitUrl) -> Result<Git, SourceError>;
}

/// Asks for an app's source to be looked at now; told when that has been done.
pub type Nudge = (AppName, oneshot::Sender<()>);

#[derive(Clone)]
pub struct Nudges(mpsc::UnboundedSender<Nudge>);

impl Nudges {
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Nudge>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Has the app's source looked at; returns once what was found has been told. Many at once are one look.
    pub async fn look(&self, app: &AppName) {
        let (done, told) = oneshot::channel();
        // Nobody looks any more when the platform goes down.
        if self.0.send((app.clone(), done)).is_ok() {
            let _ = told.await;
        }
    }
}
