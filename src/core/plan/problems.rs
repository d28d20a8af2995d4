//! Everything that is wrong, each with whom it concerns, why, and what would mend it.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::core::claim::Claim;
use crate::core::container::{Attachment, Container, RunState, label};
use crate::core::deploy::Halt;
use crate::core::names::AppName;
use crate::core::problem::{Problem, ProblemKind};
use crate::core::world::{
    Claimed, Condition, EngineState, Intent, Member, REST, RESTLESS, Subject, Unprepared, Unsecured, World,
};

/// A container that its restart policy has started so often, and that has not run for so long since, is in a loop.
const LOOPS: u32 = 3;
const STEADY: SignedDuration = SignedDuration::from_secs(60);
/// A deployment that has not moved for so long is stuck.
const STUCK: Duration = Duration::from_secs(1800);

/// Finds all problems but those of hosts, which `routes` reports.
pub fn find(world: &World, members: &[Member<'_>], problems: &mut Vec<Problem>, now: Timestamp) {
    of_engine(world, problems);
    of_state(world, problems);
    of_balancer(world, problems);
    // What was begun for an app that is gone since is nobody's problem any more.
    let concerns = |app: &AppName| world.declared_app(app).is_some() || members.iter().any(|m| m.claim.app == *app);
    let unsecured = world.unprepared.iter().filter(|((app, _), _)| concerns(app));
    for ((app, version), Unsecured { since, why, .. }) in unsecured {
        let (Unprepared::Later(reason) | Unprepared::Never(reason)) = why;
        let reason = format!("{app}@{version} cannot be run: {reason}");
        let remedy = format!(
            "mend what it names; it is tried again ever more rarely, and at once by `platformer restart {app}`"
        );
        problems.push(Problem::of_app(ProblemKind::Unprepared, app, reason, remedy, *since));
    }
    for (app, intent) in world.intents.iter().filter(|(app, _)| concerns(app)) {
        if let Some(held) = intent.active().filter(|d| d.halt == Some(Halt::Held)) {
            let remedy =
                format!("platformer abort {app} takes it back, platformer promote {app} makes it stable all the same");
            let reason = format!("deployment {} is held: {}", held.id, held.reason);
            problems.push(Problem::of_app(ProblemKind::Held, app, reason, remedy, held.since));
        }
    }
    of_sources(world, problems);
    of_stuck(world, problems, now);
    of_repository(world, members, problems, now);
    for Claimed { container, claim, unknown_labels, .. } in world.containers.values() {
        let subject = || format!("container {}", container.name);
        if *claim == Claim::Foreign {
            problems.extend(of_nobodys(world, container));
            continue;
        }
        if let Claim::Refused { reason, remedy } = claim {
            let kind = ProblemKind::ClaimRefused;
            problems.push(Problem::new(kind, subject(), reason.clone(), remedy.clone(), container.created_at));
        }
        of_labels(world, container, problems);
        for reason in claim.unusable() {
            let remedy = "correct the label, and start the container again; its other entries are used".to_owned();
            let kind = ProblemKind::ClaimRefused;
            problems.push(Problem::new(kind, subject(), reason.clone(), remedy, container.created_at));
        }
        for (unknown, near) in unknown_labels {
            let remedy = near.map_or("remove it".to_owned(), |near| format!("did you mean {near}?"));
            let reason = format!("label {unknown} means nothing");
            let kind = ProblemKind::UnknownLabel;
            problems.push(Problem::new(kind, subject(), reason, remedy, container.created_at));
        }
    }
    for member in members {
        of_member(world, member, problems, now);
    }
    for ((app, version), backoff) in &world.backoff {
        let is_wanted =
            world.stable(app) == Some(version) || world.intents.get(app).and_then(Intent::candidate) == Some(version);
        let wanted = world.declared_app(app).filter(|_| is_wanted).map_or(0, |app| usize::from(world.wanted(app)));
        let of_release = members.iter().filter(|m| m.claim.app == *app && m.version == *version && m.claim.managed);
        let ready = of_release.filter(|m| m.is_ready()).count();
        if backoff.failures > 1 && ready < wanted {
            let reason = format!("its instances fail to start or die ({} times): {}", backoff.failures, backoff.reason);
            let remedy = format!("platformer logs {app}");
            problems.push(Problem::of_app(ProblemKind::Dying, app, reason, remedy, backoff.until));
        }
    }
}

/// A container that is left to another platform which is not here. One on a network of another platform, or on one that
/// is not listed yet, may be that one's.
fn of_nobodys(world: &World, container: &Container) -> Option<Problem> {
    let own = &world.platform.owner;
    let named = container.label(label::OWNER).filter(|named| *named != &*own.0)?;
    let is_no_others = |attachment: &Attachment| {
        let listed = world.networks.iter().find(|network| network.name == attachment.network);
        listed.is_some_and(|network| network.owner.as_ref().is_none_or(|owner| owner == own))
    };
    let is_here = world.networks.iter().any(|n| n.owner.as_ref().is_some_and(|owner| &*owner.0 == named));
    if is_here || !container.is_running() || !container.attachments.iter().all(is_no_others) {
        return None;
    }
    let (subject, named) = (format!("container {}", container.name), named.chars().take(80).collect::<String>());
    let reason = format!("its label {} names {named:?}, and no such platform has a network here", label::OWNER);
    let remedy = format!("start it without that label, or docker rm -f {}", container.name);
    Some(Problem::new(ProblemKind::NotOurs, subject, reason, remedy, container.created_at))
}

/// What is written on a container and is not believed, and what the engine does not tell of it.
fn of_labels(world: &World, container: &Container, problems: &mut Vec<Problem>) {
    let (name, since) = (&container.name, container.created_at);
    let mut push = |kind, reason: String, remedy: String| {
        problems.push(Problem::new(kind, format!("container {name}"), reason, remedy, since));
    };
    if let Some(trouble) = &container.trouble {
        let reason = format!("Docker does not describe it: {trouble}");
        push(ProblemKind::Undescribed, reason, format!("docker inspect {name} shows the same; docker rm -f {name}"));
    }
    if world.is_ours(container) {
        return;
    }
    if container.label(label::OWNER).is_some() {
        let reason = format!("its label {} names this platform, which did not start it", label::OWNER);
        push(ProblemKind::NotOurs, reason, format!("start it without that label, or docker rm -f {name}"));
    }
    if !container.of_image.is_empty() {
        let reason = format!("{} comes from its image, where it does not count", container.of_image.join(", "));
        let remedy = "take it out of the image, and say it with docker run --label";
        push(ProblemKind::LabelOfImage, reason, remedy.into());
    }
}

/// An engine that does not answer.
pub(super) fn of_engine(world: &World, problems: &mut Vec<Problem>) {
    if let EngineState::Unknown { since } = world.engine {
        let reason = "the engine does not answer; what is shown of containers is from before";
        let remedy = "start Docker (systemctl start docker); `platformer doctor` checks the connection";
        problems.push(Problem::new(ProblemKind::EngineAway, "docker", reason, remedy, since));
    }
}

/// What the platform keeps, and where.
fn of_state(world: &World, problems: &mut Vec<Problem>) {
    for (disk, since) in &world.disks {
        if let Some(shortage) = disk.shortage() {
            let remedy = "free some: `docker image prune`, old artefacts, logs; or move the folder to a larger disk";
            let subject = format!("disk of {}", disk.place);
            problems.push(Problem::new(ProblemKind::Disk, subject, disk.reason(shortage), remedy, *since));
        }
    }
    for (flaw, since) in world.flaws.iter() {
        let kind = ProblemKind::State;
        problems.push(Problem::new(kind, flaw.subject.clone(), flaw.reason.clone(), flaw.remedy.clone(), *since));
    }
}

/// What could not be looked at.
fn of_sources(world: &World, problems: &mut Vec<Problem>) {
    for (name, look) in world.found.iter().filter(|(name, _)| world.declared_app(name).is_some()) {
        for reason in look.errors() {
            let remedy = format!("it is tried again by itself; apps/{name}.toml names the place under [source]");
            problems.push(Problem::of_app(ProblemKind::Source, name, reason.clone(), remedy, look.at));
        }
    }
}

/// Deployments that do nothing for long, though nobody paused them.
fn of_stuck(world: &World, problems: &mut Vec<Problem>, now: Timestamp) {
    for (app, intent) in world.intents.iter().filter(|(app, _)| world.declared_app(app).is_some()) {
        let moving = intent.active().filter(|d| d.halt.is_none());
        if let Some(stuck) = moving.filter(|d| now.duration_since(d.since).unsigned_abs() > STUCK) {
            let reason =
                format!("deployment {} has been {} for more than {STUCK:?}: {}", stuck.id, stuck.state(), stuck.reason);
            let remedy = format!("platformer status {app} shows its instances; platformer abort {app} takes it back");
            problems.push(Problem::of_app(ProblemKind::Stuck, app, reason, remedy, stuck.since));
        }
    }
}

fn of_member(world: &World, member: &Member<'_>, problems: &mut Vec<Problem>, now: Timestamp) {
    let (since, name) = (member.since, &member.container.name);
    let held = world.held_since(&Subject::Container(member.container.id.clone()));
    let held = held.filter(|_| member.condition != Condition::Draining);
    if let Some(since) = held {
        let problem = Problem::new(ProblemKind::Restless, format!("container {name}"), RESTLESS, REST, since);
        problems.push(problem.in_app(&member.claim.app));
    }
    let mut push = |kind, reason: String, remedy: String| {
        let subject = format!("container {name}");
        problems.push(Problem::new(kind, subject, reason, remedy, since).in_app(&member.claim.app));
    };
    let container = member.container;
    let up = container.started_at.filter(|_| container.is_running()).map(|at| now.duration_since(at));
    if container.restarts >= LOOPS && up.is_none_or(|up| up < STEADY) {
        let ending = container.state.ending().map(|ending| format!(": {ending}")).unwrap_or_default();
        let reason = format!("Docker has started it again {} times{ending}", container.restarts);
        push(ProblemKind::Dying, reason, format!("docker logs {name}"));
    }
    match (&member.address, member.condition) {
        (_, Condition::Draining | Condition::Stopped) => {}
        _ if held.is_some() => {}
        // One that is only made, or has ended, is on no network yet, or no more.
        (Err(_), _) if !member.container.is_running() => {}
        (Err(unreachable), _) => {
            push(ProblemKind::Unreachable, unreachable.reason.clone(), unreachable.remedy.clone());
        }
        (Ok(_), Condition::Unhealthy) => {
            let reason = member.reason.clone().unwrap_or_else(|| "its probe fails".into());
            let verb = if container.state == RunState::Paused { "unpause" } else { "logs" };
            push(ProblemKind::Unhealthy, reason, format!("docker {verb} {name}"));
        }
        (Ok(_), Condition::Starting) => {
            let limit = member.app.map_or(Duration::from_secs(120), |a| a.deploy.ready_timeout.get());
            if Duration::try_from(now.duration_since(since)).is_ok_and(|waited| waited > limit) {
                let why = member.reason.clone().unwrap_or_else(|| "no probe has passed".into());
                push(ProblemKind::NotReady, format!("not ready after {limit:?}: {why}"), format!("docker logs {name}"));
            }
        }
        (Ok(_), Condition::Ready) => {}
    }
    if member.claim.managed && member.app.is_none() && !world.retiring.contains_key(&member.container.id) {
        let app = &member.claim.app;
        let reason = format!("app {app} runs but is not declared any more");
        let remedy = format!("put apps/{app}.toml back, or run platformer remove {app}");
        problems.push(Problem::of_app(ProblemKind::Undeclared, app, reason, remedy, since));
    }
}

fn of_repository(world: &World, members: &[Member<'_>], problems: &mut Vec<Problem>, now: Timestamp) {
    let Some(index) = &world.index else { return };
    for trouble in &index.troubles {
        let subject = format!("file {}", trouble.path);
        let (reason, remedy) = (trouble.reason.clone(), trouble.remedy.clone());
        problems.push(Problem::new(ProblemKind::File, subject, reason, remedy, now));
    }
    for (name, app) in &world.declared {
        if world.declared_app(name).is_none() {
            continue;
        }
        let since = world.intents.get(name).map_or(now, |i| i.first_seen);
        let broken = index.troubles.iter().any(|t| t.path == format!("apps/{name}.toml"));
        if !index.apps.contains_key(name) && !broken {
            let reason = format!("apps/{name}.toml is gone; the app goes on as it was last declared");
            let remedy = format!("put the file back, or run platformer remove {name}");
            problems.push(Problem::of_app(ProblemKind::FileGone, name, reason, remedy, since));
        }
        let has_instances = || members.iter().any(|m| m.claim.app == *name);
        if world.stable(name).is_none() && app.boots_from_repository() && !has_instances() {
            let reason = "it has no version to run: its artefact folder is empty".to_owned();
            let remedy = format!("platformer repository push {name} VERSION FILE");
            problems.push(Problem::of_app(ProblemKind::NoVersion, name, reason, remedy, since));
        }
    }
}

fn of_balancer(world: &World, problems: &mut Vec<Problem>) {
    let balancer = &world.balancer;
    if let Some((since, reason)) = &balancer.died {
        let remedy = "it is being started again; `platformer doctor` checks it";
        problems.push(Problem::new(ProblemKind::BalancerDied, "nginx", reason.clone(), remedy, *since));
    }
    if let Some((until, _, reason)) = &balancer.retry {
        let remedy = "it is tried again; `platformer doctor` checks nginx and the disk";
        problems.push(Problem::new(ProblemKind::BalancerTrouble, "nginx", reason.clone(), remedy, *until));
    }
    if let Some((at, count)) = balancer.ended {
        let mostly = balancer.mostly_for();
        let mostly = mostly.map(|(app, count)| format!("; {count} of its last switches were for {app}"));
        let reason = format!(
            "{count} of its old workers were ended with the connections they had (WebSockets, downloads): there were more of \
             them than limits.leaving_workers{}",
            mostly.unwrap_or_default()
        );
        let remedy = "see in `platformer events` what makes it switch so often; or raise limits.leaving_workers";
        problems.push(Problem::new(ProblemKind::WorkersEnded, "nginx", reason, remedy, at));
    }
    if let Some(refused) = balancer.refused_templates.as_ref().filter(|r| Arc::ptr_eq(&r.input, &world.templates)) {
        let remedy = "mend the template; until then the last good one is used";
        let subject = format!("template {}", refused.input.origin);
        let reason = refused.reason.clone();
        problems.push(Problem::new(ProblemKind::TemplateRefused, subject, reason, remedy, refused.since));
    }
    for (app, refused) in balancer.refusals.apps() {
        let kept = match refused.instead {
            Some(_) => "what it accepts of them is in use",
            None => "they are left out",
        };
        let reason = format!("nginx refuses its routes, {kept}: {}", refused.reason);
        let remedy = "change the app's hosts, paths or proxy settings";
        problems.push(Problem::of_app(ProblemKind::RoutesRefused, app, reason, remedy, refused.since));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::container::{Network, Owner, RunState};
    use crate::core::testing::{at, container, planned, world_with};
    use crate::core::world::Fact;

    #[test]
    fn a_container_that_its_restart_policy_starts_again_and_again_is_told_until_it_stays() {
        let (mut world, _) = world_with("", |_, _| Intent::new(at(0)));
        let looping = container("web", &[("platformer.app", "web")]);
        let mut told = |restarts: u32, state: RunState, now: i64| {
            let seen = Container { restarts, state, started_at: Some(at(100)), ..looping.clone() };
            world.apply(Fact::Seen(Box::new(seen)), at(100));
            let problems = planned(&mut world, at(now)).problems;
            problems.into_iter().find(|p| p.kind == ProblemKind::Dying).map(|p| p.reason)
        };
        assert_eq!(told(2, RunState::Running, 101), None);
        assert_eq!(told(3, RunState::Running, 101).as_deref(), Some("Docker has started it again 3 times"));
        let exited = RunState::Exited { code: 1, oom: false, at: Some(at(100)) };
        let expected = "Docker has started it again 4 times: it exited with 1";
        assert_eq!(told(4, exited, 200).as_deref(), Some(expected));
        assert_eq!(told(4, RunState::Running, 161), None, "it has stayed for a minute");
    }

    #[test]
    fn a_container_of_a_platform_that_is_not_here_is_told() {
        let (mut world, _) = world_with("", |_, _| Intent::new(at(0)));
        let network = |name: &str, owner: Option<&str>| Network {
            name: name.into(),
            owner: owner.map(|owner| Owner(owner.into())),
            subnets: Vec::new(),
        };
        let labels = [(label::APP, "web"), (label::OWNER, "somebody")];
        let mut told = |networks: Vec<Network>, state: RunState| {
            let containers = vec![Container { state, ..container("web", &labels) }];
            world.apply(Fact::Listed { containers, networks, local: Vec::new() }, at(1));
            let problems = planned(&mut world, at(2)).problems;
            problems.into_iter().find(|p| p.kind == ProblemKind::NotOurs).map(|p| p.reason)
        };
        let on = network("platform", None);
        let expected = "its label platformer.owner names \"somebody\", and no such platform has a network here";
        assert_eq!(told(vec![on.clone()], RunState::Running).as_deref(), Some(expected));
        assert_eq!(told(vec![on.clone(), network("other", Some("somebody"))], RunState::Running), None);
        assert_eq!(told(Vec::new(), RunState::Running), None, "its network may be that platform's");
        let before = network("platform", Some("whose name it was before"));
        assert_eq!(told(vec![before], RunState::Running), None, "it is another's now, and may be that platform's");
        let exited = RunState::Exited { code: 0, oom: false, at: Some(at(1)) };
        assert_eq!(told(vec![on], exited), None);
    }
}
