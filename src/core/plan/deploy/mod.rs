//! What deployments and releases need next: decisions to record, contents to secure, gates to run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::declared::declared_again;
use super::due::{Due, due};
use super::gate::{end_stray_gates, run_gate};
use super::outcome::Plan;
use crate::core::app::{App, Source};
use crate::core::decide::{Command, Decider, DeployRequest, Seed, Steer};
use crate::core::deploy::{Crash, Deployment, Entry, Observed, Stage, advance, wake_at};
use crate::core::names::{AppName, Version};
use crate::core::problem::{Problem, ProblemKind};
use crate::core::release::{ImageNow, Kept, Release};
use crate::core::repository::Index;
use crate::core::split::Percent;
use crate::core::world::{
    Action, Condition, EngineState, Intent, Member, Record, Unprepared, Unsecured, World, Write, by_app,
};

/// Adds what is to be decided and done. Returns the apps of which something is decided: what follows from that
/// is planned once it is recorded.
pub fn move_on(
    world: &World,
    members: &[Member<'_>],
    plan: &mut Plan,
    now: Timestamp,
    seed: &Seed,
) -> BTreeSet<AppName> {
    let mut deciding = BTreeSet::new();
    let Some(index) = world.index.as_ref().filter(|_| world.closing.is_none()) else {
        return deciding;
    };
    for (name, intent) in world.intents.iter().filter(|(_, intent)| intent.removed) {
        if let Some((intent, entries)) = declared_again(index, name, intent, now) {
            plan.writes.push(Write::Decision(Record::new(name.clone(), intent, entries)));
            deciding.insert(name.clone());
        }
    }
    let by_app = by_app(members);
    for (name, app) in &world.declared {
        let Some(intent) = world.intents.get(name).filter(|i| !i.removed) else { continue };
        let members = by_app.get(name).copied().unwrap_or_default();
        let around = Around { world, app, intent, members, index, now };
        if let Some((intent, entries)) = around.decision() {
            plan.writes.push(Write::Decision(Record::new(name.clone(), intent, entries)));
            deciding.insert(name.clone());
            continue;
        }
        // Watch mode only has to know which version is stable: it starts nothing.
        if !world.platform.follow_only {
            around.acts(plan);
            around.deploy_by_itself(plan, seed);
        }
    }
    end_stray_gates(world, plan);
    keep(world, plan);
    deciding
}

/// One app and all that concerns it.
struct Around<'w> {
    world: &'w World,
    app: &'w Arc<App>,
    intent: &'w Intent,
    members: &'w [Member<'w>],
    index: &'w Index,
    now: Timestamp,
}

impl Around<'_> {
    fn decision(&self) -> Option<(Intent, Vec<Entry>)> {
        self.first_release().or_else(|| self.proof()).or_else(|| self.deployment())
    }

    /// A declared app without a stable release gets what runs of it, else its newest version, at once where no gate has
    /// to pass first.
    /// While no instance of it has ever been ready the release is made anew when its artefact, config or declaration
    /// changes.
    fn first_release(&self) -> Option<(Intent, Vec<Entry>)> {
        let intent = self.intent;
        let can_run = |release: &Release| release.artefact.is_some() || !release.boots_from_repository();
        if intent.active().is_some() {
            return None;
        }
        match &intent.stable {
            None => self.what_runs().or_else(|| self.newest()),
            Some(stable) => {
                let known = intent.releases.get(stable);
                if known.is_some_and(|known| known.proven) {
                    return None;
                }
                let now = self.draft(stable);
                let is_new = match known {
                    None => can_run(&now),
                    Some(known) => can_run(&now) && !known.runs_like(&now),
                };
                if !is_new {
                    return None;
                }
                let mut changed = intent.clone();
                changed.releases.insert(stable.clone(), Release { was_stable: Some(true), ..now });
                // Instances of what it was before serve nobody.
                changed.renew_before = known.map(|_| self.now).or(intent.renew_before);
                let entry = self.entry("release", stable, "made from what the repository has now");
                Some((changed, vec![entry]))
            }
        }
    }

    fn draft(&self, version: &Version) -> Release {
        Release::draft(self.app, version.clone(), None, self.index, self.now)
    }

    /// The app with its first release, which is stable from the beginning.
    fn first(&self, version: Version, reason: &str, edit: impl FnOnce(&mut Release)) -> (Intent, Vec<Entry>) {
        let entry = self.entry("release", &version, reason);
        let mut first = Intent { stable: Some(version.clone()), ..self.intent.clone() };
        let release = first.releases.entry(version).or_insert_with_key(|version| self.draft(version));
        release.was_stable = Some(true);
        edit(release);
        (first, vec![entry])
    }

    /// Where nothing is on record, and yet instances that we started run: their version, of several the one of which
    /// most are ready, and the image that they are of. They serve; the newest version has to come after them as any.
    fn what_runs(&self) -> Option<(Intent, Vec<Entry>)> {
        if self.intent.deployments > 0 || !self.intent.releases.is_empty() {
            return None;
        }
        let running = || self.members.iter().filter(|m| m.claim.managed && m.container.is_running());
        let count = |version: &Version| {
            let all = || running().filter(|m| m.version == *version);
            (all().filter(|m| m.is_ready()).count(), all().count())
        };
        let most = running().max_by_key(|m| (count(&m.version), m.version.clone()))?;
        let image = Some(most.container.image.clone()).filter(|image| image.starts_with("sha256:"));
        let reason = "it runs, and nothing is on record";
        Some(self.first(most.version.clone(), reason, |release| release.image_digest = image))
    }

    /// The newest version, unless a gate has to pass first.
    fn newest(&self) -> Option<(Intent, Vec<Entry>)> {
        let version = self.first_version().filter(|_| self.app.gate.is_none())?;
        let manifest = self.world.wanted_version(self.app).filter(|wanted| wanted.version == version);
        let manifest = manifest.map(|wanted| wanted.digest).filter(|_| self.app.is_of_remote_images());
        let manifest = manifest.filter(|digest| digest.starts_with("sha256:")).map(Into::into);
        Some(self.first(version, "the first release of the app", |release| release.source_digest = manifest))
    }

    fn first_version(&self) -> Option<Version> {
        if self.app.source.as_ref().is_some_and(Source::is_remote) {
            let wanted = self.world.wanted_version(self.app)?;
            return Some(wanted.version).filter(|_| wanted.waits_for.is_none());
        }
        self.app.newest_version(self.index.versions(&self.app.name))
    }

    fn entry(&self, action: &str, version: &Version, reason: &str) -> Entry {
        Entry {
            at: self.now,
            by: "platformer".into(),
            action: action.into(),
            release: Some(version.clone()),
            state: None,
            reason: reason.into(),
            numbers: BTreeMap::new(),
        }
    }

    /// A release of which an instance is ready has proven itself.
    fn proof(&self) -> Option<(Intent, Vec<Entry>)> {
        let is_ready =
            |version: &Version| self.members.iter().any(|m| m.claim.managed && m.version == *version && m.is_ready());
        let proven = self.intent.releases.values().find(|r| !r.proven && is_ready(&r.version))?;
        let mut intent = self.intent.clone();
        intent.releases.get_mut(&proven.version)?.proven = true;
        Some((intent, Vec::new()))
    }

    fn deployment(&self) -> Option<(Intent, Vec<Entry>)> {
        let deployment = self.intent.active()?;
        // Nothing can be told apart while the engine is away: what is known of containers is from before.
        if self.world.is_engine_unknown() {
            return None;
        }
        let next = advance(deployment, &self.observe(deployment), self.now)?;
        let moved = next.stage != deployment.stage || next.halt != deployment.halt;
        let entries = if moved { vec![Entry::of(&next, "deployment", "platformer", self.now)] } else { Vec::new() };
        let mut intent = self.intent.clone();
        intent.follow(next);
        intent.prune(usize::from(self.app.deploy.retain));
        Some((intent, entries))
    }

    fn observe(&self, deployment: &Deployment) -> Observed {
        let (world, key) = (self.world, (self.app.name.clone(), deployment.release.clone()));
        let ours = |new: bool| {
            self.members.iter().filter(move |m| m.claim.managed && (m.version == deployment.release) == new)
        };
        let starting =
            |new: bool| world.starting.values().filter(|(app, v)| *app == key.0 && (*v == key.1) == new).count();
        let wanted = usize::from(world.wanted(self.app));
        let warm = self.intent.warm.as_ref();
        let prepared = match world.unprepared.get(&key) {
            _ if world.prepared.contains(&key) => Some(Ok(())),
            Some(Unsecured { why: Unprepared::Never(reason), .. }) => Some(Err(reason.clone())),
            Some(Unsecured { why: Unprepared::Later(_), .. }) | None => None,
        };
        let engine_since = match world.engine {
            EngineState::Connected { since } => Some(since),
            EngineState::Unknown { .. } => None,
        };
        let unready = ours(true)
            .filter(|m| !m.is_ready() && !matches!(m.condition, Condition::Draining))
            .map(|m| {
                let since = engine_since.map_or(self.now, |since| since.max(m.container.created_at));
                let age = Duration::try_from(self.now.duration_since(since)).unwrap_or_default();
                (age, m.reason.clone().unwrap_or_else(|| "no probe has passed".into()))
            })
            .max_by_key(|(age, _)| *age);
        let live = world.balancer.live.as_ref().filter(|live| live.settled && world.balancer.switching.is_none());
        let share = live.and_then(|l| l.routes.apps.get(&key.0)).map(|route| route.split.share(&key.1));
        let is_over = matches!(deployment.stage, Stage::Aborting { .. });
        let traffic = world.traffic.get(&key.0);
        let fresh = |version: Option<&Version>| version.and_then(|v| Some(traffic?.fresh(v))).unwrap_or_default();
        Observed {
            wanted,
            engine_since,
            prepared,
            candidate_ready: ours(true).filter(|m| m.is_ready()).count(),
            // What stays warm by an earlier decision is not the candidate's to be taken away.
            candidate_left: if warm == Some(&key.1) { 0 } else { ours(true).count() + starting(true) },
            unready: unready.filter(|_| deployment.halt.is_none()),
            old_left: ours(false).count() + starting(false),
            crash: world.backoff.get(&key).map(|b| Crash { count: b.failures, reason: b.reason.clone() }),
            refused: world.balancer.refusals.apps().get(&key.0).map(|refused| refused.reason.clone()),
            served: match share {
                _ if wanted == 0 && !is_over => Percent::ALL,
                Some(share) => share,
                None => Percent::NONE,
            },
            gate: world.gates.get(&deployment.id).cloned().flatten(),
            last_lines: world.last_lines.get(&deployment.id).cloned().unwrap_or_default(),
            candidate: fresh(Some(&key.1)),
            stable: fresh(deployment.from.as_ref()),
        }
    }

    /// Contents to secure, the gate to run, what is due of itself.
    fn acts(&self, plan: &mut Plan) {
        let (world, name) = (self.world, &self.app.name);
        let fetching = self.intent.active().filter(|d| d.stage == Stage::Fetching).map(|d| &d.release);
        // A deployment of a kept release secures it anew; one that was called off before that leaves it to be done.
        // One that was found running has its image, and yet not its contents.
        let unsecured =
            |v: &&Version| self.intent.releases.get(*v).is_some_and(|r| r.image_digest.is_none() || !r.proven);
        let running = [&self.intent.stable, &self.intent.warm].into_iter().flatten().filter(unsecured);
        for version in fetching.into_iter().chain(running) {
            let key = (name.clone(), version.clone());
            let Some(release) = self.intent.releases.get(version) else { continue };
            if world.preparing.contains(&key) || (world.prepared.contains(&key) && release.image_digest.is_some()) {
                continue;
            }
            match world.unprepared.get(&key).map(Unsecured::again) {
                Some(again) if again > self.now => plan.wake_by(again),
                Some(_) | None => {
                    plan.actions.push(Action::Prepare { app: name.clone(), release: Box::new(release.clone()) })
                }
            }
        }
        if let Some(deployment) = self.intent.active() {
            if let Some(at) = wake_at(deployment, self.now) {
                plan.wake_by(at);
            }
            run_gate(world, name, deployment, plan);
        }
    }

    /// Nobody asked: a new version appeared.
    fn deploy_by_itself(&self, plan: &mut Plan, seed: &Seed) {
        let Some(Due { wanted, queued: false }) = due(self.world, self.app, self.intent) else { return };
        let name = &self.app.name;
        let manifest = Some(wanted.digest).filter(|digest| digest.starts_with("sha256:")).map(Arc::from);
        let image_now = Some(ImageNow { id: None, manifest });
        let request =
            DeployRequest { automatic: true, version: Some(wanted.version), image_now, ..DeployRequest::default() };
        let command = Command::Steer { app: name.clone(), steer: Steer::Deploy(Box::new(request)) };
        let secret = seed.secret(name.as_str());
        match self.world.decide(&command, Decider { by: "auto", now: self.now, secret: &secret }) {
            Ok(decided) => plan.writes.extend(decided.writes),
            Err(refusal) => {
                let reason = format!("its newest version is not deployed: {refusal}");
                let remedy = "mend what it names, or deploy by hand";
                plan.problems.push(Problem::of_app(ProblemKind::NotDeployed, name, reason, remedy, self.now));
            }
        }
    }
}

/// Contents of releases that are not kept any more can go.
fn keep(world: &World, plan: &mut Plan) {
    let releases = || world.intents.values().flat_map(|i| i.releases.values()).filter(|r| !r.pruned);
    let blobs = releases().flat_map(|r| [&r.artefact, &r.config]).flatten();
    let kept = Kept {
        contents: blobs.map(|blob| blob.sha256.clone()).collect(),
        images: releases().map(|r| &r.image).filter(|image| image.is_pushed()).cloned().collect(),
    };
    if world.keeping.as_deref() != Some(&kept) {
        // Only what went just now: an image of that name may be pushed again before a release is made of it.
        let before = world.keeping.iter().flat_map(|before| &before.images);
        let gone = before.filter(|image| !kept.images.contains(*image)).cloned().collect();
        plan.actions.push(Action::Keep { kept: Arc::new(kept), gone });
    }
}

#[cfg(test)]
mod tests;
