//! What was decided about an app that no file says; kept in the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::core::app::StickyMode;
use crate::core::deploy::Deployment;
use crate::core::names::Version;
use crate::core::release::Release;
use crate::core::split::{Percent, Split};

/// Everything decided about one app. What is missing in an older ledger has its default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// The release that carries the traffic.
    pub stable: Option<Version>,
    /// What was stable before; `rollback` goes there.
    #[serde(default)]
    pub previous: Option<Version>,
    /// A release whose instances stay beside stable's, to be swapped back to.
    #[serde(default)]
    pub warm: Option<Version>,
    /// Shares that somebody set while nothing was being deployed.
    #[serde(default)]
    pub split: Option<Split>,
    #[serde(default)]
    pub releases: BTreeMap<Version, Release>,
    /// The latest deployment, whether it is over or not.
    #[serde(default)]
    pub deployment: Option<Arc<Deployment>>,
    /// How many deployments there have been.
    #[serde(default)]
    pub deployments: u32,
    #[serde(default)]
    pub maintenance: bool,
    /// The version that it is held at, set by `pin` and by a rollback: nothing else is deployed automatically until
    /// `unpin`, or until somebody deploys by hand.
    #[serde(default)]
    pub pin: Option<Version>,
    /// Aborted versions, each with the digest of its image or artefact then: not deployed again by themselves.
    #[serde(default)]
    pub rejected: BTreeMap<Version, String>,
    /// Overrides the declared way in which visitors stay with a release.
    #[serde(default)]
    pub sticky: Option<StickyMode>,
    /// Of the two sides that the blue-green router's keys speak of, stable is the blue one; it changes sides with
    /// each promotion.
    #[serde(default)]
    pub blue_is_current: bool,
    /// Overrides the declared number of instances.
    pub replicas: Option<u16>,
    pub stopped: bool,
    /// Taken away although its file may still be there; `apply` or `start` brings it back.
    #[serde(default)]
    pub removed: bool,
    /// Its file went after it was removed: one that appears is a declaration again.
    #[serde(default)]
    pub file_gone: bool,
    /// Instances made before this are to be replaced.
    pub renew_before: Option<Timestamp>,
    /// Who came first keeps a host that two apps claim.
    pub first_seen: Timestamp,
}

impl Intent {
    pub fn new(first_seen: Timestamp) -> Self {
        Self {
            stable: None,
            previous: None,
            warm: None,
            split: None,
            releases: BTreeMap::new(),
            deployment: None,
            deployments: 0,
            maintenance: false,
            pin: None,
            rejected: BTreeMap::new(),
            sticky: None,
            blue_is_current: false,
            replicas: None,
            stopped: false,
            removed: false,
            file_gone: false,
            renew_before: None,
            first_seen,
        }
    }

    /// The version as its release spells it, where there is one.
    pub fn spelled<'v>(&'v self, version: &'v Version) -> &'v Version {
        self.releases.get_key_value(version).map_or(version, |(known, _)| known)
    }

    /// The deployment that is under way.
    pub fn active(&self) -> Option<&Arc<Deployment>> {
        self.deployment.as_ref().filter(|d| d.is_active())
    }

    /// The deployment that has not promoted its release yet, nor given it up.
    pub fn underway(&self) -> Option<&Arc<Deployment>> {
        self.active().filter(|d| d.is_candidate())
    }

    /// Whether the contents of a release have to be at hand: its instances run, or are to run.
    pub fn secures(&self, version: &Version) -> bool {
        let deployed = self.active().map(|d| &d.release);
        [self.stable.as_ref(), self.warm.as_ref(), deployed].into_iter().flatten().any(|wanted| wanted == version)
    }

    /// The release that is to replace stable.
    pub fn candidate(&self) -> Option<&Version> {
        self.underway().map(|d| &d.release)
    }

    /// The shares that were decided, before it is looked at who can serve.
    pub fn split(&self) -> Split {
        match (self.underway(), &self.split, &self.stable) {
            (_, Some(split), _) => split.clone(),
            (Some(deployment), None, stable) => match deployment.stage.has_traffic() {
                true => Split::between(stable.as_ref(), &deployment.release, deployment.share),
                false => Split::between(stable.as_ref(), &deployment.release, Percent::NONE),
            },
            (None, None, Some(stable)) => Split::all(stable.clone()),
            (None, None, None) => Split::default(),
        }
    }

    /// Takes over what a deployment has become: who is stable, who stays.
    pub fn follow(&mut self, deployment: Deployment) {
        use crate::core::deploy::{End, Stage};
        let before = self.deployment.as_ref().map(|d| d.stage);
        match deployment.stage {
            Stage::Promoted if before != Some(Stage::Promoted) => {
                self.previous = self.stable.clone().filter(|v| *v != deployment.release).or(self.previous.take());
                self.warm = self.previous.clone().filter(|_| deployment.keep_old);
                self.stable = Some(deployment.release.clone());
                self.releases.get_mut(&deployment.release).into_iter().for_each(|r| r.was_stable = Some(true));
                self.blue_is_current = !self.blue_is_current;
                self.split = None;
                self.rejected.remove(&deployment.release);
            }
            Stage::Aborting { end } => {
                self.split = None;
                if matches!(end, End::RolledBack | End::Failed | End::Cancelled) {
                    let release = self.releases.get(&deployment.release);
                    let artefact = release.and_then(|r| r.artefact.as_ref()).map(|blob| &blob.sha256);
                    let digest = release.and_then(|r| r.source_digest.as_ref()).or(artefact);
                    self.rejected.insert(deployment.release.clone(), digest.map_or(String::new(), |d| d.to_string()));
                }
            }
            Stage::Queued
            | Stage::Fetching
            | Stage::Starting
            | Stage::Healthy
            | Stage::Testing
            | Stage::Routing { .. }
            | Stage::Baking
            | Stage::Promoted
            | Stage::Draining
            | Stage::Done
            | Stage::RolledBack
            | Stage::Failed
            | Stage::Superseded
            | Stage::Cancelled => {}
        }
        self.deployment = Some(Arc::new(deployment));
    }

    /// Forgets the contents of releases that nothing names: stable, previous, what is deployed, pinned or has a share
    /// stay always, of the others that were stable once the `retain` that were made last.
    pub fn prune(&mut self, retain: usize) {
        let shares: Vec<Version> = self.split.iter().flat_map(Split::iter).map(|(v, _)| v.clone()).collect();
        let named: BTreeSet<Version> = [&self.stable, &self.previous, &self.warm]
            .into_iter()
            .flatten()
            .cloned()
            .chain(self.active().into_iter().flat_map(|d| [Some(d.release.clone()), d.from.clone()]).flatten())
            .chain(shares)
            .collect();
        let is_pinned = |version: &Version| self.pin.as_ref().is_some_and(|pin| pin.base() == version.base());
        let is_named = |version: &Version| named.contains(version) || is_pinned(version);
        let mut others: Vec<_> = self.releases.values().filter(|r| !r.pruned && !is_named(&r.version)).collect();
        others.sort_by_key(|r| std::cmp::Reverse(r.at));
        let (kept, failed): (Vec<&Release>, Vec<&Release>) = others.into_iter().partition(|r| r.is_kept());
        let gone: Vec<Version> = kept.iter().skip(retain).chain(&failed).map(|r| r.version.clone()).collect();
        for version in gone {
            if let Some(release) = self.releases.get_mut(&version) {
                release.pruned = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::app::App;
    use crate::core::names::AppName;
    use crate::core::repository::Index;
    use crate::core::testing::at;

    #[test]
    fn what_stable_previous_or_a_pin_names_is_never_pruned() {
        let version = |text: &str| Version::parse(text).unwrap();
        let app = Arc::new(App::named(AppName::parse("shop").unwrap()));
        let mut intent = Intent::new(at(0));
        for n in 1..=9 {
            let version = version(&format!("{n}.0"));
            // 6.0 and 7.0 never carried the traffic, and must not push good ones out.
            let was_stable = Some(!(6..=7).contains(&n));
            let release = Release::draft(&app, version.clone(), None, &Index::default(), at(n));
            intent.releases.insert(version, Release { was_stable, ..release });
        }
        (intent.stable, intent.previous) = (Some(version("9.0")), Some(version("1.0")));
        intent.pin = Some(version("2.0"));
        intent.prune(3);
        let kept: Vec<String> = intent.releases.values().filter(|r| !r.pruned).map(|r| r.version.to_string()).collect();
        assert_eq!(kept, ["1.0", "2.0", "4.0", "5.0", "8.0", "9.0"]);
    }
}
