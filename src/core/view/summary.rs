//! An app in a sentence: what it is to have, what it has, and what it waits for.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::core::app::{App, Source};
use crate::core::names::Version;
use crate::core::source::{Look, newest_release};
use crate::core::world::{Intent, Member, World};

/// Instances of one release.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Count {
    pub version: Version,
    pub instances: usize,
}

/// What an app's source tells.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourceStatus {
    /// `null` before the first look.
    pub looked_at: Option<Timestamp>,
    /// The version that the app would have if it followed its source.
    pub wanted: Option<Version>,
    /// Why that is not deployed: `waiting for image 0.0.5`, `2 commits on main not tagged`.
    pub notes: Vec<String>,
    pub newest_image: Option<Version>,
    pub newest_tag: Option<Version>,
    pub main: Option<Arc<str>>,
    pub errors: Vec<String>,
}

/// The instances that each release is to have once what is under way is done.
pub(super) fn desired(intent: Option<&Intent>, wanted: usize) -> Vec<Count> {
    let version = intent.and_then(|intent| intent.candidate().or(intent.stable.as_ref()));
    version.map(|version| Count { version: version.clone(), instances: wanted }).into_iter().collect()
}

/// The instances of each release that are ready, oldest first.
pub(super) fn last(members: &[Member<'_>]) -> Vec<Count> {
    let mut counts = BTreeMap::new();
    for member in members.iter().filter(|member| member.is_ready()) {
        *counts.entry(member.version.clone()).or_insert(0) += 1;
    }
    counts.into_iter().map(|(version, instances)| Count { version, instances }).collect()
}

pub(super) fn summary(intent: Option<&Intent>, wanted: usize, last: &[Count]) -> String {
    let of = |counts: &[Count]| {
        let each = counts.iter().map(|count| format!("{} ({})", count.version, count.instances));
        each.collect::<Vec<_>>().join(", ")
    };
    if let Some(deployment) = intent.and_then(Intent::underway) {
        let to = format!("{} ({wanted})", deployment.release);
        return match deployment.from.as_ref().map(|from| last.iter().find(|count| count.version == *from)) {
            Some(Some(from)) => format!("Transitioning from {} to {to}", of(std::slice::from_ref(from))),
            Some(None) | None => format!("Transitioning to {to}"),
        };
    }
    let stable = intent.and_then(|intent| intent.stable.as_ref());
    match (last, stable) {
        ([], Some(stable)) if wanted > 0 => format!("Starting {stable} ({wanted})"),
        ([], Some(_)) => "Stopped".into(),
        ([], None) => "Nothing to run yet".into(),
        (counts, _) => format!("Running {}", of(counts)),
    }
}

/// What an app's source tells; `None` for an app that names none.
pub(super) fn source(world: &World, app: &App) -> Option<SourceStatus> {
    app.source.as_ref().filter(|source| Source::is_remote(source))?;
    let look = world.found.get(&app.name);
    let (images, git) = (look.and_then(Look::images), look.and_then(Look::git));
    let wanted = world.wanted_version(app);
    let waiting = wanted.as_ref().and_then(|w| Some(format!("waiting for {} {}", w.waits_for?, w.version)));
    let untagged = git.and_then(|git| git.untagged).filter(|commits| *commits > 0);
    let untagged = untagged.map(|commits| match commits {
        1 => "1 commit on main not tagged".to_owned(),
        many => format!("{many} commits on main not tagged"),
    });
    let deploying = world.intents.get(&app.name).and_then(Intent::underway).map(|_| "deploy in process".to_owned());
    Some(SourceStatus {
        looked_at: look.map(|look| look.at),
        wanted: wanted.map(|wanted| wanted.version),
        notes: [deploying, waiting, untagged].into_iter().flatten().collect(),
        newest_image: images.and_then(|images| newest_release(images.keys())).cloned(),
        newest_tag: git.and_then(|git| newest_release(&git.tags)).cloned(),
        main: git.and_then(|git| git.head.clone()),
        errors: look.into_iter().flat_map(Look::errors).cloned().collect(),
    })
}
