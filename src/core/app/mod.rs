//! What somebody wants of an app: the contents of `apps/APP.toml`, checked.
//!
//! In: TOML text and the name of the file. Out: an [`App`] made of checked names, or an error that names file,
//! line, key and the nearest known one. Nothing here knows whether the app runs.

mod file;
mod options;
mod source;

pub use file::{AppFileError, parse_file};
pub use options::{
    Canary, Deploy, Gate, Health, HealthPath, Limits, Period, Proxy, Size, Sticky, StickyMode, Strategy, Volume,
};

pub use source::{Auto, GitUrl, Source};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::names::{AppName, Domain, EnvName, HostName, ImageRef, PathPrefix, Port, Version};

/// One app as declared. Serialises as its file reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct App {
    pub name: AppName,
    pub image: ImageRef,
    /// As declared; empty means the default host.
    pub hosts: Vec<HostName>,
    pub paths: Vec<PathPrefix>,
    /// Containers may have other paths of its hosts by their labels.
    #[serde(default)]
    pub open: bool,
    /// Whether a path prefix is cut off before the app sees the request.
    pub strip_prefix: bool,
    pub port: Port,
    pub replicas: u16,
    /// The container's command; empty leaves the image's own (for the base image: app and repository).
    pub command: Vec<String>,
    /// Where new versions come from besides the repository.
    pub source: Option<Source>,
    pub deploy: Deploy,
    pub health: Health,
    pub gate: Option<Gate>,
    pub canary: Canary,
    pub sticky: Sticky,
    pub proxy: Proxy,
    pub env: BTreeMap<EnvName, String>,
    /// Host path or volume name → what it is in the container.
    pub volumes: Vec<Volume>,
    pub limits: Limits,
}

impl App {
    /// Whether its file names the image, with whatever tag, or the image was pushed for it: what somebody may have it
    /// run who may release it and nothing else.
    pub fn names_image(&self, image: &ImageRef) -> bool {
        let source = self.source.as_ref().and_then(|source| source.image.as_ref());
        let gate = self.gate.as_ref().map(|gate| &gate.image);
        let mut named = [Some(&self.image), source, gate].into_iter().flatten();
        image.is_pushed_for(&self.name) || named.any(|own| own.repository() == image.repository())
    }

    /// The hosts the app answers at: declared ones or `APP.DOMAIN`, and always `APP.localhost`.
    pub fn all_hosts(&self, domain: &Domain) -> Vec<HostName> {
        let mut hosts = self.hosts.clone();
        if hosts.is_empty() {
            hosts.push(self.name.host(domain));
        }
        let local = self.name.localhost();
        if !hosts.contains(&local) {
            hosts.push(local);
        }
        hosts
    }

    /// The version that the app's own image is; `None` where instances fetch theirs from the repository.
    pub fn image_version(&self) -> Option<Version> {
        (!self.boots_from_repository()).then(|| self.image.version().unwrap_or_else(Version::latest))
    }

    /// The newest of the repository's versions, else the image's own.
    pub fn newest_version<T>(&self, in_repository: BTreeMap<Version, T>) -> Option<Version> {
        in_repository.into_keys().next_back().or_else(|| self.image_version())
    }

    /// Whether its versions are the tags of an image elsewhere.
    pub fn is_of_remote_images(&self) -> bool {
        self.source.as_ref().is_some_and(|source| source.image.is_some())
    }

    /// Two instances at once might corrupt what they both write.
    pub fn has_writable_volume(&self) -> bool {
        self.volumes.iter().any(Volume::is_writable)
    }

    /// Whether an instance of this app fetches its artefact from the repository.
    pub fn boots_from_repository(&self) -> bool {
        self.image.repository() == ImageRef::base().as_str()
    }
}
