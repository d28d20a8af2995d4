//! What becomes known of releases: decisions that the ledger has, and contents that are secured.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Intent, Unprepared, Unsecured, World};
use crate::core::names::{AppName, Version};

impl World {
    /// Takes over a decision that the ledger has.
    pub(super) fn decided(&mut self, app: &AppName, intent: &Intent) {
        let before = self.intents.insert(app.clone(), intent.clone());
        let id = |intent: &Intent| intent.deployment.as_ref().map(|d| d.id.clone());
        if before.as_ref().and_then(id) != id(intent)
            && let Some(deployment) = &intent.deployment
        {
            let release = (app.clone(), deployment.release.clone());
            // What happened to earlier instances of this release is not held against this attempt.
            self.backoff.remove(&release);
            self.prepared.remove(&release);
            self.unprepared.remove(&release);
        }
        // What nobody wants any more has failed for good: it is told by the deployment that it ended.
        let wanted = |version: &Version| intent.secures(version);
        self.unprepared.retain(|(name, version), _| name != app || wanted(version));
        let contents =
            |intent: &Intent, version| intent.releases.get(version).map(|r| (r.artefact.clone(), r.config.clone()));
        for version in intent.releases.keys() {
            if before.as_ref().and_then(|b| contents(b, version)) != contents(intent, version) {
                let release = (app.clone(), version.clone());
                self.prepared.remove(&release);
                self.unprepared.remove(&release);
                // Made of something else by now: what kept the former from running is not held against it.
                self.backoff.remove(&release);
            }
        }
        let looked = |i: &Intent| i.deployment.as_ref().and_then(|d| d.judged.looked_at);
        if before.as_ref().and_then(looked) != looked(intent) || before.as_ref().and_then(id) != id(intent) {
            self.traffic.entry(app.clone()).or_default().looked();
        }
        let running: Vec<_> = self.intents.values().filter_map(Intent::active).map(|d| d.id.clone()).collect();
        self.gates.retain(|id, _| running.contains(id));
        self.last_lines.retain(|id, _| running.contains(id));
    }

    pub(super) fn prepared(
        &mut self,
        release: (AppName, Version),
        result: Result<Arc<str>, Unprepared>,
        now: Timestamp,
    ) {
        self.preparing.remove(&release);
        match result {
            Ok(digest) => {
                self.unprepared.remove(&release);
                if let Some(known) = self.intents.get_mut(&release.0).and_then(|i| i.releases.get_mut(&release.1)) {
                    known.image_digest = Some(digest);
                }
                self.prepared.insert(release);
            }
            Err(why) => {
                let is_wanted = self.intents.get(&release.0).is_some_and(|intent| intent.secures(&release.1));
                let known = self.unprepared.get(&release);
                let (since, times) = known.map_or((now, 1), |known| (known.since, known.times.saturating_add(1)));
                if is_wanted {
                    self.unprepared.insert(release, Unsecured { since, tried: now, times, why });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::release::{Blob, Release};
    use crate::core::testing::{at, world_with};
    use crate::core::world::{Backoff, Record, Write};

    #[test]
    fn what_kept_a_release_from_running_is_forgotten_once_it_is_made_of_something_else() {
        let version = Version::parse("1.0").unwrap();
        let mut made = None;
        let (mut world, app) = world_with("", |app, index| {
            let release = Release::draft(app, version.clone(), None, index, at(0));
            made = Some(release.clone());
            let releases = [(version.clone(), release)].into();
            Intent { stable: Some(version.clone()), releases, ..Intent::new(at(0)) }
        });
        let key = (app.name.clone(), version.clone());
        let failed = Backoff { failures: 8, away: 0, until: at(60), reason: "it exited with 66".into() };
        let mut take_over = |config: Option<Blob>| {
            world.backoff.insert(key.clone(), failed.clone());
            let release = Release { config, ..made.clone().unwrap() };
            let releases = [(version.clone(), release)].into();
            let intent = Intent { stable: Some(version.clone()), releases, ..Intent::new(at(0)) };
            world.take_over(&Write::Decision(Record::new(app.name.clone(), intent, Vec::new())));
            world.backoff.contains_key(&key)
        };
        assert!(take_over(None), "it is what it was");
        let path = "config/shop/shop.config".into();
        assert!(!take_over(Some(Blob { path, sha256: "1".into() })));
    }
}
