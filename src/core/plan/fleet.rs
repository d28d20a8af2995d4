//! Which instances of the declared apps to start, start again, or take out of service.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::core::app::{App, Strategy};
use crate::core::container::{ContainerId, RunState, label};
use crate::core::names::Version;
use crate::core::world::{Action, InstanceSpec, Member, World};

/// What the fleet of one app lacks or has too much of.
#[derive(Debug, Default)]
pub struct Wish {
    pub actions: Vec<Action>,
    pub retire: Vec<ContainerId>,
    /// When to look again, where a pause has to pass first.
    pub wake_at: Option<Timestamp>,
}

/// Plans the instances of one app. `members` are all of its instances, of any release and state.
pub fn fleet(world: &World, app: &Arc<App>, members: &[&Member<'_>], now: Timestamp) -> Wish {
    let mut wish = Wish::default();
    let ours: Vec<_> =
        members.iter().filter(|m| m.claim.managed && !world.retiring.contains_key(&m.container.id)).collect();
    let wanted = usize::from(world.wanted(app));
    if wanted == 0 {
        wish.retire = ours.iter().map(|m| m.container.id.clone()).collect();
        return wish;
    }
    // Until a release is recorded nothing says which of the instances that run are wanted.
    let Some(stable) = world.stable(&app.name) else { return wish };
    let renew_before = world.intents.get(&app.name).and_then(|i| i.renew_before);
    let is_current =
        |m: &Member<'_>| m.version == *stable && renew_before.is_none_or(|moment| m.container.created_at >= moment);
    let (mut current, old): (Vec<&Member<'_>>, Vec<&Member<'_>>) = ours.into_iter().partition(|m| is_current(m));

    // The surplus goes first where it serves nobody: dead, then not ready, then the youngest.
    current
        .sort_by_key(|m| (!m.container.is_running(), !m.is_ready(), m.container.created_at, m.container.name.clone()));
    let surplus = current.split_off(current.len().min(wanted));
    wish.retire.extend(surplus.iter().map(|m| m.container.id.clone()));

    let ready = current.iter().filter(|m| m.is_ready()).count();
    let serving_old: Vec<_> = old.iter().filter(|m| m.container.is_running()).collect();
    let spare = (ready + serving_old.len()).saturating_sub(wanted);
    wish.retire.extend(serving_old.iter().take(spare).map(|m| m.container.id.clone()));
    wish.retire.extend(old.iter().filter(|m| !m.container.is_running()).map(|m| m.container.id.clone()));

    let paused_until = world.backoff.get(&app.name).map(|b| b.until).filter(|until| *until > now);
    let starting = world.starting.values().filter(|name| **name == app.name).count();
    let leaving = members.iter().any(|m| m.claim.managed && world.retiring.contains_key(&m.container.id));
    let missing = if must_stop_first(app) && (leaving || !serving_old.is_empty()) {
        wish.retire.extend(serving_old.iter().map(|m| m.container.id.clone()));
        0
    } else {
        let most =
            (wanted + usize::from(app.deploy.surge)).saturating_sub(current.len() + starting + serving_old.len());
        wanted.saturating_sub(current.len() + starting).min(most)
    };
    let dead: Vec<_> = current.iter().filter(|m| is_dead(m) && !world.busy.contains(&m.container.id)).collect();
    match paused_until {
        Some(_) if missing + dead.len() == 0 => {}
        Some(until) => wish.wake_at = Some(until),
        None => {
            wish.actions.extend(dead.iter().map(|m| Action::Restart(m.container.id.clone())));
            let names = free_names(world, app, stable, missing);
            wish.actions
                .extend(names.into_iter().map(|name| Action::Start(Box::new(instance(world, app, stable, name)))));
        }
    }
    wish
}

fn is_dead(member: &Member<'_>) -> bool {
    matches!(member.container.state, RunState::Exited { .. } | RunState::Created)
}

/// Two instances at once might corrupt what they both write: such an app is stopped before it is started.
fn must_stop_first(app: &App) -> bool {
    app.deploy.strategy == Strategy::Recreate || (app.replicas == 1 && app.volumes.iter().any(|v| v.is_writable()))
}

/// The `count` lowest container names of a release that no container has, of whichever platform.
fn free_names(world: &World, app: &App, version: &Version, count: usize) -> Vec<String> {
    if count == 0 {
        return Vec::new();
    }
    let taken: BTreeSet<&str> = world
        .containers
        .values()
        .map(|c| &*c.name)
        .chain(world.starting.keys().chain(&world.taken_names).map(String::as_str))
        .collect();
    (1..)
        .map(|n| format!("{}-{version}-{n}", app.name))
        .filter(|name| !taken.contains(name.as_str()))
        .take(count)
        .collect()
}

/// The container that runs one instance of a release.
fn instance(world: &World, app: &App, version: &Version, name: String) -> InstanceSpec {
    let platform = &world.platform;
    let mut env: BTreeMap<String, String> = app.env.iter().map(|(k, v)| (k.to_string(), v.clone())).collect();
    env.insert("PLATFORMER_RELEASE".into(), format!("{}@{version}", app.name));
    let artefact =
        world.index.as_ref().and_then(|index| index.versions(&app.name).get(version).map(|f| f.path.clone()));
    if let Some(path) = artefact {
        env.insert("PLATFORMER_ARTEFACT".into(), format!("/{path}"));
    }
    let command = match app.command.is_empty() && app.boots_from_repository() {
        true => vec![app.name.to_string(), platform.repository()],
        false => app.command.clone(),
    };
    let labels = [
        (label::APP, app.name.to_string()),
        (label::VERSION, version.to_string()),
        (label::OWNER, platform.owner.0.to_string()),
    ];
    InstanceSpec {
        name,
        image: app.image.clone(),
        command,
        env,
        labels: labels.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
        volumes: app.volumes.clone(),
        limits: app.limits.clone(),
        grace: app.deploy.grace.get(),
    }
}
