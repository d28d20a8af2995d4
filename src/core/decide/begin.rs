//! Beginning a deployment: which release, by which strategy, and why it may be refused.

use std::sync::Arc;

use super::command::Done;
use super::record::{Decided, Decision, record};
use super::refusal::{Refusal, refuse};
use super::request::{Decider, DeployRequest, GateChoice};
use super::verbs::Verb;
use crate::core::app::{App, Gate, Period, Source, Strategy};
use crate::core::deploy::{Deployment, End, Entry, Judged, Kind, Stage, foretold};
use crate::core::names::{AppName, ImageRef, Version};
use crate::core::release::Release;
use crate::core::repository::Index;
use crate::core::source::Look;
use crate::core::split::Percent;
use crate::core::world::{Idle, Intent, World, Write};

/// Canaries are watched this long with all traffic on them, unless the app says otherwise.
const CANARY_BAKE: Period = Period::seconds(300);

impl World {
    pub(super) fn deploy(
        &self,
        app: &AppName,
        mut intent: Intent,
        asked: &DeployRequest,
        who: Decider<'_>,
    ) -> Decision {
        let declared = self
            .declared_app(app)
            .ok_or_else(|| refuse(app, format!("it was removed; `platformer start {app}` brings it back")))?;
        let index = self.index.as_ref().ok_or_else(|| refuse(app, "the repository is not indexed yet".into()))?;
        let version = self
            .version(declared, &intent, asked, index)
            .ok_or_else(|| refuse(app, format!("it has no version; platformer repository push {app} VERSION FILE")))?;
        let held = declared.source.as_ref().and_then(|source| source.pin.as_ref());
        if let Some(pin) = held.filter(|pin| !asked.automatic && **pin != version.base()) {
            return Err(refuse(app, format!("apps/{app}.toml holds it at {pin}; change source.pin there")));
        }
        let release = self.release(declared, &intent, version, asked, index, who)?;
        may_begin(app, &intent, asked, &release.version)?;
        // Where there is nothing to go over from there is nothing to go over slowly.
        let by_itself = if intent.stable.is_some() { declared.deploy.strategy } else { Strategy::BlueGreen };
        let strategy = asked.strategy.unwrap_or(by_itself);
        let gate = match &asked.gate {
            GateChoice::Declared => declared.gate.clone(),
            GateChoice::None => None,
            GateChoice::Image(image) => {
                Some(Gate { image: image.clone(), ..declared.gate.clone().unwrap_or_else(|| Gate::of(image.clone())) })
            }
        };
        let waits = asked.waits || strategy == Strategy::Manual;
        self.may_run(declared, &intent, &release, strategy, waits)?;
        let begun = self.begin_deployment(declared, &mut intent, &release, Kind::Deploy, strategy, who);
        let deployment = Deployment { gate, waits, ..begun };
        if asked.dry_run {
            let deployment = foretold(deployment, self.wanted(declared), declared.deploy.surge);
            let done = Done { said: deployment.plan.join("\n"), deployment: Some(Arc::new(deployment)) };
            return Ok(Decided::new(Vec::new(), done));
        }
        if !asked.automatic {
            intent.pin = None;
        }
        let reason = asked.reason.clone().unwrap_or_else(|| match (asked.automatic, &intent.stable) {
            (true, None) => "the first release of the app".into(),
            (true, Some(_)) => "a new version appeared".into(),
            (false, _) => "asked for".into(),
        });
        intent.releases.insert(release.version.clone(), release);
        Ok(self.launch(declared, intent, Deployment { reason, ..deployment }, "deploy", who))
    }

    pub(super) fn rollback(
        &self,
        app: &AppName,
        mut intent: Intent,
        to: Option<&Version>,
        who: Decider<'_>,
    ) -> Decision {
        let declared = self.declared_app(app).ok_or_else(|| refuse(app, "it was removed".into()))?;
        let version = self.standing(app, &intent, |standing| standing.back_to(to).cloned())?;
        let kept = intent.releases.get(&version).cloned();
        let release = kept.ok_or_else(|| refuse(app, format!("{version} is not kept")))?;
        let deployment =
            self.begin_deployment(declared, &mut intent, &release, Kind::Rollback, Strategy::BlueGreen, who);
        intent.pin = Some(release.version);
        Ok(self.launch(
            declared,
            intent,
            Deployment { reason: "back to a release that is kept".into(), ..deployment },
            "rollback",
            who,
        ))
    }

    pub(super) fn swap(&self, app: &AppName, mut intent: Intent, who: Decider<'_>) -> Decision {
        let declared = self.declared_app(app).ok_or_else(|| refuse(app, "it was removed".into()))?;
        self.allow(app, &intent, Verb::Swap)?;
        let other = intent.warm.as_ref().and_then(|v| intent.releases.get(v)).cloned();
        let release = other.ok_or_else(|| refuse(app, "no other release runs beside stable".into()))?;
        // Whoever swaps back to an older one does not want the newest again at once; whoever swaps forwards does.
        let is_back = intent.stable.as_ref().is_some_and(|stable| release.version < *stable);
        let deployment = self.begin_deployment(declared, &mut intent, &release, Kind::Swap, Strategy::BlueGreen, who);
        intent.pin = Some(release.version).filter(|_| is_back);
        Ok(self.launch(
            declared,
            intent,
            Deployment { reason: "the two sides are swapped".into(), ..deployment },
            "swap",
            who,
        ))
    }

    /// The release that was asked for: one that is kept and still the same, or what the repository has now.
    fn release(
        &self,
        app: &Arc<App>,
        intent: &Intent,
        version: Version,
        asked: &DeployRequest,
        index: &Index,
        who: Decider<'_>,
    ) -> Result<Release, Refusal> {
        let name = &app.name;
        let now = asked.image_now.clone().unwrap_or_default();
        let draft = Release {
            image_digest: now.id.clone(),
            source_digest: now.manifest.clone(),
            ..draft(app, intent, &version, asked, index, who.now)
        };
        let kept = intent.releases.get(&version).filter(|r| !r.pruned);
        let known = draft.artefact.is_some()
            || kept.is_some()
            || asked.image.is_some()
            || app.source.as_ref().is_some_and(|source| source.image.is_some())
            || app.image_version() == Some(version.clone());
        if !known {
            let there: Vec<String> = index.versions(name).keys().map(ToString::to_string).collect();
            let there = if there.is_empty() { "no version".to_owned() } else { there.join(", ") };
            return Err(refuse(
                name,
                format!("there is no version {version}: the repository has {there}, and `--image` names none"),
            ));
        }
        let wrong =
            |path: &str| index.troubles.iter().find(|t| t.path == path || t.path.starts_with(&format!("{path}/")));
        let artefacts = draft.artefact.as_ref().and_then(|blob| blob.path.rsplit_once('/'));
        let artefacts = artefacts.map_or_else(|| format!("artefacts/{name}/{}", version.base()), |(f, _)| f.to_owned());
        for path in [artefacts.as_str(), &format!("config/{name}/{name}.config"), &format!("apps/{name}.toml")] {
            if let Some(trouble) = wrong(path) {
                return Err(refuse(name, format!("{}: {}; {}", trouble.path, trouble.reason, trouble.remedy)));
            }
        }
        let Some(kept) = kept else { return Ok(draft) };
        let artefact = |r: &Release| r.artefact.as_ref().map(|blob| blob.sha256.clone());
        if draft.artefact.is_some() && artefact(&draft) != artefact(kept) {
            return Err(refuse(
                name,
                format!("the artefact of {version} was altered since it was released; push a new version"),
            ));
        }
        let draft = Release { artefact: kept.artefact.clone(), ..draft };
        let is_same = |release: &Release| release.runs_like(&draft) && release.is_of(&now);
        if is_same(kept) {
            return Ok(kept.clone());
        }
        let mut others = intent.releases.values().filter(|r| r.version.base() == version.base() && is_same(r));
        match others.clone().find(|same| !same.pruned).or_else(|| others.next()) {
            Some(same) if !same.pruned => return Ok(same.clone()),
            // Its contents are gone and are secured anew; it is the same release all the same.
            Some(same) => return Ok(Release { version: same.version.clone(), ..draft }),
            None => {}
        }
        let taken = |n: &u32| version.revised(*n).is_ok_and(|v| intent.releases.contains_key(&v));
        let next = (2..).find(|n| !taken(n)).unwrap_or(2);
        let version = version.revised(next).map_err(|e| refuse(name, e.to_string()))?;
        Ok(Release { version, ..draft })
    }

    /// The image that a release made of the request would be of, by its name.
    pub(super) fn image_of(&self, app: &AppName, asked: &DeployRequest) -> Option<ImageRef> {
        let (declared, index) = (self.declared_app(app)?, self.index.as_ref()?);
        let moment = jiff::Timestamp::UNIX_EPOCH;
        let intent = self.intents.get(app).cloned().unwrap_or_else(|| Intent::new(moment));
        let version = self.version(declared, &intent, asked, index)?;
        Some(draft(declared, &intent, &version, asked, index, moment).image)
    }

    /// The version that a deployment is about, in the spelling of the place that it comes from.
    fn version(&self, app: &App, intent: &Intent, asked: &DeployRequest, index: &Index) -> Option<Version> {
        let Some(version) = &asked.version else { return self.newest(app, asked, index) };
        let images = self.found.get(&app.name).and_then(Look::images);
        let tag = images.and_then(|images| images.get_key_value(version)).map(|(tag, _)| tag.clone());
        let folder = || index.versions(&app.name).into_keys().find(|folder| folder == version);
        Some(tag.or_else(folder).unwrap_or_else(|| intent.spelled(version).clone()))
    }

    /// The newest version that a deployment could be about.
    fn newest(&self, app: &App, asked: &DeployRequest, index: &Index) -> Option<Version> {
        if let Some(image) = &asked.image {
            return Some(image.version().unwrap_or_else(Version::latest));
        }
        match app.source.as_ref().is_some_and(Source::is_remote) {
            true => self.wanted_version(app).map(|wanted| wanted.version),
            false => app.newest_version(index.versions(&app.name)),
        }
    }

    /// Whether the release would run at all, and nobody beside it who writes to the same volume.
    fn may_run(
        &self,
        app: &App,
        intent: &Intent,
        release: &Release,
        strategy: Strategy,
        waits: bool,
    ) -> Result<(), Refusal> {
        if let Some(Idle { reason, remedy }) = self.idle(app) {
            let why = format!("it {reason}, so nothing of {} would be started or looked at; {remedy}", release.version);
            return Err(refuse(&app.name, why));
        }
        let is_beside = intent.stable.is_some() && (waits || strategy == Strategy::Canary);
        if is_beside && self.is_one_writer(app, release) {
            let why = format!(
                "its single instance writes to a volume, so two releases cannot run side by side, as {} does; \
                 --strategy recreate",
                if waits { "one that waits".to_owned() } else { strategy.to_string() }
            );
            return Err(refuse(&app.name, why));
        }
        Ok(())
    }

    /// Whether two instances would write to the same volume.
    fn is_one_writer(&self, app: &App, release: &Release) -> bool {
        self.wanted(app) <= 1 && release.app.has_writable_volume()
    }

    fn begin_deployment(
        &self,
        app: &Arc<App>,
        intent: &mut Intent,
        release: &Release,
        kind: Kind,
        strategy: Strategy,
        who: Decider<'_>,
    ) -> Deployment {
        intent.deployments += 1;
        let one_writer = self.is_one_writer(app, release);
        let stop_first = strategy == Strategy::Recreate
            || (one_writer && matches!(strategy, Strategy::Rolling | Strategy::BlueGreen));
        // What has run before is known to live.
        let monitor = if release.proven { Period::seconds(0) } else { app.deploy.monitor };
        let by_steps = kind == Kind::Deploy && strategy == Strategy::Canary;
        Deployment {
            id: format!("{}-{}", app.name, intent.deployments).into(),
            app: app.name.clone(),
            release: release.version.clone(),
            from: intent.stable.clone(),
            kind,
            strategy,
            canary: app.canary.clone(),
            bake: match kind {
                Kind::Deploy if by_steps => app.deploy.bake.unwrap_or(CANARY_BAKE),
                // Nobody else serves meanwhile, so it is looked at with all traffic.
                Kind::Deploy if stop_first => app.deploy.bake.unwrap_or(monitor),
                Kind::Deploy => app.deploy.bake.unwrap_or(Period::seconds(0)),
                Kind::Rollback | Kind::Swap => Period::seconds(0),
            },
            ready_timeout: app.deploy.ready_timeout,
            monitor: if stop_first { Period::seconds(0) } else { monitor },
            deaths_before: 0,
            stop_first,
            keep_old: kind == Kind::Swap
                || (app.deploy.strategy == Strategy::BlueGreen && strategy == Strategy::BlueGreen && !one_writer)
                || (kind == Kind::Deploy && strategy == Strategy::BlueGreen && !one_writer),
            gate: None,
            gate_result: None,
            by: who.by.to_owned(),
            started_at: who.now,
            ended_at: None,
            stage: Stage::Queued,
            halt: None,
            since: who.now,
            reason: String::new(),
            plan: Vec::new(),
            preview: who.secret.into(),
            share: Percent::NONE,
            waits: false,
            hurried: false,
            judged: Judged::default(),
            last_lines: Vec::new(),
        }
    }

    /// Records the new deployment, and the end of the one whose place it takes.
    fn launch(&self, app: &App, mut intent: Intent, deployment: Deployment, action: &str, who: Decider<'_>) -> Decided {
        let mut ended = Vec::new();
        if let Some(old) = intent.active().cloned() {
            let end = if old.is_candidate() { End::Superseded.stage() } else { ending(old.stage) };
            let old = old.at(end, format!("{} takes its place", deployment.id), who.now);
            ended.push(Arc::new(old));
        }
        if deployment.kind != Kind::Swap && intent.warm.as_ref() != Some(&deployment.release) {
            intent.warm = None;
        }
        intent.split = None;
        let deployment = foretold(deployment, self.wanted(app), app.deploy.surge);
        let mut decided = record(&app.name, intent, deployment, action, who);
        if let Some(Write::Decision(record)) = decided.writes.first_mut() {
            record.entries.splice(0..0, ended.iter().map(|old| Entry::of(old, "deployment", who.by, who.now)));
            record.ended = ended;
        }
        decided
    }
}

/// The release that the request would be. A version that was made of an image which somebody named stays one of that
/// image until another is named.
fn draft(
    app: &Arc<App>,
    intent: &Intent,
    version: &Version,
    asked: &DeployRequest,
    index: &Index,
    now: jiff::Timestamp,
) -> Release {
    let kept = intent.releases.get(version).filter(|r| !r.pruned);
    let by_itself = |kept: &Release| Release::draft(&kept.app, version.clone(), None, index, now).image;
    let named = kept.filter(|kept| kept.image != by_itself(kept)).map(|kept| kept.image.clone());
    Release::draft(app, version.clone(), asked.image.clone().or(named), index, now)
}

/// How a deployment ends that is past promotion, or on its way back, when the next one begins.
fn ending(stage: Stage) -> Stage {
    match stage {
        Stage::Aborting { end } => end.stage(),
        _ if stage.is_final() => stage,
        _ => Stage::Done,
    }
}

/// Whether a deployment of this version may begin beside what is under way and what is stable.
fn may_begin(app: &AppName, intent: &Intent, asked: &DeployRequest, version: &Version) -> Result<(), Refusal> {
    if let Some(active) = intent.underway() {
        if !(asked.replace || asked.automatic) {
            return Err(Refusal::busy(active));
        }
        if asked.automatic && active.release == *version {
            return Err(refuse(app, format!("{version} is being deployed")));
        }
    }
    if intent.stable.as_ref() == Some(version) {
        if intent.releases.get(version).is_some_and(|release| !release.proven) {
            let reason = format!(
                "{version} has not run yet, and is made of what the repository has now; `platformer status {app}` tells \
                 what keeps it"
            );
            return Err(refuse(app, reason));
        }
        let remedy = match intent.candidate() {
            Some(_) => format!("`platformer abort {app}` takes the candidate back"),
            None => format!("`platformer restart {app}` replaces its instances"),
        };
        return Err(refuse(app, format!("{version} is stable already and nothing has changed; {remedy}")));
    }
    Ok(())
}
