//! The plan: wanted against observed, as actions.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::deploy::move_on;
use super::fleet::fleet;
use super::outcome::Plan;
use super::problems;
use super::{networks, routes, zone};
use crate::core::container::{Container, ContainerId, label};
use crate::core::decide::Seed;
use crate::core::deploy::{End, Stage};
use crate::core::names::{AppName, HostName, Version};
use crate::core::routes::{AppRoute, Routes};
use crate::core::templates::Templates;
use crate::core::world::{
    Action, DEPARTED, EngineState, Intent, Member, Phase, ProbeTarget, Subject, Switch, World, Write, by_app,
};

/// Until then a container that is not ready has started just now.
const JUST_NOW: SignedDuration = SignedDuration::from_secs(1);

/// An engine that has not answered since the boot for so long is away.
const ASKED: SignedDuration = SignedDuration::from_secs(5);

/// What is to be done now. The world is to have forgotten what is past ([`World::forget_past`]).
pub fn plan(world: &World, now: Timestamp, seed: &Seed) -> Plan {
    let mut plan = Plan::default();
    if !world.is_informed() {
        // Whether it answers is known only once it was asked.
        if matches!(world.engine, EngineState::Unknown { since } if now.duration_since(since) > ASKED) {
            problems::of_engine(world, &mut plan.problems);
        }
        return plan;
    }
    if world.inherited.is_none() {
        // Before it is recorded whose they are, nothing is started in their place.
        plan.writes.push(Write::Inherited(inherited(world)));
        return plan;
    }
    plan.wake_at = world.departed.values().map(|at| *at + DEPARTED).min();
    world.let_in_at().into_iter().chain(world.balancer.forgets_at()).for_each(|at| plan.wake_by(at));
    let before = world.instances();
    let deciding = move_on(world, &before, &mut plan, now, seed);
    plan.notes.retire = manage_fleets(world, &before, &deciding, &mut plan, now);
    let mut world = Cow::Borrowed(world);
    let members = if plan.notes.retire.is_empty() {
        before
    } else {
        drop(before);
        plan.notes.retire.iter().for_each(|id| world.to_mut().retire(id));
        world.instances()
    };
    let world: &World = &world;
    let containers = zone::containers(world);
    let (wanted, grants) = routes::routes(world, &members, &containers, &mut plan.problems, now);
    problems::find(world, &members, &mut plan.problems, now);
    networks::shadows(world, &grants, &mut plan.problems);
    networks::move_over(world, &mut plan);
    let zone = zone::zone(world, &members, containers, &grants);
    if world.published.as_deref() != Some(&zone) {
        plan.actions.push(Action::Publish(Arc::new(zone)));
    }
    let probes = probes(world, &members);
    if *world.probing != probes {
        plan.actions.push(Action::Probe(Arc::new(probes)));
    }
    let (routes, templates) = without_refused(world, wanted, &mut plan, now);
    plan.routes = routes.clone();
    let wait = waits_until(world, &members, &routes, &templates, now);
    switch(world, routes, templates, wait, &mut plan, now);
    stop_drained(world, &mut plan);
    // A clock that was set back, or a pause that is over later, makes nothing begin in the future.
    plan.problems.iter_mut().for_each(|problem| problem.since = problem.since.min(now));
    plan
}

/// The containers that a version without proofs started: it is asked once, at the first boot after it. Only those
/// of releases and deployments that are on record count.
fn inherited(world: &World) -> BTreeSet<ContainerId> {
    let is_known = |container: &Container| {
        let intent = container.label(label::APP).and_then(|app| world.intents.get(&AppName::parse(app).ok()?));
        let version = container.label(label::VERSION).and_then(|version| Version::parse(version).ok());
        let is_gate = |intent: &Intent| {
            let id = intent.deployment.as_ref().map(|deployment| &*deployment.id);
            id.is_some() && id == container.label(label::DEPLOYMENT)
        };
        let is_instance = |(intent, version): (&Intent, Version)| intent.releases.contains_key(&version);
        intent.zip(version).is_some_and(is_instance) || world.intents.values().any(is_gate)
    };
    let containers = world.containers.values().map(|known| &known.container);
    let ours = containers.filter(|c| c.label(label::OWNER) == Some(&*world.platform.owner.0) && is_known(c));
    ours.map(|container| container.id.clone()).collect()
}

/// Plans the instances of every declared app, and returns those to be taken out of service.
fn manage_fleets(
    world: &World,
    members: &[Member<'_>],
    deciding: &BTreeSet<AppName>,
    plan: &mut Plan,
    now: Timestamp,
) -> Vec<ContainerId> {
    if world.platform.follow_only || world.closing.is_some_and(|c| c.keep_apps) || world.is_engine_unknown() {
        return Vec::new();
    }
    let by_app = by_app(members);
    let mut retire = Vec::new();
    for (name, app) in world.declared.iter().filter(|(name, _)| !deciding.contains(*name)) {
        let wish = fleet(world, app, by_app.get(name).copied().unwrap_or_default(), now);
        plan.actions.extend(wish.actions);
        wish.wake_at.into_iter().for_each(|at| plan.wake_by(at));
        retire.extend(wish.retire);
    }
    if world.closing.is_some() {
        retire.extend(members.iter().filter(|m| m.claim.managed).map(|m| m.container.id.clone()));
    }
    // An app that was removed may have lost its file before its last instance was gone.
    let is_removed =
        |app: &AppName| !world.declared.contains_key(app) && world.intents.get(app).is_some_and(|i| i.removed);
    retire
        .extend(members.iter().filter(|m| m.claim.managed && is_removed(&m.claim.app)).map(|m| m.container.id.clone()));
    retire.retain(|id| !world.retiring.contains_key(id));
    retire
}

/// The host that an instance is probed under: the one that it is to be asked for, else its first.
fn visited_host(world: &World, member: &Member<'_>) -> HostName {
    let domain = &world.platform.domain;
    let declared =
        member.app.and_then(|app| app.health.host.clone().or_else(|| app.all_hosts(domain).into_iter().next()));
    declared.or_else(|| member.claim.hosts.first().cloned()).unwrap_or_else(|| member.claim.app.host(domain))
}

fn probes(world: &World, members: &[Member<'_>]) -> Vec<ProbeTarget> {
    let mut targets: Vec<_> = members
        .iter()
        .filter(|m| m.container.is_running() && !world.retiring.contains_key(&m.container.id))
        .filter_map(|member| {
            let app = member.app.map(Arc::as_ref);
            let health = app.map(|a| a.health.clone()).unwrap_or_default();
            let kind = world.probe_kind(member.container, app)?;
            Some(ProbeTarget {
                subject: Subject::Container(member.container.id.clone()),
                started_at: member.container.started_at,
                address: *member.address.as_ref().ok()?,
                host: Some(visited_host(world, member).as_str().into()),
                interval: health.interval.map_or(kind.usual_interval(), |period| period.get()),
                kind,
                timeout: health.timeout.get(),
            })
        })
        .collect();
    targets.extend(super::services::probes(world));
    targets
}

/// Puts what nginx accepts in the place of each route that it refused, and the last good templates in the place of
/// refused ones; the built-in ones, where it is those that were refused.
fn without_refused(
    world: &World,
    mut wanted: Routes,
    plan: &mut Plan,
    now: Timestamp,
) -> (Arc<Routes>, Arc<Templates>) {
    let (released, wake_at) = world.balancer.refusals.apply(&mut wanted, now);
    plan.notes.released = released;
    wake_at.into_iter().for_each(|moment| plan.wake_by(moment));
    let refused = world.balancer.refused_templates.as_ref();
    let is_refused = |templates: &Arc<Templates>| refused.is_some_and(|r| Arc::ptr_eq(&r.input, templates));
    let good = world.balancer.live.as_ref().and_then(|live| live.templates.clone());
    let templates = match is_refused(&world.templates) {
        true => good.filter(|good| !is_refused(good)).unwrap_or_else(|| Arc::new(Templates::built_in())),
        false => world.templates.clone(),
    };
    (Arc::new(wanted), templates)
}

/// Where all that is new are containers which are not ready and started just now, until when that is worth no switch of
/// its own: after one nginx takes a tenth of a second before the next, which is when most of them get ready. One that was
/// only made is worth none for as long as it is that.
fn waits_until(
    world: &World,
    members: &[Member<'_>],
    routes: &Routes,
    templates: &Templates,
    now: Timestamp,
) -> Option<Wait> {
    let live = world.balancer.live.as_ref()?;
    let is_kept = live.routes.apps.keys().all(|app| routes.apps.contains_key(app));
    if live.fingerprint != templates.fingerprint(world.platform.frame) || !is_kept {
        return None;
    }
    let by_app = by_app(members);
    let is_unready = |route: &AppRoute| route.shared && route.releases.is_empty();
    let (mut wait, mut is_late) = (Wait::ForWhatComes, false);
    for (app, route) in &routes.apps {
        match live.routes.apps.get(app) {
            Some(old) if old == route => {}
            old if is_unready(route) && old.is_none_or(|old| is_unready(old)) => {
                let members = by_app.get(app).copied().unwrap_or_default();
                let began = members.iter().filter_map(|member| member.container.started_at).max();
                match began.map(|began| began + JUST_NOW) {
                    Some(until) if until > now => wait = wait.at_most(until),
                    Some(_) => is_late = true,
                    None => {}
                }
            }
            Some(_) | None => return None,
        }
    }
    (!is_late).then_some(wait)
}

/// How long there is nothing worth a switch.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wait {
    /// Until something else is seen.
    ForWhatComes,
    Until(Timestamp),
}

impl Wait {
    fn at_most(self, until: Timestamp) -> Self {
        match self {
            // What is late first is not kept waiting for what is late last.
            Self::Until(other) => Self::Until(other.min(until)),
            Self::ForWhatComes => Self::Until(until),
        }
    }
}

fn switch(
    world: &World,
    routes: Arc<Routes>,
    templates: Arc<Templates>,
    wait: Option<Wait>,
    plan: &mut Plan,
    now: Timestamp,
) {
    let balancer = &world.balancer;
    let fingerprint = templates.fingerprint(world.platform.frame);
    let next = balancer.last_generation + 1;
    let live = balancer.live.as_ref().filter(|l| l.routes == routes && l.fingerprint == fingerprint);
    let coming = balancer.switching.as_ref().map(|s| &s.switch);
    let coming = coming.filter(|s| s.routes == routes && s.fingerprint == fingerprint);
    plan.generation = live.map(|l| l.generation).or(coming.map(|s| s.generation)).unwrap_or(next);
    if live.is_some() || balancer.switching.is_some() {
        return;
    }
    if let (Some(wait), Some(live)) = (wait, &balancer.live) {
        plan.generation = live.generation;
        if let Wait::Until(moment) = wait {
            plan.wake_by(moment);
        }
        return;
    }
    if let Some((until, ..)) = balancer.retry.as_ref().filter(|(until, ..)| *until > now) {
        plan.wake_by(*until);
        return;
    }
    if let Some(moment) = balancer.not_before(now) {
        plan.wake_by(moment);
        return;
    }
    let before = balancer.live.as_ref();
    plan.actions.push(Action::Switch(Switch {
        generation: next,
        routes,
        templates,
        fingerprint,
        live: before.map(|live| live.routes.clone()).unwrap_or_default(),
        is_new_text: before.is_none_or(|live| live.fingerprint != fingerprint),
    }));
}

fn stop_drained(world: &World, plan: &mut Plan) {
    if world.is_engine_unknown() {
        return;
    }
    let deploy = |id| {
        let container = &world.containers.get(id)?.container;
        let app = container.label(label::APP).and_then(|a| AppName::parse(a).ok())?;
        world.declared.get(&app).map(|a| a.deploy.clone())
    };
    for id in world.unrouted() {
        let (address, limit) =
            (world.retiring.get(id).and_then(|r| r.address), deploy(id).unwrap_or_default().drain.get());
        plan.actions.push(Action::Drain { id: id.clone(), address, limit });
    }
    let active = world.intents.values().filter_map(Intent::active);
    let given_up: Vec<&Arc<str>> = active
        .filter(|d| matches!(d.stage, Stage::Aborting { end: End::Failed | End::RolledBack }))
        .map(|d| &d.id)
        .collect();
    for (id, _) in world.retiring.iter().filter(|(id, r)| r.phase == Phase::Stopping && !world.busy.contains(*id)) {
        let deployment = world.containers.get(id).and_then(|known| known.container.label(label::DEPLOYMENT));
        plan.actions.push(Action::Stop {
            id: id.clone(),
            grace: deploy(id).unwrap_or_default().grace.get(),
            log_for: given_up.iter().find(|id| deployment == Some(&***id)).map(|id| (*id).clone()),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::container::RunState;
    use crate::core::testing::{at, container, planned, planned_and_recorded, world_with};
    use crate::core::world::Fact;

    /// Plans, and has nginx serve what is to be switched to. Returns whether something was.
    fn switched(world: &mut World, now: Timestamp) -> bool {
        let switches = planned_and_recorded(world, now).actions.into_iter();
        let switches: Vec<Action> = switches.filter(|action| matches!(action, Action::Switch(_))).collect();
        for action in &switches {
            let Action::Switch(switch) = action else { continue };
            world.begin(action, now);
            world.apply(Fact::Reached(switch.generation), now);
            world.apply(Fact::Settled(switch.generation), now);
        }
        !switches.is_empty()
    }

    fn started(name: &str, now: Timestamp) -> Container {
        Container { created_at: now, started_at: Some(now), ..container(name, &[("platformer.app", name)]) }
    }

    #[test]
    fn what_has_just_started_is_worth_no_switch_of_its_own_until_it_is_ready_or_late() {
        let (mut world, _) = world_with("image = \"shop:1.0\"", |_, _| Intent::new(at(0)));
        while switched(&mut world, at(1)) {}
        let made = Container { state: RunState::Created, started_at: None, ..started("web", at(9)) };
        world.apply(Fact::Seen(Box::new(made)), at(9));
        assert!(!switched(&mut world, at(9)) && !switched(&mut world, at(500)), "it may never run");
        let web = started("web", at(10));
        world.apply(Fact::Seen(Box::new(web.clone())), at(10));
        let early = planned(&mut world, at(10));
        assert!(!early.actions.iter().any(|action| matches!(action, Action::Switch(_))));
        assert_eq!((early.wake_at, early.generation), (Some(at(11)), world.balancer.last_generation));
        let probed =
            |verdict| Fact::Probed { subject: Subject::Container(web.id.clone()), started_at: web.started_at, verdict };
        let mut late = world.clone();
        assert!(switched(&mut late, at(11)), "whoever asks is told that it is not ready");
        world.apply(probed(Ok(())), at(10));
        assert!(switched(&mut world, at(10)), "ready, it is served at once");
        // Together with what somebody else changes it comes at once, too.
        world.apply(Fact::Seen(Box::new(started("api", at(20)))), at(20));
        world.apply(probed(Err("gone".into())), at(20));
        assert!(switched(&mut world, at(20)));
        let live = world.balancer.live.as_ref().unwrap();
        assert!(live.routes.apps.keys().any(|app| app.as_str() == "api"));
    }
}
