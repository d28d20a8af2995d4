//! One immutable version of an app: what its instances are made from, whatever has changed since.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::app::App;
use super::names::{AppName, ImageRef, Version};
use super::repository::Index;

/// Contents that are kept apart from the repository, found by their SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// Where it was in the repository, such as `artefacts/shop/1.0.0/shop.tgz`.
    pub path: Arc<str>,
    /// 64 hex digits.
    pub sha256: Arc<str>,
}

/// What releases that can still be run are made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// SHA-256 of artefacts and configs.
    pub contents: BTreeSet<Arc<str>>,
    /// Images that were pushed to the platform: nobody else looks after them.
    pub images: BTreeSet<ImageRef>,
}

/// What the name of an image means outside at one moment; by default nothing is known of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageNow {
    /// The engine's id of that image, `sha256:…`; `None` where it is not here.
    pub id: Option<Arc<str>>,
    /// What its registry has under the name, `sha256:…` of the manifest; `None` where it comes from none, or none
    /// answered.
    pub manifest: Option<Arc<str>>,
}

/// What the names of several images mean.
pub type Images = BTreeMap<ImageRef, ImageNow>;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Release {
    pub version: Version,
    /// As it was asked for.
    pub image: ImageRef,
    /// What the engine had under that name when the release was made, `sha256:…`; instances run this.
    pub image_digest: Option<Arc<str>>,
    /// What its registry had under that name when it was deployed from there, `sha256:…` of the manifest.
    #[serde(default)]
    pub source_digest: Option<Arc<str>>,
    pub artefact: Option<Blob>,
    /// The app's config as it was then.
    pub config: Option<Blob>,
    /// The declaration it was made with: command, variables, volumes and limits are taken from here.
    pub app: Arc<App>,
    pub at: Timestamp,
    /// An instance of it has been ready. The first release of an app is made anew while this is not so.
    #[serde(default)]
    pub proven: bool,
    /// It has carried the traffic: such releases are kept, and can be gone back to. A ledger of before this was noted
    /// says nothing.
    #[serde(default)]
    pub was_stable: Option<bool>,
    /// Its contents are no longer kept.
    #[serde(default)]
    pub pruned: bool,
}

impl Release {
    /// The release that a version of `app` would be now, from what the repository has.
    pub fn draft(app: &Arc<App>, version: Version, image: Option<ImageRef>, index: &Index, now: Timestamp) -> Self {
        let base = version.base();
        let blob = |file: &super::repository::File| Blob { path: file.path.clone(), sha256: file.sha256.clone() };
        let artefact = index.versions(&app.name).get(&base).map(|file| blob(file));
        Self {
            image: image.or_else(|| app.source.as_ref()?.image_of(&version)).unwrap_or_else(|| app.image.clone()),
            image_digest: None,
            source_digest: None,
            artefact,
            config: index.config(&app.name).map(blob),
            app: app.clone(),
            at: now,
            version,
            proven: false,
            was_stable: Some(false),
            pruned: false,
        }
    }

    /// Whether instances of both would be the same, but for what an image name means.
    pub fn runs_like(&self, other: &Self) -> bool {
        let runs = |r: &Self| {
            let app = &r.app;
            let sha = |blob: &Option<Blob>| blob.as_ref().map(|b| b.sha256.clone());
            (r.image.clone(), sha(&r.artefact), sha(&r.config), app.command.clone(), app.env.clone())
        };
        runs(self) == runs(other) && self.app.volumes == other.app.volumes && self.app.limits == other.app.limits
    }

    /// Whether it is of the image that a name means now. What is not known to be another one is the same.
    pub fn is_of(&self, now: &ImageNow) -> bool {
        match ((&now.id, &self.image_digest), (&now.manifest, &self.source_digest)) {
            ((Some(now), Some(own)), _) | (_, (Some(now), Some(own))) => now == own,
            // It is not here under what its registry has, and the release's own image was.
            ((None, Some(_)), (Some(_), None)) => false,
            _ => true,
        }
    }

    /// Whether somebody can go back to it.
    pub fn is_kept(&self) -> bool {
        !self.pruned && self.was_stable.unwrap_or(self.proven)
    }

    /// The command line of an instance; empty leaves the image's own.
    pub fn command(&self, repository: &str) -> Vec<String> {
        match self.app.command.is_empty() && self.boots_from_repository() {
            true => vec![self.app.name.to_string(), repository.to_owned()],
            false => self.app.command.clone(),
        }
    }

    /// Whether an instance fetches its artefact and config when it starts.
    pub fn boots_from_repository(&self) -> bool {
        self.image.repository() == ImageRef::base().as_str()
    }
}

/// Where the repository serves a release's own contents: `releases/APP/VERSION/FILE`.
pub fn path_of(app: &AppName, version: &Version, blob: &Blob) -> String {
    format!("releases/{app}/{version}/{}", blob.path.rsplit('/').next().unwrap_or_default())
}
