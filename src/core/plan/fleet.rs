//! Which instances of the declared apps to start, start again, or take out of service.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::core::app::{App, Strategy};
use crate::core::container::{ContainerId, label};
use crate::core::deploy::{Deployment, Stage};
use crate::core::names::Version;
use crate::core::release::{Release, path_of};
use crate::core::world::{Action, InstanceSpec, Intent, Member, World, is_dead};

/// What the fleet of one app lacks or has too much of.
#[derive(Debug, Default)]
pub struct Wish {
    pub actions: Vec<Action>,
    pub retire: Vec<ContainerId>,
    /// When to look again, where a pause has to pass first.
    pub wake_at: Option<Timestamp>,
}

/// Plans the instances of one app. `members` are all of its instances, of any release and state.
pub fn fleet(world: &World, app: &Arc<App>, members: &[Member<'_>], now: Timestamp) -> Wish {
    let mut wish = Wish::default();
    let ours: Vec<&Member<'_>> =
        members.iter().filter(|m| m.claim.managed && !world.retiring.contains_key(&m.container.id)).collect();
    let wanted = usize::from(world.wanted(app));
    // Until a release is recorded nothing says which of the instances that run are wanted.
    let intent = world.intents.get(&app.name).filter(|i| wanted == 0 || i.stable.is_some() || i.active().is_some());
    let Some(intent) = intent else { return wish };
    let left = members.iter().filter(|m| m.claim.managed);
    let targets = if wanted == 0 { BTreeMap::new() } else { targets(intent, app, wanted, &ours, left) };
    wish.retire.extend(ours.iter().filter(|m| !targets.contains_key(&m.version)).map(|m| m.container.id.clone()));
    for (version, count) in &targets {
        let of_release: Vec<&Member<'_>> = ours.iter().copied().filter(|m| m.version == *version).collect();
        let fleet = Fleet { world, app, intent, version, wanted: *count, now };
        fleet.plan(&of_release, members, &mut wish);
    }
    wish
}

/// How many instances of which release there are to be now.
fn targets<'m>(
    intent: &Intent,
    app: &App,
    wanted: usize,
    ours: &[&Member<'_>],
    left: impl Iterator<Item = &'m Member<'m>> + Clone,
) -> BTreeMap<Version, usize> {
    let mut targets: BTreeMap<Version, usize> =
        [&intent.stable, &intent.warm].into_iter().flatten().map(|version| (version.clone(), wanted)).collect();
    let Some(deployment) = intent.active() else { return targets };
    let is_gone = |mine: bool| !left.clone().any(|m| (m.version == deployment.release) == mine);
    let mut set = |version: &Version, count| _ = targets.insert(version.clone(), count);
    match deployment.stage {
        Stage::Starting | Stage::Healthy | Stage::Testing | Stage::Routing { .. } | Stage::Baking => {
            if deployment.stop_first {
                deployment.from.iter().for_each(|from| set(from, 0));
                set(&deployment.release, if is_gone(false) { wanted } else { 0 });
            } else if deployment.strategy == Strategy::Rolling {
                let (old, new) = pace(deployment, app, wanted, ours);
                deployment.from.iter().for_each(|from| set(from, old));
                set(&deployment.release, new);
            } else {
                set(&deployment.release, wanted);
            }
        }
        Stage::Aborting { .. } => {
            if Some(&deployment.release) != intent.warm.as_ref() {
                targets.remove(&deployment.release);
            }
            if deployment.stop_first && !is_gone(true) {
                deployment.from.iter().for_each(|from| _ = targets.insert(from.clone(), 0));
            }
        }
        Stage::Queued
        | Stage::Fetching
        | Stage::Promoted
        | Stage::Draining
        | Stage::Done
        | Stage::RolledBack
        | Stage::Failed
        | Stage::Superseded
        | Stage::Cancelled => {}
    }
    targets
}

/// The instances of the old and the new release while one replaces the other: never fewer ready ones than
/// wanted, and at most `surge` more than that. Where it is halted, both stay as they are.
fn pace(deployment: &Deployment, app: &App, wanted: usize, ours: &[&Member<'_>]) -> (usize, usize) {
    let of = |new: bool| ours.iter().filter(move |m| (m.version == deployment.release) == new);
    let (old, new) = (of(false).count(), of(true).count());
    if deployment.halt.is_some() {
        return (old, new);
    }
    let surge = usize::from(app.deploy.surge).max(1);
    if !deployment.stage.has_traffic() {
        return (wanted, wanted.min(surge));
    }
    let ready = of(true).filter(|m| m.is_ready()).count();
    (wanted.saturating_sub(ready), wanted.min((wanted + surge).saturating_sub(old)).max(new.min(wanted)))
}

/// The instances of one release of one app.
struct Fleet<'w> {
    world: &'w World,
    app: &'w App,
    intent: &'w Intent,
    version: &'w Version,
    wanted: usize,
    now: Timestamp,
}

impl Fleet<'_> {
    /// `ours` are the release's instances that are not on their way out, `all` are the app's.
    fn plan(&self, ours: &[&Member<'_>], all: &[Member<'_>], wish: &mut Wish) {
        let (world, app, wanted) = (self.world, self.app, self.wanted);
        let renew_before = self.intent.renew_before;
        let is_current = |m: &&Member<'_>| renew_before.is_none_or(|moment| m.container.created_at >= moment);
        let (mut current, old): (Vec<&Member<'_>>, Vec<&Member<'_>>) = ours.iter().copied().partition(is_current);

        // The surplus goes first where it serves nobody: dead, then not ready, then the youngest.
        current.sort_by_key(|m| {
            (!m.container.is_running(), !m.is_ready(), m.container.created_at, m.container.name.clone())
        });
        let surplus = current.split_off(current.len().min(wanted));
        wish.retire.extend(surplus.iter().map(|m| m.container.id.clone()));

        let ready = current.iter().filter(|m| m.is_ready()).count();
        let serving_old: Vec<_> = old.iter().filter(|m| m.container.is_running()).collect();
        let spare = (ready + serving_old.len()).saturating_sub(wanted);
        wish.retire.extend(serving_old.iter().take(spare).map(|m| m.container.id.clone()));
        wish.retire.extend(old.iter().filter(|m| !m.container.is_running()).map(|m| m.container.id.clone()));

        let release = (app.name.clone(), self.version.clone());
        let paused_until = world.backoff.get(&release).map(|b| b.until).filter(|until| *until > self.now);
        // One that is being started may be seen before its start is told.
        let is_starting = |m: &Member<'_>| world.starting.contains_key(&*m.container.name);
        let is_seen = |name: &str| all.iter().any(|m| &*m.container.name == name);
        let starting = world.starting.iter().filter(|(name, of)| **of == release && !is_seen(name)).count();
        let leaving = all.iter().any(|m| m.claim.managed && world.retiring.contains_key(&m.container.id));
        let missing = if self.must_stop_first() && (leaving || !serving_old.is_empty()) {
            wish.retire.extend(serving_old.iter().map(|m| m.container.id.clone()));
            0
        } else {
            let surge = usize::from(app.deploy.surge).max(1);
            let most = (wanted + surge).saturating_sub(current.len() + starting + serving_old.len());
            wanted.saturating_sub(current.len() + starting).min(most)
        };
        let is_free = |m: &Member<'_>| !is_starting(m) && !world.busy.contains(&m.container.id);
        let dead: Vec<_> = current.iter().filter(|m| is_dead(m.container) && is_free(m)).collect();
        match paused_until {
            Some(_) if missing + dead.len() == 0 => {}
            Some(until) => wish.wake_at = [wish.wake_at, Some(until)].into_iter().flatten().min(),
            None => {
                wish.actions.extend(dead.iter().map(|m| Action::Restart(m.container.id.clone())));
                // What it is made of has to be secured first.
                if let Some(release) = self.intent.releases.get(self.version).filter(|r| r.image_digest.is_some()) {
                    let names = self.free_names(missing);
                    let start = |name| Action::Start(Box::new(self.instance(release, name)));
                    wish.actions.extend(names.into_iter().map(start));
                }
            }
        }
    }

    /// Two instances at once might corrupt what they both write: such an app is stopped before it is started.
    fn must_stop_first(&self) -> bool {
        let app = self.app;
        app.deploy.strategy == Strategy::Recreate || (self.wanted == 1 && app.has_writable_volume())
    }

    /// The `count` lowest container names of the release that no container has, of whichever platform.
    fn free_names(&self, count: usize) -> Vec<String> {
        if count == 0 {
            return Vec::new();
        }
        let (world, prefix) = (self.world, format!("{}-{}", self.app.name, self.version));
        let taken: BTreeSet<&str> = world
            .containers
            .values()
            .map(|known| &*known.container.name)
            .chain(world.starting.keys().chain(&world.taken_names).map(String::as_str))
            .collect();
        (1..).map(|n| format!("{prefix}-{n}")).filter(|name| !taken.contains(name.as_str())).take(count).collect()
    }

    /// The container that runs one instance of a release.
    fn instance(&self, release: &Release, name: String) -> InstanceSpec {
        let (platform, app, version) = (&self.world.platform, &self.app.name, self.version);
        let mut env: BTreeMap<String, String> =
            release.app.env.iter().map(|(k, v)| (k.to_string(), v.clone())).collect();
        env.insert("PLATFORMER_RELEASE".into(), format!("{app}@{version}"));
        for (variable, blob) in [("PLATFORMER_ARTEFACT", &release.artefact), ("PLATFORMER_CONFIG", &release.config)] {
            if let Some(blob) = blob {
                env.insert(variable.into(), format!("/{}", path_of(app, version, blob)));
            }
        }
        let deployment = self.intent.deployment.as_ref().filter(|d| d.release == *version).map(|d| d.id.to_string());
        let labels = [
            (label::APP, Some(app.to_string())),
            (label::VERSION, Some(version.to_string())),
            (label::OWNER, Some(platform.owner.0.to_string())),
            (label::DEPLOYMENT, deployment),
        ];
        InstanceSpec {
            app: app.clone(),
            version: version.clone(),
            name,
            image: release.image_digest.as_deref().unwrap_or(release.image.as_str()).to_owned(),
            command: release.command(&platform.repository()),
            env,
            labels: labels.into_iter().filter_map(|(k, v)| Some((k.to_owned(), v?))).collect(),
            hosts: platform.own_hosts(),
            volumes: release.app.volumes.clone(),
            limits: release.app.limits.clone(),
            grace: self.app.deploy.grace.get(),
        }
    }
}
