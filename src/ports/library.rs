//! What changes the repository on disk.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::core::names::{AppName, Version};
use crate::core::release::Blob;
use crate::core::repository::{File, Trouble};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LibraryError {
    /// What was sent cannot be used.
    #[error("{0}")]
    Bad(String),
    /// There is something else under that name already.
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    Missing(String),
    /// The disk failed.
    #[error("the repository cannot be changed: {0}")]
    Trouble(String),
}

/// An upload while it comes: a file that is gone when this is dropped, unless it was pushed.
pub struct Incoming {
    pub file: Arc<std::fs::File>,
    /// In the adapter's own folder.
    pub name: String,
    discard: Box<dyn Fn() + Send + Sync>,
}

impl Incoming {
    pub fn new(file: std::fs::File, name: String, discard: impl Fn() + Send + Sync + 'static) -> Self {
        Self { file: Arc::new(file), name, discard: Box::new(discard) }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        (self.discard)();
    }
}

/// A version that was pushed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Pushed {
    pub app: AppName,
    pub version: Version,
    pub file: String,
    pub sha256: String,
    pub size: u64,
    /// The same bytes were there before.
    pub unchanged: bool,
}

/// Changes to the repository. Each is whole or not at all, and is on disk when the call returns.
#[async_trait::async_trait]
pub trait Library: Send + Sync {
    /// Opens the very file that was indexed; `None` where another one is in its place by now.
    async fn open(&self, file: &File) -> std::io::Result<Option<std::fs::File>>;
    /// A file on the repository's own disk to receive an upload into.
    fn incoming(&self) -> Result<Incoming, LibraryError>;
    /// Makes an uploaded file the artefact of a version. Refuses to replace other bytes.
    async fn push(
        &self,
        app: &AppName,
        version: &Version,
        file: &str,
        upload: Incoming,
    ) -> Result<Pushed, LibraryError>;
    /// Writes `apps/APP.toml`.
    async fn declare(&self, app: &AppName, text: &str) -> Result<(), LibraryError>;
    /// Deletes the app's declaration, config and artefacts.
    async fn delete(&self, app: &AppName) -> Result<(), LibraryError>;
    /// Deletes the artefact of a version.
    async fn remove_version(&self, app: &AppName, version: &Version) -> Result<(), LibraryError>;
    /// Deletes the app's config.
    async fn remove_config(&self, app: &AppName) -> Result<(), LibraryError>;
    async fn read_config(&self, app: &AppName) -> Result<String, LibraryError>;
    async fn write_config(&self, app: &AppName, text: &str) -> Result<(), LibraryError>;
    /// Reads every file again and unpacks every archive; the list says what is wrong.
    async fn verify(&self) -> Result<Vec<Trouble>, LibraryError>;
    /// Keeps contents of the repository apart from it, so that they outlive every change.
    async fn keep(&self, contents: Vec<Blob>) -> Result<(), LibraryError>;
    /// Kept contents, opened; `None` where they are not kept.
    async fn kept(&self, contents: &Blob) -> Option<(File, std::fs::File)>;
    /// Forgets all kept contents but these digests.
    fn forget_all_but(&self, digests: &BTreeSet<Arc<str>>);
    /// Has seen every change made before the call when it returns.
    async fn refresh(&self) -> Result<(), LibraryError>;
}
