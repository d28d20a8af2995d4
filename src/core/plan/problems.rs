//! Everything that is wrong, each with whom it concerns, why, and what would mend it.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::core::claim::Claim;
use crate::core::deploy::Halt;
use crate::core::world::{Claimed, Condition, EngineState, Intent, Member, Unprepared, World};

/// A deployment that has not moved for so long is stuck.
const STUCK: std::time::Duration = std::time::Duration::from_secs(1800);

/// Something that needs a person. Shown by `status`, the API, `why` and the dashboard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// `container web-3`, `app shop`, `file apps/shop.toml`, `nginx`, `docker`, `template platformer.conf.tera`.
    pub subject: String,
    pub reason: String,
    pub remedy: String,
    pub since: Timestamp,
}

impl Problem {
    pub fn new(
        subject: impl Into<String>,
        reason: impl Into<String>,
        remedy: impl Into<String>,
        since: Timestamp,
    ) -> Self {
        Self { subject: subject.into(), reason: reason.into(), remedy: remedy.into(), since }
    }
}

/// Finds all problems but those of hosts, which `routes` reports.
pub fn find(world: &World, members: &[Member<'_>], problems: &mut Vec<Problem>, now: Timestamp) {
    if let EngineState::Unknown { since } = world.engine {
        let reason = "the engine does not answer; what is shown of containers is from before";
        problems.push(Problem::new("docker", reason, "start Docker; `platformer doctor` checks the connection", since));
    }
    of_balancer(world, problems);
    for ((app, version), (since, why)) in &world.unprepared {
        let (Unprepared::Later(reason) | Unprepared::Never(reason)) = why;
        let reason = format!("{app}@{version} cannot be run: {reason}");
        problems.push(Problem::new(format!("app {app}"), reason, "mend what it names; it is tried again", *since));
    }
    for (app, intent) in &world.intents {
        if let Some(held) = intent.active().filter(|d| d.halt == Some(Halt::Held)) {
            let remedy = format!("platformer resume, promote or abort {app}");
            problems.push(Problem::new(
                format!("app {app}"),
                format!("deployment {} is held: {}", held.id, held.reason),
                remedy,
                held.since,
            ));
        }
    }
    of_sources(world, problems);
    of_stuck(world, problems, now);
    of_repository(world, members, problems, now);
    for Claimed { container, claim, unknown_labels } in world.containers.values() {
        let subject = || format!("container {}", container.name);
        if *claim == Claim::Foreign {
            continue;
        }
        if let Claim::Refused { reason, remedy } = claim {
            problems.push(Problem::new(subject(), reason.clone(), remedy.clone(), container.created_at));
        }
        for (unknown, near) in unknown_labels {
            let remedy = near.map_or("remove it".to_owned(), |near| format!("did you mean {near}?"));
            problems.push(Problem::new(
                subject(),
                format!("label {unknown} means nothing"),
                remedy,
                container.created_at,
            ));
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
            problems.push(Problem::new(format!("app {app}"), reason, format!("platformer logs {app}"), backoff.until));
        }
    }
}

/// What could not be looked at.
fn of_sources(world: &World, problems: &mut Vec<Problem>) {
    for (name, look) in world.found.iter().filter(|(name, _)| world.declared_app(name).is_some()) {
        for reason in look.errors() {
            let remedy = format!("it is tried again by itself; apps/{name}.toml names the place under [source]");
            problems.push(Problem::new(format!("app {name}"), reason.clone(), remedy, look.at));
        }
    }
}

/// Deployments that do nothing for long, though nobody paused them.
fn of_stuck(world: &World, problems: &mut Vec<Problem>, now: Timestamp) {
    for (app, intent) in &world.intents {
        let moving = intent.active().filter(|d| d.halt.is_none());
        if let Some(stuck) = moving.filter(|d| now.duration_since(d.since).unsigned_abs() > STUCK) {
            let reason =
                format!("deployment {} has been {} for more than {STUCK:?}: {}", stuck.id, stuck.state(), stuck.reason);
            let remedy = format!("platformer status {app} shows its instances; platformer abort {app} takes it back");
            problems.push(Problem::new(format!("app {app}"), reason, remedy, stuck.since));
        }
    }
}

fn of_member(world: &World, member: &Member<'_>, problems: &mut Vec<Problem>, now: Timestamp) {
    let subject = || format!("container {}", member.container.name);
    let since = member.since;
    match (&member.address, member.condition) {
        (_, Condition::Draining | Condition::Stopped) => {}
        (Err(unreachable), _) => {
            problems.push(Problem::new(subject(), unreachable.reason.clone(), unreachable.remedy.clone(), since));
        }
        (Ok(_), Condition::Unhealthy) => {
            let reason = member.reason.clone().unwrap_or_else(|| "its probe fails".into());
            problems.push(Problem::new(subject(), reason, format!("docker logs {}", member.container.name), since));
        }
        (Ok(_), Condition::Starting) => {
            let limit = member.app.map_or(std::time::Duration::from_secs(120), |a| a.deploy.ready_timeout.get());
            if now.duration_since(since).unsigned_abs() > limit {
                let why = member.reason.clone().unwrap_or_else(|| "no probe has passed".into());
                problems.push(Problem::new(
                    subject(),
                    format!("not ready after {limit:?}: {why}"),
                    format!("docker logs {}", member.container.name),
                    since,
                ));
            }
        }
        (Ok(_), Condition::Ready) => {}
    }
    if member.claim.managed && member.app.is_none() && !world.retiring.contains_key(&member.container.id) {
        let reason = format!("app {} runs but is not declared any more", member.claim.app);
        problems.push(Problem::new(
            format!("app {}", member.claim.app),
            reason,
            format!("put apps/{}.toml back, or run platformer remove {}", member.claim.app, member.claim.app),
            since,
        ));
    }
}

fn of_repository(world: &World, members: &[Member<'_>], problems: &mut Vec<Problem>, now: Timestamp) {
    let Some(index) = &world.index else { return };
    for trouble in &index.troubles {
        problems.push(Problem::new(
            format!("file {}", trouble.path),
            trouble.reason.clone(),
            trouble.remedy.clone(),
            now,
        ));
    }
    for (name, app) in &world.declared {
        if world.declared_app(name).is_none() {
            continue;
        }
        let since = world.intents.get(name).map_or(now, |i| i.first_seen);
        let broken = index.troubles.iter().any(|t| t.path == format!("apps/{name}.toml"));
        if !index.apps.contains_key(name) && !broken {
            let reason = format!("apps/{name}.toml is gone; the app goes on as it was last declared");
            problems.push(Problem::new(
                format!("app {name}"),
                reason,
                format!("put the file back, or run platformer remove {name}"),
                since,
            ));
        }
        let has_instances = || members.iter().any(|m| m.claim.app == *name);
        if world.stable(name).is_none() && app.boots_from_repository() && !has_instances() {
            let reason = "it has no version to run: its artefact folder is empty".to_owned();
            problems.push(Problem::new(
                format!("app {name}"),
                reason,
                format!("platformer repository push {name} VERSION FILE"),
                since,
            ));
        }
    }
}

fn of_balancer(world: &World, problems: &mut Vec<Problem>) {
    let balancer = &world.balancer;
    if let Some((since, reason)) = &balancer.died {
        problems.push(Problem::new(
            "nginx",
            reason.clone(),
            "it is being started again; `platformer doctor` checks it",
            *since,
        ));
    }
    if let Some((until, _, reason)) = &balancer.retry {
        problems.push(Problem::new(
            "nginx",
            reason.clone(),
            "it is tried again; `platformer doctor` checks nginx and the disk",
            *until,
        ));
    }
    if let Some(refused) = balancer.refused_templates.as_ref().filter(|r| Arc::ptr_eq(&r.input, &world.templates)) {
        let remedy = "mend the template; until then the last good one is used";
        problems.push(Problem::new(
            format!("template {}", refused.input.origin),
            refused.reason.clone(),
            remedy,
            refused.since,
        ));
    }
    for (app, refused) in balancer.refusals.apps() {
        let kept = match refused.instead {
            Some(_) => "what it accepts of them is in use",
            None => "they are left out",
        };
        let reason = format!("nginx refuses its routes, {kept}: {}", refused.reason);
        problems.push(Problem::new(
            format!("app {app}"),
            reason,
            "change the app's hosts, paths or proxy settings",
            refused.since,
        ));
    }
}
