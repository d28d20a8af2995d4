//! What can be asked of the platform.

use std::sync::Arc;

use super::request::Steer;
use super::router_keys::Wishes;
use crate::core::deploy::Deployment;
use crate::core::names::AppName;
use crate::core::release::Images;
use crate::core::service::{Endpoint, EndpointId};

#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    Scale {
        app: AppName,
        replicas: u16,
    },
    Stop(AppName),
    Start(AppName),
    /// Replace every instance, one after the other.
    Restart(AppName),
    /// Stop the app and forget its release; its files stay.
    Remove(AppName),
    Steer {
        app: AppName,
        steer: Steer,
    },
    /// The older routers' keys of several apps, written together: all of it or nothing.
    Keys {
        wishes: Wishes,
        /// What the names of the images mean that it is about; `None` where nobody has asked yet.
        images: Option<Images>,
    },
    /// Make a service known, or one more of its addresses.
    Register {
        name: AppName,
        id: EndpointId,
        endpoint: Box<Endpoint>,
        /// In place of every other address under the name.
        alone: bool,
    },
    Deregister {
        name: AppName,
        /// Without one every address.
        id: Option<EndpointId>,
    },
    Close {
        keep_apps: bool,
    },
}

/// What was decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// In a sentence.
    pub said: String,
    /// The deployment that it concerns.
    pub deployment: Option<Arc<Deployment>>,
}

impl Command {
    /// The apps and services that it changes something about, but for what only ends something.
    pub fn steers(&self) -> Vec<&AppName> {
        match self {
            Self::Scale { app, .. } | Self::Start(app) | Self::Restart(app) => vec![app],
            Self::Steer { steer: Steer::Abort, .. } => Vec::new(),
            Self::Steer { app, .. } => vec![app],
            Self::Keys { wishes, .. } => wishes.keys().collect(),
            Self::Register { name, .. } | Self::Deregister { name, .. } => vec![name],
            Self::Stop(_) | Self::Remove(_) | Self::Close { .. } => Vec::new(),
        }
    }

    /// The command with what has been asked for it.
    #[must_use]
    pub fn with_images(mut self, asked: Images) -> Self {
        match &mut self {
            Self::Steer { steer: Steer::Deploy(request), .. } => {
                request.image_now = Some(asked.into_values().next().unwrap_or_default());
            }
            Self::Keys { images, .. } => *images = Some(asked),
            _ => {}
        }
        self
    }
}
